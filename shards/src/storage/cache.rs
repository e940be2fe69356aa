//! The block cache of one core: all trees, all kinds of block, one hard bound in bytes.
//!
//! A segmented list with second chances: blocks enter a probation list; a point read that meets one
//! again only sets its mark, and when its turn to go comes a marked block moves to the protected
//! list instead. So a hit moves nothing, and a scan, which marks nothing, cannot push out what is
//! read all the time. The bound counts every live block, also those that were evicted while a reader still
//! held them: the cache makes itself smaller by what readers hold. Lookup tables are sized once, at
//! the start, and never grow.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::table::block::{Block, Gauge};
use super::table::format::Handle;
use super::table::iter::BlockSource;
use super::table::{CacheSlot, Table};

/// The protected list's share of the capacity, in percent.
const PROTECTED_PERCENT: usize = 80;
/// How many blocks in use or marked an eviction passes over before it gives up.
const EVICTION_STEPS_MAX: usize = 256;
/// Entries there may be for every block of the usual size that fits: small blocks (the last of a
/// table, index blocks) need more.
const ENTRIES_PER_BLOCK: usize = 2;
const ENTRIES_MIN: usize = 64;
/// Bytes of the lookup tables for each possible entry.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<(BlockKey, u32)>();

const NONE: u32 = u32::MAX;

type BlockKey = (CacheSlot, u64);

/// Multiplies and folds; the keys are small numbers chosen by us, not by clients.
#[derive(Default)]
struct BlockKeyHasher(u64);

impl Hasher for BlockKeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x5851_f42d_4c95_7f2d) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

struct Entry {
    key: BlockKey,
    block: Option<Rc<Block>>,
    previous: u32,
    next: u32,
    protected: bool,
    /// A point read has met it since its last turn.
    marked: bool,
}

/// A doubly linked list through the entries, the latest first.
#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
    bytes: usize,
}

const EMPTY: List = List { first: NONE, last: NONE, bytes: 0 };

struct Inner {
    map: HashMap<BlockKey, u32, BuildHasherDefault<BlockKeyHasher>>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Probation, protected.
    lists: [List; 2],
}

/// How a block is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// By a point read: being met again counts.
    Point,
    /// By a scan: it passes once and says nothing about tomorrow.
    Scan,
}

/// See the module's essay. One per core.
pub(crate) struct BlockCache {
    inner: RefCell<Inner>,
    gauge: Gauge,
    capacity_bytes: usize,
    protected_bytes_max: usize,
    entries_max: usize,
}

impl BlockCache {
    /// `budget_bytes` bounds live blocks and lookup tables together.
    pub(crate) fn new(budget_bytes: usize, block_bytes: usize) -> Self {
        let entries_max = (budget_bytes / block_bytes * ENTRIES_PER_BLOCK).max(ENTRIES_MIN);
        let capacity_bytes = budget_bytes.saturating_sub(entries_max * ENTRY_BYTES);
        let inner = Inner {
            map: HashMap::with_capacity_and_hasher(entries_max, BuildHasherDefault::default()),
            entries: Vec::with_capacity(entries_max),
            free: Vec::new(),
            lists: [EMPTY; 2],
        };
        Self {
            inner: RefCell::new(inner),
            gauge: Gauge::default(),
            capacity_bytes,
            protected_bytes_max: capacity_bytes / 100 * PROTECTED_PERCENT,
            entries_max,
        }
    }

