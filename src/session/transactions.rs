//! `phantom.transactions`: the transactions of all cores of the node, a row for each.

use super::backends::NodeView;
use super::tables::NamedRow;
use model::command::Isolation;
use model::id::{PartitionId, TxnId};
use model::value::Value;
use shards::core::{TxnReport, TxnState};
use std::collections::BTreeMap;

/// Microseconds from the Unix epoch to PostgreSQL's.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What all partitions have told of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    state: TxnState,
    partitions: Vec<PartitionId>,
    anchor: Option<PartitionId>,
    locks: usize,
    staged_bytes: Option<usize>,
    /// Microseconds since the last that was heard of it.
    quiet: i64,
}

impl Known {
    fn of(report: &TxnReport) -> Known {
        Known {
            state: report.state,
            partitions: Vec::new(),
            anchor: None,
            locks: 0,
            staged_bytes: Some(0),
            quiet: i64::MAX,
        }
    }

    fn add(&mut self, report: &TxnReport) {
        self.state = later(self.state, report.state);
        if self.partitions.last() != Some(&report.partition) {
            self.partitions.push(report.partition);
            self.locks += report.locks;
        }
        self.anchor = self.anchor.or(report.anchor);
        self.staged_bytes = self.staged_bytes.zip(report.staged_bytes).map(|(a, b)| a + b);
        self.quiet = self.quiet.min(i64::try_from(report.quiet.as_micros()).unwrap_or(i64::MAX));
    }
}

/// What a transaction does that has come this far in two partitions. It is decided where one of them
/// knows that it is, and has voted when all have.
fn later(a: TxnState, b: TxnState) -> TxnState {
    use TxnState::{Active, Committing, Decided, Finishing, InDoubt, Prepared, Preparing};
    let either = |state| a == state || b == state;
    if a == b {
        a
    } else if either(Decided) || either(Finishing) {
        Finishing
    } else if either(Committing) {
        Committing
    } else if either(Active) || either(Preparing) {
        Preparing
    } else if either(Prepared) {
        Prepared
    } else {
        InDoubt
    }
}

fn name(state: TxnState) -> &'static str {
    match state {
        TxnState::Active => "active",
        TxnState::Committing => "committing",
        TxnState::Preparing => "preparing",
        TxnState::Prepared => "prepared",
        TxnState::InDoubt => "in doubt",
        TxnState::Finishing | TxnState::Decided => "finishing",
    }
}

