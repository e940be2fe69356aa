//! Merges memtables and runs of tables into one stream of versions in order.

use std::cmp::Ordering;
use std::rc::Rc;

use model::time::Timestamp;

use super::memtable::{KeyAt, Memtable, Node};
use super::table::block::compare;
use super::table::iter::{BlockSource, RunIter, Stop, Walk};

/// Walks a memtable. Nodes stay where they are, so insertions meanwhile do no harm.
pub(crate) struct MemtableIter {
    memtable: Rc<Memtable>,
    reverse: bool,
    current: Option<(Node, KeyAt)>,
}

impl MemtableIter {
    pub(crate) fn new(memtable: Rc<Memtable>, walk: &Walk) -> Self {
        let (reverse, node) = match walk {
            Walk::Forward(start) => (false, memtable.lower_bound(start, Timestamp::MAX)),
            Walk::Reverse(None) => (true, memtable.last()),
            Walk::Reverse(Some(end)) => (true, memtable.before(end, Timestamp::MAX)),
        };
        let current = node.map(|node| (node, memtable.key_at(node)));
        Self { memtable, reverse, current }
    }

    fn advance(&mut self) {
        let Some((node, key)) = &self.current else { return };
        let next = if self.reverse {
            self.memtable.before(key.key(), key.ts)
        } else {
            self.memtable.next(*node)
        };
        self.current = next.map(|node| (node, self.memtable.key_at(node)));
    }
}

/// One of the streams that are merged.
pub(crate) enum Source {
    Memtable(MemtableIter),
    Run(Box<RunIter>),
}

impl Source {
    fn position(&self) -> Option<(&[u8], Timestamp)> {
        match self {
            Source::Memtable(iter) => iter.current.as_ref().map(|(_, key)| (key.key(), key.ts)),
            Source::Run(iter) => iter.cursor().map(|cursor| (cursor.key(), cursor.ts())),
        }
    }

    /// The current version's value, given to `look`; `None` for a tombstone.
    fn with_value<T>(&self, look: impl FnOnce(Option<&[u8]>) -> T) -> T {
        match self {
            Source::Memtable(iter) => {
                let value = iter.current.as_ref().and_then(|(node, _)| iter.memtable.value(*node));
                look(value.as_ref().map(|value| value.chunk.bytes(value.at, value.len)))
            }
            Source::Run(iter) => look(iter.cursor().and_then(|cursor| cursor.value())),
        }
    }

    fn settle(&mut self, blocks: &dyn BlockSource) -> Result<(), Stop> {
        match self {
            Source::Memtable(_) => Ok(()),
            Source::Run(iter) => iter.settle(blocks),
        }
    }

    fn advance(&mut self) {
        match self {
            Source::Memtable(iter) => iter.advance(),
            Source::Run(iter) => iter.advance(),
        }
    }
}

/// Where the merge stands after [`Merge::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    At(usize),
    End,
}

/// Merges its sources, of which the newest must come first: of versions with the same key and
/// timestamp that of the newest source counts. Forward it comes before the others, in reverse
/// after them.
pub(crate) struct Merge {
    sources: Vec<Source>,
    reverse: bool,
    /// The source whose version comes next, once chosen.
    current: Option<usize>,
    /// The best of all sources but the current one: as long as the current one stays ahead of it,
    /// the rest need not be compared.
    second: Option<usize>,
}

/// A merge stopped in one of its sources.
pub(crate) struct MergeStop {
    pub(crate) source: usize,
    pub(crate) stop: Stop,
}

impl Merge {
    pub(crate) fn new(sources: Vec<Source>, reverse: bool) -> Self {
        Self { sources, reverse, current: None, second: None }
    }

    /// Finds the next version. May be called again after a stop.
    pub(crate) fn settle(&mut self, blocks: &dyn BlockSource) -> Result<Settled, MergeStop> {
        if let Some(current) = self.current {
            self.sources[current]
                .settle(blocks)
                .map_err(|stop| MergeStop { source: current, stop })?;
            let leads = self.sources[current].position().is_some()
                && self.second.is_none_or(|second| self.comes_before(current, second));
            if leads {
                return Ok(Settled::At(current));
            }
        }
        for (at, source) in self.sources.iter_mut().enumerate() {
            source.settle(blocks).map_err(|stop| MergeStop { source: at, stop })?;
        }
        self.current = None;
        self.second = None;
        for at in 0..self.sources.len() {
            if self.sources[at].position().is_none() {
                continue;
            }
            if self.current.is_none_or(|current| self.comes_before(at, current)) {
                self.second = self.current;
                self.current = Some(at);
            } else if self.second.is_none_or(|second| self.comes_before(at, second)) {
                self.second = Some(at);
            }
        }
        Ok(self.current.map_or(Settled::End, Settled::At))
    }

    /// Whether the version of source `left` comes before that of `right`. Ended sources come last.
    fn comes_before(&self, left: usize, right: usize) -> bool {
        let (left_at, right_at) =
            match (self.sources[left].position(), self.sources[right].position()) {
                (Some(left), Some(right)) => (left, right),
                (Some(_), None) => return true,
                (None, _) => return false,
            };
        let order = compare(left_at, right_at).then_with(|| left.cmp(&right));
        if self.reverse { order == Ordering::Greater } else { order == Ordering::Less }
    }

    /// Key and timestamp of the version that [`Self::settle`] found in `source`.
    pub(crate) fn position(&self, source: usize) -> (&[u8], Timestamp) {
        self.sources[source].position().expect("the merge has settled on this source")
    }

    pub(crate) fn with_value<T>(&self, source: usize, look: impl FnOnce(Option<&[u8]>) -> T) -> T {
        self.sources[source].with_value(look)
    }

    /// Goes past the version that was found.
    pub(crate) fn advance(&mut self) {
        if let Some(current) = self.current {
            self.sources[current].advance();
        }
    }

    /// The run behind a source, to ask what it will read next.
    pub(crate) fn run(&self, source: usize) -> Option<&RunIter> {
        match &self.sources[source] {
            Source::Run(iter) => Some(iter),
            Source::Memtable(_) => None,
        }
    }
}
