//! The same on a real disk, through io_uring.

use runtime::{fs, glommio};

use super::super::scrub::{Pace, scrub_tree};
use super::*;

const ROWS: u64 = 30_000;
/// Of the node's default rate what one of two cores has.
const RATE: u64 = 4 << 20;

/// Nanoseconds that this thread has had a processor.
fn processor_nanos() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux kernel");
    line.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
}

async fn load(tree: &Tree) {
    for n in 1..=ROWS {
        let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
        let value = Some(Bytes::from(vec![n as u8; 600]));
        tree.apply(LogIndex(n), &[VersionedWrite { key: key.into(), ts: Timestamp(n), value }]);
        tree.set_log_durable(LogIndex(n));
        tree.make_room().await.expect("the disk is well");
    }
    tree.flush().await.expect("the disk is well");
}

async fn rows(tree: &Tree) -> Seen {
    let mut scan = tree.scan(everything(), Timestamp::MAX, false);
    collect(&mut scan, 1_000).await.expect("the disk is well")
}

async fn scrub(tree: &Tree) {
    let done: Rc<std::cell::Cell<ScrubUse>> = Rc::default();
    let pace = Pace::new(RATE, Rc::clone(&done));
    let (began, before) = (time::now(), processor_nanos());
    // As far as it comes in this time.
    let _ended = time::timeout(Duration::from_secs(3), scrub_tree(&tree.inner, &pace)).await;
    let took = began.elapsed();
    let share = (processor_nanos() - before) as f64 / took.as_nanos() as f64 * 100.0;
    let bytes = done.get().bytes;
    println!("scrub: {bytes} bytes in {took:?}, {share:.1} % of a processor (not optimised)");
    assert!(bytes as f64 <= took.as_secs_f64() * RATE as f64 + (2 << 20) as f64);
    assert!(bytes > RATE, "{bytes} bytes in {took:?}");
    assert_eq!(tree.inner.core.damages.count(), 0);
}

async fn play(directory: PathBuf) {
    let storage = Storage::new(StorageOptions::with_memory(StorageOptions::MEMORY_BYTES_MIN));
    let source = storage.open_tree(PARTITION, &directory.join("source")).await;
    let source = source.expect("it opens");
    load(&source).await;
    let target = storage.open_tree(PARTITION, &directory.join("target")).await;
    let target = target.expect("it opens");
    let checkpoint = source.checkpoint().await.expect("the disk is well");
    let mut receiver =
        target.receive(checkpoint.contents().clone()).await.expect("the disk is well");
    while let Some(chunk) =
        checkpoint.read(receiver.position(), CHUNK_BYTES_MAX).await.expect("the disk is well")
    {
        receiver.put(&chunk).await.expect("the chunk is whole");
    }
    assert_eq!(receiver.install().await.expect("the disk is well"), LogIndex(ROWS));
    assert_same(&rows(&target).await, &rows(&source).await, "the copy");
    target.verify().await.expect("the tree is whole");
    // What compactions have yet to replace is not looked at.
    time::sleep(Duration::from_secs(2)).await;
    settle(&target).await;
    scrub(&target).await;
    drop((checkpoint, source, target, storage));
    fs::remove_dir_all(&directory).await.expect("it is there");
}

#[test]
fn a_tree_is_copied_and_scrubbed_on_a_real_disk() {
    let name = format!("phantomdb-storage-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let ran = glommio::run(glommio::Options::default(), move |_| {
        let directory = directory.clone();
        Box::pin(async move { task::spawn("play", play(directory)).await })
    });
    for result in ran.expect("the core runs") {
        result.expect("no panic");
    }
}
