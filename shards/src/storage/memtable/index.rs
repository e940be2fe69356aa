//! Where a memtable's versions lie, in order: a B+ tree (Comer, "The Ubiquitous B-Tree"), whose nodes
//! hold eight bytes of each key side by side, so that a search reads few keys themselves, each of which
//! would be a cache miss.
//!
//! Those eight bytes follow what all keys in reach of the node begin with (Graefe, "Modern B-Tree
//! Techniques": poor man's normalized keys, prefix truncation): what the two records between which the
//! node's part lies have in common, and at both ends of the tree, what all its keys do.

use std::cmp::Ordering;
use std::ops;

use super::arena::Address;
use super::record::{Position, Records};
use crate::storage::table::block::compare;

/// Entries of a node.
const FANOUT: usize = 64;
/// Bytes of a key that a node holds.
const HEAD_BYTES: usize = 8;
/// Levels of inner nodes: enough for all that an arena can hold, with each node half full.
const HEIGHT_MAX: usize = 8;

/// The number of a leaf or of an inner node.
type Number = u32;

/// Records in order.
struct Run {
    len: usize,
    /// What all keys in reach begin with, in bytes, which their heads leave out.
    skip: usize,
    heads: [u64; FANOUT],
    records: [Address; FANOUT],
    /// What is in reach lies at or behind the first and before the second, where there is one.
    fences: [Option<Address>; 2],
}

struct Leaf {
    run: Run,
    before: Option<Number>,
    after: Option<Number>,
}

/// Its records part what lies below it: before the first, between the first and the second, and so on.
struct Inner {
    run: Run,
    below: [Number; FANOUT + 1],
}

/// A place between two entries, or at an end.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    leaf: Number,
    /// Entries of the leaf before it.
    at: usize,
}

/// The way from the root to a leaf: inner nodes, and which below each.
#[derive(Default)]
struct Path {
    steps: [(Number, usize); HEIGHT_MAX],
    len: usize,
}

/// Nodes, each by itself: where there are more, none is copied.
struct Nodes<T>(Vec<Box<T>>);

impl<T> Nodes<T> {
    fn memory_bytes(&self) -> usize {
        self.0.len() * size_of::<T>()
    }

    /// The number of the next one.
    fn next(&self) -> Number {
        self.0.len() as Number
    }

    fn add(&mut self, node: T) {
        self.0.push(Box::new(node));
    }
}

impl<T> ops::Index<Number> for Nodes<T> {
    type Output = T;

    fn index(&self, number: Number) -> &T {
        &self.0[number as usize]
    }
}

impl<T> ops::IndexMut<Number> for Nodes<T> {
    fn index_mut(&mut self, number: Number) -> &mut T {
        &mut self.0[number as usize]
    }
}

/// The order of a memtable's records.
pub(super) struct Index {
    /// What all keys begin with; the skip of the nodes at both ends is its length.
    prefix: Vec<u8>,
    /// The first is the first in order.
    leaves: Nodes<Leaf>,
    inner: Nodes<Inner>,
    /// An inner node, or the only leaf where there is none.
    root: Number,
    /// Levels of inner nodes.
    height: usize,
    last: Number,
}

/// How many bytes two keys have in common at their beginnings.
fn common(one: &[u8], two: &[u8]) -> usize {
    one.iter().zip(two).take_while(|(one, two)| one == two).count()
}

/// The bytes of a key behind those that are skipped, in an order that is the keys' as far as it tells them apart.
#[inline]
fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk::<HEAD_BYTES>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; HEAD_BYTES];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
    }
}

impl Run {
    fn new(skip: usize) -> Run {
        Run {
            len: 0,
            skip,
            heads: [0; FANOUT],
            records: [Address::NONE; FANOUT],
            fences: [None, None],
        }
    }

