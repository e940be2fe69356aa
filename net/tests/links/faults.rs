//! One fault at a time, and what must follow from it.

use crate::node::{Cluster, MS, SECOND, Wish, body, place};
use model::placement::Place;
use net::link::{Doubt, LinkEnd, LinkError, LinkEvent, LinkOptions, Service, Undelivered};
use runtime::sim::Loss;
use runtime::time;

const ONE: Place = Place { node: model::id::NodeId(1), core: model::id::CoreId(0) };
const TWO: Place = Place { node: model::id::NodeId(2), core: model::id::CoreId(0) };

fn pair(seed: u64) -> Cluster {
    Cluster::new(seed, 2, 1, LinkOptions::default())
}

fn ups(cluster: &Cluster, place: Place) -> usize {
    cluster.core(place).events(|event| matches!(event, LinkEvent::Up { .. }))
}

fn broken(cluster: &Cluster, place: Place) -> usize {
    cluster.core(place).events(|event| matches!(event, LinkEvent::Broken { .. }))
}

#[test]
fn a_call_opens_one_link_that_serves_both_directions() {
    let cluster = pair(1);
    cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap() });
    cluster.on(TWO, |core| async move { core.echo(ONE, 1, SECOND).await.unwrap() });
    for (here, there) in [(ONE, TWO), (TWO, ONE)] {
        assert_eq!((ups(&cluster, here), broken(&cluster, here)), (1, 0));
        let stats = cluster.core(here).stats(there).unwrap();
        assert!(stats.up && stats.links == 1 && stats.failures == 0);
        assert!(stats.bytes_sent > 0 && stats.bytes_received > 0 && stats.queue_bytes == 0);
        assert!(stats.frames_sent >= 2 && stats.frames_received >= 2);
        assert!(stats.clock.round_trip > MS / 20 && stats.clock.round_trip < 2 * MS);
    }
    // An idle link stays, for the price of a ping now and then.
    let before = cluster.core(ONE).stats(TWO).unwrap().frames_sent;
    cluster.sim.run_for(60 * SECOND).unwrap();
    let pings = cluster.core(ONE).stats(TWO).unwrap().frames_sent - before;
    assert!((110..=250).contains(&pings), "{pings}");
    assert_eq!((broken(&cluster, ONE), broken(&cluster, TWO)), (0, 0));
    cluster.check();
}

#[test]
fn both_dial_at_once_and_one_link_is_left() {
    let mut crossed = 0;
    for seed in 0..300 {
        let cluster = pair(seed);
        let begin = |here: Place, there: Place| {
            cluster.begin(here, move |core| async move {
                for number in 1..=20 {
                    core.echo(there, number, SECOND).await.unwrap();
                    let body = body(1, number, Wish::Echo, 0);
                    core.links.post(there, Service::Raft, body).unwrap();
                }
            })
        };
        let (one, two) = (begin(ONE, TWO), begin(TWO, ONE));
        cluster.end(one).unwrap();
        cluster.end(two).unwrap();
        cluster.sim.run_for(SECOND).unwrap();
        for (here, there) in [(ONE, TWO), (TWO, ONE)] {
            let ended = broken(&cluster, here);
            assert_eq!(ups(&cluster, here), ended + 1, "seed {seed}");
            assert_eq!(ended, 0, "seed {seed}: {:?}", cluster.core(here).record.borrow().events);
            assert!(cluster.core(here).stats(there).unwrap().up);
            assert_eq!(cluster.core(here).record.borrow().posts, 20);
        }
        assert_eq!(cluster.sim.network().connections(), 1, "seed {seed}");
        let dialled = cluster.core(ONE).stats(TWO).unwrap().failures;
        crossed += dialled;
        cluster.check();
    }
    assert_eq!(crossed, 0, "crossing is no failure");
}

#[test]
fn a_place_that_does_not_answer_is_told_apart() {
    let cluster = pair(3);
    cluster.sim.crash(2, Loss::Process);
    // Nobody listens: refused at once, and for a while without asking.
    let (first, second) = cluster.on(ONE, |core| async move {
        let first = core.echo(TWO, 1, 5 * SECOND).await.unwrap_err();
        (first, core.echo(TWO, 2, 5 * SECOND).await.unwrap_err())
    });
    assert!(first.is_safe_to_repeat() && second.is_safe_to_repeat());
    assert!(
        matches!(first, LinkError::NotDelivered(Undelivered::Unsent(LinkEnd::Io(_)))),
        "{first}"
    );
    assert!(matches!(second, LinkError::NotDelivered(Undelivered::Unreachable { .. })), "{second}");
    // Once it is back it is reached within the longest pause.
    cluster.start(2, 2);
    cluster.on(ONE, |core| async move {
        let began = time::now();
        while core.echo(TWO, 3, SECOND).await.is_err() {
            time::sleep(10 * MS).await;
        }
        assert!(began.elapsed() <= core_pause(), "{:?}", began.elapsed());
    });
    cluster.check();
}

