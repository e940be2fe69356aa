//! What nodes report of themselves, spread along with who lives.

use super::codec::{CodecError, get_report};
use super::peer::{Life, Peer};
use crate::cluster::decide::Load;
use model::id::NodeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// More nodes than a cluster has: what is said of others is not kept.
const NODES_MAX: usize = 4_096;

/// A node's report of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) node: NodeId,
    pub(super) life: Life,
    /// Counts the reports of a life.
    pub(super) sequence: u32,
    pub(super) load: Load,
}

/// The last report of each node. Shared: `foca` judges what is new by it, and does not give it back.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedReports {
    last: Rc<RefCell<BTreeMap<NodeId, Report>>>,
}

/// Names a report while it is spread: a later one takes its place.
pub(super) struct ReportKey {
    node: NodeId,
    order: (u32, u16, u32),
}

impl foca::Invalidates for ReportKey {
    fn invalidates(&self, other: &ReportKey) -> bool {
        self.node == other.node && self.order >= other.order
    }
}

impl Report {
    fn order(&self) -> (u32, u16, u32) {
        (self.life.start, self.life.renewal, self.sequence)
    }
}

impl SharedReports {
    pub(super) fn load(&self, node: NodeId) -> Option<Load> {
        self.last.borrow().get(&node).map(|report| report.load)
    }

    pub(super) fn retain(&self, keep: impl Fn(NodeId) -> bool) {
        self.last.borrow_mut().retain(|node, _| keep(*node));
    }
}

impl foca::BroadcastHandler<Peer> for SharedReports {
    type Key = ReportKey;
    type Error = CodecError;

    fn receive_item(
        &mut self,
        data: &[u8],
        _sender: Option<&Peer>,
    ) -> Result<Option<ReportKey>, CodecError> {
        let report = get_report(data)?;
        let mut last = self.last.borrow_mut();
        let is_new = match last.get(&report.node) {
            Some(known) => report.order() > known.order(),
            None => last.len() < NODES_MAX,
        };
        if !is_new {
            return Ok(None);
        }
        last.insert(report.node, report);
        Ok(Some(ReportKey { node: report.node, order: report.order() }))
    }
}