    /// How many entries lie before a position, and also at it, if that is asked.
    #[inline]
    fn count(&self, records: &Records, position: Position<'_>, or_at: bool) -> usize {
        let head = head(position.0, self.skip);
        let heads = &self.heads[..self.len];
        let mut low = heads.partition_point(|other| *other < head);
        if heads.get(low) != Some(&head) {
            return low;
        }
        let mut high = low + heads[low..].partition_point(|other| *other == head);
        while low < high {
            let middle = low.midpoint(high);
            match compare(records.position(self.records[middle]), position) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal if or_at => low = middle + 1,
                Ordering::Equal | Ordering::Greater => high = middle,
            }
        }
        low
    }

    fn put(&mut self, records: &Records, at: usize, record: Address) {
        self.heads.copy_within(at..self.len, at + 1);
        self.records.copy_within(at..self.len, at + 1);
        self.heads[at] = head(records.key(record), self.skip);
        self.records[at] = record;
        self.len += 1;
    }

    /// Takes the entries from `at` on out, if there are any.
    fn split_off(&mut self, at: usize) -> Run {
        let mut rest = Run::new(self.skip);
        rest.len = self.len - at;
        rest.heads[..rest.len].copy_from_slice(&self.heads[at..self.len]);
        rest.records[..rest.len].copy_from_slice(&self.records[at..self.len]);
        self.len = at;
        rest
    }

    fn skip(&mut self, records: &Records, skip: usize) {
        self.skip = skip;
        for (head_of, record) in self.heads.iter_mut().zip(&self.records[..self.len]) {
            *head_of = head(records.key(*record), skip);
        }
    }

    /// Says between which records it lies.
    fn fence(&mut self, records: &Records, fences: [Option<Address>; 2], shared: usize) {
        self.fences = fences;
        let skip = match fences {
            [Some(one), Some(two)] => common(records.key(one), records.key(two)),
            _ => shared,
        };
        if skip != self.skip {
            self.skip(records, skip);
        }
    }
}

