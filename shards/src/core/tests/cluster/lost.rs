//! Transactions whose coordinator is lost hold nothing for long, and do not commit.

use super::*;
use model::error::SqlState;

/// Stages a key on a node, and goes no further.
fn staged(sim: &Sim, board: &Board, node: u32, key: &'static str) -> model::id::TxnId {
    let staging = async move |engine: Engine| {
        let txn = txn(&engine);
        stage(&engine, txn, PARTITION.0, vec![put(key, "lost")]).await.unwrap();
        txn
    };
    Work::begin(board, node, staging).end(sim, "a lock")
}

#[test]
fn what_a_node_has_locked_that_dies_is_free_soon() {
    for (seed, loss) in [(0, Loss::Process), (1, Loss::Power)] {
        let (sim, board) = three(seed);
        staged(&sim, &board, 2, "k");
        crash(&sim, &board, 2, loss);
        let since = sim.now();
        let writing = async |engine: Engine| write(&engine, "k", "v").await.unwrap();
        Work::begin(&board, 3, writing).end(&sim, "a write");
        let waited = sim.now() - since;
        assert!(waited < Duration::from_secs(2), "{waited:?}");
    }
}

#[test]
fn a_transaction_whose_link_broke_commits_nothing_of_before() {
    let (sim, board) = three(2);
    let txn = staged(&sim, &board, 2, "k");
    let other = staged(&sim, &board, 3, "other");
    board.set_cut(NodeId(2), true);
    sim.run_for(Duration::from_secs(1)).unwrap();
    board.set_cut(NodeId(2), false);
    let committing = async move |engine: Engine| commit(&engine, txn, PARTITION.0).await;
    let committed = Work::begin(&board, 2, committing).end(&sim, "a commit");
    assert_eq!(committed.unwrap_err().state(), SqlState::SERIALIZATION_FAILURE);
    // Who has not lost its link goes on.
    let committing = async move |engine: Engine| commit(&engine, other, PARTITION.0).await;
    Work::begin(&board, 3, committing).end(&sim, "a commit").unwrap();
}

/// A leader that stops has answered all that it had begun, and says so: of a commit that it had not read it is
/// known that it has not happened. Of one that is lost without a word nobody knows.
#[test]
fn what_a_node_that_left_had_not_taken_has_not_happened() {
    for (left, told) in
        [(true, SqlState::SERIALIZATION_FAILURE), (false, SqlState::STATEMENT_COMPLETION_UNKNOWN)]
    {
        let (sim, board) = three(4);
        let txn = staged(&sim, &board, 2, "k");
        board.unread.borrow_mut().insert((2, 1));
        let committing = async move |engine: Engine| commit(&engine, txn, PARTITION.0).await;
        let committing = Work::begin(&board, 2, committing);
        sim.run_for(Duration::from_millis(100)).unwrap();
        let handing_over = async |engine: Engine| engine.hand_over().await;
        let stays = Work::begin(&board, 1, handing_over).end(&sim, "a hand-over");
        assert!(stays.is_empty(), "{stays:?}");
        let place = Place { node: NodeId(1), core: CoreId(0) };
        board.cut.borrow_mut().insert(NodeId(1));
        match left {
            true => engine(&board, 2).place_left(place),
            false => engine(&board, 2).place_lost(place),
        }
        let committed = committing.end(&sim, "a commit");
        assert_eq!(committed.unwrap_err().state(), told);
    }
}