fn core_pause() -> std::time::Duration {
    LinkOptions::default().backoff_max + 100 * MS
}

#[test]
fn own_node_and_unknown_places_are_refused() {
    let cluster = pair(4);
    cluster.on(ONE, |core| async move {
        let post = |place| core.links.post(place, Service::Raft, body(1, 1, Wish::Echo, 0));
        assert!(matches!(post(place(1, 1)), Err(Undelivered::OwnNode(_))));
        assert!(matches!(post(place(9, 0)), Err(Undelivered::UnknownPlace(_))));
        core.links.forget(TWO.node);
        assert!(matches!(post(TWO), Err(Undelivered::UnknownPlace(_))));
    });
}

#[test]
fn a_reset_fails_what_is_under_way_and_the_next_call_connects_anew() {
    let cluster = pair(5);
    cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap() });
    let kept = cluster.begin(ONE, |core| async move {
        let deadline = time::now() + 60 * SECOND;
        let call = core.links.call(TWO, Service::Engine, body(1, 3, Wish::Keep, 0), deadline);
        (call.await.unwrap_err(), time::now())
    });
    cluster.sim.run_for(100 * MS).unwrap();
    assert_eq!(cluster.sim.network().drop_connections(1, 2), 1);
    let reset = cluster.sim.now();
    let (error, failed) = cluster.end(kept).unwrap();
    assert!(failed - reset < 10 * MS);
    assert!(matches!(error, LinkError::InDoubt(Doubt::Broken(_))), "{error}");
    cluster.on(ONE, |core| async move { core.echo(TWO, 4, SECOND).await.unwrap() });
    // An answer that comes too late, by a link that is gone, goes nowhere.
    let kept = std::mem::take(&mut cluster.core(TWO).record.borrow_mut().kept);
    assert_eq!(kept.len(), 1);
    cluster.on(TWO, |_| async move {
        kept.into_iter().for_each(|answer| answer.give(bytes::Bytes::from_static(b"late")));
    });
    cluster.on(ONE, |core| async move { core.echo(TWO, 5, SECOND).await.unwrap() });
    assert_eq!((broken(&cluster, ONE), broken(&cluster, TWO)), (1, 1));
    cluster.check();
}

/// What is cut, and how long either side may take to notice.
#[test]
fn a_silent_peer_is_gone_after_a_while() {
    for (seed, cuts) in
        [(6, vec![(1, 2)]), (7, vec![(2, 1)]), (8, vec![(1, 2), (2, 1)]), (9, vec![])]
    {
        let cluster = pair(seed);
        cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap() });
        let power_loss = cuts.is_empty();
        for (from, to) in cuts {
            cluster.sim.network().cut(from, to);
        }
        if power_loss {
            // Its machine is off: nobody says goodbye for it.
            cluster.sim.crash(2, Loss::Power);
        }
        // A kept call, without a deadline worth its name.
        let (error, took) = cluster.on(ONE, |core| async move {
            let began = time::now();
            let call = body(1, 2, Wish::Keep, 0);
            let kept = core.links.call(TWO, Service::Engine, call, began + 600 * SECOND);
            (kept.await.unwrap_err(), began.elapsed())
        });
        assert!(matches!(error, LinkError::InDoubt(Doubt::Broken(_))), "seed {seed}: {error}");
        let dead_after = cluster.world.options.dead_after;
        assert!(took >= dead_after / 2 && took <= dead_after + 2 * SECOND, "seed {seed}: {took:?}");
        assert_eq!(broken(&cluster, ONE), 1);
        cluster.sim.run_for(2 * SECOND).unwrap();
        assert_eq!(broken(&cluster, TWO), usize::from(!power_loss), "seed {seed}");
        if !power_loss {
            cluster.sim.network().heal();
            cluster.on(ONE, |core| async move {
                let began = time::now();
                while core.echo(TWO, 3, SECOND).await.is_err() {
                    time::sleep(10 * MS).await;
                }
                assert!(began.elapsed() <= core_pause() + 2 * SECOND, "{:?}", began.elapsed());
            });
        }
        cluster.check();
    }
}

