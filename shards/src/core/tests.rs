//! Engines in the simulated world, several cores, no SQL: raw keys through effects.

mod cluster;
mod handover;

use super::{CoreMessage, DataDir, DataDirOptions, Engine, EngineOptions, PointLookup};
use crate::raft::Alone;
use model::command::{Effect, KeyConflict, Outcome, RequestBody, Response};
use model::error::{SqlError, SqlState};
use model::id::{CoreId, NodeId, PartitionId, TxnId};
use model::time::Timestamp;
use runtime::mesh::MeshBuilder;
use runtime::sim::{DiskError, DiskFault, Loss, Operations, Options, Sim};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 4;
/// Transactions that stage more than this go through the log in parts.
const PART_BYTES: usize = 4 << 10;
/// Keys of a transaction that takes several parts.
const LARGE_KEYS: usize = 40;

fn directory(cores: u16) -> DataDirOptions {
    DataDirOptions {
        path: PathBuf::from("/data"),
        node: NodeId(1),
        cores,
        partitions: PARTITIONS,
        memory_bytes: 32 << 20,
        wal_segment_bytes: 256 << 10,
    }
}

fn options(dir: &DataDir, core: u16) -> EngineOptions {
    let options = EngineOptions::new("/data", NodeId(1), CoreId(core), dir.placement());
    EngineOptions {
        memory_bytes: 32 << 20,
        wal_segment_bytes: 256 << 10,
        wal_live_bytes_max: 1 << 20,
        part_bytes: PART_BYTES,
        lock_timeout: Duration::from_secs(2),
        resolve_delay: Duration::from_secs(1),
        ..options
    }
}

type Main = Rc<dyn Fn(Engine) -> std::pin::Pin<Box<dyn Future<Output = ()>>>>;

/// Starts node 1 with `cores`; `main` runs on core 0, the others serve. `left` counts the cores.
fn start(sim: &Sim, cores: u16, main: Main) {
    let dir: Rc<RefCell<Option<Rc<DataDir>>>> = Rc::default();
    let mesh: Rc<RefCell<Option<MeshBuilder<CoreMessage>>>> = Rc::default();
    sim.start_node(1, cores, move |core| {
        let (dir, mesh, main) = (dir.clone(), mesh.clone(), main.clone());
        Box::pin(async move {
            if core == 0 {
                let opened = Rc::new(DataDir::open(&directory(cores)).await.unwrap());
                *mesh.borrow_mut() = Some(MeshBuilder::new(cores, 16));
                *dir.borrow_mut() = Some(opened);
            }
            while dir.borrow().is_none() {
                runtime::time::sleep(Duration::from_micros(100)).await;
            }
            let opened = dir.borrow().clone().unwrap();
            let builder = mesh.borrow().clone().unwrap();
            let engine =
                Engine::open(options(&opened, core), builder.join(core).await, Rc::new(Alone))
                    .await
                    .unwrap();
            if core == 0 {
                main(engine).await;
            } else {
                // Serves until the node ends.
                runtime::time::sleep(Duration::from_secs(100_000)).await;
                drop(engine);
            }
        })
    });
}

fn txn(engine: &Engine) -> TxnId {
    TxnId { began: engine.now(), node: engine.node(), core: engine.core() }
}

fn put(key: &str, value: &str) -> Effect {
    Effect::PutKey { key: key.as_bytes().to_vec(), value: value.as_bytes().to_vec() }
}

/// Writes of a key, and where they are to be many, of others whose names begin with it.
fn puts(key: &str, large: bool) -> Vec<Effect> {
    let others = (0..if large { LARGE_KEYS } else { 0 }).map(|other| format!("{key}.{other}"));
    let others = others.map(|other| put(&other, &"v".repeat(500)));
    std::iter::once(put(key, "v")).chain(others).collect()
}

/// How many of these are there.
async fn count(engine: &Engine, partition: u32, key: &str, large: bool) -> usize {
    let mut count = usize::from(get(engine, partition, key).await.is_some());
    for other in 0..if large { LARGE_KEYS } else { 0 } {
        let key = format!("{key}.{other}");
        count += usize::from(get(engine, partition, &key).await.is_some());
    }
    count
}

