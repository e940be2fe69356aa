//! More rows than memory: loaded, counted, scanned in order and read by key, inside the budget.

use crate::{connect, number, start};
use phantomdb_client::blocking::Client;
use phantomdb_client::{Event, Value, params};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use test_support::{Random, Server, Stopwatch, seed, sleep};

/// Bytes of text in a row.
const TEXT_BYTES: u64 = 1000;
/// Rows a statement inserts.
const BATCH: u64 = 100;
const LOADERS: u64 = 4;
/// How long the node may leave a question unanswered meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

struct Size {
    memory: &'static str,
    memory_bytes: u64,
    rows: u64,
}

/// 4 GiB of rows in 512 MiB.
const LONG: Size = Size { memory: "512MiB", memory_bytes: 512 << 20, rows: (4 << 30) / TEXT_BYTES };
/// The same in small.
const SLICE: Size =
    Size { memory: "88MiB", memory_bytes: 88 << 20, rows: (192 << 20) / TEXT_BYTES };

#[test]
fn rows_beyond_memory_are_counted_scanned_and_read() {
    let size = if test_support::slice("PHANTOM_LONG", 0, 1) == 1 { LONG } else { SLICE };
    let mut random = Random::new(seed());
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), &["--cores", "2", "--memory", size.memory]);
    let mut client = connect(&server);
    client.run("CREATE TABLE t (id bigint PRIMARY KEY, s text NOT NULL)").expect("a table");
    let over = AtomicBool::new(false);
    let longest = thread::scope(|scope| {
        let neighbour = scope.spawn(|| watch(&server, &over));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            work(&server, &mut client, &size, &mut random);
        }));
        over.store(true, Ordering::Release);
        let longest = neighbour.join().expect("the neighbour is served");
        if let Err(panic) = worked {
            println!("{}", server.log());
            std::panic::resume_unwind(panic);
        }
        longest
    });
    println!("the longest wait for an answer was {longest:?}");
    assert!(longest < PATIENCE, "{longest:?} without an answer");
    let peak = server.status().expect("its status").resident_peak;
    println!("{} MiB at most, of {}", peak >> 20, size.memory);
    assert!(peak <= size.memory_bytes / 10 * 11, "{peak} bytes resident, with {}", size.memory);
}

fn work(server: &Server, client: &mut Client, size: &Size, random: &mut Random) {
    let began = Stopwatch::start();
    load(server, size.rows);
    println!("{} rows loaded in {:?}", size.rows, began.elapsed());
    let began = Stopwatch::start();
    assert_eq!(number(client, "SELECT count(*) FROM t"), size.rows as i64);
    println!("counted in {:?}", began.elapsed());
    let began = Stopwatch::start();
    scan(client, size.rows);
    println!("scanned in order in {:?}", began.elapsed());
    let began = Stopwatch::start();
    for _ in 0..1000 {
        let id = random.below(size.rows) as i64;
        let row = client.query_one("SELECT s FROM t WHERE id = $1", &params![id]).expect("a row");
        assert_eq!(row.get::<String>(0).expect("text"), text(id as u64));
    }
    println!("1000 rows read by key in {:?}", began.elapsed());
}

/// What row `id` holds: different for each row, and hard to compress.
fn text(id: u64) -> String {
    let mut random = Random::new(id);
    (0..TEXT_BYTES).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
}

fn load(server: &Server, rows: u64) {
    thread::scope(|scope| {
        for loader in 0..LOADERS {
            scope.spawn(move || {
                let mut client = connect(server);
                let places: Vec<String> =
                    (0..BATCH).map(|n| format!("(${}, ${})", 2 * n + 1, 2 * n + 2)).collect();
                let insert = format!("INSERT INTO t VALUES {}", places.join(", "));
                let batches = (rows / BATCH).saturating_sub(loader).div_ceil(LOADERS);
                for batch in 0..batches {
                    let first = (batch * LOADERS + loader) * BATCH;
                    let values: Vec<Value> = (first..first + BATCH)
                        .flat_map(|id| params![id as i64, text(id)])
                        .collect();
                    client.execute(insert.as_str(), &values).expect("rows");
                }
            });
        }
    });
    let mut client = connect(server);
    for id in rows / BATCH * BATCH..rows {
        client
            .execute("INSERT INTO t VALUES ($1, $2)", &params![id as i64, text(id)])
            .expect("a row");
    }
}

/// Reads all rows by rising key, a piece at a time: more than memory could sort.
fn scan(client: &mut Client, rows: u64) {
    let mut answer = client.stream("SELECT id, s FROM t ORDER BY id").expect("an answer");
    let mut columns = None;
    let mut next = 0;
    let mut piece = Vec::new();
    while let Some(event) = answer.next_event().expect("rows") {
        match event {
            Event::Columns(found) => columns = Some(found),
            Event::Rows(batch) => {
                piece.clear();
                let columns = columns.as_ref().expect("columns come first");
                phantomdb_client::read_rows(columns, &batch, &mut piece).expect("rows");
                for row in &piece {
                    assert_eq!(row.get::<i64>(0).expect("a key"), next);
                    assert_eq!(row.get::<String>(1).expect("text").len() as u64, TEXT_BYTES);
                    next += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!(next as u64, rows);
}

/// Asks a question every few milliseconds; the longest it took.
fn watch(server: &Server, over: &AtomicBool) -> Duration {
    let mut client = connect(server);
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Acquire) {
        let asked = Stopwatch::start();
        let rows = client.query("SELECT id FROM t WHERE id = 0", &[]).expect("an answer");
        assert!(rows.len() <= 1);
        longest = longest.max(asked.elapsed());
        sleep(Duration::from_millis(20));
    }
    longest
}
