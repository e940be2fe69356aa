//! Disks that fail while they are in use.

use std::cell::Cell;

use super::super::{DiskError, DiskFault, Operations};
use super::*;
use crate::{random, time};

#[test]
fn files_are_what_was_written() {
    let sim = sim(1);
    sim.run_until(async {
        let file = open("/f", false).await;
        file.preallocate(16_384).await.unwrap();
        file.write_at(4096, page(7)).await.unwrap();
        let read = file.read_at(4000, 200).await.unwrap();
        assert_eq!((&read[..96], &read[96..]), (&[0; 96][..], &[7; 104][..]));
        assert_eq!(file.read_at(16_000, 4096).await.unwrap().len(), 384);
        file.truncate(5_000).await.unwrap();
        assert_eq!(file.size().await.unwrap(), 5_000);
        let unaligned = file.write_at(1, page(1)).await.unwrap_err();
        assert_eq!(unaligned.kind(), std::io::ErrorKind::InvalidInput);
        let reader = File::open("/f".as_ref(), &OpenOptions::default()).await.unwrap();
        assert_eq!(os_error_of(reader.write_at(0, page(1)).await), Some(libc::EBADF));
        file.close().await.unwrap();
    })
    .unwrap();
}

#[test]
fn names_behave_as_a_file_system_s() {
    let sim = sim(2);
    sim.run_until(async {
        let missing = File::open("/no/file".as_ref(), &OpenOptions::default()).await;
        assert_eq!(os_error_of(missing), Some(libc::ENOENT));
        fs::create_dir_all("/d/e".as_ref()).await.unwrap();
        open("/d/f", false).await;
        let new = OpenOptions { write: true, create_new: true, ..OpenOptions::default() };
        assert_eq!(os_error_of(File::open("/d/f".as_ref(), &new).await), Some(libc::EEXIST));
        assert_eq!(os_error_of(File::open("/d/e".as_ref(), &new).await), Some(libc::EISDIR));
        assert_eq!(os_error_of(fs::create_dir_all("/d/f/g".as_ref()).await), Some(libc::ENOTDIR));
        let listed = fs::read_dir("/d".as_ref()).await.unwrap();
        assert_eq!(
            listed.iter().map(|e| (&*e.name, e.is_dir)).collect::<Vec<_>>(),
            [("e", true), ("f", false)]
        );
        assert_eq!(
            os_error_of(fs::rename("/d/f".as_ref(), "/d/e".as_ref()).await),
            Some(libc::EISDIR)
        );
        let inside = fs::rename("/d".as_ref(), "/d/e/d".as_ref()).await;
        assert_eq!(os_error_of(inside), Some(libc::EINVAL));
        fs::rename("/d".as_ref(), "/moved".as_ref()).await.unwrap();
        assert!(fs::exists("/moved/f".as_ref()).await.unwrap());
        fs::remove_file("/moved/f".as_ref()).await.unwrap();
        assert_eq!(os_error_of(fs::remove_file("/moved/f".as_ref()).await), Some(libc::ENOENT));
        fs::remove_dir_all("/moved".as_ref()).await.unwrap();
        assert!(fs::read_dir("/".as_ref()).await.unwrap().is_empty());
    })
    .unwrap();
}

#[test]
fn a_full_disk_refuses_and_frees() {
    let sim = sim(3);
    sim.disk(CLIENT).set_capacity(3 * 4096);
    sim.run_until(async {
        let file = open("/f", false).await;
        file.preallocate(8192).await.unwrap();
        assert_eq!(os_error_of(file.preallocate(16_384).await), Some(libc::ENOSPC));
        assert_eq!(fs::available_space("/".as_ref()).await.unwrap(), 4096);
        file.write_at(4096, page(1)).await.unwrap();
        file.write_at(8192, page(1)).await.unwrap();
        assert_eq!(os_error_of(file.write_at(12_288, page(1)).await), Some(libc::ENOSPC));
        fs::remove_file("/f".as_ref()).await.unwrap();
        fs::sync_dir("/".as_ref()).await.unwrap();
        assert_eq!(fs::available_space("/".as_ref()).await.unwrap(), 0, "it is open still");
        drop(file);
        assert_eq!(fs::available_space("/".as_ref()).await.unwrap(), 3 * 4096);
    })
    .unwrap();
}