async fn stage(
    engine: &Engine,
    txn: TxnId,
    partition: u32,
    effects: Vec<Effect>,
) -> Result<(), SqlError> {
    let body = RequestBody::Stage { txn, effects, mark: None, lock_timeout: None };
    engine.call(PartitionId(partition), body).await.map(drop)
}

async fn commit(engine: &Engine, txn: TxnId, partition: u32) -> Result<Timestamp, SqlError> {
    let body = RequestBody::CommitOnePhase { txn, not_after: Timestamp::MAX };
    match engine.call(PartitionId(partition), body).await? {
        Response::Committed(at) => Ok(at),
        other => panic!("{other:?}"),
    }
}

async fn get(engine: &Engine, partition: u32, key: &str) -> Option<Vec<u8>> {
    let at = engine.now();
    let partition = engine.inner.partition(PartitionId(partition)).unwrap();
    let row = partition.get(key.as_bytes(), at, None, None, None).await.unwrap();
    row.map(|row| row.value.to_vec())
}

/// Two-phase commit as a router would drive it, going on only while `go_on` says so.
async fn two_phase(
    engine: &Engine,
    txn: TxnId,
    partitions: &[u32],
    mut go_on: impl FnMut(&str) -> bool,
) -> Result<Option<Timestamp>, SqlError> {
    let anchor = PartitionId(partitions[0]);
    let mut commit = engine.now();
    for &partition in partitions {
        if !go_on("prepare") {
            return Ok(None);
        }
        let body = RequestBody::Prepare { txn, anchor };
        match engine.call(PartitionId(partition), body).await? {
            Response::Prepared(at) => commit = commit.max(at),
            other => panic!("{other:?}"),
        }
    }
    if !go_on("decide") {
        return Ok(None);
    }
    let participants: Vec<PartitionId> = partitions.iter().copied().map(PartitionId).collect();
    let body = RequestBody::Decide { txn, commit, participants };
    let outcome = match engine.call(anchor, body).await? {
        Response::Decided(outcome) => outcome,
        other => panic!("{other:?}"),
    };
    for &partition in partitions {
        if !go_on("finish") {
            break;
        }
        engine.call(PartitionId(partition), RequestBody::Finish { txn, outcome }).await?;
    }
    if go_on("forget") {
        engine.call(anchor, RequestBody::Forget { txn }).await?;
    }
    Ok((outcome == Outcome::Committed(commit)).then_some(commit))
}

fn run(seed: u64, cores: u16, main: impl Fn(Engine) -> LocalMain + 'static) -> Sim {
    let sim = Sim::new(Options::new(seed));
    let done = Rc::new(Cell::new(false));
    let flag = done.clone();
    let main = Rc::new(main);
    start(
        &sim,
        cores,
        Rc::new(move |engine| {
            let (flag, main) = (flag.clone(), main.clone());
            Box::pin(async move {
                main(engine).await;
                flag.set(true);
            })
        }),
    );
    for _ in 0..10_000 {
        sim.run_for(Duration::from_millis(20)).unwrap();
        if done.get() || !sim.panics().is_empty() {
            break;
        }
    }
    assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
    assert!(done.get(), "seed {seed}: not done in time");
    sim
}

type LocalMain = std::pin::Pin<Box<dyn Future<Output = ()>>>;

#[test]
fn what_one_partition_commits_is_read_here_and_after_a_restart() {
    let sim = run(1, 2, |engine| {
        Box::pin(async move {
            let id = txn(&engine);
            stage(&engine, id, 2, vec![put("....a", "1"), put("....b", "2")]).await.unwrap();
            // Another core's partition.
            let other = TxnId { began: engine.now(), ..id };
            stage(&engine, other, 1, vec![put("....c", "3")]).await.unwrap();
            commit(&engine, id, 2).await.unwrap();
            commit(&engine, other, 1).await.unwrap();
            assert_eq!(get(&engine, 2, "....a").await.as_deref(), Some(&b"1"[..]));
            let at = engine.now();
            let found = engine.point_get(PartitionId(2), b"....b", at);
            assert!(matches!(found, PointLookup::Found(row) if row[..] == *b"2"));
            let absent = engine.point_get(PartitionId(2), b"....z", at);
            assert!(matches!(absent, PointLookup::Absent));
            let elsewhere = engine.point_get(PartitionId(1), b"....c", at);
            assert!(matches!(elsewhere, PointLookup::LongWay));
        })
    });
    sim.crash(1, Loss::Power);
    let seen = Rc::new(Cell::new(false));
    let flag = seen.clone();
    start(
        &sim,
        2,
        Rc::new(move |engine| {
            let flag = flag.clone();
            Box::pin(async move {
                assert_eq!(get(&engine, 2, "....b").await.as_deref(), Some(&b"2"[..]));
                flag.set(true);
            })
        }),
    );
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
    assert!(seen.get());
}

