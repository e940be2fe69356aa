//! What a checkpoint keeps, and how much there may be of it; disks that are full.

use super::*;

fn table_files(sim: &Sim, directory: &Path) -> Vec<String> {
    let directory = directory.to_string_lossy().into_owned();
    let files = sim.disk(NODE).files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.ends_with(".table") && path.contains(&directory)).collect()
}

/// Runs `main` with the simulation it runs in.
fn with_sim<F: Future<Output = ()> + 'static>(seed: u64, main: impl Fn(Rc<Sim>) -> F + 'static) {
    let sim = Rc::new(Sim::new(Options::new(seed)));
    let world = Rc::clone(&sim);
    run_node(&sim, move || main(Rc::clone(&world)));
}

#[test]
fn a_pin_keeps_files_and_lets_them_go() {
    with_sim(1, |sim| async move {
        let mut rng = Rng::seeded(1);
        let pair = Pair::open(tiny(), &Rc::default()).await;
        grow(&pair, &mut rng, 5).await;
        let checkpoint = pair.tree.checkpoint().await.expect("the disk is well");
        let clone = checkpoint.clone();
        let pinned = table_files(&sim, directory());
        let index = checkpoint.applied_index();
        let expected = all_chunks(&checkpoint, &mut rng).await;
        let expected: Vec<u8> = expected.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        // Everything is rewritten.
        grow(&pair, &mut rng, 12).await;
        settle(&pair.tree).await;
        drop(checkpoint);
        time::sleep(Duration::from_secs(1)).await;
        let live: Vec<u64> =
            pair.tree.inner.version().tables().map(|table| table.meta.number.0).collect();
        assert!(live.iter().all(|number| *number > pinned.len() as u64), "{live:?}");
        let now = table_files(&sim, directory());
        let held = clone.contents().file_count();
        assert_eq!(now.len(), live.len() + held, "the pinned files are there");
        let again = all_chunks(&clone, &mut rng).await;
        let again: Vec<u8> = again.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        assert!(again == expected, "the files have changed");
        assert_eq!(clone.applied_index(), index);
        drop(clone);
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(table_files(&sim, directory()).len(), live.len(), "they have gone");
        pair.check_all().await;
    });
}

#[test]
fn checkpoints_of_a_tree_are_few() {
    in_sim(2, || async {
        let mut rng = Rng::seeded(2);
        let pair = Pair::open(tiny(), &Rc::default()).await;
        grow(&pair, &mut rng, 2).await;
        let mut held = Vec::new();
        for _ in 0..snapshot_limit() {
            held.push(pair.tree.checkpoint().await.expect("there is room"));
        }
        let refused = pair.tree.checkpoint().await.map(|_| ());
        assert!(matches!(refused, Err(StorageError::Busy { .. })), "{refused:?}");
        held.pop();
        pair.tree.checkpoint().await.expect("there is room again");
        let tree = pair.tree.clone();
        tree.close().await;
        let closed = held[0].read(StreamPosition(0), 4096).await.map(|_| ());
        assert!(matches!(closed, Err(StorageError::Closed)), "{closed:?}");
    });
}

fn snapshot_limit() -> usize {
    super::super::super::snapshot::CHECKPOINTS_MAX
}

/// A checkpoint waits until the log is durable, as any flush.
#[test]
fn a_checkpoint_waits_for_the_log() {
    in_sim(3, || async {
        let mut rng = Rng::seeded(3);
        let pair = Pair::open(tiny(), &Rc::default()).await;
        for _ in 0..10 {
            pair.apply(&mut rng);
        }
        pair.tree.set_log_durable(LogIndex(9));
        let tree = pair.tree.clone();
        let asked = task::spawn("checkpoint", async move { tree.checkpoint().await });
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(pair.tree.durable_index(), LogIndex(0));
        pair.tree.set_log_durable(LogIndex(10));
        let checkpoint = asked.await.expect("no panic").expect("the disk is well");
        assert_eq!(checkpoint.applied_index(), LogIndex(10));
    });
}

