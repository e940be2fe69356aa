//! Random operations on a tree and on a model beside it, through flushes, compactions, collection
//! and reopening.

use super::*;

async fn check_reads(rng: &mut Rng, pair: &Pair, watermark: u64) {
    for _ in 0..20 {
        let now = pair.model.borrow().now();
        let at = watermark + rng.below(now - watermark + 2);
        let key = random_key(rng);
        pair.check_get(&key, at).await;
    }
    for _ in 0..3 {
        let now = pair.model.borrow().now();
        let at = watermark + rng.below(now - watermark + 2);
        let end = (rng.below(4) > 0).then(|| random_key(rng));
        let range = KeyRange { start: random_key(rng), end };
        pair.check_scan(range, at, rng.below(2) == 0, 1 + rng.below(30) as usize).await;
    }
}

/// A scan that stands still while the tree changes under it.
async fn check_scan_across_changes(rng: &mut Rng, pair: &Pair) {
    let at = pair.model.borrow().now();
    let reverse = rng.below(2) == 0;
    let expected = pair.model.borrow().scan(&everything(), at, reverse);
    let mut scan = pair.tree.scan(everything(), Timestamp(at), reverse);
    let mut batch = ScanBatch::new();
    let mut seen: Seen = Vec::new();
    loop {
        let more = scan.next_batch(&mut batch, 15, 1 << 20).await.expect("the disk is well");
        seen.extend(batch.iter().map(|row| (row.key.to_vec(), row.ts.0, row.value.to_vec())));
        if !more {
            break;
        }
        pair.apply(rng);
        if rng.below(4) == 0 {
            pair.tree.set_log_durable(pair.tree.applied_index());
            pair.tree.flush().await.expect("the disk is well");
        }
    }
    assert_same(&seen, &expected, "a scan across changes");
}

async fn play(seed: u64) {
    let mut rng = Rng::seeded(seed);
    let model = Rc::new(RefCell::new(Model::default()));
    let options = || {
        let compression = if seed.is_multiple_of(2) { Compression::None } else { Compression::Lz4 };
        StorageOptions { compression, ..tiny() }
    };
    let mut pair = Pair::open(options(), &model).await;
    let mut watermark = 0;
    for _ in 0..150 {
        match rng.below(20) {
            0..10 => {
                for _ in 0..rng.below(10) {
                    pair.apply(&mut rng);
                }
            }
            10..13 => {
                pair.tree.set_log_durable(pair.tree.applied_index());
                let applied = pair.tree.applied_index();
                assert_eq!(pair.tree.flush().await.expect("the disk is well"), applied);
            }
            13 => {
                let now = model.borrow().now();
                watermark += rng.below(now - watermark + 1);
                pair.tree.set_collect_before(Timestamp(watermark));
            }
            14 => {
                let durable = pair.tree.durable_index();
                drop(pair);
                pair = Pair::open(options(), &model).await;
                assert!(pair.tree.durable_index() >= durable);
            }
            15 => check_scan_across_changes(&mut rng, &pair).await,
            16 => pair.tree.verify().await.expect("the tree is whole"),
            17 => settle(&pair.tree).await,
            _ => check_reads(&mut rng, &pair, watermark).await,
        }
    }
    check_reads(&mut rng, &pair, watermark).await;
    pair.check_all().await;
    settle(&pair.tree).await;
    pair.check_all().await;
    pair.tree.verify().await.expect("the tree is whole");
}

