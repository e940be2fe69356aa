//! Loss of power and of the process at random moments.

use model::command::KeyWrite;
use runtime::sim::Loss;

use super::*;

/// What the world outside of the crashing node knows.
#[derive(Default)]
struct Outside {
    model: Rc<RefCell<Model>>,
    /// What the log will still have after a crash.
    log_durable: LogIndex,
    /// What a flush has reported.
    flushed: LogIndex,
}

/// One life: opens, checks that the tree holds exactly a prefix of the log, and writes until it is
/// killed.
async fn live(outside: Rc<RefCell<Outside>>, seed: u64) {
    let mut rng = Rng::seeded(seed);
    let model = Rc::clone(&outside.borrow().model);
    let storage = Storage::new(tiny());
    let tree = storage.open_tree(PARTITION, directory()).await.expect("the tree opens");
    let durable = tree.durable_index();
    assert!(durable >= outside.borrow().flushed, "a reported flush is gone");
    assert!(durable <= outside.borrow().log_durable, "the manifest is ahead of the log");
    let prefix = model.borrow().truncated(durable);
    let now = Timestamp(Model::ts(durable));
    let seen = collect(&mut tree.scan(everything(), now, false), 50).await;
    let expected = prefix.scan(&everything(), now.0, false);
    assert_same(&seen.expect("the disk is well"), &expected, "after the crash");
    tree.verify().await.expect("the tree is whole");
    drop((tree, storage));

    let pair = Pair::open(tiny(), &model).await;
    let mut known = outside.borrow().log_durable;
    pair.tree.set_log_durable(known);
    loop {
        for _ in 0..rng.below(8) {
            pair.apply(&mut rng);
        }
        if rng.below(3) > 0 {
            let last = model.borrow().last_index();
            known = LogIndex(known.0 + rng.below(last.0 - known.0 + 1));
            outside.borrow_mut().log_durable = known;
            pair.tree.set_log_durable(known);
        }
        if rng.below(6) == 0 {
            // As when memory runs short; the log may be behind.
            pair.tree.inner.freeze();
            pair.tree.inner.core.flush_work.notify_one();
        }
        if rng.below(6) == 0 {
            let all = model.borrow().last_index();
            outside.borrow_mut().log_durable = all;
            known = all;
            pair.tree.set_log_durable(known);
            let flushed = pair.tree.flush().await.expect("the disk is well");
            outside.borrow_mut().flushed = flushed;
        }
        if rng.below(10) == 0 {
            let now = model.borrow().now();
            pair.tree.set_collect_before(Timestamp(now));
        }
        time::sleep(Duration::from_micros(rng.below(400))).await;
    }
}

fn crash_repeatedly(seed: u64, losses: &[Loss]) {
    let sim = Sim::new(Options::new(seed));
    let mut rng = Rng::seeded(seed);
    let outside = Rc::new(RefCell::new(Outside::default()));
    sim.disk(NODE).create_dir_all("/data/partitions").expect("the disk is empty");
    for life in 0..4 {
        let world = Rc::clone(&outside);
        let life_seed = seed * 1_000 + life;
        sim.start_node(NODE, 1, move |_| Box::pin(live(Rc::clone(&world), life_seed)));
        sim.run_for(Duration::from_micros(200 + rng.below(40_000))).expect("time goes on");
        assert!(sim.panics().is_empty(), "seed {seed}, life {life}: {:?}", sim.panics());
        sim.crash(NODE, losses[rng.below(losses.len() as u64) as usize]);
        // What the log had not made durable is gone.
        let kept = {
            let outside = outside.borrow();
            outside.model.borrow().truncated(outside.log_durable)
        };
        *outside.borrow().model.borrow_mut() = kept;
    }
}

#[test]
fn after_a_power_loss_the_tree_is_a_prefix_of_the_log() {
    for seed in 0..60 {
        crash_repeatedly(seed, &[Loss::Power]);
    }
}

/// What a life that ended with its process had written is seen by the next one, and may be gone
/// for the one after that: nobody may act on it before it lasts.
#[test]
fn after_losses_of_both_kinds_the_tree_is_a_prefix_of_the_log() {
    for seed in 2_000..2_150 {
        crash_repeatedly(seed, &[Loss::Process, Loss::Power]);
    }
}