#[test]
fn a_deadline_ends_a_call_and_not_the_link() {
    let cluster = pair(10);
    cluster.on(ONE, |core| async move {
        let began = time::now();
        let call = core.links.call(TWO, Service::Engine, body(1, 1, Wish::Keep, 0), began + SECOND);
        let error = call.await.unwrap_err();
        assert!(matches!(error, LinkError::InDoubt(Doubt::Deadline)), "{error}");
        assert!(began.elapsed() < SECOND + 10 * MS);
        core.echo(TWO, 2, SECOND).await.unwrap();
    });
    let deadline = cluster.core(TWO).record.borrow().kept[0].deadline();
    assert!(deadline > cluster.sim.now() - 2 * SECOND && deadline <= cluster.sim.now() + SECOND);
    assert_eq!(broken(&cluster, ONE), 0);
    cluster.check();
}

#[test]
fn what_the_other_side_says_instead_of_an_answer() {
    let cluster = pair(11);
    cluster.on(ONE, |core| async move {
        let call = |wish, number| {
            let deadline = time::now() + SECOND;
            core.links.call(TWO, Service::Engine, body(1, number, wish, 0), deadline)
        };
        let declined = call(Wish::Decline, 1).await.unwrap_err();
        assert!(matches!(declined, LinkError::NotDelivered(Undelivered::Declined)));
        let forgotten = call(Wish::Forget, 2).await.unwrap_err();
        assert!(matches!(forgotten, LinkError::InDoubt(Doubt::NotAnswered)));
    });
    cluster.check();
}

#[test]
fn a_node_that_starts_again_replaces_its_earlier_life() {
    let cluster = pair(12);
    cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap() });
    // Power is lost: the first node still believes in its link when the second life calls.
    cluster.sim.crash(2, Loss::Power);
    cluster.start(2, 2);
    cluster.sim.run_for(10 * MS).unwrap();
    cluster.on(TWO, |core| async move {
        core.echo(ONE, 1, SECOND).await.unwrap();
    });
    assert_eq!((ups(&cluster, ONE), broken(&cluster, ONE)), (2, 1));
    cluster.on(ONE, |core| async move { core.echo(TWO, 2, SECOND).await.unwrap() });
    cluster.check();
}

/// Who finishes has its answers arrive before the word that there will be no more of them.
#[test]
fn finished_links_end_behind_what_was_queued() {
    for seed in 0..20 {
        let cluster = pair(400 + seed);
        cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap() });
        cluster.on(TWO, |core| async move {
            for number in 1..=30 {
                let body = body(1, number, Wish::Echo, 40_000);
                core.links.post(ONE, Service::Raft, body).unwrap();
            }
            core.links.finish(SECOND).await;
            let refused = core.links.post(ONE, Service::Raft, body(1, 31, Wish::Echo, 0));
            assert!(matches!(refused, Err(Undelivered::Closed)));
        });
        cluster.sim.run_for(100 * MS).unwrap();
        assert_eq!(cluster.core(ONE).record.borrow().posts, 30, "seed {seed}");
        let told = |event: &LinkEvent| {
            use net::link::Refusal::Finished;
            matches!(event, LinkEvent::Broken { reason: LinkEnd::Refused(Finished), .. })
        };
        assert_eq!(cluster.core(ONE).events(told), 1, "seed {seed}");
        assert_eq!(cluster.sim.network().connections(), 0);
        cluster.check();
    }
}

#[test]
fn closed_links_say_so() {
    let cluster = pair(13);
    cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap() });
    cluster.on(TWO, |core| async move {
        core.links.close();
        let refused = core.links.post(ONE, Service::Raft, body(1, 1, Wish::Echo, 0));
        assert!(matches!(refused, Err(Undelivered::Closed)));
    });
    cluster.sim.run_for(100 * MS).unwrap();
    let told = |event: &LinkEvent| {
        use net::link::Refusal::Closing;
        matches!(event, LinkEvent::Broken { reason: LinkEnd::Refused(Closing), .. })
    };
    assert_eq!(cluster.core(ONE).events(told), 1);
    assert_eq!(cluster.sim.network().connections(), 0);
    cluster.check();
}
