//! Bounded queues with one receiver, whose senders may be held weakly.

use openraft::type_config::async_runtime::mpsc::{
    Mpsc, MpscReceiver, MpscSender, MpscWeakSender, SendError, TryRecvError,
};
use runtime::sync::queue;
use std::rc::{Rc, Weak};

/// The core's [`queue`].
pub struct Queue;

impl Mpsc for Queue {
    type Sender<T> = Sender<T>;
    type Receiver<T> = Receiver<T>;
    type WeakSender<T> = WeakSender<T>;

    fn channel<T>(buffer: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = queue::bounded(buffer);
        (Sender(Rc::new(sender)), Receiver(receiver))
    }
}

/// The sending end.
pub struct Sender<T>(Rc<queue::Sender<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(self.0.clone())
    }
}

impl<T> MpscSender<Queue, T> for Sender<T> {
    async fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.0.send_or_return(message).await.map_err(SendError)
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(Rc::downgrade(&self.0))
    }
}

/// A sending end that does not keep the queue open.
pub struct WeakSender<T>(Weak<queue::Sender<T>>);

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> WeakSender<T> {
        WeakSender(self.0.clone())
    }
}

impl<T> MpscWeakSender<Queue, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

/// The receiving end.
pub struct Receiver<T>(queue::Receiver<T>);

impl<T> MpscReceiver<T> for Receiver<T> {
    async fn recv(&mut self) -> Option<T> {
        self.0.recv().await.ok()
    }

    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.0.try_recv() {
            Some(message) => Ok(message),
            None if self.0.is_closed() => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }
}
