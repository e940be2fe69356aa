//! openraft's own suite for storage, and what it does not ask: crashes, several groups, full disks.

use super::core_log::{CoreLog, CoreLogOptions};
use super::group_log::GroupLog;
use super::joining::Invitation;
use super::types::{Batch, Entry, LogId, Partitions, Vote};
use super::wire::{Ask, decode_ask};
use crate::wal::{Wal, WalOptions};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use model::id::{CoreId, LogIndex, NodeId, PartitionId};
use model::time::HybridClock;
use openraft::alias::{SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::impls::leader_id_std::LeaderId;
use openraft::storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Membership, RaftLogReader, RaftSnapshotBuilder, StorageError};
use runtime::random;
use runtime::sim::{Loss, Options, Sim};
use runtime::time;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const SEGMENT: u64 = 64 << 10;

/// Which partition's replica a message is for.
pub(crate) fn partition_asked(message: &Bytes) -> Option<PartitionId> {
    decode_ask(message.clone()).map(|(partition, _)| partition)
}

/// Whether a message between replicas is one in which a leader sends entries.
pub(crate) fn is_append(message: &Bytes) -> bool {
    matches!(decode_ask(message.clone()), Some((_, Ask::Append(_))))
}

fn options(directory: &str) -> CoreLogOptions {
    CoreLogOptions {
        wal: WalOptions {
            directory: PathBuf::from(directory),
            generation: 1,
            segment_bytes: SEGMENT,
            node: NodeId(1),
            core: CoreId(0),
        },
        frame_bytes_max: 16 << 10,
        queue_bytes_max: 1 << 20,
        // Most entries are read from the disk.
        cached_bytes_max: 8 << 10,
        seal_after: Duration::from_millis(200),
    }
}

async fn create(directory: &str) {
    Wal::create(options(directory).wal).await.unwrap();
    runtime::fs::sync_dir(Path::new("/")).await.unwrap();
}

async fn open(directory: &str) -> CoreLog {
    let clock = Rc::new(HybridClock::new(Arc::default(), Duration::from_millis(500)));
    CoreLog::open(options(directory), clock).await.unwrap()
}

/// Counts what is applied, and remembers who takes part: enough to be asked by the suite.
#[derive(Default, Clone)]
struct Counter {
    applied: Option<LogId>,
    voters: StoredMembershipOf<Partitions>,
    snapshot: Rc<RefCell<Option<SnapshotMetaOf<Partitions>>>>,
}

impl RaftSnapshotBuilder<Partitions> for Counter {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Partitions, ()>> {
        let meta = SnapshotMetaOf::<Partitions> {
            last_log_id: self.applied,
            last_membership: self.voters.clone(),
        };
        *self.snapshot.borrow_mut() = Some(meta.clone());
        Ok(SnapshotOf::<Partitions, ()> { meta, snapshot: () })
    }
}

