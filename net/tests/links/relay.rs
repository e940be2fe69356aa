//! Ways through a third node.

use crate::node::{Cluster, Core, MS, SECOND, Wish, body, place};
use model::placement::Place;
use net::link::{LinkEvent, LinkOptions, Service};
use runtime::sim::Loss;
use runtime::time;

fn three(seed: u64) -> Cluster {
    Cluster::new(seed, 3, 1, LinkOptions::default())
}

/// Tries until a call comes back; how long it took.
async fn reach(core: Core, to: Place, first: u64) -> std::time::Duration {
    let began = time::now();
    for number in first.. {
        if core.echo(to, number, 5 * SECOND).await.is_ok() {
            break;
        }
        time::sleep(20 * MS).await;
    }
    began.elapsed()
}

fn is_relayed(event: &LinkEvent) -> bool {
    matches!(event, LinkEvent::Relayed { .. })
}

#[test]
fn a_cut_between_two_leaves_the_way_through_the_third() {
    let (one, two, three_) = (place(1, 0), place(2, 0), place(3, 0));
    for (seed, cuts) in [(1, vec![(1, 3)]), (2, vec![(3, 1)]), (3, vec![(1, 3), (3, 1)])] {
        for linked_before in [false, true] {
            let cluster = three(seed);
            for core in [one, three_] {
                cluster
                    .on(core, move |core| async move { core.echo(two, 1, SECOND).await.unwrap() });
            }
            if linked_before {
                cluster.on(one, move |core| reach(core, three_, 10));
            }
            cuts.iter().for_each(|&(from, to)| cluster.sim.network().cut(from, to));
            // At most: to notice the silence, and to fail to connect.
            let took = cluster.on(one, move |core| reach(core, three_, 100));
            assert!(took < 8 * SECOND, "seed {seed}: {took:?}");
            assert!(cluster.core(one).events(is_relayed) > 0);
            assert!(cluster.core(three_).events(is_relayed) > 0);
            // It stays quick, both ways, with messages of any length, and in order.
            cluster.on(three_, move |core| reach(core, one, 100));
            let took = cluster.on(one, move |core| async move {
                let began = time::now();
                for number in 1_000..1_050 {
                    core.echo(three_, number, SECOND).await.unwrap();
                    let long = if number % 7 == 0 { 100_000 } else { 10 };
                    let post = body(1, number - 999, Wish::Echo, long);
                    core.links.post(three_, Service::Gossip, post).unwrap();
                }
                began.elapsed()
            });
            assert!(took < SECOND, "{took:?}");
            cluster.sim.run_for(SECOND).unwrap();
            assert_eq!(cluster.core(three_).record.borrow().posts, 50);
            assert!(cluster.core(two).stats(three_).unwrap().relayed >= 50);
            // Healed, messages go directly again.
            cluster.sim.network().heal();
            cluster.on(one, move |core| async move {
                let healed = time::now();
                for number in 2_000.. {
                    // Calls that are under way when it happens may be in doubt.
                    let _sometimes = core.echo(three_, number, SECOND).await;
                    if core.stats(three_).is_some_and(|stats| stats.up) {
                        break;
                    }
                    time::sleep(20 * MS).await;
                }
                assert!(healed.elapsed() < 8 * SECOND, "{:?}", healed.elapsed());
                let before = core.stats(three_).unwrap().relayed;
                core.echo(three_, 9_999, SECOND).await.unwrap();
                assert_eq!(core.stats(three_).unwrap().relayed, before);
            });
            cluster.check();
        }
    }
}

#[test]
fn a_node_that_is_gone_is_not_found_by_a_detour() {
    let (one, two, three_) = (place(1, 0), place(2, 0), place(3, 0));
    let cluster = three(4);
    cluster.on(one, move |core| async move { core.echo(two, 1, SECOND).await.unwrap() });
    cluster.sim.crash(3, Loss::Process);
    cluster.on(one, move |core| async move {
        for number in 1..50 {
            let began = time::now();
            let error = core.echo(three_, number, 5 * SECOND).await.unwrap_err();
            assert!(error.is_safe_to_repeat(), "{error}");
            assert!(began.elapsed() < 100 * MS, "{:?}", began.elapsed());
            time::sleep(100 * MS).await;
        }
    });
    cluster.check();
}

