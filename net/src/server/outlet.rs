//! The way out of a connection: what is queued leaves with one gathered write.

use super::outgoing::Outgoing;
use super::{Ended, WriteHalf};
use bytes::BytesMut;
use runtime::sync::Notify;
use runtime::{task, time};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// What is queued for one client, whatever protocol it speaks. Its writer is [`Outlet::run`], a
/// task of its own; everything else queues, on the same core.
pub struct Outlet {
    outgoing: RefCell<Outgoing>,
    bytes_high: usize,
    /// There is something to write, or nothing will be any more.
    to_write: Notify,
    /// Something that others wait for has changed: room, or the end.
    progress: Notify,
    /// The writer sends what is queued and then closes.
    closing: Cell<bool>,
    /// Nothing can be sent any more.
    gone: Cell<bool>,
}

impl Outlet {
    /// Empty. From `bytes_high` queued bytes on [`Outlet::room`] waits.
    pub fn new(bytes_high: usize) -> Outlet {
        Outlet {
            outgoing: RefCell::default(),
            bytes_high,
            to_write: Notify::new(),
            progress: Notify::new(),
            closing: Cell::new(false),
            gone: Cell::new(false),
        }
    }

    /// Appends whole messages; nothing once the client is gone. Nothing is sent before
    /// [`Outlet::flush`].
    pub fn queue<T>(&self, write: impl FnOnce(&mut BytesMut) -> T) -> Option<T> {
        (!self.gone.get()).then(|| write(self.outgoing.borrow_mut().buffer()))
    }

    /// Lets everything queued leave. Does not wait.
    pub fn flush(&self) {
        if self.bytes() > 0 {
            self.to_write.notify_one();
        }
    }

    /// Bytes queued.
    pub fn bytes(&self) -> usize {
        self.outgoing.borrow().bytes()
    }

    /// Whether so much is queued that more should wait.
    pub fn is_full(&self) -> bool {
        !self.gone.get() && self.bytes() >= self.bytes_high
    }

    /// Waits until less is queued than the high mark.
    pub async fn room(&self) {
        while self.is_full() {
            let changed = self.progress.notified();
            self.flush();
            changed.await;
        }
    }

    /// Notified whenever something was sent or the client is lost.
    pub fn progress(&self) -> &Notify {
        &self.progress
    }

    /// The writer is to send what is queued and then close.
    pub fn close(&self) {
        self.closing.set(true);
        self.to_write.notify_one();
    }

    /// Whether nothing reaches the client any more.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// The client can be sent nothing any more: what is queued is forgotten.
    pub fn lose(&self) {
        self.gone.set(true);
        self.outgoing.borrow_mut().clear();
        self.progress.notify_all();
    }

    /// Sends what is queued until the connection closes or the client takes no more: each write
    /// (at most [`super::WRITE_BYTES_MAX`]) within `write_timeout`. `sent` is told of every one.
    pub async fn run(
        &self,
        mut half: WriteHalf,
        write_timeout: Duration,
        sent: impl Fn(usize),
    ) -> Ended {
        let mut write = Vec::new();
        let reason = loop {
            let bytes = self.outgoing.borrow_mut().take(&mut write);
            if bytes == 0 {
                if self.closing.get() {
                    break Ended::ByServer;
                }
                // An idle connection holds nothing.
                write = Vec::new();
                self.to_write.notified().await;
                continue;
            }
            match time::timeout(write_timeout, half.write_all(&mut write)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break Ended::from(error),
                Err(_elapsed) => {
                    break Ended::Timeout { action: "take an answer", limit: write_timeout };
                }
            }
            write.clear();
            sent(bytes);
            self.progress.notify_all();
            task::yield_if_due().await;
        };
        self.lose();
        half.shutdown().await;
        reason
    }
}
