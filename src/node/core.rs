//! The life of one core.

use super::crew::{Crew, Notice, OtherFailed, Stage};
use super::datagrams::Gossiping;
use super::desk::Desk;
use super::doors::{self, Connections};
use super::entry::{self, Home};
use super::memory::{self, CoreMemory};
use super::neighbours::{Closing, Neighbours, Remains};
use super::registration::{Census, Registration};
use super::timekeeping::keep_time;
use super::{Addresses, Assembly, NodeError, NodeOptions};
use crate::cluster::decide::Policy;
use crate::cluster::registry::{About, PartitionRecord, Registry};
use crate::pg;
use crate::router::peers::Peers;
use crate::router::virtual_tables::NodeTables;
use crate::router::{Router, RouterOptions};
use crate::session::Host;
use crate::session::admission::AdmissionOptions;
use crate::session::native::Door;
use futures::future::{Either, select};
use model::error::{SqlError, SqlState};
use model::id::CoreId;
use model::placement::Place;
use net::link::{LINK_PAYLOAD_MAX, LINK_VERSIONS, LinkOptions, Links, LocalPeer, MESSAGE_OVERHEAD};
use net::message::Placement;
use net::server::Server;
use runtime::net::Listener;
use runtime::task::Task;
use runtime::{task, time, watchdog};
use shards::core::{Engine, EngineOptions, Gauge, founded};
use shards::raft::Nodes;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// One statement may keep this part of what all of a core's statements may.
const STATEMENT_PART: u64 = 2;
/// A core's log asks tables to be written when it holds so many segments.
const LIVE_SEGMENTS: u64 = 8;
/// Doors that share what a core may hold of requests.
const REQUEST_DOORS: u64 = 2;
/// A catalog that nobody can read is asked for again after so long.
const CATALOG_PAUSE: Duration = Duration::from_millis(100);
/// So many places may each fill their part of what a core has for links.
const LINKS_FULL: usize = 4;
/// How long sessions that are ended may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// A node of several that stops answers so long after it leads nothing any more.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often it is looked whether a damaged log is mended.
const LOG_MENDED_EVERY: Duration = Duration::from_millis(500);
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
    let remains = Remains::default();
    match live(assembly, core, (&mut crew, &remains), watch).await {
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
    (crew, remains): (&mut Crew, &Remains),
    watch: impl FnOnce(Gauge),
) -> Result<(), Halt> {
    let options = assembly.options.clone();
    let memory = memory::divide(options.memory_bytes, options.cores, options.partitions);
    let claimed = if core.0 == 0 { Some(entry::claim(&options).await?) } else { None };
    let (listeners, doors) = listen(&assembly, core, crew).await?;
    let about = about(&options, &doors);
    // Locked until this core, the first, is the last to go on below.
    let (_data_dir, home) = match claimed {
        Some(claimed) => {
            let entered = entry::enter(&options, memory.engine, claimed, &about);
            let (data_dir, home) = unless_stopped(&assembly, entered).await??;
            let home = Arc::new(home);
            crew.tell_others(Notice::Prepared(home.clone())).await;
            (Some(data_dir), home)
        }
        None => (None, crew.prepared().await?),
    };
    let (end, ends) = flume::bounded(1);
    let (neighbours, _closing) = meet_neighbours(&assembly, core, &home, &memory, end.clone());
    remains.note(&neighbours);
    crew.attach(&neighbours);
    let opening = open_engine(&assembly, core, &home, neighbours.clone(), &memory);
    let engine = crew.unless_one_fails(opening).await??;
    watch(engine.gauge());
    crew.meet(Stage::Opened, None).await?;
    let _timekeeping = (core.0 == 0).then(|| keep_clock(&assembly, &neighbours)).flatten();
    if core.0 == 0 {
        note_founded(&options, core).await?;
    }
    neighbours.attach(&engine);
    let place = Place { node: home.node(), core };
    let door = Rc::new(native_door(&options, place, neighbours.links(), &memory));
    let accept_native = |listener| {
        let connections = Connections::new(&assembly);
        task::spawn("accept", doors::accept(listener, door.clone(), connections))
    };
    let accepting_native = listeners.native.map(accept_native);
    let router = open_router(&assembly, &home, &engine, &neighbours, &memory).await;
    let gossiping = begin_gossip(&home, &doors, (&neighbours, crew), &router, &options);
    let loading = load_catalog(&options, &home, &router, &neighbours);
    match core.0 {
        0 => crew.unless_one_fails(unless_stopped(&assembly, loading)).await???,
        _ => crew.unless_one_fails(loading).await??,
    }
    let desk = Desk::new(router.clone(), home.book.clone());
    neighbours.open_desk(desk.clone());
    let (changes, changed) = flume::bounded(1);
    let registration = match core.0 {
        0 => {
            let gossip = gossiping.as_ref().map(|gossiping| gossiping.gossip.clone());
            let (router, home) = (router.clone(), home.clone());
            let registration = Registration { desk, router, home, about, changes, gossip };
            let census = crew.unless_one_fails(registration.begin()).await??;
            Some((registration, census))
        }
        _ => None,
    };
    crew.meet(Stage::Loaded, None).await?;
    // What is given out from here on counts, whether others are there or not.
    neighbours.timekeeping().agreed();
    let addresses = Addresses { node: home.node(), ..doors };
    let mut member = Member { core, addresses, door, neighbours, home, engine: engine.clone() };
    let host = open_sessions(&assembly, &router, &member, &memory);
    member.door.open(host.clone(), member.placement(None));
    let accepting_pg = listeners.pg.map(|listener| {
        let door = Rc::new(pg_door(&options, &host, &memory));
        let connections = Connections::new(&assembly);
        task::spawn("accept", doors::accept(listener, door, connections))
    });
    crew.meet(Stage::Serving, None).await?;
    let sagas = keep_sagas(&router);
    let _watchers = watch_engine(&engine, core, end);
    let _placement = gossiping.as_ref().map(|_| keep_placement(&router, &member.home));
    let news = News { ends, changed };
    let served = match registration {
        None => serve(&assembly, crew, &mut member, &news).await,
        Some((registration, census)) => {
            if let Some(census) = &census {
                crew.tell_others(Notice::Census(census.clone())).await;
                member.learn(census);
            }
            let keeping = pin!(registration.keep(&options.data_dir, census));
            let serving = pin!(serve(&assembly, crew, &mut member, &news));
            match select(serving, keeping).await {
                Either::Left((served, _)) => served,
                Either::Right((Err(error), _)) => Err(Halt::Mine(error)),
                Either::Right((Ok(()), serving)) => serving.await,
            }
        }
    };
    if let Some(gossiping) = &gossiping {
        gossiping.leave();
    }
    drop((accepting_native, accepting_pg));
    wind_down(served, crew, &member, (&host, &router, sagas), options.drain_timeout).await
}

