//! What the detector is for, at sizes of 3, 5 and 100 nodes.

use super::super::Settings;
use super::world::World;
use crate::cluster::decide::{Liveness, Load};
use model::id::NodeId;
use std::time::Duration;

const SIZES: [u32; 3] = [3, 5, 100];

/// A world in which all know each other.
fn met(count: u32, settings: Settings, seed: u64) -> World {
    let mut world = World::new(count, settings, seed);
    world.until(Duration::from_secs(20), |world| world.mistaken() == 0);
    // What there was to be told of that has been told.
    world.seconds(30);
    world
}

#[test]
fn a_death_is_noticed_by_all_within_a_bounded_time() {
    for count in SIZES {
        let mut slowest = Duration::ZERO;
        for seed in 0..if count > 10 { 2 } else { 12 } {
            let mut world = met(count, Settings::default(), seed);
            world.kill(2);
            let others = world.living();
            let all = |world: &World| world.take_for_dead(2) == others;
            slowest = slowest.max(world.until(Duration::from_secs(25), all));
            assert_eq!(world.mistaken(), 0, "nobody else is taken for dead");
        }
        println!("{count} nodes: a death is noticed by all within {slowest:?}");
        assert!(slowest < Duration::from_secs(if count > 10 { 18 } else { 10 }), "{slowest:?}");
    }
}

#[test]
fn nobody_is_taken_for_dead_where_a_fifth_of_all_is_lost() {
    for count in SIZES {
        let seeds = if count > 10 { 1 } else { 6 };
        let (mut deaths, mut suspicions) = (0, 0);
        for seed in 0..seeds {
            let mut world = met(count, Settings::default(), seed);
            world.loss_percent = 20;
            for _ in 0..if count > 10 { 100 } else { 400 } {
                world.seconds(1);
                deaths += world.mistaken();
                suspicions += (2..=count)
                    .filter(|node| world.liveness(*node, 1) == Liveness::Suspect)
                    .count();
            }
        }
        println!("{count} nodes, 20 % lost: {deaths} false deaths, {suspicions} looks at suspects");
        assert_eq!(deaths, 0);
        assert!(suspicions > 0, "a loss that nobody notices tests nothing");
    }
}

#[test]
fn one_that_returns_is_back_at_once() {
    for count in SIZES {
        let mut world = met(count, Settings::default(), 3);
        world.kill(2);
        world.seconds(60);
        assert_eq!(world.take_for_dead(2), world.living());
        world.start(2);
        let back = world.until(Duration::from_secs(15), |world| world.mistaken() == 0);
        println!("{count} nodes: one that returns is back with all after {back:?}");
        assert!(back < Duration::from_secs(5), "{back:?}");
    }
}

#[test]
fn two_halves_find_each_other_again() {
    for count in SIZES {
        let mut world = met(count, Settings::default(), 4);
        world.cut_off = (1..=count / 2).map(NodeId).collect();
        world.seconds(60);
        let (one, another) = (count / 2, count - count / 2);
        assert_eq!(world.mistaken() as u32, 2 * one * another, "{count} nodes");
        world.cut_off.clear();
        let healed = world.until(Duration::from_secs(120), |world| world.mistaken() == 0);
        println!("{count} nodes: two halves are one again after {healed:?}");
        assert!(healed < Duration::from_secs(60), "{healed:?}");
    }
}

#[test]
fn a_suspect_that_is_heard_of_again_refutes() {
    // At once, and when all has been said of it that is said unasked.
    for cut in [Duration::ZERO, Duration::from_millis(2_200)] {
        let mut world = met(5, Settings::default(), 5);
        world.cut_off = [NodeId(2)].into();
        world.until(Duration::from_secs(10), |world| world.liveness(2, 1) == Liveness::Suspect);
        world.run(cut, |_| {});
        world.cut_off.clear();
        let mut deaths = 0;
        world.run(Duration::from_secs(30), |world| deaths += world.take_for_dead(2));
        assert_eq!(deaths, 0, "after {cut:?}");
        assert_eq!(world.liveness(2, 1), Liveness::Alive);
        assert_eq!(world.node(2).me().life.renewal, 0, "there was no need for another life");
    }
}

#[test]
fn one_that_was_taken_for_dead_lives_on_in_another_life() {
    let mut world = met(5, Settings::default(), 6);
    world.cut_off = [NodeId(2)].into();
    world.until(Duration::from_secs(30), |world| world.take_for_dead(2) == 4);
    world.cut_off.clear();
    world.until(Duration::from_secs(30), |world| world.mistaken() == 0);
    assert!(world.node(2).me().life.renewal > 0);
    // It is remembered where it is reached.
    let peer = world.node(1).others().find(|peer| peer.node == NodeId(2)).cloned();
    let peer = peer.expect("it is there");
    assert_eq!(
        peer.address(1).map(|address| address.to_string()).as_deref(),
        Some("10.0.0.2:7501")
    );
}

#[test]
fn one_that_says_goodbye_need_not_be_found_dead() {
    let mut world = met(5, Settings::default(), 7);
    let now = world.now;
    world.node(2).leave(now);
    // Its last words go out with the next look at it.
    world.run(Duration::from_millis(300), |_| {});
    world.kill(2);
    let known = world.until(Duration::from_secs(5), |world| world.take_for_dead(2) == 4);
    assert!(known < Duration::from_secs(2), "{known:?}");
}

#[test]
fn loads_are_told_on() {
    for count in SIZES {
        let mut world = met(count, Settings::default(), 8);
        world.loss_percent = 20;
        for busy_permille in [100, 200] {
            world.node(2).report(Load { busy_permille, disk_used_permille: 7 });
        }
        world.seconds(15);
        for by in (1..=count).filter(|by| *by != 2) {
            let load = world.node(by).load(NodeId(2));
            assert_eq!(load, Some(Load { busy_permille: 200, disk_used_permille: 7 }), "by {by}");
        }
    }
}

#[test]
fn traffic_is_bounded_whatever_the_size() {
    for count in SIZES {
        let mut world = met(count, Settings::default(), 9);
        let traffic = |what: &str, world: &mut World| {
            (world.sent, world.sent_bytes) = (0, 0);
            for second in 0..60 {
                if what == "loads" && second % 10 == 0 {
                    let load = Load { busy_permille: second, disk_used_permille: 0 };
                    (1..=count).for_each(|node| world.node(node).report(load));
                }
                world.seconds(1);
            }
            let per_node_second = 60.0 * f64::from(count);
            let datagrams = world.sent as f64 / per_node_second;
            let bytes = world.sent_bytes as f64 / per_node_second;
            println!(
                "{count} nodes, {what}: {datagrams:.1} datagrams, {bytes:.0} B a node a second"
            );
            (datagrams, bytes)
        };
        let (datagrams, bytes) = traffic("quiet", &mut world);
        assert!(datagrams < 3.0 && bytes < 200.0, "{datagrams} {bytes}");
        let (datagrams, bytes) = traffic("loads", &mut world);
        assert!(datagrams < 20.0 && bytes < 20_000.0, "{datagrams} {bytes}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut world = met(5, Settings::default(), seed);
        world.loss_percent = 30;
        world.seconds(60);
        (world.sent, world.sent_bytes)
    };
    assert_eq!(run(10), run(10));
    assert_ne!(run(10), run(11));
}
