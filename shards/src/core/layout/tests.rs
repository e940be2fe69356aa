use super::*;
use runtime::sim::{Loss, Options, Sim};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

fn options(node: u32) -> DataDirOptions {
    DataDirOptions {
        path: PathBuf::from("/data"),
        node: NodeId(node),
        cores: 2,
        partitions: 4,
        memory_bytes: 32 << 20,
        wal_segment_bytes: 256 << 10,
    }
}

/// A life of a host, at whose end the power fails.
fn live(sim: &Sim, what: impl AsyncFnOnce() + Clone + 'static) {
    let done = Rc::new(Cell::new(false));
    let told = done.clone();
    sim.start_node(1, 1, move |_core| {
        let (told, what) = (told.clone(), what.clone());
        Box::pin(async move {
            what().await;
            told.set(true);
        })
    });
    sim.run_for(Duration::from_secs(20)).expect("it ends");
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
    assert!(done.get(), "all of it was done");
    sim.crash(1, Loss::Power);
}

async fn claim() -> Claimed {
    DataDir::claim(Path::new("/data")).await.expect("it is free")
}

#[test]
fn a_founder_founds_until_it_says_that_it_has() {
    let sim = Sim::new(Options::new(1));
    for start in 1..=2 {
        live(&sim, async move || {
            let opened = claim().await.open(&options(1)).await.expect("it opens");
            let identity = opened.identity();
            assert_eq!((identity.founding, identity.starts), (true, start));
            assert_ne!(identity.cluster, 0);
        });
    }
    live(&sim, async || {
        let _opened = claim().await.open(&options(1)).await.expect("it opens");
        founded(Path::new("/data")).await.expect("it is noted");
    });
    live(&sim, async || {
        let claimed = claim().await;
        let known = claimed.identity().expect("it is there");
        assert_eq!((known.founding, known.starts), (false, 3));
        let opened = claimed.open(&options(1)).await.expect("it opens");
        assert_eq!((opened.identity().founding, opened.identity().starts), (false, 4));
    });
}

#[test]
fn a_node_that_has_joined_stays_who_it_is() {
    let sim = Sim::new(Options::new(2));
    live(&sim, async || {
        let claimed = claim().await;
        assert_eq!(claimed.identity(), None);
        let joined = claimed.join(&options(7), 0xc1).await.expect("it joins");
        let Identity { node, cluster, founding, starts, .. } = *joined.identity();
        assert_eq!((node, cluster, founding, starts), (7, 0xc1, false, 1));
    });
    live(&sim, async || {
        let refused = claim().await.join(&options(8), 0xc1).await.expect_err("it is taken");
        assert!(refused.to_string().contains("node 7 of a cluster already"), "{refused}");
        let refused = claim().await.open(&options(8)).await.expect_err("it is another's");
        assert!(refused.to_string().contains("belongs to node 7, not to node 8"), "{refused}");
        let opened = claim().await.open(&options(7)).await.expect("it opens");
        assert_eq!((opened.identity().starts, opened.identity().cluster), (2, 0xc1));
    });
    live(&sim, async || {
        // Another number of cores is no other node.
        let fewer = DataDirOptions { cores: 1, ..options(7) };
        let opened = claim().await.open(&fewer).await.expect("it opens");
        let Identity { cores, starts, generation, .. } = *opened.identity();
        assert_eq!((cores, starts, generation), (1, 3, FIRST_GENERATION + 1));
    });
}
