//! What PostgreSQL's catalog says of the types: oids, lengths, names, and how a type's modifier is
//! written as a number. The PostgreSQL door and `pg_type` both read it here.

use super::{DataType, ElementType, NumericLimits, RegKind, TimeLimits, TimeType};

/// What a modifier that is a length, or a numeric's limits, is offset by (`VARHDRSZ`).
const MODIFIER_OFFSET: i32 = 4;

/// One type as `pg_type` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeEntry {
    /// The type, without modifiers; `char(n)` as `char(1)`, `varchar` as [`DataType::Text`]'s
    /// sibling `varchar(1)`: the modifier is not part of the entry.
    pub data_type: DataType,
    /// Its oid.
    pub oid: u32,
    /// The oid of the type of its arrays; 0 where there is none.
    pub array_oid: u32,
    /// PostgreSQL's internal name (`typname`); an array's is this with `_` before it.
    pub name: &'static str,
    /// Length of a value in bytes (`typlen`); -1 where it varies, -2 of a C string.
    pub length: i16,
    /// `typcategory`
    pub category: char,
}

const fn entry(
    data_type: DataType,
    oid: u32,
    array_oid: u32,
    name: &'static str,
    length: i16,
    category: char,
) -> TypeEntry {
    TypeEntry { data_type, oid, array_oid, name, length, category }
}

/// Every type that is no array.
pub const TYPES: &[TypeEntry] = &[
    entry(DataType::Bool, 16, 1000, "bool", 1, 'B'),
    entry(DataType::Bytea, 17, 1001, "bytea", -1, 'U'),
    entry(DataType::InternalChar, 18, 1002, "char", 1, 'Z'),
    entry(DataType::Name, 19, 1003, "name", 64, 'S'),
    entry(DataType::Int8, 20, 1016, "int8", 8, 'N'),
    entry(DataType::Int2, 21, 1005, "int2", 2, 'N'),
    entry(DataType::Int2Vector, 22, 1006, "int2vector", -1, 'A'),
    entry(DataType::Int4, 23, 1007, "int4", 4, 'N'),
    entry(DataType::Reg(RegKind::Proc), 24, 1008, "regproc", 4, 'N'),
    entry(DataType::Text, 25, 1009, "text", -1, 'S'),
    entry(DataType::Oid, 26, 1028, "oid", 4, 'N'),
    entry(DataType::OidVector, 30, 1013, "oidvector", -1, 'A'),
    entry(DataType::Json, 114, 199, "json", -1, 'U'),
    entry(DataType::Float4, 700, 1021, "float4", 4, 'N'),
    entry(DataType::Float8, 701, 1022, "float8", 8, 'N'),
    entry(DataType::Unknown, 705, 0, "unknown", -2, 'X'),
    entry(DataType::Char(1), 1042, 1014, "bpchar", -1, 'S'),
    entry(DataType::Varchar(1), 1043, 1015, "varchar", -1, 'S'),
    entry(DataType::Date, 1082, 1182, "date", 4, 'D'),
    entry(DataType::Time, 1083, 1183, "time", 8, 'D'),
    entry(DataType::Timestamp, 1114, 1115, "timestamp", 8, 'D'),
    entry(DataType::TimestampTz, 1184, 1185, "timestamptz", 8, 'D'),
    entry(DataType::Interval, 1186, 1187, "interval", 16, 'T'),
    entry(DataType::TimeTz, 1266, 1270, "timetz", 12, 'D'),
    entry(DataType::Numeric(None), 1700, 1231, "numeric", -1, 'N'),
    entry(DataType::Reg(RegKind::Procedure), 2202, 2207, "regprocedure", 4, 'N'),
    entry(DataType::Reg(RegKind::Oper), 2203, 2208, "regoper", 4, 'N'),
    entry(DataType::Reg(RegKind::Operator), 2204, 2209, "regoperator", 4, 'N'),
    entry(DataType::Reg(RegKind::Class), 2205, 2210, "regclass", 4, 'N'),
    entry(DataType::Reg(RegKind::Type), 2206, 2211, "regtype", 4, 'N'),
    entry(DataType::Void, 2278, 0, "void", 4, 'P'),
    entry(DataType::Uuid, 2950, 2951, "uuid", 16, 'U'),
    entry(DataType::Jsonb, 3802, 3807, "jsonb", -1, 'U'),
    entry(DataType::Reg(RegKind::Namespace), 4089, 4090, "regnamespace", 4, 'N'),
    entry(DataType::Reg(RegKind::Role), 4096, 4097, "regrole", 4, 'N'),
    entry(DataType::Reg(RegKind::Collation), 4191, 4192, "regcollation", 4, 'N'),
];

/// A type that no value has: what PostgreSQL's functions are declared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PseudoType {
    /// Its oid.
    pub oid: u32,
    /// Its name (`typname`).
    pub name: &'static str,
    /// `typlen`
    pub length: i16,
    /// What a call gives where it is declared, for the look-up of its function.
    pub example: DataType,
}