#[test]
fn after_the_process_dies_the_tree_is_a_prefix_of_the_log() {
    for seed in 1_000..1_020 {
        crash_repeatedly(seed, &[Loss::Process]);
    }
}

/// An edit whose sync failed, or was never done, is read from the cache by the next life. What
/// that life believes, and tells the log, must be there in the one after.
#[test]
fn what_a_life_reads_of_the_manifest_lasts() {
    use runtime::sim::{DiskError, DiskFault, Operations};
    for seed in 0..40 {
        let sim = Sim::new(Options::new(seed));
        sim.disk(NODE).create_dir_all("/data/partitions").expect("the disk is empty");
        let model = Rc::new(RefCell::new(Model::default()));
        let (shared, disk) = (Rc::clone(&model), Rc::new(sim.disk(NODE)));
        run_node(&sim, move || {
            let (model, disk) = (Rc::clone(&shared), Rc::clone(&disk));
            async move {
                let pair = Pair::open(tiny(), &model).await;
                let fault = DiskFault::new(Operations::SYNC, DiskError::InputOutput);
                disk.fail(fault.on_path("MANIFEST").once());
                pair.apply(&mut Rng::seeded(seed));
                pair.tree.set_log_durable(LogIndex(1));
                let failed = pair.tree.flush().await.expect_err("the edit is not synced");
                assert!(matches!(failed, StorageError::Poisoned { .. }), "{failed}");
            }
        });
        let believed = Rc::new(RefCell::new(LogIndex(0)));
        for last in [false, true] {
            let told = Rc::clone(&believed);
            run_node(&sim, move || {
                let told = Rc::clone(&told);
                async move {
                    let storage = Storage::new(tiny());
                    let tree = storage.open_tree(PARTITION, directory()).await.expect("it opens");
                    let before = told.replace(tree.durable_index());
                    assert!(!last || tree.durable_index() >= before, "what was believed is gone");
                    tree.verify().await.expect("the tree is whole");
                }
            });
            sim.crash(NODE, Loss::Power);
        }
    }
}

#[test]
fn orphans_of_a_crash_are_removed() {
    let sim = Sim::new(Options::new(1));
    run_node(&sim, || async {
        let pair = Pair::open(tiny(), &Rc::default()).await;
        pair.apply(&mut Rng::seeded(1));
        pair.tree.set_log_durable(LogIndex(1));
        pair.tree.flush().await.expect("the disk is well");
    });
    run_node(&sim, || async {
        for name in ["000000000777.table", "MANIFEST.new", "notes.txt"] {
            let path = directory().join(name);
            let options = runtime::fs::OpenOptions {
                write: true,
                create: true,
                ..runtime::fs::OpenOptions::default()
            };
            let file = runtime::fs::File::open(&path, &options).await.expect("it can be made");
            file.sync().await.expect("the disk is well");
        }
        runtime::fs::sync_dir(directory()).await.expect("the disk is well");
    });
    run_node(&sim, || async {
        let storage = Storage::new(tiny());
        storage.open_tree(PARTITION, directory()).await.expect("the tree opens");
    });
    let files: Vec<String> = sim
        .disk(NODE)
        .files()
        .into_iter()
        .filter_map(|(path, _)| path.rsplit('/').next().map(str::to_owned))
        .collect();
    assert_eq!(files, ["000000000001.table", "MANIFEST", "notes.txt"]);
}

#[test]
fn a_flush_waits_for_the_log() {
    in_sim(2, || async {
        let model = Rc::default();
        let pair = Pair::open(tiny(), &model).await;
        let mut rng = Rng::seeded(2);
        for _ in 0..10 {
            pair.apply(&mut rng);
        }
        pair.tree.set_log_durable(LogIndex(9));
        let tree = pair.tree.clone();
        let flush = task::spawn("flush", async move { tree.flush().await });
        time::sleep(Duration::from_secs(5)).await;
        assert_eq!(pair.tree.durable_index(), LogIndex(0));
        assert_eq!(pair.tree.levels()[0].tables, 0);
        pair.tree.set_log_durable(LogIndex(10));
        let flushed = flush.await.expect("no panic");
        assert_eq!(flushed.expect("the disk is well"), LogIndex(10));
    });
}