    /// Counts the blocks that belong in this cache; blocks are decoded with it.
    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// Bytes of all live blocks, in the cache or held by readers, and of the lookup tables.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.gauge.bytes() + self.entries_max * ENTRY_BYTES
    }

    #[inline]
    pub(crate) fn get(&self, slot: CacheSlot, offset: u64, touch: Touch) -> Option<Rc<Block>> {
        let mut inner = self.inner.borrow_mut();
        let at = *inner.map.get(&(slot, offset))?;
        let entry = &mut inner.entries[at as usize];
        entry.marked |= touch == Touch::Point;
        entry.block.clone()
    }

    /// Takes a block in and makes room for it. Where readers hold so much that nothing can go, the
    /// block stays out and lives as long as its reader.
    pub(crate) fn insert(&self, slot: CacheSlot, offset: u64, block: &Rc<Block>) {
        let mut inner = self.inner.borrow_mut();
        if let Some(at) = inner.map.get(&(slot, offset)).copied() {
            inner.remove(at);
        }
        self.evict(&mut inner);
        if self.gauge.bytes() > self.capacity_bytes || inner.map.len() >= self.entries_max {
            return;
        }
        inner.push((slot, offset), Rc::clone(block));
    }

    /// Evicts until the live blocks fit and one more entry does.
    fn evict(&self, inner: &mut Inner) {
        for list in 0..2 {
            let mut steps = EVICTION_STEPS_MAX;
            let mut at = inner.lists[list].last;
            while at != NONE
                && steps > 0
                && (self.gauge.bytes() > self.capacity_bytes || inner.map.len() >= self.entries_max)
            {
                let entry = &inner.entries[at as usize];
                let previous = entry.previous;
                // To drop our hold on a block that a reader has frees nothing.
                let is_free =
                    entry.block.as_ref().is_some_and(|block| Rc::strong_count(block) == 1);
                if !is_free {
                    steps -= 1;
                } else if entry.marked && list == 0 {
                    steps -= 1;
                    inner.protect(at, self.protected_bytes_max);
                } else {
                    inner.remove(at);
                }
                at = previous;
            }
        }
    }
}