const fn pseudo(oid: u32, name: &'static str, length: i16, example: DataType) -> PseudoType {
    PseudoType { oid, name, length, example }
}

const EXAMPLES: DataType = DataType::Array(ElementType::Int4);

/// The pseudo-types that functions here are declared with, besides those in [`TYPES`], and some
/// that clients name. Nothing here takes or gives the latter.
pub const PSEUDO_TYPES: &[PseudoType] = &[
    pseudo(2249, "record", -1, DataType::Void),
    pseudo(2275, "cstring", -2, DataType::Void),
    pseudo(2279, "trigger", 4, DataType::Void),
    pseudo(2281, "internal", 8, DataType::Void),
    pseudo(3838, "event_trigger", 4, DataType::Void),
    pseudo(2276, "any", 4, DataType::Int4),
    pseudo(2277, "anyarray", -1, EXAMPLES),
    pseudo(2283, "anyelement", 4, DataType::Int4),
    pseudo(2776, "anynonarray", 4, DataType::Int4),
    pseudo(5077, "anycompatible", 4, DataType::Int4),
    pseudo(5078, "anycompatiblearray", -1, EXAMPLES),
    pseudo(5079, "anycompatiblenonarray", 4, DataType::Int4),
];

impl PseudoType {
    /// The one with this oid.
    pub fn of(oid: u32) -> Option<&'static PseudoType> {
        PSEUDO_TYPES.iter().find(|pseudo| pseudo.oid == oid)
    }

    /// Its name as `format_type` prints it: `any` is a word of the grammar.
    pub fn shown(&self) -> String {
        if self.name == "any" { "\"any\"".to_owned() } else { self.name.to_owned() }
    }
}

/// The name of the type with this oid, as `format_type(oid, NULL)` prints it; `None` where there is
/// none.
pub fn type_name(oid: u32) -> Option<String> {
    if let Some(entry) = TYPES.iter().find(|entry| entry.oid == oid) {
        return Some(format_type(entry.data_type));
    }
    if let Some(pseudo) = PseudoType::of(oid) {
        return Some(pseudo.shown());
    }
    let entry = TYPES.iter().find(|entry| entry.array_oid == oid && oid != 0)?;
    Some(format!("{}[]", format_type(entry.data_type)))
}

/// The oid of the type of this name: PostgreSQL's internal one, that of the standard, or another
/// spelling of the grammar; `[]` behind it makes it an array's. `None` where there is none.
pub fn named(name: &str) -> Option<u32> {
    if let Some(element) = name.strip_suffix("[]") {
        let element = named(element.trim_end())?;
        return TYPES
            .iter()
            .find(|entry| entry.oid == element && entry.array_oid != 0)
            .map(|e| e.array_oid);
    }
    let name = match name {
        "int" => "int4",
        "decimal" | "dec" => "numeric",
        "char" | "character" => "bpchar",
        "float" => "float8",
        "timestamp without time zone" => "timestamp",
        "time without time zone" => "time",
        "\"char\"" => "char",
        "\"any\"" => "any",
        other => other,
    };
    let is_named = |entry: &&TypeEntry| entry.name == name || format_type(entry.data_type) == name;
    if let Some(entry) = TYPES.iter().find(is_named) {
        return Some(entry.oid);
    }
    let array = name.strip_prefix('_').and_then(|element| {
        TYPES.iter().find(|entry| entry.name == element && entry.array_oid != 0)
    });
    let pseudo = PSEUDO_TYPES.iter().find(|pseudo| pseudo.name == name);
    array.map(|entry| entry.array_oid).or(pseudo.map(|pseudo| pseudo.oid))
}

/// The type without its modifier, as [`TYPES`] lists it.
fn unmodified(data_type: DataType) -> DataType {
    match data_type {
        DataType::Varchar(_) => DataType::Varchar(1),
        DataType::Char(_) => DataType::Char(1),
        DataType::Numeric(_) => DataType::Numeric(None),
        DataType::Limited(limits) => limits.data_type(),
        other => other,
    }
}

/// The entry of a type that is no array; of an array, of its elements' type.
pub fn entry_of(data_type: DataType) -> &'static TypeEntry {
    let scalar = match data_type {
        DataType::Array(element) => element.data_type(),
        other => other,
    };
    let listed = unmodified(scalar);
    TYPES
        .iter()
        .find(|entry| entry.data_type == listed)
        .expect("every type is listed, which a test holds")
}

/// A type's oid.
pub fn oid(data_type: DataType) -> u32 {
    let entry = entry_of(data_type);
    if matches!(data_type, DataType::Array(_)) { entry.array_oid } else { entry.oid }
}

/// The oid of the type of arrays of `data_type`; 0 where there is none.
pub fn array_oid(data_type: DataType) -> u32 {
    if matches!(data_type, DataType::Array(_)) { 0 } else { entry_of(data_type).array_oid }
}

