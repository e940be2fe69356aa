//! A flag that tasks can wait for.

use std::cell::Cell;
use std::rc::Rc;

use super::Notify;

/// A flag: waiting returns as long as it is set. Cloning gives another handle on the same flag.
#[derive(Clone, Default)]
pub struct Event {
    set: Rc<Cell<bool>>,
    changed: Notify,
}

impl Event {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag and wakes all who wait.
    pub fn set(&self) {
        self.set.set(true);
        self.changed.notify_all();
    }

    /// Takes the flag down. Who was woken before sees that and waits on.
    pub fn clear(&self) {
        self.set.set(false);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Waits until the flag is set.
    pub async fn wait(&self) {
        while !self.is_set() {
            self.changed.notified().await;
        }
    }
}
