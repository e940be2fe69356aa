//! The gossip of the node over the links of its core 0.
//!
//! It begins as soon as the engines are open, long before the node serves: the others may have to reach it
//! first, where its cores are now, for anything to be decided that it waits for.

use super::crew::Herald;
use super::entry::Home;
use super::neighbours::Neighbours;
use crate::cluster::decide::Load;
use crate::cluster::driver::{Gossip, Network};
use crate::cluster::gossip::{Peer, Settings};
use crate::router::Router;
use futures::future::LocalBoxFuture;
use model::id::NodeId;
use runtime::fs;
use runtime::task::{self, Task};
use runtime::time::{self, Instant};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

/// The gossip while it runs.
pub(super) struct Gossiping {
    pub(super) gossip: Gossip,
    datagrams: Rc<Datagrams>,
    _running: Task<()>,
}

impl Gossiping {
    /// Begins it, with who was there when this node ended; `None` where the node has no links.
    pub(super) fn begin(
        home: &Home,
        doors: &[SocketAddr],
        (neighbours, herald): (&Rc<Neighbours>, Herald),
        router: &Router,
        data_dir: PathBuf,
    ) -> Option<Gossiping> {
        neighbours.links()?;
        let me = Peer::of_doors(home.node(), home.identity.starts, doors)?;
        let gossip = Gossip::new(me, Settings::default());
        gossip.register(home.book.peers());
        router.hear_by(gossip.clone());
        neighbours.attach_gossip(&gossip);
        let datagrams = Rc::new(Datagrams {
            neighbours: neighbours.clone(),
            herald,
            router: router.clone(),
            data_dir,
            cores: home.identity.cores,
            busy: Cell::new((0, time::now())),
        });
        let (runs, by) = (gossip.clone(), datagrams.clone());
        let running = task::spawn("gossip", async move { runs.run(&*by).await });
        Some(Gossiping { gossip, datagrams, _running: running })
    }

    /// Tells the others that this node leaves.
    pub(super) fn leave(&self) {
        self.gossip.leave(&*self.datagrams);
    }
}

/// What carries the node's datagrams.
struct Datagrams {
    neighbours: Rc<Neighbours>,
    herald: Herald,
    router: Router,
    data_dir: PathBuf,
    cores: u16,
    /// Microseconds that the cores' tasks had run, and when that was.
    busy: Cell<(u64, Instant)>,
}

impl Datagrams {
    /// How busy the cores have been since this was asked last, in thousandths.
    async fn busy_permille(&self) -> u16 {
        let (before, since) = self.busy.get();
        // A core that stops does not tell, and is not busy any more.
        let Ok(micros) = self.router.busy_micros().await else { return 0 };
        self.busy.set((micros, time::now()));
        let room = since.elapsed().as_micros() as u64 * u64::from(self.cores);
        permille(micros.saturating_sub(before), room)
    }

    /// How full the disk is, in thousandths; as full as can be where that cannot be told.
    async fn disk_used_permille(&self) -> u16 {
        let (total, free) = (fs::total_space(&self.data_dir), fs::available_space(&self.data_dir));
        match futures::join!(total, free) {
            (Ok(total), Ok(free)) => permille(total.saturating_sub(free), total),
            (Err(error), _) | (_, Err(error)) => {
                log::warn!("the room of the disk cannot be measured: {error}");
                1_000
            }
        }
    }
}

fn permille(part: u64, whole: u64) -> u16 {
    let permille = u128::from(part) * 1_000 / u128::from(whole.max(1));
    permille.min(1_000) as u16
}

impl Network for Datagrams {
    fn send(&self, to: NodeId, datagram: Vec<u8>) {
        self.neighbours.gossip_to(to, datagram);
    }

    fn found(&self, peer: &Peer) {
        self.neighbours.found(peer);
        self.herald.tell(peer);
    }

    fn load(&self) -> LocalBoxFuture<'_, Load> {
        Box::pin(async move {
            let busy_permille = self.busy_permille().await;
            Load { busy_permille, disk_used_permille: self.disk_used_permille().await }
        })
    }
}
