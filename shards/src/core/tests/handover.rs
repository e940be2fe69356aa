//! Commits that hand their locks over when they have their place in the log, under a disk that is
//! slow, full, broken or without power.

use super::*;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use model::id::{Mark, ObjectId};
use model::probe::{Probe, Probed};
use model::row_lock::{LockRows, LockWait, RowLockMode, RowLocked};
use model::schema::{Placement, Table};
use runtime::task::{self, Task};

/// So long the disk answers nothing while others meet a commit.
const STALL: Duration = Duration::from_millis(50);
/// What needs no disk is over by then.
const AT_ONCE: Duration = Duration::from_millis(5);

fn conflict() -> Arc<KeyConflict> {
    let error = SqlError::new(SqlState::UNIQUE_VIOLATION, "as the key is");
    Arc::new(KeyConflict { error })
}

/// Fails where the key is there.
fn claim(key: &str) -> Effect {
    Effect::ClaimKey { key: key.as_bytes().to_vec(), value: b"v".to_vec(), conflict: conflict() }
}

/// Fails where the key is not there.
fn require(key: &str) -> Effect {
    Effect::RequireKey { key: key.as_bytes().to_vec(), conflict: conflict() }
}

fn free(key: &str) -> Effect {
    Effect::FreeKey { key: key.as_bytes().to_vec() }
}

/// A transaction in partition 1 that has staged this.
async fn staged(engine: &Engine, effects: Vec<Effect>) -> Result<TxnId, SqlError> {
    let id = txn(engine);
    stage(engine, id, 1, effects).await.map(|()| id)
}

type Committed = Task<Result<Timestamp, SqlError>>;

/// Commits behind the caller's back. When this returns the commit has its place in the log.
async fn begin_to_commit(engine: &Engine, id: TxnId) -> Committed {
    let engine = engine.clone();
    let committing = task::spawn("commit", async move { commit(&engine, id, 1).await });
    runtime::time::sleep(Duration::from_micros(10)).await;
    committing
}

/// What a future says, and how long that took.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let since = runtime::time::now();
    let answer = future.await;
    (answer, since.elapsed())
}

fn table() -> Arc<Table> {
    Arc::new(Table {
        storage: ObjectId(1),
        id: ObjectId(1),
        schema: "public".to_owned(),
        name: "t".to_owned(),
        columns: Vec::new(),
        primary_key: Vec::new(),
        primary_key_name: None,
        partition_columns: Vec::new(),
        placement: Placement::Hashed,
        indexes: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        referenced_by: Vec::new(),
    })
}

/// A row lock on a key, as a query asks for it.
async fn lock_row(engine: &Engine, id: TxnId, key: &str) -> RowLocked {
    let rows = LockRows {
        txn: id,
        table: table(),
        keys: vec![Bytes::copy_from_slice(key.as_bytes())],
        mode: RowLockMode::Exclusive,
        wait: LockWait::Wait,
        snapshot: engine.now(),
        rows_max: 1,
        mark: None,
        lock_timeout: None,
    };
    match engine.call(PartitionId(1), RequestBody::Lock(rows)).await.unwrap() {
        Response::Locked(locked) => locked[0],
        other => panic!("{other:?}"),
    }
}

fn token(number: u64) -> String {
    format!("....token{number}")
}

/// Moves a token on from where the transaction before this one has put it.
fn pass_on(number: u64) -> Vec<Effect> {
    let before = token(number - 1);
    vec![require(&before), free(&before), claim(&token(number))]
}

#[test]
fn changes_of_the_same_rows_share_writes_of_the_log() {
    const CHANGES: u64 = 20;
    with_disk(41, |engine, sim| {
        Box::pin(async move {
            let first = staged(&engine, vec![claim(&token(0))]).await.unwrap();
            commit(&engine, first, 1).await.unwrap();
            let frames = engine.stats().log.frames;
            sim.disk(1).stall(Operations::ALL, STALL);
            let mut commits = Vec::new();
            for number in 1..=CHANGES {
                let (id, took) = timed(staged(&engine, pass_on(number))).await;
                assert!(took < AT_ONCE, "change {number} has waited for {took:?}");
                commits.push(begin_to_commit(&engine, id.unwrap()).await);
            }
            for commit in commits {
                commit.await.unwrap().unwrap();
            }
            assert!(get(&engine, 1, &token(CHANGES - 1)).await.is_none());
            assert!(get(&engine, 1, &token(CHANGES)).await.is_some());
            let frames = engine.stats().log.frames - frames;
            assert!(frames <= 3, "{frames} writes of the log for {CHANGES} changes");
        })
    });
}

