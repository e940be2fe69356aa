//! Frames on their way out.

use super::WRITE_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// A buffer this long is closed and a new one begun, so that no large block is copied to grow.
const CHUNK_BYTES: usize = 64 << 10;

/// The first allocation of a buffer: a few small answers.
const CHUNK_BYTES_MIN: usize = 512;

/// What is queued for the client. Holds no memory while empty.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    full: VecDeque<Bytes>,
    full_bytes: usize,
    current: BytesMut,
    /// How much the last batches took: the next buffer's first size.
    recent: usize,
}

impl Outgoing {
    /// Bytes queued.
    pub(crate) fn bytes(&self) -> usize {
        self.full_bytes + self.current.len()
    }

    /// The buffer to append whole frames to.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        if self.current.len() >= CHUNK_BYTES {
            self.close_current();
        }
        if self.current.capacity() == 0 {
            self.current.reserve(self.recent.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES));
        }
        &mut self.current
    }

    /// Appends bytes that are not copied.
    pub(crate) fn append(&mut self, bytes: Bytes) {
        if !self.current.is_empty() {
            self.close_current();
        }
        self.full_bytes += bytes.len();
        self.full.push_back(bytes);
    }

    fn close_current(&mut self) {
        let chunk = std::mem::take(&mut self.current).freeze();
        self.full_bytes += chunk.len();
        self.full.push_back(chunk);
    }

    /// Moves the next write, at most [`WRITE_BYTES_MAX`], into `write`; returns its bytes.
    pub(crate) fn take(&mut self, write: &mut Vec<Bytes>) -> usize {
        if !self.current.is_empty() {
            self.recent = (self.recent / 2).max(self.current.len());
            self.close_current();
        }
        let mut taken = 0;
        while taken < WRITE_BYTES_MAX {
            let Some(mut chunk) = self.full.pop_front() else { break };
            let room = WRITE_BYTES_MAX - taken;
            if chunk.len() > room {
                let head = chunk.split_to(room);
                self.full.push_front(chunk);
                chunk = head;
            }
            taken += chunk.len();
            write.push(chunk);
        }
        self.full_bytes -= taken;
        if self.full.is_empty() {
            self.full = VecDeque::new();
        }
        taken
    }

    /// Forgets everything: the client is gone.
    pub(crate) fn clear(&mut self) {
        *self = Outgoing::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_queue_leaves_in_bounded_writes_and_in_order() {
        let mut outgoing = Outgoing::default();
        let long: Vec<u8> = (0..WRITE_BYTES_MAX * 2 + 7).map(|i| i as u8).collect();
        outgoing.buffer().extend_from_slice(b"first");
        outgoing.buffer().extend_from_slice(&long);
        outgoing.buffer().extend_from_slice(b"last");
        let mut sent: Vec<u8> = Vec::new();
        while outgoing.bytes() > 0 {
            let mut write = Vec::new();
            let bytes = outgoing.take(&mut write);
            assert!(bytes <= WRITE_BYTES_MAX && bytes > 0);
            sent.extend(write.iter().flatten().copied());
        }
        assert_eq!(sent, [b"first", &long[..], b"last"].concat());
    }

    #[test]
    fn nothing_is_held_while_empty() {
        let mut outgoing = Outgoing::default();
        outgoing.buffer().extend_from_slice(&[0; 1000]);
        outgoing.take(&mut Vec::new());
        assert_eq!(outgoing.current.capacity(), 0);
        assert_eq!(outgoing.full.capacity(), 0);
    }
}
