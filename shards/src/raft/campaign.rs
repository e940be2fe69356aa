//! An early campaign: the link with the leader has broken.
//!
//! Whose leader only says nothing waits long before it stands for election, since a busy host or a slow
//! network may be all that there is. A link that breaks says more: a process that is killed closes its
//! connections at once, on all nodes. It is no proof, and nobody's vote becomes cheaper by it: each voter
//! keeps the word that it gave to the leader for as long as ever. But nobody waits longer than that.
//!
//! ```text
//!        link breaks                     the voters' word is over: the last one was heard before
//!             │                                │
//!             ▼           ELECTION_MAX         ▼
//!  ───────────┴────────────────────────────────┼──── TURN ────┬──── TURN ────┬──► a leader, or silence:
//!                                              the first      the second         the group's clock goes on
//! ```
//!
//! All replicas hear of the end at the same moment, and would stand in each other's way: two that stand at
//! once vote for themselves. So they take turns from that moment on, which all know, in an order that differs from
//! partition to partition: the new leaders are not all on one node. Who has voted for another stands no more.

use super::group::{ELECTION_MAX, Inner};
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use runtime::task;
use runtime::time::{self, Instant};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// So much later than the one before it each replica stands: long enough for an election.
const TURN: Duration = Duration::from_millis(150);
/// A pre-vote that has led to nothing is repeated.
const AGAIN: Duration = Duration::from_millis(50);
/// Who stands waits so long for votes before it asks anew, and its turn again: the votes may be split.
const VOTES_WITHIN: Duration = Duration::from_millis(300);
/// A campaign is given up so long after its turn.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);
/// What the leader has sent before the link broke is taken within so long.
const STRAGGLES: Duration = Duration::from_millis(100);

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing any more: there is a leader, or a vote was given to who wants to be it.
    End,
    /// To stand for election.
    Stand,
    /// To wait for votes.
    Count,
}

/// The link with a node has broken. If it leads, this replica is to stand for election.
pub(super) fn begin(group: &Rc<Inner>, leader: u64) {
    if group.stands_against.get() == Some(leader) {
        return;
    }
    let Some(turn) = turn(group, leader) else { return };
    group.stands_against.set(Some(leader));
    let campaign = Campaign { leader, broke: time::now(), turn: TURN * turn };
    let running = run(Rc::downgrade(group), campaign);
    *group.campaign.borrow_mut() = Some(task::spawn("raft-campaign", running));
}

/// How many others stand before this replica; `None`: it has no vote, or that node does not lead.
fn turn(group: &Inner, leader: u64) -> Option<u32> {
    let now = group.metrics.borrow_watched();
    let voters = now.membership_config.membership().voter_ids();
    let others: Vec<u64> = voters.filter(|voter| *voter != leader).collect();
    let place = others.iter().position(|voter| *voter == now.id)?;
    let leads = now.current_leader == Some(leader) && now.id != leader && group.may_vote();
    leads.then_some((place as u32 + group.partition.0) % others.len() as u32)
}

struct Campaign {
    leader: u64,
    /// When the link broke.
    broke: Instant,
    /// How long others go first.
    turn: Duration,
}

impl Campaign {
    fn next(&self, group: &Inner) -> Next {
        let lives = group.heard.get() > self.broke + STRAGGLES;
        let now = group.metrics.borrow_watched();
        match (now.state, now.current_leader) {
            (ServerState::Candidate, _) => Next::Count,
            (ServerState::Follower, Some(leader)) if leader == self.leader && !lives => Next::Stand,
            _ => Next::End,
        }
    }
}

async fn run(group: Weak<Inner>, campaign: Campaign) {
    stand(&group, campaign).await;
    if let Some(group) = group.upgrade() {
        group.stands_against.set(None);
    }
}

/// Stands for election in its turn, once the word that was given to the leader is over, until there is a
/// leader or that has lasted too long.
async fn stand(group: &Weak<Inner>, campaign: Campaign) {
    let given_up = campaign.broke + ELECTION_MAX + campaign.turn + GIVEN_UP_AFTER;
    let mut count_until = None;
    loop {
        let Some(group) = group.upgrade() else { return };
        let now = time::now();
        let next = campaign.next(&group);
        if next == Next::End || now >= given_up {
            return;
        }
        let from = (campaign.broke + ELECTION_MAX + campaign.turn).max(group.silent_until);
        let counted = now + VOTES_WITHIN + campaign.turn;
        let counts = next == Next::Count && now < *count_until.get_or_insert(counted);
        let mut again = now + AGAIN;
        if now < from {
            again = from;
        } else if !counts {
            count_until = None;
            if group.raft.trigger().elect(true).await.is_err() {
                return;
            }
        }
        drop(group);
        time::sleep_until(again).await;
    }
}
