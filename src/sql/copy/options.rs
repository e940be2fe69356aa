//! The options of `COPY`: their defaults, and which of them go together.

use super::{OptionValue, WrittenOption};
use model::error::{SqlError, SqlState};

/// Letters that mean something behind a backslash, and what could be taken for them: no delimiter
/// of the text format.
const NO_TEXT_DELIMITERS: &str = "\\.abcdefghijklmnopqrstuvwxyz0123456789";

/// The form of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// A line a row, with backslashes.
    Text,
    /// Comma-separated values.
    Csv,
    /// Lengths and binary values.
    Binary,
}

/// What the first line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// A row.
    None,
    /// The columns' names.
    Names,
    /// The columns' names, which are held to those of the table.
    Match,
}

/// The form of the data, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// The format.
    pub format: CopyFormat,
    /// Between two values.
    pub delimiter: u8,
    /// What stands for `NULL`.
    pub null: String,
    /// What the first line is.
    pub header: Header,
    /// Around values that need it.
    pub quote: u8,
    /// Before a quote or itself inside of quotes.
    pub escape: u8,
    /// Of each copied column, whether every value is quoted.
    pub force_quote: Vec<bool>,
    /// Of each copied column, whether no value is taken for `NULL`.
    pub force_not_null: Vec<bool>,
    /// Of each copied column, whether a quoted value may be `NULL`, too.
    pub force_null: Vec<bool>,
}

/// The options as they are written, each once.
#[derive(Default)]
struct Given<'a> {
    format: Option<CopyFormat>,
    freeze: Option<bool>,
    delimiter: Option<&'a str>,
    null: Option<&'a str>,
    header: Option<Header>,
    quote: Option<&'a str>,
    escape: Option<&'a str>,
    force_quote: Option<Columns<'a>>,
    force_not_null: Option<Columns<'a>>,
    force_null: Option<Columns<'a>>,
    encoding: Option<&'a str>,
}

enum Columns<'a> {
    All,
    Named(&'a [String]),
}

/// The options of a `COPY` of these columns. `from`: rows come in.
pub(super) fn bind(
    written: &[WrittenOption],
    from: bool,
    columns: &[&str],
) -> Result<CopyOptions, SqlError> {
    let mut given = Given::default();
    for option in written {
        take(&mut given, option, from)?;
    }
    let format = given.format.unwrap_or(CopyFormat::Text);
    if let Some(encoding) = given.encoding {
        check_encoding(encoding)?;
    }
    check_format(&given, format, from)?;
    let is_csv = format == CopyFormat::Csv;
    let delimiter = given.delimiter.unwrap_or(if is_csv { "," } else { "\t" });
    let null = given.null.unwrap_or(if is_csv { "" } else { "\\N" });
    let delimiter = check_delimiter(delimiter, null, format)?;
    let (quote, escape) = if is_csv { quotes(&given, delimiter, null)? } else { (b'"', b'"') };
    let force = |columns_of: &Option<Columns<'_>>, name| referenced(columns_of, name, columns);
    Ok(CopyOptions {
        format,
        delimiter,
        null: null.to_owned(),
        header: given.header.unwrap_or(Header::None),
        quote,
        escape,
        force_quote: force(&given.force_quote, "FORCE_QUOTE")?,
        force_not_null: force(&given.force_not_null, "FORCE_NOT_NULL")?,
        force_null: force(&given.force_null, "FORCE_NULL")?,
    })
}

fn take<'a>(given: &mut Given<'a>, option: &'a WrittenOption, from: bool) -> Result<(), SqlError> {
    match option.name.as_str() {
        "format" => once(&mut given.format, format(text(option)?)?),
        "freeze" => once(&mut given.freeze, boolean(option)?),
        "delimiter" => once(&mut given.delimiter, text(option)?),
        "null" => once(&mut given.null, text(option)?),
        "header" => once(&mut given.header, header(option, from)?),
        "quote" => once(&mut given.quote, text(option)?),
        "escape" => once(&mut given.escape, text(option)?),
        "force_quote" => once(&mut given.force_quote, columns(option, true)?),
        "force_not_null" => once(&mut given.force_not_null, columns(option, false)?),
        "force_null" => once(&mut given.force_null, columns(option, false)?),
        "encoding" => once(&mut given.encoding, text(option)?),
        name => Err(syntax(format!("option \"{name}\" not recognized"))),
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), SqlError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(syntax("conflicting or redundant options".to_owned())),
    }
}

fn text(option: &WrittenOption) -> Result<&str, SqlError> {
    match &option.value {
        OptionValue::Text(text) => Ok(text),
        OptionValue::All => Ok("*"),
        OptionValue::None => Err(syntax(format!("{} requires a parameter", option.name))),
        OptionValue::Columns(_) => Err(syntax(format!("{} takes a single value", option.name))),
    }
}

/// A value that is a truth; `None` where it is another one.
fn truth(value: &OptionValue) -> Option<bool> {
    match value {
        OptionValue::None => Some(true),
        OptionValue::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Some(true),
            "false" | "off" | "0" => Some(false),
            _ => None,
        },
        OptionValue::All | OptionValue::Columns(_) => None,
    }
}

