//! Who lives: SWIM (Das, Gupta, Motivala 2002), as `foca` has it, without I/O.
//!
//! ```text
//!            ┌── handle(from, bytes) ◄── the links' gossip service, from any node
//!  Membership│── tick(now) ◄──────────── a timer, set to next_tick()
//!            └─► datagrams: to whom, bytes ──► the links' gossip service: fire and forget
//! ```
//!
//! Each node asks another at random, now and then, whether it lives; where no answer comes, others ask
//! for it; where none comes to them either the node is a *suspect*, which is told on, and has some time
//! to refute. Then it is dead: to all. What each says rides on the questions and answers.
//!
//! A node that was declared dead and is not takes a new [`Life`] and is back at once. Who should be
//! there (the registry says) and is not heard of is called, so that two halves of a cluster find each
//! other again by themselves.
//!
//! This steers: where replicas are put, whom to ask first. It never decides what is safe.
//!
//! One per node.

mod codec;
mod load;
mod peer;
mod settings;
#[cfg(test)]
mod tests;

pub use codec::CodecError;
pub use peer::{Life, Peer};
pub use settings::Settings;

use super::decide::{Liveness, Load};
use codec::{GossipCodec, put_report};
use foca::{Foca, Notification, Runtime, State, Timer};
use load::{Report, SharedReports};
use model::id::NodeId;
use runtime::random::Rng;
use runtime::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

/// Bytes for a node, to be sent once, if that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The node.
    pub to: NodeId,
    /// See `docs/formats/gossip.md`.
    pub bytes: Vec<u8>,
}

/// Why a datagram was not heeded.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] CodecError),
    /// It says that another sent it than the one from whom it came.
    #[error("a datagram from node {from} says that it is from node {says}")]
    NotTheSender {
        /// From whom it came.
        from: NodeId,
        /// Whom it names.
        says: NodeId,
    },
    /// It makes no sense.
    #[error("a datagram makes no sense: {0}")]
    Senseless(foca::Error),
}

/// A node's view of the others.
pub struct Membership {
    foca: Foca<Peer, GossipCodec, Dice, SharedReports>,
    reported: SharedReports,
    settings: Settings,
    outside: Outside,
    /// Who should be there.
    registered: BTreeMap<NodeId, Peer>,
    /// When the next one that is not there is called, and behind whom it comes.
    next_call: Instant,
    last_called: Option<NodeId>,
    /// Members that `foca` was last set up for.
    set_up_for: usize,
    reports: u32,
}

/// What `foca` wants done.
struct Outside {
    now: Instant,
    datagrams: VecDeque<(Peer, Vec<u8>)>,
    timers: BTreeMap<(Instant, u64), Timer<Peer>>,
    /// Tells timers of the same instant apart, in their order.
    timers_set: u64,
    /// Since when members are not there that were.
    lost: BTreeMap<NodeId, Instant>,
    began: Instant,
}

/// Datagrams that wait to be taken: more than one call ever makes in a cluster of a thousand. Beyond
/// that they are lost, as they may be anywhere on their way.
const DATAGRAMS_MAX: usize = 4_096;

impl Membership {
    /// A node that knows of no other. `rng` is its own stream.
    pub fn new(me: Peer, settings: Settings, rng: Rng, now: Instant) -> Membership {
        let reported = SharedReports::default();
        let foca = Foca::with_custom_broadcast(
            me,
            settings.for_members(1),
            Dice(rng),
            GossipCodec,
            reported.clone(),
        );
        let outside = Outside {
            now,
            datagrams: VecDeque::new(),
            timers: BTreeMap::new(),
            timers_set: 0,
            lost: BTreeMap::new(),
            began: now,
        };
        Membership {
            foca,
            reported,
            settings,
            outside,
            registered: BTreeMap::new(),
            next_call: now,
            last_called: None,
            set_up_for: 1,
            reports: 0,
        }
    }

    /// Who this node is to the others: its life changes when it was taken for dead.
    pub fn me(&self) -> &Peer {
        self.foca.identity()
    }

    /// Says who should be there: the nodes of the registry, or the seeds. Others are forgotten unless
    /// they are heard of.
    pub fn register(&mut self, peers: impl IntoIterator<Item = Peer>) {
        let me = self.me().node;
        let peers = peers.into_iter().filter(|peer| peer.node != me);
        self.registered = peers.map(|peer| (peer.node, peer)).collect();
        let registered = &self.registered;
        self.outside.lost.retain(|node, _| registered.contains_key(node));
        self.reported.retain(|node| registered.contains_key(&node) || node == me);
    }

    /// Whether there is nobody else, nor should be.
    pub fn is_alone(&self) -> bool {
        self.registered.is_empty() && self.others().next().is_none()
    }

    /// Takes a datagram of a node.
    ///
    /// # Errors
    /// It is not heeded.
    pub fn handle(&mut self, from: NodeId, bytes: &[u8], now: Instant) -> Result<(), Refused> {
        let says = codec::sender(bytes)?;
        if says != from {
            return Err(Refused::NotTheSender { from, says });
        }
        self.outside.now = now;
        let handled = self.foca.handle_data(bytes, &mut self.outside);
        self.fit_settings();
        handled.map_err(Refused::Senseless)
    }

