//! A disk that fills up, fails, and lies.

use runtime::sim::{DiskError, DiskFault, Operations};

use super::*;

/// Entries and flushes until the tree has several levels.
async fn fill(pair: &Pair, rng: &mut Rng) {
    for _ in 0..12 {
        for _ in 0..15 {
            pair.apply(rng);
        }
        pair.tree.set_log_durable(pair.tree.applied_index());
        pair.tree.flush().await.expect("the disk is well");
    }
    settle(&pair.tree).await;
}

/// A simulation with a filled tree on its disk.
fn filled(seed: u64) -> (Sim, Rc<RefCell<Model>>) {
    let sim = Sim::new(Options::new(seed));
    let model = Rc::new(RefCell::new(Model::default()));
    let shared = Rc::clone(&model);
    run_node(&sim, move || {
        let model = Rc::clone(&shared);
        async move {
            let pair = Pair::open(tiny(), &model).await;
            fill(&pair, &mut Rng::seeded(seed)).await;
        }
    });
    (sim, model)
}

fn tables(sim: &Sim) -> Vec<(String, u64)> {
    let files = sim.disk(NODE).files();
    files.into_iter().filter(|(path, _)| path.ends_with(".table")).collect()
}

#[test]
fn a_full_disk_fails_flushes_until_there_is_space() {
    for seed in 0..20 {
        let sim = Rc::new(Sim::new(Options::new(seed)));
        let world = Rc::clone(&sim);
        run_node(&sim, move || {
            let sim = Rc::clone(&world);
            async move {
                let model = Rc::default();
                let pair = Pair::open(tiny(), &model).await;
                let mut rng = Rng::seeded(seed);
                fill(&pair, &mut rng).await;
                let spare = rng.below(6) * 4096;
                sim.disk(NODE).set_capacity(sim.disk(NODE).used() + spare);
                let mut failures = 0;
                for _ in 0..10 {
                    for _ in 0..20 {
                        pair.apply(&mut rng);
                    }
                    pair.tree.set_log_durable(pair.tree.applied_index());
                    match pair.tree.flush().await {
                        Ok(_) => {}
                        Err(StorageError::OutOfSpace { .. }) => failures += 1,
                        Err(error) => panic!("seed {seed}: {error}"),
                    }
                    pair.check_all().await;
                }
                assert!(failures > 0, "seed {seed}: the disk was full");
                sim.disk(NODE).set_capacity(1 << 40);
                while pair.tree.flush().await.is_err() {
                    time::sleep(Duration::from_millis(100)).await;
                }
                assert_eq!(pair.tree.durable_index(), pair.tree.applied_index());
                time::sleep(Duration::from_secs(2)).await;
                settle(&pair.tree).await;
                pair.tree.make_room().await.expect("there is space again");
                pair.check_all().await;
                pair.tree.verify().await.expect("the tree is whole");
            }
        });
    }
}

#[test]
fn writers_learn_of_a_full_disk_when_memory_is_used_up() {
    let sim = Rc::new(Sim::new(Options::new(9)));
    let world = Rc::clone(&sim);
    run_node(&sim, move || {
        let sim = Rc::clone(&world);
        async move {
            let storage = Storage::new(tiny());
            let tree = storage.open_tree(PARTITION, directory()).await.expect("it opens");
            sim.disk(NODE).set_capacity(sim.disk(NODE).used());
            let mut index = LogIndex(0);
            let mut write = || {
                index = index.next();
                let key = Bytes::from(index.0.to_be_bytes().to_vec());
                let value = Some(Bytes::from(vec![1; 10_000]));
                tree.apply(index, &[VersionedWrite { key, ts: Timestamp(index.0), value }]);
                tree.set_log_durable(index);
            };
            let failure = loop {
                if let Err(error) = tree.make_room().await {
                    break error;
                }
                write();
            };
            assert!(matches!(failure, StorageError::OutOfSpace { .. }), "{failure}");
            assert!(storage.memory().total() <= storage.memory().budget);
            let row = tree.get(&1u64.to_be_bytes(), Timestamp::MAX).await.expect("reads go on");
            assert_eq!(row.expect("it is there").value.len(), 10_000);
            sim.disk(NODE).set_capacity(1 << 40);
            while tree.make_room().await.is_err() {
                time::sleep(Duration::from_millis(100)).await;
            }
            write();
        }
    });
}

