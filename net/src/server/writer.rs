//! Writing: the task that empties a connection's outlet.

use super::shared::Shared;
use super::{WriteHalf, add};
use std::rc::Rc;

/// Sends what is queued until the connection closes or the client takes no more.
pub(super) async fn run(half: WriteHalf, shared: Rc<Shared>) {
    let sent = |bytes| add(&shared.meter.bytes_written, bytes as u64);
    let reason = shared.outlet.run(half, shared.options.write_timeout, sent).await;
    shared.end(reason);
}