fn isolation(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// By transaction, from what all cores have told.
fn by_transaction(reports: &[TxnReport]) -> BTreeMap<TxnId, Known> {
    let mut known = BTreeMap::new();
    for report in reports {
        known.entry(report.txn).or_insert_with(|| Known::of(report)).add(report);
    }
    known
}

impl NodeView {
    /// The rows of `phantom.transactions`: what has something in a partition, and what a session has
    /// open.
    pub(super) fn transaction_rows(&self, now_micros: i64) -> Vec<NamedRow> {
        let mut known: BTreeMap<TxnId, Option<Known>> =
            by_transaction(&self.transactions).into_iter().map(|(id, of)| (id, Some(of))).collect();
        for backend in &self.backends {
            if let Some((id, _)) = backend.transaction {
                known.entry(id).or_default();
            }
        }
        known.into_iter().map(|(id, known)| self.transaction_row(id, known, now_micros)).collect()
    }

    fn transaction_row(&self, id: TxnId, known: Option<Known>, now_micros: i64) -> NamedRow {
        let session = self.holder(id);
        let began = i64::try_from(id.began.0 / 1_000).unwrap_or(i64::MAX) - EPOCH_MICROS;
        let began = session.and_then(|session| session.transaction).map_or(began, |(_, at)| at);
        let mut row = vec![
            ("id", text(id)),
            ("node", Value::Int(i64::from(id.node.0))),
            ("core", Value::Int(i64::from(id.core.0))),
            ("pid", session.map_or(Value::Null, |of| Value::Int(i64::from(of.process)))),
            ("state", Value::text(known.as_ref().map_or("active", |known| name(known.state)))),
            ("isolation", session.map_or(Value::Null, |of| Value::text(isolation(of.isolation)))),
            ("began", Value::Timestamp(began)),
        ];
        let count = |count: usize| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        let number = |partition: PartitionId| Value::Int(i64::from(partition.0));
        match known {
            Some(known) => row.extend([
                ("partitions", Value::array(known.partitions.into_iter().map(number).collect())),
                ("anchor", known.anchor.map_or(Value::Null, number)),
                ("locks", count(known.locks)),
                ("staged_bytes", known.staged_bytes.map_or(Value::Null, count)),
                ("heard", Value::Timestamp(now_micros.saturating_sub(known.quiet))),
            ]),
            None => row.extend([
                ("partitions", Value::array(Vec::new())),
                ("locks", Value::Int(0)),
                ("staged_bytes", Value::Int(0)),
            ]),
        }
        row.extend(self.wait_of(id, now_micros));
        row
    }

    /// Whom a transaction waits for, what for, and since when.
    fn wait_of(&self, id: TxnId, now_micros: i64) -> NamedRow {
        let waits = self.locks.iter().filter(|lock| lock.txn == id);
        let waits: Vec<_> = waits.filter_map(|lock| lock.wait.as_ref()).collect();
        let Some(longest) = waits.iter().map(|wait| wait.waited).max() else { return Vec::new() };
        let mut blockers: Vec<TxnId> =
            waits.iter().flat_map(|wait| wait.waits_for.iter().copied()).collect();
        blockers.sort_unstable();
        blockers.dedup();
        let role = Some(self.role);
        let keys = waits.iter();
        let keys = keys.map(|wait| self.catalog.describe_key(&wait.key, wait.is_range, role));
        let keys: Vec<String> = keys.collect();
        let longest = i64::try_from(longest.as_micros()).unwrap_or(i64::MAX);
        vec![
            ("blocked_by", Value::array(blockers.into_iter().map(text).collect())),
            ("waits_for", Value::text(keys.join("; "))),
            ("waitstart", Value::Timestamp(now_micros.saturating_sub(longest))),
        ]
    }
}

fn text(id: TxnId) -> Value {
    Value::text(id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{CoreId, NodeId};
    use model::time::Timestamp;
    use std::time::Duration;

    fn report(age: u64, partition: u32, state: TxnState) -> TxnReport {
        TxnReport {
            txn: TxnId { began: Timestamp(age), node: NodeId(1), core: CoreId(0) },
            partition: PartitionId(partition),
            state,
            anchor: (state != TxnState::Active).then_some(PartitionId(1)),
            locks: 2,
            staged_bytes: (state != TxnState::Finishing).then_some(10),
            quiet: Duration::from_micros(u64::from(partition)),
        }
    }

    #[test]
    fn a_transaction_is_what_its_partitions_know_together() {
        use TxnState::{Active, Decided, Finishing, InDoubt, Prepared, Preparing};
        let together = |states: &[TxnState]| {
            let reports: Vec<TxnReport> =
                (1..).zip(states).map(|(partition, &state)| report(7, partition, state)).collect();
            let known = by_transaction(&reports);
            assert_eq!(known.len(), 1);
            name(known.into_values().next().unwrap().state)
        };
        assert_eq!(together(&[Active]), "active");
        assert_eq!(together(&[Active, Preparing]), "preparing");
        assert_eq!(together(&[Prepared, Active]), "preparing");
        assert_eq!(together(&[Prepared, Prepared]), "prepared");
        assert_eq!(together(&[InDoubt, Prepared]), "prepared");
        assert_eq!(together(&[InDoubt, InDoubt]), "in doubt");
        assert_eq!(together(&[InDoubt, Finishing, InDoubt]), "finishing");
        assert_eq!(together(&[Decided, Prepared]), "finishing");
        assert_eq!(together(&[Decided]), "finishing");
    }

    #[test]
    fn what_partitions_hold_is_added_up() {
        let mut reports = vec![
            report(7, 1, TxnState::Prepared),
            // The anchor tells of its vote and of the decision.
            report(7, 1, TxnState::Decided),
            report(7, 4, TxnState::Prepared),
            report(8, 2, TxnState::Active),
        ];
        reports[1].staged_bytes = Some(0);
        let known: Vec<Known> = by_transaction(&reports).into_values().collect();
        assert_eq!(known[0].partitions, [PartitionId(1), PartitionId(4)]);
        assert_eq!((known[0].locks, known[0].staged_bytes, known[0].quiet), (4, Some(20), 1));
        assert_eq!((known[0].anchor, known[1].anchor), (Some(PartitionId(1)), None));
        reports.push(report(8, 3, TxnState::Finishing));
        let known: Vec<Known> = by_transaction(&reports).into_values().collect();
        assert_eq!(known[1].staged_bytes, None);
    }
}