#[test]
fn a_failed_sync_poisons() {
    for path in [".table", "MANIFEST", "partitions/4"] {
        let sim = Rc::new(Sim::new(Options::new(5)));
        let world = Rc::clone(&sim);
        run_node(&sim, move || {
            let sim = Rc::clone(&world);
            async move {
                let model = Rc::default();
                let pair = Pair::open(tiny(), &model).await;
                let mut rng = Rng::seeded(5);
                pair.apply(&mut rng);
                let fault = DiskFault::new(Operations::SYNC, DiskError::InputOutput);
                sim.disk(NODE).fail(fault.on_path(path).once());
                pair.tree.set_log_durable(LogIndex(1));
                for _ in 0..2 {
                    let flushed = pair.tree.flush().await;
                    assert!(matches!(flushed, Err(StorageError::Poisoned { .. })), "{flushed:?}");
                }
                let room = pair.tree.make_room().await;
                assert!(matches!(room, Err(StorageError::Poisoned { .. })));
                assert_eq!(pair.tree.durable_index(), LogIndex(0));
                // Recovery from what is on the disk goes well.
                drop(pair);
                let pair = Pair::open(tiny(), &model).await;
                pair.check_all().await;
            }
        });
    }
}

#[test]
fn failed_writes_are_tried_again() {
    for (operations, path) in [
        (Operations::WRITE, ".table"),
        (Operations::WRITE, "MANIFEST"),
        (Operations::NAMES, ".table"),
    ] {
        let sim = Rc::new(Sim::new(Options::new(6)));
        let world = Rc::clone(&sim);
        run_node(&sim, move || {
            let sim = Rc::clone(&world);
            async move {
                let model = Rc::default();
                let pair = Pair::open(tiny(), &model).await;
                let mut rng = Rng::seeded(6);
                pair.apply(&mut rng);
                let fault = DiskFault::new(operations, DiskError::InputOutput);
                sim.disk(NODE).fail(fault.on_path(path).once());
                pair.tree.set_log_durable(LogIndex(1));
                let flushed = pair.tree.flush().await;
                assert!(matches!(flushed, Err(StorageError::Io { .. })), "{flushed:?}");
                assert_eq!(pair.tree.flush().await.expect("only one failed"), LogIndex(1));
                drop(pair);
                let pair = Pair::open(tiny(), &model).await;
                assert_eq!(pair.tree.durable_index(), LogIndex(1));
                pair.check_all().await;
                pair.tree.verify().await.expect("the tree is whole");
            }
        });
    }
}

#[test]
fn a_failed_read_is_reported_and_may_be_repeated() {
    let (sim, model) = filled(7);
    let sim = Rc::new(sim);
    let world = Rc::clone(&sim);
    run_node(&sim, move || {
        let (sim, model) = (Rc::clone(&world), Rc::clone(&model));
        async move {
            let pair = Pair::open(tiny(), &model).await;
            let fault = DiskFault::new(Operations::READ, DiskError::InputOutput);
            sim.disk(NODE).fail(fault.on_path(".table").once());
            let mut scan = pair.tree.scan(everything(), Timestamp::MAX, false);
            let failed = collect(&mut scan, 10).await;
            assert!(matches!(failed, Err(StorageError::Io { .. })), "{failed:?}");
            pair.check_all().await;
        }
    });
}

/// Every byte of every table of a small tree: damage is reported, with the file's name, or is
/// harmless. It is never served.
#[test]
fn damaged_tables_are_never_served() {
    let (sim, model) = filled(8);
    let mut rng = Rng::seeded(8);
    for _ in 0..60 {
        let tables = tables(&sim);
        let (path, bytes) = tables[rng.below(tables.len() as u64) as usize].clone();
        let offset = rng.below(bytes);
        let bit = rng.below(8) as u8;
        sim.disk(NODE).flip_bit(&path, offset, bit).expect("the file is there");
        let model = Rc::clone(&model);
        let named = path.clone();
        run_node(&sim, move || {
            let (model, path) = (Rc::clone(&model), named.clone());
            async move {
                let pair = Pair::open(tiny(), &model).await;
                let now = model.borrow().now();
                let expected = model.borrow().scan(&everything(), now, false);
                let mut scan = pair.tree.scan(everything(), Timestamp(now), false);
                match collect(&mut scan, 20).await {
                    Ok(seen) => assert_same(&seen, &expected, &path),
                    Err(error) => check_named(&error, &path, offset),
                }
                for (key, ts, value) in expected {
                    match pair.tree.get(&key, Timestamp(now)).await {
                        Ok(row) => {
                            let row = row.expect("it was written");
                            assert_eq!((row.ts.0, row.value.to_vec()), (ts, value));
                        }
                        Err(error) => check_named(&error, &path, offset),
                    }
                }
                if let Err(error) = pair.tree.verify().await {
                    check_named(&error, &path, offset);
                }
            }
        });
        sim.disk(NODE).flip_bit(&path, offset, bit).expect("the file is there");
    }
}

