//! The scrub: finds damage wherever it is, keeps its pace, is in nobody's way.

use super::snapshot::{all_chunks, grow, other_directory};
use super::*;

const RATE: u64 = 64 << 10;
const INTERVAL: Duration = Duration::from_secs(600);

fn scrubbing() -> StorageOptions {
    StorageOptions { scrub_bytes_per_second: RATE, scrub_interval: INTERVAL, ..tiny() }
}

/// Waits for the end of so many passes.
async fn passes(storage: &Storage, passes: u64) {
    while storage.scrubbed().passes < passes {
        time::sleep(Duration::from_millis(100)).await;
    }
}

/// Paths and lengths.
type Files = Vec<(String, u64)>;

/// A simulation with a tree of several levels on its disk, and its files.
fn filled(seed: u64) -> (Rc<Sim>, Rc<RefCell<Model>>, Files) {
    let sim = Rc::new(Sim::new(Options::new(seed)));
    let model = Rc::new(RefCell::new(Model::default()));
    let shared = Rc::clone(&model);
    run_node(&sim, move || {
        let model = Rc::clone(&shared);
        async move {
            let pair = Pair::open(tiny(), &model).await;
            grow(&pair, &mut Rng::seeded(seed), 7).await;
            settle(&pair.tree).await;
        }
    });
    let files = sim.disk(NODE).files();
    (sim, model, files)
}

/// Runs `main` on the disk of a simulation.
fn run<F: Future<Output = ()> + 'static>(
    sim: &Rc<Sim>,
    model: &Rc<RefCell<Model>>,
    main: impl Fn(Rc<Sim>, Rc<RefCell<Model>>) -> F + 'static,
) {
    let (world, model) = (Rc::clone(sim), Rc::clone(model));
    run_node(sim, move || main(Rc::clone(&world), Rc::clone(&model)));
}

/// One flipped bit, anywhere in any file: it is named within a pass, or it is one of those that do
/// not matter, or the file has another copy of it and is written anew.
#[test]
fn a_flipped_bit_in_any_file_is_found_within_a_pass() {
    let (sim, model, files) = filled(1);
    let mut rng = Rng::seeded(1);
    let mut named = 0;
    for round in 0..120 {
        let (path, bytes) = files[rng.below(files.len() as u64) as usize].clone();
        let is_manifest = path.ends_with("MANIFEST");
        // Nearly all of a manifest is space for edits to come.
        let offset = rng.below(if is_manifest { 2 * 4096 } else { bytes });
        let bit = rng.below(8) as u8;
        let whole = sim.disk(NODE).store(&path).expect("the file is there");
        let found = Rc::new(RefCell::new(None));
        let out = Rc::clone(&found);
        let flipped = path.clone();
        run(&sim, &model, move |sim, model| {
            let (out, path) = (Rc::clone(&out), flipped.clone());
            async move {
                let pair = Pair::open(scrubbing(), &model).await;
                sim.disk(NODE).flip_bit(&path, offset, bit).expect("the file is there");
                passes(&pair.storage, 1).await;
                assert!(pair.storage.damage_count() <= 1);
                if pair.storage.damage_count() == 1 {
                    *out.borrow_mut() = Some(pair.storage.next_damage(0).await);
                } else if path.ends_with(".table") {
                    let tables = pair.tree.inner.version();
                    let mut tables = tables.tables();
                    let table = tables.find(|table| path.ends_with(&*table.path.to_string_lossy()));
                    let means_something =
                        offset < table.expect("it is there").meta.top.end() || offset >= bytes - 96;
                    assert!(!means_something, "round {round}: {path} at {offset} was not found");
                }
            }
        });
        if is_manifest {
            let now = sim.disk(NODE).read(&path).expect("the file is there");
            let recovered = manifest::record::recover(&now, PARTITION).expect("a copy is whole");
            assert!(!recovered.is_worn, "round {round}: the manifest was not written anew");
            assert_eq!(found.take(), None);
            continue;
        }
        if let Some(report) = found.take() {
            named += 1;
            assert_eq!(report.partition, PARTITION);
            let file = report.corruption.file.to_string_lossy().into_owned();
            assert!(path.ends_with(&file), "{report:?} is about {path}");
            assert!(report.corruption.offset <= offset, "{report:?}: {offset} was changed");
        }
        sim.disk(NODE).restore(&path, &whole).expect("the file is there");
    }
    assert!(named > 50, "{named} were named");
}

