//! Who a member is.

use crate::cluster::registry::NodeRecord;
use model::id::NodeId;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A life of a node: what SWIM takes for a member.
///
/// Two are equal if node and life are: where it is reached is not known of everyone that is spoken of.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Which of its lives.
    pub life: Life,
    /// The address of its cores' doors.
    pub host: IpAddr,
    /// The port of each core's door, by core.
    pub ports: Arc<[u16]>,
}

/// The lives of a node, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// How often the node has started: counted in its data directory.
    pub start: u32,
    /// How often it was declared dead since then and was not.
    pub renewal: u16,
}

impl Peer {
    /// The node as it was let in last; `None` where its addresses are no addresses.
    pub fn of_record(record: &NodeRecord) -> Option<Peer> {
        let cores = record.about.cores.iter().map(|core| core.parse::<SocketAddr>().ok());
        let cores = cores.collect::<Option<Vec<SocketAddr>>>()?;
        Peer::of_doors(record.id, record.starts, &cores)
    }

    /// A node in one of its lives, with its cores' doors; `None`: it has none.
    pub fn of_doors(node: NodeId, start: u32, doors: &[SocketAddr]) -> Option<Peer> {
        Some(Peer {
            node,
            life: Life { start, renewal: 0 },
            host: doors.first()?.ip(),
            ports: doors.iter().map(SocketAddr::port).collect(),
        })
    }

    /// Where a core is reached.
    pub fn address(&self, core: usize) -> Option<SocketAddr> {
        self.ports.get(core).map(|port| SocketAddr::new(self.host, *port))
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Peer) -> bool {
        (self.node, self.life) == (other.node, other.life)
    }
}

impl Eq for Peer {}

impl foca::Identity for Peer {
    type Addr = NodeId;

    fn addr(&self) -> NodeId {
        self.node
    }

    fn renew(&self) -> Option<Peer> {
        let renewal = self.life.renewal.checked_add(1)?;
        Some(Peer { life: Life { renewal, ..self.life }, ..self.clone() })
    }

    fn win_addr_conflict(&self, adversary: &Peer) -> bool {
        self.life > adversary.life
    }
}
