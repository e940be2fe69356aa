//! What cores say to each other.

use model::command::{Request, Response};
use model::time::Timestamp;

/// Number of a request among those its sender has sent; the answers carry it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A message from one core of a node to another. The mesh tells the receiver who sent it.
#[derive(Debug)]
pub enum CoreMessage {
    /// Asks something of a partition that lives at the receiver.
    Request {
        /// Chosen by the sender.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// An answer. A read has several: its batches, then [`Response::End`] or
    /// [`Response::Failed`]; every other request has one.
    Response {
        /// The request it answers.
        id: RequestId,
        /// The sender's clock; the receiver's moves past it.
        sent: Timestamp,
        /// The answer.
        response: Response,
    },
    /// The reader has taken a batch: one more may be sent.
    Credit {
        /// The read.
        id: RequestId,
    },
    /// Nobody waits for the answer any more: what the request waits for or computes may stop.
    Cancel {
        /// The request.
        id: RequestId,
    },
}