#[test]
fn a_taken_key_a_lock_and_a_sacrifice_are_told_apart() {
    run(2, 1, |engine| {
        Box::pin(async move {
            let first = txn(&engine);
            stage(&engine, first, 1, vec![put("....a", "1")]).await.unwrap();
            let second = txn(&engine);
            stage(&engine, second, 1, vec![put("....b", "1")]).await.unwrap();
            // Waits for the first, which then waits for it: one is failed by who looks for circles.
            let waiting = {
                let engine = engine.clone();
                runtime::task::spawn("second", async move {
                    stage(&engine, second, 1, vec![put("....a", "2")]).await
                })
            };
            runtime::time::sleep(Duration::from_millis(10)).await;
            let other = {
                let engine = engine.clone();
                runtime::task::spawn("first", async move {
                    stage(&engine, first, 1, vec![put("....b", "2")]).await
                })
            };
            engine.long_wait().await;
            let waits = engine.waits();
            let told: Vec<_> =
                waits.iter().map(|wait| (wait.txn, &wait.waits_for[..], &wait.key[..])).collect();
            assert_eq!(
                told,
                [(second, &[first][..], &b"....a"[..]), (first, &[second][..], &b"....b"[..])]
            );
            let circle = SqlError::new(SqlState::DEADLOCK_DETECTED, "a circle");
            assert!(engine.sacrifice(waits[0].number, circle.clone()));
            assert!(!engine.sacrifice(waits[0].number, circle.clone()), "it waits no more");
            assert_eq!(waiting.await.unwrap().unwrap_err(), circle);
            let body = RequestBody::Rollback { txn: second };
            engine.call(PartitionId(1), body).await.unwrap();
            other.await.unwrap().unwrap();
            // A third one waits until it has waited long enough.
            let third = txn(&engine);
            let error = stage(&engine, third, 1, vec![put("....a", "3")]).await.unwrap_err();
            assert_eq!(error.state(), SqlState::LOCK_NOT_AVAILABLE);
            assert!(error.fields().detail.as_ref().unwrap().contains(&first.to_string()));
            commit(&engine, first, 1).await.unwrap();
            let conflict = SqlError::new(SqlState::UNIQUE_VIOLATION, "taken");
            let claim = Effect::ClaimKey {
                key: b"....a".to_vec(),
                value: vec![],
                conflict: Arc::new(KeyConflict { error: conflict.clone() }),
            };
            assert_eq!(stage(&engine, third, 1, vec![claim]).await.unwrap_err(), conflict);
        })
    });
}