impl RaftStateMachine<Partitions> for Counter {
    type SnapshotData = ();
    type SnapshotBuilder = Counter;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogId>, StoredMembershipOf<Partitions>)> {
        Ok((self.applied, self.voters.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Partitions>>> + Unpin,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(voters) = entry.payload {
                self.voters = StoredMembershipOf::<Partitions>::new(self.applied, voters);
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Counter {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Partitions>,
        (): (),
    ) -> io::Result<()> {
        (self.applied, self.voters) = (meta.last_log_id, meta.last_membership.clone());
        *self.snapshot.borrow_mut() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Partitions, ()>>> {
        let snapshot = self.snapshot.borrow().clone();
        Ok(snapshot.map(|meta| SnapshotOf::<Partitions, ()> { meta, snapshot: () }))
    }
}

struct Builder;

impl StoreBuilder<Partitions, GroupLog, Counter> for Builder {
    async fn build(&self) -> Result<((), GroupLog, Counter), StorageError<Partitions>> {
        let directory = format!("/wal-{}", random::next_u64());
        create(&directory).await;
        Ok(((), GroupLog::new(open(&directory).await, PartitionId(1)), Counter::default()))
    }
}

#[test]
fn the_suite_for_storage_passes() {
    let tested = Sim::new(Options::new(1)).run_until(Suite::test_all(Builder));
    tested.unwrap().unwrap();
}

/// Also where the log is moved to another one, as it is for another number of cores.
#[test]
fn how_a_replica_has_begun_is_known_to_the_next_start() {
    let ran = Sim::new(Options::new(2)).run_until(async {
        let (partition, vote) = (PartitionId(1), Vote::new_committed(7, 3));
        create("/wal-1").await;
        create("/wal-2").await;
        let (first, second) = (open("/wal-1").await, open("/wal-2").await);
        assert!(first.may_vote(partition));
        first.begin(partition, Invitation { vote, votes_from: LogIndex(9) }).await.unwrap();
        second.take_over_state(partition, &first).await.unwrap();
        for log in [&first, &second] {
            log.close().await;
        }
        for directory in ["/wal-1", "/wal-2"] {
            let log = open(directory).await;
            assert_eq!((log.may_vote(partition), log.vote(partition)), (false, Some(vote)));
            let entries = (0..=9).map(|index| random_entry(7, index)).collect();
            log.take_over(partition, entries).await.unwrap();
            assert!(log.may_vote(partition), "{directory}");
        }
    });
    ran.unwrap();
}

const NODE: u32 = 1;
const GROUPS: u32 = 3;

/// What a group's log holds.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    vote: Option<Vote>,
    entries: BTreeMap<u64, Entry>,
}

/// What a group was asked for, and what it was told.
#[derive(Default)]
struct Known {
    /// The states it has gone through.
    states: Vec<State>,
    /// It was told that this one is durable.
    durable: usize,
    purged: u64,
    /// How often it was told so in all its lives.
    told: u64,
    /// The newest term of all its lives.
    term: u64,
}

impl Known {
    fn now(&self) -> State {
        self.states.last().cloned().unwrap_or_default()
    }
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, 0).to_committed(), index)
}

fn random_entry(term: u64, index: u64) -> Entry {
    let payload = match random::below(8) {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Membership(Membership::new_with_defaults(
            vec![(1..=1 + random::below(3)).collect()],
            [9],
        )),
        _ => {
            let mut bytes = vec![0; random::below(3_000) as usize];
            random::fill(&mut bytes);
            EntryPayload::Normal(Batch::read(1 + index as u32, Bytes::from(bytes)))
        }
    };
    Entry { log_id: id(term, index), payload }
}

/// One group's life: votes, appends, truncates and lets go, until it is stopped.
async fn live(mut log: GroupLog, known: Rc<RefCell<Known>>) -> io::Result<()> {
    let note = |known: &Rc<RefCell<Known>>, state: State| {
        let mut known = known.borrow_mut();
        known.states.push(state);
        known.states.len() - 1
    };
    let durable = |known: &Rc<RefCell<Known>>, at: usize| {
        let mut known = known.borrow_mut();
        known.durable = known.durable.max(at);
        known.told += 1;
    };
    loop {
        let term = known.borrow().term;
        time::sleep(Duration::from_micros(random::below(1_000))).await;
        let mut state = known.borrow().now();
        let last = state.entries.last_key_value().map_or(known.borrow().purged, |(last, _)| *last);
        match random::below(10) {
            0 => {
                known.borrow_mut().term += 1;
                let vote = Vote::new_committed(term + 1, 1 + random::below(3));
                state.vote = Some(vote);
                let at = note(&known, state);
                log.save_vote(&vote).await?;
                durable(&known, at);
            }
            1 if last > known.borrow().purged => {
                let purged = known.borrow().purged;
                let after = purged + random::below(last - purged);
                state.entries.retain(|index, _| *index <= after);
                note(&known, state);
                log.truncate_after(Some(id(term, after))).await?;
                // An entry that takes the place of another is of another term.
                known.borrow_mut().term += 1;
            }
            2 if last > known.borrow().purged => {
                let to = known.borrow().purged + 1 + random::below(last - known.borrow().purged);
                known.borrow_mut().purged = to;
                log.purge(state.entries[&to].log_id).await?;
            }
            _ => {
                let entries: Vec<Entry> = (0..1 + random::below(4))
                    .map(|more| random_entry(term, last + 1 + more))
                    .collect();
                state
                    .entries
                    .extend(entries.iter().map(|entry| (entry.log_id.index, entry.clone())));
                let at = note(&known, state);
                let (promise, flushed) = Partitions::oneshot();
                log.append(entries, IOFlushed::signal(promise)).await?;
                if random::below(2) == 0 {
                    flushed.await.map_err(io::Error::other)??;
                    durable(&known, at);
                }
            }
        }
    }
}

/// Whatever was durable is there after a power loss, in one of the states that it went through
/// since; groups that share the log do not disturb each other, and segments are used again.
#[test]
fn what_was_durable_is_there_after_a_power_loss() {
    for seed in 0..12 {
        let sim = Sim::new(Options::new(seed));
        let groups: Vec<Rc<RefCell<Known>>> = (0..GROUPS).map(|_| Rc::default()).collect();
        let wrong: Rc<RefCell<Vec<String>>> = Rc::default();
        sim.start_node(NODE, 1, |_| Box::pin(create("/wal")));
        while sim.is_running(NODE) {
            sim.run_for(Duration::from_millis(10)).unwrap();
        }
        for life in 0..6 {
            let of_life = (groups.clone(), wrong.clone());
            sim.start_node(NODE, 1, move |_| {
                let (groups, wrong) = of_life.clone();
                Box::pin(async move {
                    let log = open("/wal").await;
                    let mut lives = Vec::new();
                    for (number, known) in groups.iter().enumerate() {
                        let mut group = GroupLog::new(log.clone(), PartitionId(number as u32));
                        let found = read_back(&mut group).await;
                        let compared = compare(found, &mut known.borrow_mut());
                        if let Err(what) = compared {
                            wrong.borrow_mut().push(format!("life {life}, group {number}: {what}"));
                            return;
                        }
                        lives.push(live(group, known.clone()));
                    }
                    let ended = futures::future::try_join_all(lives).await.map(|_: Vec<()>| ());
                    wrong.borrow_mut().push(format!("life {life}: ended with {ended:?}"));
                })
            });
            sim.run_for(Duration::from_millis(sim.random().below(400))).unwrap();
            assert!(wrong.borrow().is_empty(), "seed {seed}: {:?}", wrong.borrow());
            sim.crash(NODE, Loss::Power);
        }
        assert!(groups.iter().any(|known| known.borrow().told > 20), "this shows nothing");
        assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
    }
}

/// What a group's log holds, and how far it was let go.
async fn read_back(group: &mut GroupLog) -> (State, Option<LogId>) {
    let entries = group.try_get_log_entries(..).await.unwrap();
    let purged = group.get_log_state().await.unwrap().last_purged_log_id;
    let found = State {
        vote: group.read_vote().await.unwrap(),
        entries: entries.into_iter().map(|entry| (entry.log_id.index, entry)).collect(),
    };
    (found, purged)
}

/// Whether a group is in one of the states that it may be in; it goes on from there.
fn compare((found, purged): (State, Option<LogId>), known: &mut Known) -> Result<(), String> {
    let kept = |state: &State| {
        let mut state = state.clone();
        state.entries.retain(|index, _| *index > known.purged);
        state
    };
    let first = State::default();
    let may_be = known.states.iter().skip(known.durable);
    let fits = match known.states.is_empty() {
        true => found == first,
        false => may_be.chain((known.durable == 0).then_some(&first)).any(|state| {
            // What was let go may still be there, and nothing else.
            kept(state) == kept(&found)
        }),
    };
    if !fits || purged.is_some_and(|purged| purged.index > known.purged) {
        let keys: Vec<&u64> = found.entries.keys().collect();
        let states: Vec<_> = known.states[known.durable..]
            .iter()
            .map(|state| (state.vote, state.entries.keys().collect::<Vec<_>>()))
            .collect();
        return Err(format!(
            "found {:?} {keys:?} let go {purged:?}; known let go {}: {states:?}",
            found.vote, known.purged
        ));
    }
    // What was let go and is there again is let go again when it is asked for.
    known.purged = purged.map_or(0, |purged| purged.index);
    known.states = vec![found];
    known.durable = 0;
    Ok(())
}