/// Has a transaction look at a key as a change does that then leaves the row alone.
async fn look(engine: &Engine, key: &str) -> TxnId {
    let id = staged(engine, Vec::new()).await.unwrap();
    let partition = engine.inner.partition(PartitionId(1)).unwrap();
    let handed = partition.states.borrow_mut().take_handed(id, key.as_bytes(), Timestamp::MAX);
    assert!(handed.unwrap().is_some(), "{key} was handed over");
    id
}

/// Who meets a commit that is not durable may stage what builds on it, and is told nothing of it
/// before it is.
#[test]
fn what_is_told_is_durable() {
    with_disk(42, |engine, sim| {
        Box::pin(async move {
            let old = vec![put("....old", "v"), put("....older", "v")];
            let old = staged(&engine, old).await.unwrap();
            commit(&engine, old, 1).await.unwrap();
            let changes = [put("....k", "v"), put("....l", "v"), put("....m", "v")];
            let freed = [free("....old"), free("....older")];
            let first = changes.into_iter().chain(freed).collect();
            let first = staged(&engine, first).await.unwrap();
            sim.disk(1).stall(Operations::ALL, STALL);
            let first = begin_to_commit(&engine, first).await;

            let engine = &engine;
            let here = PartitionId(1);
            let told: Vec<(&str, LocalBoxFuture<'_, ()>)> = vec![
                ("a read", Box::pin(async { assert!(get(engine, 1, "....k").await.is_some()) })),
                ("a row lock", {
                    Box::pin(async {
                        let id = staged(engine, vec![put("....other", "v")]).await.unwrap();
                        assert_eq!(lock_row(engine, id, "....l").await, RowLocked::Unchanged);
                    })
                }),
                ("a taken key", {
                    Box::pin(async {
                        let refused = staged(engine, vec![claim("....k")]).await.unwrap_err();
                        assert_eq!(refused.state(), SqlState::UNIQUE_VIOLATION);
                    })
                }),
                ("a missing key", {
                    Box::pin(async {
                        let refused = staged(engine, vec![require("....old")]).await.unwrap_err();
                        assert_eq!(refused.state(), SqlState::UNIQUE_VIOLATION);
                    })
                }),
                ("a free key", {
                    Box::pin(async {
                        let id = txn(engine);
                        let probe = Probe {
                            txn: id,
                            table: table(),
                            keys: vec![Bytes::from_static(b"....older")],
                            keep: false,
                            snapshot: None,
                            mark: None,
                            lock_timeout: None,
                        };
                        let probed = engine.call(here, RequestBody::Probe(probe)).await.unwrap();
                        let Response::Probed(probed) = probed else { panic!("{probed:?}") };
                        assert_eq!(probed, [Probed::Free]);
                        engine.call(here, RequestBody::Rollback { txn: id }).await.unwrap();
                    })
                }),
                ("a commit without changes", {
                    Box::pin(async {
                        let id = look(engine, "....m").await;
                        commit(engine, id, 1).await.unwrap();
                    })
                }),
                ("a vote without changes", {
                    Box::pin(async {
                        let id = look(engine, "....m").await;
                        let body = RequestBody::Prepare { txn: id, anchor: PartitionId(2) };
                        let vote = engine.call(here, body).await.unwrap();
                        assert!(matches!(vote, Response::Aside(Timestamp::MAX)), "{vote:?}");
                    })
                }),
                ("standing aside", {
                    Box::pin(async {
                        let id = look(engine, "....m").await;
                        let body = RequestBody::StandAside { txn: id };
                        engine.call(here, body).await.unwrap();
                    })
                }),
                ("a return to a savepoint", {
                    Box::pin(async {
                        let id = look(engine, "....m").await;
                        let body = RequestBody::RollbackTo { txn: id, mark: Mark(1) };
                        let returned = engine.call(here, body).await.unwrap();
                        assert!(matches!(returned, Response::Returned(false)), "{returned:?}");
                    })
                }),
            ];
            let told = told.into_iter().map(|(what, future)| async move {
                let ((), took) = timed(future).await;
                assert!(took > STALL - AT_ONCE, "{what} is told after {took:?}");
            });
            futures::future::join_all(told).await;
            first.await.unwrap().unwrap();
        })
    });
}

