//! One value, once.

use openraft::type_config::async_runtime::oneshot::{Oneshot, OneshotSender};
use runtime::sync::{Closed, oneshot};

/// The core's [`oneshot`].
pub struct Once;

impl Oneshot for Once {
    type Sender<T> = Sender<T>;
    type Receiver<T> = oneshot::Receiver<T>;
    type ReceiverError = Closed;

    fn channel<T>() -> (Sender<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Sender(sender), receiver)
    }
}

/// The sending end.
pub struct Sender<T>(oneshot::Sender<T>);

impl<T> OneshotSender<T> for Sender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}
