//! A transaction that has read where the leader changes before it has committed elsewhere.

use super::*;
use model::command::Response;
use model::id::TxnId;
use model::time::Timestamp;

/// Where the transaction writes; led by another node than what it reads.
const WRITTEN: PartitionId = PartitionId(2);

async fn stand_aside(engine: &Engine, txn: TxnId) -> Timestamp {
    match engine.call(PARTITION, RequestBody::StandAside { txn }).await.unwrap() {
        Response::Aside(not_after) => not_after,
        other => panic!("{other:?}"),
    }
}

async fn commit_until(
    engine: &Engine,
    txn: TxnId,
    not_after: Timestamp,
) -> Result<Timestamp, SqlError> {
    match engine.call(WRITTEN, RequestBody::CommitOnePhase { txn, not_after }).await? {
        Response::Committed(at) => Ok(at),
        other => panic!("{other:?}"),
    }
}

/// Three nodes; what is read is led by the first, what is written by the second. A transaction of the third
/// has read "x" here and written "y" there.
fn read_and_write(seed: u64) -> (Sim, Rc<Board>, TxnId) {
    let (sim, board) = three(seed);
    sim.run_for(Duration::from_secs(1)).unwrap();
    let moving = async |engine: Engine| engine.transfer_leader(WRITTEN, NodeId(2)).await.unwrap();
    Work::begin(&board, 1, moving).end(&sim, "a transfer");
    sim.run_for(Duration::from_secs(1)).unwrap();
    let beginning = async |engine: Engine| {
        write(&engine, "x", "old").await.unwrap();
        let txn = super::super::txn(&engine);
        let conflict = Arc::new(KeyConflict { error: SqlError::internal("absent") });
        let read = Effect::RequireKey { key: b"x".to_vec(), conflict };
        stage(&engine, txn, PARTITION.0, vec![read]).await.unwrap();
        stage(&engine, txn, WRITTEN.0, vec![put("y", "new")]).await.unwrap();
        txn
    };
    let txn = Work::begin(&board, 3, beginning).end(&sim, "a transaction");
    (sim, board, txn)
}

/// What was read is kept up to a time.
fn keep(sim: &Sim, board: &Board, txn: TxnId) -> Timestamp {
    let keeping = async move |engine: Engine| stand_aside(&engine, txn).await;
    Work::begin(board, 3, keeping).end(sim, "standing aside")
}

/// Writes "x" where that is led by now. Returns when it has committed, and at which time.
async fn overwrite(engine: Engine) -> Timestamp {
    loop {
        let other = super::super::txn(&engine);
        let staged = stage(&engine, other, PARTITION.0, vec![put("x", "new")]).await;
        if staged.is_ok()
            && let Ok(at) = commit(&engine, other, PARTITION.0).await
        {
            return at;
        }
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// The leader of what was read dies. Its successor lets another overwrite that, before the first
/// transaction has committed: it must not commit later than the other, whose snapshot shows nothing of it,
/// as it has read what was before the other.
#[test]
fn nobody_commits_behind_who_has_overwritten_what_was_read() {
    for seed in 0..4 {
        let (sim, board, txn) = read_and_write(seed);
        let not_after = keep(&sim, &board, txn);
        crash(&sim, &board, 1, Loss::Power);
        let overwritten = Work::begin(&board, 3, overwrite).end(&sim, "another write");
        assert!(overwritten > not_after, "seed {seed}: what was read was kept until {not_after}");
        let committing = async move |engine: Engine| commit_until(&engine, txn, not_after).await;
        match Work::begin(&board, 3, committing).end(&sim, "the commit") {
            Ok(at) => assert!(at < overwritten, "seed {seed}: it has not seen what came before it"),
            Err(error) => assert_eq!(error.state(), SqlState::SERIALIZATION_FAILURE, "{error}"),
        }
        // Nothing of it is left in anybody's way.
        let again = async |engine: Engine| {
            let other = super::super::txn(&engine);
            stage(&engine, other, WRITTEN.0, vec![put("y", "other")]).await.unwrap();
            commit(&engine, other, WRITTEN.0).await.unwrap();
        };
        Work::begin(&board, 3, again).end(&sim, "the key is free");
    }
}

/// A leader that is handed over does not wait for ever for who has read there. What it has promised last
/// is over when the next one lets others write.
#[test]
fn a_promise_outlives_no_handing_over() {
    for seed in 0..3 {
        let (sim, board, txn) = read_and_write(seed);
        let handing = async |engine: Engine| {
            engine.transfer_leader(PARTITION, NodeId(2)).await.unwrap();
        };
        let handed = Work::begin(&board, 1, handing);
        sim.run_for(Duration::from_millis(3_950)).unwrap();
        let not_after = keep(&sim, &board, txn);
        let overwritten = Work::begin(&board, 3, overwrite).end(&sim, "another write");
        handed.end(&sim, "the transfer");
        assert!(overwritten > not_after, "seed {seed}: what was read was kept until {not_after}");
    }
}

/// Within the lease it commits, also where the leader dies at once.
#[test]
fn within_the_lease_it_commits() {
    for seed in 0..2 {
        let (sim, board, txn) = read_and_write(seed);
        let not_after = keep(&sim, &board, txn);
        crash(&sim, &board, 1, Loss::Power);
        let committing = async move |engine: Engine| commit_until(&engine, txn, not_after).await;
        let at = Work::begin(&board, 3, committing).end(&sim, "the commit").unwrap();
        assert!(at <= not_after, "seed {seed}");
    }
}

/// Who was to say what became of it is gone. The locks last no longer than the promise does.
#[test]
fn nobody_waits_for_who_stands_aside_and_is_not_heard_of_again() {
    for seed in 0..2 {
        let (sim, board, txn) = read_and_write(seed);
        let not_after = keep(&sim, &board, txn);
        crash(&sim, &board, 3, Loss::Power);
        let overwriting = Work::begin(&board, 1, overwrite);
        let written = || overwriting.result.borrow().is_some();
        until(&sim, "another write", Duration::from_secs(3), written);
        assert!(overwriting.end(&sim, "another write") > not_after, "seed {seed}");
    }
}
