//! The same over real sockets, between two executors.

use crate::node::{CLUSTER, SECOND, secret, serve};
use bytes::Bytes;
use model::id::{CoreId, NodeId};
use model::placement::Place;
use net::link::{
    Answer, Doubt, Handler, LINK_VERSIONS, LinkError, LinkEvent, LinkOptions, Links, LocalPeer,
    Service,
};
use runtime::glommio::{Options, Placement, run};
use runtime::net::Listener;
use runtime::{BoxLocalFuture, task, time};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Counts what arrives, and sends back what it is asked.
#[derive(Default)]
pub struct Mirror {
    pub posts: Cell<u64>,
    pub bytes: Cell<u64>,
    /// The first eight bytes of the last post, and whether each was the one after.
    last: Cell<u64>,
    pub disorder: Cell<u64>,
    pub events: RefCell<Vec<LinkEvent>>,
    kept: RefCell<Vec<Answer>>,
}

impl Handler for Mirror {
    fn post(&self, _from: Place, _service: Service, body: Bytes) {
        let number = u64::from_le_bytes(body[..8].try_into().unwrap());
        let next = self.last.replace(number) + 1 == number;
        self.disorder.set(self.disorder.get() + u64::from(!next));
        self.posts.set(self.posts.get() + 1);
        self.bytes.set(self.bytes.get() + body.len() as u64);
    }

    fn call(&self, _from: Place, service: Service, body: Bytes, answer: Answer) {
        match service {
            Service::Gossip => self.kept.borrow_mut().push(answer),
            _ => answer.give(body),
        }
    }

    fn event(&self, event: LinkEvent) {
        self.events.borrow_mut().push(event);
    }
}

/// One of two cores, each a node of its own.
pub struct Side {
    pub links: Links,
    pub mirror: Rc<Mirror>,
    pub other: Place,
}

fn place(core: u16) -> Place {
    Place { node: NodeId(u32::from(core) + 1), core: CoreId(0) }
}

/// What the two cores tell each other without a link.
#[derive(Default)]
struct Meeting {
    doors: Mutex<[Option<SocketAddr>; 2]>,
    done: AtomicBool,
}

/// Runs `act` on the first of two cores; the second serves until it is done, and then says what
/// `seen` makes of it.
pub fn between<T: Send + 'static, F: Future<Output = T> + 'static>(
    act: impl Fn(Rc<Side>) -> F + Send + Clone + 'static,
    seen: impl Fn(&Side) + Send + Clone + 'static,
) -> T {
    let meeting = Arc::new(Meeting::default());
    let cores = Options { cores: 2, placement: Placement::Unbound, ..Options::default() };
    let results = run(cores, move |core| {
        let (meeting, act, seen) = (Arc::clone(&meeting), act.clone(), seen.clone());
        Box::pin(async move {
            let side = Rc::new(open(core, &meeting).await);
            if core == 0 {
                let result = act(Rc::clone(&side)).await;
                meeting.done.store(true, Ordering::Release);
                side.links.close();
                return Some(result);
            }
            while !meeting.done.load(Ordering::Acquire) {
                time::sleep(5 * MS).await;
            }
            seen(&side);
            side.links.close();
            None
        }) as BoxLocalFuture<Option<T>>
    });
    results.unwrap().into_iter().flatten().next().unwrap()
}

async fn open(core: u16, meeting: &Meeting) -> Side {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
    meeting.doors.lock().unwrap()[usize::from(core)] = Some(listener.local_addr());
    let mirror = Rc::new(Mirror::default());
    let me = LocalPeer {
        cluster: CLUSTER,
        place: place(core),
        incarnation: 1,
        versions: LINK_VERSIONS,
        build: "test".to_owned(),
        clock: None,
    };
    let links = Links::new(me, secret(), LinkOptions::default(), mirror.clone());
    task::spawn("door", serve(listener, links.clone())).detach();
    let other = place(1 - core);
    let door = loop {
        if let Some(door) = meeting.doors.lock().unwrap()[usize::from(1 - core)] {
            break door;
        }
        time::sleep(MS).await;
    };
    links.set_address(other, door);
    Side { links, mirror, other }
}

#[test]
fn calls_and_posts_of_every_length() {
    const POSTS: u64 = 3_000;
    between(
        |side| async move {
            let lengths = [8, 100, 4_096, 4_097, 65_536, 300_000, 5_000_000];
            for length in lengths {
                let body = Bytes::from((0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>());
                let (other, deadline) = (side.other, time::now() + 10 * SECOND);
                let pieces = vec![body.slice(..5), body.slice(5..)];
                let answer = side.links.call(other, Service::Engine, pieces, deadline).await;
                assert!(answer.unwrap() == body, "{length}");
            }
            for number in 1..=POSTS {
                let mut post = number.to_le_bytes().to_vec();
                post.resize(8 + lengths[number as usize % 5], 7);
                side.links.send(side.other, Service::Raft, Bytes::from(post)).await.unwrap();
            }
            let deadline = time::now() + 10 * SECOND;
            let last = side.links.call(side.other, Service::Raft, Bytes::new(), deadline).await;
            assert_eq!(last.unwrap(), Bytes::new());
            let deadline = time::now() + SECOND / 10;
            let kept = side.links.call(side.other, Service::Gossip, Bytes::new(), deadline).await;
            assert!(matches!(kept, Err(LinkError::InDoubt(Doubt::Deadline))));
            let stats = side.links.stats()[0];
            assert!(stats.up && stats.links == 1 && stats.queue_bytes == 0, "{stats:?}");
        },
        |side| {
            assert_eq!((side.mirror.posts.get(), side.mirror.disorder.get()), (POSTS, 0));
            let up = |event: &&LinkEvent| matches!(event, LinkEvent::Up { .. });
            assert_eq!(side.mirror.events.borrow().iter().filter(up).count(), 1);
        },
    );
}

#[test]
fn nobody_listens() {
    between(
        |side| async move {
            // A port that was free a moment ago.
            let free = Listener::bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
            let door = free.local_addr();
            drop(free);
            let nobody = Place { node: NodeId(9), core: CoreId(0) };
            side.links.set_address(nobody, door);
            for _ in 0..20 {
                let deadline = time::now() + 5 * SECOND;
                let call = side.links.call(nobody, Service::Engine, Bytes::new(), deadline);
                assert!(call.await.unwrap_err().is_safe_to_repeat());
            }
        },
        |_| {},
    );
}
