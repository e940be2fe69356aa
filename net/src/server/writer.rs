//! Writing: all that is queued leaves with one gathered write.

use super::shared::Shared;
use super::{Ended, add};
use runtime::net::WriteHalf;
use runtime::task;
use runtime::time;
use std::rc::Rc;

/// Sends what is queued until the connection closes or the client takes no more.
pub(super) async fn run(mut half: WriteHalf, shared: Rc<Shared>) {
    let mut write = Vec::new();
    loop {
        let bytes = shared.outgoing.borrow_mut().take(&mut write);
        if bytes == 0 {
            if shared.closing.get() {
                half.shutdown().await;
                shared.lose(Ended::ByServer);
                return;
            }
            // An idle connection holds nothing.
            write = Vec::new();
            shared.to_write.notified().await;
            continue;
        }
        let limit = shared.options.write_timeout;
        let sent = match time::timeout(limit, half.write_all(&mut write)).await {
            Ok(sent) => sent.map_err(Ended::from),
            Err(_) => Err(Ended::Timeout { action: "take an answer", limit }),
        };
        if let Err(reason) = sent {
            shared.lose(reason);
            half.shutdown().await;
            return;
        }
        write.clear();
        add(&shared.meter.bytes_written, bytes as u64);
        shared.progress.notify_all();
        task::yield_if_due().await;
    }
}
