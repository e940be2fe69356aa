//! What waits is bounded, keeps its order, and is let go.

use crate::node::{Cluster, MS, SECOND, Wish, body};
use model::placement::Place;
use net::link::{
    LINK_PAYLOAD_MAX, LinkEvent, LinkOptions, MESSAGE_OVERHEAD, Payload, Service, Undelivered,
};
use runtime::time;

const ONE: Place = Place { node: model::id::NodeId(1), core: model::id::CoreId(0) };
const TWO: Place = Place { node: model::id::NodeId(2), core: model::id::CoreId(0) };
const THREE: Place = Place { node: model::id::NodeId(3), core: model::id::CoreId(0) };
const MIB: usize = 1 << 20;
const QUEUE: usize = LINK_PAYLOAD_MAX as usize + MIB;

fn options() -> LinkOptions {
    LinkOptions { queue_bytes: QUEUE, total_queue_bytes: QUEUE + 8 * MIB, ..LinkOptions::default() }
}

fn message(number: u64) -> bytes::Bytes {
    body(1, number, Wish::Echo, MIB)
}

#[test]
fn a_full_queue_refuses_or_waits_and_nobody_is_overtaken() {
    let cluster = Cluster::new(1, 3, 1, options());
    for other in [TWO, THREE] {
        cluster.on(ONE, move |core| async move { core.echo(other, 1, SECOND).await.unwrap() });
    }
    cluster.sim.pause(2);
    let queued = cluster.on(ONE, |core| async move {
        let mut number = 1;
        while core.links.post(TWO, Service::Raft, message(number)).is_ok() {
            number += 1;
        }
        number - 1
    });
    assert!((30..=34).contains(&queued), "{queued}");
    assert!(cluster.core(ONE).stats(TWO).unwrap().queue_bytes <= QUEUE);
    // A place of its own has room, until all together have none.
    let waiting = cluster.begin(ONE, move |core| async move {
        core.links.send(TWO, Service::Raft, message(queued + 1)).await.unwrap();
        core.links.send(TWO, Service::Raft, message(queued + 2)).await.unwrap();
    });
    cluster.sim.run_for(10 * MS).unwrap();
    cluster.on(ONE, |core| async move {
        let small = body(1, 1, Wish::Echo, 0);
        // It would fit, but somebody waits.
        let refused = core.links.post(TWO, Service::Raft, small.clone());
        assert!(matches!(refused, Err(Undelivered::QueueFull)));
        core.links.post(THREE, Service::Raft, small).unwrap();
        let began = time::now();
        let call = core.links.call(TWO, Service::Engine, message(9), began + 50 * MS);
        let error = call.await.unwrap_err();
        assert!(error.is_safe_to_repeat(), "{error}");
    });
    cluster.sim.resume(2);
    cluster.end(waiting).unwrap();
    cluster.sim.run_for(SECOND).unwrap();
    assert_eq!(cluster.core(TWO).record.borrow().posts, queued + 2);
    assert_eq!(cluster.core(ONE).stats(TWO).unwrap().queue_bytes, 0);
    // The call that gave up had not been queued.
    assert!(!cluster.core(TWO).record.borrow().acted.contains(&(ONE, 1, 9)));
    cluster.check();
}

#[test]
fn all_queues_together_are_bounded() {
    let cluster = Cluster::new(2, 3, 1, options());
    for other in [TWO, THREE] {
        cluster.on(ONE, move |core| async move { core.echo(other, 1, SECOND).await.unwrap() });
    }
    (2..=3).for_each(|node| cluster.sim.pause(node));
    let queued = cluster.on(ONE, |core| async move {
        let fill = |to| {
            let numbers = 1..;
            let fits = |number: &u64| core.links.post(to, Service::Raft, message(*number)).is_ok();
            numbers.take_while(fits).count()
        };
        (fill(TWO), fill(THREE))
    });
    assert!(queued.0 >= 30 && (6..=10).contains(&queued.1), "{queued:?}");
    (2..=3).for_each(|node| cluster.sim.resume(node));
    cluster.sim.run_for(SECOND).unwrap();
    let posts = |place| cluster.core(place).record.borrow().posts as usize;
    assert_eq!((posts(TWO), posts(THREE)), queued);
    cluster.check();
}

