//! Frames: cutting a stream of bytes into checked messages, and the reverse.
//!
//! The layout stands in `docs/formats/wire.md`. The decoder is fed whatever a read brought, yields
//! every frame that is complete, and keeps the rest: a frame that lies inside one chunk is a slice
//! of it, and only one that straddles chunks is copied together. It allocates no more than has
//! arrived (doubling), whatever length a header claims.

use crate::codec::Malformed;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes in front of each payload.
pub const HEADER_BYTES: usize = 16;

/// Longest payload unless configured otherwise: a 16 MiB statement or value passes.
pub const PAYLOAD_MAX_DEFAULT: u32 = 32 << 20;

/// Longest payload before the handshake is done, so that strangers cannot make a node buffer much.
pub const HANDSHAKE_PAYLOAD_MAX: u32 = 16 << 10;

/// The stream of the connection itself.
pub const CONNECTION: StreamId = StreamId(0);

const FLAG_END: u8 = 1;

/// The kinds from this number on are sent between nodes.
const FIRST_OF_NODES: u8 = 128;

/// One request and its answer on a connection. Chosen by the client; 0 is the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// Which message a frame carries.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind, in order of number.
            pub const ALL: &'static [Kind] = &[$(Kind::$name),*];

            /// The kind with this number.
            pub fn from_number(number: u8) -> Option<Kind> {
                match number {
                    $($number => Some(Kind::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Client: who it is and which versions it speaks.
    Hello = 1,
    /// Client: the answer to `Authenticate`.
    Authentication = 2,
    /// Client: statements as text.
    Query = 3,
    /// Client: parse and plan a statement.
    Prepare = 4,
    /// Client: run a prepared statement.
    Execute = 5,
    /// Client: forget a prepared statement.
    CloseStatement = 6,
    /// Client: give up a request.
    Cancel = 7,
    /// Client: more window for a stream.
    Credit = 8,
    /// Client: are you there?
    Ping = 9,
    /// Client: the end.
    Goodbye = 10,
    /// Server: prove who you are.
    Authenticate = 64,
    /// Server: the session and the placement map.
    Welcome = 65,
    /// Server: columns of the rows that follow.
    RowDescription = 66,
    /// Server: a batch of rows.
    Rows = 67,
    /// Server: a statement is done.
    Complete = 68,
    /// Server: a statement or the connection failed.
    Error = 69,
    /// Server: something worth telling.
    Notice = 70,
    /// Server: a statement is prepared.
    Prepared = 71,
    /// Server: the answer to `Ping`.
    Pong = 72,
    /// Server: it drains.
    Draining = 73,
    /// Server: the placement map changed.
    Placement = 74,
    /// Node: who it is, and whom it means to reach.
    NodeHello = 128,
    /// Node: who was reached; prove that you belong here.
    NodeChallenge = 129,
    /// Node: the proof of who dialled.
    NodeProof = 130,
    /// Node: the proof of who was dialled; the link is up.
    NodeWelcome = 131,
    /// Node: why there is no link, or none any more.
    NodeRefused = 132,
    /// Node: are you there?
    NodePing = 133,
    /// Node: the answer to `NodePing`.
    NodePong = 134,
    /// Node: a message without an answer.
    NodePost = 135,
    /// Node: a message that is answered on its stream.
    NodeCall = 136,
    /// Node: the answer to a `NodeCall`.
    NodeAnswer = 137,
    /// Node: there is no answer to a `NodeCall`, and why.
    NodeFault = 138,
    /// Node: a message that goes through a third node.
    NodeRelay = 139,
}

impl Kind {
    /// Whether only nodes send it to each other.
    pub fn is_of_nodes(self) -> bool {
        self as u8 >= FIRST_OF_NODES
    }
}

/// One checked frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is.
    pub kind: Kind,
    /// Whether the frame closes its stream.
    pub end: bool,
    /// Which stream it belongs to.
    pub stream: StreamId,
    /// A slice of what was read; it keeps the whole chunk alive.
    pub payload: Bytes,
}

/// Why bytes are no frames. The connection cannot go on after any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Refused before anything was allocated.
    #[error("a frame of {length} bytes is longer than the {max} this connection allows")]
    TooLong {
        /// What the header claims.
        length: u32,
        /// What is allowed.
        max: u32,
    },
    /// Damaged on the way, or not this protocol.
    #[error("frame checksum is {found:08x}, its contents give {computed:08x}")]
    Checksum {
        /// In the header.
        found: u32,
        /// Of the header and payload received.
        computed: u32,
    },
    /// The header of a frame between nodes is damaged: its length means nothing.
    #[error("the header's check is {found:04x}, the header gives {computed:04x}")]
    Header {
        /// In the header.
        found: u16,
        /// Of the header received.
        computed: u16,
    },
    /// No such kind in this version.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// Flag or reserved bits that this version does not define.
    #[error("frame with undefined flags {flags:#04x} or reserved bits {reserved:#06x}")]
    UndefinedBits {
        /// The flags.
        flags: u8,
        /// The reserved field.
        reserved: u16,
    },
    /// The frame is whole but its message is not.
    #[error("malformed {kind:?} message: {cause}")]
    Malformed {
        /// What the frame says it is.
        kind: Kind,
        /// What is wrong with it.
        cause: Malformed,
    },
}

/// Cuts chunks into frames. Holds nothing while no frame is partly there.
#[derive(Debug)]
pub struct FrameDecoder {
    chunk: Bytes,
    /// The beginning of a frame that straddles chunks.
    partial: BytesMut,
    payload_max: u32,
}

impl FrameDecoder {
    /// A decoder that refuses payloads above `payload_max` bytes.
    pub fn new(payload_max: u32) -> FrameDecoder {
        FrameDecoder { chunk: Bytes::new(), partial: BytesMut::new(), payload_max }
    }

    /// Changes the limit, for frames not yet begun.
    pub fn set_payload_max(&mut self, payload_max: u32) {
        self.payload_max = payload_max;
    }

    /// Takes what a read brought. The frames of the chunk before should have been taken with
    /// [`FrameDecoder::next_frame`]; what is left of it is copied in front.
    pub fn feed(&mut self, chunk: Bytes) {
        if !self.chunk.is_empty() {
            let mut joined = BytesMut::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
            return;
        }
        self.chunk = chunk;
    }

    /// The next complete frame, or `None` until more is fed. After an error the decoder is done.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.partial.is_empty() {
            match self.frame_bytes(&self.chunk)? {
                Some(total) if self.chunk.len() >= total => {
                    return parse(self.chunk.split_to(total)).map(Some);
                }
                _ => {
                    self.partial.extend_from_slice(&self.chunk);
                    self.chunk = Bytes::new();
                    return Ok(None);
                }
            }
        }
        self.fill_partial(HEADER_BYTES);
        let Some(total) = self.frame_bytes(&self.partial)? else { return Ok(None) };
        self.fill_partial(total);
        if self.partial.len() < total {
            return Ok(None);
        }
        parse(std::mem::take(&mut self.partial).freeze()).map(Some)
    }

    /// How long the frame that is partly there will be, header included: `None` when there is
    /// none, the header's length while that is not complete.
    pub fn pending_bytes(&self) -> Option<usize> {
        if self.partial.is_empty() {
            return None;
        }
        Some(self.frame_bytes(&self.partial).ok().flatten().unwrap_or(HEADER_BYTES))
    }

    /// Bytes held for the frame that is partly there.
    pub fn held_bytes(&self) -> usize {
        self.partial.len()
    }

    fn fill_partial(&mut self, target: usize) {
        let take = target.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk[..take]);
        self.chunk.advance(take);
    }

    /// Length of the frame that begins here, once its header is there. The length is judged as
    /// soon as its own four bytes are.
    fn frame_bytes(&self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        if length > self.payload_max {
            return Err(FrameError::TooLong { length, max: self.payload_max });
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let (found, computed) = (u16::from_le_bytes([header[6], header[7]]), check_of(header));
        if found == computed {
            return Ok(Some(HEADER_BYTES + length as usize));
        }
        Err(if header[4] < FIRST_OF_NODES {
            FrameError::UndefinedBits { flags: header[5], reserved: found }
        } else {
            FrameError::Header { found, computed }
        })
    }
}