#[test]
fn a_pass_keeps_its_rate_and_the_next_one_its_time() {
    let (sim, model, _) = filled(2);
    run(&sim, &model, |_, model| async move {
        let began = time::now();
        let pair = Pair::open(scrubbing(), &model).await;
        let seconds = || began.elapsed().as_secs_f64();
        while pair.storage.scrubbed().passes < 2 {
            time::sleep(Duration::from_millis(50)).await;
            let scrubbed = pair.storage.scrubbed();
            let passes = scrubbed.passes + 1;
            let may = seconds() * RATE as f64 + (passes * (512 << 10)) as f64;
            assert!(scrubbed.bytes as f64 <= may, "{scrubbed:?} after {} s", seconds());
            if scrubbed.passes == 0 {
                assert!(seconds() < 120.0, "the pass has no end");
            }
        }
        let on_disk: u64 = pair.tree.levels().iter().map(|level| level.bytes).sum();
        let scrubbed = pair.storage.scrubbed();
        // But for the zeros before each footer everything is read, and the manifest.
        let files = pair.tree.inner.version().table_count() as u64;
        assert!(scrubbed.bytes >= 2 * (on_disk - files * 4096), "{scrubbed:?} of {on_disk}");
        assert!(seconds() >= 30.0 + INTERVAL.as_secs_f64(), "the second pass came too early");
        assert!(seconds() < 120.0 + INTERVAL.as_secs_f64());
        assert_eq!((scrubbed.failures, pair.storage.damage_count()), (0, 0));
    });
}

#[test]
fn a_rate_of_nothing_reads_nothing() {
    let (sim, model, _) = filled(3);
    run(&sim, &model, |_, model| async move {
        let pair = Pair::open(tiny(), &model).await;
        time::sleep(Duration::from_secs(1_000)).await;
        assert_eq!(pair.storage.scrubbed(), ScrubUse::default());
    });
}

/// Beside writes, flushes, compactions and closing: no false alarm, and files that are replaced go.
#[test]
fn a_tree_at_work_is_scrubbed_without_false_alarms() {
    for seed in 0..4 {
        let sim = Rc::new(Sim::new(Options::new(seed)));
        run(&sim, &Rc::default(), move |sim, model| async move {
            let mut rng = Rng::seeded(seed);
            let options = || StorageOptions { scrub_bytes_per_second: 1 << 20, ..scrubbing() };
            let mut pair = Pair::open(options(), &model).await;
            time::sleep(Duration::from_secs(30)).await;
            // Long enough for a pass, and for all that it began with to be rewritten.
            for _ in 0..40 {
                grow(&pair, &mut rng, 1).await;
                time::sleep(Duration::from_millis(rng.below(20))).await;
                if rng.below(8) == 0 {
                    let last = pair.model.borrow().now();
                    pair.check_scan(everything(), last, false, 40).await;
                }
            }
            passes(&pair.storage, 1).await;
            settle(&pair.tree).await;
            time::sleep(Duration::from_secs(1)).await;
            let files = sim.disk(NODE).files();
            let tables = files.iter().filter(|(path, _)| path.ends_with(".table")).count();
            assert_eq!(tables, pair.tree.inner.version().table_count(), "files have stayed");
            assert_eq!(pair.storage.damage_count(), 0);
            assert_eq!(pair.storage.scrubbed().failures, 0);
            // Closed and removed in the middle of a pass.
            drop(pair);
            pair =
                Pair::open(StorageOptions { scrub_bytes_per_second: 9_000, ..options() }, &model)
                    .await;
            time::sleep(Duration::from_secs(31)).await;
            let tree = pair.tree.clone();
            tree.close().await;
            for (path, _) in sim.disk(NODE).files() {
                sim.disk(NODE).remove(&path).expect("the file is there");
            }
            passes(&pair.storage, 1).await;
            assert_eq!(pair.storage.damage_count(), 0, "closed files are nobody's");
        });
    }
}

