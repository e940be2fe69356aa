//! What a core's router does for the node, without sessions.

use super::*;
use crate::cluster::decide::Wanted;
use crate::cluster::registry::{About, NodeRecord, Registry};
use crate::node::assemble;
use crate::router::Router;
use futures::future::LocalBoxFuture;
use model::error::SqlState;
use model::id::{NodeId, PartitionId};
use model::placement::Replicas;
use runtime::sim::{Loss, Options, Sim, address_of};
use std::cell::Cell;

fn options() -> NodeOptions {
    let host = address_of(1);
    NodeOptions {
        data_dir: "/data".into(),
        node: Some(NodeId(1)),
        replication_factor: 1,
        join: Vec::new(),
        secret: None,
        locality: Default::default(),
        cores: 1,
        partitions: 2,
        listen: SocketAddr::new(host, 7430),
        core_listen: SocketAddr::new(host, 7500),
        pg_listen: None,
        memory_bytes: 64 << 20,
        connections_max: 8,
        lock_timeout: Duration::from_secs(1),
        retention: Duration::from_secs(60),
        snapshot_age_max: Duration::from_secs(3600),
        drain_timeout: Duration::from_secs(5),
        wal_segment_bytes: 1 << 20,
        scrub_rate: 0,
        scrub_interval: Duration::from_secs(60),
        part_bytes: EngineOptions::PART_BYTES,
        authentication: Arc::from([]),
        tls: None,
        encrypted_only: false,
    }
}

/// One life of the node's only core, in which something is done with its router.
fn live_once(sim: &Sim, what: fn(Router) -> LocalBoxFuture<'static, ()>) {
    let done = Rc::new(Cell::new(false));
    let (assembly, _control) = assemble(options());
    let told = done.clone();
    sim.start_node(1, 1, move |_core| {
        let (assembly, told) = (assembly.clone(), told.clone());
        Box::pin(async move {
            let options = &assembly.options;
            let memory = memory::divide(options.memory_bytes, 1, options.partitions);
            let claimed = entry::claim(options).await.expect("the directory is there");
            let entered = entry::enter(options, memory.engine, claimed, &described(1)).await;
            let (_data_dir, home) = entered.expect("the directory opens");
            let nodes = Rc::new(shards::raft::Alone);
            let engine = open_engine(&assembly, CoreId(0), &home, nodes, &memory).await;
            let engine = engine.expect("the engine opens");
            let (end, _ends) = flume::bounded(1);
            let place = Place { node: home.node(), core: CoreId(0) };
            let alone = Neighbours::none(place, end);
            let router = open_router(&assembly, &home, &engine, &alone, &memory).await;
            let loaded = load_catalog(options, &home, &router, &alone).await;
            loaded.expect("the catalog is read");
            what(router).await;
            told.set(true);
        })
    });
    sim.run_for(Duration::from_secs(20)).expect("it ends");
    assert!(sim.panics().is_empty(), "{:?}", sim.panics());
    assert!(done.get(), "all of it was done");
    sim.crash(1, Loss::Power);
}

fn described(cores: u16) -> About {
    About {
        native: "10.0.0.1:7430".to_owned(),
        pg: None,
        cores: (0..cores).map(|core| format!("10.0.0.1:{}", 7500 + core)).collect(),
        locality: "region=eu,zone=a".parse().expect("a locality"),
        software: "0.1.0".to_owned(),
    }
}

async fn read(router: &Router) -> Registry {
    router.registry().await.expect("it can be read")
}

#[test]
fn the_registry_outlives_the_node_and_takes_only_the_next_version() {
    let sim = Sim::new(Options::new(1));
    live_once(&sim, |router| {
        Box::pin(async move {
            let registry = read(&router).await;
            assert_eq!(registry, Registry::default());
            let node = registry.admit(described(2), 7).expect("it is let in");
            router.record_node(&node).await.expect("it is written");
            let registry = read(&router).await;
            let replicas = Replicas { voters: vec![NodeId(1)], learners: Vec::new() };
            let first = registry.moved(PartitionId::SYSTEM, replicas).expect("it is new");
            router.record_replicas(&first).await.expect("it is written");
        })
    });
    live_once(&sim, |router| {
        Box::pin(async move {
            let registry = read(&router).await;
            let nodes: Vec<&NodeRecord> = registry.nodes().collect();
            assert_eq!(
                (nodes.len(), nodes[0].about.clone(), nodes[0].starts),
                (1, described(2), 1)
            );
            assert_eq!(registry.placement().expect("a map").version, 2);
            let again = registry.admit_again(NodeId(1), 2, described(4)).expect("it is let in");
            router.record_node(&again).await.expect("it is written");
            // Who read what was there before writes nothing.
            let late = registry.want(NodeId(1), Wanted::Draining).expect("it is a change");
            let refused = router.record_node(&late).await.expect_err("it is late");
            assert_eq!(refused.state(), SqlState::SERIALIZATION_FAILURE);
            let second = read(&router).await.admit(described(1), 8).expect("it is let in");
            assert_eq!((second.id, second.version), (NodeId(2), 4));
        })
    });
}
