//! What the fuzz targets run, one function a decoder of untrusted bytes.
//!
//! Each takes any bytes and must return: no panic, no allocation beyond what the bytes pay for,
//! and whatever decodes must encode to something that decodes to the same.

use crate::codec::Wire;
use crate::frame::{Frame, FrameDecoder, Kind, StreamId};
use crate::message::{ClientMessage, NodeMessage, ServerMessage};
use crate::rows::RowBatch;
use crate::scram;
use bytes::{Bytes, BytesMut};
use model::value::Value;

/// Longest payload the fuzzed decoder takes.
const PAYLOAD_MAX: u32 = 1 << 20;

/// A stream of bytes as it comes from a socket: the first byte chooses the size of the pieces.
pub fn frames(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let mut decoder = FrameDecoder::new(PAYLOAD_MAX);
    for piece in stream.chunks(usize::from(*size) + 1) {
        decoder.feed(Bytes::copy_from_slice(piece));
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    // What a checksum let pass is still anything at all.
                    read_both_ways(&frame);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoder.held_bytes() <= stream.len(), "holds no more than it was fed");
    }
}

/// An exchange of SCRAM with a server and with a client: two messages each, parted by a zero.
pub fn scram(data: &[u8]) {
    let verifier = scram::Verifier::of_password("secret", b"salt", 1);
    let mut server = scram::Server::new(verifier, [7; scram::NONCE_BYTES]);
    for message in data.splitn(2, |byte| *byte == 0) {
        let proved = matches!(server.step(message), Ok(scram::ServerAction::Done(_)));
        assert!(!proved, "nobody comes in without the password");
    }
    // Few rounds: a server may ask for a million, which takes a while.
    if data.windows(4).any(|part| part.iter().all(u8::is_ascii_digit)) {
        return;
    }
    let mut client = scram::Client::new("secret", [7; scram::NONCE_BYTES]);
    for message in data.splitn(2, |byte| *byte == 0) {
        let proved = matches!(client.step(message), Ok(scram::ClientAction::Done));
        assert!(!proved, "no server is believed that does not know the verifier");
    }
}

/// A message of a client: kind, stream (0 or 1), payload.
pub fn client_message(data: &[u8]) {
    let Some(frame) = framed(data) else { return };
    let Ok(message) = ClientMessage::read(&frame) else { return };
    let mut out = BytesMut::new();
    message.write(&mut out, frame.stream);
    let again = ClientMessage::read(&only_frame(out)).expect("what was written is read");
    // Through bytes, since NaN is not equal to itself.
    assert_eq!(encoded(&again, ClientMessage::write, frame.stream), {
        encoded(&message, ClientMessage::write, frame.stream)
    });
}

/// A message of a server: kind, stream (0 or 1), payload.
pub fn server_message(data: &[u8]) {
    let Some(frame) = framed(data) else { return };
    let Ok(message) = ServerMessage::read(&frame) else { return };
    let write = |m: &ServerMessage, out: &mut BytesMut, s| m.write(out, s, true);
    let first = encoded(&message, write, frame.stream);
    let again = ServerMessage::read(&only_frame(first.clone())).expect("what was written is read");
    assert_eq!(encoded(&again, write, frame.stream), first);
}

/// A message of another node: kind, stream (bit 0) and end (bit 1), payload.
pub fn node_message(data: &[u8]) {
    let Some(mut frame) = framed(data) else { return };
    frame.end = data.get(1).is_some_and(|bits| bits & 2 != 0);
    let Ok(message) = NodeMessage::read(&frame) else { return };
    let written = encoded(&message, NodeMessage::write, frame.stream);
    let again = NodeMessage::read(&only_frame(written)).expect("what was written is read");
    assert_eq!(again, message);
}

/// The payload of a `Rows` frame.
pub fn rows(data: &[u8]) {
    let Ok(batch) = RowBatch::new(Bytes::copy_from_slice(data)) else { return };
    if let Ok(rows) = batch.to_rows() {
        assert_eq!(rows.len(), batch.rows() as usize);
        assert!(rows.iter().all(|row| row.len() == usize::from(batch.columns())));
    }
}

/// One value.
pub fn value(data: &[u8]) {
    let Ok(value) = crate::codec::decode_all::<Value>(data) else { return };
    let mut out = BytesMut::new();
    value.encode(&mut out);
    let again = crate::codec::decode_all::<Value>(&out).expect("what was written is read");
    assert!(value.same(&again), "{value:?} came back as {again:?}");
}

fn read_both_ways(frame: &Frame) {
    let client = ClientMessage::read(frame).is_ok();
    let server = ServerMessage::read(frame).is_ok();
    let node = NodeMessage::read(frame).is_ok();
    let readers = [client, server, node].into_iter().filter(|reads| *reads).count();
    assert!(readers <= 1, "a kind belongs to one direction");
}

fn framed(data: &[u8]) -> Option<Frame> {
    let (kind, rest) = data.split_first()?;
    let (stream, payload) = rest.split_first()?;
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    let stream = StreamId(u32::from(*stream) % 2);
    Some(Frame { kind, end: false, stream, payload: Bytes::copy_from_slice(payload) })
}

fn encoded<M>(
    message: &M,
    write: impl Fn(&M, &mut BytesMut, StreamId),
    stream: StreamId,
) -> BytesMut {
    let mut out = BytesMut::new();
    write(message, &mut out, stream);
    out
}

fn only_frame(bytes: BytesMut) -> Frame {
    let mut decoder = FrameDecoder::new(u32::MAX);
    decoder.feed(bytes.freeze());
    let frame = decoder.next_frame().expect("well formed").expect("complete");
    assert!(matches!(decoder.next_frame(), Ok(None)), "nothing behind it");
    frame
}