#[test]
fn a_file_that_cannot_be_read_is_counted_and_tried_again() {
    use runtime::sim::{DiskError, DiskFault, Operations};
    let (sim, model, _) = filled(4);
    run(&sim, &model, |sim, model| async move {
        let pair = Pair::open(scrubbing(), &model).await;
        let fault = DiskFault::new(Operations::READ, DiskError::InputOutput);
        sim.disk(NODE).fail(fault.on_path(".table").once());
        passes(&pair.storage, 2).await;
        assert_eq!(pair.storage.scrubbed().failures, 1);
        assert_eq!(pair.storage.damage_count(), 0);
    });
}

/// However often damage is met it is told once; a tree that is replaced is whole again.
#[test]
fn damage_is_told_once_and_gone_when_the_tree_is_replaced() {
    let (sim, model, files) = filled(5);
    let is_table = |file: &&(String, u64)| file.0.ends_with(".table");
    let damaged = files.iter().find(is_table).expect("there are tables").0.clone();
    sim.disk(NODE).flip_bit(&damaged, 20, 3).expect("the file is there");
    run(&sim, &model, |_, model| async move {
        let pair = Pair::open(scrubbing(), &model).await;
        let waiting = {
            let core = Rc::clone(&pair.storage.core);
            task::spawn("waiting", async move { core.damages.next(0).await })
        };
        for _ in 0..3 {
            let mut scan = pair.tree.scan(everything(), Timestamp::MAX, false);
            let failed = collect(&mut scan, 50).await;
            assert!(matches!(failed, Err(StorageError::Corruption(_))), "{failed:?}");
            drop(pair.tree.verify().await);
        }
        assert_eq!(pair.storage.damage_count(), 1);
        passes(&pair.storage, 1).await;
        assert_eq!(pair.storage.damage_count(), 1);
        assert_eq!(waiting.await.expect("no panic").number, 1);
        // Another replica of the partition.
        let storage = Storage::new(tiny());
        let opened = storage.open_tree(PARTITION, other_directory()).await;
        let peer = Pair { storage, tree: opened.expect("it opens"), model: Rc::clone(&model) };
        peer.replay();
        peer.tree.set_log_durable(peer.tree.applied_index());
        let checkpoint = peer.tree.checkpoint().await.expect("the disk is well");
        let contents = checkpoint.contents().clone();
        let mut receiver = pair.tree.receive(contents).await.expect("the disk is well");
        for chunk in all_chunks(&checkpoint, &mut Rng::seeded(5)).await {
            receiver.put(&chunk).await.expect("the chunk is whole");
        }
        receiver.install().await.expect("the disk is well");
        pair.check_all().await;
        pair.tree.verify().await.expect("the tree is whole");
        let none = time::timeout(Duration::from_secs(1), pair.storage.next_damage(0)).await;
        assert!(none.is_err(), "{none:?}");
        passes(&pair.storage, 2).await;
        assert_eq!(pair.storage.damage_count(), 1);
    });
}

#[test]
fn a_throttle_spreads_bytes_over_time() {
    in_sim(6, || async {
        let throttle = Rc::new(Throttle::new(1_000_000));
        let began = time::now();
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let throttle = Rc::clone(&throttle);
                task::spawn("taker", async move {
                    for _ in 0..100 {
                        throttle.take(10_000).await;
                    }
                })
            })
            .collect();
        for taker in takers {
            taker.await.expect("no panic");
        }
        let took = began.elapsed().as_secs_f64();
        assert!((3.8..4.1).contains(&took), "4 MB took {took} s at 1 MB a second");
        // What was not taken meanwhile is not saved up.
        time::sleep(Duration::from_secs(100)).await;
        let began = time::now();
        for _ in 0..100 {
            throttle.take(10_000).await;
        }
        assert!(began.elapsed() > Duration::from_millis(880), "{:?}", began.elapsed());
        Throttle::new(0).take(u64::MAX).await;
    });
}
