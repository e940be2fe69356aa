//! One situation a test, as tables: the cluster, and what is decided.

use super::super::Policy;
use super::table::decided;

fn check(cluster: &str, expected: &str) {
    check_with(&Policy::default(), cluster, expected);
}

fn check_with(policy: &Policy, cluster: &str, expected: &str) {
    let expected: Vec<&str> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(decided(cluster, policy), expected.join("\n"), "{cluster}");
}

#[test]
fn a_founder_alone_is_left_alone() {
    check("node 1\n 0: 1*\n 1: 1*", "");
}

#[test]
fn a_second_node_gets_copies_without_a_vote() {
    check("node 1\n node 2\n 0: 1*\n 1: 1*", "0: learner 2\n 1: learner 2");
    // Two voters would stand still when either dies.
    check("node 1\n node 2\n 0: 1* +2\n 1: 1* +2", "");
}

#[test]
fn three_nodes_become_voters_in_one_change() {
    let nodes = "node 1\n node 2\n node 3\n";
    check(&format!("{nodes} 0: 1* +2"), "0: learner 3");
    check(&format!("{nodes} 0: 1* +2 +3(5000)"), "");
    check(&format!("{nodes} 0: 1* +2 +3(?)"), "");
    check(&format!("{nodes} 0: 1* +2 +3(10)"), "0: vote 2 3");
}

#[test]
fn a_balanced_cluster_is_left_alone() {
    check(
        "node 1\n node 2\n node 3\n
         0: 1* 2 3\n 1: 1 2* 3\n 2: 1 2 3*\n 3: 1* 2 3",
        "",
    );
}

#[test]
fn a_dead_node_is_replaced_only_after_a_while() {
    let cluster = |dead: &str, partition: &str| {
        format!("node 1\n node 2\n node 3 {dead}\n node 4\n 0: {partition}")
    };
    check(&cluster("dead=299s", "1* 2 3"), "");
    check(&cluster("dead=300s", "1* 2 3"), "0: learner 4");
    check(&cluster("dead=400s", "1* 2 3 +4"), "0: vote 4, not 3");
    // It came back: as good as before, and the learner is on a node that has nothing else.
    check(&cluster("", "1* 2 3 +4(9999)"), "");
    check(&cluster("dead=10s", "1* 2 3 +4"), "");
}

#[test]
fn an_operator_who_gives_a_node_up_need_not_wait() {
    check("node 1\n node 2\n node 3 dead=1s decommissioned\n node 4\n 0: 1* 2 3", "0: learner 4");
}

#[test]
fn nothing_is_done_without_a_quorum_or_a_leader() {
    check("node 1\n node 2 dead=999s\n node 3 dead=999s\n node 4\n node 5\n 0: 1* 2 3", "");
    check("node 1\n node 2\n node 3 dead=999s\n node 4\n 0: 1 2 3", "");
}

#[test]
fn a_suspect_keeps_what_it_has_and_gets_nothing() {
    check("node 1\n node 2\n node 3 suspect\n node 4 suspect\n 0: 1* 2\n 1: 3* 1 2", "");
    // Giving 3 up while 2 may be dead could leave one voter of three.
    check("node 1\n node 2 suspect\n node 3 dead=900s\n node 4\n 0: 1* 2 3 +4", "");
}

#[test]
fn a_draining_node_gives_leaders_away_before_replicas() {
    let nodes = "node 1\n node 2\n node 3 draining\n node 4\n";
    check(&format!("{nodes} 0: 1 2 3*\n 1: 1* 2 3"), "0: lead 2");
    check(&format!("{nodes} 0: 1 2* 3\n 1: 1* 2 3"), "0: learner 4\n 1: learner 4");
    check(&format!("{nodes} 0: 1 2* 3 +4"), "0: vote 4, not 3");
}

#[test]
fn the_only_voter_of_a_draining_node_goes_with_its_leader() {
    let policy = Policy { replication_factor: 1, ..Policy::default() };
    check_with(&policy, "node 1 draining\n node 2\n 0: 1*", "0: learner 2");
    check_with(&policy, "node 1 draining\n node 2\n 0: 1* +2", "0: vote 2, not 1");
}

#[test]
fn a_draining_node_keeps_what_nobody_else_can_take() {
    check("node 1\n node 2\n node 3 draining\n 0: 1* 2 3", "");
    check("node 1\n node 2\n node 3 draining\n node 4 disk=950\n 0: 1* 2 3", "");
}

#[test]
fn replicas_move_to_where_no_other_is() {
    check(
        "node 1 region=eu,zone=a\n node 2 region=eu,zone=a\n node 3 region=eu,zone=b\n
         node 4 region=eu,zone=c\n
         0: 1* 2 3",
        "0: learner 4",
    );
    // The leader stays, and the one that is near it goes.
    check(
        "node 1 region=eu,zone=a\n node 2 region=eu,zone=a\n node 3 region=eu,zone=b\n
         node 4 region=eu,zone=c\n
         0: 1* 2 3 +4",
        "0: vote 4, not 2",
    );
    // Another region counts for more than another zone.
    check(
        "node 1 region=eu,zone=a\n node 2 region=eu,zone=b\n node 3 region=eu,zone=c\n
         node 4 region=us,zone=d\n node 5 region=eu,zone=d\n
         0: 1* 2 3",
        "0: learner 4",
    );
}

#[test]
fn a_voter_is_replaced_in_its_own_zone_where_the_others_are_taken() {
    check(
        "node 1 zone=a\n node 2 zone=b\n node 3 zone=c dead=400s\n node 4 zone=a\n node 5 zone=c\n
         0: 1* 2 3",
        "0: learner 5",
    );
}

