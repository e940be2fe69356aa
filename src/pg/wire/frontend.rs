//! What a client sends once it is let in.

use super::{Reader, Text, WireError};
use bytes::{Buf, Bytes, BytesMut};

/// The kind and the length.
pub const HEADER_BYTES: usize = 5;

/// First bytes of the messages.
const KINDS: &[u8] = b"QPBDECSHdcfpFX";

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Run statements given as text.
    Query(Text),
    /// Prepare a statement.
    Parse(Parse),
    /// Make a portal of a prepared statement.
    Bind(Bind),
    /// Say what a statement or portal takes and gives.
    Describe(Object),
    /// Run a portal.
    Execute {
        /// The portal.
        portal: Text,
        /// Most rows to return; 0 or less: all.
        limit: i32,
    },
    /// Forget a statement or portal.
    Close(Object),
    /// The end of a request.
    Sync,
    /// Send what there is.
    Flush,
    /// A piece of a copy's data.
    CopyData(Bytes),
    /// The end of a copy's data.
    CopyDone,
    /// The copy is given up, and why.
    CopyFail(Text),
    /// An answer to a question of the log-in.
    Password(Bytes),
    /// Call a function by its number, as long ago.
    FunctionCall,
    /// Goodbye.
    Terminate,
}

/// Prepare a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parse {
    /// Its name; the empty one may be given anew.
    pub name: Text,
    /// One statement.
    pub text: Text,
    /// Numbers of the parameters' types; 0, or a missing one, is to be found out.
    pub types: Vec<u32>,
}

/// Make a portal of a prepared statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The portal's name; the empty one may be given anew.
    pub portal: Text,
    /// The statement's.
    pub statement: Text,
    /// Formats of the parameters: none (all text), one for all, or one each.
    pub formats: Vec<i16>,
    /// The parameters; `None` is `NULL`.
    pub parameters: Vec<Option<Bytes>>,
    /// Formats of the result's columns, like those of the parameters.
    pub result_formats: Vec<i16>,
}

/// A prepared statement or a portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A prepared statement.
    Statement(Text),
    /// A portal.
    Portal(Text),
}

/// The length of the message that begins `buffer`, kind and length included; `None` before its
/// header is there.
///
/// # Errors
/// It is no message's beginning: told by the first byte, or by a length that none has or that is
/// over `payload_max`.
pub fn length(buffer: &[u8], payload_max: usize) -> Result<Option<usize>, WireError> {
    match buffer.first() {
        Some(kind) if !KINDS.contains(kind) => return Err(WireError::Kind(*kind)),
        _ => {}
    }
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [_, length @ ..] = *header;
    let length = i32::from_be_bytes(length);
    match usize::try_from(length) {
        Ok(length) if (4..=payload_max.saturating_add(4)).contains(&length) => Ok(Some(length + 1)),
        _ => Err(WireError::Length),
    }
}

/// Cuts the message that begins `buffer` off it; `None` while it is not all there.
///
/// # Errors
/// It is none. Nothing sensible follows then.
pub fn cut(buffer: &mut BytesMut, payload_max: usize) -> Result<Option<Message>, WireError> {
    let Some(length) = length(buffer, payload_max)? else { return Ok(None) };
    if buffer.len() < length {
        return Ok(None);
    }
    let mut message = buffer.split_to(length).freeze();
    let kind = message[0];
    message.advance(HEADER_BYTES);
    read(kind, message).map(Some)
}

fn read(kind: u8, payload: Bytes) -> Result<Message, WireError> {
    let mut reader = Reader::new(payload);
    let message = match kind {
        b'Q' => Message::Query(reader.text()?),
        b'P' => Message::Parse(Parse {
            name: reader.text()?,
            text: reader.text()?,
            types: reader.list(|reader| reader.int32().map(|oid| oid as u32))?,
        }),
        b'B' => Message::Bind(Bind {
            portal: reader.text()?,
            statement: reader.text()?,
            formats: reader.list(Reader::int16)?,
            parameters: reader.list(parameter)?,
            result_formats: reader.list(Reader::int16)?,
        }),
        b'D' => Message::Describe(object(&mut reader)?),
        b'E' => Message::Execute { portal: reader.text()?, limit: reader.int32()? },
        b'C' => Message::Close(object(&mut reader)?),
        b'S' => Message::Sync,
        b'H' => Message::Flush,
        b'd' => Message::CopyData(reader.rest()),
        b'c' => Message::CopyDone,
        b'f' => Message::CopyFail(reader.text()?),
        b'p' => Message::Password(reader.rest()),
        b'F' => {
            reader.rest();
            Message::FunctionCall
        }
        b'X' => Message::Terminate,
        other => return Err(WireError::Kind(other)),
    };
    reader.end(message)
}