/// The field at offset 6: 0, and between nodes a check of the header alone. Nodes read from each
/// other for ever and have no time to wait for the end of a frame whose length is wrong.
fn check_of(header: &[u8; HEADER_BYTES]) -> u16 {
    if header[4] < FIRST_OF_NODES {
        return 0;
    }
    checksum(&header[..6], &header[8..12]) as u16
}

fn checksum(covered_header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(covered_header), payload)
}

/// `bytes` is one frame, header and payload.
fn parse(mut bytes: Bytes) -> Result<Frame, FrameError> {
    let mut header = bytes.split_to(HEADER_BYTES);
    let computed = checksum(&header[..12], &bytes);
    header.advance(4);
    let (number, flags, reserved) = (header.get_u8(), header.get_u8(), header.get_u16_le());
    let stream = StreamId(header.get_u32_le());
    let found = header.get_u32_le();
    if found != computed {
        return Err(FrameError::Checksum { found, computed });
    }
    // The reserved field was looked at as soon as it was there.
    if flags & !FLAG_END != 0 {
        return Err(FrameError::UndefinedBits { flags, reserved });
    }
    let kind = Kind::from_number(number).ok_or(FrameError::UnknownKind(number))?;
    Ok(Frame { kind, end: flags & FLAG_END != 0, stream, payload: bytes })
}

