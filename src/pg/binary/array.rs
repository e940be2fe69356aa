//! The binary form of arrays: how many dimensions, whether there are nulls, the elements' oid,
//! each dimension's length and lower bound, then each element with its length before it.

use super::{decode, encode, malformed};
use bytes::{BufMut, BytesMut};
use model::array::{Array, DIMENSIONS_MAX, Dimension};
use model::error::{SqlError, SqlState};
use model::types::{DataType, oid};
use model::value::Value;
use std::sync::Arc;

/// The length of a `NULL` element.
const NULL: i32 = -1;

/// Appends an array whose elements are of type `element`.
pub(super) fn encode_array(out: &mut BytesMut, array: &Array, element: DataType) {
    // At most six dimensions, and lengths that a signed number holds.
    out.put_i32(array.dimensions().len() as i32);
    out.put_i32(i32::from(array.elements().iter().any(Value::is_null)));
    out.put_u32(oid::oid(element));
    for dimension in array.dimensions() {
        out.put_u32(dimension.length);
        out.put_i32(dimension.lower);
    }
    for value in array.elements() {
        if value.is_null() {
            out.put_i32(NULL);
            continue;
        }
        let at = out.len();
        out.put_i32(0);
        encode(out, &value.as_ref(), element);
        let length = (out.len() - at - 4) as i32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Reads an array of type `data_type`.
pub(super) fn decode_array(bytes: &[u8], data_type: DataType) -> Result<Value, SqlError> {
    let bad = || malformed(data_type);
    let element = data_type.element().ok_or_else(bad)?;
    let mut rest = bytes;
    let count = usize::try_from(take_i32(&mut rest).ok_or_else(bad)?).map_err(|_negative| bad())?;
    let _has_nulls = take_i32(&mut rest).ok_or_else(bad)?;
    let sent = take_i32(&mut rest).ok_or_else(bad)? as u32;
    if sent != oid::oid(element) {
        return Err(SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            format!("binary data has array element type {sent}, expected {}", oid::oid(element)),
        ));
    }
    if count > DIMENSIONS_MAX {
        return Err(bad());
    }
    let mut dimensions = Vec::with_capacity(count);
    for _ in 0..count {
        let length = take_i32(&mut rest).ok_or_else(bad)?;
        let length = u32::try_from(length).map_err(|_negative| bad())?;
        dimensions.push(Dimension { length, lower: take_i32(&mut rest).ok_or_else(bad)? });
    }
    if dimensions.iter().any(|dimension| dimension.length == 0) {
        dimensions.clear();
    }
    let expected = match dimensions.as_slice() {
        [] => 0,
        dimensions => Array::count(dimensions).ok_or_else(bad)?,
    };
    // Each element has a length of four bytes at least.
    if expected > rest.len() / 4 {
        return Err(bad());
    }
    let mut elements = Vec::with_capacity(expected);
    for _ in 0..expected {
        let length = take_i32(&mut rest).ok_or_else(bad)?;
        if length == NULL {
            elements.push(Value::Null);
            continue;
        }
        let length = usize::try_from(length).map_err(|_negative| bad())?;
        let (value, behind) = rest.split_at_checked(length).ok_or_else(bad)?;
        elements.push(decode(value, element)?);
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(bad());
    }
    Array::new(dimensions, elements).map(|array| Value::Array(Arc::new(array))).ok_or_else(bad)
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(i32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::types::ElementType;

    fn bytes_of(value: &Value, data_type: DataType) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(&mut out, &value.as_ref(), data_type);
        out.to_vec()
    }

    /// As PostgreSQL 15 sends it (`SELECT array_send('{1,NULL}'::int4[])`).
    #[test]
    fn the_layout_is_postgresqls() {
        let value = Value::array(vec![Value::Int(1), Value::Null]);
        let shown: String = bytes_of(&value, DataType::Array(ElementType::Int4))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            shown,
            "0000000100000001000000170000000200000001000000040000 0001ffffffff".replace(' ', "")
        );
    }

    #[test]
    fn arrays_are_read_as_they_were_written() {
        let texts = Value::array(vec![Value::from("a b"), Value::from(""), Value::Null]);
        let vector = Array::starting_at(0, vec![Value::Int(2), Value::Int(-1)]);
        for (value, data_type) in [
            (texts, DataType::Array(ElementType::Text)),
            (Value::array(Vec::new()), DataType::Array(ElementType::Uuid)),
            (Value::Array(Arc::new(vector)), DataType::Int2Vector),
        ] {
            let bytes = bytes_of(&value, data_type);
            assert_eq!(decode(&bytes, data_type).unwrap(), value);
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end], data_type).is_err(), "{end} bytes");
            }
        }
    }

    #[test]
    fn an_array_of_another_type_is_refused() {
        let value = Value::array(vec![Value::Int(1)]);
        let bytes = bytes_of(&value, DataType::Array(ElementType::Int4));
        let refused = decode(&bytes, DataType::Array(ElementType::Int8)).unwrap_err();
        assert_eq!(refused.state(), SqlState::DATATYPE_MISMATCH);
    }
}
