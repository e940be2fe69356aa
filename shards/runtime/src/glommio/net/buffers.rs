//! The buffers that the kernel receives into: a ring of them, shared by all connections of a core.
//!
//! The kernel takes the next one when bytes arrive and says in the completion which it was; the
//! core copies them out and gives it back at once. So a buffer is out only between the arrival of
//! bytes and the next turn of the ring, and a few serve ten thousand connections.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// How many; a power of two.
const COUNT: u16 = 256;

/// Bytes in each.
const SIZE: usize = 8 << 10;

/// The name of the only group of buffers.
pub(super) const GROUP: u16 = 0;

const PAGE: usize = 4096;

/// The ring of entries, and after it the memory they name.
pub(super) struct Buffers {
    memory: NonNull<u8>,
    tail: u16,
}

impl Buffers {
    const ENTRIES: usize = COUNT as usize * size_of::<BufRingEntry>();

    const LAYOUT: Layout = match Layout::from_size_align(
        Self::ENTRIES.next_multiple_of(PAGE) + COUNT as usize * SIZE,
        PAGE,
    ) {
        Ok(layout) => layout,
        Err(_) => panic!("the layout of the buffers"),
    };

    /// Makes the buffers and tells `ring` of them. They must outlive it.
    pub(super) fn register(ring: &IoUring) -> io::Result<Self> {
        // SAFETY: the layout has a size.
        let memory = unsafe { alloc_zeroed(Self::LAYOUT) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(Self::LAYOUT) };
        let mut buffers = Self { memory, tail: 0 };
        // SAFETY: the memory begins with `COUNT` entries, page-aligned, and is freed only with
        // `buffers`, which outlives the ring.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                memory.as_ptr() as u64,
                COUNT,
                GROUP,
                0,
            )?;
        }
        for id in 0..COUNT {
            buffers.put(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Where buffer `id` begins.
    fn start(&self, id: u16) -> *mut u8 {
        assert!(id < COUNT, "the kernel names buffer {id} of {COUNT}");
        let offset = Self::ENTRIES.next_multiple_of(PAGE) + usize::from(id) * SIZE;
        // SAFETY: the offset is within the allocation, by the assertion and the layout.
        unsafe { self.memory.as_ptr().add(offset) }
    }

    /// The first `len` bytes of buffer `id`, which the kernel has handed over.
    pub(super) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(len <= SIZE, "the kernel received {len} bytes into {SIZE}");
        // SAFETY: the range is within the allocation, initialised with zeros, and the kernel does
        // not write to it until it is given back through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start(id), len) }
    }

    /// Gives buffer `id` back; the kernel sees it after [`Buffers::publish`].
    pub(super) fn put(&mut self, id: u16) {
        let slot = usize::from(self.tail & (COUNT - 1));
        let start = self.start(id);
        // SAFETY: the slot is one of the `COUNT` entries. The kernel reads entries before the
        // published tail only. The tail itself lies in a field of the first entry that none of
        // the three setters touch.
        unsafe {
            let entry = &mut *self.memory.as_ptr().cast::<BufRingEntry>().add(slot);
            entry.set_addr(start as u64);
            entry.set_len(SIZE as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel all buffers that were put.
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry, is aligned, and both sides use it atomically.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.memory.as_ptr().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and the ring that used it is gone.
        unsafe { dealloc(self.memory.as_ptr(), Self::LAYOUT) };
    }
}