#[test]
fn a_read_waits_for_a_vote_before_it_and_for_no_other() {
    run(3, 2, |engine| {
        Box::pin(async move {
            let id = txn(&engine);
            stage(&engine, id, 2, vec![put("....a", "1")]).await.unwrap();
            stage(&engine, id, 1, vec![put("....b", "1")]).await.unwrap();
            let before = engine.now();
            let body = RequestBody::Prepare { txn: id, anchor: PartitionId(1) };
            engine.call(PartitionId(2), body.clone()).await.unwrap();
            engine.call(PartitionId(1), body).await.unwrap();
            // A snapshot before the vote sees what was there; one after it has to wait.
            let old = engine.point_get(PartitionId(2), b"....a", before);
            assert!(matches!(old, PointLookup::Absent));
            let after = engine.now();
            assert!(matches!(
                engine.point_get(PartitionId(2), b"....a", after),
                PointLookup::LongWay
            ));
            assert!(matches!(
                engine.point_get(PartitionId(2), b"....other", after),
                PointLookup::Absent
            ));
            let here = engine.inner.partition(PartitionId(2)).unwrap();
            let patience = Some(Duration::from_millis(50));
            let late = here.get(b"....a", after, None, None, patience).await;
            let late = late.expect_err("there is no outcome");
            assert_eq!(late.state(), SqlState::LOCK_NOT_AVAILABLE);
            let detail = late.fields().detail.clone().unwrap_or_default();
            let told = format!("Transaction {id} commits changes of ");
            assert!(detail.starts_with(&told) && detail.ends_with("; waited 50 ms."), "{detail}");
            let reader = {
                let engine = engine.clone();
                runtime::task::spawn("reader", async move { get(&engine, 2, "....a").await })
            };
            two_phase(&engine, id, &[1, 2], |_| true).await.unwrap().unwrap();
            assert_eq!(reader.await.unwrap().as_deref(), Some(&b"1"[..]));
        })
    });
}

/// A coordinator that stops after each step: someone finishes the transaction, in all partitions
/// alike, with a crash or without.
#[test]
fn a_transaction_without_coordinator_ends_everywhere_alike() {
    without_coordinator(false);
}

/// The same with writes that go through the log in parts. The number of cores changes, so that
/// open votes move to another log.
#[test]
fn a_large_transaction_without_coordinator_ends_everywhere_alike() {
    without_coordinator(true);
}

fn without_coordinator(large: bool) {
    let whole = if large { LARGE_KEYS + 1 } else { 1 };
    for stop_after in 0..7 {
        for crash in [None, Some(Loss::Process), Some(Loss::Power)] {
            let sim = run(40 + stop_after, 2, move |engine| {
                Box::pin(async move {
                    let id = txn(&engine);
                    for partition in [1, 2] {
                        stage(&engine, id, partition, puts("....k", large)).await.unwrap();
                    }
                    let mut steps = 0;
                    two_phase(&engine, id, &[1, 2], |_| {
                        steps += 1;
                        steps <= stop_after
                    })
                    .await
                    .unwrap();
                })
            });
            if let Some(loss) = crash {
                sim.crash(1, loss);
            }
            let result: Rc<RefCell<Option<BTreeMap<u32, usize>>>> = Rc::default();
            let slot = result.clone();
            if crash.is_none() {
                // The engine's handle went with its main task, and with it the engine.
                sim.crash(1, Loss::Process);
            }
            start(
                &sim,
                1,
                Rc::new(move |engine| {
                    let slot = slot.clone();
                    Box::pin(async move {
                        runtime::time::sleep(Duration::from_secs(5)).await;
                        let mut there = BTreeMap::new();
                        for partition in [1, 2] {
                            there
                                .insert(partition, count(&engine, partition, "....k", large).await);
                        }
                        assert_eq!(engine.stats().prepared, 0);
                        // Its locks are gone, too.
                        let next = txn(&engine);
                        for partition in [1, 2] {
                            stage(&engine, next, partition, puts("....k", large)).await.unwrap();
                        }
                        *slot.borrow_mut() = Some(there);
                    })
                }),
            );
            sim.run_for(Duration::from_secs(12)).unwrap();
            assert!(sim.panics().is_empty(), "stopped after {stop_after}: {:?}", sim.panics());
            let there = result.borrow_mut().take().expect("the check has run");
            let expected = if stop_after >= 3 { whole } else { 0 };
            assert_eq!(there, BTreeMap::from([(1, expected), (2, expected)]), "{stop_after}");
        }
    }
}

#[test]
fn a_lock_granted_after_a_rollback_is_not_kept() {
    run(5, 2, |engine| {
        Box::pin(async move {
            let first = txn(&engine);
            stage(&engine, first, 1, vec![put("....a", "1")]).await.unwrap();
            let second = txn(&engine);
            let waiting = {
                let engine = engine.clone();
                runtime::task::spawn("second", async move {
                    stage(&engine, second, 1, vec![put("....a", "2")]).await
                })
            };
            runtime::time::sleep(Duration::from_millis(10)).await;
            for txn in [second, first] {
                engine.call(PartitionId(1), RequestBody::Rollback { txn }).await.unwrap();
            }
            assert!(waiting.await.unwrap().is_err());
            let third = txn(&engine);
            stage(&engine, third, 1, vec![put("....a", "3")]).await.unwrap();
            commit(&engine, third, 1).await.unwrap();
        })
    });
}

