//! Files on the real disk.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::fs::{self, ALIGNMENT, Buffer, File, OpenOptions};
use runtime::{task, time, watchdog};

use crate::on_core;

const WRITE: OpenOptions = OpenOptions {
    read: true,
    write: true,
    create: true,
    create_new: false,
    truncate: false,
    direct: true,
    dsync: false,
};

/// Runs a future on a core, in a directory of its own.
fn in_dir<F: Future<Output = ()> + 'static>(f: impl Fn(PathBuf) -> F + Send + Clone) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    on_core(move || f(path.clone()));
}

/// Bytes that differ from block to block.
fn pattern(len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    for (n, byte) in buffer.iter_mut().enumerate() {
        *byte = (n / 7 + n / ALIGNMENT) as u8;
    }
    buffer
}

#[test]
fn any_range_of_what_was_written_is_read() {
    for direct in [true, false] {
        in_dir(move |dir| async move {
            let options = OpenOptions { direct, ..WRITE };
            let file = File::open(&dir.join("f"), &options).await.unwrap();
            let len = 5 * ALIGNMENT;
            let written = file.write_at(0, pattern(len)).await.unwrap();
            assert_eq!(written.len(), len);
            file.sync().await.unwrap();
            assert_eq!(file.size().await.unwrap(), len as u64);
            let ranges = [
                (0, len),
                (1, 1),
                (ALIGNMENT - 1, 2),
                (4095, 8193),
                (len - 1, 1),
                (len - 10, 5_000),
                (len, 10),
                (len + 7, 10),
                (100 * len, 10),
                (0, 0),
                (0, 10 * len),
            ];
            for (pos, want) in ranges {
                let got = file.read_at(pos as u64, want).await.unwrap();
                let end = (pos + want).min(len);
                let expect = written.get(pos..end).unwrap_or_default();
                assert!(*got == *expect, "{direct} {pos}+{want}: {} bytes", got.len());
            }
            file.close().await.unwrap();
        });
    }
}

#[test]
fn a_file_that_ends_inside_a_block_reads_short() {
    in_dir(|dir| async move {
        let path = dir.join("odd");
        std::fs::write(&path, vec![7; 5_000]).unwrap();
        let file = File::open(&path, &OpenOptions::default()).await.unwrap();
        for (pos, want, expect) in [(0, 8192, 5000), (4999, 10, 1), (4096, 2000, 904), (5000, 1, 0)]
        {
            let got = file.read_at(pos, want).await.unwrap();
            assert_eq!(got.len(), expect, "{pos}+{want}");
            assert!(got.iter().all(|&b| b == 7));
        }
    });
}

#[test]
fn a_read_buffer_can_be_changed_and_written_back() {
    in_dir(|dir| async move {
        let file = File::open(&dir.join("f"), &WRITE).await.unwrap();
        file.write_at(0, pattern(ALIGNMENT)).await.unwrap();
        let mut block = file.read_at(0, ALIGNMENT).await.unwrap();
        block[0] = 99;
        let block = file.write_at(0, block).await.unwrap();
        assert_eq!(block[0], 99);
        assert_eq!(file.read_at(0, 2).await.unwrap()[0], 99);
        let again = file.read_at(0, ALIGNMENT).await.unwrap();
        file.write_at(4096, again).await.unwrap();
        assert_eq!(file.read_at(4096, 1).await.unwrap()[0], 99);
    });
}

#[test]
fn bad_requests_are_errors_with_the_path() {
    in_dir(|dir| async move {
        let path = dir.join("f");
        let missing = File::open(&path, &OpenOptions::default()).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().contains("/f"), "{missing}");
        let file = File::open(&path, &WRITE).await.unwrap();
        for (pos, len) in [(1, ALIGNMENT), (0, 10)] {
            let refused = file.write_at(pos, Buffer::zeroed(len)).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        let refused = file.read_at(0, usize::MAX).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        let new = OpenOptions { create_new: true, ..WRITE };
        let there = File::open(&path, &new).await.unwrap_err();
        assert_eq!(there.kind(), io::ErrorKind::AlreadyExists);
    });
}

#[test]
fn a_full_device_says_so() {
    on_core(|| async {
        let options = OpenOptions { create: false, direct: false, ..WRITE };
        let file = File::open(Path::new("/dev/full"), &options).await.unwrap();
        let error = file.write_at(0, pattern(ALIGNMENT)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::os_error(&error), Some(libc::ENOSPC));
        assert!(error.to_string().contains("/dev/full"), "{error}");
    });
}

