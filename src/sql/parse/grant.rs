//! The grammar of `GRANT` and `REVOKE`.

use super::words::{Parsed, accept};
use super::{Syntax, role};
use sqlparser::parser::Parser;

/// A `GRANT` or `REVOKE`; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<Syntax>> {
    let statement = if accept(parser, &["grant"]) {
        role::grant(parser)?
    } else if accept(parser, &["revoke"]) {
        role::revoke(parser)?
    } else {
        return Ok(None);
    };
    Ok(Some(Syntax::Role(Box::new(statement))))
}