#[test]
fn what_waits_is_let_go_when_the_link_ends() {
    let cluster = Cluster::new(3, 2, 1, options());
    cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap() });
    // Stopped: it neither reads nor speaks.
    cluster.sim.pause(2);
    let waiting = cluster.begin(ONE, |core| async move {
        let mut number = 0;
        while core.links.post(TWO, Service::Raft, message(number + 1)).is_ok() {
            number += 1;
        }
        // In the queue, and not begun.
        let deadline = time::now() + 600 * SECOND;
        let call = core.links.call(TWO, Service::Engine, body(1, 7, Wish::Echo, 0), deadline);
        (call.await.unwrap_err(), time::now())
    });
    let began = cluster.sim.now();
    let (error, ended) = cluster.end(waiting).unwrap();
    assert!(error.is_safe_to_repeat(), "{error}");
    assert!(ended - began <= options().dead_after + SECOND);
    let stats = cluster.core(ONE).stats(TWO).unwrap();
    assert_eq!((stats.queue_bytes, stats.up), (0, false));
    cluster.sim.resume(2);
    cluster.sim.run_for(5 * SECOND).unwrap();
    // Nothing of the old link comes over the new one.
    let before = cluster.core(TWO).record.borrow().posts;
    cluster.on(ONE, |core| async move { core.echo(TWO, 8, SECOND).await.unwrap() });
    assert_eq!(cluster.core(TWO).record.borrow().posts, before);
    assert!(!cluster.core(TWO).record.borrow().acted.contains(&(ONE, 1, 7)));
    cluster.check();
}

#[test]
fn pieces_arrive_as_one_and_the_longest_message_passes() {
    let cluster = Cluster::new(4, 2, 1, options());
    let longest = LINK_PAYLOAD_MAX as usize - MESSAGE_OVERHEAD;
    cluster.on(ONE, move |core| async move {
        let whole = body(1, 1, Wish::Echo, 100_000);
        let pieces: Vec<bytes::Bytes> = [0..10, 10..10, 10..17, 17..99_000, 99_000..whole.len()]
            .map(|at| whole.slice(at))
            .into();
        let payload = Payload::from(pieces);
        assert_eq!((payload.len(), payload.is_empty()), (whole.len(), false));
        let deadline = time::now() + SECOND;
        let answer = core.links.call(TWO, Service::Engine, payload, deadline).await.unwrap();
        assert_eq!(answer, whole);

        let deadline = time::now() + 5 * SECOND;
        let head = body(1, 2, Wish::Echo, 0).len();
        let longest_body = body(1, 2, Wish::Echo, longest - head);
        let call = core.links.call(TWO, Service::Engine, longest_body.clone(), deadline);
        assert!(call.await.unwrap() == longest_body);
        let more = core.links.post(TWO, Service::Raft, body(1, 3, Wish::Echo, longest - head + 1));
        assert!(matches!(more, Err(Undelivered::TooLong { .. })));
    });
    cluster.check();
}

#[test]
fn answers_have_room_of_their_own() {
    let cluster = Cluster::new(5, 2, 1, options());
    // Both fill their queues with calls whose answers are as long, and none waits for the other.
    let fill = |here: Place, there: Place| {
        cluster.begin(here, move |core| async move {
            let calls = (1..=25).map(|number| {
                let core = core.clone();
                runtime::task::spawn("call", async move {
                    let call = body(1, number, Wish::Echo, MIB);
                    let deadline = time::now() + 20 * SECOND;
                    core.links.call(there, Service::Engine, call, deadline).await.is_ok()
                })
            });
            let calls: Vec<_> = calls.collect();
            let mut answered = 0;
            for call in calls {
                answered += usize::from(call.await.unwrap());
            }
            answered
        })
    };
    let (one, two) = (fill(ONE, TWO), fill(TWO, ONE));
    assert_eq!((cluster.end(one), cluster.end(two)), (Some(25), Some(25)));
    let broken = |event: &LinkEvent| matches!(event, LinkEvent::Broken { .. });
    assert_eq!(cluster.core(ONE).events(broken), 0);
    cluster.check();
}