    /// When [`Membership::tick`] is to be called next.
    pub fn next_tick(&self) -> Instant {
        let timer = self.outside.timers.first_key_value().map(|((at, _), _)| *at);
        timer.map_or(self.next_call, |timer| timer.min(self.next_call))
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        self.outside.now = now;
        while let Some(due) = self.outside.timers.first_entry().filter(|due| due.key().0 <= now) {
            let timer = due.remove();
            if let Err(error) = self.foca.handle_timer(timer, &mut self.outside) {
                // A timer that was overtaken: foca goes on with the next one.
                log::debug!("a timer of the membership came to nothing: {error}");
            }
        }
        if now >= self.next_call {
            self.next_call = now + self.settings.call_every;
            self.call_one();
        }
        self.fit_settings();
    }

    /// Calls the next one of those who should be there and are not.
    fn call_one(&mut self) {
        let is_there = |node: NodeId| self.foca.iter_members().any(|one| one.id().node == node);
        let behind = |last: &NodeId| self.last_called.is_none_or(|before| *last > before);
        let mut missing = self.registered.values().filter(|peer| !is_there(peer.node));
        let first = missing.clone().next();
        let next = missing.find(|peer| behind(&peer.node)).or(first).cloned();
        self.last_called = next.as_ref().map(|peer| peer.node);
        if let Some(peer) = next
            && let Err(error) = self.foca.announce(peer, &mut self.outside)
        {
            log::warn!("a node cannot be called: {error}");
        }
    }

    /// The more members there are, the more often news are told and the longer is waited.
    fn fit_settings(&mut self) {
        let members = self.foca.num_members() + 1;
        if members == self.set_up_for {
            return;
        }
        match self.foca.set_config(self.settings.for_members(members)) {
            Ok(()) => self.set_up_for = members,
            Err(error) => unreachable!("only what may change is changed: {error}"),
        }
    }

    /// Tells the others how this node is doing.
    pub fn report(&mut self, load: Load) {
        self.reports = self.reports.wrapping_add(1);
        let Peer { node, life, .. } = *self.me();
        let report = put_report(&Report { node, life, sequence: self.reports, load });
        if let Err(error) = self.foca.add_broadcast(&report) {
            unreachable!("a report is short and well formed: {error}");
        }
    }

    /// The next datagram that is to be sent.
    pub fn next_datagram(&mut self) -> Option<Datagram> {
        loop {
            let (to, bytes) = self.outside.datagrams.pop_front()?;
            if let Some(bytes) = self.considered(&to, bytes) {
                return Some(Datagram { to: to.node, bytes });
            }
        }
    }

    /// What `foca` lacks. One to a suspect tells it that it is one (Lifeguard's buddy system, Dadgar
    /// 2018): the news of that are told on a few times only, and where those are lost it would not know
    /// what to refute. And nobody who is not dead is told to be: foca 2.0 does where the time to refute
    /// is over, even to those who did.
    fn considered(&self, to: &Peer, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let Some(member) = self.foca.iter_members().find(|member| member.id() == to) else {
            return Some(bytes);
        };
        if codec::is_of_death(&bytes) {
            return None;
        }
        if member.state() == State::Suspect {
            codec::add_member(&mut bytes, member, self.settings.datagram_bytes_max);
        }
        Some(bytes)
    }

    /// Whether a node lives. One that was never heard of is taken to be dead since this node began.
    pub fn liveness(&self, node: NodeId, now: Instant) -> Liveness {
        if node == self.me().node {
            return Liveness::Alive;
        }
        let member = self.foca.iter_members().find(|member| member.id().node == node);
        match member.map(foca::Member::state) {
            Some(State::Alive) => Liveness::Alive,
            Some(State::Suspect) => Liveness::Suspect,
            Some(State::Down) | None => {
                let since = self.outside.lost.get(&node).copied().unwrap_or(self.outside.began);
                Liveness::Dead { lasting: now.saturating_since(since) }
            }
        }
    }

    /// The members that live or are suspects, this node not among them.
    pub fn others(&self) -> impl Iterator<Item = &Peer> {
        self.foca.iter_members().map(foca::Member::id)
    }

    /// What a node last reported of itself.
    pub fn load(&self, node: NodeId) -> Option<Load> {
        self.reported.load(node)
    }

    /// Says goodbye: nobody need find out that this node is gone.
    pub fn leave(&mut self, now: Instant) {
        self.outside.now = now;
        if let Err(error) = self.foca.leave_cluster(&mut self.outside) {
            log::warn!("the others could not be told that this node leaves: {error}");
        }
    }
}

impl Runtime<Peer> for Outside {
    fn notify(&mut self, notification: Notification<'_, Peer>) {
        match notification {
            Notification::MemberUp(peer) => drop(self.lost.remove(&peer.node)),
            Notification::MemberDown(peer) => drop(self.lost.insert(peer.node, self.now)),
            Notification::Rejoin(peer) => {
                log::warn!(life = peer.life.renewal; "the others took this node for dead");
            }
            // The others' lives are asked for where they matter.
            Notification::Rename(..)
            | Notification::Active
            | Notification::Idle
            | Notification::Defunct => {}
        }
    }

    fn send_to(&mut self, to: Peer, data: &[u8]) {
        if self.datagrams.len() < DATAGRAMS_MAX {
            self.datagrams.push_back((to, data.to_vec()));
        }
    }

    fn submit_after(&mut self, event: Timer<Peer>, after: Duration) {
        self.timers_set += 1;
        self.timers.insert((self.now + after, self.timers_set), event);
    }
}

/// The caller's random numbers, as `foca` wants them.
struct Dice(Rng);

impl rand::TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.0.next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}
