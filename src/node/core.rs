//! The life of one core.

use super::crew::{Crew, Notice, OtherFailed, Stage};
use super::doors::{self, Connections};
use super::memory::{self, CoreMemory};
use super::{Addresses, Assembly, NodeError, NodeOptions};
use crate::pg;
use crate::router::peers::Peers;
use crate::router::virtual_tables::NodeTables;
use crate::router::{Router, RouterOptions};
use crate::session::Host;
use crate::session::admission::AdmissionOptions;
use crate::session::native::Door;
use futures::future::{Either, select};
use model::id::CoreId;
use model::placement::{Place, PlacementMap};
use model::time::ClockBase;
use net::message::Placement;
use net::server::Server;
use runtime::net::Listener;
use runtime::{task, time, watchdog};
use shards::core::{DataDir, DataDirOptions, Engine, EngineOptions, Gauge};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One statement may keep this part of what all of a core's statements may.
const STATEMENT_PART: u64 = 2;
/// A core's log asks tables to be written when it holds so many segments.
const LIVE_SEGMENTS: u64 = 8;
/// Doors that share what a core may hold of requests.
const REQUEST_DOORS: u64 = 2;
/// How often a core looks for stalls.
const WATCHDOG_INTERVAL: Duration = Duration::from_secs(1);

/// Why a core ends before its time.
enum Halt {
    /// This core failed.
    Mine(NodeError),
    /// Another core did, and reports it.
    Other,
}

impl From<NodeError> for Halt {
    fn from(error: NodeError) -> Halt {
        Halt::Mine(error)
    }
}

impl From<OtherFailed> for Halt {
    fn from(_: OtherFailed) -> Halt {
        Halt::Other
    }
}

/// Runs core `core` of the node until the node stops. `watch` is given a look at its engine.
pub(super) async fn run(
    assembly: Assembly,
    core: CoreId,
    watch: impl FnOnce(Gauge),
) -> Result<(), NodeError> {
    let cores = assembly.options.cores;
    let mut crew = Crew::join(assembly.crew.clone(), core.0, cores).await;
    match live(assembly, core, &mut crew, watch).await {
        Ok(()) | Err(Halt::Other) => Ok(()),
        Err(Halt::Mine(error)) => {
            log::error!(core = core.0; "{error}");
            crew.tell_others(Notice::Failed).await;
            Err(error)
        }
    }
}

async fn live(
    assembly: Assembly,
    core: CoreId,
    crew: &mut Crew,
    watch: impl FnOnce(Gauge),
) -> Result<(), Halt> {
    let options = assembly.options.clone();
    let memory = memory::divide(options.memory_bytes, options.cores, options.partitions);
    // Locked until this core, the first, is the last to go on below.
    let (_data_dir, placement) = match core.0 {
        0 => {
            let data_dir = open_data_dir(&options, &memory).await?;
            let placement = Arc::new(data_dir.placement());
            crew.tell_others(Notice::Prepared(placement.clone())).await;
            (Some(data_dir), placement)
        }
        _ => (None, crew.prepared().await?),
    };
    let engine = crew.unless_one_fails(open_engine(&assembly, core, &placement, &memory)).await??;
    watch(engine.gauge());
    assembly.clock_base.fetch_max(engine.clock_base().0, Ordering::Relaxed);
    crew.meet(Stage::Opened, None).await?;
    engine.raise_clock_base(ClockBase(assembly.clock_base.load(Ordering::Relaxed)));
    let router = crew.unless_one_fails(open_router(&assembly, core, &engine, &memory)).await??;
    let (listeners, addresses) = listen(&assembly, core, crew).await?;
    let host = open_sessions(&assembly, &router, &addresses, &placement, &memory);
    let door = Rc::new(native_door(&options, core, &host, &addresses, &placement, &memory));
    let accept_native = |listener| {
        let connections = Connections::new(&assembly);
        task::spawn("accept", doors::accept(listener, door.clone(), connections))
    };
    let accepting = (
        listeners.native.map(accept_native),
        listeners.pg.map(|listener| {
            let door = Rc::new(pg_door(&options, &host, &memory));
            let connections = Connections::new(&assembly);
            task::spawn("accept", doors::accept(listener, door, connections))
        }),
    );
    let keeping = router.clone();
    let sagas = task::spawn("sagas", async move { keeping.keep_sagas().await });
    let _watch = task::spawn("watchdog", watch_steps(core));
    let served = serve(&assembly, core, crew, addresses).await;
    drop(accepting);
    if served.is_ok() {
        drain(&host, core, options.drain_timeout).await;
        crew.meet(Stage::Drained, None).await?;
    }
    host.close().await;
    drop(sagas);
    if served.is_ok() {
        router.settle_sequences().await;
    }
    let closed = engine.shutdown(true).await;
    served?;
    crew.meet(Stage::Quiet, None).await?;
    closed.map_err(|error| NodeError::Open { core, what: error.to_string() })?;
    Ok(())
}

