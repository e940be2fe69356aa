//! Expected answers are PostgreSQL 15's: `!` stands before a SQLSTATE.

use super::resolve;
use crate::exec::evaluate::tests::{answer, literal};
use model::error::SqlState;
use model::expression::Expression;
use model::types::DataType;

/// Resolves and evaluates a call of `name` with arguments written as `type:text`.
fn call(name: &str, arguments: &[&str]) -> String {
    let arguments: Vec<Expression> = arguments.iter().map(|text| literal(text)).collect();
    let types: Vec<DataType> = arguments.iter().map(Expression::data_type).collect();
    let signature = match resolve(name, &types) {
        Ok(signature) => signature,
        Err(error) => return format!("!{}", error.state()),
    };
    let arguments = arguments
        .into_iter()
        .zip(&signature.argument_types)
        .map(|(argument, data_type)| Expression::Cast {
            operand: Box::new(argument),
            data_type: *data_type,
            explicit: false,
        })
        .collect();
    answer(&Expression::Function {
        function: signature.reference,
        arguments,
        data_type: signature.return_type,
    })
}

#[test]
fn calls_answer_what_postgresql_answers() {
    let mut wrong = Vec::new();
    for (name, arguments, expected) in CALLS {
        let found = call(name, arguments);
        if found != *expected {
            wrong.push(format!("{name}({arguments:?}) is {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn overloads_are_chosen_as_postgresql_does() {
    let result = |name: &str, types: &[DataType]| resolve(name, types).map(|s| s.return_type);
    assert_eq!(result("round", &[DataType::Int4]), Ok(DataType::Float8));
    assert_eq!(result("abs", &[DataType::Int2]), Ok(DataType::Int2));
    assert_eq!(result("length", &[DataType::Unknown]), Ok(DataType::Int4));
    assert_eq!(
        result("date_trunc", &[DataType::Unknown, DataType::Date]),
        Ok(DataType::TimestampTz)
    );
    assert_eq!(result("sqrt", &[DataType::Int4]), Ok(DataType::Float8));
    let error = resolve("lower", &[DataType::Int4]).unwrap_err();
    assert_eq!(error.state(), SqlState::UNDEFINED_FUNCTION);
    assert_eq!(error.fields().message, "function lower(integer) does not exist");
}

const CALLS: &[(&str, &[&str], &str)] = &[
    ("length", &["text:äbc"], "3"),
    ("octet_length", &["text:äbc"], "4"),
    ("initcap", &["text:hello wORLD-x 1a"], "Hello World-X 1a"),
    ("substring", &["text:abcdef", "integer:2"], "bcdef"),
    ("substring", &["text:abcdef", "integer:-1", "integer:4"], "ab"),
    ("substring", &["text:abc", "integer:2", "integer:-1"], "!22011"),
    ("strpos", &["text:hello", "text:l"], "3"),
    ("strpos", &["text:hello", "text:z"], "0"),
    ("btrim", &["text:xxaxx", "text:x"], "a"),
    ("ltrim", &["text:  a "], "a "),
    ("rtrim", &["text:abc", "text:cb"], "a"),
    ("replace", &["text:aXbX", "text:X", "text:yy"], "ayybyy"),
    ("translate", &["text:12345", "text:143", "text:ax"], "a2x5"),
    ("left", &["text:abcdef", "integer:-2"], "abcd"),
    ("right", &["text:abcdef", "integer:-2"], "cdef"),
    ("right", &["text:abc", "integer:5"], "abc"),
    ("lpad", &["text:hi", "integer:5", "text:xy"], "xyxhi"),
    ("rpad", &["text:hi", "integer:1"], "h"),
    ("lpad", &["text:hi", "integer:-1"], ""),
    ("repeat", &["text:ab", "integer:3"], "ababab"),
    ("repeat", &["text:ab", "integer:-3"], ""),
    ("reverse", &["text:abc"], "cba"),
    ("split_part", &["text:a,b,c", "text:,", "integer:2"], "b"),
    ("split_part", &["text:a,b,c", "text:,", "integer:-1"], "c"),
    ("split_part", &["text:a", "text:,", "integer:0"], "!22023"),
    ("overlay", &["text:abcdef", "text:ZZ", "integer:3", "integer:1"], "abZZdef"),
    ("ascii", &["text:ä"], "228"),
    ("chr", &["integer:228"], "ä"),
    ("chr", &["integer:0"], "!54000"),
    ("to_hex", &["integer:-1"], "ffffffff"),
    ("starts_with", &["text:abc", "text:ab"], "t"),
    ("quote_ident", &["text:a b"], "\"a b\""),
    ("quote_literal", &["text:it's"], "'it''s'"),
    ("abs", &["integer:-2147483648"], "!22003"),
    ("abs", &["numeric:-1.50"], "1.50"),
    ("ceil", &["numeric:-1.5"], "-1"),
    ("floor", &["numeric:-1.5"], "-2"),
    ("ceil", &["double precision:1.2"], "2"),
    ("round", &["numeric:2.5"], "3"),
    ("round", &["double precision:2.5"], "2"),
    ("round", &["numeric:1234.567", "integer:-2"], "1200"),
    ("round", &["numeric:1.005", "integer:2"], "1.01"),
    ("trunc", &["numeric:-1.59", "integer:1"], "-1.5"),
    ("sign", &["numeric:-3.2"], "-1"),
    ("sqrt", &["numeric:2"], "1.414213562373095"),
    ("sqrt", &["double precision:2"], "1.4142135623730951"),
    ("sqrt", &["numeric:-1"], "!2201F"),
    ("power", &["double precision:2", "double precision:10"], "1024"),
    ("power", &["numeric:2", "numeric:3"], "8.0000000000000000"),
    ("power", &["numeric:1.5", "numeric:2"], "2.2500000000000000"),
    ("power", &["numeric:2", "numeric:-2"], "0.2500000000000000"),
    ("power", &["numeric:10", "numeric:20"], "100000000000000000000.0000000000000000"),
    ("exp", &["double precision:1"], "2.718281828459045"),
    ("ln", &["double precision:0"], "!2201E"),
    ("ln", &["double precision:10"], "2.302585092994046"),
    ("log", &["double precision:1000"], "3"),
    ("mod", &["integer:-7", "integer:3"], "-1"),
    ("mod", &["integer:1", "integer:0"], "!22012"),
    ("mod", &["numeric:5.5", "numeric:2"], "1.5"),
    ("div", &["numeric:-7", "numeric:2"], "-3"),
    ("gcd", &["integer:12", "integer:18"], "6"),
    ("pi", &[], "3.141592653589793"),
    ("date_part", &["text:year", "timestamp:2024-02-29 12:34:56.789"], "2024"),
    ("date_part", &["text:dow", "date:2024-02-29"], "4"),
    ("date_part", &["text:week", "date:2021-01-03"], "53"),
    ("date_part", &["text:isoyear", "date:2021-01-03"], "2020"),
    ("date_part", &["text:epoch", "timestamp:2000-01-01"], "946684800"),
    ("date_part", &["text:doy", "date:2024-12-31"], "366"),
    ("date_part", &["text:quarter", "date:2024-05-01"], "2"),
    ("date_part", &["text:century", "date:2000-12-31"], "20"),
    ("date_part", &["text:second", "time:01:02:03.5"], "3.5"),
    ("date_part", &["text:month", "interval:1 year 14 mons"], "2"),
    ("date_part", &["text:epoch", "interval:1 year 1 mon 1 day 1 hour"], "34239600"),
    ("date_part", &["text:foo", "date:2024-01-01"], "!22023"),
    ("date_trunc", &["text:month", "timestamp:2024-02-29 12:34:56"], "2024-02-01 00:00:00"),
    ("date_trunc", &["text:week", "timestamp:2024-02-29 12:34:56"], "2024-02-26 00:00:00"),
    ("date_trunc", &["text:quarter", "timestamp:2024-06-29"], "2024-04-01 00:00:00"),
    ("date_trunc", &["text:century", "timestamp:2000-06-29"], "1901-01-01 00:00:00"),
    ("date_trunc", &["text:hour", "timestamp:1999-06-29 23:59:59"], "1999-06-29 23:00:00"),
    ("date_trunc", &["text:year", "interval:14 mons 3 days"], "1 year"),
    ("age", &["timestamp:2024-03-01", "timestamp:2024-01-31"], "1 mon 1 day"),
    ("age", &["timestamp:2024-01-31", "timestamp:2024-03-01 12:00"], "-1 mons -1 days -12:00:00"),
    ("age", &["timestamp:2001-04-10", "timestamp:1957-06-13"], "43 years 9 mons 27 days"),
    ("make_date", &["integer:2024", "integer:2", "integer:29"], "2024-02-29"),
    ("make_date", &["integer:2023", "integer:2", "integer:29"], "!22008"),
    ("to_timestamp", &["double precision:0"], "1970-01-01 00:00:00+00"),
    (
        "to_char",
        &["timestamp:2024-02-09 15:04:05.678", "text:YYYY-MM-DD HH24:MI:SS.MS"],
        "2024-02-09 15:04:05.678",
    ),
    (
        "to_char",
        &["timestamp:2024-02-09 15:04:05", "text:FMDay, DD FMMonth YY HH12 am Q DDD D"],
        "Friday, 09 February 24 03 pm 1 040 6",
    ),
    (
        "width_bucket",
        &["double precision:5.35", "double precision:0.024", "double precision:10.06", "integer:5"],
        "3",
    ),
    ("concat", &["text:a", "integer:1", "boolean:t"], "a1t"),
    ("concat_ws", &["text:,", "text:a", "integer:NULL", "text:b"], "a,b"),
    ("greatest", &["integer:1", "integer:NULL", "integer:3"], "3"),
    ("least", &["numeric:1.5", "numeric:2"], "1.5"),
    ("nullif", &["integer:1", "integer:1"], "NULL"),
    ("coalesce", &["integer:NULL", "integer:2"], "2"),
    ("num_nulls", &["integer:NULL", "integer:2"], "1"),
    ("pg_typeof", &["numeric:2"], "numeric"),
];