fn boolean(option: &WrittenOption) -> Result<bool, SqlError> {
    let value = truth(&option.value);
    value.ok_or_else(|| syntax(format!("{} requires a Boolean value", option.name)))
}

fn header(option: &WrittenOption, from: bool) -> Result<Header, SqlError> {
    match (truth(&option.value), &option.value) {
        (Some(true), _) => Ok(Header::Names),
        (Some(false), _) => Ok(Header::None),
        (None, OptionValue::Text(text)) if text.eq_ignore_ascii_case("match") => match from {
            true => Ok(Header::Match),
            false => Err(unsupported("cannot use \"match\" with HEADER in COPY TO")),
        },
        (None, _) => Err(syntax(format!("{} requires a Boolean value or \"match\"", option.name))),
    }
}

fn format(name: &str) -> Result<CopyFormat, SqlError> {
    match name {
        "text" => Ok(CopyFormat::Text),
        "csv" => Ok(CopyFormat::Csv),
        "binary" => Ok(CopyFormat::Binary),
        name => Err(invalid(format!("COPY format \"{name}\" not recognized"))),
    }
}

fn columns(option: &WrittenOption, all: bool) -> Result<Columns<'_>, SqlError> {
    match &option.value {
        OptionValue::Columns(names) => Ok(Columns::Named(names)),
        OptionValue::All if all => Ok(Columns::All),
        _ => Err(invalid(format!(
            "argument to option \"{}\" must be a list of column names",
            option.name
        ))),
    }
}

/// Text is UTF-8 and nothing else, which `SQL_ASCII` leaves as it is.
fn check_encoding(name: &str) -> Result<(), SqlError> {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match letters.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(()),
        _ => {
            Err(invalid("argument to option \"encoding\" must be a valid encoding name".to_owned())
                .hint("The encoding is UTF8."))
        }
    }
}

/// Refuses options that the format or the direction does not have.
fn check_format(given: &Given<'_>, format: CopyFormat, from: bool) -> Result<(), SqlError> {
    if format == CopyFormat::Binary {
        if given.delimiter.is_some() {
            return Err(syntax("cannot specify DELIMITER in BINARY mode".to_owned()));
        }
        if given.null.is_some() {
            return Err(syntax("cannot specify NULL in BINARY mode".to_owned()));
        }
        if given.header.is_some_and(|header| header != Header::None) {
            return Err(unsupported("cannot specify HEADER in BINARY mode"));
        }
    }
    if format != CopyFormat::Csv {
        refuse_first(&[
            (given.quote.is_some(), "COPY quote available only in CSV mode"),
            (given.escape.is_some(), "COPY escape available only in CSV mode"),
            (given.force_quote.is_some(), "COPY force quote available only in CSV mode"),
            (given.force_not_null.is_some(), "COPY force not null available only in CSV mode"),
            (given.force_null.is_some(), "COPY force null available only in CSV mode"),
        ])?;
    }
    refuse_first(&[
        (from && given.force_quote.is_some(), "COPY force quote only available using COPY TO"),
        (
            !from && given.force_not_null.is_some(),
            "COPY force not null only available using COPY FROM",
        ),
        (!from && given.force_null.is_some(), "COPY force null only available using COPY FROM"),
    ])
}