/// The same of one that nobody waits for any more when it is granted.
#[test]
fn a_lock_granted_after_a_rollback_to_nobody_is_not_kept() {
    run(5, 1, |engine| {
        Box::pin(async move {
            let first = txn(&engine);
            stage(&engine, first, 1, vec![put("....a", "1")]).await.unwrap();
            let second = txn(&engine);
            let mut waiting = Box::pin(stage(&engine, second, 1, vec![put("....a", "2")]));
            assert!(futures::poll!(&mut waiting).is_pending());
            for txn in [second, first] {
                engine.call(PartitionId(1), RequestBody::Rollback { txn }).await.unwrap();
            }
            drop(waiting);
            let third = txn(&engine);
            stage(&engine, third, 1, vec![put("....a", "3")]).await.unwrap();
            commit(&engine, third, 1).await.unwrap();
        })
    });
}

/// Runs one core of node 1 with a disk that `main` can break.
fn with_disk(seed: u64, main: impl Fn(Engine, Rc<Sim>) -> LocalMain + 'static) {
    let sim = Rc::new(Sim::new(Options::new(seed)));
    let (done, main) = (Rc::new(Cell::new(false)), Rc::new(main));
    let (flag, weak) = (done.clone(), Rc::downgrade(&sim));
    start(
        &sim,
        1,
        Rc::new(move |engine| {
            let (flag, main, sim) = (flag.clone(), main.clone(), weak.upgrade().unwrap());
            Box::pin(async move {
                main(engine, sim).await;
                flag.set(true);
            })
        }),
    );
    for _ in 0..1_000 {
        sim.run_for(Duration::from_millis(100)).unwrap();
        if done.get() || !sim.panics().is_empty() {
            break;
        }
    }
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
    assert!(done.get());
}

async fn write_one(engine: &Engine, number: u64) -> Result<Timestamp, SqlError> {
    let id = txn(engine);
    let value = "v".repeat(2_000);
    stage(engine, id, 1, vec![put(&format!("....{number}"), &value)]).await?;
    commit(engine, id, 1).await
}

/// Behind a decision that is on its way into the log an abort is, which the decision overrules: who
/// waits for the abort to be carried out goes on with the decision.
#[test]
fn an_abort_that_a_decision_overrules_keeps_nobody_waiting() {
    with_disk(31, |engine, sim| {
        Box::pin(async move {
            let id = txn(&engine);
            let (anchor, other) = (PartitionId(1), PartitionId(2));
            for (partition, key) in [(1, "....a"), (2, "....b")] {
                stage(&engine, id, partition, vec![put(key, "1")]).await.unwrap();
            }
            for partition in [other, anchor] {
                engine.call(partition, RequestBody::Prepare { txn: id, anchor }).await.unwrap();
            }
            let commit = engine.now();
            let outcome = Outcome::Committed(commit);
            let participants = vec![anchor, other];
            // One after the other, all before the log has written the first.
            sim.disk(1).stall(Operations::ALL, Duration::from_millis(50));
            let mut asked = Vec::new();
            for body in [
                RequestBody::Decide { txn: id, commit, participants },
                RequestBody::Resolve { txn: id },
                RequestBody::Finish { txn: id, outcome },
            ] {
                let engine = engine.clone();
                let call = async move { engine.call(anchor, body).await };
                asked.push(runtime::task::spawn("request", call));
                runtime::time::sleep(Duration::from_millis(1)).await;
            }
            let all = futures::future::join_all(asked);
            // Before the resolver looks again, which would set them free.
            let limit = Duration::from_millis(200);
            let answers = runtime::time::timeout(limit, all).await.unwrap();
            let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
            for answer in &answers[..2] {
                let answer = answer.as_ref().unwrap();
                assert!(
                    matches!(answer, Response::Decided(known) if *known == outcome),
                    "{answer:?}"
                );
            }
            assert!(answers[2].is_ok(), "{answers:?}");
            assert_eq!(get(&engine, 1, "....a").await.as_deref(), Some(&b"1"[..]));
        })
    });
}

