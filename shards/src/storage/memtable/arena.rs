//! The memtable's memory: chunks that only grow at their end, addressed by a 32-bit number.
//!
//! Bytes once written never move and are never written again, except link words,
//! which are only read and written as whole words. Chunks are reference-counted so that a
//! row can be held after the memtable is gone.

use std::cell::{Cell, UnsafeCell};
use std::rc::Rc;

/// The unit of addresses and the alignment of every allocation, in bytes.
const UNIT_BYTES: usize = 8;
/// Units that one chunk's addresses span: 256 KiB.
const CHUNK_UNITS: usize = 1 << 15;
const CHUNK_BYTES_MAX: usize = CHUNK_UNITS * UNIT_BYTES;
/// The first chunk's size: a tree that is hardly written costs little.
const CHUNK_BYTES_MIN: usize = 2048;

/// A run of bytes that fills from the front. Belongs to one core.
pub(crate) struct Chunk {
    words: Box<[UnsafeCell<u64>]>,
    used_bytes: Cell<usize>,
}

impl Chunk {
    fn new(bytes: usize) -> Rc<Self> {
        let words = (0..bytes.div_ceil(UNIT_BYTES)).map(|_| UnsafeCell::new(0)).collect();
        Rc::new(Self { words, used_bytes: Cell::new(0) })
    }

    fn len_bytes(&self) -> usize {
        self.words.len() * UNIT_BYTES
    }

    /// The bytes at `at`, which must be a range whose bytes were written as content.
    #[inline]
    pub(crate) fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at + len <= self.used_bytes.get(), "inside the allocated part");
        // SAFETY: the range is inside `words` (checked above), initialised (zeroed at creation),
        // and content ranges are written once, in `Arena::allocate`'s caller, before their address
        // is known to anybody; nobody writes to them afterwards. `Chunk` is not `Sync`.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast::<u8>().add(at), len) }
    }

    /// Reads the aligned 32-bit word at byte `at`.
    #[inline]
    fn word(&self, at: usize) -> u32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.used_bytes.get());
        // SAFETY: aligned and inside `words`; link words are never part of a content slice, so no
        // reference to them exists.
        unsafe { UnsafeCell::raw_get(self.words.as_ptr()).cast::<u32>().add(at / 4).read() }
    }

    #[inline]
    fn set_word(&self, at: usize, value: u32) {
        assert!(at.is_multiple_of(4) && at + 4 <= self.used_bytes.get());
        // SAFETY: as for `word`; the write goes through `UnsafeCell` on one thread.
        unsafe { UnsafeCell::raw_get(self.words.as_ptr()).cast::<u32>().add(at / 4).write(value) }
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.used_bytes.get());
        // SAFETY: inside `words`; called only on a range that was just allocated, of which no
        // reference exists yet; `bytes` cannot overlap it for the same reason.
        unsafe {
            let to = UnsafeCell::raw_get(self.words.as_ptr()).cast::<u8>().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }
}

/// The address of an allocation: chunk number and unit within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(u32);

impl Address {
    /// Stands for "none" in a link.
    pub(crate) const NONE: Address = Address(u32::MAX);

    pub(crate) fn from_link(link: u32) -> Option<Address> {
        (link != u32::MAX).then_some(Address(link))
    }

    pub(crate) fn link(self) -> u32 {
        self.0
    }

    fn chunk(self) -> usize {
        self.0 as usize / CHUNK_UNITS
    }

    fn offset(self) -> usize {
        self.0 as usize % CHUNK_UNITS * UNIT_BYTES
    }
}

/// Grows by chunks; frees everything at once.
pub(crate) struct Arena {
    chunks: Vec<Rc<Chunk>>,
    allocated_bytes: usize,
}

impl Arena {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), allocated_bytes: 0 }
    }

    /// Bytes this arena costs.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.allocated_bytes
    }

    /// Reserves `len` zeroed bytes.
    pub(crate) fn allocate(&mut self, len: usize) -> Address {
        let len = len.next_multiple_of(UNIT_BYTES);
        let fits = self.chunks.last().is_some_and(|chunk| {
            let used = chunk.used_bytes.get();
            used + len <= chunk.len_bytes() && used < CHUNK_BYTES_MAX
        });
        if !fits {
            let doubled = (CHUNK_BYTES_MIN << self.chunks.len().min(16)).min(CHUNK_BYTES_MAX);
            let chunk = Chunk::new(doubled.max(len));
            self.allocated_bytes += chunk.len_bytes();
            self.chunks.push(chunk);
        }
        let number = self.chunks.len() - 1;
        let chunk = &self.chunks[number];
        let at = chunk.used_bytes.get();
        chunk.used_bytes.set(at + len);
        let address = u32::try_from(number * CHUNK_UNITS + at / UNIT_BYTES)
            .expect("a memtable is frozen long before it spans 32 GiB");
        Address(address)
    }

    #[inline]
    pub(crate) fn chunk(&self, address: Address) -> &Rc<Chunk> {
        &self.chunks[address.chunk()]
    }

    #[inline]
    pub(crate) fn offset(address: Address) -> usize {
        address.offset()
    }

    #[inline]
    pub(crate) fn word(&self, address: Address, index: usize) -> u32 {
        self.chunk(address).word(address.offset() + 4 * index)
    }

    #[inline]
    pub(crate) fn set_word(&self, address: Address, index: usize, value: u32) {
        self.chunk(address).set_word(address.offset() + 4 * index, value);
    }

    #[inline]
    pub(crate) fn bytes(&self, address: Address, skip: usize, len: usize) -> &[u8] {
        self.chunk(address).bytes(address.offset() + skip, len)
    }

    /// Fills part of a fresh allocation. It must not have been read as bytes before.
    pub(crate) fn write(&mut self, address: Address, skip: usize, bytes: &[u8]) {
        self.chunk(address).write(address.offset() + skip, bytes);
    }
}
