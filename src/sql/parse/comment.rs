//! The grammar of `COMMENT ON`.

use super::Syntax;
use super::grant::unsupported;
use super::words::{Parsed, accept, expect, role, word_at};
use crate::sql::ddl::{AlteredKind, WrittenComment, WrittenObject};
use sqlparser::ast::ObjectName;
use sqlparser::parser::Parser;

/// A `COMMENT`; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<Syntax>> {
    if !accept(parser, &["comment", "on"]) {
        return Ok(None);
    }
    let kind = word_at(parser, 0).unwrap_or_default();
    let relation = |kind| move |name| WrittenObject::Relation(kind, name);
    let object = match kind.as_str() {
        "table" => named(parser, relation(AlteredKind::Table))?,
        "view" => named(parser, relation(AlteredKind::View))?,
        "index" => named(parser, relation(AlteredKind::Index))?,
        "sequence" => named(parser, relation(AlteredKind::Sequence))?,
        "column" => named(parser, WrittenObject::Column)?,
        "constraint" => {
            parser.next_token();
            let constraint = parser.parse_identifier()?;
            expect(parser, &["on"])?;
            WrittenObject::Constraint(constraint, parser.parse_object_name(false)?)
        }
        "schema" => {
            parser.next_token();
            WrittenObject::Schema(parser.parse_identifier()?)
        }
        "database" => {
            parser.next_token();
            WrittenObject::Database(parser.parse_identifier()?)
        }
        "role" => {
            parser.next_token();
            WrittenObject::Role(role(parser)?)
        }
        _ => return Ok(Some(unsupported(parser, "COMMENT ON such an object"))),
    };
    expect(parser, &["is"])?;
    let text = match accept(parser, &["null"]) {
        true => None,
        false => Some(parser.parse_literal_string()?),
    };
    Ok(Some(Syntax::Comment(Box::new(WrittenComment { object, text }))))
}

fn named(
    parser: &mut Parser<'_>,
    object: impl FnOnce(ObjectName) -> WrittenObject,
) -> Parsed<WrittenObject> {
    parser.next_token();
    parser.parse_object_name(false).map(object)
}