#[test]
fn a_full_disk_fails_writes_while_reads_go_on_and_writes_resume() {
    with_disk(6, |engine, sim| {
        Box::pin(async move {
            write_one(&engine, 0).await.unwrap();
            sim.disk(1).set_capacity(sim.disk(1).used());
            let mut number = 0;
            let refused = loop {
                number += 1;
                if let Err(error) = write_one(&engine, number).await {
                    break error;
                }
                assert!(number < 10_000, "the disk never filled");
            };
            assert_eq!(refused.state(), SqlState::DISK_FULL);
            assert!(get(&engine, 1, "....0").await.is_some());
            assert!(get(&engine, 1, &format!("....{number}")).await.is_none());
            sim.disk(1).set_capacity(1 << 40);
            runtime::time::sleep(Duration::from_secs(1)).await;
            // The refused one left no lock behind.
            write_one(&engine, number).await.unwrap();
            assert!(get(&engine, 1, &format!("....{number}")).await.is_some());
        })
    });
}

/// A large transaction of which some parts got into the log is rolled back.
#[test]
fn a_full_disk_refuses_a_large_transaction_as_a_whole() {
    with_disk(9, |engine, sim| {
        Box::pin(async move {
            write_one(&engine, 0).await.unwrap();
            let large = |txn: TxnId| {
                let value = "v".repeat(2_000);
                let engine = engine.clone();
                async move {
                    for number in 0..400 {
                        let put = put(&format!("....large{number}"), &value);
                        stage(&engine, txn, 1, vec![put]).await.unwrap();
                    }
                    commit(&engine, txn, 1).await
                }
            };
            sim.disk(1).set_capacity(sim.disk(1).used() + (600 << 10));
            let refused = large(txn(&engine)).await.unwrap_err();
            assert_eq!(refused.state(), SqlState::DISK_FULL);
            assert!(get(&engine, 1, "....large0").await.is_none());
            assert_eq!(engine.stats().transactions, 0);
            sim.disk(1).set_capacity(1 << 40);
            runtime::time::sleep(Duration::from_secs(1)).await;
            large(txn(&engine)).await.unwrap();
            for number in 0..400 {
                assert!(get(&engine, 1, &format!("....large{number}")).await.is_some());
            }
        })
    });
}

/// Whoever reads the rows of a prepared transaction waits for its outcome, which must get into the
/// log although nothing that begins does.
#[test]
fn a_full_disk_leaves_room_for_outcomes() {
    with_disk(8, |engine, sim| {
        Box::pin(async move {
            let prepared = [txn(&engine), txn(&engine)];
            for (id, key) in prepared.iter().zip(["....a", "....b"]) {
                stage(&engine, *id, 1, vec![put(key, "1")]).await.unwrap();
                stage(&engine, *id, 2, vec![put(key, "2")]).await.unwrap();
                let stopped = two_phase(&engine, *id, &[1, 2], |step| step == "prepare");
                assert_eq!(stopped.await.unwrap(), None);
            }
            sim.disk(1).set_capacity(sim.disk(1).used());
            let mut number = 0;
            while write_one(&engine, number).await.is_ok() {
                number += 1;
                assert!(number < 10_000, "the disk never filled");
            }
            let late = txn(&engine);
            stage(&engine, late, 1, vec![put("....c", "1")]).await.unwrap();
            let refused = two_phase(&engine, late, &[1], |_| true).await.unwrap_err();
            assert_eq!(refused.state(), SqlState::DISK_FULL);
            let committed = two_phase(&engine, prepared[0], &[1, 2], |_| true).await.unwrap();
            assert!(committed.is_some());
            let body = || RequestBody::Rollback { txn: prepared[1] };
            engine.call(PartitionId(1), body()).await.unwrap();
            engine.call(PartitionId(2), body()).await.unwrap();
            assert!(get(&engine, 2, "....a").await.is_some());
            assert!(get(&engine, 2, "....b").await.is_none());
        })
    });
}

