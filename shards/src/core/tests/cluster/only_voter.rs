//! A group of one voter that moves to another node.

use super::*;

/// Has another node be the only voter, and cuts off the one that was before it hears that it is, or not.
/// Returns who led before.
fn move_to(sim: &Sim, board: &Board, to: NodeId, cut: bool) -> NodeId {
    let from = leader(board).unwrap();
    let voters = BTreeSet::from([to]);
    let only = voters.clone();
    let changing = async move |engine: Engine| {
        engine.change_group(PARTITION, Change::AddLearner(to)).await?;
        engine.change_group(PARTITION, Change::SetVoters(voters)).await
    };
    let changing = Work::begin(board, from.0, changing);
    let is_only = || group(board, to.0).unwrap().voters == [only.clone()];
    let limit = sim.now() + Duration::from_secs(10);
    while !is_only() {
        // An answer takes longer than this.
        sim.run_for(Duration::from_micros(50)).unwrap();
        assert!(sim.now() < limit, "the voters do not change");
    }
    match cut && from != to {
        true => board.set_cut(from, true),
        false => changing.end(sim, "a change of voters").unwrap(),
    }
    from
}

/// openraft has an only voter elect itself at once, while the one that led before holds its lease.
#[test]
fn an_only_voter_serves_when_nobody_else_does_any_more() {
    for seed in 0..20 {
        let (sim, board) = cluster(seed, 2);
        let serves = |node: NodeId| {
            let serving = async |engine: Engine| engine.serves_in(PARTITION).is_some();
            Work::begin(&board, node.0, serving)
        };
        for to in [1, 2, 1, 2].map(NodeId) {
            // Who votes no more, and is cut off, does not hear who leads.
            let from = move_to(&sim, &board, to, seed % 2 == 1);
            let serves_alone = || {
                let (old, new) = (serves(from), serves(to));
                let (old, new) = (old.end(&sim, "an answer"), new.end(&sim, "an answer"));
                let both = from != to && old && new;
                assert!(!both, "seed {seed}: nodes {from} and {to} serve the partition");
                new
            };
            until(&sim, "the next leader serves", Duration::from_secs(10), serves_alone);
            for _ in 0..200 {
                assert!(serves_alone());
            }
            board.set_cut(from, false);
            sim.run_for(Duration::from_secs(2)).unwrap();
        }
    }
}
