//! The cores of a node keep step: one barrier a stage of its life, core 0 in the lead.
//!
//! ```text
//!   every core ── Arrived(stage) ──► core 0, when all are there ── Go(stage) ──► every core
//! ```
//!
//! A core that fails says so and leaves; a core that panicked has left its inbox closed. Either
//! way the others learn of it and stop.

use super::entry::Home;
use super::neighbours::Neighbours;
use super::registration::Census;
use crate::cluster::gossip::Peer;
use futures::future::{Either, select};
use runtime::mesh::{Mesh, MeshBuilder};
use runtime::{task, time};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often a core looks whether the others are still there.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// Messages of the crew are few: a handful a stage.
const MESSAGES_MAX: usize = 64;

/// The points at which the cores wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Core 0 listens at the shared native door.
    Native,
    /// Every core listens there; core 0 at the PostgreSQL door.
    Shared,
    /// Every core listens.
    Listening,
    /// Every engine is open.
    Opened,
    /// Every router knows the catalog.
    Loaded,
    /// Every core lets clients in.
    Serving,
    /// No core has a session any more.
    Drained,
    /// No core has a request of its own under way.
    Quiet,
}

/// What cores tell each other about the node's life.
#[derive(Debug, Clone)]
pub(super) enum Notice {
    /// From core 0: the data directory is ready.
    Prepared(Arc<Home>),
    /// From core 0: the nodes of the cluster, and where its partitions are.
    Census(Arc<Census>),
    /// From core 0: a node lives, and says where its cores are.
    Met(Peer),
    /// To core 0: this core has come to a stage, and the address it wants to make known.
    Arrived(Stage, Option<SocketAddr>),
    /// From core 0: all have come; their addresses by core.
    Go(Stage, Arc<[Option<SocketAddr>]>),
    /// From core 0: the node is to stop.
    Drain,
    /// The sender cannot go on.
    Failed,
}

/// Another core has failed: it reports why, this one stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OtherFailed;

/// One core's place in the crew.
pub(super) struct Crew {
    mesh: Mesh<Notice>,
    me: u16,
    cores: u16,
    /// Arrivals that came while this core (core 0) was at another stage.
    early: Vec<(u16, Stage, Option<SocketAddr>)>,
    received: VecDeque<(u16, Notice)>,
    /// They hear of other nodes at once, whatever this core waits for.
    neighbours: Option<Rc<Neighbours>>,
}

/// Tells the other cores of nodes that were met.
#[derive(Clone)]
pub(super) struct Herald {
    mesh: Mesh<Notice>,
    others: RangeInclusive<u16>,
}

impl Herald {
    /// Tells them behind the caller's back. One that has gone needs to hear nothing.
    pub(super) fn tell(&self, peer: &Peer) {
        let (herald, peer) = (self.clone(), peer.clone());
        let telling = async move {
            for core in herald.others {
                let _gone = herald.mesh.send(core, Notice::Met(peer.clone())).await;
            }
        };
        task::spawn("herald", telling).detach();
    }
}

/// The crew before its cores have joined it.
pub(super) fn builder(cores: u16) -> MeshBuilder<Notice> {
    MeshBuilder::new(cores, MESSAGES_MAX)
}

impl Crew {
    pub(super) async fn join(builder: MeshBuilder<Notice>, me: u16, cores: u16) -> Crew {
        let mesh = builder.join(me).await;
        Crew { mesh, me, cores, early: Vec::new(), received: VecDeque::new(), neighbours: None }
    }

    /// Whoever hears of other nodes from now on.
    pub(super) fn attach(&mut self, neighbours: &Rc<Neighbours>) {
        self.neighbours = Some(neighbours.clone());
    }

    /// What core 0 tells the others with, of nodes that it meets.
    pub(super) fn herald(&self) -> Herald {
        Herald { mesh: self.mesh.clone(), others: 1..=self.cores - 1 }
    }

    /// Tells all cores, this one excepted. One that has gone needs to hear nothing.
    pub(super) async fn tell_others(&self, notice: Notice) {
        for core in (0..self.cores).filter(|core| *core != self.me) {
            let _gone = self.mesh.send(core, notice.clone()).await;
        }
    }

    /// The next notice, from whom. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<(u16, Notice), OtherFailed> {
        loop {
            if let Some((from, notice)) = self.received.pop_front() {
                match notice {
                    Notice::Failed => return Err(OtherFailed),
                    Notice::Met(peer) => {
                        if let Some(neighbours) = &self.neighbours {
                            neighbours.found(&peer);
                        }
                        continue;
                    }
                    notice => return Ok((from, notice)),
                }
            }
            let mut messages = Vec::new();
            match time::timeout(HEALTH_INTERVAL, self.mesh.recv_many(&mut messages, MESSAGES_MAX))
                .await
            {
                Ok(Ok(())) => self.received.extend(messages),
                Ok(Err(_closed)) => return Err(OtherFailed),
                Err(_elapsed) => {
                    if !(0..self.cores).all(|core| self.mesh.is_open(core)) {
                        return Err(OtherFailed);
                    }
                }
            }
        }
    }

    /// Does `work`, which may wait for other cores, unless one of them fails: it would wait for
    /// ever then.
    pub(super) async fn unless_one_fails<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, OtherFailed> {
        let mut work = pin!(work);
        let mut others = Vec::new();
        let done = loop {
            match select(work.as_mut(), pin!(self.next())).await {
                Either::Left((done, _)) => break done,
                Either::Right((notice, _)) => others.push(notice?),
            }
        };
        // What the others said meanwhile is for the next who asks.
        others.into_iter().rev().for_each(|notice| self.received.push_front(notice));
        Ok(done)
    }

    /// Waits for the data directory that core 0 announces.
    pub(super) async fn prepared(&mut self) -> Result<Arc<Home>, OtherFailed> {
        match self.next().await? {
            (_, Notice::Prepared(home)) => Ok(home),
            _ => Err(OtherFailed),
        }
    }

    /// Waits until all cores have come to `stage`; what each made known, by core.
    pub(super) async fn meet(
        &mut self,
        stage: Stage,
        address: Option<SocketAddr>,
    ) -> Result<Arc<[Option<SocketAddr>]>, OtherFailed> {
        if self.me != 0 {
            let arrived = Notice::Arrived(stage, address);
            self.mesh.send(0, arrived).await.map_err(|_closed| OtherFailed)?;
            loop {
                match self.next().await? {
                    (_, Notice::Go(reached, addresses)) if reached == stage => {
                        return Ok(addresses);
                    }
                    // A second word to stop changes nothing for a core that stops.
                    _ => continue,
                }
            }
        }
        let mut addresses = vec![None; usize::from(self.cores)];
        addresses[0] = address;
        let mut missing = self.cores - 1;
        let mut arrived = std::mem::take(&mut self.early);
        while missing > 0 {
            if arrived.is_empty()
                && let (from, Notice::Arrived(reached, address)) = self.next().await?
            {
                arrived.push((from, reached, address));
            }
            for (from, reached, address) in arrived.drain(..) {
                if reached == stage {
                    addresses[usize::from(from)] = address;
                    missing -= 1;
                } else {
                    self.early.push((from, reached, address));
                }
            }
        }
        let addresses: Arc<[Option<SocketAddr>]> = addresses.into();
        self.tell_others(Notice::Go(stage, addresses.clone())).await;
        Ok(addresses)
    }
}
