//! Who may serve and who is known to, as pure arithmetic over time.

use super::own::Own;
use super::register::Register;
use super::{LEASE, MARGIN};
use model::id::{NodeId, Term};
use runtime::random;
use runtime::sim::{Options, Sim};
use runtime::time::{self, Instant};
use std::time::Duration;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const SECOND: Duration = Duration::from_secs(1);

/// Runs in the simulator, for a clock.
fn at_start(what: impl FnOnce(Instant)) {
    let sim = Sim::new(Options::new(1));
    sim.run_until(async { what(time::now()) }).expect("it ends");
}

fn settled(term: u64, start: Instant) -> (Register, Instant) {
    let mut register = Register::default();
    register.keep_in(Term(term), start);
    (register, start + LEASE + MARGIN)
}

#[test]
fn a_lease_that_is_over_is_not_renewed() {
    at_start(|start| {
        let (mut register, now) = settled(1, start);
        assert!(!register.renew(A, 2, true, now), "it never had one");
        register.grant(A, 2, now);
        assert_eq!(register.holders(now), Ok(vec![(A, 2)]));
        assert!(register.renew(A, 2, true, now + LEASE), "in time");
        assert!(!register.renew(A, 2, false, now + LEASE), "it says that it has none");
        let over = now + LEASE + LEASE + MARGIN;
        assert_eq!(register.may_hold_until(A, over - SECOND), Some(over));
        assert_eq!(register.may_hold_until(A, over), None);
        assert!(!register.renew(A, 2, true, over), "too late, whatever it says");
        assert_eq!(register.holders(over), Ok(Vec::new()));
    });
}

#[test]
fn a_new_keeper_believes_and_cannot_tell_who_has_none() {
    at_start(|start| {
        let (mut register, since) = settled(1, start);
        register.grant(A, 1, since);
        register.fenced(Term(1));
        let now = since + SECOND;
        register.keep_in(Term(3), now);
        assert!(!register.is_fenced(Term(3)));
        let all_over = now + LEASE + MARGIN;
        assert_eq!(register.holders(now), Err(all_over));
        assert_eq!(register.may_hold_until(B, now), Some(all_over));
        assert!(register.renew(B, 4, true, now + SECOND), "of the keeper before");
        assert!(!register.renew(A, 1, false, now + SECOND));
        register.keep_in(Term(3), now + SECOND);
        assert_eq!(register.holders(all_over), Ok(vec![(B, 4)]), "the same term goes on");
        register.fenced(Term(2));
        assert!(!register.is_fenced(Term(3)), "that was of another term");
    });
}

#[test]
fn a_node_that_is_alone_waits_for_no_lease_but_its_own() {
    at_start(|start| {
        let (mut register, _) = settled(3, start);
        assert!(!register.is_settling_but_for(A, start), "its own may be of the keeper before");
        register.grant(A, 2, start);
        assert!(register.is_settling_but_for(A, start));
        assert!(register.holders(start).is_err());
        register.settle_alone(Term(2));
        assert!(register.holders(start).is_err(), "that was another term");
        register.settle_alone(Term(3));
        assert_eq!(register.holders(start), Ok(vec![(A, 2)]));
        assert!(!register.renew(B, 2, true, start), "nobody else is taken at its word");
        register.keep_in(Term(4), start + SECOND);
        assert!(register.holders(start + SECOND).is_err(), "and the next knows nothing again");
    });
}

#[test]
fn a_node_counts_from_when_it_asked() {
    at_start(|start| {
        let own = Own::default();
        assert!(!own.holds(start));
        own.extend(start, LEASE);
        assert!(own.holds(start + LEASE - SECOND));
        assert!(!own.holds(start + LEASE));
        own.extend(start, SECOND);
        assert_eq!(own.left(start + SECOND), LEASE - SECOND, "what was told is good");
        own.extend(start + SECOND, 100 * LEASE);
        assert_eq!(own.left(start + SECOND), LEASE, "and never for longer than a lease");
        own.end();
        assert!(!own.holds(start));
    });
}

/// Nodes and keepers with messages that take their time: at no moment does a node serve of which the
/// keeper is sure that it does not.
#[test]
fn nobody_serves_whom_the_keeper_takes_to_be_gone() {
    for seed in 0..200 {
        let sim = Sim::new(Options::new(seed));
        sim.run_until(async {
            let start = time::now();
            let (mut register, mut now) = settled(1, start);
            let (own, mut term, mut granted, mut refused) = (Own::default(), 1, 0, 0);
            for _ in 0..500 {
                now += Duration::from_millis(random::below(1_500));
                if random::below(40) == 0 {
                    term += 1;
                    register.keep_in(Term(term), now);
                }
                // The question takes as long as it likes.
                let asked = now;
                let holds = own.holds(asked);
                let slow = random::below(5) == 0;
                now += Duration::from_millis(random::below(if slow { 9_000 } else { 50 }));
                let renewed = register.renew(A, 1, holds, now);
                let answered = now + Duration::from_millis(random::below(50));
                if renewed && answered - asked < MARGIN {
                    own.extend(asked, LEASE);
                    granted += 1;
                } else if !renewed {
                    refused += 1;
                    own.end();
                    // Before it serves again it reads the catalog; the keeper knows of it.
                    register.grant(A, 1, now);
                    if answered - asked < MARGIN {
                        own.extend(asked, LEASE);
                    }
                }
                now = answered;
                for later in 0..80 {
                    let at = now + later * Duration::from_millis(100);
                    let gone = register.may_hold_until(A, at).is_none();
                    assert!(!(gone && own.holds(at)), "seed {seed}");
                }
            }
            assert!(granted > 50 && refused > 5, "{granted} {refused}");
        })
        .expect("it ends");
    }
}