/// A frame being written at the end of a buffer: see [`begin`].
#[derive(Debug)]
#[must_use = "a frame begun must be finished or abandoned"]
pub struct Unfinished {
    start: usize,
}

/// Starts a frame at the end of `out`; the payload is then appended to `out`, and [`Unfinished`]
/// completes it.
pub fn begin(out: &mut BytesMut, kind: Kind, stream: StreamId) -> Unfinished {
    let start = out.len();
    out.reserve(HEADER_BYTES);
    out.put_u32_le(0);
    out.put_u8(kind as u8);
    out.put_u8(0);
    out.put_u16_le(0);
    out.put_u32_le(stream.0);
    out.put_u32_le(0);
    Unfinished { start }
}

impl Unfinished {
    /// Bytes of payload written so far.
    pub fn payload_bytes(&self, out: &BytesMut) -> usize {
        out.len() - self.start - HEADER_BYTES
    }

    /// Fills in length, flags and checksum.
    ///
    /// # Panics
    /// When the payload is 4 GiB or longer; writers bound what they append far below.
    pub fn finish(self, out: &mut BytesMut, end: bool) {
        self.finish_with_tail(out, end, std::iter::empty());
    }

    /// The same for a frame whose payload goes on in the pieces of `tail`, which are not copied:
    /// the caller sends them right behind `out`.
    ///
    /// # Panics
    /// As [`Unfinished::finish`].
    pub fn finish_with_tail<'a>(
        self,
        out: &mut BytesMut,
        end: bool,
        tail: impl Iterator<Item = &'a Bytes> + Clone,
    ) {
        let (header, payload) = out[self.start..].split_at_mut(HEADER_BYTES);
        let length = payload.len() + tail.clone().map(Bytes::len).sum::<usize>();
        let length = u32::try_from(length).expect("payloads are bounded below 4 GiB");
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[5] = if end { FLAG_END } else { 0 };
        if let Some(header) = header.first_chunk_mut::<HEADER_BYTES>() {
            let check = check_of(header);
            header[6..8].copy_from_slice(&check.to_le_bytes());
        }
        let sum = checksum(&header[..12], payload);
        let sum = tail.fold(sum, |sum, piece| crc32c::crc32c_append(sum, piece));
        header[12..].copy_from_slice(&sum.to_le_bytes());
    }

    /// Removes everything that was written of the frame.
    pub fn abandon(self, out: &mut BytesMut) {
        out.truncate(self.start);
    }
}

