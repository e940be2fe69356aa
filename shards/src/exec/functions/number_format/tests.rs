use super::digits::of_float;
use super::template::Template;
use super::*;
use model::error::SqlState;

fn number(number: i64, format: &str) -> String {
    let mut template = Template::read(format).expect("a template");
    let digits = digits::of_integer(number, Int8, &mut template).expect("digits");
    write::write(template, &digits).expect("a text")
}

#[test]
fn templates_that_contradict_themselves_are_refused() {
    for (format, message) in [
        ("9.9.9", "multiple decimal points"),
        ("9V9.9", "cannot use \"V\" and decimal point together"),
        ("S9S", "cannot use \"S\" twice"),
        ("9PR9", "\"9\" must be ahead of \"PR\""),
        ("9EEEE9", "\"EEEE\" must be the last pattern used"),
        ("FM9EEEE", "\"EEEE\" is incompatible with other formats"),
    ] {
        let error = Template::read(format).expect_err(format);
        assert_eq!(
            (error.state(), error.fields().message.as_ref()),
            (SqlState::SYNTAX_ERROR, message)
        );
    }
}

#[test]
fn quotes_make_letters_of_patterns() {
    assert_eq!(number(7, "9\"9 \\\"th\"9"), " 9 \"th 7");
    assert_eq!(number(7, "9 \\\"9"), "  \" 7");
}

#[test]
fn a_float_writes_no_digits_that_it_does_not_keep() {
    let mut template = Template::read("999999.999999").expect("a template");
    let digits = of_float(1.5, digits::FLOAT4_DIGITS, &mut template).expect("digits");
    assert_eq!(digits.text, "1.50000");
}