/// Serves until the node is told to stop.
async fn serve(
    assembly: &Assembly,
    core: CoreId,
    crew: &mut Crew,
    addresses: Addresses,
) -> Result<(), OtherFailed> {
    if core.0 != 0 {
        while !matches!(crew.next().await?, (_, Notice::Drain)) {}
        return Ok(());
    }
    // Whoever started the node may have given up waiting: then it stops at once.
    let _gone = assembly.ready.try_send(addresses);
    loop {
        let stopped = pin!(assembly.stop.recv_async());
        let noticed = pin!(crew.next());
        match select(stopped, noticed).await {
            Either::Left(_) => break,
            Either::Right((notice, _)) => drop(notice?),
        }
    }
    crew.tell_others(Notice::Drain).await;
    Ok(())
}

/// Lets sessions end by themselves, for a while.
async fn drain(host: &Host, core: CoreId, limit: Duration) {
    if time::timeout(limit, host.drain()).await.is_err() {
        log::warn!(core = core.0, sessions = host.live(); "sessions are ended: the drain timeout is over");
    }
}

async fn open_data_dir(options: &NodeOptions, memory: &CoreMemory) -> Result<DataDir, NodeError> {
    let data_dir = DataDirOptions {
        path: options.data_dir.clone(),
        node: options.node,
        cores: options.cores,
        partitions: options.partitions,
        memory_bytes: memory.engine,
        wal_segment_bytes: options.wal_segment_bytes,
    };
    let opened = DataDir::open(&data_dir).await;
    opened.map_err(|error| NodeError::Open { core: CoreId(0), what: error.to_string() })
}

async fn open_engine(
    assembly: &Assembly,
    core: CoreId,
    placement: &PlacementMap,
    memory: &CoreMemory,
) -> Result<Engine, NodeError> {
    let options = &assembly.options;
    let data_dir = options.data_dir.clone();
    let engine = EngineOptions {
        memory_bytes: memory.engine,
        wal_segment_bytes: options.wal_segment_bytes,
        wal_live_bytes_max: options.wal_segment_bytes.saturating_mul(LIVE_SEGMENTS),
        part_bytes: options.part_bytes,
        lock_timeout: options.lock_timeout,
        retention: options.retention,
        snapshot_age_max: options.snapshot_age_max,
        ..EngineOptions::new(data_dir, options.node, core, placement.clone())
    };
    let mesh = assembly.engines.clone().join(core.0).await;
    let opened = Engine::open(engine, mesh).await;
    opened.map_err(|error| NodeError::Open { core, what: error.to_string() })
}

/// Makes the router, joins it with the others' and reads the catalog.
async fn open_router(
    assembly: &Assembly,
    core: CoreId,
    engine: &Engine,
    memory: &CoreMemory,
) -> Result<Router, NodeError> {
    let options = &assembly.options;
    let mesh = assembly.routers.clone().join(core.0).await;
    let peers = Peers::new(core, options.cores, mesh);
    let limits = RouterOptions {
        query_memory_bytes: memory.statements as u64,
        statement_memory_bytes: memory.statements as u64 / STATEMENT_PART,
        schema_lock_timeout: options.lock_timeout,
    };
    let router = Router::new(engine.clone(), peers.clone(), limits);
    let answering = router.clone();
    let answers = async move {
        peers.run(move |call| answering.handle(call)).await;
    };
    let watching = router.clone();
    let peers = async move {
        // It ends with the mesh.
        select(pin!(answers), pin!(watching.break_deadlocks())).await;
    };
    task::spawn("router peers", peers).detach();
    router.load_catalog().await.map_err(|what| NodeError::Catalog { core, what })?;
    Ok(router)
}

