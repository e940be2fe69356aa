//! Changes of the schema over several nodes.

use super::board::{NODES, Work, crash, on, start, three, until};
use crate::router::gates::{Holder, Pass};
use crate::router::virtual_tables::Outlines;
use crate::router::{Changing, Router, SchemaChanges};
use crate::sql::{PlannedKind, SessionSettings, parse, plan};
use crate::txn::Transaction;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use runtime::sim::Sim;
use runtime::time;
use std::time::Duration;

/// A transaction that has changed the schema, and has not committed.
pub(super) struct Open {
    pub transaction: Transaction,
    pub changes: SchemaChanges,
}

/// Begins to change the schema.
pub(super) async fn begin(router: &Router, text: &str) -> Result<Open, SqlError> {
    let transaction = router.begin();
    let limit = Some(Duration::from_secs(30));
    let mut changes = router.begin_schema_changes(transaction.id, limit).await?;
    let settings = SessionSettings::of_system("phantom");
    let statement = parse(text)?.into_iter().next().expect("a statement");
    let planned = plan(&statement, changes.catalog(), &settings, &Outlines, &[])?;
    let PlannedKind::Ddl(ddl) = &planned.kind else { panic!("{text} changes no schema") };
    let changing = Changing {
        settings: &settings,
        by: Holder::Transaction(transaction.id),
        transaction: &transaction,
        lock_timeout: limit,
        in_use: &[],
        has_snapshot: false,
    };
    match changes.make(ddl, &changing).await {
        Ok(_told) => Ok(Open { transaction, changes }),
        Err(error) => {
            changes.end().await;
            router.rollback(transaction).await;
            Err(error)
        }
    }
}

/// Changes the schema.
pub(super) async fn change(router: &Router, text: &str) -> Result<(), SqlError> {
    let open = begin(router, text).await?;
    router.commit_with_schema(open.transaction, open.changes).await
}

fn table(router: &Router, name: &str) -> Option<ObjectId> {
    let catalog = router.catalog();
    let mut relations = catalog.all_relations();
    relations.find(|(_, _, relation)| relation.name() == name).map(|(_, _, relation)| relation.id())
}

/// Whether a table is in the catalog of every core.
fn is_known(sim: &Sim, board: &super::board::Board, cores: u16, name: &'static str) -> Vec<bool> {
    let places = NODES.into_iter().flat_map(|node| (0..cores).map(move |core| (node, core)));
    places
        .map(|at| on(sim, board, at, "a look", async move |router| table(&router, name).is_some()))
        .collect()
}

#[test]
fn a_change_is_seen_by_all_cores_when_it_is_acknowledged() {
    for seed in 0..3 {
        let (sim, board) = three(seed, 2);
        for (at, name, text) in [
            ((1, 0), "of_one", "CREATE TABLE of_one (id bigint PRIMARY KEY)"),
            ((2, 1), "of_two", "CREATE TABLE of_two (id bigint PRIMARY KEY)"),
            ((3, 0), "of_three", "CREATE TABLE of_three (id bigint PRIMARY KEY)"),
        ] {
            on(&sim, &board, at, text, async move |router| change(&router, text).await)
                .unwrap_or_else(|error| panic!("seed {seed}: {text}: {error}"));
            assert_eq!(is_known(&sim, &board, 2, name), [true; 6], "seed {seed}: {name}");
        }
    }
}

#[test]
fn changes_from_all_nodes_at_once_all_come_to_be() {
    let (sim, board) = three(11, 1);
    let changing: Vec<Work<Result<(), SqlError>>> = NODES
        .into_iter()
        .map(|node| {
            Work::begin(&board, (node, 0), async move |router| {
                for n in 0..4 {
                    change(&router, &format!("CREATE TABLE t_{node}_{n} (id bigint)")).await?;
                }
                Ok(())
            })
        })
        .collect();
    for work in changing {
        work.end(&sim, "changes").expect("each gets its turn");
    }
    let tables = on(&sim, &board, (2, 0), "a count", async |router| {
        let catalog = router.catalog();
        let names = catalog.all_relations().map(|(_, _, relation)| relation.name().to_owned());
        names.filter(|name| name.starts_with("t_")).count()
    });
    assert_eq!(tables, 12);
}

