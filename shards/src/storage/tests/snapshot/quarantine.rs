//! Trees that cannot be opened are replaced all the same.

use runtime::sim::Loss;

use super::*;

type Ruin = fn(&Sim, &[String]);

/// Ways to make a tree refuse to open.
const RUINS: [Ruin; 3] = [
    |sim, tables| sim.disk(NODE).remove(&tables[1]).expect("the file is there"),
    |sim, _| {
        for sector in 0..16 {
            let manifest = directory().join("MANIFEST");
            sim.disk(NODE).zero_sector(manifest, sector * 512).expect("the file is there");
        }
    },
    |sim, _| {
        sim.disk(NODE).remove(directory().join("MANIFEST")).expect("the file is there");
    },
];

/// One life: opens the tree, in quarantine if need be, and has it replaced by a peer's. Gives the
/// receipt a crash in its middle if `half`.
async fn live(model: Rc<RefCell<Model>>, chunks: Rc<(Contents, Vec<Chunk>)>, half: bool) {
    let storage = Storage::new(tiny());
    let opened = storage.open_tree(PARTITION, directory()).await;
    let Err(StorageError::Corruption(corruption)) = opened.map(|_| ()) else {
        panic!("the tree opens although it is ruined")
    };
    assert_eq!(storage.damage_count(), 1);
    let opened = storage.open_quarantined(PARTITION, directory(), corruption.clone()).await;
    let tree = opened.expect("the disk is well");
    assert_eq!(tree.quarantined(), Some(corruption.clone()));
    assert_eq!(tree.applied_index(), LogIndex(0));
    // Nothing is served, and nothing that is applied makes an empty tree pass for a whole one.
    let entry = model.borrow().entries[0].clone();
    tree.apply(LogIndex(1), &entry);
    tree.set_log_durable(LogIndex(1));
    let is_it =
        |error: StorageError| matches!(error, StorageError::Corruption(it) if it == corruption);
    assert!(is_it(tree.get(b"a", Timestamp::MAX).await.map(|_| ()).expect_err("refused")));
    assert!(is_it(tree.flush().await.expect_err("refused")));
    assert!(is_it(tree.make_room().await.expect_err("refused")));
    assert!(is_it(tree.checkpoint().await.map(|_| ()).expect_err("refused")));
    assert!(is_it(tree.verify().await.expect_err("refused")));
    let mut scan = tree.scan(everything(), Timestamp::MAX, false);
    assert!(is_it(collect(&mut scan, 10).await.expect_err("refused")));
    assert!(matches!(tree.get_cached(b"a", Timestamp::MAX), CacheLookup::NeedsRead));
    tree.discard_received().await.expect("the disk is well");
    let (contents, chunks) = &*chunks;
    let mut receiver = tree.receive(contents.clone()).await.expect("the disk is well");
    for chunk in &chunks[..if half { chunks.len() / 2 } else { chunks.len() }] {
        receiver.put(chunk).await.expect("the chunk is whole");
    }
    if half {
        return;
    }
    receiver.install().await.expect("the disk is well");
    assert_eq!(tree.quarantined(), None);
    let expected = model.borrow().truncated(contents.applied_index());
    assert_same_versions(&all_versions(&tree).await, &expected.rows, "the repaired tree");
    tree.verify().await.expect("the tree is whole");
    let pair = Pair { storage, tree, model };
    grow(&pair, &mut Rng::seeded(3), 2).await;
    pair.check_all().await;
}

#[test]
fn a_tree_that_cannot_be_opened_is_replaced() {
    for (seed, ruin) in (0..).zip(RUINS) {
        let sim = Sim::new(Options::new(seed));
        let model = Rc::new(RefCell::new(Model::default()));
        let made = Rc::new(RefCell::new(None));
        let (shared, out) = (Rc::clone(&model), Rc::clone(&made));
        run_node(&sim, move || {
            let (model, out) = (Rc::clone(&shared), Rc::clone(&out));
            async move {
                let mut rng = Rng::seeded(seed);
                let pair = Pair::open(tiny(), &model).await;
                grow(&pair, &mut rng, 5).await;
                settle(&pair.tree).await;
                let checkpoint = pair.tree.checkpoint().await.expect("the disk is well");
                let chunks = all_chunks(&checkpoint, &mut rng).await;
                let tables = pair.tree.inner.version();
                let tables = tables.tables().map(|table| table.path.to_string_lossy().into());
                let tables: Vec<String> = tables.collect();
                *out.borrow_mut() = Some((tables, (checkpoint.contents().clone(), chunks)));
            }
        });
        let (tables, chunks) = made.take().expect("it was made");
        let chunks = Rc::new(chunks);
        ruin(&sim, &tables);
        for half in [true, false] {
            let (model, chunks) = (Rc::clone(&model), Rc::clone(&chunks));
            run_node(&sim, move || live(Rc::clone(&model), Rc::clone(&chunks), half));
            sim.crash(NODE, Loss::Process);
        }
        run_node(&sim, move || {
            let model = Rc::clone(&model);
            async move {
                let pair = Pair::open(tiny(), &model).await;
                pair.check_all().await;
                pair.tree.verify().await.expect("the tree is whole");
            }
        });
        let files = sim.disk(NODE).files();
        assert!(files.iter().all(|(path, _)| !tables.contains(path)), "old files have stayed");
    }
}
