//! Trees copied through chunks: under load, with breaks, with damage.

use super::*;

/// Writes, flushes and lets versions be collected until told to stop.
async fn load(tree: Tree, model: Rc<RefCell<Model>>, stop: Rc<std::cell::Cell<bool>>, seed: u64) {
    let mut rng = Rng::seeded(seed);
    while !stop.get() {
        let index = model.borrow().last_index().next();
        let entry = random_entry(&mut rng, index);
        tree.apply(index, &entry);
        model.borrow_mut().push(entry);
        tree.set_log_durable(index);
        if rng.below(12) == 0 {
            tree.inner.freeze();
            tree.inner.core.flush_work.notify_one();
        }
        time::sleep(Duration::from_micros(rng.below(300))).await;
    }
}

/// Copies the checkpoint's files, with breaks.
async fn copy(checkpoint: &Checkpoint, tree: &Tree, rng: &mut Rng) -> LogIndex {
    let contents = || {
        let bytes = checkpoint.contents().encode();
        let contents = Contents::decode(&bytes).expect("what was encoded can be decoded");
        assert_eq!(&contents, checkpoint.contents());
        contents
    };
    let mut receiver = tree.receive(contents()).await.expect("the disk is well");
    loop {
        let len = 4096 * (1 + rng.below(5) as usize);
        let read = checkpoint.read(receiver.position(), len).await;
        let Some(chunk) = read.expect("the disk is well") else { break };
        receiver.put(&chunk).await.expect("the chunk is whole");
        if rng.below(10) == 0 {
            let complete = receiver.journal_position();
            drop(receiver);
            receiver = tree.receive(contents()).await.expect("the disk is well");
            assert_eq!(receiver.position(), complete, "what was noted is kept");
        }
    }
    assert_eq!(receiver.position(), checkpoint.contents().end());
    // A flush of the old content is under way when it is replaced.
    tree.set_log_durable(tree.applied_index());
    tree.inner.freeze();
    tree.inner.core.flush_work.notify_one();
    time::sleep(Duration::from_micros(rng.below(2_000))).await;
    receiver.install().await.expect("the disk is well")
}

async fn play(seed: u64) {
    let mut rng = Rng::seeded(seed);
    let model = Rc::new(RefCell::new(Model::default()));
    let source = Pair::open(tiny(), &model).await;
    grow(&source, &mut rng, 2 + seed % 6).await;
    let stop = Rc::new(std::cell::Cell::new(false));
    let loading = load(source.tree.clone(), Rc::clone(&model), Rc::clone(&stop), seed + 7);
    let loading = task::spawn("load", loading);
    let target = open_other(&source.storage, seed).await;
    for round in 0..3 {
        // The old tree is at work, too, until it is replaced.
        target.tree.set_log_durable(target.tree.applied_index());
        target.tree.inner.freeze();
        target.tree.inner.core.flush_work.notify_one();
        let checkpoint = source.tree.checkpoint().await.expect("the disk is well");
        let index = checkpoint.applied_index();
        assert!(index <= model.borrow().last_index());
        assert_eq!(copy(&checkpoint, &target.tree, &mut rng).await, index);
        drop(checkpoint);
        assert_eq!(target.tree.applied_index(), index);
        assert_eq!(target.tree.durable_index(), index);
        let expected = model.borrow().truncated(index);
        let found = all_versions(&target.tree).await;
        assert_same_versions(&found, &expected.rows, &format!("seed {seed}, round {round}"));
        target.tree.verify().await.expect("the tree is whole");
        // It goes on from there as any tree.
        for at in index.0..(index.0 + rng.below(40)).min(model.borrow().last_index().0) {
            let entry = model.borrow().entries[at as usize].clone();
            target.tree.apply(LogIndex(at + 1), &entry);
            target.tree.set_log_durable(LogIndex(at + 1));
        }
        if rng.below(2) == 0 {
            target.tree.flush().await.expect("the disk is well");
        }
        let now = target.tree.applied_index();
        let expected = model.borrow().truncated(now);
        assert_same_versions(&all_versions(&target.tree).await, &expected.rows, "later");
    }
    stop.set(true);
    loading.await.expect("no panic");
    // And it is there after a start.
    let durable = target.tree.durable_index();
    drop(target);
    let storage = Storage::new(tiny());
    let tree = storage.open_tree(PARTITION, other_directory()).await.expect("it opens");
    assert_eq!(tree.durable_index(), durable);
    let expected = model.borrow().truncated(durable);
    assert_same_versions(&all_versions(&tree).await, &expected.rows, "after a start");
    settle(&tree).await;
    tree.verify().await.expect("the tree is whole");
}