/// A disk that has become full while transactions wait for each other's commits: all of them go,
/// whether they have changed something, voted, or only looked.
#[test]
fn who_builds_on_a_commit_that_a_full_disk_refuses_goes_with_it() {
    with_disk(43, |engine, sim| {
        Box::pin(async move {
            let old = staged(&engine, vec![claim(&token(0))]).await.unwrap();
            commit(&engine, old, 1).await.unwrap();
            sim.disk(1).set_capacity(sim.disk(1).used());
            let mut number = 0;
            while write_one(&engine, number).await.is_ok() {
                number += 1;
                assert!(number < 10_000, "the disk never filled");
            }
            // The log tries again after a while, and this time it takes longer to hear that.
            runtime::time::sleep(Duration::from_millis(150)).await;
            sim.disk(1).stall(Operations::ALL, STALL);
            let first = staged(&engine, pass_on(1)).await.unwrap();
            let first = begin_to_commit(&engine, first).await;
            let second = staged(&engine, pass_on(2)).await.unwrap();
            let second = begin_to_commit(&engine, second).await;
            let third = staged(&engine, pass_on(3)).await.unwrap();
            let voting = {
                let engine = engine.clone();
                let body = RequestBody::Prepare { txn: third, anchor: PartitionId(2) };
                let vote = async move { engine.call(PartitionId(1), body).await };
                task::spawn("vote", vote)
            };
            let looked = look(&engine, &token(1)).await;
            let looked = begin_to_commit(&engine, looked).await;
            let open = look(&engine, &token(1)).await;

            for refused in [first, second] {
                let refused = refused.await.unwrap().unwrap_err();
                assert_eq!(refused.state(), SqlState::DISK_FULL);
            }
            let refused = voting.await.unwrap().unwrap_err();
            assert_eq!(refused.state(), SqlState::DISK_FULL);
            for lost in [looked.await.unwrap(), commit(&engine, open, 1).await] {
                assert_eq!(lost.unwrap_err().state(), SqlState::SERIALIZATION_FAILURE);
            }
            sim.disk(1).set_capacity(1 << 40);
            runtime::time::sleep(Duration::from_secs(1)).await;
            // Nothing of them is left, and nothing is locked.
            assert!(get(&engine, 1, &token(0)).await.is_some());
            let again = staged(&engine, pass_on(1)).await.unwrap();
            commit(&engine, again, 1).await.unwrap();
            assert_eq!(engine.stats().transactions, 0);
        })
    });
}

/// A disk that has become full has room for a small write where it had none for a larger one: what
/// builds on a commit in that is refused all the same.
#[test]
fn what_waits_behind_a_refused_commit_is_refused_though_there_is_room() {
    let behind = Rc::new(Cell::new(0));
    // So that some of them leave room for a block where several do not fit.
    for writes in 3..8 {
        let behind = behind.clone();
        with_disk(45, move |engine, sim| {
            let behind = behind.clone();
            Box::pin(async move {
                let old = staged(&engine, vec![claim(&token(0))]).await.unwrap();
                commit(&engine, old, 1).await.unwrap();
                sim.disk(1).set_capacity(sim.disk(1).used());
                let large = |first: u64| {
                    let writes = (first..first + writes).map(|number| write_one(&engine, number));
                    futures::future::join_all(writes)
                };
                let mut number = 0;
                while large(number).await.iter().all(Result::is_ok) {
                    number += writes;
                    assert!(number < 10_000, "the disk never filled");
                }
                runtime::time::sleep(Duration::from_millis(150)).await;
                sim.disk(1).stall(Operations::ALL, STALL);
                let first = staged(&engine, pass_on(1)).await.unwrap();
                let large = futures::future::join(large(number), commit(&engine, first, 1));
                let second = async {
                    runtime::time::sleep(Duration::from_micros(10)).await;
                    let second = staged(&engine, pass_on(2)).await?;
                    commit(&engine, second, 1).await
                };
                let ((large, first), second) = futures::future::join(large, second).await;
                // Room that has come meanwhile, of a segment that is not needed any more, shows nothing.
                let Err(first) = first else { return };
                assert!(large.iter().any(Result::is_err));
                assert_eq!(first.state(), SqlState::DISK_FULL);
                // Or it has met nothing but what was there before.
                let refused = second.unwrap_err().state();
                assert!([SqlState::DISK_FULL, SqlState::UNIQUE_VIOLATION].contains(&refused));
                behind.set(behind.get() + u32::from(refused == SqlState::DISK_FULL));
                assert!(get(&engine, 1, &token(0)).await.is_some());
                assert!(get(&engine, 1, &token(2)).await.is_none());
            })
        });
    }
    assert!(behind.get() > 1, "nothing has waited behind: {}", behind.get());
}

