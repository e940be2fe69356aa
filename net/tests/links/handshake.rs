//! Who gets a link, and who does not.

use crate::node::{CLUSTER, Cluster, MS, SECOND, Wish, body, door, local, place, secret};
use model::placement::Place;
use model::time::{NodeClock, Timestamp};
use net::link::{
    LINK_VERSIONS, LinkEnd, LinkError, LinkEvent, LinkOptions, LocalPeer, Refusal, Secret, Service,
    Undelivered, ask,
};
use runtime::time;
use std::sync::Arc;
use std::time::Duration;

const ONE: Place = Place { node: model::id::NodeId(1), core: model::id::CoreId(0) };
const TWO: Place = Place { node: model::id::NodeId(2), core: model::id::CoreId(0) };

/// Node 1 as usual, and a node 2 that is `second`.
fn beside(seed: u64, second: impl Fn(Place) -> (LocalPeer, Secret)) -> Cluster {
    let cluster = Cluster::empty(seed, 2, 1, LinkOptions::default());
    cluster.start(1, 5);
    cluster.start_as(2, second);
    cluster
}

/// A call in vain; why.
fn failed(cluster: &Cluster, here: Place, there: Place) -> LinkEnd {
    let error = cluster
        .on(here, move |core| async move { core.echo(there, 1, 5 * SECOND).await.unwrap_err() });
    match error {
        LinkError::NotDelivered(Undelivered::Unsent(reason)) => reason,
        other => panic!("{other}"),
    }
}

/// Both call each other in vain; why, as the first and as the second one sees it.
fn refused(cluster: &Cluster) -> [LinkEnd; 2] {
    let ends = [failed(cluster, ONE, TWO), failed(cluster, TWO, ONE)];
    for here in [ONE, TWO] {
        let turned_away = |event: &LinkEvent| matches!(event, LinkEvent::TurnedAway { .. });
        let up = |event: &LinkEvent| matches!(event, LinkEvent::Up { .. });
        assert_eq!(cluster.core(here).events(turned_away), 1);
        assert_eq!(cluster.core(here).events(up), 0);
    }
    cluster.sim.run_for(SECOND).unwrap();
    assert_eq!(cluster.sim.network().connections(), 0);
    ends
}

#[test]
fn a_foreign_cluster_is_refused() {
    let foreign = |place| (LocalPeer { cluster: CLUSTER + 1, ..local(place, 5) }, secret());
    for end in refused(&beside(1, foreign)) {
        assert!(matches!(end, LinkEnd::Refused(Refusal::ForeignCluster)), "{end}");
    }
}

#[test]
fn another_token_is_refused() {
    let guess = |place| (local(place, 5), Secret::new(*b"guess"));
    for end in refused(&beside(2, guess)) {
        assert!(matches!(end, LinkEnd::Refused(Refusal::Secret)), "{end}");
    }
}

#[test]
fn versions_without_one_in_common_are_refused_and_the_highest_common_one_is_spoken() {
    let newer = |place| (LocalPeer { versions: 2..=3, ..local(place, 5) }, secret());
    let [first, second] = refused(&beside(3, newer));
    assert!(matches!(first, LinkEnd::Refused(Refusal::Version { newest: 3 })), "{first}");
    assert!(matches!(second, LinkEnd::Refused(Refusal::Version { newest: 1 })), "{second}");

    for (ours, theirs, spoken) in [(1..=1, 1..=2, 1), (1..=3, 2..=2, 2), (1..=3, 1..=4, 3)] {
        let cluster = Cluster::empty(4, 2, 1, LinkOptions::default());
        for (node, versions) in [(1, ours), (2, theirs)] {
            let who =
                |place| (LocalPeer { versions: versions.clone(), ..local(place, 5) }, secret());
            cluster.start_as(node, who);
        }
        cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap() });
        let up = |event: &LinkEvent| matches!(event, LinkEvent::Up { version, .. } if *version == spoken);
        assert_eq!((cluster.core(ONE).events(up), cluster.core(TWO).events(up)), (1, 1));
    }
}

