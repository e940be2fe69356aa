//! Durable commits a second: whole transactions of one 256-byte row through an engine, with 1, 16
//! and 128 proposers, to a partition of the same core and to one of another core.
//!
//! `cargo run --release -p phantomdb-shards --example commits -- [seconds]`; the files go to a
//! directory under the current one, on the device to be measured, and are removed at the end.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use model::command::{Effect, RequestBody};
use model::error::SqlError;
use model::id::{CoreId, NodeId, PartitionId, TxnId};
use model::time::Timestamp;
use runtime::mesh::MeshBuilder;
use runtime::{glommio, task, time, watchdog};
use shards::core::{CoreMessage, DataDir, DataDirOptions, Engine, EngineOptions, OpenError};

const VALUE_BYTES: usize = 256;
const CORES: u16 = 2;
const MEMORY_BYTES: usize = 256 << 20;

fn main() -> ExitCode {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let path = PathBuf::from("commits-benchmark-data");
    let result = measure(&path, Duration::from_secs(seconds));
    if let Err(error) = std::fs::remove_dir_all(&path) {
        eprintln!("cannot remove {}: {error}", path.display());
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(path: &Path, duration: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let options = DataDirOptions {
        path: path.to_owned(),
        node: NodeId(1),
        cores: CORES,
        partitions: 4,
        memory_bytes: MEMORY_BYTES,
        wal_segment_bytes: 64 << 20,
    };
    let opened = glommio::run(glommio::Options::default(), move |_| {
        let options = options.clone();
        Box::pin(async move { DataDir::open(&options).await.map_err(|error| error.to_string()) })
    })?;
    let dir = opened.into_iter().next().ok_or("no core ran")??;
    let placement = dir.placement();
    let mesh: MeshBuilder<CoreMessage> = MeshBuilder::new(CORES, 1024);
    let path = path.to_owned();
    let cores = glommio::Options { cores: CORES, ..glommio::Options::default() };
    let results = glommio::run(cores, move |core| {
        let (mesh, placement, path) = (mesh.clone(), placement.clone(), path.clone());
        Box::pin(async move {
            let options = EngineOptions::new(path, NodeId(1), CoreId(core), placement);
            let options = EngineOptions { memory_bytes: MEMORY_BYTES, ..options };
            let engine =
                Engine::open(options, mesh.join(core).await, Rc::new(shards::raft::Alone)).await;
            let engine = engine.map_err(|error: OpenError| error.to_string())?;
            if core == 0 {
                run_all(&engine, duration).await.map_err(|error| error.to_string())?;
            } else {
                time::sleep(duration * 6 + Duration::from_secs(1)).await;
            }
            engine.shutdown(false).await.map(drop).map_err(|error| error.to_string())
        })
    })?;
    results.into_iter().collect::<Result<(), String>>().map_err(Into::into)
}

async fn run_all(engine: &Engine, duration: Duration) -> Result<(), SqlError> {
    for (place, partition) in [("here", PartitionId(2)), ("elsewhere", PartitionId(1))] {
        for proposers in [1, 16, 128] {
            let count = Rc::new(Cell::new(0_u64));
            let end = time::now() + duration;
            let tasks: Vec<_> = (0..proposers)
                .map(|proposer| {
                    let (engine, count) = (engine.clone(), count.clone());
                    task::spawn("proposer", async move {
                        while time::now() < end {
                            commit_one(&engine, partition, proposer, count.get()).await?;
                            count.set(count.get() + 1);
                        }
                        Ok::<(), SqlError>(())
                    })
                })
                .collect();
            for task in tasks {
                task.await.map_err(|panicked| SqlError::internal(panicked.to_string()))??;
            }
            let rate = count.get() as f64 / duration.as_secs_f64();
            println!("partition {place}, {proposers} proposers: {rate:.0} commits/s");
        }
    }
    let (stats, report) = (engine.stats(), watchdog::report());
    println!("{:?}\nlongest step {:?} in {}", stats.log, report.longest, report.longest_task);
    Ok(())
}

async fn commit_one(
    engine: &Engine,
    partition: PartitionId,
    proposer: u64,
    number: u64,
) -> Result<(), SqlError> {
    let txn = TxnId { began: engine.now(), node: engine.node(), core: engine.core() };
    let mut key = vec![0, 0, 0, 9];
    key.extend_from_slice(&proposer.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    let effects = vec![Effect::PutKey { key, value: vec![7; VALUE_BYTES] }];
    engine
        .call(partition, RequestBody::Stage { txn, effects, mark: None, lock_timeout: None })
        .await?;
    engine
        .call(partition, RequestBody::CommitOnePhase { txn, not_after: Timestamp::MAX })
        .await
        .map(drop)
}