#[test]
fn orders_to_fail_are_kept() {
    let sim = sim(4);
    let disk = sim.disk(CLIENT);
    sim.run_until(async {
        let file = open("/dir-wal", false).await;
        let other = open("/table", false).await;
        file.preallocate(3 * 4096).await.unwrap();
        let writes = DiskFault::new(Operations::WRITE, DiskError::NoSpace);
        disk.fail(writes.on_path("wal").once());
        other.write_at(0, page(1)).await.unwrap();
        assert_eq!(os_error_of(file.write_at(0, page(1)).await), Some(libc::ENOSPC));
        file.write_at(0, page(1)).await.unwrap();
        // A latent sector error: every read that touches it, no other.
        let reads = DiskFault::new(Operations::READ, DiskError::InputOutput);
        disk.fail(reads.on_path("wal").on_bytes(4096..8192));
        for _ in 0..3 {
            assert_eq!(os_error_of(file.read_at(4000, 200).await), Some(libc::EIO));
            file.read_at(0, 4096).await.unwrap();
        }
        disk.clear_failures();
        file.read_at(4000, 200).await.unwrap();
        disk.change(|faults| faults.open_files_max = 2);
        let third = File::open("/table".as_ref(), &OpenOptions::default()).await;
        assert_eq!(os_error_of(third), Some(libc::EMFILE));
        drop(other);
        File::open("/table".as_ref(), &OpenOptions::default()).await.unwrap();
    })
    .unwrap();
}

#[test]
fn after_a_failed_sync_a_later_one_lies() {
    let sim = sim(5);
    sim.run_until(async {
        let file = open("/f", false).await;
        fs::sync_dir("/".as_ref()).await.unwrap();
        file.write_at(0, page(1)).await.unwrap();
        file.sync().await.unwrap();
        file.write_at(0, page(2)).await.unwrap();
        sim.disk(CLIENT).fail(DiskFault::new(Operations::SYNC, DiskError::InputOutput).once());
        assert_eq!(os_error_of(file.sync().await), Some(libc::EIO));
        file.sync().await.unwrap();
        assert_eq!(file.read_at(0, 4096).await.unwrap()[..], [2; 4096]);
    })
    .unwrap();
    sim.crash(CLIENT, Loss::Power);
    assert_eq!(sim.disk(CLIENT).read("/f").unwrap(), [1; 4096]);
}

#[test]
fn chance_fails_operations_too() {
    let options = Options::new(6);
    let sim = Sim::new(options);
    sim.disk(CLIENT).change(|faults| {
        faults.write_error = super::super::Chance::percent(20);
        faults.read_error = super::super::Chance::percent(20);
    });
    let failed = sim.run_until(async {
        let file = open("/f", false).await;
        let mut failed = [0; 2];
        for _ in 0..200 {
            failed[0] += usize::from(file.write_at(0, page(1)).await.is_err());
            failed[1] += usize::from(file.read_at(0, 4096).await.is_err());
        }
        failed
    });
    assert!(failed.unwrap().iter().all(|count| (20..60).contains(count)));
}

#[test]
fn slow_and_stalled_disks_take_their_time() {
    let sim = sim(7);
    let took = Rc::new(Cell::new(Duration::ZERO));
    sim.run_until(async {
        let file = open("/f", true).await;
        let write = async || {
            let began = time::now();
            file.write_at(0, page(1)).await.unwrap();
            took.set(began.elapsed());
        };
        write().await;
        assert!(took.get() < MS);
        sim.disk(CLIENT).set_slowness(100);
        write().await;
        assert!(took.get() > 5 * MS && took.get() < 100 * MS);
        sim.disk(CLIENT).set_slowness(1);
        sim.disk(CLIENT).stall(Operations::WRITE | Operations::SYNC, Duration::from_secs(10));
        let began = time::now();
        file.read_at(0, 4096).await.unwrap();
        assert!(began.elapsed() < MS, "it answers reads and not writes");
        write().await;
        assert!(took.get() > Duration::from_secs(9));
    })
    .unwrap();
}

