//! Micro-benchmark of one tree on one core: apply, cached and uncached point reads, scans, and the
//! load of more data than memory.
//!
//! `cargo run --release -p phantomdb-shards --example storage -- [rows] [value bytes] [memory MiB]
//! [none|lz4]`; the files go to a directory under the current one, on the device to be measured,
//! and are removed at the end.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use model::id::{LogIndex, PartitionId};
use model::key::KeyRange;
use model::time::Timestamp;
use runtime::random::Rng;
use runtime::{glommio, time, watchdog};
use shards::storage::{
    CacheLookup, Compression, ScanBatch, Storage, StorageError, StorageOptions, Tree,
    VersionedWrite,
};

/// Rows of one log entry.
const ENTRY_ROWS: u64 = 16;
const READS: u64 = 200_000;

#[derive(Clone, Copy)]
struct Settings {
    rows: u64,
    value_bytes: usize,
    memory_bytes: usize,
    compression: Compression,
}

fn settings() -> Option<Settings> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().ok(),
        None => Some(default),
    };
    let (rows, value_bytes, memory) = (number(2_000_000)?, number(100)?, number(256)?);
    let compression = match arguments.next().as_deref() {
        None | Some("none") => Compression::None,
        Some("lz4") => Compression::Lz4,
        Some(_) => return None,
    };
    Some(Settings {
        rows,
        value_bytes: value_bytes as usize,
        memory_bytes: (memory as usize) << 20,
        compression,
    })
}

fn key(n: u64) -> Vec<u8> {
    let mut key = vec![0, 0, 0, 9];
    key.extend_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key
}

/// Half of it compresses.
fn value(rng: &mut Rng, len: usize) -> Bytes {
    let mut value = vec![b'x'; len];
    rng.fill(&mut value[..len / 2]);
    value.into()
}

fn tell(what: &str, count: u64, took: Duration) {
    let each = took.as_nanos() as f64 / count as f64;
    println!("{what:<28} {count:>10} in {took:>10.3?}  {each:>9.0} ns each");
}

async fn load(tree: &Tree, storage: &Storage, s: Settings) -> Result<(), StorageError> {
    let mut rng = Rng::seeded(1);
    let (mut applying, mut waiting) = (Duration::ZERO, Duration::ZERO);
    let mut memory_max = 0;
    let began = time::now();
    for entry in 0..s.rows / ENTRY_ROWS {
        let index = LogIndex(entry + 1);
        let writes: Vec<_> = (entry * ENTRY_ROWS..(entry + 1) * ENTRY_ROWS)
            .map(|n| VersionedWrite {
                key: key(n).into(),
                ts: Timestamp(index.0),
                value: Some(value(&mut rng, s.value_bytes)),
            })
            .collect();
        let before = time::now();
        tree.make_room().await?;
        let free = time::now();
        tree.apply(index, &writes);
        tree.set_log_durable(index);
        applying += free.elapsed();
        waiting += free.saturating_since(before);
        memory_max = memory_max.max(storage.memory().total());
        runtime::task::yield_if_due().await;
    }
    tree.flush().await?;
    tell("load (all)", s.rows, began.elapsed());
    tell("  of which in apply", s.rows, applying);
    tell("  of which waiting", s.rows, waiting);
    println!("memory used at most: {} KiB of {}", memory_max >> 10, s.memory_bytes >> 10);
    Ok(())
}

async fn point_reads(tree: &Tree, s: Settings) -> Result<(), StorageError> {
    let mut rng = Rng::seeded(2);
    let at = Timestamp::MAX;
    let reads = READS / 20;
    let began = time::now();
    for _ in 0..reads {
        tree.get(&key(rng.below(s.rows)), at).await?;
    }
    tell("get, anywhere", reads, began.elapsed());
    let hot: Vec<Vec<u8>> = (0..1_000).map(|_| key(rng.below(s.rows))).collect();
    for key in &hot {
        tree.get(key, at).await?;
    }
    let began = time::now();
    let mut found = 0;
    for n in 0..READS {
        let key = &hot[n as usize % hot.len()];
        found += u64::from(matches!(tree.get_cached(key, at), CacheLookup::Found(_)));
        if n % 64 == 0 {
            runtime::task::yield_if_due().await;
        }
    }
    tell("get_cached, hot keys", READS, began.elapsed());
    println!("  answered from the cache: {found}");
    let began = time::now();
    for n in 0..reads {
        tree.get(&key(s.rows + n), at).await?;
    }
    tell("get, absent keys", reads, began.elapsed());
    Ok(())
}

async fn scans(tree: &Tree) -> Result<(), StorageError> {
    for (what, reverse) in [("scan", false), ("scan in reverse", true)] {
        let range = KeyRange { start: Vec::new(), end: None };
        let mut scan = tree.scan(range, Timestamp::MAX, reverse);
        let (mut batch, mut rows, mut bytes) = (ScanBatch::new(), 0, 0);
        let began = time::now();
        loop {
            let more = scan.next_batch(&mut batch, 1_024, 1 << 20).await?;
            rows += batch.len() as u64;
            bytes += batch.bytes();
            if !more {
                break;
            }
        }
        tell(what, rows, began.elapsed());
        println!("  {:.0} MB/s", bytes as f64 / began.elapsed().as_secs_f64() / 1e6);
    }
    Ok(())
}

async fn measure(s: Settings) -> Result<(), StorageError> {
    let directory = Path::new("storage-benchmark");
    watchdog::on_stall(|stall| println!("  stall: {} took {:?}", stall.task, stall.took));
    let storage = Storage::new(StorageOptions {
        compression: s.compression,
        ..StorageOptions::with_memory(s.memory_bytes)
    });
    let tree = storage.open_tree(PartitionId(1), directory).await?;
    load(&tree, &storage, s).await?;
    for (level, used) in tree.levels().iter().enumerate().filter(|(_, used)| used.tables > 0) {
        println!("  level {level}: {} tables, {} KiB", used.tables, used.bytes >> 10);
    }
    scans(&tree).await?;
    point_reads(&tree, s).await?;
    let report = watchdog::report();
    println!(
        "longest step {:?} ({}), {} stalls",
        report.longest, report.longest_task, report.stalls
    );
    drop((tree, storage));
    runtime::fs::remove_dir_all(directory).await.map_err(|error| StorageError::Io {
        operation: "remove",
        file: directory.to_owned(),
        source: std::rc::Rc::new(error),
    })
}

fn main() -> ExitCode {
    let Some(settings) = settings() else {
        eprintln!("usage: storage [rows] [value bytes] [memory MiB] [none|lz4]");
        return ExitCode::from(2);
    };
    let ran = glommio::run(glommio::Options::default(), move |_core| {
        Box::pin(async move {
            runtime::task::spawn("measure", measure(settings))
                .await
                .map_err(|panicked| panicked.to_string())
                .and_then(|measured| measured.map_err(|error| error.to_string()))
        })
    });
    let failure = match ran {
        Ok(results) => results.into_iter().find_map(Result::err),
        Err(error) => Some(error.to_string()),
    };
    match failure {
        None => ExitCode::SUCCESS,
        Some(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
