use super::*;
use model::text::to_text;

/// 2024-02-29 12:34:56 UTC.
const NOW: i64 = 762_525_296_000_000;

fn check(text: &str, data_type: DataType, expected: &str) {
    let value = parse(text, data_type, NOW).unwrap_or_else(|error| panic!("{text}: {error}"));
    let printed = to_text(&value.as_ref(), data_type).unwrap();
    assert_eq!(printed, expected, "{text} as {data_type}");
}

fn refused(text: &str, data_type: DataType, state: SqlState) {
    let error = parse(text, data_type, NOW).expect_err(text);
    assert_eq!(error.state(), state, "{text} as {data_type}: {error}");
}

#[test]
fn numbers() {
    check(" 42 ", DataType::Int4, "42");
    check("-32768", DataType::Int2, "-32768");
    refused("32768", DataType::Int2, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    refused("99999999999999999999", DataType::Int8, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    refused("1.5", DataType::Int4, SqlState::INVALID_TEXT_REPRESENTATION);
    refused("", DataType::Int4, SqlState::INVALID_TEXT_REPRESENTATION);
    check("1e400".get(..3).unwrap(), DataType::Float8, "10000");
    check("-Infinity", DataType::Float8, "-Infinity");
    check("nan", DataType::Float4, "NaN");
    refused("1e400", DataType::Float8, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    refused("1e-400", DataType::Float8, SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    refused("infx", DataType::Float8, SqlState::INVALID_TEXT_REPRESENTATION);
}

#[test]
fn words_of_truth() {
    for yes in ["t", "TRUE", "y", "ye", "on", "1", " tru "] {
        check(yes, DataType::Bool, "t");
    }
    for no in ["f", "no", "of", "OFF", "0"] {
        check(no, DataType::Bool, "f");
    }
    refused("o", DataType::Bool, SqlState::INVALID_TEXT_REPRESENTATION);
    refused("truely", DataType::Bool, SqlState::INVALID_TEXT_REPRESENTATION);
}

#[test]
fn dates() {
    for (text, expected) in [
        ("2024-02-29", "2024-02-29"),
        ("2024-2-9", "2024-02-09"),
        ("20240229", "2024-02-29"),
        ("2/29/2024", "2024-02-29"),
        ("Feb 29, 2024", "2024-02-29"),
        ("29 February 2024", "2024-02-29"),
        ("29-Feb-2024", "2024-02-29"),
        ("0044-03-15 BC", "0044-03-15 BC"),
        ("12345-01-01", "12345-01-01"),
        ("1999-12-31 23:59:59", "1999-12-31"),
        ("epoch", "1970-01-01"),
        ("tomorrow", "2024-03-01"),
    ] {
        check(text, DataType::Date, expected);
    }
    refused("2023-02-29", DataType::Date, SqlState::DATETIME_FIELD_OVERFLOW);
    refused("2023-13-01", DataType::Date, SqlState::DATETIME_FIELD_OVERFLOW);
    refused("yesterdays", DataType::Date, SqlState::INVALID_DATETIME_FORMAT);
    refused("", DataType::Date, SqlState::INVALID_DATETIME_FORMAT);
}

#[test]
fn timestamps() {
    check("2024-01-02 03:04:05.678", DataType::Timestamp, "2024-01-02 03:04:05.678");
    check("2024-01-02T03:04:05Z", DataType::TimestampTz, "2024-01-02 03:04:05+00");
    check("2024-01-02 03:04:05+02", DataType::TimestampTz, "2024-01-02 01:04:05+00");
    check("2024-01-02 03:04-05:30", DataType::TimestampTz, "2024-01-02 08:34:00+00");
    check("2024-01-02 03:04:05+02", DataType::Timestamp, "2024-01-02 03:04:05");
    check("2024-01-02 03:04 PM", DataType::Timestamp, "2024-01-02 15:04:00");
    check("2024-01-02", DataType::Timestamp, "2024-01-02 00:00:00");
    check("2024-01-02 24:00:00", DataType::Timestamp, "2024-01-03 00:00:00");
    check("now", DataType::TimestampTz, "2024-02-29 12:34:56+00");
    refused("2024-01-02 25:00", DataType::Timestamp, SqlState::DATETIME_FIELD_OVERFLOW);
    check("23:59:59.9999999", DataType::Time, "24:00:00");
    check("04:05 am", DataType::Time, "04:05:00");
}

#[test]
fn intervals() {
    for (text, expected) in [
        ("1 day", "1 day"),
        ("1 year 2 mons 3 days 04:05:06.7", "1 year 2 mons 3 days 04:05:06.7"),
        ("-1 day +02:03", "-1 days +02:03:00"),
        ("1-2", "1 year 2 mons"),
        ("1.5 days", "1 day 12:00:00"),
        ("1.5 months", "1 mon 15 days"),
        ("1.5 years", "1 year 6 mons"),
        ("2 weeks", "14 days"),
        ("90 minutes", "01:30:00"),
        ("1h30m", ""),
        ("3 days ago", "-3 days"),
        ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
        ("5", "00:00:05"),
        ("250ms", "00:00:00.25"),
    ] {
        if expected.is_empty() {
            refused(text, DataType::Interval, SqlState::INVALID_DATETIME_FORMAT);
        } else {
            check(text, DataType::Interval, expected);
        }
    }
    refused("", DataType::Interval, SqlState::INVALID_DATETIME_FORMAT);
    refused("1 fortnight", DataType::Interval, SqlState::INVALID_DATETIME_FORMAT);
}

#[test]
fn bytes_and_uuids() {
    check("\\x00Ff", DataType::Bytea, "\\x00ff");
    check("a\\\\b\\101", DataType::Bytea, "\\x615c6241");
    refused("\\x0", DataType::Bytea, SqlState::INVALID_PARAMETER_VALUE);
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    check(uuid, DataType::Uuid, uuid);
    check("{A0EEBC999C0B4EF8BB6D6BB9BD380A11}", DataType::Uuid, uuid);
    refused("a0eebc99", DataType::Uuid, SqlState::INVALID_TEXT_REPRESENTATION);
}
