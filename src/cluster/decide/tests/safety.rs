//! Which changes of voters are safe: the last word, whatever led to the change.

use super::super::work::Work;
use super::super::{Policy, Snapshot};
use super::table;
use model::id::NodeId;

/// Whether nodes 1 to 4 alive, 5 suspect, 6 dead and 7 draining may go from some voters to others.
fn is_safe(factor: u16, old: &[u32], new: &[u32]) -> bool {
    let cluster: Snapshot = table::snapshot(
        "node 1\n node 2\n node 3\n node 4\n node 5 suspect\n node 6 dead=999s\n node 7 draining",
    );
    let policy = Policy { replication_factor: factor, ..Policy::default() };
    let nodes = |ids: &[u32]| ids.iter().map(|id| NodeId(*id)).collect::<Vec<_>>();
    Work::new(&cluster, &policy).is_safe(&nodes(old), &nodes(new))
}

#[test]
fn as_many_may_fail_as_before() {
    assert!(is_safe(3, &[1, 2, 6], &[1, 2, 3]));
    assert!(is_safe(3, &[1, 2, 7], &[1, 2, 3]));
    assert!(!is_safe(3, &[1, 2, 3], &[1, 2, 6]));
    assert!(!is_safe(3, &[1, 2, 3], &[1]));
    assert!(is_safe(1, &[1, 2, 3], &[1]), "fewer are wanted");
    assert!(!is_safe(3, &[1, 2, 6], &[1]), "a copy that lives would be given up");
    assert!(!is_safe(5, &[1, 2, 3], &[1, 2, 3, 5, 6]), "more voters, and fewer may fail");
}

#[test]
fn even_counts_are_no_place_to_rest() {
    assert!(!is_safe(3, &[1], &[1, 2]));
    assert!(is_safe(3, &[1], &[1, 2, 3]));
    assert!(!is_safe(3, &[1, 2, 3], &[1, 2]));
    assert!(is_safe(3, &[1, 2], &[1, 2, 3]));
}

#[test]
fn what_is_uncertain_counts_against_the_change() {
    // If 5 is dead, 1 alone cannot agree to anything.
    assert!(!is_safe(3, &[1, 5, 6], &[1, 5, 2]));
    // Five that are there, of which one may be gone, are not to become four.
    assert!(!is_safe(5, &[1, 2, 3, 4, 7], &[1, 2, 3, 4, 5]));
    assert!(is_safe(5, &[1, 2, 3, 5, 6], &[1, 2, 3, 4, 7]));
}