/// A statement that is inside of a table on one node holds a change on another one up.
#[test]
fn a_change_waits_for_statements_on_other_nodes() {
    let (sim, board) = three(12, 1);
    on(&sim, &board, (1, 0), "a table", async |router| {
        change(&router, "CREATE TABLE t (id bigint PRIMARY KEY)").await.expect("a table");
    });
    let inside = Work::begin(&board, (3, 0), async |router| {
        let table = table(&router, "t").expect("it is there");
        let mut pass = Pass::of(Holder::Session(7));
        router.gates().enter(&mut pass, &[table]).await.expect("nobody is in the way");
        time::sleep(Duration::from_secs(3)).await;
        drop(pass);
        time::now()
    });
    sim.run_for(Duration::from_millis(100)).expect("it goes on");
    let changed = Work::begin(&board, (2, 0), async |router| {
        let changed = change(&router, "ALTER TABLE t ADD COLUMN more bigint").await;
        (changed, time::now())
    });
    let left = inside.end(&sim, "a statement");
    let (changed, when) = changed.end(&sim, "a change");
    assert_eq!(changed, Ok(()));
    assert!(when > left);
}

/// Of two changes that begin with the same catalog one commits, whoever had the turn.
#[test]
fn a_change_from_before_a_fence_cannot_commit() {
    let (sim, board) = three(13, 1);
    let refused = on(&sim, &board, (2, 0), "a change that comes too late", async |router| {
        let open = begin(&router, "CREATE TABLE late (id bigint)").await.expect("it begins");
        router.fence().await.expect("it is raised");
        router.commit_with_schema(open.transaction, open.changes).await
    });
    let error = refused.expect_err("another version is stored");
    assert_eq!(error.state(), SqlState::SERIALIZATION_FAILURE, "{error}");
    assert_eq!(is_known(&sim, &board, 1, "late"), [false; 3]);
    on(&sim, &board, (3, 0), "the next change", async |router| {
        change(&router, "CREATE TABLE next (id bigint)").await.expect("the turn is free");
    });
    assert_eq!(is_known(&sim, &board, 1, "next"), [true; 3]);
}

/// The maker of a change dies with the turn, and with gates closed everywhere.
#[test]
fn when_the_maker_of_a_change_dies_others_go_on() {
    for seed in 20..23 {
        let (sim, board) = three(seed, 1);
        on(&sim, &board, (1, 0), "a table", async |router| {
            change(&router, "CREATE TABLE t (id bigint PRIMARY KEY)").await.expect("a table");
        });
        let open = on(&sim, &board, (3, 0), "a change", async |router| {
            begin(&router, "ALTER TABLE t ADD COLUMN lost bigint").await
        });
        // It is never ended by anybody: the node dies with it.
        std::mem::forget(open.expect("it begins"));
        crash(&sim, &board, 3);
        let entered = Work::begin(&board, (2, 0), async |router| {
            let table = table(&router, "t").expect("it is there");
            let mut pass = Pass::of(Holder::Session(7));
            router.gates().enter(&mut pass, &[table]).await
        });
        assert_eq!(entered.end(&sim, "a way in"), Ok(()), "seed {seed}");
        on(&sim, &board, (2, 0), "the next change", async |router| {
            change(&router, "ALTER TABLE t ADD COLUMN next bigint").await.expect("a turn");
        });
    }
}

/// The keeper dies while a change that is made elsewhere has the turn: the change cannot commit, and
/// the next keeper gives the turn again.
#[test]
fn when_the_keeper_dies_the_turn_is_void() {
    for seed in 30..33 {
        let (sim, board) = three(seed, 1);
        on(&sim, &board, (2, 0), "a first change", async |router| {
            change(&router, "CREATE TABLE first (id bigint)").await.expect("a turn");
        });
        let change_under_way = Work::begin(&board, (2, 0), async |router| {
            let open = begin(&router, "CREATE TABLE under_way (id bigint)").await?;
            time::sleep(Duration::from_secs(15)).await;
            router.commit_with_schema(open.transaction, open.changes).await
        });
        sim.run_for(Duration::from_secs(1)).expect("it goes on");
        crash(&sim, &board, 1);
        let next = on(&sim, &board, (3, 0), "the next change", async |router| {
            // A transaction that began before the new leader did is rolled back, and tried again.
            loop {
                match change(&router, "CREATE TABLE next (id bigint)").await {
                    Err(error) if error.state() == SqlState::SERIALIZATION_FAILURE => {}
                    ended => return ended,
                }
            }
        });
        assert_eq!(next, Ok(()), "seed {seed}");
        let error = change_under_way.end(&sim, "the change before").expect_err("it is void");
        assert_eq!(error.state(), SqlState::SERIALIZATION_FAILURE, "seed {seed}: {error}");
        start(&sim, &board, 1);
        until(&sim, "the first node is back", Duration::from_secs(30), || {
            board.is_up(1)
                && on(&sim, &board, (1, 0), "a look", async |router| {
                    router.may_serve().is_ok() && table(&router, "next").is_some()
                })
        });
    }
}