fn open_sessions(
    assembly: &Assembly,
    router: &Router,
    addresses: &Addresses,
    placement: &PlacementMap,
    memory: &CoreMemory,
) -> Rc<Host> {
    let options = &assembly.options;
    let admission = AdmissionOptions {
        rules: options.authentication.clone(),
        salts: assembly.salts,
        seats: assembly.seats.clone(),
    };
    let tables = NodeTables {
        node: options.node,
        address: addresses.native.to_string(),
        core_addresses: addresses.cores.iter().map(ToString::to_string).collect(),
        pg_address: addresses.pg.as_ref().map(ToString::to_string),
        cores: options.cores,
        placement: Arc::new(placement.clone()),
    };
    Host::new(router.clone(), Arc::new(tables), memory.plans, memory.text_max, admission)
}

fn native_door(
    options: &NodeOptions,
    core: CoreId,
    host: &Rc<Host>,
    addresses: &Addresses,
    placement: &PlacementMap,
    memory: &CoreMemory,
) -> Door {
    let limits = net::server::Options {
        core_request_bytes_max: memory.requests as u64 / REQUEST_DOORS,
        ..net::server::Options::default()
    };
    let address = |place: Place| {
        let own = addresses.cores.get(usize::from(place.core.0))?;
        Some(own.to_string())
    };
    Door {
        server: Server::new(limits).with_tls(options.tls.clone()),
        host: host.clone(),
        node: options.node.0,
        core: core.0,
        placement: Placement::new(placement, address),
        encrypted_only: options.encrypted_only,
    }
}

fn pg_door(options: &NodeOptions, host: &Rc<Host>, memory: &CoreMemory) -> pg::Door {
    let limits = pg::Limits {
        held_bytes_max: memory.requests as u64 / REQUEST_DOORS,
        ..pg::Limits::default()
    };
    pg::Door::new(host.clone(), limits).with_tls(options.tls.clone(), options.encrypted_only)
}

/// The listening sockets of a core.
struct Listeners {
    /// The native doors: the one that all cores share, and the core's own.
    native: [Listener; 2],
    /// The PostgreSQL door that all cores share.
    pg: Option<Listener>,
}

/// Opens the doors, in step with the other cores; nothing is accepted yet.
async fn listen(
    assembly: &Assembly,
    core: CoreId,
    crew: &mut Crew,
) -> Result<(Listeners, Addresses), Halt> {
    let options = &assembly.options;
    let shared = open_shared(Some(options.listen), Stage::Loaded, core, crew).await?;
    let (shared, native) = shared.ok_or(Halt::Other)?;
    let pg = open_shared(options.pg_listen, Stage::Shared, core, crew).await?;
    let (pg, pg_address) = pg.unzip();
    let own = doors::open_own(assembly, core.0).await?;
    let cores = crew.meet(Stage::Listening, Some(own.local_addr())).await?;
    let cores: Option<Vec<SocketAddr>> = cores.iter().copied().collect();
    let cores = cores.ok_or(Halt::Other)?;
    Ok((Listeners { native: [shared, own], pg }, Addresses { native, cores, pg: pg_address }))
}

/// Opens a door that all cores share, if it is to be open: core 0 finds the port.
async fn open_shared(
    address: Option<SocketAddr>,
    stage: Stage,
    core: CoreId,
    crew: &mut Crew,
) -> Result<Option<(Listener, SocketAddr)>, Halt> {
    let first = match (core.0, address) {
        (0, Some(address)) => Some(doors::open_first(address).await?),
        _ => None,
    };
    let found = crew.meet(stage, first.as_ref().map(Listener::local_addr)).await?;
    let Some(address) = found.first().copied().flatten() else { return Ok(None) };
    let listener = match first {
        Some(first) => first,
        None => doors::open_shared(address).await?,
    };
    Ok(Some((listener, address)))
}

/// Logs when steps of this core's tasks took too long.
async fn watch_steps(core: CoreId) {
    let (mut seen, mut preempted) = (0, 0);
    loop {
        time::sleep(WATCHDOG_INTERVAL).await;
        let report = watchdog::report();
        if report.stalls > seen {
            log::warn!(
                core = core.0,
                stalls = report.stalls - seen,
                longest_ms = report.longest.as_millis() as u64,
                longest_task = report.longest_task;
                "steps took too long"
            );
            seen = report.stalls;
        }
        if report.preempted > preempted {
            log::info!(
                core = core.0,
                steps = report.preempted - preempted;
                "the host had the core wait for its processor"
            );
            preempted = report.preempted;
        }
    }
}