/// Takes the first answer of a log-in apart: the mechanism, and the message of that mechanism.
///
/// # Errors
/// It is none.
pub fn sasl_initial(answer: Bytes) -> Result<(Text, Bytes), WireError> {
    let mut reader = Reader::new(answer);
    let mechanism = reader.text()?;
    let message = parameter(&mut reader)?.unwrap_or_default();
    reader.end((mechanism, message))
}

fn parameter(reader: &mut Reader) -> Result<Option<Bytes>, WireError> {
    match reader.int32()? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| WireError::Format)?;
            reader.take(length).map(Some)
        }
    }
}

fn object(reader: &mut Reader) -> Result<Object, WireError> {
    match reader.byte()? {
        b'S' => reader.text().map(Object::Statement),
        b'P' => reader.text().map(Object::Portal),
        _ => Err(WireError::Format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(kind: u8, payload: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&[kind][..]);
        bytes.extend_from_slice(&(payload.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_message_is_cut_when_all_of_it_is_there() {
        let whole = framed(b'Q', b"SELECT 1\0");
        for end in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..end]);
            assert_eq!(cut(&mut part, 1000), Ok(None), "{end} bytes");
            assert_eq!(part.len(), end);
        }
        let mut two = whole.clone();
        two.extend_from_slice(&framed(b'S', b""));
        let text = Text::new(Bytes::from_static(b"SELECT 1")).unwrap();
        assert_eq!(cut(&mut two, 1000), Ok(Some(Message::Query(text))));
        assert_eq!(cut(&mut two, 1000), Ok(Some(Message::Sync)));
        assert!(two.is_empty());
    }

    #[test]
    fn lengths_that_are_none_are_refused_before_the_rest_is_there() {
        for length in [0_u32, 3, 1 << 31, u32::MAX, 1005] {
            let mut bytes = BytesMut::from(&b"Q"[..]);
            bytes.extend_from_slice(&length.to_be_bytes());
            assert_eq!(cut(&mut bytes, 1000), Err(WireError::Length), "{length}");
        }
    }

    #[test]
    fn a_bind_is_read() {
        let payload = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02hi\xff\xff\xff\xff\0\0";
        let Ok(Some(Message::Bind(bind))) = cut(&mut framed(b'B', payload), 1000) else {
            panic!("a bind");
        };
        assert_eq!((&*bind.portal, &*bind.statement), ("p", "s"));
        assert_eq!(bind.formats, [1]);
        assert_eq!(bind.parameters, [Some(Bytes::from_static(b"hi")), None]);
        assert!(bind.result_formats.is_empty());
    }

    #[test]
    fn malformed_messages_are_refused() {
        let table: [(u8, &[u8], WireError); 6] = [
            (b'Q', b"no end", WireError::Format),
            (b'Q', b"two\0ends\0", WireError::Format),
            (b'Q', b"\xff\0", WireError::Encoding),
            (b'D', b"Xname\0", WireError::Format),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09short", WireError::Format),
            (b'!', b"", WireError::Kind(b'!')),
        ];
        for (kind, payload, expected) in table {
            assert_eq!(cut(&mut framed(kind, payload), 1000), Err(expected), "{payload:?}");
        }
    }

    #[test]
    fn the_first_answer_of_a_log_in_is_read() {
        let answer = Bytes::from_static(b"SCRAM-SHA-256\0\0\0\0\x03n,,");
        let (mechanism, message) = sasl_initial(answer).unwrap();
        assert_eq!((&*mechanism, &message[..]), ("SCRAM-SHA-256", &b"n,,"[..]));
        let empty = Bytes::from_static(b"X\0\xff\xff\xff\xff");
        assert_eq!(sasl_initial(empty).unwrap().1, Bytes::new());
        for bad in
            [&b""[..], b"X", b"X\0", b"X\0\0\0\0\x03n,", b"X\0\0\0\0\x01n,", b"X\0\xff\0\0\0"]
        {
            assert_eq!(sasl_initial(Bytes::from_static(bad)), Err(WireError::Format), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = cut(&mut buffer, 100) {}
        }

        #[test]
        fn no_answer_of_a_log_in_makes_it_panic(
            answer in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let _either = sasl_initial(answer.into());
        }

        #[test]
        fn no_payload_makes_it_panic(
            kind in proptest::sample::select(KINDS.to_vec()),
            payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let _either = cut(&mut framed(kind, &payload), 100);
        }
    }
}