#[test]
fn a_new_node_gets_its_share_and_no_more() {
    let cluster = "node 1\n node 2\n node 3\n node 4\n
        0: 1* 2 3\n 1: 1 2* 3\n 2: 1 2 3*\n 3: 1* 2 3";
    check(cluster, "1: learner 4\n 0: learner 4\n 3: learner 4");
}

#[test]
fn a_node_of_more_cores_gets_more() {
    let policy = Policy { replication_factor: 1, ..Policy::default() };
    check_with(
        &policy,
        "node 1 cores=1\n node 2 cores=3\n 0: 1*\n 1: 1*\n 2: 2*\n 3: 2*\n 4: 2*\n 5: 2*",
        "",
    );
    check_with(
        &policy,
        "node 1 cores=1\n node 2 cores=3\n 0: 1*\n 1: 1*\n 2: 1*\n 3: 2*",
        "0: learner 2\n 1: learner 2",
    );
}

#[test]
fn leaders_are_spread_and_a_difference_of_one_is_even() {
    let nodes = "node 1\n node 2\n node 3\n";
    check(&format!("{nodes} 0: 1* 2 3\n 1: 1* 2 3\n 2: 1* 2 3"), "0: lead 2\n 1: lead 3");
    check(&format!("{nodes} 0: 1* 2 3\n 1: 1* 2 3\n 2: 1 2* 3\n 3: 1 2 3*"), "");
}

#[test]
fn a_leader_without_a_vote_does_nothing_but_go() {
    let nodes = "node 1\nnode 2\nnode 3\nnode 4\n";
    check(&format!("{nodes} 0: [1*] 2 3 4"), "0: lead 2");
    check(&format!("{nodes} 0: [1*] 2 3 +4"), "0: lead 2");
    // Nobody could lead now: the voters find their leader themselves.
    check("node 1\nnode 2 suspect\nnode 3\n 0: [1*] 2", "");
}

#[test]
fn leaders_are_not_spread_while_one_is_on_its_way() {
    let nodes = "node 1\n node 2\n node 3\n";
    let cluster = format!("{nodes} 0: 1 2 3\n 1: 1 2* 3\n 2: 1 2* 3\n 3: 1 2 3*");
    check(&cluster, "");
    check(&cluster.replace("0: 1 2", "0: 1 2*"), "0: lead 1");
    // One that cannot have a leader is not waited for.
    let lost = "node 4 dead=1s\n node 5 dead=1s\n 9: 3 4 5\n";
    let uneven = format!("{nodes} {lost} 0: 1 2* 3\n 1: 1 2* 3\n 2: 1 2* 3\n 3: 1 2 3*");
    check(&uneven, "0: lead 1");
}

#[test]
fn a_leader_reaches_a_node_it_has_no_replica_on_by_another() {
    let policy = Policy { slack_percent: 0, ..Policy::default() };
    // 1 leads two, 4 none; 1 shares nothing with 4, but 2 does.
    check_with(
        &policy,
        "node 1\n node 2\n node 3\n node 4\n node 5\n node 6\n
         0: 1* 2 3\n 1: 1* 2 3\n 2: 2* 5 4\n 3: 3* 1 6\n 4: 4 5* 6\n 5: 4 5 6*",
        "0: lead 2\n 2: lead 4",
    );
}

#[test]
fn fewer_copies_are_kept_where_fewer_are_wanted() {
    let nodes = "node 1 zone=a\n node 2 zone=a\n node 3 zone=b\n node 4 zone=c\n node 5 zone=d\n";
    check(&format!("{nodes} 0: 1* 2 3 4 5"), "0: not 2 3");
    // Two of them are dead anyway.
    check(
        "node 1\n node 2\n node 3\n node 4 dead=1s\n node 5 dead=1s\n 0: 1* 2 3 4 5",
        "0: not 4 5",
    );
}

#[test]
fn what_was_left_half_done_is_ended_first() {
    check("node 1\n node 2\n node 3\n node 4\n 0: 1* 2 4 (was 1 2 3)", "0: finish the change");
    check("node 1\n node 2\n node 3\n node 4\n 0: 1* 2 4 changing (was 1 2 3)", "");
}

#[test]
fn what_is_under_way_counts() {
    let policy = Policy { steps_max: 2, ..Policy::default() };
    let cluster = "node 1\n node 2\n node 3\n 0: 1*\n 1: 1*\n 2: 1*";
    check_with(&policy, cluster, "0: learner 2\n 1: learner 3");
    check_with(&policy, &cluster.replace("0: 1*", "0: 1* changing"), "1: learner 2");
}

#[test]
fn a_node_fills_a_few_replicas_at_once() {
    let policy = Policy { copies_per_node_max: 2, ..Policy::default() };
    check_with(&policy, "node 1\n node 2\n 0: 1* +2(?)\n 1: 1*\n 2: 1*\n 3: 1*", "1: learner 2");
}

#[test]
fn learners_of_no_use_go() {
    check("node 1\n node 2\n node 3\n node 4 draining\n 0: 1* 2 3 +4", "0: no learner 4");
    check("node 1\n node 2\n node 3\n node 4 dead=999s\n 0: 1* 2 3 +4", "0: no learner 4");
    // Taking a place would make it worse.
    check(
        "node 1 zone=a\n node 2 zone=b\n node 3 zone=c\n node 4 zone=a\n
         0: 1* 2 3 +4\n 1: 2* 3 4\n 2: 2 3* 4",
        "0: no learner 4",
    );
}
