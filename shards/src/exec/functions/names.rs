//! Identifiers: how they are quoted, and how a qualified name is read.

use super::{Call, Function};
use model::error::{SqlError, SqlState};
use model::types::DataType::{self, Bool, Text};
use model::types::ElementType;
use model::types::oid;
use model::value::Value;

const TEXTS: DataType = DataType::Array(ElementType::Text);

/// Longest `name` in bytes, with the zero behind it.
const NAME_BYTES: i64 = 64;

/// Those with a space in their name cannot be called: the binder puts them before lookups, and makes
/// `name[index]` and `pg_options_to_table` of them.
pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("quote_ident", &[Text], Text, |c| Ok(Value::text(quote_identifier(c.text(0)?)))),
    Function::new("parse_ident", &[Text], TEXTS, |c| {
        let text = c.text(0)?;
        qualified_name(text).ok_or_else(|| not_an_identifier(text))
    }),
    Function::new("parse_ident", &[Text, Bool], TEXTS, |c| {
        let text = c.text(0)?;
        let strict = matches!(c.values[1], Value::Bool(true));
        let name = if strict { qualified_name(text) } else { leading_name(text) };
        name.ok_or_else(|| not_an_identifier(text))
    }),
    Function::new("object name", &[Text], TEXTS, |c| {
        qualified_name(c.text(0)?)
            .ok_or_else(|| SqlError::new(SqlState::INVALID_NAME, "invalid name syntax"))
    }),
    Function::new("type name", &[Text], TEXTS, |c| Ok(type_name(c.text(0)?))),
    Function::new("operator name", &[Text], TEXTS, |c| Ok(operator_name(c.text(0)?))),
    Function::new("function signature", &[Text], TEXTS, |c| signature(c.text(0)?, false)),
    Function::new("operator signature", &[Text], TEXTS, |c| signature(c.text(0)?, true)),
    // A name is an array of 64 characters of a byte each, from 0.
    Function::new("name byte", &[DataType::Name, DataType::Int8], DataType::InternalChar, |c| {
        let index = c.int(1)?;
        if !(0..NAME_BYTES).contains(&index) {
            return Ok(Value::Null);
        }
        let byte = c.text(0)?.as_bytes().get(usize::try_from(index).unwrap_or(usize::MAX)).copied();
        Ok(Value::text(byte.filter(u8::is_ascii).map_or(String::new(), |b| char::from(b).into())))
    }),
    Function::new("option names", &[TEXTS], TEXTS, |c| options(c, |(name, _)| Value::text(name))),
    Function::new("option values", &[TEXTS], TEXTS, |c| {
        options(c, |(_, value)| value.map_or(Value::Null, Value::text))
    }),
];

/// What `part` takes of each `name=value` of an array.
fn options(
    call: &Call<'_>,
    part: impl Fn((&str, Option<&str>)) -> Value,
) -> Result<Value, SqlError> {
    let Value::Array(options) = &call.values[0] else { return Ok(Value::Null) };
    let one = |option: &Value| match option {
        Value::Text(text) => Ok(part(match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        })),
        _ => Err(SqlError::new(
            SqlState::NULL_VALUE_NOT_ALLOWED,
            "null array element not allowed in this context",
        )),
    };
    options.elements().iter().map(one).collect::<Result<_, _>>().map(Value::array)
}

fn not_an_identifier(text: &str) -> SqlError {
    SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("string is not a valid identifier: \"{text}\""),
    )
}

/// The identifier as SQL has to write it: in quotes where it would not be read as it is.
pub fn quote_identifier(name: &str) -> String {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let plain = begins && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && RESERVED.binary_search(&name).is_err() {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `schema.name` as an array of its parts: folded, without quotes. `None` where it is no name.
fn qualified_name(text: &str) -> Option<Value> {
    let (name, behind) = name_parts(text)?;
    behind.is_empty().then_some(name)
}

/// The same, whatever stands behind the name.
fn leading_name(text: &str) -> Option<Value> {
    name_parts(text).map(|(name, _)| name)
}

fn name_parts(text: &str) -> Option<(Value, &str)> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, behind) = identifier(rest)?;
        parts.push(Value::text(part));
        let behind = behind.trim_start();
        match behind.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None => return Some((Value::array(parts), behind)),
        }
    }
}

/// One identifier from the beginning of `text`, and what stands behind it.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut rest = quoted;
        loop {
            let end = rest.find('"')?;
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None => return (!name.is_empty()).then_some((name, rest)),
            }
        }
    }
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    let end = text.find(|c| !inside(c)).unwrap_or(text.len());
    let name = &text[..end];
    let begins = name.chars().next().is_some_and(|c| !c.is_ascii_digit() && c != '$');
    begins.then(|| (name.to_lowercase(), &text[end..]))
}