#[test]
fn a_copy_has_every_version_of_the_checkpoint() {
    for seed in 0..12 {
        in_sim(seed, move || play(seed));
    }
}

/// Tables of level 0 hold versions of the same keys, and a read of one key takes the first that it finds.
#[test]
fn a_read_of_a_copy_finds_the_newest_version() {
    in_sim(6, || async {
        let mut rng = Rng::seeded(6);
        let flat = StorageOptions { level0_tables: 12, ..tiny() };
        let source = Pair::open(flat, &Rc::default()).await;
        grow(&source, &mut rng, 6).await;
        assert!(source.tree.levels()[0].tables >= 6);
        let target = open_other(&source.storage, 6).await;
        let checkpoint = source.tree.checkpoint().await.expect("the disk is well");
        copy(&checkpoint, &target.tree, &mut rng).await;
        let target = Pair { model: Rc::clone(&source.model), ..target };
        target.check_gets().await;
        // And after a start, which knows the tables by the manifest.
        let Pair { storage, tree, model } = target;
        tree.close().await;
        drop(storage);
        let storage = Storage::new(tiny());
        let tree = storage.open_tree(PARTITION, other_directory()).await.expect("it opens");
        Pair { storage, tree, model }.check_gets().await;
    });
}

#[test]
fn an_empty_tree_can_be_copied() {
    in_sim(1, || async {
        let source = Pair::open(tiny(), &Rc::default()).await;
        let target = open_other(&source.storage, 3).await;
        let checkpoint = source.tree.checkpoint().await.expect("the disk is well");
        let index = copy(&checkpoint, &target.tree, &mut Rng::seeded(1)).await;
        assert_eq!(index, LogIndex(0));
        assert_eq!(all_versions(&target.tree).await, Rows::new());
        // Applied anew from the first entry.
        let mut rng = Rng::seeded(2);
        let target = Pair { model: Rc::default(), ..target };
        grow(&target, &mut rng, 2).await;
        target.check_all().await;
    });
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    in_sim(2, || async {
        let mut rng = Rng::seeded(2);
        let source = Pair::open(tiny(), &Rc::default()).await;
        grow(&source, &mut rng, 6).await;
        let target = open_other(&source.storage, 2).await;
        let checkpoint = source.tree.checkpoint().await.expect("the disk is well");
        let encoded = checkpoint.contents().encode();
        for at in 0..encoded.len() {
            let mut damaged = encoded.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(Contents::decode(&damaged).is_err(), "byte {at}");
        }
        assert!((0..encoded.len()).all(|len| Contents::decode(&encoded[..len]).is_err()));
        let chunks = all_chunks(&checkpoint, &mut rng).await;
        let contents = checkpoint.contents().clone();
        let mut receiver = target.tree.receive(contents).await.expect("the disk is well");
        for (at, chunk) in chunks.iter().enumerate() {
            let mut bytes = chunk.bytes.to_vec();
            let flipped = rng.below(bytes.len() as u64) as usize;
            bytes[flipped] ^= 1 << rng.below(8);
            let damaged = Chunk { bytes: bytes.into(), ..chunk.clone() };
            let refused = receiver.put(&damaged).await;
            assert!(matches!(refused, Err(ReceiveError::Damaged { .. })), "{refused:?}");
            let damaged = Chunk { checksum: chunk.checksum ^ 1, ..chunk.clone() };
            let refused = receiver.put(&damaged).await;
            assert!(matches!(refused, Err(ReceiveError::Damaged { .. })), "{refused:?}");
            // Bytes of elsewhere under this place's position.
            let other = &chunks[(at + 1) % chunks.len()];
            let misplaced = Chunk { position: chunk.position, ..other.clone() };
            let refused = receiver.put(&misplaced).await;
            assert!(refused.is_err(), "chunk {at} for chunk {}", at + 1);
            let refused = receiver.put(other).await;
            assert!(matches!(refused, Err(ReceiveError::OutOfPlace { .. })), "{refused:?}");
            assert_eq!(receiver.position(), chunk.position);
            receiver.put(chunk).await.expect("the chunk is whole");
        }
        receiver.install().await.expect("the disk is well");
        let expected = source.model.borrow().truncated(checkpoint.applied_index());
        assert_same_versions(&all_versions(&target.tree).await, &expected.rows, "the copy");
    });
}