/// The log fails while others lean on what it was to hold: none of them is told that it has
/// committed, and what was read is what was there.
#[test]
fn a_failed_log_write_fails_all_who_build_on_it() {
    with_disk(44, |engine, sim| {
        Box::pin(async move {
            let old = staged(&engine, vec![claim(&token(0))]).await.unwrap();
            commit(&engine, old, 1).await.unwrap();
            // The next segment is prepared by now: the write that fails is one of the log.
            runtime::time::sleep(Duration::from_secs(1)).await;
            let fault = DiskFault::new(Operations::WRITE, DiskError::InputOutput);
            sim.disk(1).fail(fault.on_path("wal").once());
            sim.disk(1).stall(Operations::ALL, STALL);
            let first = staged(&engine, pass_on(1)).await.unwrap();
            let first = begin_to_commit(&engine, first).await;
            let second = staged(&engine, pass_on(2)).await.unwrap();
            let second = begin_to_commit(&engine, second).await;
            let looked = look(&engine, &token(2)).await;
            let looked = begin_to_commit(&engine, looked).await;
            let taken = staged(&engine, vec![claim(&token(2))]).await.unwrap_err();

            let unknown = first.await.unwrap().unwrap_err();
            assert_eq!(unknown.state(), SqlState::STATEMENT_COMPLETION_UNKNOWN);
            assert_eq!(second.await.unwrap().unwrap_err().state(), SqlState::IO_ERROR);
            assert!(looked.await.unwrap().is_err());
            assert_ne!(taken.state(), SqlState::UNIQUE_VIOLATION, "nobody knows that");
        })
    });
}

/// Transactions that pass a token on, each without waiting for the disk that the one before it waits
/// for, while power goes: the token is in one place, and not behind where somebody was told it is.
#[test]
fn a_chain_of_commits_breaks_at_one_place() {
    let mut built = 0;
    for seed in 0..12_u64 {
        let sim = Sim::new(Options::new(2_000 + seed));
        let (told, tried) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (known, counter) = (told.clone(), tried.clone());
        start(
            &sim,
            1,
            Rc::new(move |engine| {
                let (known, counter) = (known.clone(), counter.clone());
                Box::pin(async move {
                    let first = staged(&engine, vec![claim(&token(0))]).await.unwrap();
                    commit(&engine, first, 1).await.unwrap();
                    loop {
                        let number = counter.get() + 1;
                        let id = staged(&engine, pass_on(number)).await.unwrap();
                        counter.set(number);
                        let (engine, known) = (engine.clone(), known.clone());
                        let committing = async move {
                            // Some in two phases: their votes come behind what they build on.
                            if number.is_multiple_of(5) {
                                two_phase(&engine, id, &[1], |_| true).await.unwrap().unwrap();
                            } else {
                                commit(&engine, id, 1).await.unwrap();
                            }
                            known.set(known.get().max(number));
                        };
                        task::spawn("commit", committing).detach();
                        runtime::time::sleep(Duration::from_micros(20)).await;
                    }
                })
            }),
        );
        sim.run_for(Duration::from_micros(20_000 + seed * 1_237)).unwrap();
        assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
        sim.crash(1, Loss::Power);
        let (told, tried) = (told.get(), tried.get());
        built = built.max(tried - told);
        let found: Rc<RefCell<Option<Vec<u64>>>> = Rc::default();
        let finding = found.clone();
        start(
            &sim,
            1,
            Rc::new(move |engine| {
                let found = finding.clone();
                Box::pin(async move {
                    let mut places = Vec::new();
                    for number in 0..=tried + 1 {
                        if get(&engine, 1, &token(number)).await.is_some() {
                            places.push(number);
                        }
                    }
                    *found.borrow_mut() = Some(places);
                })
            }),
        );
        sim.run_for(Duration::from_secs(20)).unwrap();
        assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
        let found = found.borrow().clone().expect("the node serves");
        let [place] = found[..] else { panic!("seed {seed}: the token is at {found:?}") };
        assert!((told..=tried).contains(&place), "seed {seed}: {told}, {place}, {tried}");
    }
    assert!(built > 3, "hardly any commit had others waiting for it: {built}");
}