/// A type's name without modifiers: words with one space between, a schema where one is written.
fn type_name(text: &str) -> Value {
    if let Some(parts) = qualified_name(text) {
        return parts;
    }
    let mut name = text.to_lowercase();
    if let (Some(open), Some(close)) = (name.find('('), name.find(')'))
        && open < close
    {
        name.replace_range(open..=close, "");
    }
    let words: Vec<&str> = name.split_whitespace().collect();
    let name = words.join(" ").replace(" [", "[");
    match name.split_once('.') {
        Some((schema, name)) => Value::array(vec![Value::text(schema), Value::text(name)]),
        None => Value::array(vec![Value::text(name)]),
    }
}

/// An operator's symbol, with a schema where one is written.
fn operator_name(text: &str) -> Value {
    let parts: Vec<&str> = match text.trim().split_once('.') {
        Some((schema, symbol)) => vec![schema, symbol],
        None => vec![text.trim()],
    };
    Value::array(parts.into_iter().map(Value::text).collect())
}

/// `schema.name(type, type)` as the schema, where one is written, and `name(type,type)` with the
/// types' names as they print.
fn signature(text: &str, of_operator: bool) -> Result<Value, SqlError> {
    let malformed =
        |message: &'static str| SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message);
    let mut quoted = false;
    let open = text.find(|c| {
        quoted ^= c == '"';
        c == '(' && !quoted
    });
    let open = open.ok_or_else(|| malformed("expected a left parenthesis"))?;
    let types = text[open + 1..].trim_end().strip_suffix(')');
    let types = types.ok_or_else(|| malformed("expected a right parenthesis"))?;
    let name = match of_operator {
        true => operator_name(&text[..open]),
        false => qualified_name(&text[..open])
            .ok_or_else(|| SqlError::new(SqlState::INVALID_NAME, "invalid name syntax"))?,
    };
    let types = types.split(',').map(str::trim).filter(|word| !word.is_empty());
    let types: Vec<String> = types.map(argument_type).collect::<Result<_, _>>()?;
    let Value::Array(parts) = name else {
        return Err(SqlError::internal("a name is an array of its parts"));
    };
    let mut parts = parts.elements().to_vec();
    if let Some(last) = parts.last_mut() {
        *last = Value::text(format!("{}({})", last.to_text(Text), types.join(",")));
    }
    Ok(Value::array(parts))
}

/// The name of an argument's type as it prints; `NONE` is the left one of a prefix operator.
fn argument_type(text: &str) -> Result<String, SqlError> {
    if text.eq_ignore_ascii_case("none") {
        return Ok("NONE".to_owned());
    }
    let undefined =
        || SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{text}\" does not exist"));
    // Quotes tell `"char"` from `char`.
    let name = match text.starts_with('"') {
        true => text.to_owned(),
        false => match type_name(text) {
            Value::Array(parts) => {
                parts.elements().last().map_or_else(String::new, |part| part.to_text(Text))
            }
            _ => return Err(undefined()),
        },
    };
    oid::named(&name).and_then(oid::type_name).ok_or_else(undefined)
}

/// PostgreSQL's key words that cannot be names without quotes (all but its "unreserved" ones), in
/// order.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_where_they_have_to_be() {
        assert!(RESERVED.is_sorted());
        for (name, quoted) in [
            ("item", "item"),
            ("Item", "\"Item\""),
            ("order", "\"order\""),
            ("a\"b", "\"a\"\"b\""),
            ("1st", "\"1st\""),
            ("a$b", "\"a$b\""),
            ("", "\"\""),
        ] {
            assert_eq!(quote_identifier(name), quoted);
        }
    }

    #[test]
    fn signatures_name_their_types_as_they_print() {
        for (text, of_operator, expected) in [
            ("lower(text)", false, "lower(text)"),
            (" Substr ( text, int4 , INTEGER )", false, "substr(text,integer,integer)"),
            ("\"left\"(varchar)", false, "left(character varying)"),
            ("now()", false, "now()"),
            ("-(none, int)", true, "-(NONE,integer)"),
            ("<@(int[],\"char\")", true, "<@(integer[],\"char\")"),
        ] {
            let expected = Value::array(vec![Value::text(expected)]);
            assert_eq!(signature(text, of_operator), Ok(expected));
        }
        let state = |text| signature(text, false).expect_err(text).state();
        assert_eq!(state("lower"), SqlState::INVALID_TEXT_REPRESENTATION);
        assert_eq!(state("lower(text"), SqlState::INVALID_TEXT_REPRESENTATION);
        assert_eq!(state("lower(nothing)"), SqlState::UNDEFINED_OBJECT);
    }

    #[test]
    fn qualified_names_are_folded_and_unquoted() {
        let parts =
            |names: &[&str]| Some(Value::array(names.iter().map(|n| (*n).into()).collect()));
        assert_eq!(qualified_name("Public.Item"), parts(&["public", "item"]));
        assert_eq!(qualified_name(" \"a.B\" . c "), parts(&["a.B", "c"]));
        assert_eq!(qualified_name("a b"), None);
        assert_eq!(qualified_name("a."), None);
        assert_eq!(qualified_name("\"a"), None);
        assert_eq!(Some(type_name("Double  PRECISION []")), parts(&["double precision[]"]));
        assert_eq!(Some(type_name("numeric(10, 2)")), parts(&["numeric"]));
    }
}
