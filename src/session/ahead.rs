//! Looking ahead in a pipeline.
//!
//! Requests of one connection are answered in order. Where several lookups stand next to each
//! other and their rows are on other cores, asking for one after the other would cost a wake-up of
//! both cores each. So a batch's lookups are sent out together before the first is answered; each
//! is then answered in its turn. They are reads outside of a transaction block, and nothing stands
//! between them: when they are asked makes no difference but to time.

use super::Session;
use super::block::Standing;
use super::prepared::{Name, fitted};
use super::run::now_micros;
use crate::sql::Planned;
use model::value::Value;
use shards::core::BatchStream;
use std::collections::VecDeque;
use std::rc::Rc;

/// Lookups that are on their way at once for one session.
const AHEAD_MAX: usize = 256;

/// The lookups that were sent out before their turn: one place for each request of the run.
#[derive(Default)]
pub(super) struct LookAhead {
    places: VecDeque<Option<Ahead>>,
    /// The one whose turn it is.
    pub(super) current: Option<Ahead>,
}

/// A lookup that is on its way.
pub(super) struct Ahead {
    pub(super) planned: Rc<Planned>,
    pub(super) rows: BatchStream,
}

impl LookAhead {
    /// The next request's turn.
    pub(super) fn advance(&mut self) {
        self.current = self.places.pop_front().flatten();
        if self.places.is_empty() {
            // An idle session holds nothing.
            self.places = VecDeque::new();
        }
    }
}

impl Session {
    /// Sends out the lookups among `executes`, the prepared executions that come next; the first
    /// that is none ends the run. Returns how many requests the run covers.
    pub fn look_ahead<'p>(&mut self, executes: impl Iterator<Item = (u32, &'p [Value])>) -> usize {
        if self.standing != Standing::Idle {
            return 0;
        }
        let mut places = VecDeque::new();
        for (number, parameters) in executes.take(AHEAD_MAX) {
            let Ok(planned) = self.prepared(Name::Number(number)) else { break };
            if !planned.is_point_read() {
                break;
            }
            // A parameter that does not fit is refused when the request has its turn.
            let lock_timeout = self.settings.lock_timeout();
            let rows = fitted(&planned, parameters.to_vec()).ok().and_then(|given| {
                self.host.router.look_up_elsewhere(&planned, given, now_micros(), lock_timeout)
            });
            places.push_back(rows.map(|rows| Ahead { planned, rows }));
        }
        let covered = places.len();
        if places.iter().any(Option::is_some) {
            self.ahead.places = places;
        }
        covered
    }
}
