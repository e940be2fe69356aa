//! Keys read back, to be named in messages: what a row holds is never taken from its key.

use super::{TAG_NULL, TAG_VALUE, object_of};
use crate::moment::TimeTz;
use crate::numeric::{Numeric, Special};
use crate::schema::{IndexColumn, Table};
use crate::text;
use crate::types::DataType;
use crate::value::{Interval, Value};

/// Digits of a number that is named: one that is longer is not.
const DIGITS_MAX: i64 = 200;

/// `table "t", key (id) = (3)`, or `index "t_v_key" of table "t", key (v) = (5)`: what a key of a
/// table or one of its indexes is called in messages. From a column on whose values cannot be read
/// back (arrays, `jsonb`), or that the key does not have, it says `...`.
pub fn describe(table: &Table, key: &[u8]) -> String {
    let object = object_of(key);
    let index = table.indexes.iter().find(|index| Some(index.id) == object);
    let (place, columns) = match index {
        Some(index) => {
            (format!("index \"{}\" of table \"{}\"", index.name, table.name), index.columns.clone())
        }
        None => (format!("table \"{}\"", table.name), primary_key(table)),
    };
    let is_theirs = index.is_some() || object == Some(table.storage);
    if !is_theirs || columns.iter().all(|column| table.columns[column.ordinal].hidden) {
        return place;
    }
    let names: Vec<&str> =
        columns.iter().map(|column| table.columns[column.ordinal].name.as_str()).collect();
    format!("{place}, key ({}) = ({})", names.join(", "), values(table, &columns, &key[4..]))
}

fn primary_key(table: &Table) -> Vec<IndexColumn> {
    let ordinals = table.primary_key.iter();
    ordinals.map(|&ordinal| IndexColumn { ordinal, descending: false }).collect()
}

fn values(table: &Table, columns: &[IndexColumn], mut key: &[u8]) -> String {
    let mut shown = Vec::with_capacity(columns.len());
    for column in columns {
        let data_type = table.columns[column.ordinal].data_type;
        match take_value(&mut key, data_type, column.descending) {
            Some(value) => shown.push(text::shown(&value, data_type)),
            None => {
                shown.push("...".to_owned());
                break;
            }
        }
    }
    shown.join(", ")
}

/// Takes a column of a type off the front of what is left of a key. `None`: there is none, or its
/// type's values cannot be read back; the key is as it was.
pub fn take_value(key: &mut &[u8], data_type: DataType, descending: bool) -> Option<Value> {
    let mut reader = Reader { rest: key, mask: if descending { 0xff } else { 0 } };
    let value = match reader.byte()? {
        TAG_NULL => Value::Null,
        TAG_VALUE => reader.body(data_type)?,
        _ => return None,
    };
    *key = reader.rest;
    Some(value)
}

struct Reader<'a> {
    rest: &'a [u8],
    /// What all bytes are inverted by.
    mask: u8,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first ^ self.mask)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(first.map(|byte| byte ^ self.mask))
    }

    fn body(&mut self, data_type: DataType) -> Option<Value> {
        Some(match data_type {
            DataType::Bool => Value::Bool(self.byte()? != 0),
            DataType::Int2 | DataType::Int4 | DataType::Int8 | DataType::Oid | DataType::Reg(_) => {
                Value::Int(self.integer()?)
            }
            DataType::Float4 | DataType::Float8 => Value::Float(self.float()?),
            DataType::Numeric(_) => Value::Numeric(self.numeric()?),
            DataType::Text
            | DataType::Varchar(_)
            | DataType::Char(_)
            | DataType::Name
            | DataType::InternalChar => {
                Value::text(String::from_utf8_lossy(&self.bytes()?).into_owned())
            }
            DataType::Bytea => Value::Bytes(self.bytes()?.into()),
            DataType::Date => Value::Date(i32::try_from(self.integer()?).ok()?),
            DataType::Time => Value::Time(self.integer()?),
            DataType::TimeTz => {
                let utc_micros = self.integer()?;
                let zone = i32::try_from(self.integer()?).ok()?;
                let micros = utc_micros.checked_sub(i64::from(zone) * 1_000_000)?;
                Value::TimeTz(TimeTz { micros, zone })
            }
            DataType::Timestamp | DataType::TimestampTz => Value::Timestamp(self.integer()?),
            DataType::Interval => {
                let _length: [u8; 16] = self.array()?;
                let months = i32::try_from(self.integer()?).ok()?;
                let days = i32::try_from(self.integer()?).ok()?;
                Value::Interval(Interval { months, days, micros: self.integer()? })
            }
            DataType::Limited(limits) => self.body(limits.data_type())?,
            DataType::Uuid => Value::Uuid(self.array()?),
            DataType::Unknown
            | DataType::Json
            | DataType::Jsonb
            | DataType::Void
            | DataType::Int2Vector
            | DataType::OidVector
            | DataType::Array(_) => return None,
        })
    }

    fn integer(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.array()?) ^ i64::MIN)
    }

    fn float(&mut self) -> Option<f64> {
        let bits = u64::from_be_bytes(self.array()?);
        Some(f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits }))
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                0 if self.byte()? == 0 => return Some(bytes),
                byte => bytes.push(byte),
            }
        }
    }

    fn numeric(&mut self) -> Option<Numeric> {
        let negative = match self.byte()? {
            0 => return Some(Numeric::Special(Special::NegativeInfinity)),
            1 => true,
            2 => return Some(Numeric::from(0)),
            3 => false,
            4 => return Some(Numeric::Special(Special::Infinity)),
            5 => return Some(Numeric::Special(Special::NaN)),
            _ => return None,
        };
        let outer = self.mask;
        if negative {
            self.mask = !outer;
        }
        let exponent = self.integer()?;
        let mut digits = String::from(if negative { "-" } else { "" });
        let mut count = 0;
        loop {
            match self.byte()? {
                0 => break,
                digit => digits.push(char::from(digit.checked_add(b'0' - 1)?)),
            }
            count += 1;
        }
        self.mask = outer;
        let scale = count - exponent;
        let is_short = count <= DIGITS_MAX && scale.abs() <= DIGITS_MAX;
        is_short.then(|| Some(Numeric::new(digits.parse().ok()?, scale)))?
    }
}

