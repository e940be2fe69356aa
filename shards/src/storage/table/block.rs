//! The block: a run of versions in order, prefix-compressed, with restart points for binary search.
//!
//! Order everywhere in storage: keys ascending, and within one key timestamps *descending*, so that
//! the newest version of a key is met first and "the newest version at or before `at`" is the first
//! entry at or after the position `(key, at)`. The byte layout stands in `docs/formats/table.md`.
//!
//! A block is checked once when it is decoded (every entry and every restart point is walked), so
//! that cursors need no error path of their own.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;

use model::time::Timestamp;

use super::super::codec::{put_varint, u32_at, u64_at, varint_at};

/// Entries between two restart points.
const RESTART_INTERVAL: usize = 16;

/// Compares two versions' positions: keys ascending, timestamps descending.
#[inline]
pub(crate) fn compare(left: (&[u8], Timestamp), right: (&[u8], Timestamp)) -> Ordering {
    left.0.cmp(right.0).then_with(|| right.1.cmp(&left.1))
}

/// Builds the payload of one block. Entries must be added in order.
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    last_key: Vec<u8>,
    entries: usize,
}

impl BlockBuilder {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), restarts: Vec::new(), last_key: Vec::new(), entries: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of the payload if it were finished now.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len() + 4 * (self.restarts.len() + 1)
    }

    /// `None` is a tombstone.
    pub(crate) fn add(&mut self, key: &[u8], ts: Timestamp, value: Option<&[u8]>) {
        let shared = if self.entries.is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(self.bytes.len() as u32);
            0
        } else {
            common_prefix(&self.last_key, key)
        };
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, (key.len() - shared) as u64);
        put_varint(&mut self.bytes, value.map_or(0, |value| value.len() as u64 + 1));
        self.bytes.extend_from_slice(&ts.0.to_le_bytes());
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.entries += 1;
    }

    /// Appends the finished payload to `out` and leaves the builder empty.
    pub(crate) fn finish_into(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.bytes);
        for restart in &self.restarts {
            out.extend_from_slice(&restart.to_le_bytes());
        }
        out.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        self.restarts.clear();
        self.last_key.clear();
        self.entries = 0;
    }
}

#[inline]
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(a, b)| a == b).count()
}

/// The bytes of all live blocks of one core, wherever they are held: the cache counts what it has
/// evicted but a reader still holds.
#[derive(Clone, Default)]
pub(crate) struct Gauge(Rc<Cell<usize>>);

impl Gauge {
    pub(crate) fn bytes(&self) -> usize {
        self.0.get()
    }

    fn add(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }

