//! Memory that direct I/O can use.

use glommio::allocate_dma_buffer_global;
use glommio::io::{DmaBuffer, ReadResult};

/// Aligned bytes, in one of the shapes the executor knows.
pub(crate) enum AlignedBytes {
    /// No bytes, no memory.
    Empty,
    /// Memory of our own.
    Owned(DmaBuffer),
    /// What a read brought, still in the executor's memory.
    Read(ReadResult),
}

impl AlignedBytes {
    /// `len` zero bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self::padded(&[], len)
    }

    /// `data`, then zeros up to `len` bytes in all.
    pub(crate) fn padded(data: &[u8], len: usize) -> Self {
        if len == 0 {
            return Self::Empty;
        }
        let mut memory = allocate_dma_buffer_global(len);
        let bytes = memory.as_mut_ptr();
        // SAFETY: the allocation is `len` bytes, `data` is no longer and cannot overlap it. All
        // of it is written here, before anyone sees it as a slice.
        unsafe {
            bytes.copy_from_nonoverlapping(data.as_ptr(), data.len());
            bytes.add(data.len()).write_bytes(0, len - data.len());
        }
        Self::Owned(memory)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Owned(memory) => memory.as_bytes(),
            Self::Read(result) => result,
        }
    }

    /// The bytes to write to; what a read brought is copied first.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        if let Self::Read(result) = self {
            *self = Self::padded(result, result.len());
        }
        match self {
            Self::Owned(memory) => memory.as_bytes_mut(),
            Self::Empty | Self::Read(_) => &mut [],
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.as_slice().len() {
            return;
        }
        match self {
            _ if len == 0 => *self = Self::Empty,
            Self::Empty => {}
            Self::Owned(memory) => memory.trim_to_size(len),
            Self::Read(result) => {
                if let Some(shorter) = ReadResult::slice(result, 0, len) {
                    *result = shorter;
                }
            }
        }
    }
}