#[test]
fn an_install_before_the_end_and_a_foreign_checkpoint_are_refused() {
    in_sim(3, || async {
        let mut rng = Rng::seeded(3);
        let source = Pair::open(tiny(), &Rc::default()).await;
        grow(&source, &mut rng, 3).await;
        let target = open_other(&source.storage, 3).await;
        let checkpoint = source.tree.checkpoint().await.expect("the disk is well");
        let contents = checkpoint.contents().clone();
        let receiver = target.tree.receive(contents.clone()).await.expect("the disk is well");
        let second = target.tree.receive(contents.clone()).await.map(|_| ());
        assert!(
            matches!(second, Err(ReceiveError::Storage(StorageError::Busy { .. }))),
            "{second:?}"
        );
        let early = receiver.install().await;
        assert!(matches!(early, Err(ReceiveError::OutOfPlace { .. })), "{early:?}");
        let stranger = target.storage.open_tree(PartitionId(9), Path::new("/other/9")).await;
        let foreign = stranger.expect("it opens").receive(contents).await.map(|_| ());
        assert!(matches!(foreign, Err(ReceiveError::Foreign)), "{foreign:?}");
        target.check_all().await;
    });
}

/// The sender's disk: a flipped bit is never handed on, and is named.
#[test]
fn a_senders_damage_is_not_handed_on() {
    let sim = Rc::new(Sim::new(Options::new(4)));
    let world = Rc::clone(&sim);
    run_node(&sim, move || {
        let sim = Rc::clone(&world);
        async move {
            let mut rng = Rng::seeded(4);
            let source = Pair::open(tiny(), &Rc::default()).await;
            grow(&source, &mut rng, 5).await;
            settle(&source.tree).await;
            let checkpoint = source.tree.checkpoint().await.expect("the disk is well");
            let whole = all_chunks(&checkpoint, &mut rng).await;
            let whole: Vec<u8> = whole.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
            let mut refused = 0;
            for _ in 0..200 {
                let tables: Vec<_> = source.tree.inner.version().tables().map(Rc::clone).collect();
                let table = &tables[rng.below(tables.len() as u64) as usize];
                let offset = rng.below(table.meta.file_bytes);
                let bit = rng.below(8) as u8;
                sim.disk(NODE).flip_bit(&table.path, offset, bit).expect("the file is there");
                let mut position = StreamPosition(0);
                let mut stream = Vec::new();
                loop {
                    match checkpoint.read(position, 8192).await {
                        Ok(Some(chunk)) => {
                            position = StreamPosition(position.0 + chunk.bytes.len() as u64);
                            stream.extend_from_slice(&chunk.bytes);
                        }
                        Ok(None) => {
                            let differs = stream.iter().zip(&whole).filter(|(a, b)| a != b);
                            // Only the zeros before the footer mean nothing.
                            let is_padding = offset >= table.meta.top.end();
                            assert!(is_padding || differs.count() == 0, "damage was handed on");
                            break;
                        }
                        Err(StorageError::Corruption(corruption)) => {
                            assert_eq!(corruption.file, table.path);
                            refused += 1;
                            break;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                sim.disk(NODE).flip_bit(&table.path, offset, bit).expect("the file is there");
            }
            assert!(refused > 100, "{refused} of 200 were found");
        }
    });
}

/// Bytes that are wrong although their chunks' checksums fit are found when the file is complete.
#[test]
fn a_file_that_is_not_the_checkpoints_is_refused_when_it_is_complete() {
    in_sim(5, || async {
        let mut rng = Rng::seeded(5);
        let source = Pair::open(tiny(), &Rc::default()).await;
        grow(&source, &mut rng, 5).await;
        let target = open_other(&source.storage, 5).await;
        let checkpoint = source.tree.checkpoint().await.expect("the disk is well");
        let chunks = all_chunks(&checkpoint, &mut rng).await;
        let contents = checkpoint.contents().clone();
        let mut receiver = target.tree.receive(contents).await.expect("the disk is well");
        let mut refused = 0;
        while receiver.position() < receiver.contents().end() {
            let at = chunks.iter().find(|chunk| chunk.position == receiver.position());
            let mut chunk = at.expect("a chunk begins there").clone();
            if refused < 20 && rng.below(4) == 0 {
                let mut bytes = chunk.bytes.to_vec();
                bytes[rng.below(100) as usize] ^= 4;
                let checksum = receiver.checksum_at(chunk.position, &bytes);
                chunk = Chunk { bytes: bytes.into(), checksum, ..chunk };
            }
            match receiver.put(&chunk).await {
                Ok(()) => {}
                Err(ReceiveError::Refused { position, .. }) => {
                    assert_eq!(receiver.position(), position);
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(refused > 3);
        receiver.install().await.expect("the disk is well");
        let expected = source.model.borrow().truncated(checkpoint.applied_index());
        assert_same_versions(&all_versions(&target.tree).await, &expected.rows, "the copy");
        target.tree.verify().await.expect("the tree is whole");
    });
}