/// Appends one frame whose payload `fill` writes.
pub fn write(
    out: &mut BytesMut,
    kind: Kind,
    stream: StreamId,
    end: bool,
    fill: impl FnOnce(&mut BytesMut),
) {
    let frame = begin(out, kind, stream);
    fill(out);
    frame.finish(out, end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        write(&mut out, Kind::Query, StreamId(7), false, |p| p.extend_from_slice(payload));
        out
    }

    fn decode_all(decoder: &mut FrameDecoder) -> Result<Vec<Frame>, FrameError> {
        std::iter::from_fn(|| decoder.next_frame().transpose()).collect()
    }

    #[test]
    fn many_frames_in_one_chunk_and_one_frame_in_many_chunks() {
        let mut bytes = sample(b"one");
        bytes.extend_from_slice(&sample(b""));
        bytes.extend_from_slice(&sample(&[9; 100]));
        let mut whole = FrameDecoder::new(1000);
        whole.feed(bytes.clone().freeze());
        let frames = decode_all(&mut whole).unwrap();
        assert_eq!(frames.iter().map(|f| f.payload.len()).collect::<Vec<_>>(), [3, 0, 100]);
        assert_eq!(whole.pending_bytes(), None);

        for size in [1, 2, 3, 15, 16, 17, 50] {
            let mut pieces = FrameDecoder::new(1000);
            let mut got = Vec::new();
            for piece in bytes.chunks(size) {
                pieces.feed(Bytes::copy_from_slice(piece));
                got.extend(decode_all(&mut pieces).unwrap());
            }
            assert_eq!(got, frames, "in pieces of {size}");
            assert_eq!(pieces.held_bytes(), 0);
        }
    }

    #[test]
    fn a_length_of_two_gibibytes_is_refused_from_its_four_bytes() {
        let mut decoder = FrameDecoder::new(PAYLOAD_MAX_DEFAULT);
        decoder.feed(Bytes::from_static(&[0, 0, 0, 0x80]));
        let refused = FrameError::TooLong { length: 1 << 31, max: PAYLOAD_MAX_DEFAULT };
        assert_eq!(decoder.next_frame(), Err(refused));
        assert_eq!(decoder.held_bytes(), 0);
    }

    #[test]
    fn a_damaged_length_between_nodes_is_noticed_with_the_header() {
        let mut good = BytesMut::new();
        write(&mut good, Kind::NodePost, CONNECTION, false, |p| p.extend_from_slice(&[7; 100]));
        for bit in 0..12 * 8 {
            let mut bad = good[..HEADER_BYTES].to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = FrameDecoder::new(PAYLOAD_MAX_DEFAULT);
            decoder.feed(bad.into());
            assert!(decoder.next_frame().is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = sample(b"payload");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = FrameDecoder::new(1000);
            decoder.feed(bad.freeze());
            match decoder.next_frame() {
                Err(_) | Ok(None) => {}
                Ok(Some(frame)) => panic!("bit {bit} flipped gave {frame:?}"),
            }
        }
    }

    #[test]
    fn undefined_bits_and_kinds_are_refused() {
        let resealed = |change: &dyn Fn(&mut BytesMut)| {
            let mut bytes = sample(b"x");
            change(&mut bytes);
            let sum = checksum(&bytes[..12], &bytes[16..]);
            bytes[12..16].copy_from_slice(&sum.to_le_bytes());
            let mut decoder = FrameDecoder::new(1000);
            decoder.feed(bytes.freeze());
            decoder.next_frame()
        };
        assert_eq!(resealed(&|b| b[4] = 63), Err(FrameError::UnknownKind(63)));
        let undefined = |flags, reserved| Err(FrameError::UndefinedBits { flags, reserved });
        assert_eq!(resealed(&|b| b[5] = 2), undefined(2, 0));
        assert_eq!(resealed(&|b| b[7] = 1), undefined(0, 256));
    }

    #[test]
    fn an_abandoned_frame_leaves_nothing() {
        let mut out = sample(b"kept");
        let before = out.clone();
        let frame = begin(&mut out, Kind::Rows, StreamId(1));
        out.extend_from_slice(b"given up");
        assert_eq!(frame.payload_bytes(&out), 8);
        frame.abandon(&mut out);
        assert_eq!(out, before);
    }
}