fn refuse_first(refused: &[(bool, &'static str)]) -> Result<(), SqlError> {
    match refused.iter().find(|(refused, _)| *refused) {
        Some((_, message)) => Err(unsupported(message)),
        None => Ok(()),
    }
}

fn check_delimiter(delimiter: &str, null: &str, format: CopyFormat) -> Result<u8, SqlError> {
    let [byte] = *delimiter.as_bytes() else {
        return Err(unsupported("COPY delimiter must be a single one-byte character"));
    };
    if matches!(byte, b'\r' | b'\n') {
        let message = "COPY delimiter cannot be newline or carriage return";
        return Err(invalid(message.to_owned()));
    }
    if null.contains(['\r', '\n']) {
        let message = "COPY null representation cannot use newline or carriage return";
        return Err(invalid(message.to_owned()));
    }
    if format == CopyFormat::Text && NO_TEXT_DELIMITERS.contains(delimiter) {
        return Err(invalid(format!("COPY delimiter cannot be \"{delimiter}\"")));
    }
    if format != CopyFormat::Binary && null.contains(delimiter) {
        return Err(unsupported("COPY delimiter must not appear in the NULL specification"));
    }
    Ok(byte)
}

fn quotes(given: &Given<'_>, delimiter: u8, null: &str) -> Result<(u8, u8), SqlError> {
    let quote_text = given.quote.unwrap_or("\"");
    let [quote] = *quote_text.as_bytes() else {
        return Err(unsupported("COPY quote must be a single one-byte character"));
    };
    if quote == delimiter {
        return Err(invalid("COPY delimiter and quote must be different".to_owned()));
    }
    let [escape] = *given.escape.unwrap_or(quote_text).as_bytes() else {
        return Err(unsupported("COPY escape must be a single one-byte character"));
    };
    if null.as_bytes().contains(&quote) {
        return Err(unsupported("CSV quote character must not appear in the NULL specification"));
    }
    Ok((quote, escape))
}

/// Of each copied column, whether the option names it.
fn referenced(
    given: &Option<Columns<'_>>,
    option: &str,
    columns: &[&str],
) -> Result<Vec<bool>, SqlError> {
    let names = match given {
        None => return Ok(vec![false; columns.len()]),
        Some(Columns::All) => return Ok(vec![true; columns.len()]),
        Some(Columns::Named(names)) => names,
    };
    let mut flags = vec![false; columns.len()];
    for name in *names {
        let Some(position) = columns.iter().position(|column| column == name) else {
            return Err(SqlError::new(
                SqlState::INVALID_COLUMN_REFERENCE,
                format!("{option} column \"{name}\" not referenced by COPY"),
            ));
        };
        flags[position] = true;
    }
    Ok(flags)
}

fn syntax(message: String) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, message)
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn unsupported(message: &'static str) -> SqlError {
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::{Syntax, parse};

    fn options(text: &str, from: bool) -> Result<CopyOptions, SqlError> {
        let direction = if from { "FROM STDIN" } else { "TO STDOUT" };
        let statements = parse(&format!("COPY t (a, b) {direction} {text}"))?;
        let [statement] = statements.as_slice() else { panic!("one statement") };
        let Syntax::Copy(copy) = &statement.syntax else { panic!("no COPY") };
        bind(&copy.options, from, &["a", "b"])
    }

    fn refusal(text: &str, from: bool) -> String {
        options(text, from).unwrap_err().to_string()
    }

    #[test]
    fn both_syntaxes_say_the_same() {
        let same = [
            ("WITH (FORMAT csv, HEADER)", "CSV HEADER"),
            ("(FORMAT csv, DELIMITER ';', NULL 'x')", "WITH CSV DELIMITER AS ';' NULL AS 'x'"),
            ("(FORMAT csv, QUOTE '!', ESCAPE '?')", "CSV QUOTE '!' ESCAPE '?'"),
            (
                "(FORMAT csv, FORCE_NOT_NULL (a), FORCE_NULL (b))",
                "CSV FORCE NOT NULL a FORCE NULL b",
            ),
            ("(DELIMITER E'\\x1f')", "DELIMITER E'\\x1f'"),
            ("(FREEZE on)", "WITH FREEZE"),
            ("(FORMAT binary)", "BINARY"),
            ("(ENCODING 'UTF-8')", "ENCODING 'utf8'"),
        ];
        for (new, old) in same {
            assert_eq!(options(new, true).unwrap(), options(old, true).unwrap(), "{new} / {old}");
        }
        let all = options("(FORMAT csv, FORCE_QUOTE *)", false).unwrap();
        assert_eq!(all.force_quote, [true, true]);
        assert_eq!(all, options("CSV FORCE QUOTE a, b", false).unwrap());
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let table = [
            ("(FORMAT xml)", "22023: COPY format \"xml\" not recognized"),
            ("(COLOUR red)", "42601: option \"colour\" not recognized"),
            ("(FORMAT csv, FORMAT csv)", "42601: conflicting or redundant options"),
            ("(FORMAT binary, DELIMITER ',')", "42601: cannot specify DELIMITER in BINARY mode"),
            ("(FORMAT binary, NULL '')", "42601: cannot specify NULL in BINARY mode"),
            ("(FORMAT binary, HEADER)", "0A000: cannot specify HEADER in BINARY mode"),
            ("(HEADER perhaps)", "42601: header requires a Boolean value or \"match\""),
            ("(DELIMITER ',,')", "0A000: COPY delimiter must be a single one-byte character"),
            ("(DELIMITER E'\\n')", "22023: COPY delimiter cannot be newline or carriage return"),
            ("(DELIMITER 'a')", "22023: COPY delimiter cannot be \"a\""),
            ("(NULL E'\\t')", "0A000: COPY delimiter must not appear in the NULL specification"),
            ("(QUOTE '!')", "0A000: COPY quote available only in CSV mode"),
            ("(FORMAT csv, QUOTE ',')", "22023: COPY delimiter and quote must be different"),
            (
                "(FORMAT csv, FORCE_QUOTE (a))",
                "0A000: COPY force quote only available using COPY TO",
            ),
            (
                "(FORMAT csv, FORCE_NULL (c))",
                "42P10: FORCE_NULL column \"c\" not referenced by COPY",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(refusal(text, true), expected, "{text}");
        }
        let out = "0A000: cannot use \"match\" with HEADER in COPY TO";
        assert_eq!(refusal("(FORMAT csv, HEADER match)", false), out);
        let out = "0A000: COPY force null only available using COPY FROM";
        assert_eq!(refusal("(FORMAT csv, FORCE_NULL (a))", false), out);
    }
}
