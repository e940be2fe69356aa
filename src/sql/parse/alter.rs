//! The grammar of `ALTER TABLE`, `ALTER VIEW`, `ALTER INDEX` and what else renames and moves: each
//! action is read here or, where the parser knows it, by the parser.

use super::identity;
use super::words::{Parsed, accept, at, expect, word_at};
use crate::sql::ddl::{AlterAction, AlterStatement, Alteration, AlteredKind, Renaming};
use sqlparser::ast::ObjectName;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// What an action without an effect here begins with; each is read to its end.
const WITHOUT_EFFECT: [&[&str]; 6] = [
    &["set", "without", "cluster"],
    &["set", "without", "oids"],
    &["set", "logged"],
    &["disable", "row", "level", "security"],
    &["no", "force", "row", "level", "security"],
    &["replica", "identity", "default"],
];

/// An `ALTER` of a relation or schema; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<AlterStatement>> {
    if accept(parser, &["alter", "table"]) {
        return table(parser).map(Some);
    }
    if at(parser, &["alter", "schema"]) {
        return parser.maybe_parse(schema);
    }
    let kind = match word_at(parser, 1).as_deref() {
        Some("view") => AlteredKind::View,
        Some("index") => AlteredKind::Index,
        Some("sequence") => AlteredKind::Sequence,
        _ => return Ok(None),
    };
    match at(parser, &["alter"]) {
        true => parser.maybe_parse(|parser| other(parser, kind)),
        false => Ok(None),
    }
}

fn table(parser: &mut Parser<'_>) -> Parsed<AlterStatement> {
    let if_exists = accept(parser, &["if", "exists"]);
    accept(parser, &["only"]);
    let name = parser.parse_object_name(false)?;
    let _all = parser.consume_token(&Token::Mul);
    let kind = AlteredKind::Table;
    if let Some(renaming) = renaming(parser, kind)? {
        return Ok(AlterStatement(Alteration::Rename { kind, if_exists, name, renaming }));
    }
    let actions = parser.parse_comma_separated(action)?;
    Ok(AlterStatement(Alteration::Table { if_exists, name, actions }))
}

fn schema(parser: &mut Parser<'_>) -> Parsed<AlterStatement> {
    expect(parser, &["alter", "schema"])?;
    let name = parser.parse_identifier()?;
    expect(parser, &["rename", "to"])?;
    let to = parser.parse_identifier()?;
    Ok(AlterStatement(Alteration::RenameSchema { name, to }))
}

/// What is done with a view, an index or a sequence; an error where another grammar knows it.
fn other(parser: &mut Parser<'_>, kind: AlteredKind) -> Parsed<AlterStatement> {
    expect(parser, &["alter"])?;
    parser.next_token();
    let if_exists = accept(parser, &["if", "exists"]);
    let name: ObjectName = parser.parse_object_name(false)?;
    match renaming(parser, kind)? {
        Some(renaming) => {
            Ok(AlterStatement(Alteration::Rename { kind, if_exists, name, renaming }))
        }
        None => parser.expected("RENAME TO or SET SCHEMA", parser.peek_token()),
    }
}

/// `RENAME TO`, `SET SCHEMA`
fn renaming(parser: &mut Parser<'_>, kind: AlteredKind) -> Parsed<Option<Renaming>> {
    if accept(parser, &["rename", "to"]) {
        return Ok(Some(Renaming::Name(parser.parse_identifier()?)));
    }
    if kind != AlteredKind::Index && accept(parser, &["set", "schema"]) {
        return Ok(Some(Renaming::Schema(parser.parse_identifier()?)));
    }
    Ok(None)
}

/// One of the things that `ALTER TABLE` does.
fn action(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    if WITHOUT_EFFECT.iter().any(|words| accept(parser, words)) {
        return Ok(AlterAction::Nothing);
    }
    if let Some(options) = parser.maybe_parse(storage_parameters)? {
        return Ok(AlterAction::StorageParameters(options));
    }
    if let Some(column) = parser.maybe_parse(column_storage)? {
        return Ok(AlterAction::ColumnStorage(column));
    }
    if let Some(change) = parser.maybe_parse(identity::change)? {
        return Ok(AlterAction::Identity(change));
    }
    Ok(AlterAction::Parsed(Box::new(parser.parse_alter_table_operation()?)))
}

/// `SET (...)`, `RESET (...)`: what is set.
fn storage_parameters(parser: &mut Parser<'_>) -> Parsed<Vec<sqlparser::ast::SqlOption>> {
    if accept(parser, &["reset"]) {
        parser.expect_token(&Token::LParen)?;
        parser.parse_comma_separated(Parser::parse_identifier)?;
        parser.expect_token(&Token::RParen)?;
        return Ok(Vec::new());
    }
    parser.expect_keyword(Keyword::SET)?;
    parser.expect_token(&Token::LParen)?;
    let options = parser.parse_comma_separated(Parser::parse_sql_option)?;
    parser.expect_token(&Token::RParen)?;
    Ok(options)
}

/// `ALTER COLUMN` where it says how values are kept or what is known of them: the column.
fn column_storage(parser: &mut Parser<'_>) -> Parsed<sqlparser::ast::Ident> {
    parser.expect_keyword(Keyword::ALTER)?;
    let _noise = parser.parse_keyword(Keyword::COLUMN);
    let column = parser.parse_identifier()?;
    if accept(parser, &["set", "statistics"]) {
        let _minus = parser.consume_token(&Token::Minus);
        parser.parse_literal_uint()?;
    } else if accept(parser, &["set", "storage"]) || accept(parser, &["set", "compression"]) {
        parser.parse_identifier()?;
    } else {
        storage_parameters(parser)?;
    }
    Ok(column)
}