#[test]
fn somebody_else_at_the_address_is_refused() {
    let other = |_| (local(place(7, 3), 5), secret());
    let cluster = beside(5, other);
    let error = cluster.on(ONE, |core| async move { core.echo(TWO, 1, SECOND).await.unwrap_err() });
    let wrong = |error: &LinkError| {
        let LinkError::NotDelivered(Undelivered::Unsent(end)) = error else { return false };
        matches!(end, LinkEnd::Refused(Refusal::WrongPlace))
    };
    assert!(wrong(&error), "{error}");
    assert_eq!(cluster.core(TWO).record.borrow().posts, 0);
}

#[test]
fn clocks_too_far_apart_are_refused_at_once_and_later() {
    let ordinary = |place| (local(place, 5), secret());
    let cluster = beside(6, ordinary);
    cluster.sim.set_wall_clock(2, 10_000_000_000, 0);
    for (end, sign) in refused(&cluster).iter().zip([-1, 1]) {
        let LinkEnd::Refused(Refusal::Clock { offset_nanos }) = end else { panic!("{end}") };
        // Of the one that is refused, as seen by who refuses it.
        assert!((9_990_000_000..10_010_000_000).contains(&(offset_nanos * sign)), "{offset_nanos}");
    }
    // Below the bound it is told.
    cluster.sim.set_wall_clock(2, 240_000_000, 0);
    cluster.sim.run_for(5 * SECOND).unwrap();
    cluster.on(ONE, |core| async move { core.echo(TWO, 2, SECOND).await.unwrap() });
    let offset = cluster.core(ONE).stats(TWO).unwrap().clock.offset_nanos;
    assert!((239_000_000..241_000_000).contains(&offset), "{offset}");
    // A clock that jumps is noticed while the link is up.
    cluster.sim.set_wall_clock(2, -2_000_000_000, 0);
    cluster.sim.run_for(2 * LinkOptions::default().ping_every).unwrap();
    let apart = |event: &LinkEvent| {
        let LinkEvent::Broken { reason, .. } = event else { return false };
        let (LinkEnd::Refused(why) | LinkEnd::Unwanted(why)) = reason else { return false };
        matches!(why, Refusal::Clock { .. })
    };
    assert_eq!((cluster.core(ONE).events(apart), cluster.core(TWO).events(apart)), (1, 1));
    cluster.check();
}

/// What is compared is the clock by which the nodes go; while one waits for the clock on the wall it has no links.
#[test]
fn a_clock_that_is_set_back_has_no_links_until_it_has_been_waited_for() {
    let clock = Arc::<NodeClock>::default();
    let other = clock.clone();
    let own = move |place| (LocalPeer { clock: Some(other.clone()), ..local(place, 5) }, secret());
    let cluster = beside(7, own);
    let nanos = |seconds: u64| seconds * 1_000_000_000;
    let wall_and_now = || {
        let read = cluster.sim.run_until(async { time::both_clocks() });
        let (wall, now) = read.unwrap();
        (wall.as_nanos(), now.as_nanos())
    };
    let (wall, now) = wall_and_now();
    clock.raise(Timestamp(wall + nanos(3)), now);
    clock.follow(wall, now);
    // The one on the wall is nobody's business.
    cluster.sim.set_wall_clock(2, -60_000_000_000, 0);
    for [here, there] in [[ONE, TWO], [TWO, ONE]] {
        let end = failed(&cluster, here, there);
        let (LinkEnd::Refused(why) | LinkEnd::Unwanted(why)) = end else { panic!("{end}") };
        assert!(matches!(why, Refusal::Clock { offset_nanos: ..0 }), "{why}");
    }
    cluster.sim.run_for(4 * SECOND).unwrap();
    cluster.on(ONE, |core| async move { core.echo(TWO, 2, SECOND).await.unwrap() });
    // And ends those that it has.
    let (wall, now) = wall_and_now();
    clock.follow(wall - nanos(1), now);
    cluster.sim.run_for(2 * LinkOptions::default().ping_every).unwrap();
    let broken = |event: &LinkEvent| matches!(event, LinkEvent::Broken { .. });
    assert_eq!((cluster.core(ONE).events(broken), cluster.core(TWO).events(broken)), (1, 1));
    cluster.check();
}