#[cfg(test)]
mod tests {
    use super::super::{push_object, push_value};
    use super::*;
    use crate::id::ObjectId;
    use crate::schema::{Column, Index, Placement};
    use proptest::prelude::*;

    fn back(value: &Value, data_type: DataType, descending: bool) -> Option<Value> {
        let mut key = Vec::new();
        push_value(&mut key, value, descending);
        push_value(&mut key, &Value::Int(7), descending);
        let mut left = key.as_slice();
        let value = take_value(&mut left, data_type, descending)?;
        assert_eq!(left.len(), 9, "the next column is whole");
        Some(value)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let numeric = |text: &str| Value::Numeric(text.parse().unwrap());
        let mut pairs = vec![
            (Value::Bool(true), DataType::Bool),
            (Value::Null, DataType::Int4),
            (Value::Int(-5), DataType::Int2),
            (Value::Date(-1), DataType::Date),
            (Value::Time(1), DataType::Time),
            (Value::TimeTz(TimeTz { micros: 5, zone: -3_600 }), DataType::TimeTz),
            (Value::Timestamp(i64::MIN), DataType::TimestampTz),
            (Value::Uuid([7; 16]), DataType::Uuid),
            (Value::Bytes(vec![0, 255, 0, 0].into()), DataType::Bytea),
            (Value::Interval(Interval { months: -1, days: 2, micros: 3 }), DataType::Interval),
        ];
        for text in ["", "\0", "a\0b", "é"] {
            pairs.push((Value::text(text), DataType::Varchar(9)));
        }
        for number in ["-Infinity", "-1000", "-12.5", "0", "0.001", "1.5", "10", "Infinity", "NaN"]
        {
            pairs.push((numeric(number), DataType::Numeric(None)));
        }
        for number in [f64::NEG_INFINITY, -1.5, 0.0, 1e-300, f64::INFINITY, f64::NAN] {
            pairs.push((Value::Float(number), DataType::Float8));
        }
        for (value, data_type) in pairs {
            for descending in [false, true] {
                let read = back(&value, data_type, descending);
                assert!(read.as_ref().is_some_and(|read| read.same(&value)), "{value:?}: {read:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_left() {
        let array = Value::array(vec![Value::Int(1)]);
        assert!(back(&array, DataType::Int4.array().unwrap(), false).is_none());
        let mut short: &[u8] = &[1, 0, 0];
        assert!(take_value(&mut short, DataType::Int8, false).is_none());
        assert_eq!(short.len(), 3);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..40), descending: bool) {
            for data_type in [DataType::Numeric(None), DataType::Text, DataType::Interval, DataType::TimeTz] {
                let mut left = bytes.as_slice();
                let value = take_value(&mut left, data_type, descending);
                prop_assert_eq!(value.is_none(), left.len() == bytes.len());
            }
        }
    }

    fn table() -> Table {
        let column = |name: &str, data_type| Column {
            name: name.to_owned(),
            data_type,
            nullable: true,
            default: None,
            missing: Value::Null,
            hidden: false,
            identity: None,
        };
        let array = DataType::Int4.array().unwrap();
        Table {
            id: ObjectId(1),
            storage: ObjectId(2),
            schema: "public".to_owned(),
            name: "t".to_owned(),
            columns: vec![
                column("id", DataType::Int4),
                column("name", DataType::Text),
                column("list", array),
            ],
            primary_key: vec![0, 1],
            primary_key_name: None,
            partition_columns: vec![0],
            placement: Placement::Hashed,
            indexes: vec![Index {
                id: ObjectId(3),
                name: "t_index".to_owned(),
                columns: [(1, true), (2, false), (0, false)]
                    .map(|(ordinal, descending)| IndexColumn { ordinal, descending })
                    .to_vec(),
                unique: false,
                constraint: false,
                global: false,
            }],
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            referenced_by: Vec::new(),
        }
    }

    fn key(object: u32, columns: &[(Value, bool)]) -> Vec<u8> {
        let mut key = Vec::new();
        push_object(&mut key, ObjectId(object));
        columns.iter().for_each(|(value, descending)| push_value(&mut key, value, *descending));
        key
    }

    #[test]
    fn keys_are_called_by_their_columns() {
        let table = table();
        let row = key(2, &[(Value::Int(3), false), (Value::text("x".repeat(70)), false)]);
        let cut = "x".repeat(64);
        assert_eq!(describe(&table, &row), format!("table \"t\", key (id, name) = (3, {cut}...)"));
        assert_eq!(describe(&table, &row[..13]), "table \"t\", key (id, name) = (3, ...)");
        let array = Value::array(vec![Value::Int(1)]);
        let entry = key(3, &[(Value::Null, true), (array, false), (Value::Int(1), false)]);
        assert_eq!(
            describe(&table, &entry),
            "index \"t_index\" of table \"t\", key (name, list, id) = (null, ...)"
        );
        assert_eq!(describe(&table, &key(9, &[])), "table \"t\"");
        let mut hidden = table;
        hidden.primary_key = vec![0];
        hidden.columns[0].hidden = true;
        assert_eq!(describe(&hidden, &row), "table \"t\"");
    }
}
