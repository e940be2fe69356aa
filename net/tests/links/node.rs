//! A node of the tests: its door, its links, and a user of them that keeps a record.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use model::id::{CoreId, NodeId};
use model::placement::Place;
use net::link::{
    Answer, Handler, LINK_VERSIONS, LinkError, LinkEvent, LinkOptions, Links, LocalPeer, PeerStats,
    Secret, Service,
};
use net::server::{Arrival, Options as DoorOptions, Server};
use runtime::net::Listener;
use runtime::sim::{Options, Sim, address_of};
use runtime::sync::{oneshot, queue};
use runtime::{BoxLocalFuture, task, time};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub const CLUSTER: u64 = 0xc1u64;
pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

pub fn secret() -> Secret {
    Secret::new(*b"the token of the tests, 32 bytes")
}

pub fn place(node: u32, core: u16) -> Place {
    Place { node: NodeId(node), core: CoreId(core) }
}

/// Where the door of a place is.
pub fn door(place: Place) -> SocketAddr {
    SocketAddr::new(address_of(place.node.0), 7500 + place.core.0)
}

pub fn local(place: Place, incarnation: u64) -> LocalPeer {
    let build = "test".to_owned();
    let versions = LINK_VERSIONS;
    LocalPeer { cluster: CLUSTER, place, incarnation, versions, build, clock: None }
}

/// What a call asks of the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Wish {
    Echo,
    EchoLater,
    Forget,
    Decline,
    Keep,
}

/// A message of the tests: who sent it in which life, its number, and what is wished.
pub fn body(life: u64, number: u64, wish: Wish, padding: usize) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u64(life);
    out.put_u64(number);
    out.put_u8(wish as u8);
    out.resize(out.len() + padding, 0xab);
    out.freeze()
}

fn read(mut body: Bytes) -> (u64, u64, Wish) {
    let (life, number) = (body.get_u64(), body.get_u64());
    let wish = match body.get_u8() {
        0 => Wish::Echo,
        1 => Wish::EchoLater,
        2 => Wish::Forget,
        3 => Wish::Decline,
        _ => Wish::Keep,
    };
    (life, number, wish)
}

/// What one core has seen. Posts are checked as they arrive.
#[derive(Default)]
pub struct Record {
    /// By sender and service: the life and number of the last post, and whether the next one may
    /// leave numbers out.
    last: BTreeMap<(Place, u8), (u64, u64, bool)>,
    pub posts: u64,
    /// Calls that were acted on: the sender, its life and the call's number.
    pub acted: BTreeSet<(Place, u64, u64)>,
    pub declined: u64,
    pub events: Vec<LinkEvent>,
    /// Answers that are not given before the test says so.
    pub kept: Vec<Answer>,
    /// What went wrong.
    pub complaints: Vec<String>,
}

impl Record {
    fn arrived(&mut self, from: Place, service: Service, life: u64, number: u64) {
        self.posts += 1;
        let key = (from, service as u8);
        if let Some((last_life, last, gap)) = self.last.insert(key, (life, number, false)) {
            let next = life == last_life && number == last + 1;
            let later = life > last_life || (life == last_life && number > last);
            if !(next || gap && later) {
                let complaint = format!(
                    "{service:?} of {from:?}: {life}.{number} behind {last_life}.{last}, gap {gap}"
                );
                self.complaints.push(complaint);
            }
        }
    }

    /// From here on the next post of a place may be any later one.
    fn broken(&mut self, place: Place) {
        for ((from, _), (_, _, gap)) in &mut self.last {
            *gap |= *from == place;
        }
    }
}

/// The user of a core's links.
pub struct User(pub Rc<RefCell<Record>>);

impl Handler for User {
    fn post(&self, from: Place, service: Service, body: Bytes) {
        let (life, number, _) = read(body);
        self.0.borrow_mut().arrived(from, service, life, number);
    }

    fn call(&self, from: Place, _service: Service, body: Bytes, answer: Answer) {
        let (life, number, wish) = read(body.clone());
        let mut record = self.0.borrow_mut();
        if wish == Wish::Decline {
            record.declined += 1;
            drop(record);
            return answer.decline();
        }
        if !record.acted.insert((from, life, number)) {
            record.complaints.push(format!("call {life}.{number} of {from:?} came twice"));
        }
        if wish == Wish::Keep {
            return record.kept.push(answer);
        }
        drop(record);
        match wish {
            Wish::Echo => answer.give(body),
            Wish::EchoLater => {
                let later = async move {
                    time::sleep(Duration::from_micros(runtime::random::below(30_000))).await;
                    answer.give(body);
                };
                task::spawn("answer", later).detach();
            }
            _ => drop(answer),
        }
    }

    fn event(&self, event: LinkEvent) {
        let mut record = self.0.borrow_mut();
        if let LinkEvent::Up { place, .. }
        | LinkEvent::Broken { place, .. }
        | LinkEvent::Relayed { place, .. } = event
        {
            record.broken(place);
        }
        record.events.push(event);
    }
}

/// One core that runs: its links and what its user has seen.
#[derive(Clone)]
pub struct Core {
    pub links: Links,
    pub record: Rc<RefCell<Record>>,
    pub life: u64,
    jobs: queue::Sender<Job>,
}

type Job = Box<dyn FnOnce(Core) -> BoxLocalFuture<()>>;

impl Core {
    /// Whether a call comes back.
    pub async fn echo(&self, to: Place, number: u64, patience: Duration) -> Result<(), LinkError> {
        let body = body(self.life, number, Wish::Echo, 10);
        let deadline = time::now() + patience;
        let answer = self.links.call(to, Service::Engine, body.clone(), deadline).await?;
        assert_eq!(answer, body);
        Ok(())
    }

