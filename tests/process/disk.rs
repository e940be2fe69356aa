//! A full disk: writes fail with 53100, reads go on, and writes resume when there is space again.

use crate::{connect, insert, number, start};
use phantomdb_client::SqlState;
use phantomdb_client::blocking::Client;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use test_support::{Random, Stopwatch, sleep};

/// Size of the disk: two cores' logs with small segments, and some tables.
const DISK: &str = "96m";
/// Gives up when no write has failed after so many statements.
const STATEMENTS_MAX: i64 = 4000;
/// Rows a statement inserts.
const BATCH: i64 = 20;
/// What is flushed behind a refusal frees segments of the log: the disk is full when that makes no more room.
const REFUSALS: u32 = 4;
const SETTLING: Duration = Duration::from_millis(500);
/// How long a statement may take, and three on a full disk: none of them waits for another.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long writes may fail after there is space again.
const RECOVERY: Duration = Duration::from_secs(20);
const ARGUMENTS: [&str; 6] = ["--cores", "2", "--memory", "64MiB", "--wal-segment-size", "1MiB"];

/// A file system of its own, unmounted when dropped.
struct Disk {
    mount: PathBuf,
}

impl Disk {
    /// An ext4 image on a loop device; `None`, having said why, where that is not allowed.
    fn new(folder: &Path) -> Option<Disk> {
        let (image, mount) = (folder.join("image"), folder.join("mount"));
        fs::create_dir_all(&mount).expect("a folder");
        let image = image.to_string_lossy().into_owned();
        let mount_text = mount.to_string_lossy().into_owned();
        let steps: [&[&str]; 3] = [
            &["truncate", "-s", DISK, &image],
            &["mkfs.ext4", "-q", "-F", "-m", "0", &image],
            &["mount", "-o", "loop", &image, &mount_text],
        ];
        for step in steps {
            match Command::new(step[0]).args(&step[1..]).output() {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    println!("left out: {step:?}: {}", said.trim());
                    return None;
                }
                Err(error) => {
                    println!("left out: {step:?}: {error}");
                    return None;
                }
            }
        }
        Some(Disk { mount })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.mount).status();
        if !unmounted.as_ref().is_ok_and(std::process::ExitStatus::success) {
            println!("{} stays mounted: {unmounted:?}", self.mount.display());
        }
    }
}

/// 2 KiB that do not compress.
fn text(seed: i64) -> String {
    let mut random = Random::new(seed as u64);
    (0..2048).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
}

/// Inserts until the disk is full: how many rows there are, and the key of the first that is refused.
fn fill(client: &mut Client) -> i64 {
    let mut longest = Duration::ZERO;
    let (mut next, mut refused) = (0, 0);
    for _ in 0..STATEMENTS_MAX {
        let asked = Stopwatch::start();
        let inserted = insert(client, "t", next..next + BATCH, &text(next));
        longest = longest.max(asked.elapsed());
        match inserted {
            Ok(()) => {
                next += BATCH;
                refused = 0;
            }
            Err(error) => {
                assert_eq!(error.state(), Some(SqlState::DISK_FULL), "{error}");
                refused += 1;
                if refused == REFUSALS {
                    break;
                }
                sleep(SETTLING);
            }
        }
    }
    println!("{next} rows before the disk was full; the longest insert took {longest:?}");
    assert!(longest < PATIENCE, "an insert took {longest:?}");
    assert_eq!(refused, REFUSALS, "the disk never got full");
    next
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::new(folder.path()) else { return };
    let data_dir = disk.mount.join("data");
    let ballast = disk.mount.join("ballast");
    let server = start(&data_dir, &ARGUMENTS);
    let mut client = connect(&server);
    client.run("CREATE TABLE t (id bigint PRIMARY KEY, v bigint, s text)").expect("a table");
    fs::write(&ballast, vec![1_u8; 24 << 20]).expect("ballast");
    let written = fill(&mut client);
    let mut again = || insert(&mut client, "t", written..written + BATCH, &text(written));
    let mut reader = connect(&server);
    let asked = Stopwatch::start();
    assert_eq!(number(&mut reader, "SELECT count(*) FROM t"), written);
    let some = number(&mut reader, "SELECT id FROM t WHERE id = 7");
    assert_eq!(some, 7, "reads by key go on");
    let error = again().expect_err("it is still full");
    assert_eq!(error.state(), Some(SqlState::DISK_FULL), "{error}");
    assert!(asked.elapsed() < PATIENCE, "{:?} on a full disk", asked.elapsed());
    fs::remove_file(&ballast).expect("space");
    let freed = Stopwatch::start();
    while let Err(error) = again() {
        assert_eq!(error.state(), Some(SqlState::DISK_FULL), "{error}");
        assert!(freed.elapsed() < RECOVERY, "still refused {RECOVERY:?} after there was space");
        sleep(Duration::from_millis(100));
    }
    println!("writes resumed {:?} after there was space", freed.elapsed());
    assert_eq!(number(&mut reader, "SELECT count(*) FROM t"), written + BATCH);
    server.kill().expect("killed");
    let server = start(&data_dir, &ARGUMENTS);
    assert_eq!(number(&mut connect(&server), "SELECT count(*) FROM t"), written + BATCH);
    drop(server);
}
