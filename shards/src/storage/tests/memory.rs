//! The budget holds while rows that are many times as large go in and out.

use super::*;

const ROWS: u64 = 24_000;
const ROW_BYTES: usize = 1_500;

fn key(n: u64) -> Vec<u8> {
    // Scattered, so that flushes overlap and compactions have work.
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes().to_vec()
}

fn check_budget(storage: &Storage) {
    let memory = storage.memory();
    let plan = &storage.core.plan;
    assert!(memory.cache <= plan.cache, "{memory:?}");
    assert!(memory.total() <= memory.budget, "{memory:?}");
}

async fn load(storage: &Storage, tree: &Tree) {
    for n in 0..ROWS {
        tree.make_room().await.expect("the disk is well");
        let write = VersionedWrite {
            key: key(n).into(),
            ts: Timestamp(n + 1),
            value: Some(vec![n as u8; ROW_BYTES].into()),
        };
        tree.apply(LogIndex(n + 1), &[write]);
        tree.set_log_durable(LogIndex(n + 1));
        if n % 64 == 0 {
            check_budget(storage);
        }
    }
}

#[test]
fn many_rows_fit_through_little_memory() {
    in_sim(1, || async {
        let options = StorageOptions {
            table_bytes: 1 << 20,
            level1_bytes: 4 << 20,
            ..StorageOptions::with_memory(StorageOptions::MEMORY_BYTES_MIN)
        };
        let storage = Rc::new(Storage::new(options));
        let tree = storage.open_tree(PARTITION, directory()).await.expect("the tree opens");
        load(&storage, &tree).await;
        assert!(tree.levels().iter().map(|level| level.bytes).sum::<u64>() > 32 << 20);

        // Many scans at once, each through everything, beside point reads.
        let scans: Vec<_> = (0..24)
            .map(|n| {
                let (tree, storage) = (tree.clone(), Rc::clone(&storage));
                task::spawn("scan", async move {
                    let mut scan = tree.scan(everything(), Timestamp::MAX, n % 2 == 0);
                    let mut batch = ScanBatch::new();
                    let mut rows = 0;
                    while {
                        let more = scan.next_batch(&mut batch, 500, 64 << 10).await;
                        check_budget(&storage);
                        rows += batch.len() as u64;
                        more.expect("the disk is well")
                    } {}
                    rows
                })
            })
            .collect();
        for n in (0..ROWS).step_by(97) {
            let row = tree.get(&key(n), Timestamp::MAX).await.expect("the disk is well");
            assert_eq!(row.expect("it was written").value.len(), ROW_BYTES);
            check_budget(&storage);
        }
        for scan in scans {
            assert_eq!(scan.await.expect("no panic"), ROWS);
        }
    });
}

#[test]
fn scans_that_rest_hold_nothing() {
    in_sim(2, || async {
        let model = Rc::default();
        let pair = Pair::open(tiny(), &model).await;
        let mut rng = Rng::seeded(2);
        for _ in 0..200 {
            pair.apply(&mut rng);
        }
        pair.tree.set_log_durable(pair.tree.applied_index());
        pair.tree.flush().await.expect("the disk is well");
        settle(&pair.tree).await;
        let mut batch = ScanBatch::new();
        let mut scans = Vec::new();
        for _ in 0..200 {
            let mut scan = pair.tree.scan(everything(), Timestamp::MAX, false);
            assert!(scan.next_batch(&mut batch, 5, 1 << 20).await.expect("the disk is well"));
            scans.push(scan);
        }
        for table in pair.tree.inner.version().tables() {
            // The version's handle and this loop's.
            assert_eq!(Rc::strong_count(table), 1);
        }
        assert_eq!(pair.storage.memory().buffers, 0);
        for scan in &mut scans {
            let rest = collect(scan, 50).await.expect("the disk is well");
            let all = model.borrow().scan(&everything(), u64::MAX, false);
            assert_same(&rest, &all[5..].to_vec(), "the rest");
        }
    });
}