fn check_named(error: &StorageError, path: &str, flipped: u64) {
    let StorageError::Corruption(corruption) = error else { panic!("{error}") };
    assert!(path.ends_with(&*corruption.file.to_string_lossy()), "{corruption} is about {path}");
    assert!(corruption.offset <= flipped, "{corruption}: byte {flipped} was changed");
}

/// Opens the tree after `damage` was done and gives the error.
fn open_damaged(damage: impl Fn(&Sim, &[(String, u64)])) -> Corruption {
    let (sim, _) = filled(10);
    damage(&sim, &tables(&sim));
    let found = Rc::new(RefCell::new(None));
    let out = Rc::clone(&found);
    run_node(&sim, move || {
        let out = Rc::clone(&out);
        async move {
            let storage = Storage::new(tiny());
            let opened = match storage.open_tree(PARTITION, directory()).await {
                Ok(tree) => tree.verify().await,
                Err(error) => Err(error),
            };
            *out.borrow_mut() = opened.err();
        }
    });
    match found.take() {
        Some(StorageError::Corruption(corruption)) => corruption,
        other => panic!("the damage was not found: {other:?}"),
    }
}

fn file_name(corruption: &Corruption) -> String {
    corruption.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn missing_truncated_and_exchanged_files_are_named() {
    let missing = open_damaged(|sim, tables| {
        sim.disk(NODE).remove(&tables[1].0).expect("the file is there");
    });
    assert_eq!(missing.damage, Damage::Missing);
    assert!(file_name(&missing).ends_with(".table"));

    let truncated = open_damaged(|sim, tables| {
        sim.disk(NODE).truncate(&tables[1].0, tables[1].1 - 4096).expect("the file is there");
    });
    assert_eq!(truncated.damage, Damage::Truncated);

    let exchanged = open_damaged(|sim, tables| {
        let same = |at: usize| tables.iter().filter(|table| table.1 == tables[at].1).count() > 1;
        let at = (0..tables.len()).find(|at| same(*at)).expect("two tables of one size");
        let other = (at + 1..tables.len())
            .find(|other| tables[*other].1 == tables[at].1)
            .expect("two tables of one size");
        let stored = sim.disk(NODE).store(&tables[other].0).expect("the file is there");
        sim.disk(NODE).restore(&tables[at].0, &stored).expect("the file is there");
    });
    assert!(matches!(exchanged.damage, Damage::Inconsistent | Damage::Checksum));

    let manifest = directory().join("MANIFEST");
    let lost = open_damaged(|sim, _| {
        sim.disk(NODE).remove(&manifest).expect("the file is there");
    });
    assert_eq!((file_name(&lost).as_str(), lost.damage), ("MANIFEST", Damage::Missing));

    let cut = open_damaged(|sim, _| {
        sim.disk(NODE).truncate(&manifest, 8192).expect("the file is there");
    });
    assert_eq!((file_name(&cut).as_str(), cut.damage), ("MANIFEST", Damage::Truncated));

    let zeroed = open_damaged(|sim, _| {
        for sector in 0..16 {
            sim.disk(NODE).zero_sector(&manifest, sector * 512).expect("the file is there");
        }
    });
    assert_eq!(file_name(&zeroed), "MANIFEST");
}

#[test]
fn a_tree_of_another_partition_is_foreign() {
    let (sim, _) = filled(12);
    run_node(&sim, || async {
        let storage = Storage::new(tiny());
        match storage.open_tree(PartitionId(9), directory()).await.err() {
            Some(StorageError::Corruption(corruption)) => {
                assert_eq!(corruption.damage, Damage::Foreign);
            }
            other => panic!("the partition was not checked: {other:?}"),
        }
    });
}

#[test]
fn a_manifest_with_a_damaged_copy_is_written_anew() {
    let (sim, model) = filled(13);
    let manifest = directory().join("MANIFEST");
    let is_worn = |sim: &Sim| {
        let bytes = sim.disk(NODE).read(&manifest).expect("the file is there");
        let recovered = manifest::record::recover(&bytes, PARTITION);
        recovered.expect("one copy is whole").is_worn
    };
    assert!(!is_worn(&sim));
    sim.disk(NODE).flip_bit(&manifest, 60, 3).expect("the file is there");
    assert!(is_worn(&sim));
    let shared = Rc::clone(&model);
    run_node(&sim, move || {
        let model = Rc::clone(&shared);
        async move {
            let pair = Pair::open(tiny(), &model).await;
            pair.check_all().await;
            pair.apply(&mut Rng::seeded(13));
            pair.tree.set_log_durable(pair.tree.applied_index());
            pair.tree.flush().await.expect("the disk is well");
        }
    });
    assert!(!is_worn(&sim));
}
