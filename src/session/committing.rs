//! How a block commits, for clients that have said how it is to: `BEGIN ... WITH (commit = ...)`.
//!
//! One partition that holds something of it commits it in one phase; several take two, whichever of
//! `auto` and `two_phase` was said: on one node every participant can be reached.

use super::settings::COMMIT;
use super::{Session, Standing};
use crate::sql::{Planned, PlannedKind};
use model::error::{SqlError, SqlState};
use model::id::PartitionId;

/// Partitions that are named.
const NAMED_MAX: usize = 8;

/// The way that a block commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// What the client has said.
    mode: String,
    /// What holds something of the block.
    participants: Vec<PartitionId>,
}

impl Way {
    fn phases(&self) -> &'static str {
        match self.participants.len() {
            0 => "without a partition",
            1 => "in one phase",
            _ => "in two phases",
        }
    }

    fn why(&self) -> String {
        let named = self.participants.iter().take(NAMED_MAX);
        let mut named: Vec<String> = named.map(|partition| partition.0.to_string()).collect();
        match self.participants.as_slice() {
            [] => "It has locked and changed nothing.".to_owned(),
            [only] => format!("Partition {} takes part alone.", only.0),
            all => {
                if all.len() > NAMED_MAX {
                    named.push("...".to_owned());
                }
                let reachable = match self.mode.as_str() {
                    "auto" => " All of them can be reached.",
                    _ => "",
                };
                format!("{} partitions take part: {}.{reachable}", all.len(), named.join(", "))
            }
        }
    }

    /// What is told when it has committed.
    pub(super) fn to_notice(&self) -> SqlError {
        let text = format!("the transaction has committed {}", self.phases());
        SqlError::new(SqlState::SUCCESSFUL_COMPLETION, text).detail(self.why())
    }

    /// The same before, as a line of a plan.
    fn to_line(&self) -> String {
        format!("Commit: {}, so far {}. {}", self.mode, self.phases(), self.why())
    }
}

impl Session {
    /// Notes whether a `BEGIN` says how the block is to commit.
    pub(super) fn note_commit_mode(&mut self, planned: &Planned) {
        if let (PlannedKind::Begin(modes), Some(open)) = (&planned.kind, &mut self.open) {
            open.tells_commit |= modes.iter().any(|mode| mode.name == COMMIT);
        }
    }

    /// How the block would commit now, where its client is told of that.
    pub(super) fn way_of_commit(&self) -> Option<Way> {
        let open = self.open.as_ref().filter(|open| open.tells_commit)?;
        let mode = self.settings.show(COMMIT).ok()?;
        Some(Way { mode, participants: open.transaction.participants() })
    }

    /// The line of a plan about that.
    pub(super) fn explained_commit(&self) -> Option<String> {
        if self.standing == Standing::Saga {
            return Some("Commit: saga, each step by itself.".to_owned());
        }
        self.way_of_commit().map(|way| way.to_line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(mode: &str, partitions: &[u32]) -> Way {
        let participants = partitions.iter().copied().map(PartitionId).collect();
        Way { mode: mode.to_owned(), participants }
    }

    #[test]
    fn the_way_follows_from_who_takes_part() {
        assert_eq!(
            way("auto", &[]).to_line(),
            "Commit: auto, so far without a partition. It has locked and changed nothing."
        );
        assert_eq!(
            way("auto", &[3]).to_line(),
            "Commit: auto, so far in one phase. Partition 3 takes part alone."
        );
        assert_eq!(
            way("two_phase", &[1, 3]).to_line(),
            "Commit: two_phase, so far in two phases. 2 partitions take part: 1, 3."
        );
        let many: Vec<u32> = (1..=9).collect();
        let notice = way("auto", &many).to_notice();
        assert_eq!(notice.fields().message, "the transaction has committed in two phases");
        let detail = notice.fields().detail.as_deref();
        let told =
            "9 partitions take part: 1, 2, 3, 4, 5, 6, 7, 8, .... All of them can be reached.";
        assert_eq!(detail, Some(told));
    }
}
