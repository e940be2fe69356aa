//! Bits that flip on one node's disk: its replica is made whole from another one, and clients notice nothing.

use super::*;

const KEYS: usize = 300;

fn key(number: usize) -> String {
    format!("key{number:04}")
}

/// Three nodes, the partition's rows in table files on each of them.
pub(super) fn three_with_files(seed: u64) -> (Sim, Rc<Board>) {
    let (sim, board) = three(seed);
    let writing = async |engine: Engine| {
        for number in 0..KEYS {
            write(&engine, &key(number), &"v".repeat(700)).await.unwrap();
        }
    };
    Work::begin(&board, 1, writing).end(&sim, "writes");
    sim.run_for(Duration::from_secs(1)).unwrap();
    for node in NODES {
        let flushing = async |engine: Engine| engine.inner.parts.flush().await.unwrap();
        Work::begin(&board, node, flushing).end(&sim, "a flush");
    }
    (sim, board)
}

/// Flips a bit in the middle of each table file of the partition on a node.
fn flip(sim: &Sim, node: u32) {
    let directory = format!("/data/partitions/{PARTITION}/");
    let disk = sim.disk(node);
    let is_table = |path: &str| path.starts_with(&directory) && path.ends_with(".table");
    let tables: Vec<_> = disk.files().into_iter().filter(|(path, _)| is_table(path)).collect();
    assert!(!tables.is_empty(), "no table files in {directory}: {:?}", disk.files());
    for (table, bytes) in tables {
        assert!(disk.flip_bit(&table, bytes / 2, 3).unwrap(), "{table} has no such byte");
    }
}

/// Reads all keys, again and again and wherever they are, and writes some, until it is told to stop; gives
/// how many rounds there were.
async fn use_it(engine: Engine, stop: Rc<Cell<bool>>) -> Result<usize, SqlError> {
    let mut rounds = 0;
    while !stop.get() {
        for number in (0..KEYS).step_by(7) {
            let key = key(number);
            match read(&engine, &key).await {
                Ok(true) => {}
                Ok(false) => return Err(SqlError::internal(format!("{key} is not there"))),
                // The transaction is run again, as routers do.
                Err(error) if error.state() == SqlState::SERIALIZATION_FAILURE => {}
                Err(error) => return Err(error),
            }
        }
        match write(&engine, &format!("more{rounds}"), "v").await {
            Err(error) if error.state() != SqlState::SERIALIZATION_FAILURE => return Err(error),
            Ok(()) | Err(_) => rounds += 1,
        }
        time::sleep(Duration::from_millis(5)).await;
    }
    Ok(rounds)
}

fn mended(board: &Board, node: u32) -> bool {
    engine(board, node).stats().mended > 0
}

/// All replicas are whole, and the same.
pub(super) fn compare(sim: &Sim, board: &Board, seed: u64) {
    sim.run_for(Duration::from_secs(2)).unwrap();
    let looking = async |engine: Engine| {
        engine.scrub().await.unwrap();
        contents(&engine).await
    };
    let all = NODES.map(|node| Work::begin(board, node, looking).end(sim, "a look"));
    assert!(all[0].len() > KEYS, "seed {seed}: {}", all[0].len());
    assert!(all.iter().all(|one| *one == all[0]), "seed {seed}: replicas differ");
}

/// What a client has come to: how many of its requests were answered.
pub(super) type Client = Work<Result<usize, SqlError>>;

pub(super) fn clients(board: &Board, nodes: &[u32]) -> (Rc<Cell<bool>>, Vec<Client>) {
    let stop = Rc::new(Cell::new(false));
    let using = nodes.iter().map(|node| {
        let stop = stop.clone();
        Work::begin(board, *node, move |engine| use_it(engine, stop))
    });
    let using = using.collect();
    (stop, using)
}

#[test]
fn a_damaged_follower_gets_the_files_of_its_leader() {
    for seed in 0..3 {
        let (sim, board) = three_with_files(100 + seed);
        assert_eq!(leader(&board), Some(NodeId(1)));
        let (stop, using) = clients(&board, &NODES);
        sim.run_for(Duration::from_millis(200)).unwrap();
        flip(&sim, 2);
        // Nobody reads at a follower but the scrub.
        let scrubbing = async |engine: Engine| engine.scrub().await;
        let scrubbed = Work::begin(&board, 2, scrubbing).end(&sim, "a scrub");
        assert!(scrubbed.is_err(), "seed {seed}: the damage is not seen");
        until(&sim, "the files", Duration::from_secs(20), || mended(&board, 2));
        sim.run_for(Duration::from_millis(500)).unwrap();
        stop.set(true);
        for one in using {
            let rounds = one.end(&sim, "a client");
            assert!(rounds.as_ref().is_ok_and(|rounds| *rounds > 0), "seed {seed}: {rounds:?}");
        }
        assert_eq!(leader(&board), Some(NodeId(1)), "seed {seed}: the leader has no part in it");
        compare(&sim, &board, seed);
    }
}

#[test]
fn a_damaged_leader_has_another_lead_and_gets_its_files() {
    for seed in 0..3 {
        let (sim, board) = three_with_files(200 + seed);
        assert_eq!(leader(&board), Some(NodeId(1)));
        flip(&sim, 1);
        // The clients' reads meet it.
        let (stop, using) = clients(&board, &NODES);
        until(&sim, "the files", Duration::from_secs(20), || mended(&board, 1));
        assert_ne!(leader(&board), Some(NodeId(1)), "seed {seed}: it still leads");
        sim.run_for(Duration::from_millis(500)).unwrap();
        stop.set(true);
        for one in using {
            let rounds = one.end(&sim, "a client");
            assert!(rounds.as_ref().is_ok_and(|rounds| *rounds > 0), "seed {seed}: {rounds:?}");
        }
        compare(&sim, &board, seed);
    }
}

/// A node whose table files are so damaged that they cannot be opened starts all the same, votes, and is made
/// whole.
#[test]
fn a_replica_that_cannot_open_its_files_gets_others() {
    for seed in 0..3 {
        let (sim, board) = three_with_files(300 + seed);
        crash(&sim, &board, 3, Loss::Power);
        let manifest = format!("/data/partitions/{PARTITION}/MANIFEST");
        let disk = sim.disk(3);
        for at in 0..disk.read(&manifest).unwrap().len() as u64 {
            disk.flip_bit(&manifest, at, 1).unwrap();
        }
        let (stop, using) = clients(&board, &[1]);
        sim.run_for(Duration::from_millis(500)).unwrap();
        start(&sim, &board, 3);
        until(&sim, "start", Duration::from_secs(10), || board.boxes.borrow().len() == 3);
        until(&sim, "the files", Duration::from_secs(20), || mended(&board, 3));
        // It counts again: another may go.
        crash(&sim, &board, 2, Loss::Power);
        sim.run_for(Duration::from_secs(3)).unwrap();
        start(&sim, &board, 2);
        until(&sim, "start", Duration::from_secs(10), || board.boxes.borrow().len() == 3);
        stop.set(true);
        for one in using {
            let rounds = one.end(&sim, "a client");
            assert!(rounds.as_ref().is_ok_and(|rounds| *rounds > 0), "seed {seed}: {rounds:?}");
        }
        compare(&sim, &board, seed);
    }
}