#[test]
fn preallocation_keeps_what_is_there() {
    in_dir(|dir| async move {
        let options = OpenOptions { dsync: true, ..WRITE };
        let file = File::open(&dir.join("wal"), &options).await.unwrap();
        file.write_at(0, pattern(ALIGNMENT)).await.unwrap();
        file.preallocate(3 << 20).await.unwrap();
        assert_eq!(file.size().await.unwrap(), 3 << 20);
        let all = file.read_at(0, 3 << 20).await.unwrap();
        assert!(all[..ALIGNMENT] == *pattern(ALIGNMENT));
        assert!(all[ALIGNMENT..].iter().all(|&b| b == 0));
        file.preallocate(1).await.unwrap();
        assert_eq!(file.size().await.unwrap(), 3 << 20);
        file.truncate(100).await.unwrap();
        file.preallocate(5_000).await.unwrap();
        assert_eq!(file.size().await.unwrap(), 5_000);
    });
}

#[test]
fn tmpfs_is_served() {
    if !Path::new("/dev/shm").is_dir() {
        return;
    }
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("f");
    on_core(move || {
        let path = path.clone();
        async move {
            let file = File::open(&path, &WRITE).await.unwrap();
            file.write_at(0, pattern(2 * ALIGNMENT)).await.unwrap();
            file.sync().await.unwrap();
            assert!(*file.read_at(10, 100).await.unwrap() == pattern(ALIGNMENT)[10..110]);
        }
    });
}

#[test]
fn names_come_and_go() {
    in_dir(|dir| async move {
        let deep = dir.join("a/b");
        fs::create_dir_all(&deep).await.unwrap();
        fs::create_dir_all(&deep).await.unwrap();
        let file = File::open(&deep.join("one"), &WRITE).await.unwrap();
        file.write_at(0, pattern(ALIGNMENT)).await.unwrap();
        file.close().await.unwrap();
        fs::rename(&deep.join("one"), &deep.join("two")).await.unwrap();
        fs::sync_dir(&deep).await.unwrap();
        assert!(!fs::exists(&deep.join("one")).await.unwrap());
        let listed = fs::read_dir(&deep).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((&*listed[0].name, listed[0].size), ("two", 4096));
        let up = fs::read_dir(&dir.join("a")).await.unwrap();
        assert!(up[0].is_dir);
        fs::remove_file(&deep.join("two")).await.unwrap();
        let missing = fs::remove_file(&deep.join("two")).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(&dir.join("a")).await.unwrap();
        assert!(fs::read_dir(&dir).await.unwrap().is_empty());
        assert!(fs::available_space(&dir).await.unwrap() > 0);
    });
}

#[test]
fn a_dropped_write_leaves_the_file_usable() {
    in_dir(|dir| async move {
        let file = File::open(&dir.join("f"), &WRITE).await.unwrap();
        file.preallocate(1 << 20).await.unwrap();
        for _ in 0..100 {
            let write = file.write_at(0, pattern(64 << 10));
            let read = file.read_at(0, 64 << 10);
            drop(time::timeout(Duration::from_micros(1), write).await);
            drop(time::timeout(Duration::from_micros(1), read).await);
        }
        file.write_at(0, pattern(ALIGNMENT)).await.unwrap();
        file.sync().await.unwrap();
        assert!(*file.read_at(0, ALIGNMENT).await.unwrap() == *pattern(ALIGNMENT));
    });
}

#[test]
fn disk_work_does_not_hold_up_the_core() {
    in_dir(|dir| async move {
        let file = File::open(&dir.join("f"), &WRITE).await.unwrap();
        file.preallocate(4 << 20).await.unwrap();
        watchdog::reset();
        let began = time::now();
        let writer = task::spawn("writer", async move {
            for n in 0..200u64 {
                file.write_at(n * 4096, Buffer::zeroed(4096)).await.unwrap();
                file.sync().await.unwrap();
            }
        });
        writer.await.unwrap();
        println!("{:?} a synced write", began.elapsed() / 200);
        // Yielding in a busy loop beside other tests may lose the processor, but not every time.
        let report = watchdog::report();
        assert!(report.stalls <= 2, "{report:?}");
    });
}
