//! The numbers by which clients know types, and what a row description says of them.

use model::types::DataType;

/// What lies before the digits, or the characters, in a type modifier.
const MODIFIER_OFFSET: i32 = 4;

/// The type's number, as PostgreSQL assigned it.
pub fn oid(data_type: DataType) -> u32 {
    match data_type {
        DataType::Unknown => 705,
        DataType::Bool => 16,
        DataType::Bytea => 17,
        DataType::Int8 => 20,
        DataType::Int2 => 21,
        DataType::Int4 => 23,
        DataType::Text => 25,
        DataType::Float4 => 700,
        DataType::Float8 => 701,
        DataType::Char(_) => 1042,
        DataType::Varchar(_) => 1043,
        DataType::Date => 1082,
        DataType::Time => 1083,
        DataType::Timestamp => 1114,
        DataType::TimestampTz => 1184,
        DataType::Interval => 1186,
        DataType::Numeric(_) => 1700,
        DataType::Uuid => 2950,
    }
}

/// The type of a parameter that a client declares by number; `None` for a type that is not here.
pub fn declared(oid: u32) -> Option<DataType> {
    Some(match oid {
        // Nothing, `unknown`: to be found out.
        0 | 705 => DataType::Unknown,
        16 => DataType::Bool,
        17 => DataType::Bytea,
        20 => DataType::Int8,
        21 => DataType::Int2,
        23 => DataType::Int4,
        // `text`, `bpchar` and `varchar` without a length.
        25 | 1042 | 1043 => DataType::Text,
        700 => DataType::Float4,
        701 => DataType::Float8,
        1082 => DataType::Date,
        1083 => DataType::Time,
        1114 => DataType::Timestamp,
        1184 => DataType::TimestampTz,
        1186 => DataType::Interval,
        1700 => DataType::Numeric(None),
        2950 => DataType::Uuid,
        _ => return None,
    })
}

/// Bytes of a value in binary form; -1 where they vary.
pub fn length(data_type: DataType) -> i16 {
    match data_type {
        DataType::Bool => 1,
        DataType::Int2 => 2,
        DataType::Int4 | DataType::Float4 | DataType::Date => 4,
        DataType::Int8
        | DataType::Float8
        | DataType::Time
        | DataType::Timestamp
        | DataType::TimestampTz => 8,
        DataType::Interval | DataType::Uuid => 16,
        DataType::Unknown => -2,
        DataType::Numeric(_)
        | DataType::Text
        | DataType::Varchar(_)
        | DataType::Char(_)
        | DataType::Bytea => -1,
    }
}

/// The type's modifier; -1 for none.
pub fn modifier(data_type: DataType) -> i32 {
    match data_type {
        DataType::Varchar(length) | DataType::Char(length) => length as i32 + MODIFIER_OFFSET,
        DataType::Numeric(Some(limits)) => {
            (i32::from(limits.precision) << 16 | i32::from(limits.scale)) + MODIFIER_OFFSET
        }
        _ => -1,
    }
}
