//! Scales, rounding, text and limits.

use super::*;

fn number(text: &str) -> Numeric {
    parse(text).unwrap().unwrap()
}

/// The expected quotients are PostgreSQL 15's.
#[test]
fn quotients_have_postgresqls_scale() {
    for (a, b, expected) in [
        ("1", "3", "0.33333333333333333333"),
        ("10", "3", "3.3333333333333333"),
        ("2", "1", "2.0000000000000000"),
        ("1", "10000", "0.000100000000000000000000"),
        ("100000", "7", "14285.714285714286"),
        ("1.5", "0.5", "3.0000000000000000"),
        ("-7", "2", "-3.5000000000000000"),
        ("0", "5", "0.00000000000000000000"),
    ] {
        assert_eq!(divide(&number(a), &number(b)).unwrap().to_string(), expected, "{a} / {b}");
    }
}

#[test]
fn rounding_is_half_away_from_zero() {
    for (text, scale, expected) in [
        ("2.5", 0, "3"),
        ("-2.5", 0, "-3"),
        ("1.005", 2, "1.01"),
        ("155", -1, "160"),
        ("1", 2, "1.00"),
    ] {
        assert_eq!(round(&number(text), scale).unwrap().to_string(), expected);
    }
    assert_eq!(floor(&number("-1.5")).unwrap().to_string(), "-2");
    assert_eq!(ceiling(&number("-1.5")).unwrap().to_string(), "-1");
    assert_eq!(truncate(&number("-1.59"), 1).unwrap().to_string(), "-1.5");
}

#[test]
fn text_in_and_limits() {
    assert_eq!(number("1e3").to_string(), "1000");
    assert_eq!(number("-.5").to_string(), "-0.5");
    assert_eq!(number("12.50e-1").to_string(), "1.250");
    for bad in ["", ".", "1.2.3", "abc", "1e", "--1", "1_000"] {
        assert!(parse(bad).is_none(), "{bad}");
    }
    assert!(parse("1e200000").unwrap().is_err());
    assert!(parse("1e-200000").unwrap().unwrap() == Numeric::from(0));
    let limits = NumericLimits { precision: 4, scale: 2 };
    assert_eq!(limit(&number("99.994"), limits).unwrap().to_string(), "99.99");
    assert!(limit(&number("99.995"), limits).is_err());
}

#[test]
fn roots() {
    assert_eq!(square_root(&number("2")).unwrap().to_string(), "1.414213562373095");
    assert_eq!(square_root(&number("4")).unwrap().to_string(), "2.000000000000000");
}