#[test]
fn a_failed_log_write_ends_writes_for_good_and_not_reads() {
    with_disk(7, |engine, sim| {
        Box::pin(async move {
            write_one(&engine, 0).await.unwrap();
            // The next segment is prepared by now: the write that fails is one of the log.
            runtime::time::sleep(Duration::from_secs(1)).await;
            let fault = DiskFault::new(Operations::WRITE, DiskError::InputOutput);
            sim.disk(1).fail(fault.on_path("wal").once());
            // What the failed write held may be there after the next start; what came later is not.
            let states = [SqlState::STATEMENT_COMPLETION_UNKNOWN, SqlState::IO_ERROR];
            for (number, state) in (1..4).zip([states[0], states[1], states[1]]) {
                let refused = write_one(&engine, number).await.unwrap_err();
                assert_eq!(refused.state(), state);
            }
            assert!(get(&engine, 1, "....0").await.is_some());
        })
    });
}

/// Commits in one and in two partitions while power goes: what was acknowledged is there, and
/// nothing is there by half. The number of cores changes from life to life.
#[test]
fn acknowledged_commits_survive_power_loss_and_other_core_counts() {
    for seed in 0..4_u64 {
        let sim = Sim::new(Options::new(1_000 + seed));
        let acknowledged: Rc<RefCell<BTreeMap<u64, ()>>> = Rc::default();
        let next = Rc::new(Cell::new(0_u64));
        for life in 0..5_u64 {
            let (known, counter) = (acknowledged.clone(), next.clone());
            let cores = [1, 2, 3, 1, 2][((life + seed) % 5) as usize];
            start(
                &sim,
                cores,
                Rc::new(move |engine| {
                    let (known, counter) = (known.clone(), counter.clone());
                    Box::pin(async move {
                        loop {
                            counter.set(counter.get() + 1);
                            let number = counter.get();
                            let key = format!("....{number}");
                            let id = txn(&engine);
                            let partitions = [1 + (number % 4) as u32, 1 + (number / 4 % 4) as u32];
                            for partition in partitions {
                                let puts = puts(&key, is_large(number));
                                stage(&engine, id, partition, puts).await.unwrap();
                            }
                            if partitions[0] == partitions[1] {
                                commit(&engine, id, partitions[0]).await.unwrap();
                            } else {
                                two_phase(&engine, id, &partitions, |_| true).await.unwrap();
                            }
                            known.borrow_mut().insert(number, ());
                        }
                    })
                }),
            );
            let millis = 300 + (seed * 7_919 + life * 1_299_709) % 900;
            sim.run_for(Duration::from_millis(millis)).unwrap();
            assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
            sim.crash(1, Loss::Power);
        }
        assert!(acknowledged.borrow().len() > 50, "seed {seed}: too few commits");
        check_all(&sim, seed, acknowledged, next.get());
    }
}

/// Every third one is.
fn is_large(number: u64) -> bool {
    number.is_multiple_of(3)
}

fn check_all(sim: &Sim, seed: u64, acknowledged: Rc<RefCell<BTreeMap<u64, ()>>>, last: u64) {
    let checked = Rc::new(Cell::new(false));
    let flag = checked.clone();
    start(
        sim,
        1,
        Rc::new(move |engine| {
            let (flag, acknowledged) = (flag.clone(), acknowledged.clone());
            Box::pin(async move {
                runtime::time::sleep(Duration::from_secs(5)).await;
                for number in 1..=last {
                    let key = format!("....{number}");
                    let partitions = [1 + (number % 4) as u32, 1 + (number / 4 % 4) as u32];
                    let large = is_large(number);
                    let one = count(&engine, partitions[0], &key, large).await;
                    let two = count(&engine, partitions[1], &key, large).await;
                    let whole = if large { LARGE_KEYS + 1 } else { 1 };
                    assert!(
                        one == two && (one == 0 || one == whole),
                        "seed {seed}: {number} is there in part: {one} and {two} of {whole}"
                    );
                    assert!(
                        one > 0 || !acknowledged.borrow().contains_key(&number),
                        "{number} is lost"
                    );
                }
                flag.set(true);
            })
        }),
    );
    sim.run_for(Duration::from_secs(30)).unwrap();
    assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
    assert!(checked.get(), "seed {seed}");
}