    /// Runs a task on this core, and waits for it; `None` if the core ends first.
    pub async fn run<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        work: impl FnOnce(Core) -> F + 'static,
    ) -> Option<T> {
        let (give, taken) = oneshot::channel();
        let job: Job = Box::new(move |core| {
            Box::pin(async move {
                // Whoever waits may have gone.
                let _gone = give.send(work(core).await);
            })
        });
        self.jobs.send(job).await.ok()?;
        taken.await.ok()
    }

    pub fn stats(&self, place: Place) -> Option<PeerStats> {
        self.links.stats().into_iter().find(|stats| stats.place == place)
    }

    pub fn events(&self, is: impl Fn(&LinkEvent) -> bool) -> usize {
        self.record.borrow().events.iter().filter(|event| is(event)).count()
    }
}

/// A life of a place, and what its user has seen.
type Life = (Place, u64, Rc<RefCell<Record>>);

/// What the nodes of a simulation have in common.
pub struct World {
    pub options: LinkOptions,
    nodes: u32,
    cores: u16,
    running: RefCell<BTreeMap<Place, Core>>,
    /// Of lives that are over, too.
    pub records: RefCell<Vec<Life>>,
}

impl World {
    pub fn places(&self) -> Vec<Place> {
        let cores = |node| (0..self.cores).map(move |core| place(node, core));
        (1..=self.nodes).flat_map(cores).collect()
    }

    /// What runs at a place now, or ran last.
    pub fn core(&self, place: Place) -> Core {
        self.running.borrow()[&place].clone()
    }

    /// A core that lives at `place`, whoever it says it is.
    async fn run(self: Rc<Self>, place: Place, me: LocalPeer, secret: Secret) {
        let life = me.incarnation;
        let record = Rc::new(RefCell::new(Record::default()));
        self.records.borrow_mut().push((place, life, Rc::clone(&record)));
        let user = Rc::new(User(Rc::clone(&record)));
        let links = Links::new(me, secret, self.options.clone(), user);
        for other in self.places().into_iter().filter(|other| other.node != place.node) {
            links.set_address(other, door(other));
        }
        let listener = Listener::bind(door(place), true).await.unwrap();
        task::spawn("door", serve(listener, links.clone())).detach();
        let (jobs, mut todo) = queue::bounded(1_000);
        let core = Core { links, record, life, jobs };
        self.running.borrow_mut().insert(place, core.clone());
        while let Ok(job) = todo.recv().await {
            task::spawn("job", job(core.clone())).detach();
        }
    }
}

/// Serves a door as the server does.
pub async fn serve(listener: Listener, links: Links) {
    let server = Server::new(DoorOptions::default());
    while let Ok(stream) = listener.accept().await {
        let (server, links) = (server.clone(), links.clone());
        let visit = async move {
            if let Ok(Arrival::Node(caller)) = server.handshake(stream).await {
                links.accept(caller).await;
            }
        };
        task::spawn("visit", visit).detach();
    }
}

/// The nodes of a simulation.
pub struct Cluster {
    pub sim: Sim,
    pub world: Rc<World>,
}

impl Cluster {
    pub fn new(seed: u64, nodes: u32, cores: u16, options: LinkOptions) -> Cluster {
        let cluster = Cluster::empty(seed, nodes, cores, options);
        (1..=nodes).for_each(|node| cluster.start(node, 1));
        cluster
    }

    /// Starts a life of a node.
    pub fn start(&self, node: u32, life: u64) {
        self.start_as(node, |place| (local(place, life), secret()));
    }

    /// Starts a node whose cores are who `who` says.
    pub fn start_as(&self, node: u32, who: impl Fn(Place) -> (LocalPeer, Secret)) {
        let world = Rc::clone(&self.world);
        self.sim.start_node(node, world.cores, |core| {
            let home = place(node, core);
            let (me, secret) = who(home);
            Box::pin(Rc::clone(&world).run(home, me, secret))
        });
        self.sim.run_for(10 * MS).unwrap();
    }

    /// A simulation with nothing in it.
    pub fn empty(seed: u64, nodes: u32, cores: u16, options: LinkOptions) -> Cluster {
        let (running, records) = (RefCell::default(), RefCell::default());
        let world = World { options, nodes, cores, running, records };
        Cluster { sim: Sim::new(Options::new(seed)), world: Rc::new(world) }
    }

    pub fn core(&self, place: Place) -> Core {
        self.world.core(place)
    }

    /// Runs a task on a place's core to its end.
    pub fn on<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(Core) -> F + 'static,
    ) -> T {
        let core = self.core(place);
        self.sim.run_until(core.run(work)).unwrap().expect("the core runs on")
    }

    /// Begins a task on a place's core, which goes on while the simulation does something else.
    pub fn begin<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(Core) -> F + 'static,
    ) -> task::Task<Option<T>> {
        let core = self.core(place);
        let begun = async { (task::spawn("begun", async move { core.run(work).await }),) };
        self.sim.run_until(begun).unwrap().0
    }

    /// What became of a task that was begun; `None` if its core ended first.
    pub fn end<T: 'static>(&self, begun: task::Task<Option<T>>) -> Option<T> {
        self.sim.run_until(begun).unwrap().unwrap()
    }

    /// What no test may find: panics, and complaints of the users.
    pub fn check(&self) {
        let seed = self.sim.seed();
        assert!(self.sim.panics().is_empty(), "seed {seed}: {:?}", self.sim.panics());
        for (place, life, record) in &*self.world.records.borrow() {
            let complaints = &record.borrow().complaints;
            assert!(complaints.is_empty(), "seed {seed}, {place:?}.{life}: {complaints:?}");
        }
    }
}
