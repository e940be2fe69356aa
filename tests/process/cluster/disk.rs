//! A disk that fails: a node whose log cannot be written stops and says so, and the others go on.
//!
//! The node's data are on a file system of its own, which is told to answer every operation with EIO from
//! then on. What was synced before is there when it is mounted again.

use super::load::{Load, under_load};
use super::{COPIES, Cluster, PATIENCE, eventually, is_spread, started};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use test_support::{fail_file_system, now, sleep};

const DISK: &str = "512m";
const ARGUMENTS: [&str; 6] =
    ["--cores", "1", "--wal-segment-size", "1MiB", "--replication-factor", "3"];
const POLL: Duration = Duration::from_millis(20);

struct Disk {
    image: String,
    mount: PathBuf,
}

impl Disk {
    /// `None`, having said why, where that is not allowed.
    fn new(folder: &Path) -> Option<Disk> {
        let mount = folder.join("mount");
        fs::create_dir_all(&mount).expect("a folder");
        let disk = Disk { image: text(&folder.join("image")), mount };
        let done = run(&["truncate", "-s", DISK, &disk.image])
            .and_then(|()| run(&["mkfs.ext4", "-q", "-F", "-m", "0", &disk.image]))
            .and_then(|()| disk.mount());
        match done {
            Ok(()) => Some(disk),
            Err(why) => {
                println!("left out: no disk that fails: {why}");
                None
            }
        }
    }

    fn mount(&self) -> Result<(), String> {
        run(&["mount", "-o", "loop", &self.image, &text(&self.mount)])
    }

    /// Another start of the same disk, which works again.
    fn repair(&self) {
        run(&["umount", &text(&self.mount)]).expect("nobody uses it");
        self.mount().expect("it is mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What was never mounted cannot be unmounted.
        let _unmounted = run(&["umount", "-l", &text(&self.mount)]);
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn run(command: &[&str]) -> Result<(), String> {
    let ran = Command::new(command[0]).args(&command[1..]).output();
    let output = ran.map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said.trim())) }
}

#[test]
fn a_node_whose_disk_fails_stops_and_says_so_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::new(folder.path()) else { return };
    let cluster = Cluster::new();
    let one = cluster.start(1, &ARGUMENTS);
    let two = cluster.join(2, &one, &ARGUMENTS);
    // Its log stays where it can be written.
    let directory = cluster.directory(3);
    let there = disk.mount.join("data");
    fs::create_dir(&there).expect("a folder");
    std::os::unix::fs::symlink(&there, &directory).expect("a link");
    let join = [&["--join", one.address()], &ARGUMENTS[..]].concat();
    let mut broken = started(&directory, &join);
    eventually(true, || is_spread(&one, COPIES));
    let servers = [one, two];
    let load = Load::new(&servers);
    under_load(&load, || {
        fail_file_system(&disk.mount).expect("it fails");
        let began = now();
        while broken.is_running() {
            assert!(began.elapsed() < PATIENCE, "it goes on:\n{}", broken.log());
            sleep(POLL);
        }
        let ended = broken.wait(PATIENCE).expect("it has ended");
        let log = broken.log();
        let errors: Vec<&str> =
            log.lines().filter(|line| line.contains("\"level\":\"error\"")).collect();
        println!("ended after {:?} with {ended}: {errors:#?}", began.elapsed());
        assert_eq!(ended.code(), Some(1), "{log}");
        assert!(errors.iter().any(|line| line.contains("os error 5")), "{log}");
        let before = load.successes();
        eventually(true, || load.successes() > before + 1_000);
        load.check(&servers[0], "while it is gone");
        disk.repair();
        let back = started(&directory, &ARGUMENTS);
        eventually(true, || is_spread(&back, COPIES));
        load.check(&back, "with the node back");
        assert!(back.terminate().expect("it drains").success());
    });
}