#[test]
fn a_node_that_starts_again_is_reached_directly_or_not_at_all() {
    let (one, two, three_) = (place(1, 0), place(2, 0), place(3, 0));
    for seed in 10..20 {
        let cluster = three(seed);
        for core in [one, two] {
            cluster
                .on(core, move |core| async move { core.echo(three_, 1, SECOND).await.unwrap() });
        }
        cluster.on(one, move |core| async move { core.echo(two, 1, SECOND).await.unwrap() });
        cluster.sim.crash(3, Loss::Process);
        let asking = cluster.begin(one, move |core| async move {
            let mut answered = 0;
            for number in 100..1_100 {
                match core.echo(three_, number, SECOND).await {
                    Ok(()) => answered += 1,
                    // What was under way when it stopped is in doubt, and nothing after that.
                    Err(error) => assert!(error.is_safe_to_repeat() || number == 100, "{error}"),
                }
                time::sleep(5 * MS).await;
            }
            answered
        });
        cluster.sim.run_for(SECOND).unwrap();
        cluster.start(3, 2);
        cluster.on(two, move |core| reach(core, three_, 5_000));
        let answered = cluster.end(asking).unwrap();
        assert!(answered > 300, "seed {seed}: {answered}");
        assert_eq!(cluster.core(one).events(is_relayed), 0, "seed {seed}");
        cluster.check();
    }
}

#[test]
fn an_attempt_that_fails_leaves_the_detour_alone() {
    let (one, two, three_) = (place(1, 0), place(2, 0), place(3, 0));
    let cluster = three(6);
    for core in [one, three_] {
        cluster.on(core, move |core| async move { core.echo(two, 1, SECOND).await.unwrap() });
    }
    cluster.sim.network().cut(1, 3);
    cluster.on(one, move |core| reach(core, three_, 10));
    let failed =
        |event: &LinkEvent| matches!(event, LinkEvent::Failed { .. } | LinkEvent::Broken { .. });
    let (before, attempts) = (cluster.core(one).events(failed), cluster.core(one).stats(three_));
    cluster.on(one, move |core| async move {
        for number in 1_000..2_000 {
            core.echo(three_, number, SECOND).await.unwrap();
            time::sleep(20 * MS).await;
        }
    });
    let tried = cluster.core(one).stats(three_).unwrap().failures - attempts.unwrap().failures;
    assert!(tried > 2, "{tried}");
    assert_eq!(cluster.core(one).events(failed), before);
    cluster.check();
}

#[test]
fn the_end_of_the_third_node_fails_what_went_through_it() {
    let (one, two, three_) = (place(1, 0), place(2, 0), place(3, 0));
    let cluster = three(5);
    cluster.on(three_, move |core| async move { core.echo(two, 1, SECOND).await.unwrap() });
    cluster.on(one, move |core| async move { core.echo(two, 1, SECOND).await.unwrap() });
    cluster.sim.network().cut(1, 3);
    cluster.on(one, move |core| reach(core, three_, 10));
    let kept = cluster.begin(one, move |core| async move {
        let deadline = time::now() + 600 * SECOND;
        let call = core.links.call(three_, Service::Engine, body(1, 500, Wish::Keep, 0), deadline);
        call.await.unwrap_err()
    });
    cluster.sim.run_for(SECOND).unwrap();
    assert_eq!(cluster.core(three_).record.borrow().kept.len(), 1);
    let broken =
        |event: &LinkEvent| matches!(event, LinkEvent::Broken { place, .. } if place.node.0 != 2);
    let before = cluster.core(three_).events(broken);
    cluster.sim.crash(2, Loss::Process);
    let error = cluster.end(kept).unwrap();
    assert!(!error.is_safe_to_repeat(), "{error}");
    cluster.sim.run_for(SECOND).unwrap();
    assert_eq!(cluster.core(three_).events(broken), before + 1);
    assert_eq!(cluster.core(one).events(broken), 1);
    cluster.check();
}