#[test]
fn a_stall_catches_what_is_under_way() {
    let sim = sim(8);
    sim.run_until(async {
        let file = open("/f", true).await;
        let began = time::now();
        let write = crate::task::spawn("write", async move { file.write_at(0, page(1)).await });
        time::sleep(Duration::from_micros(10)).await;
        assert_eq!(sim.disk(CLIENT).under_way(), 1);
        sim.disk(CLIENT).stall(Operations::ALL, Duration::from_secs(1));
        write.await.unwrap().unwrap();
        assert!(began.elapsed() >= Duration::from_secs(1));
    })
    .unwrap();
}

#[test]
fn damage_is_there_for_good() {
    let sim = sim(9);
    let disk = sim.disk(CLIENT);
    sim.run_until(async {
        let file = open("/f", true).await;
        fs::sync_dir("/".as_ref()).await.unwrap();
        file.write_at(0, Buffer::from_slice_padded(&[0xff; 8192])).await.unwrap();
    })
    .unwrap();
    let before = disk.store("/f").unwrap();
    assert!(disk.flip_bit("/f", 100, 3).unwrap());
    assert!(!disk.flip_bit("/f", 8192, 3).unwrap());
    disk.zero_sector("/f", 1030).unwrap();
    disk.misdirect("/f", 1024, 4096 - 256, 512).unwrap();
    sim.crash(CLIENT, Loss::Power);
    let bytes = disk.read("/f").unwrap();
    assert_eq!(bytes[100], 0xf7);
    assert!(bytes[1024..1536].iter().all(|&byte| byte == 0));
    assert!(bytes[3840..4352].iter().all(|&byte| byte == 0) && bytes[4352] == 0xff);
    disk.truncate("/f", 50).unwrap();
    assert_eq!(disk.files(), [("/f".to_owned(), 50)]);
    disk.restore("/f", &before).unwrap();
    assert_eq!(disk.read("/f").unwrap(), [0xff; 8192]);
    disk.remove("/f").unwrap();
    assert!(disk.read("/f").is_err());
    assert_eq!(disk.used(), 0);
}

#[test]
fn swapped_disks_go_with_the_other_node() {
    let sim = sim(10);
    for node in [1, 2] {
        let path = format!("/of-{node}");
        sim.start_node(node, 1, |_| {
            let path = path.clone();
            Box::pin(async move { drop(open(&path, false).await) })
        });
    }
    sim.run_for(MS).unwrap();
    sim.swap_disks(1, 2);
    assert_eq!(sim.disk(1).files(), [("/of-2".to_owned(), 0)]);
    sim.start_node(1, 1, |_| {
        Box::pin(async {
            assert!(fs::exists("/of-2".as_ref()).await.unwrap());
        })
    });
    sim.run_for(MS).unwrap();
    assert_eq!(sim.panics(), []);
}

#[test]
fn an_operation_goes_on_without_its_task() {
    let sim = sim(11);
    sim.run_until(async {
        let file = open("/f", false).await;
        let write = crate::task::spawn("write", async move { file.write_at(0, page(1)).await });
        time::sleep(Duration::from_micros(5 + random::below(5))).await;
        drop(write);
        assert_eq!(sim.disk(CLIENT).files(), [("/f".to_owned(), 0)]);
        time::sleep(MS).await;
        assert_eq!(sim.disk(CLIENT).read("/f").unwrap(), [1; 4096]);
        assert_eq!(sim.disk(CLIENT).unsynced_changes("/f").unwrap(), 1);
    })
    .unwrap();
}
