//! A limit on bytes a second, for work that must not be in anybody's way.

use std::cell::Cell;
use std::time::Duration;

use runtime::time::{self, Instant};

/// What may be taken at once after a pause: so much of a second's bytes.
const BURST: Duration = Duration::from_millis(100);

/// Spreads bytes evenly over time, by the clock that does not jump. Belongs to one core; tasks that
/// share one share its rate.
pub struct Throttle {
    bytes_per_second: Cell<u64>,
    /// When all that was taken so far will have been paid for.
    paid: Cell<Instant>,
}

impl Throttle {
    /// A limit in bytes a second; 0 limits nothing.
    pub fn new(bytes_per_second: u64) -> Throttle {
        Throttle { bytes_per_second: Cell::new(bytes_per_second), paid: Cell::new(time::now()) }
    }

    /// Waits until `bytes` more are within the rate. More than a burst is let through, and makes
    /// the next one wait the longer.
    pub async fn take(&self, bytes: u64) {
        let rate = self.bytes_per_second.get();
        if rate == 0 {
            return;
        }
        let now = time::now();
        let paid = self.paid.get().max(now - BURST);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        self.paid.set(paid + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        if paid > now {
            time::sleep_until(paid).await;
        }
    }
}