/// Brings a core to its end that has served: the sessions, the engine, the links. `sagas` runs until the
/// sessions have ended.
async fn wind_down(
    served: Result<(), Halt>,
    crew: &mut Crew,
    member: &Member,
    (host, router, sagas): (&Host, &Router, Task<()>),
    drain_timeout: Duration,
) -> Result<(), Halt> {
    let (engine, core) = (&member.engine, member.core);
    if served.is_ok() {
        // Before the sessions end: what they have begun here may end first.
        hand_over(engine, core).await;
        drain(host, core, drain_timeout).await;
        crew.meet(Stage::Drained, None).await?;
    }
    // Where another core has failed, what waits for it waits in vain.
    match time::timeout(CLOSE_MAX, host.close()).await {
        Ok(()) => log::debug!(core = core.0; "the sessions of the core are closed"),
        Err(_late) => log::warn!(core = core.0; "sessions of the core do not come to an end"),
    }
    drop(sagas);
    if served.is_ok() {
        router.settle_sequences().await;
    }
    // A core that has failed has nothing to write that its log does not hold, or cannot.
    let closed = engine.shutdown(served.is_ok()).await;
    log::debug!(core = core.0; "the engine of the core is closed");
    served?;
    let all_answered = closed.map_err(|error| NodeError::Open { core, what: error.to_string() });
    if let Ok(true) = all_answered {
        member.neighbours.finish().await;
    }
    crew.meet(Stage::Quiet, None).await?;
    all_answered?;
    Ok(())
}

