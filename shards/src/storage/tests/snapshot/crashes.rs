//! Loss of power and of the process at every step of a receipt.

use runtime::sim::Loss;

use super::*;

/// A checkpoint in memory, and the log it belongs to.
struct Shipment {
    contents: Contents,
    chunks: Vec<Chunk>,
    model: Model,
}

/// What the world outside of the crashing node knows.
struct Outside {
    /// The tree before it is replaced: its own log, which is all durable.
    old: Rc<RefCell<Model>>,
    new: Rc<Shipment>,
    /// What was told to have been installed.
    installed: std::cell::Cell<bool>,
    /// Where the last file that was told to be complete ends.
    complete: std::cell::Cell<u64>,
    /// How often a life has found each of the two.
    found: std::cell::Cell<[u32; 2]>,
}

/// Makes a checkpoint on another node.
fn ship(seed: u64) -> Shipment {
    let sim = Sim::new(Options::new(seed));
    let made = Rc::new(RefCell::new(None));
    let out = Rc::clone(&made);
    run_node(&sim, move || {
        let out = Rc::clone(&out);
        async move {
            let mut rng = Rng::seeded(seed);
            let pair = Pair::open(tiny(), &Rc::default()).await;
            grow(&pair, &mut rng, 4).await;
            let checkpoint = pair.tree.checkpoint().await.expect("the disk is well");
            let chunks = all_chunks(&checkpoint, &mut rng).await;
            let model = pair.model.borrow().truncated(checkpoint.applied_index());
            let contents = checkpoint.contents().clone();
            *out.borrow_mut() = Some(Shipment { contents, chunks, model });
        }
    });
    let shipment = made.take().expect("it was made");
    assert!(shipment.contents.file_count() > 1);
    shipment
}

/// The tree is the old one or the new one. Gives whether it is the new one.
async fn check(tree: &Tree, outside: &Outside) -> bool {
    let index = tree.durable_index();
    let found = all_versions(tree).await;
    let is_new = index == outside.new.contents.applied_index();
    if is_new {
        assert_same_versions(&found, &outside.new.model.rows, "the new tree");
    } else {
        assert_same_versions(&found, &outside.old.borrow().rows, "the old tree");
    }
    tree.verify().await.expect("the tree is whole");
    is_new
}

async fn live(outside: Rc<Outside>, seed: u64) {
    let mut rng = Rng::seeded(seed);
    let storage = Storage::new(tiny());
    let tree = storage.open_tree(PARTITION, directory()).await.expect("the tree opens");
    if tree.durable_index() == LogIndex(0) {
        for (at, entry) in outside.old.borrow().entries.iter().enumerate() {
            tree.apply(LogIndex(at as u64 + 1), entry);
        }
        tree.set_log_durable(tree.applied_index());
        tree.flush().await.expect("the disk is well");
    }
    let is_new = check(&tree, &outside).await;
    let mut found = outside.found.get();
    found[usize::from(is_new)] += 1;
    outside.found.set(found);
    assert!(is_new || !outside.installed.get(), "what was installed is gone");
    if is_new {
        outside.installed.set(true);
    }
    if is_new && rng.below(2) == 0 {
        tree.discard_received().await.expect("the disk is well");
        return;
    }
    let contents = outside.new.contents.clone();
    let mut receiver = tree.receive(contents).await.expect("the disk is well");
    if !is_new {
        assert!(receiver.position().0 >= outside.complete.get(), "what had arrived is gone");
    }
    outside.complete.set(receiver.position().0);
    let mut rest = outside.new.chunks.iter().filter(|chunk| chunk.position >= receiver.position());
    let rest: Vec<&Chunk> = rest.by_ref().collect();
    assert!(rest.first().is_none_or(|first| first.position == receiver.position()));
    for chunk in rest {
        receiver.put(chunk).await.expect("the chunk is whole");
        outside.complete.set(receiver.journal_position().0);
        if rng.below(4) == 0 {
            time::sleep(Duration::from_micros(rng.below(200))).await;
        }
    }
    let index = receiver.install().await.expect("the disk is well");
    outside.installed.set(true);
    outside.complete.set(0);
    assert_eq!(index, outside.new.contents.applied_index());
    assert_eq!(tree.applied_index(), index);
    assert!(check(&tree, &outside).await);
    time::sleep(Duration::from_millis(rng.below(5))).await;
}

/// Lives of one node that end `after` they began, each with a loss of its own.
fn lives(
    seed: u64,
    shipment: &Rc<Shipment>,
    losses: &[Loss],
    lives: u64,
    after: Duration,
) -> [u32; 2] {
    let sim = Sim::new(Options::new(seed));
    let mut rng = Rng::seeded(seed);
    let mut old = Model::default();
    for index in 1..=30 {
        old.push(random_entry(&mut rng, LogIndex(index)));
    }
    let outside = Rc::new(Outside {
        old: Rc::new(RefCell::new(old)),
        new: Rc::clone(shipment),
        installed: std::cell::Cell::new(false),
        complete: std::cell::Cell::new(0),
        found: std::cell::Cell::default(),
    });
    sim.disk(NODE).create_dir_all("/data/partitions").expect("the disk is empty");
    for life in 0..lives {
        let world = Rc::clone(&outside);
        let life_seed = seed * 1_000 + life;
        sim.start_node(NODE, 1, move |_| Box::pin(live(Rc::clone(&world), life_seed)));
        let last = life + 1 == lives;
        let time = if last { Duration::from_secs(10) } else { after };
        sim.run_for(time).expect("time goes on");
        assert!(sim.panics().is_empty(), "seed {seed}, life {life}: {:?}", sim.panics());
        if !last {
            sim.crash(NODE, losses[rng.below(losses.len() as u64) as usize]);
        }
    }
    assert!(outside.installed.get(), "seed {seed}: nothing was installed in the end");
    let files = sim.disk(NODE).files();
    assert!(files.iter().all(|(path, _)| !path.contains("RECEIVING")), "{files:?}");
    outside.found.get()
}

/// The moment of the loss moves through the whole receipt, in steps that are shorter than any
/// operation of the disk.
#[test]
fn a_loss_of_power_at_every_step_leaves_the_old_tree_or_the_new() {
    let shipment = Rc::new(ship(1));
    let mut found = [0, 0];
    for step in 0..400 {
        let after = Duration::from_micros(70 * step);
        let one = lives(step % 7, &shipment, &[Loss::Power], 3, after);
        found = [found[0] + one[0], found[1] + one[1]];
    }
    assert!(found[0] > 100 && found[1] > 100, "{found:?}");
}

#[test]
fn receipts_come_to_their_end_through_losses_of_both_kinds() {
    for seed in 0..40 {
        let shipment = Rc::new(ship(seed % 5));
        let after = Duration::from_micros(1_000 + 150 * seed);
        lives(seed, &shipment, &[Loss::Process, Loss::Power], 9, after);
    }
}