fn superseded(cluster: &Cluster, home: Place) -> Option<u64> {
    let record = cluster.core(home).record;
    let record = record.borrow();
    record.events.iter().find_map(|event| match event {
        LinkEvent::Superseded { incarnation } => Some(*incarnation),
        _ => None,
    })
}

#[test]
fn of_two_processes_with_one_id_the_earlier_one_loses_and_is_told() {
    let three = place(3, 0);
    for (second, loser, newest) in [(9, TWO, 9), (3, three, 5)] {
        for speaks in [true, false] {
            let cluster = Cluster::empty(7, 3, 1, LinkOptions::default());
            (1..=2).for_each(|node| cluster.start(node, 5));
            cluster.on(TWO, |core| async move { core.echo(ONE, 1, SECOND).await.unwrap() });
            // Another process with node 2's id, at another address.
            cluster.start_as(3, |_| (local(TWO, second), secret()));
            if speaks {
                let outcome = cluster.on(three, |core| core_echo(core, ONE));
                assert_eq!(outcome.is_ok(), loser == TWO, "{outcome:?}");
            } else {
                // The first node was given its address, and calls it.
                cluster.on(ONE, move |core| async move {
                    core.links.forget(TWO.node);
                    core.links.set_address(TWO, door(three));
                    let outcome = core.echo(TWO, 1, SECOND).await;
                    assert_eq!(outcome.is_ok(), loser == TWO, "{outcome:?}");
                });
            }
            cluster.sim.run_for(SECOND).unwrap();
            // An end by `forget` tells nothing of other lives; whoever calls next is told.
            if !speaks && loser == TWO {
                let outcome = cluster.on(TWO, |core| core_echo(core, ONE));
                assert!(outcome.is_err());
            }
            assert_eq!(superseded(&cluster, loser), Some(newest), "second {second}, {speaks}");
            let winner = if loser == TWO { three } else { TWO };
            assert_eq!(superseded(&cluster, winner), None);
            let outcome = cluster.on(winner, |core| async move {
                time::sleep(3 * SECOND).await;
                core.echo(ONE, 77, SECOND).await
            });
            assert!(outcome.is_ok(), "{outcome:?}");
            cluster.check();
        }
    }
}

async fn core_echo(core: crate::node::Core, to: Place) -> Result<(), LinkError> {
    core.echo(to, 50, SECOND).await
}

#[test]
fn a_node_without_an_id_asks_whoever_is_there() {
    let cluster = Cluster::new(8, 1, 1, LinkOptions::default());
    let question = |secret: Secret, patience: Duration, wish| {
        let stranger = LocalPeer::stranger(1, "test".to_owned());
        let deadline = cluster.sim.now() + patience;
        let asking = async move {
            let (service, body) = (Service::Router, body(1, 1, wish, 100_000));
            ask(door(ONE), &stranger, &secret, &LinkOptions::default(), service, body, deadline)
                .await
        };
        cluster.sim.run_until(asking).unwrap()
    };
    let (who, answer) = question(secret(), SECOND, Wish::Echo).unwrap();
    assert_eq!((who, answer), (ONE, body(1, 1, Wish::Echo, 100_000)));
    let guess = question(Secret::new(*b"guess"), SECOND, Wish::Echo).unwrap_err();
    assert!(guess.is_safe_to_repeat(), "{guess}");
    let declined = question(secret(), SECOND, Wish::Decline).unwrap_err();
    assert!(declined.is_safe_to_repeat(), "{declined}");
    cluster.core(ONE).record.borrow_mut().acted.clear();
    let slow = question(secret(), 8 * SECOND, Wish::Keep).unwrap_err();
    assert!(!slow.is_safe_to_repeat(), "{slow}");
    cluster.sim.run_for(10 * MS).unwrap();
    assert_eq!(cluster.sim.network().connections(), 0);
    let broken = |event: &LinkEvent| matches!(event, LinkEvent::Broken { .. });
    assert_eq!(cluster.core(ONE).events(broken), 0, "a stranger's end is no broken link");
    assert_eq!(*LINK_VERSIONS.end(), 1);
    cluster.check();
}
