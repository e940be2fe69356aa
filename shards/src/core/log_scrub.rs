//! Damage of this core's log: looked for slowly, and mended while the node runs.
//!
//! What a segment of the log says is in memory or in table files as long as the log is open. So damage costs
//! nothing but its mending: tables are flushed, and the damaged segment is let go ([`super::background`]). A
//! log that is found damaged by a start cannot be mended this way, which is why it is looked for.

use super::engine::{Engine, Inner};
use crate::raft::LogDamage;
use crate::storage::{SCRUB_REST_MIN, SCRUB_START_AFTER, Throttle};
use crate::wal::WalError;
use runtime::time;
use std::rc::Weak;
use std::time::Duration;

/// A pass begins so long after the one before at the latest: the next start reads all of the log.
const PASS_EVERY_MAX: Duration = Duration::from_secs(600);

/// Looks for damage, for as long as anybody holds the engine.
pub(super) async fn run(engine: Weak<Inner>) {
    let throttle = {
        let Some(inner) = engine.upgrade() else { return };
        Throttle::new(inner.options.scrub_bytes_per_second)
    };
    time::sleep(SCRUB_START_AFTER).await;
    loop {
        let began = time::now();
        let Some(inner) = engine.upgrade() else { return };
        let interval = inner.options.scrub_interval.min(PASS_EVERY_MAX);
        let log = inner.parts.log.clone();
        drop(inner);
        // A file that cannot be read now is read in the next pass.
        drop(log.scrub(async |bytes| throttle.take(bytes).await).await);
        drop(log);
        time::sleep_until((began + interval).max(time::now() + SCRUB_REST_MIN)).await;
    }
}

impl Engine {
    /// What damage of this core's log was found and mended since it was opened.
    pub fn log_damage(&self) -> LogDamage {
        self.inner.parts.log.damage()
    }

    /// Waits until more segments of the log were found damaged than `seen`, and says what is wrong with the
    /// newest of them; `None` where it is mended by then.
    pub async fn next_log_damage(&self, seen: u64) -> Option<WalError> {
        self.inner.parts.log.next_damage(seen).await
    }

    /// Checks all that is kept of this core's log, as fast as it can be read. Damage is noted and mended.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub async fn scrub_log(&self) -> Result<(), WalError> {
        self.inner.parts.log.scrub(async |_bytes| {}).await
    }
}