impl Index {
    pub(super) fn new() -> Index {
        Index {
            prefix: Vec::new(),
            leaves: Nodes(Vec::new()),
            inner: Nodes(Vec::new()),
            root: 0,
            height: 0,
            last: 0,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.leaves.memory_bytes() + self.inner.memory_bytes()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leaves.0.is_empty()
    }

    /// The record behind the first.
    pub(super) fn second(&self) -> Option<Address> {
        (!self.is_empty()).then(|| self.behind(Slot { leaf: 0, at: 1 })).flatten()
    }

    pub(super) fn last(&self) -> Option<Address> {
        let run = (!self.is_empty()).then(|| &self.leaves[self.last].run)?;
        run.records[..run.len].last().copied()
    }

    /// The place before the first record that is not before a position.
    pub(super) fn seek(&self, records: &Records, position: Position<'_>) -> Option<Slot> {
        if self.is_empty() {
            return None;
        }
        if !position.0.starts_with(&self.prefix) {
            return Some(match position.0 < self.prefix.as_slice() {
                true => Slot { leaf: 0, at: 0 },
                false => Slot { leaf: self.last, at: self.leaves[self.last].run.len },
            });
        }
        Some(self.descend(records, position, |_, _| {}))
    }

    /// The record behind a place.
    pub(super) fn behind(&self, slot: Slot) -> Option<Address> {
        let leaf = &self.leaves[slot.leaf];
        match leaf.run.records[..leaf.run.len].get(slot.at) {
            Some(record) => Some(*record),
            // No leaf is empty.
            None => leaf.after.map(|after| self.leaves[after].run.records[0]),
        }
    }

    /// The record before a place.
    pub(super) fn before(&self, slot: Slot) -> Option<Address> {
        let leaf = &self.leaves[slot.leaf];
        match slot.at.checked_sub(1) {
            Some(at) => Some(leaf.run.records[at]),
            None => {
                let run = &self.leaves[leaf.before?].run;
                run.records[..run.len].last().copied()
            }
        }
    }

    /// Whether the record behind a place cannot have this key, by what is known of it without reading it.
    #[inline]
    pub(super) fn is_other(&self, slot: Slot, key: &[u8]) -> bool {
        let run = &self.leaves[slot.leaf].run;
        slot.at < run.len && run.heads[slot.at] != head(key, run.skip)
    }

    /// Puts a record in its place, which is that of the one at the same position, if there is one. Gives the
    /// record before it, and the one that it replaces.
    pub(super) fn insert(
        &mut self,
        records: &Records,
        record: Address,
    ) -> (Option<Address>, Option<Address>) {
        let position = records.position(record);
        self.share(records, position.0);
        let mut path = Path::default();
        let slot = self.descend(records, position, |inner, entry| {
            path.steps[path.len] = (inner, entry);
            path.len += 1;
        });
        let before = self.before(slot);
        let may_be_equal = !self.is_other(slot, position.0);
        // Were it the first of the next leaf, the way had led there.
        let run = &mut self.leaves[slot.leaf].run;
        match run.records[..run.len].get_mut(slot.at) {
            Some(other) if may_be_equal && records.position(*other) == position => {
                (before, Some(std::mem::replace(other, record)))
            }
            _ => {
                self.put(records, path, slot, record);
                (before, None)
            }
        }
    }

    /// The place of a position whose key begins as all do; `note` hears the way to it.
    fn descend(
        &self,
        records: &Records,
        position: Position<'_>,
        mut note: impl FnMut(Number, usize),
    ) -> Slot {
        let mut at = self.root;
        for _ in 0..self.height {
            let inner = &self.inner[at];
            let part = inner.run.count(records, position, true);
            note(at, part);
            at = inner.below[part];
        }
        Slot { leaf: at, at: self.leaves[at].run.count(records, position, false) }
    }

    /// Sees to it that a key begins as all do.
    fn share(&mut self, records: &Records, key: &[u8]) {
        if self.is_empty() {
            self.prefix = key.to_vec();
            let run = Run::new(key.len());
            self.leaves.add(Leaf { run, before: None, after: None });
            return;
        }
        let shared = common(&self.prefix, key);
        if shared == self.prefix.len() {
            return;
        }
        self.prefix.truncate(shared);
        for is_last in [false, true] {
            let mut at = self.root;
            for _ in 0..self.height {
                let inner = &mut self.inner[at];
                inner.run.skip(records, shared);
                at = inner.below[if is_last { inner.run.len } else { 0 }];
            }
            self.leaves[at].run.skip(records, shared);
        }
    }

    fn put(&mut self, records: &Records, mut path: Path, slot: Slot, record: Address) {
        let number = slot.leaf;
        if self.leaves[number].run.len < FANOUT {
            self.leaves[number].run.put(records, slot.at, record);
            return;
        }
        // What comes in order fills its leaves.
        let is_end = number == self.last && slot.at == FANOUT;
        let at = if is_end { FANOUT } else { FANOUT / 2 };
        let shared = self.prefix.len();
        let added = self.leaves.next();
        let leaf = &mut self.leaves[number];
        let mut rest = leaf.run.split_off(at);
        match slot.at.checked_sub(at) {
            Some(behind) if behind > 0 || is_end => rest.put(records, behind, record),
            _ => leaf.run.put(records, slot.at, record),
        }
        let first = rest.records[0];
        let [lower, upper] = leaf.run.fences;
        leaf.run.fence(records, [lower, Some(first)], shared);
        rest.fence(records, [Some(first), upper], shared);
        let after = leaf.after.replace(added);
        self.leaves.add(Leaf { run: rest, before: Some(number), after });
        match after {
            Some(after) => self.leaves[after].before = Some(added),
            None => self.last = added,
        }
        self.put_above(records, &mut path, (first, added));
    }

    /// Tells the nodes above that `added` has come behind the node to which the path leads, from `first` on.
    fn put_above(
        &mut self,
        records: &Records,
        path: &mut Path,
        (mut first, mut added): (Address, Number),
    ) {
        let shared = self.prefix.len();
        while let Some(above) = path.len.checked_sub(1) {
            path.len = above;
            let (number, part) = path.steps[above];
            let inner = &mut self.inner[number];
            if inner.run.len < FANOUT {
                return inner.put(records, part, first, added);
            }
            let [lower, upper] = inner.run.fences;
            let is_end = upper.is_none() && part == FANOUT;
            let middle = if is_end { FANOUT - 1 } else { FANOUT / 2 };
            let (parting, mut rest) = inner.split(middle);
            match part.checked_sub(middle + 1) {
                Some(part) => rest.put(records, part, first, added),
                None => inner.put(records, part, first, added),
            }
            inner.run.fence(records, [lower, Some(parting)], shared);
            rest.run.fence(records, [Some(parting), upper], shared);
            (first, added) = (parting, self.inner.next());
            self.inner.add(rest);
        }
        let mut root = Inner { run: Run::new(shared), below: [self.root; FANOUT + 1] };
        root.put(records, 0, first, added);
        self.root = self.inner.next();
        self.inner.add(root);
        self.height += 1;
    }
}

impl Inner {
    /// Parts what is below at `part` in two: `below` comes behind it, from `first` on.
    fn put(&mut self, records: &Records, part: usize, first: Address, below: Number) {
        self.below.copy_within(part + 1..=self.run.len, part + 2);
        self.below[part + 1] = below;
        self.run.put(records, part, first);
    }

    /// Takes all behind its record at `middle` out, and that record.
    fn split(&mut self, middle: usize) -> (Address, Inner) {
        let mut below = [0; FANOUT + 1];
        below[..self.run.len - middle].copy_from_slice(&self.below[middle + 1..=self.run.len]);
        let rest = self.run.split_off(middle + 1);
        self.run.len = middle;
        (self.run.records[middle], Inner { run: rest, below })
    }
}