/// Length of a value in bytes (`typlen`); -1 where it varies.
pub fn length(data_type: DataType) -> i16 {
    if matches!(data_type, DataType::Array(_)) { -1 } else { entry_of(data_type).length }
}

/// A type's name without modifiers, as `format_type(oid, NULL)` prints it.
pub fn format_type(data_type: DataType) -> String {
    match data_type {
        DataType::Varchar(_) => "character varying".to_owned(),
        DataType::Char(_) => "character".to_owned(),
        DataType::Array(element) => format!("{}[]", format_type(element.data_type())),
        other => other.base().to_string(),
    }
}

/// The type's modifier as a number (`atttypmod`); -1 where it has none.
pub fn modifier(data_type: DataType) -> i32 {
    match data_type {
        DataType::Array(element) => modifier(element.data_type()),
        DataType::Varchar(length) | DataType::Char(length) => {
            i32::try_from(length).map_or(-1, |length| length + MODIFIER_OFFSET)
        }
        DataType::Limited(limits) => limits.modifier(),
        DataType::Numeric(Some(limits)) => {
            (i32::from(limits.precision) << 16 | i32::from(limits.scale)) + MODIFIER_OFFSET
        }
        _ => -1,
    }
}

/// The type with this oid, with the modifier that [`modifier`] would give for it (-1: none).
/// `None` where there is no such type. `varchar` without a length is `text`.
pub fn from_oid(oid: u32, modifier: i32) -> Option<DataType> {
    if let Some(entry) = TYPES.iter().find(|entry| entry.oid == oid) {
        return Some(with_modifier(entry.data_type, modifier));
    }
    let entry = TYPES.iter().find(|entry| entry.array_oid == oid && oid != 0)?;
    ElementType::of(with_modifier(entry.data_type, modifier)).map(DataType::Array)
}

fn with_modifier(data_type: DataType, modifier: i32) -> DataType {
    let limits = TimeType::of(data_type).and_then(|of| TimeLimits::from_modifier(of, modifier));
    if let Some(limits) = limits {
        return DataType::Limited(limits);
    }
    let number = modifier.checked_sub(MODIFIER_OFFSET).filter(|number| *number > 0);
    match (data_type, number) {
        (DataType::Varchar(_), None) => DataType::Text,
        (DataType::Varchar(_), Some(length)) => DataType::Varchar(length.unsigned_abs()),
        (DataType::Char(_), Some(length)) => DataType::Char(length.unsigned_abs()),
        (DataType::Numeric(_), Some(number)) => DataType::Numeric(Some(NumericLimits {
            precision: (number >> 16) as u16,
            scale: number as u16,
        })),
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_and_modifiers_lead_back_to_the_type() {
        let limits = NumericLimits { precision: 10, scale: 2 };
        let modified = [DataType::Varchar(7), DataType::Char(3), DataType::Numeric(Some(limits))];
        let times = TimeType::ALL.map(|of| DataType::Limited(TimeLimits::digits(of, 0)));
        for listed in TYPES.iter().map(|entry| entry.data_type).chain(modified).chain(times) {
            assert_eq!(from_oid(oid(listed), modifier(listed)), Some(listed), "{listed}");
            if let Some(array) = listed.array() {
                assert_ne!(array_oid(listed), 0, "{listed}");
                assert_eq!(oid(array), array_oid(listed), "{array}");
                assert_eq!(from_oid(oid(array), modifier(array)), Some(array), "{array}");
            }
        }
    }

    #[test]
    fn no_two_types_share_an_oid() {
        let arrays = TYPES.iter().map(|entry| entry.array_oid).filter(|oid| *oid != 0);
        let others = PSEUDO_TYPES.iter().map(|pseudo| pseudo.oid).chain(arrays);
        let mut oids: Vec<u32> = TYPES.iter().map(|entry| entry.oid).chain(others).collect();
        let listed = oids.len();
        oids.sort_unstable();
        oids.dedup();
        assert_eq!(oids.len(), listed);
    }

    #[test]
    fn types_have_names() {
        for (name, oid) in [
            ("int", 23),
            ("integer", 23),
            ("int4", 23),
            ("char", 1042),
            ("\"char\"", 18),
            ("_text", 1009),
            ("text[]", 1009),
            ("double precision", 701),
            ("timestamp with time zone", 1184),
            ("anyarray", 2277),
            ("\"any\"", 2276),
        ] {
            assert_eq!(named(name), Some(oid), "{name}");
        }
        assert_eq!(named("nothing"), None);
        assert_eq!(type_name(1009).as_deref(), Some("text[]"));
        assert_eq!(type_name(2276).as_deref(), Some("\"any\""));
    }

    #[test]
    fn modifiers_are_postgresqls() {
        assert_eq!(modifier(DataType::Varchar(20)), 24);
        let limits = NumericLimits { precision: 10, scale: 2 };
        assert_eq!(modifier(DataType::Numeric(Some(limits))), 655_366);
        assert_eq!(from_oid(1043, -1), Some(DataType::Text));
        assert_eq!(from_oid(12, -1), None);
    }
}