/// Edits whose write fails may be in the file all the same, whole or in part. Whatever happens
/// next, the tables they name must be there for as long as they may count.
#[test]
fn an_edit_that_failed_does_no_harm_after_a_crash() {
    use runtime::sim::Chance;
    for seed in 0..60 {
        let sim = Sim::new(Options::new(seed));
        let mut rng = Rng::seeded(seed);
        let model = Rc::new(RefCell::new(Model::default()));
        sim.disk(NODE).create_dir_all("/data/partitions").expect("the disk is empty");
        for life in 0..4 {
            let shared = Rc::clone(&model);
            sim.start_node(NODE, 1, move |_| {
                let model = Rc::clone(&shared);
                Box::pin(async move {
                    let pair = Pair::open(tiny(), &model).await;
                    pair.tree.set_log_durable(pair.tree.applied_index());
                    pair.check_all().await;
                    let mut rng = Rng::seeded(seed * 1_000 + life);
                    loop {
                        pair.apply(&mut rng);
                        pair.tree.set_log_durable(pair.tree.applied_index());
                        match pair.tree.flush().await {
                            Ok(_) | Err(StorageError::Io { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            });
            sim.run_for(Duration::from_millis(8)).expect("time goes on");
            sim.disk(NODE).change(|faults| faults.write_error = Chance::percent(60));
            sim.run_for(Duration::from_millis(1 + rng.below(60))).expect("time goes on");
            assert!(sim.panics().is_empty(), "seed {seed}, life {life}: {:?}", sim.panics());
            let loss = if rng.below(2) == 0 { Loss::Process } else { Loss::Power };
            sim.crash(NODE, loss);
            sim.disk(NODE).change(|faults| faults.write_error = Chance::NEVER);
        }
    }
}

/// An entry that is larger than memory is applied in parts, and table files take them as they come.
/// Until the last part it counts as not applied: a crash before that has it applied anew.
#[test]
fn an_entry_in_parts_is_flushed_before_it_is_whole_and_counts_after() {
    const ENTRY: LogIndex = LogIndex(1);
    const PARTS: usize = 200;
    let part = |number: usize| {
        let writes = (0..10).map(|write| KeyWrite {
            key: format!("....{number:03}{write}").into(),
            value: Some(Bytes::from(vec![7; 2_000])),
        });
        writes.collect::<Vec<_>>()
    };
    let sim = Sim::new(Options::new(77));
    sim.disk(NODE).create_dir_all("/data/partitions").expect("the disk is empty");
    for parts in [PARTS - 1, PARTS] {
        run_node(&sim, move || async move {
            let storage = Storage::new(tiny());
            let tree = storage.open_tree(PARTITION, directory()).await.expect("the tree opens");
            assert_eq!(tree.durable_index(), LogIndex(0));
            tree.set_log_durable(ENTRY);
            for number in 0..parts {
                if number + 1 < PARTS {
                    tree.apply_part(ENTRY, Timestamp(5), &part(number));
                } else {
                    tree.apply_at(ENTRY, Timestamp(5), &part(number));
                }
                tree.make_room().await.expect("the disk is well");
            }
            let held = tree.inner.core.memtables_bytes.get();
            assert!(held < tree.inner.core.plan.memtables_max, "{held} bytes in memory");
            let files: usize = tree.levels().iter().map(|level| level.tables).sum();
            assert!(files > 0, "nothing was flushed");
            let whole = parts == PARTS;
            assert_eq!(tree.flush().await.expect("the disk is well"), LogIndex(u64::from(whole)));
        });
    }
    run_node(&sim, move || async move {
        let storage = Storage::new(tiny());
        let tree = storage.open_tree(PARTITION, directory()).await.expect("the tree opens");
        assert_eq!(tree.durable_index(), ENTRY);
        let mut scan = tree.scan(everything(), Timestamp(5), false);
        let rows = collect(&mut scan, 50).await.expect("the disk is well");
        assert_eq!(rows.len(), PARTS * 10);
        tree.verify().await.expect("the tree is whole");
    });
}