impl Inner {
    fn link_first(&mut self, at: u32, protected: bool) {
        let list = self.lists[usize::from(protected)];
        let entry = &mut self.entries[at as usize];
        entry.protected = protected;
        entry.previous = NONE;
        entry.next = list.first;
        let bytes = entry.block.as_ref().map_or(0, |block| block.charge());
        if list.first != NONE {
            self.entries[list.first as usize].previous = at;
        }
        let list = &mut self.lists[usize::from(protected)];
        list.first = at;
        list.bytes += bytes;
        if list.last == NONE {
            list.last = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let entry = &self.entries[at as usize];
        let (previous, next) = (entry.previous, entry.next);
        let bytes = entry.block.as_ref().map_or(0, |block| block.charge());
        let list = usize::from(entry.protected);
        self.lists[list].bytes -= bytes;
        if previous == NONE {
            self.lists[list].first = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next == NONE {
            self.lists[list].last = previous;
        } else {
            self.entries[next as usize].previous = previous;
        }
    }

    fn push(&mut self, key: BlockKey, block: Rc<Block>) {
        let entry = Entry {
            key,
            block: Some(block),
            previous: NONE,
            next: NONE,
            protected: false,
            marked: false,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.map.insert(key, at);
        self.link_first(at, false);
    }

    fn remove(&mut self, at: u32) {
        self.unlink(at);
        let entry = &mut self.entries[at as usize];
        entry.block = None;
        let key = entry.key;
        self.map.remove(&key);
        self.free.push(at);
    }

    /// Moves a block to the protected list; what that list has no room for goes back on probation,
    /// unless it was marked meanwhile.
    fn protect(&mut self, at: u32, protected_bytes_max: usize) {
        self.move_to(at, true);
        let mut steps = EVICTION_STEPS_MAX;
        while self.lists[1].bytes > protected_bytes_max && self.lists[1].last != at {
            let last = self.lists[1].last;
            let stays = self.entries[last as usize].marked && steps > 0;
            steps = steps.saturating_sub(1);
            self.move_to(last, stays);
        }
    }

    /// Moves a block to the head of a list and takes its mark.
    fn move_to(&mut self, at: u32, protected: bool) {
        self.unlink(at);
        self.entries[at as usize].marked = false;
        self.link_first(at, protected);
    }
}

/// The cache as a source of blocks, for one kind of reader.
pub(crate) struct CachedBlocks<'a> {
    pub(crate) cache: &'a BlockCache,
    pub(crate) touch: Touch,
    /// Blocks this reader has loaded itself: they stay at hand even where the cache had no room.
    pub(crate) loaded: &'a [Loaded],
}

/// A block that a reader has loaded, with its place.
pub(crate) struct Loaded {
    pub(crate) slot: CacheSlot,
    pub(crate) offset: u64,
    pub(crate) block: Rc<Block>,
}

impl BlockSource for CachedBlocks<'_> {
    fn block(&self, table: &Table, handle: Handle) -> Option<Rc<Block>> {
        self.cache.get(table.slot, handle.offset, self.touch).or_else(|| {
            self.loaded
                .iter()
                .find(|loaded| loaded.slot == table.slot && loaded.offset == handle.offset)
                .map(|loaded| Rc::clone(&loaded.block))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::block::BlockKind;
    use super::*;

    const BLOCK_BYTES: usize = 1024;
    const BUDGET_BYTES: usize = 64 * 1024;

    fn block(cache: &BlockCache) -> Rc<Block> {
        let bytes = vec![7; BLOCK_BYTES].into_boxed_slice();
        Block::decode(BlockKind::Filter, bytes, cache.gauge()).expect("filters have no structure")
    }

    #[test]
    fn never_holds_more_than_its_budget() {
        let cache = BlockCache::new(BUDGET_BYTES, BLOCK_BYTES);
        for offset in 0..10_000 {
            let block = block(&cache);
            cache.insert(CacheSlot(offset % 3), offset, &block);
            drop(block);
            assert!(cache.memory_bytes() <= BUDGET_BYTES);
            if offset > 5 {
                cache.get(CacheSlot((offset - 5) % 3), offset - 5, Touch::Point);
            }
        }
    }

    #[test]
    fn blocks_held_by_readers_count() {
        let cache = BlockCache::new(BUDGET_BYTES, BLOCK_BYTES);
        let mut held = Vec::new();
        for offset in 0..30 {
            let block = block(&cache);
            cache.insert(CacheSlot(1), offset, &block);
            held.push(block);
        }
        for offset in 30..1_000 {
            let block = block(&cache);
            cache.insert(CacheSlot(1), offset, &block);
            drop(block);
            assert!(cache.memory_bytes() <= BUDGET_BYTES);
        }
        drop(held);
        assert!(cache.memory_bytes() <= BUDGET_BYTES);
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_read_again() {
        let cache = BlockCache::new(BUDGET_BYTES, BLOCK_BYTES);
        for offset in 0..10 {
            let block = block(&cache);
            cache.insert(CacheSlot(1), offset, &block);
            assert!(cache.get(CacheSlot(1), offset, Touch::Point).is_some());
        }
        for offset in 0..10_000 {
            let block = block(&cache);
            cache.insert(CacheSlot(2), offset, &block);
            cache.get(CacheSlot(2), offset, Touch::Scan);
        }
        assert!((0..10).all(|offset| cache.get(CacheSlot(1), offset, Touch::Point).is_some()));
    }

    #[test]
    fn the_budget_holds_when_everything_is_read_again() {
        let cache = BlockCache::new(16 * BUDGET_BYTES, BLOCK_BYTES);
        for offset in 0..3_000 {
            let block = block(&cache);
            cache.insert(CacheSlot(1), offset, &block);
            drop(block);
            assert!(cache.memory_bytes() <= 16 * BUDGET_BYTES);
            for recent in offset.saturating_sub(700)..=offset {
                cache.get(CacheSlot(1), recent, Touch::Point);
            }
        }
    }

    #[test]
    fn a_block_taken_in_again_replaces_the_first() {
        let cache = BlockCache::new(BUDGET_BYTES, BLOCK_BYTES);
        for _ in 0..100 {
            let block = block(&cache);
            cache.insert(CacheSlot(1), 0, &block);
        }
        assert_eq!(cache.inner.borrow().map.len(), 1);
        assert!(cache.gauge().bytes() < 2 * BLOCK_BYTES + 1024);
    }
}