/// Notes that every partition of a cluster that this node founds has begun.
async fn note_founded(options: &NodeOptions, core: CoreId) -> Result<(), NodeError> {
    let noted = founded(&options.data_dir).await;
    noted.map_err(|error| NodeError::Open { core, what: error.to_string() })
}

/// Sees to the node's clock, where it has links.
fn keep_clock(assembly: &Assembly, neighbours: &Rc<Neighbours>) -> Option<Task<()>> {
    neighbours.links()?;
    let (clock, neighbours) = (assembly.clock.clone(), neighbours.clone());
    Some(task::spawn("timekeeping", async move { keep_time(&clock, neighbours).await }))
}

/// On core 0 of a node that has links: the others hear from here on where its cores are.
fn begin_gossip(
    home: &Home,
    doors: &Addresses,
    (neighbours, crew): (&Rc<Neighbours>, &Crew),
    router: &Router,
    options: &NodeOptions,
) -> Option<Gossiping> {
    let first = neighbours.place().core.0 == 0;
    let between = (neighbours, crew.herald());
    first
        .then(|| Gossiping::begin(home, &doors.cores, between, router, options.data_dir.clone()))?
}

/// Sees to where replicas are, while this core leads the system partition.
fn keep_placement(router: &Router, home: &Home) -> Task<()> {
    let replication_factor = u16::from(home.book.replication_factor);
    let policy = Policy { replication_factor, ..Policy::default() };
    let placing = router.clone();
    task::spawn("placement", async move { placing.keep_placement(policy).await })
}

fn keep_sagas(router: &Router) -> Task<()> {
    let router = router.clone();
    task::spawn("sagas", async move { router.keep_sagas().await })
}

/// What looks at a core while it serves.
fn watch_engine(engine: &Engine, core: CoreId, end: flume::Sender<NodeError>) -> [Task<()>; 5] {
    [
        task::spawn("watchdog", watch_steps(core)),
        task::spawn("damage", tell_damage(engine.clone(), core)),
        task::spawn("log-damage", tell_log_damage(engine.clone(), core)),
        task::spawn("log-failure", end_with_log(engine.clone(), core, end)),
        task::spawn("mends", tell_mends(engine.clone(), core)),
    ]
}

/// Has others lead what this core leads, before it stops.
async fn hand_over(engine: &Engine, core: CoreId) {
    let leads = engine.groups().into_iter().filter(|group| group.leads);
    let others_ask = leads.flat_map(|group| group.voters).any(|voters| voters.len() > 1);
    for (partition, error) in engine.hand_over().await {
        log::warn!(core = core.0, partition = partition.0; "nobody else leads it: {error}");
    }
    if others_ask {
        // What others send here until they know better they are told here, and not by a broken link.
        time::sleep(FAREWELL).await;
    }
}

/// Does `work`, which may wait for other nodes, unless somebody wants the node to stop.
async fn unless_stopped<T>(
    assembly: &Assembly,
    work: impl Future<Output = T>,
) -> Result<T, NodeError> {
    match select(pin!(work), pin!(assembly.stop.recv_async())).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(_) => Err(NodeError::Interrupted),
    }
}

/// What reaches a core from its own tasks while it serves.
struct News {
    /// Why the node must end.
    ends: flume::Receiver<NodeError>,
    /// On core 0: the registry has changed.
    changed: flume::Receiver<Arc<Census>>,
}