#[test]
fn trees_agree_with_the_model() {
    for seed in 0..40 {
        in_sim(seed, move || play(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let sim = Sim::new(Options::new(3));
        run_node(&sim, || play(3));
        sim.trace_hash()
    };
    assert_eq!(run(), run());
}

#[test]
fn old_versions_and_tombstones_are_collected() {
    in_sim(1, || async {
        let model = Rc::default();
        let pair = Pair::open(tiny(), &model).await;
        let mut rng = Rng::seeded(1);
        for round in 0..20 {
            for _ in 0..20 {
                pair.apply(&mut rng);
            }
            pair.tree.set_collect_before(Timestamp(model.borrow().now()));
            pair.tree.set_log_durable(pair.tree.applied_index());
            pair.tree.flush().await.expect("the disk is well");
            settle(&pair.tree).await;
            let entries: u64 =
                pair.tree.inner.version().tables().map(|table| table.meta.entries).sum();
            let live = model.borrow().scan(&everything(), u64::MAX, false).len() as u64;
            let keys = 3 * (1 + 4 + 16 + 64);
            // What lies in several levels is there several times.
            assert!(entries <= 4 * keys, "round {round}: {entries} versions, {live} rows");
        }
        pair.check_all().await;
        // Delete everything: what is left at the end are tombstones on their way down.
        let index = model.borrow().last_index().next();
        let all = model.borrow().scan(&everything(), u64::MAX, false);
        let entry: Entry = all
            .into_iter()
            .map(|(key, _, _)| VersionedWrite {
                key: key.into(),
                ts: Timestamp(Model::ts(index)),
                value: None,
            })
            .collect();
        pair.tree.apply(index, &entry);
        model.borrow_mut().push(entry);
        pair.check_all().await;
        pair.tree.set_log_durable(index);
        pair.tree.flush().await.expect("the disk is well");
        settle(&pair.tree).await;
        pair.check_all().await;
    });
}

#[test]
fn entries_that_are_in_the_tree_are_skipped() {
    in_sim(2, || async {
        let model = Rc::default();
        let pair = Pair::open(tiny(), &model).await;
        let mut rng = Rng::seeded(2);
        for _ in 0..10 {
            pair.apply(&mut rng);
        }
        let forged = VersionedWrite {
            key: Bytes::from_static(b"forged"),
            ts: Timestamp(1),
            value: Some(Bytes::from_static(b"x")),
        };
        pair.tree.apply(LogIndex(10), &[forged]);
        assert_eq!(pair.tree.applied_index(), LogIndex(10));
        pair.check_all().await;
    });
}

#[test]
fn newest_sees_tombstones() {
    in_sim(3, || async {
        let storage = Storage::new(tiny());
        let tree = storage.open_tree(PARTITION, directory()).await.expect("the tree opens");
        let write = |ts, value: Option<&'static [u8]>| VersionedWrite {
            key: Bytes::from_static(b"k"),
            ts: Timestamp(ts),
            value: value.map(Bytes::from_static),
        };
        tree.apply(LogIndex(1), &[write(5, Some(b"v"))]);
        tree.apply(LogIndex(2), &[write(9, None)]);
        tree.set_log_durable(LogIndex(2));
        for _ in 0..2 {
            let newest = tree.newest(b"k").await.expect("the disk is well");
            let newest = newest.expect("there are versions");
            assert_eq!((newest.ts, newest.value.is_none()), (Timestamp(9), true));
            let row = tree.get(b"k", Timestamp(8)).await.expect("the disk is well");
            assert_eq!(&*row.expect("it was there").value, b"v");
            assert!(tree.newest(b"j").await.expect("the disk is well").is_none());
            tree.flush().await.expect("the disk is well");
        }
    });
}

#[test]
fn a_cached_row_is_read_without_io() {
    in_sim(4, || async {
        let model = Rc::default();
        let pair = Pair::open(tiny(), &model).await;
        let mut rng = Rng::seeded(4);
        for _ in 0..50 {
            pair.apply(&mut rng);
        }
        pair.tree.set_log_durable(pair.tree.applied_index());
        pair.tree.flush().await.expect("the disk is well");
        settle(&pair.tree).await;
        let (key, ts, value) = model.borrow().scan(&everything(), u64::MAX, false).swap_remove(7);
        let at = Timestamp::MAX;
        assert!(matches!(pair.tree.get_cached(&key, at), CacheLookup::NeedsRead));
        pair.tree.get(&key, at).await.expect("the disk is well");
        let CacheLookup::Found(row) = pair.tree.get_cached(&key, at) else {
            panic!("the row was just read");
        };
        assert_eq!((row.ts.0, row.value.to_vec()), (ts, value));
    });
}

#[test]
fn a_closed_tree_can_be_opened_again_in_the_same_storage() {
    in_sim(5, || async {
        let model = Rc::default();
        let mut rng = Rng::seeded(5);
        let mut pair = Pair::open(tiny(), &model).await;
        for _ in 0..20 {
            for _ in 0..30 {
                pair.apply(&mut rng);
            }
            // Leaves flushes and compactions under way.
            pair.tree.set_log_durable(pair.tree.applied_index());
            pair.tree.inner.freeze();
            time::sleep(Duration::from_micros(rng.below(3_000))).await;
            let old = pair.tree.clone();
            pair.tree.close().await;
            assert!(matches!(old.flush().await, Ok(_) | Err(StorageError::Closed)));
            assert!(matches!(old.make_room().await, Err(StorageError::Closed)));
            drop(old);
            let opened = pair.storage.open_tree(PARTITION, directory()).await;
            let tree = opened.expect("the tree opens");
            pair = Pair { storage: pair.storage, tree, model: pair.model };
            pair.replay();
            pair.check_all().await;
        }
    });
}