    fn sub(&self, bytes: usize) {
        self.0.set(self.0.get() - bytes);
    }
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BlockKind {
    /// Rows.
    Data = 1,
    /// Last version of each data block of one index partition, with its handle.
    Index = 2,
    /// Filter over the keys of one index partition.
    Filter = 3,
    /// Last version of each index partition, with the handles of its index and filter.
    Top = 4,
}

/// One decoded, checked block in memory. Belongs to one core.
pub(crate) struct Block {
    bytes: Box<[u8]>,
    /// Where the entries end and the restart array begins; the whole length for a filter.
    entries_end: usize,
    restarts: usize,
    gauge: Gauge,
}

/// Bookkeeping bytes charged for a block beside its payload.
pub(crate) const BLOCK_OVERHEAD_BYTES: usize = 128;

impl Drop for Block {
    fn drop(&mut self) {
        self.gauge.sub(self.charge());
    }
}

/// The bytes are no block: its checksum holds, but its structure does not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One entry's position inside its block.
#[derive(Clone, Copy)]
struct Entry {
    shared: usize,
    suffix_at: usize,
    suffix_len: usize,
    value_len: Option<usize>,
    ts: Timestamp,
    next: usize,
}

impl Entry {
    fn value(&self) -> Option<Range<usize>> {
        self.value_len.map(|len| self.next - len..self.next)
    }
}

/// What [`Block::lower_bound`] found.
pub(crate) struct Hit {
    /// Whether the entry has the key that was looked for (its version may still be older).
    pub(crate) same_key: bool,
    pub(crate) ts: Timestamp,
    /// Where the value lies in [`Block::bytes`]; `None` for a tombstone.
    pub(crate) value: Option<Range<usize>>,
}

impl Block {
    /// Checks a payload and takes it over.
    pub(crate) fn decode(
        kind: BlockKind,
        bytes: Box<[u8]>,
        gauge: &Gauge,
    ) -> Result<Rc<Block>, Malformed> {
        let (entries_end, restarts) = match kind {
            BlockKind::Filter => (bytes.len(), 0),
            BlockKind::Data | BlockKind::Index | BlockKind::Top => {
                check_entries(&bytes).ok_or(Malformed)?
            }
        };
        let block = Block { bytes, entries_end, restarts, gauge: gauge.clone() };
        gauge.add(block.charge());
        Ok(Rc::new(block))
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes this block costs.
    pub(crate) fn charge(&self) -> usize {
        self.bytes.len() + BLOCK_OVERHEAD_BYTES
    }

    #[inline]
    fn restart(&self, index: usize) -> usize {
        let at = self.entries_end + 4 * index;
        u32_at(&self.bytes, at).expect("checked when the block was decoded") as usize
    }

    #[inline]
    fn entry(&self, at: usize) -> Entry {
        parse_entry(&self.bytes[..self.entries_end], at).expect("checked when decoded")
    }

    /// The last restart point whose entry lies before `(key, ts)`, or the first one.
    fn restart_before(&self, key: &[u8], ts: Timestamp) -> usize {
        let (mut low, mut high) = (0, self.restarts);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let entry = self.entry(self.restart(middle));
            let restart_key = &self.bytes[entry.suffix_at..entry.suffix_at + entry.suffix_len];
            if compare((restart_key, entry.ts), (key, ts)).is_lt() {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.restart(low)
    }

    /// The first entry at or after `(key, at)`. Allocates nothing: instead of rebuilding keys it
    /// tracks how many bytes the previous entry had in common with the wanted key.
    pub(crate) fn lower_bound(&self, key: &[u8], at: Timestamp) -> Option<Hit> {
        let mut offset = self.restart_before(key, at);
        // The previous entry lies before the target and agrees with it in `matched` bytes.
        let mut matched = 0;
        while offset < self.entries_end {
            let entry = self.entry(offset);
            if entry.shared == 0 {
                // Perhaps a restart point, which hides what it has in common with its predecessor.
                matched = 0;
            }
            let order = match entry.shared.cmp(&matched) {
                // It leaves the previous entry inside the matched part, upwards: it is greater.
                Ordering::Less => Ordering::Greater,
                // It agrees with the previous entry where that one was already smaller.
                Ordering::Greater => Ordering::Less,
                Ordering::Equal => {
                    let suffix = &self.bytes[entry.suffix_at..entry.suffix_at + entry.suffix_len];
                    let rest = &key[matched..];
                    let common = common_prefix(suffix, rest);
                    matched += common;
                    suffix[common..].cmp(&rest[common..])
                }
            };
            let same_key = order == Ordering::Equal;
            if order == Ordering::Greater || (same_key && entry.ts <= at) {
                return Some(Hit { same_key, ts: entry.ts, value: entry.value() });
            }
            offset = entry.next;
        }
        None
    }
}

fn parse_entry(entries: &[u8], at: usize) -> Option<Entry> {
    let (shared, at) = varint_at(entries, at)?;
    let (suffix_len, at) = varint_at(entries, at)?;
    let (value_tag, at) = varint_at(entries, at)?;
    let ts = Timestamp(u64_at(entries, at)?);
    let suffix_at = at + 8;
    let suffix_len = usize::try_from(suffix_len).ok()?;
    let value_len = value_tag.checked_sub(1).map(usize::try_from).transpose().ok()?;
    let next = suffix_at.checked_add(suffix_len)?.checked_add(value_len.unwrap_or(0))?;
    if next > entries.len() {
        return None;
    }
    let shared = usize::try_from(shared).ok()?;
    Some(Entry { shared, suffix_at, suffix_len, value_len, ts, next })
}

/// Walks a payload; gives the end of its entries and the number of restart points.
fn check_entries(bytes: &[u8]) -> Option<(usize, usize)> {
    let count_at = bytes.len().checked_sub(4)?;
    let restarts = u32_at(bytes, count_at)? as usize;
    let entries_end = count_at.checked_sub(restarts.checked_mul(4)?)?;
    let entries = &bytes[..entries_end];
    let (mut at, mut index, mut key_len) = (0, 0, 0);
    while at < entries_end {
        let entry = parse_entry(entries, at)?;
        if index % RESTART_INTERVAL == 0 {
            let restart = index / RESTART_INTERVAL;
            let stored =
                (restart < restarts).then(|| u32_at(bytes, entries_end + 4 * restart))??;
            if stored as usize != at || entry.shared != 0 {
                return None;
            }
        } else if entry.shared > key_len {
            return None;
        }
        key_len = entry.shared + entry.suffix_len;
        at = entry.next;
        index += 1;
    }
    (index > 0 && restarts == index.div_ceil(RESTART_INTERVAL)).then_some((entries_end, restarts))
}

/// A position in one block; it holds the block alive.
pub(crate) struct BlockCursor {
    block: Rc<Block>,
    /// Offset of the current entry; meaningless when not valid.
    at: usize,
    key: Vec<u8>,
    entry: Option<Entry>,
}

impl BlockCursor {
    /// Not positioned yet. `key` is a buffer to be reused.
    pub(crate) fn new(block: Rc<Block>, mut key: Vec<u8>) -> Self {
        key.clear();
        Self { block, at: 0, key, entry: None }
    }

    /// Gives back the key buffer.
    pub(crate) fn into_key_buffer(self) -> Vec<u8> {
        self.key
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.entry.is_some()
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn block(&self) -> &Rc<Block> {
        &self.block
    }

    fn current(&self) -> &Entry {
        self.entry.as_ref().expect("the cursor stands on an entry")
    }

    pub(crate) fn ts(&self) -> Timestamp {
        self.current().ts
    }

    pub(crate) fn value_range(&self) -> Option<Range<usize>> {
        self.current().value()
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.value_range().map(|range| &self.block.bytes[range])
    }

    /// Stands on the entry at `at`, whose predecessor's key is in the buffer; invalid at the end.
    fn load(&mut self, at: usize) {
        if at >= self.block.entries_end {
            self.entry = None;
            return;
        }
        let entry = self.block.entry(at);
        self.key.truncate(entry.shared);
        let suffix = entry.suffix_at..entry.suffix_at + entry.suffix_len;
        self.key.extend_from_slice(&self.block.bytes[suffix]);
        self.at = at;
        self.entry = Some(entry);
    }

    pub(crate) fn seek_first(&mut self) {
        self.load(0);
    }

    pub(crate) fn seek_last(&mut self) {
        self.load(self.block.restart(self.block.restarts - 1));
        while self.current().next < self.block.entries_end {
            self.load(self.current().next);
        }
    }

    /// Stands on the first entry at or after `(key, ts)`; invalid if there is none.
    pub(crate) fn seek(&mut self, key: &[u8], ts: Timestamp) {
        self.load(self.block.restart_before(key, ts));
        while let Some(entry) = self.entry {
            if compare((&self.key, entry.ts), (key, ts)).is_ge() {
                break;
            }
            self.load(entry.next);
        }
    }

    /// Stands on the last entry before `(key, ts)`; invalid if there is none.
    pub(crate) fn seek_before(&mut self, key: &[u8], ts: Timestamp) {
        self.seek(key, ts);
        if self.is_valid() {
            self.prev();
        } else {
            self.seek_last();
        }
    }

    pub(crate) fn next(&mut self) {
        self.load(self.current().next);
    }

    /// Steps back by walking forward from the restart point before; invalid before the first entry.
    pub(crate) fn prev(&mut self) {
        let target = self.at;
        let (mut low, mut high) = (0, self.block.restarts);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.block.restart(middle) < target {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(restart) = low.checked_sub(1) else {
            self.entry = None;
            return;
        };
        self.load(self.block.restart(restart));
        while self.current().next < target {
            self.load(self.current().next);
        }
    }
}