#[test]
fn a_full_disk_is_told_and_the_receipt_goes_on_when_there_is_space() {
    for seed in 0..20 {
        with_sim(seed, move |sim| async move {
            let mut rng = Rng::seeded(seed);
            let source = Pair::open(tiny(), &Rc::default()).await;
            grow(&source, &mut rng, 8).await;
            let target = open_other(&source.storage, seed).await;
            let checkpoint = source.tree.checkpoint().await.expect("the disk is well");
            settle(&source.tree).await;
            settle(&target.tree).await;
            let chunks = all_chunks(&checkpoint, &mut rng).await;
            let contents = || checkpoint.contents().clone();
            let disk = sim.disk(NODE);
            let begun = target.tree.receive(contents()).await.expect("there is space");
            drop(begun);
            disk.set_capacity(disk.used() + rng.below(checkpoint.contents().end().0));
            let full = target.tree.receive(contents()).await.map(|_| ());
            let is_full = |error: &ReceiveError| {
                matches!(error, ReceiveError::Storage(StorageError::OutOfSpace { .. }))
            };
            assert!(full.as_ref().is_err_and(is_full), "seed {seed}: {full:?}");
            disk.set_capacity(1 << 40);
            let mut receiver = target.tree.receive(contents()).await.expect("there is space");
            // Somebody else takes the space meanwhile.
            disk.set_capacity(disk.used() + rng.below(checkpoint.contents().end().0));
            let mut failed = 0;
            for chunk in &chunks {
                while let Err(error) = receiver.put(chunk).await {
                    assert!(is_full(&error), "seed {seed}: {error}");
                    failed += 1;
                    disk.set_capacity(disk.used() + 3 * 4096 * failed);
                }
            }
            assert!(failed > 0, "seed {seed}: the disk was full");
            target.check_all().await;
            disk.set_capacity(disk.used() + 4096);
            // No room for a new manifest: the old tree stays.
            let refused = receiver.install().await;
            assert!(refused.as_ref().is_err_and(is_full), "seed {seed}: {refused:?}");
            target.check_all().await;
            disk.set_capacity(1 << 40);
            let receiver = target.tree.receive(contents()).await.expect("there is space");
            assert_eq!(receiver.position(), contents().end(), "nothing was lost");
            receiver.install().await.expect("there is space");
            let expected = source.model.borrow().truncated(checkpoint.applied_index());
            assert_same_versions(&all_versions(&target.tree).await, &expected.rows, "the copy");
        });
    }
}

#[test]
fn leftovers_of_a_receipt_go_with_the_next_one() {
    with_sim(5, |sim| async move {
        let mut rng = Rng::seeded(5);
        let source = Pair::open(tiny(), &Rc::default()).await;
        grow(&source, &mut rng, 6).await;
        let target = open_other(&source.storage, 5).await;
        settle(&target.tree).await;
        let files = || {
            let mut files = table_files(&sim, other_directory());
            files.extend(
                sim.disk(NODE)
                    .files()
                    .into_iter()
                    .map(|(path, _)| path)
                    .filter(|path| path.contains("RECEIVING")),
            );
            files.len()
        };
        let before = files();
        let first = source.tree.checkpoint().await.expect("the disk is well");
        let mut receiver = target.tree.receive(first.contents().clone()).await.expect("room");
        for chunk in all_chunks(&first, &mut rng).await.iter().take(9) {
            receiver.put(chunk).await.expect("the chunk is whole");
        }
        drop(receiver);
        assert!(files() > before + 1);
        grow(&source, &mut rng, 1).await;
        let second = source.tree.checkpoint().await.expect("the disk is well");
        let receiver = target.tree.receive(second.contents().clone()).await.expect("room");
        assert_eq!(receiver.position(), StreamPosition(0), "another checkpoint begins anew");
        assert_eq!(files(), before + 1, "only the new journal is there");
        drop(receiver);
        target.tree.discard_received().await.expect("the disk is well");
        assert_eq!(files(), before);
        target.check_all().await;
    });
}
