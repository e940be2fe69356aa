//! Identifiers: how they are quoted, and how a qualified name is read.

use super::Function;
use model::error::{SqlError, SqlState};
use model::types::DataType::{self, Text};
use model::types::ElementType;
use model::value::Value;

const TEXTS: DataType = DataType::Array(ElementType::Text);

/// The two with a space in their name cannot be called: the binder puts them before lookups.
pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("quote_ident", &[Text], Text, |c| Ok(Value::text(quote_identifier(c.text(0)?)))),
    Function::new("parse_ident", &[Text], TEXTS, |c| {
        let text = c.text(0)?;
        qualified_name(text).ok_or_else(|| not_an_identifier(text))
    }),
    Function::new("object name", &[Text], TEXTS, |c| {
        qualified_name(c.text(0)?)
            .ok_or_else(|| SqlError::new(SqlState::INVALID_NAME, "invalid name syntax"))
    }),
    Function::new("type name", &[Text], TEXTS, |c| Ok(type_name(c.text(0)?))),
];

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
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, behind) = identifier(rest)?;
        parts.push(Value::text(part));
        let behind = behind.trim_start();
        match behind.strip_prefix('.') {
            Some(next) => rest = next.trim_start(),
            None if behind.is_empty() => return Some(Value::array(parts)),
            None => return None,
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