/// Serves until the node is told to stop.
async fn serve(
    assembly: &Assembly,
    crew: &mut Crew,
    member: &mut Member,
    news: &News,
) -> Result<(), Halt> {
    let first = member.core.0 == 0;
    if first {
        // Whoever started the node may have given up waiting: then it stops at once.
        let _gone = assembly.ready.try_send(member.addresses.clone());
    }
    loop {
        let next = {
            let stopped = pin!(async {
                match first {
                    true => drop(assembly.stop.recv_async().await),
                    false => std::future::pending().await,
                }
            });
            let changed = pin!(async {
                match news.changed.recv_async().await {
                    Ok(census) => census,
                    // Only core 0 reads it.
                    Err(_disconnected) => std::future::pending().await,
                }
            });
            let noticed = pin!(crew.next());
            let ended = pin!(news.ends.recv_async());
            match select(select(stopped, changed), select(noticed, ended)).await {
                Either::Left((Either::Left(_), _)) => Next::Stop,
                Either::Left((Either::Right((census, _)), _)) => Next::Tell(census),
                Either::Right((Either::Left((notice, _)), _)) => match notice? {
                    (_, Notice::Drain) => Next::Stop,
                    (_, Notice::Census(census)) => Next::Learn(census),
                    _ => continue,
                },
                Either::Right((Either::Right((Ok(error), _)), _)) => return Err(error.into()),
                Either::Right((Either::Right((Err(_disconnected), _)), _)) => continue,
            }
        };
        match next {
            Next::Stop => break,
            Next::Tell(census) => {
                crew.tell_others(Notice::Census(census.clone())).await;
                member.learn(&census);
            }
            Next::Learn(census) => member.learn(&census),
        }
    }
    if first {
        crew.tell_others(Notice::Drain).await;
    }
    Ok(())
}

/// What a core that serves does next.
enum Next {
    Stop,
    Tell(Arc<Census>),
    Learn(Arc<Census>),
}

/// A core as a part of its cluster, while it serves.
struct Member {
    core: CoreId,
    addresses: Addresses,
    door: Rc<Door>,
    neighbours: Rc<Neighbours>,
    home: Arc<Home>,
    engine: Engine,
}

impl Member {
    /// Takes note of where the nodes and the partitions are now.
    fn learn(&mut self, census: &Census) {
        let Census { registry, dead } = census;
        self.neighbours.learn(&self.home.book.with(registry), Some(registry));
        self.neighbours.mourn(dead.clone());
        let replicas = |one: &PartitionRecord| (one.id, one.replicas.nodes().collect());
        self.engine.learn_replicas(registry.partitions().map(replicas).collect());
        self.door.show(self.placement(Some(registry)));
    }

    /// The map that clients are given: without a registry, and where that makes no map, of the
    /// partitions that this node leads.
    fn placement(&self, registry: Option<&Registry>) -> Placement {
        let map = registry.and_then(|registry| registry.placement().ok());
        let own = self.engine.placement();
        let book = registry.map_or_else(|| self.home.book.clone(), |all| self.home.book.with(all));
        let others: HashMap<Place, SocketAddr> = book.addresses().collect();
        let address = |place: Place| {
            let address = match place.node == self.addresses.node {
                true => self.addresses.cores.get(usize::from(place.core.0)),
                false => others.get(&place),
            };
            address.map(ToString::to_string)
        };
        Placement::new(map.as_ref().unwrap_or(&own), address)
    }
}

