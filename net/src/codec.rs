//! The primitives that every message is made of, and the trait of what can travel.

use bytes::{BufMut, Bytes, BytesMut};

/// Why a payload is not the message its frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends inside a field.
    #[error("it is too short")]
    TooShort,
    /// Something follows its last field.
    #[error("{0} bytes follow its end")]
    TooLong(usize),
    /// A string is not UTF-8.
    #[error("a string is not valid UTF-8")]
    NotUtf8,
    /// A field has a value this version does not define.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// The message is for the connection and came on a stream, or the reverse.
    #[error("it does not belong on this stream")]
    WrongStream,
    /// Only the other side may send it.
    #[error("it is not for this side to receive")]
    WrongDirection,
}

/// What can be part of a message.
pub trait Wire: Sized {
    /// Appends the bytes.
    fn encode(&self, out: &mut BytesMut);
    /// Reads what [`Wire::encode`] wrote.
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed>;
}

/// Reads a payload from front to back, never past its end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `payload`.
    pub fn new(payload: &'a [u8]) -> Reader<'a> {
        Reader { rest: payload }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::TooShort)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::TooShort)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A `u32` length and as many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u32::decode(self)?;
        self.take(length as usize)
    }

    /// A `u32` length and as many bytes of UTF-8.
    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::NotUtf8)
    }

    /// The next byte, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Refuses what follows the last field.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::TooLong(self.rest.len())) }
    }
}

/// Decodes a payload that is one `T` and nothing else.
pub fn decode_all<T: Wire>(payload: &[u8]) -> Result<T, Malformed> {
    let mut input = Reader::new(payload);
    let message = T::decode(&mut input)?;
    input.finish()?;
    Ok(message)
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn encode(&self, out: &mut BytesMut) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
                input.array().map(<$number>::from_le_bytes)
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64, i32, i64, f64);

impl Wire for bool {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::OutOfRange("a boolean")),
        }
    }
}

/// Appends a `u32` length and the bytes.
///
/// # Panics
/// When `bytes` is 4 GiB or longer; what reaches the wire is bounded far below.
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("bounded below 4 GiB"));
    out.extend_from_slice(bytes);
}

impl Wire for String {
    fn encode(&self, out: &mut BytesMut) {
        put_bytes(out, self.as_bytes());
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        input.str().map(str::to_owned)
    }
}

impl Wire for Bytes {
    fn encode(&self, out: &mut BytesMut) {
        put_bytes(out, self);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        input.bytes().map(Bytes::copy_from_slice)
    }
}

/// An empty string on the wire is no string.
impl Wire for Option<String> {
    fn encode(&self, out: &mut BytesMut) {
        put_bytes(out, self.as_deref().unwrap_or_default().as_bytes());
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let text = input.str()?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

/// A list with a `u16` count.
///
/// # Panics
/// Encoding panics on more than 65,535 elements: parameters and columns are bounded below.
impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u16_le(u16::try_from(self.len()).expect("lists are bounded below 65,536"));
        for element in self {
            element.encode(out);
        }
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = u16::decode(input)?;
        // The count is a claim: each element takes at least a byte of what is really there.
        let mut list = Vec::with_capacity(usize::from(count).min(input.remaining()));
        for _ in 0..count {
            list.push(T::decode(input)?);
        }
        Ok(list)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn encode(&self, out: &mut BytesMut) {
        self.0.encode(out);
        self.1.encode(out);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

/// Declares a struct whose wire form is its fields in order.
macro_rules! wire_struct {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $crate::codec::Wire for $name {
            fn encode(&self, out: &mut bytes::BytesMut) {
                $(self.$field.encode(out);)*
            }
            fn decode(
                input: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::Malformed> {
                $(let $field = <$type as $crate::codec::Wire>::decode(input)?;)*
                Ok($name { $($field,)* })
            }
        }
    };
}
pub(crate) use wire_struct;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_without_elements_allocates_nothing_and_fails() {
        assert_eq!(decode_all::<Vec<u64>>(&[0xff, 0xff]), Err(Malformed::TooShort));
    }

    #[test]
    fn a_length_past_the_end_is_refused() {
        assert_eq!(decode_all::<String>(&[0xff, 0xff, 0xff, 0x7f, b'a']), Err(Malformed::TooShort));
    }

    #[test]
    fn what_follows_the_end_is_refused() {
        assert_eq!(decode_all::<u16>(&[1, 0, 0]), Err(Malformed::TooLong(1)));
    }

    #[test]
    fn invalid_utf8_is_refused() {
        assert_eq!(decode_all::<String>(&[1, 0, 0, 0, 0xff]), Err(Malformed::NotUtf8));
    }
}
