//! Ways through a third node.

use crate::node::{Cluster, Core, MS, SECOND, Wish, body, door, place};
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

/// How often a core was told that a place is lost.
fn lost(cluster: &Cluster, here: Place, there: Place) -> usize {
    cluster.core(here).events(|event| match event {
        LinkEvent::Broken { place, .. } | LinkEvent::Failed { place, .. } => *place == there,
        _ => false,
    })
}

/// Nodes 1 and 3 have links with node 2 and do not reach each other.
fn apart(seed: u64) -> Cluster {
    let cluster = three(seed);
    for core in [place(1, 0), place(3, 0)] {
        let two = place(2, 0);
        cluster.on(core, move |core| async move { core.echo(two, 1, SECOND).await.unwrap() });
    }
    cut_both_ways(&cluster, 1, 3);
    cluster
}

fn cut_both_ways(cluster: &Cluster, one: u32, two: u32) {
    cluster.sim.network().cut(one, two);
    cluster.sim.network().cut(two, one);
}

#[test]
fn who_says_nothing_hears_that_the_third_node_has_lost_the_other() {
    let (one, three_) = (place(1, 0), place(3, 0));
    for seed in 20..24 {
        let cluster = apart(seed);
        cluster.on(one, move |core| reach(core, three_, 10));
        let before = lost(&cluster, one, three_);
        cluster.sim.run_for(10 * SECOND).unwrap();
        assert_eq!(lost(&cluster, one, three_), before, "seed {seed}: it is there");
        cut_both_ways(&cluster, 2, 3);
        cluster.sim.run_for(4 * SECOND).unwrap();
        assert_eq!(lost(&cluster, one, three_), before + 1, "seed {seed}");
        cluster.check();
    }
}

/// Who has asked by a detour waits for what is sent back, and would not hear that it was not sent.
#[test]
fn a_detour_goes_back_though_nobody_knows_the_address() {
    let (one, three_) = (place(1, 0), place(3, 0));
    for seed in 25..28 {
        let cluster = apart(seed);
        cluster.on(three_, move |core| async move { core.links.forget(one.node) });
        cluster.on(one, move |core| reach(core, three_, 10));
        cluster.on(three_, move |core| async move {
            let post = body(1, 1, Wish::Echo, 10);
            core.links.post(one, Service::Gossip, post).unwrap();
            core.echo(one, 2, SECOND).await.unwrap();
        });
        cluster.check();
    }
}

/// Asks `three_` something that is never answered, when there is a way; when that is known, and what became of it.
async fn ask_in_vain(core: Core, to: Place) -> (time::Instant, time::Instant) {
    reach(core.clone(), to, 10).await;
    let asked = time::now();
    let call = body(1, 500, Wish::Keep, 0);
    let error = core.links.call(to, Service::Engine, call, asked + 600 * SECOND).await.unwrap_err();
    assert!(!error.is_safe_to_repeat(), "{error}");
    (asked, time::now())
}

/// Who is given up by a place has what it asked there fail, though its own way is good and it says nothing.
#[test]
fn who_was_given_up_hears_it() {
    let (one, three_) = (place(1, 0), place(3, 0));
    for seed in 30..34 {
        for forgets in [false, true] {
            let cluster = apart(seed);
            let asking = cluster.begin(one, move |core| ask_in_vain(core, three_));
            cluster.sim.run_for(1_500 * MS).unwrap();
            if !forgets {
                // What waits for a link that cannot be made is lost with what came otherwise meanwhile.
                cluster.on(three_, move |core| async move {
                    let post = body(1, 1, Wish::Echo, 10);
                    core.links.post(one, Service::Gossip, post).unwrap();
                });
            }
            cluster.sim.run_for(1_500 * MS).unwrap();
            assert_eq!(cluster.core(three_).record.borrow().kept.len(), 1, "seed {seed}");
            let before = lost(&cluster, three_, one);
            if forgets {
                cluster.on(three_, move |core| async move { core.links.forget(one.node) });
            } else {
                cluster.sim.run_for(SECOND).unwrap();
            }
            assert!(lost(&cluster, three_, one) > before, "seed {seed}: it was not given up");
            let given_up = cluster.sim.now();
            let (asked, failed) = cluster.end(asking).unwrap();
            assert!(asked < given_up, "seed {seed}");
            let late = failed.saturating_since(given_up);
            assert!(late < SECOND, "seed {seed}, forgets {forgets}: {late:?}");
            cluster.check();
        }
    }
}

/// Posts to a place every 10 ms, and asks it something; for ever.
async fn talk(core: Core, to: Place) {
    let mut posted = 0;
    for number in 1_000.. {
        let post = body(core.life, posted + 1, Wish::Echo, 10);
        posted += u64::from(core.links.post(to, Service::Gossip, post).is_ok());
        if number % 10 == 0 {
            // It is given up again and again.
            let _sometimes = core.echo(to, number, 200 * MS).await;
        }
        time::sleep(10 * MS).await;
    }
}

/// Both ends give each other up, with and without a memory of it, at any moments; then there is peace.
#[test]
fn who_gave_each_other_up_are_together_again_and_stay() {
    let (one, two, three_) = (place(1, 0), place(2, 0), place(3, 0));
    for seed in 40..60 {
        let cluster = apart(seed);
        for (here, there) in [(one, three_), (three_, one)] {
            cluster.begin(here, move |core| talk(core, there)).detach();
        }
        cluster.sim.run_for(5 * SECOND).unwrap();
        for _ in 0..30 {
            let random = cluster.sim.random();
            match random.below(4) {
                0 => drop(cluster.sim.network().drop_connections(1, 2)),
                1 => drop(cluster.sim.network().drop_connections(2, 3)),
                side => {
                    let (here, there) = if side == 2 { (one, three_) } else { (three_, one) };
                    cluster.on(here, move |core| async move {
                        core.links.forget(there.node);
                        core.links.set_address(there, door(there));
                    });
                }
            }
            let pause = random.duration(MS / 10, 700 * MS);
            cluster.sim.run_for(pause).unwrap();
        }
        for here in [one, three_] {
            cluster.on(here, move |core| async move { core.echo(two, 9, SECOND).await.unwrap() });
        }
        cluster.sim.run_for(5 * SECOND).unwrap();
        let before = (lost(&cluster, one, three_), lost(&cluster, three_, one));
        cluster.sim.run_for(10 * SECOND).unwrap();
        let after = (lost(&cluster, one, three_), lost(&cluster, three_, one));
        assert_eq!(before, after, "seed {seed}: it ends again and again");
        for (here, there) in [(one, three_), (three_, one)] {
            let echo = cluster.on(here, move |core| async move {
                core.echo(there, 1 << 40, 100 * MS).await.map_err(|error| error.to_string())
            });
            assert_eq!(echo, Ok(()), "seed {seed}: {here:?}");
        }
        cluster.check();
    }
}
