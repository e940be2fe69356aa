//! A value whose changes are watched; who is slow sees the last one only.

use openraft::type_config::async_runtime::watch::{
    RecvError, SendError, Watch, WatchReceiver, WatchSender,
};
use runtime::sync::Notify;
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

/// A watched value.
pub struct Watched;

impl Watch for Watched {
    type Sender<T> = Sender<T>;
    type Receiver<T> = Receiver<T>;
    type Ref<'a, T: 'a> = Ref<'a, T>;

    fn channel<T>(first: T) -> (Sender<T>, Receiver<T>) {
        let shared = Rc::new(Shared {
            value: RefCell::new(first),
            version: Cell::new(0),
            senders: Cell::new(1),
            receivers: Cell::new(1),
            changed: Notify::new(),
        });
        (Sender(shared.clone()), Receiver { shared, seen: 0 })
    }
}

struct Shared<T> {
    value: RefCell<T>,
    /// Counts the changes.
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    changed: Notify,
}

impl<T> Shared<T> {
    fn note_change(&self) {
        self.version.set(self.version.get() + 1);
        self.changed.notify_all();
    }
}

/// The end that changes the value.
pub struct Sender<T>(Rc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.changed.notify_all();
        }
    }
}

impl<T> WatchSender<Watched, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.get() == 0 {
            return Err(SendError(value));
        }
        let before = self.0.value.replace(value);
        drop(before);
        self.0.note_change();
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = modify(&mut self.0.value.borrow_mut());
        if modified {
            self.0.note_change();
        }
        modified
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.0.value.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        self.0.receivers.set(self.0.receivers.get() + 1);
        Receiver { shared: self.0.clone(), seen: self.0.version.get() }
    }
}

/// The end that watches.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The version that it has seen.
    seen: u64,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Receiver { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.set(self.shared.receivers.get() - 1);
    }
}

impl<T> WatchReceiver<Watched, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            let version = self.shared.version.get();
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.senders.get() == 0 {
                return Err(RecvError(()));
            }
            self.shared.changed.notified().await;
        }
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.shared.value.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        self.seen = self.shared.version.get();
        self.shared.value.borrow()
    }
}
