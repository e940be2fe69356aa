//! When the node's clock follows the one on the wall.
//!
//! ```text
//!             a link            no link, and a clock is refused
//!  starting ─────────► agreed ─────────────────────────────────► refused ──► follows the wall, if that
//!  follows    serves          ◄─────────────────────────────────             agrees with the others
//!                                            a link
//! ```
//!
//! The links compare the nodes' clocks, and a clock that others take is left alone, whatever becomes of the one
//! on the wall: that may be set wrong. One that nobody has taken yet follows the wall as if the node were started
//! again at each moment. One that is not taken any more, as after a host was suspended, follows where the clock on
//! the wall is the one that the others go by.
//!
//! Who refuses and is refused exchanges nothing, and leads no partition of several voters: what such a node has
//! given out it has told nobody, and [`NodeClock::follow`] keeps it in order among its own cores.

use super::neighbours::Neighbours;
use model::time::{CLOCKS_APART_MAX, NodeClock};
use net::link::{LinkEnd, Refusal};
use runtime::time;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How often the clocks are compared.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is less apart was set at the same time.
const APART_MIN: Duration = Duration::from_millis(1);

/// What others think of this node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nobody has seen it.
    Starting,
    /// It is taken, or was while there was somebody.
    Agreed,
    /// Nobody takes it. That of the node which was last asked is so far ahead, in nanoseconds.
    Refused(i64),
}

/// What others think of this node's clock, as far as one core knows.
#[derive(Debug)]
pub(super) struct Timekeeping(Cell<Standing>);

impl Timekeeping {
    /// Of a node that starts.
    pub(super) fn new() -> Timekeeping {
        Timekeeping(Cell::new(Standing::Starting))
    }

    /// There is a link, or the node serves without one.
    pub(super) fn agreed(&self) {
        self.0.set(Standing::Agreed);
    }

    /// A link was not made, or has ended, and was the last one.
    pub(super) fn alone(&self, reason: &LinkEnd) {
        let ahead = match reason {
            LinkEnd::Unwanted(Refusal::Clock { offset_nanos }) => *offset_nanos,
            // As the other one has measured it.
            LinkEnd::Refused(Refusal::Clock { offset_nanos }) => offset_nanos.saturating_neg(),
            _ => return,
        };
        if self.0.get() != Standing::Starting {
            self.0.set(Standing::Refused(ahead));
        }
    }

    /// Whether the node goes by the clock on the wall, which is so far ahead of its own.
    fn follows(&self, ahead: i64) -> bool {
        match self.0.get() {
            Standing::Starting => true,
            Standing::Agreed => false,
            Standing::Refused(others) => is_within(CLOCKS_APART_MAX, others.saturating_sub(ahead)),
        }
    }
}

fn is_within(bound: Duration, nanos: i64) -> bool {
    u128::from(nanos.unsigned_abs()) <= bound.as_nanos()
}

/// Has the node's clock follow the one on the wall where it is to. On one core of the node.
pub(super) async fn keep_time(clock: &NodeClock, neighbours: Rc<Neighbours>) {
    // One that was set is told of once.
    let mut told = false;
    loop {
        time::sleep(LOOK_EVERY).await;
        let (wall, now) = time::both_clocks();
        let (wall, now) = (wall.as_nanos(), now.as_nanos());
        let ahead = clock.behind(wall, now);
        let ahead_ms = ahead / 1_000_000;
        if is_within(APART_MIN, ahead) {
            told = false;
        } else if neighbours.timekeeping().follows(ahead) {
            clock.follow(wall, now);
            log::warn!(ahead_ms = ahead_ms; "the clock was set: the node follows it");
        } else if !told && !is_within(CLOCKS_APART_MAX, ahead) {
            told = true;
            log::warn!(ahead_ms = ahead_ms; "the clock was set: the node goes on by that of the other nodes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn refusing(offset_nanos: i64) -> LinkEnd {
        LinkEnd::Unwanted(Refusal::Clock { offset_nanos })
    }

    #[test]
    fn a_start_goes_by_the_wall_until_somebody_takes_its_clock() {
        let keeping = Timekeeping::new();
        assert!(keeping.follows(5 * SECOND));
        keeping.alone(&refusing(SECOND));
        assert!(keeping.follows(-5 * SECOND));
        keeping.agreed();
        assert!(!keeping.follows(5 * SECOND));
    }

    #[test]
    fn a_clock_that_nobody_takes_follows_one_that_the_others_go_by() {
        let keeping = Timekeeping::new();
        keeping.agreed();
        keeping.alone(&LinkEnd::Closed);
        assert!(!keeping.follows(5 * SECOND));
        keeping.alone(&refusing(5 * SECOND));
        assert!(keeping.follows(5 * SECOND + SECOND / 5));
        assert!(!keeping.follows(6 * SECOND), "the wall has another time than they");
        keeping.alone(&LinkEnd::Refused(Refusal::Clock { offset_nanos: 5 * SECOND }));
        assert!(keeping.follows(-5 * SECOND));
        keeping.agreed();
        assert!(!keeping.follows(-5 * SECOND));
    }
}