/// What the node says of itself to others.
fn about(options: &NodeOptions, doors: &Addresses) -> About {
    About {
        native: doors.native.to_string(),
        pg: doors.pg.as_ref().map(ToString::to_string),
        cores: doors.cores.iter().map(ToString::to_string).collect(),
        locality: options.locality.clone(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The cores of other nodes; beside them what closes the links with them.
fn meet_neighbours(
    assembly: &Assembly,
    core: CoreId,
    home: &Home,
    memory: &CoreMemory,
    end: flume::Sender<NodeError>,
) -> (Rc<Neighbours>, Option<Closing>) {
    let place = Place { node: home.node(), core };
    let Some(secret) = assembly.options.secret.clone() else {
        return (Neighbours::none(place, end), None);
    };
    let me = LocalPeer {
        cluster: home.identity.cluster,
        place,
        incarnation: u64::from(home.identity.starts),
        versions: LINK_VERSIONS,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        clock: Some(assembly.clock.clone()),
    };
    let longest = LINK_PAYLOAD_MAX as usize + MESSAGE_OVERHEAD;
    let links = LinkOptions {
        queue_bytes: longest.max(memory.links / LINKS_FULL),
        total_queue_bytes: longest.max(memory.links),
        ..LinkOptions::default()
    };
    let (neighbours, closing) = Neighbours::linked(me, secret, links, end);
    neighbours.learn(&home.book, None);
    (neighbours, Some(closing))
}

/// Lets sessions end by themselves, for a while.
async fn drain(host: &Host, core: CoreId, limit: Duration) {
    if time::timeout(limit, host.drain()).await.is_err() {
        log::warn!(core = core.0, sessions = host.live(); "sessions are ended: the drain timeout is over");
    }
}

async fn open_engine(
    assembly: &Assembly,
    core: CoreId,
    home: &Home,
    nodes: Rc<dyn Nodes>,
    memory: &CoreMemory,
) -> Result<Engine, NodeError> {
    let options = &assembly.options;
    let data_dir = options.data_dir.clone();
    let engine = EngineOptions {
        memory_bytes: memory.engine,
        clock: assembly.clock.clone(),
        wal_segment_bytes: options.wal_segment_bytes,
        wal_live_bytes_max: options.wal_segment_bytes.saturating_mul(LIVE_SEGMENTS),
        part_bytes: options.part_bytes,
        lock_timeout: options.lock_timeout,
        retention: options.retention,
        snapshot_age_max: options.snapshot_age_max,
        // A rate that is set is one, however many cores share it.
        scrub_bytes_per_second: options.scrub_rate.div_ceil(u64::from(options.cores)),
        scrub_interval: options.scrub_interval,
        ..EngineOptions::new(data_dir, home.node(), core, home.placement())
    };
    let mesh = assembly.engines.clone().join(core.0).await;
    let opened = Engine::open(engine, mesh, nodes).await;
    opened.map_err(|error| NodeError::Open { core, what: error.to_string() })
}

/// Makes the router, joins it with the others' and reads the catalog.
async fn open_router(
    assembly: &Assembly,
    home: &Home,
    engine: &Engine,
    neighbours: &Rc<Neighbours>,
    memory: &CoreMemory,
) -> Router {
    let options = &assembly.options;
    let core = engine.core();
    let mesh = assembly.routers.clone().join(core.0).await;
    let peers = match neighbours.links() {
        Some(_) => Peers::joined(options.cores, mesh, engine.clone(), neighbours.clone()),
        None => Peers::new(Place { node: home.node(), core }, options.cores, mesh),
    };
    neighbours.attach_router(&peers);
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
        select(pin!(answers), pin!(watching.attend())).await;
    };
    task::spawn("router peers", peers).detach();
    router
}

/// Reads the catalog, and waits until the core may serve.
async fn load_catalog(
    options: &NodeOptions,
    home: &Home,
    router: &Router,
    neighbours: &Neighbours,
) -> Result<(), NodeError> {
    let core = neighbours.place().core;
    loop {
        match router.load_catalog().await {
            Ok(()) => {
                router.wait_to_serve().await;
                return Ok(());
            }
            // As long as too few of the others are there nobody can read it.
            Err(what) if passes(&what) && home.book.nodes().count() > 1 => {
                log::warn!(core = core.0; "the catalog cannot be read yet: {what}");
                time::sleep(CATALOG_PAUSE).await;
                // It may be led by a node that came while this one was away.
                if let Some(book) = entry::look_again(options, home).await {
                    neighbours.learn(&book, None);
                }
            }
            Err(what) => return Err(NodeError::Catalog { core, what }),
        }
    }
}

/// Whether an error is that a partition has no leader, that it was lost meanwhile, that looking for
/// it took so long that what was to be read is gone, or that a change waits for a node that is not there
/// to hear what became of it.
fn passes(error: &SqlError) -> bool {
    let passing = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::SERIALIZATION_FAILURE,
        SqlState::CONNECTION_FAILURE,
        SqlState::SNAPSHOT_TOO_OLD,
    ];
    passing.contains(&error.state())
}

fn open_sessions(
    assembly: &Assembly,
    router: &Router,
    member: &Member,
    memory: &CoreMemory,
) -> Rc<Host> {
    let options = &assembly.options;
    let addresses = &member.addresses;
    let admission = AdmissionOptions {
        rules: options.authentication.clone(),
        salts: assembly.salts,
        seats: assembly.seats.clone(),
    };
    let tables = NodeTables {
        node: addresses.node,
        address: addresses.native.to_string(),
        core_addresses: addresses.cores.iter().map(ToString::to_string).collect(),
        pg_address: addresses.pg.as_ref().map(ToString::to_string),
        cores: options.cores,
        placement: Arc::new(member.home.placement()),
    };
    Host::new(router.clone(), Arc::new(tables), memory.plans, memory.text_max, admission)
}

fn native_door(
    options: &NodeOptions,
    place: Place,
    links: Option<Links>,
    memory: &CoreMemory,
) -> Door {
    let limits = net::server::Options {
        core_request_bytes_max: memory.requests as u64 / REQUEST_DOORS,
        ..net::server::Options::default()
    };
    let server = Server::new(limits).with_tls(options.tls.clone());
    Door::new(server, links, place, options.encrypted_only)
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
    let shared = open_shared(Some(options.listen), Stage::Native, core, crew).await?;
    let (shared, native) = shared.ok_or(Halt::Other)?;
    let pg = open_shared(options.pg_listen, Stage::Shared, core, crew).await?;
    let (pg, pg_address) = pg.unzip();
    let own = doors::open_own(assembly, core.0).await?;
    let cores = crew.meet(Stage::Listening, Some(own.local_addr())).await?;
    let cores: Option<Vec<SocketAddr>> = cores.iter().copied().collect();
    let cores = cores.ok_or(Halt::Other)?;
    let listeners = Listeners { native: [shared, own], pg };
    // Who the node is may not be known yet.
    let node = options.node.unwrap_or_default();
    Ok((listeners, Addresses { node, native, cores, pg: pg_address }))
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

/// Logs what is found damaged, once each.
async fn tell_damage(engine: Engine, core: CoreId) {
    let mut seen = 0;
    loop {
        let report = engine.next_damage(seen).await;
        seen = report.number;
        let damaged = &report.corruption;
        log::error!(
            core = core.0,
            partition = report.partition.0,
            file = damaged.file.display().to_string(),
            offset = damaged.offset,
            damage = damaged.damage.to_string();
            "stored data is damaged"
        );
    }
}

/// Logs damage of a core's log, and that it is mended.
async fn tell_log_damage(engine: Engine, core: CoreId) {
    let mut seen = 0;
    loop {
        let damage = engine.next_log_damage(seen).await;
        seen = engine.log_damage().found;
        if let Some(error) = damage {
            log::error!(core = core.0; "the log is damaged, and is written anew: {error}");
        }
        while engine.log_damage().mended < seen {
            time::sleep(LOG_MENDED_EVERY).await;
        }
        log::info!(core = core.0, segments = seen; "nothing of the damaged log is needed any more");
    }
}

/// Ends the node when a core's log cannot be written: others lead then what it has led, and it does not
/// vote for what it cannot keep.
async fn end_with_log(engine: Engine, core: CoreId, end: flume::Sender<NodeError>) {
    let error = engine.log_failure().await;
    // The first reason to end is enough.
    let _full = end.try_send(NodeError::Log { core, what: error.to_string() });
}

/// Logs what came of damage.
async fn tell_mends(engine: Engine, core: CoreId) {
    let mut seen = 0;
    loop {
        let report = engine.next_mend(seen).await;
        seen = report.number;
        let (core, partition) = (core.0, report.partition.0);
        match report.outcome {
            Ok(()) => {
                log::info!(core = core, partition = partition; "a damaged replica has the files of another one");
            }
            Err(why) => {
                log::error!(core = core, partition = partition, why = why; "a damaged replica is not whole yet");
            }
        }
    }
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
