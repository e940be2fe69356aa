//! The life of one replica: what works on its partition ends before the partition does.

use runtime::sync::Notify;
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// One replica's life. Cloning gives another handle.
#[derive(Clone, Default)]
pub(super) struct Life {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    is_over: Cell<bool>,
    busy: Cell<usize>,
    idle: Notify,
}

/// Somebody works on the partition.
pub(super) struct Working(Rc<Inner>);

impl Life {
    /// Begins something on the partition.
    ///
    /// # Errors
    /// The replica was removed: the partition may be another one by now.
    pub(super) fn work(&self) -> io::Result<Working> {
        if self.inner.is_over.get() {
            return Err(io::Error::other("the replica was removed"));
        }
        self.inner.busy.set(self.inner.busy.get() + 1);
        Ok(Working(self.inner.clone()))
    }

    /// Nothing is begun on the partition any more. Returns when what was begun has ended.
    pub(super) async fn end(&self) {
        self.inner.is_over.set(true);
        while self.inner.busy.get() > 0 {
            self.inner.idle.notified().await;
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let left = self.0.busy.get() - 1;
        self.0.busy.set(left);
        if left == 0 {
            self.0.idle.notify_all();
        }
    }
}
