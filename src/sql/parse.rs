//! Text to syntax trees.

use super::as_of::AsOf;
use super::binder::{NESTING_MAX, too_complex};
use super::copy::CopyStatement;
use super::cursor::{CloseStatement, DeclareStatement, FetchStatement};
use super::ddl::privilege::PrivilegeStatement;
use super::ddl::role::RoleStatement;
use super::ddl::{AlterStatement, SequenceStatement, TableLikeStatement, WrittenComment};
use super::maintenance::MaintenanceStatement;
use super::names::fold;
use super::positions::Lines;
use super::prepared::{ExecuteStatement, PrepareStatement};
use super::saga::SagaStatement;
use super::table_as::TableAsStatement;
use super::transaction::TransactionStatement;
use crate::cluster::wants::Wish;
use model::error::{SqlError, SqlState};
use sqlparser::ast::{ObjectName, Query, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

mod alter;
mod as_of;
mod cluster;
mod comment;
mod copy;
mod cursor;
mod database;
mod digits;
mod grant;
mod identity;
mod maintenance;
mod prepared;
mod rewrite;
mod role;
mod row_lock;
mod saga;
mod sequence;
mod table_as;
mod table_like;
mod transaction;
mod words;

pub(super) use database::NewDatabase;
pub use rewrite::Overriding;
pub(super) use row_lock::{Strength, row_lock_strength};

/// Longest statement text, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 32 << 20;
/// Levels of parentheses and subqueries the parser follows; its stack grows with them.
const PARSER_DEPTH: usize = 300;

/// What a query begins with, parentheses aside.
const QUERY: [Keyword; 4] = [Keyword::SELECT, Keyword::VALUES, Keyword::WITH, Keyword::TABLE];

/// A parsed statement.
#[derive(Debug, Clone)]
pub struct ParsedStatement {
    /// The tree.
    pub syntax: Syntax,
    /// Where the lines of the text begin that it stands in.
    pub lines: Lines,
    /// The clause of that name in an `INSERT`, which the tree does not show.
    pub overriding: Option<Overriding>,
    /// The time that it reads, in a clause that the tree does not show.
    pub as_of: Option<AsOf>,
    /// What the client is told of how it is written.
    pub warnings: Vec<SqlError>,
}

/// A statement's tree.
#[derive(Debug, Clone)]
pub enum Syntax {
    /// As the parser makes it.
    Standard(Box<Statement>),
    /// `COPY`, whose grammar is PostgreSQL's and not the parser's.
    Copy(Box<CopyStatement>),
    /// `ALTER SYSTEM`: what is wanted of the cluster.
    Wish(Wish),
    /// `VACUUM` and `ANALYZE`, with PostgreSQL's grammar too.
    Maintenance(Box<MaintenanceStatement>),
    /// `CREATE SEQUENCE`, `ALTER SEQUENCE`, likewise.
    Sequence(Box<SequenceStatement>),
    /// `COMMENT ON`, too.
    Comment(Box<WrittenComment>),
    /// `ALTER TABLE` and what else renames and moves, too.
    Alter(Box<AlterStatement>),
    /// `CREATE TABLE` with `LIKE`, too.
    TableLike(Box<TableLikeStatement>),
    /// `CREATE TABLE ... AS`, too.
    TableAs(Box<TableAsStatement>),
    /// `PREPARE`, whose text is kept.
    Prepare(Box<PrepareStatement>),
    /// `EXECUTE`
    Execute(Box<ExecuteStatement>),
    /// `DECLARE`, whose text is kept too.
    Declare(Box<DeclareStatement>),
    /// `FETCH`, `MOVE`
    Fetch(Box<FetchStatement>),
    /// `CLOSE`
    Close(Box<CloseStatement>),
    /// `BEGIN` and `SET TRANSACTION`, with all modes.
    Transaction(TransactionStatement),
    /// What begins, goes on and ends a saga.
    Saga(Box<SagaStatement>),
    /// Statements about roles, too.
    Role(Box<RoleStatement>),
    /// Statements about privileges and owners, too.
    Privileges(Box<PrivilegeStatement>),
    /// `CREATE DATABASE`, too.
    CreateDatabase(Box<NewDatabase>),
    /// One that is PostgreSQL's, and not known here.
    Unsupported(&'static str),
}

/// A text that is parsed, to take out how a statement was written.
struct Text<'t> {
    text: &'t str,
    lines: Lines,
}

impl Text<'_> {
    /// What stands from `start` to the token `end`.
    fn between(&self, start: Location, end: &TokenWithSpan) -> &str {
        let byte = |location| {
            let character = self.lines.position(location)? as usize - 1;
            self.text.char_indices().nth(character).map(|(byte, _)| byte)
        };
        let start = byte(start).unwrap_or(0);
        let end = match end.token {
            Token::EOF => None,
            _ => byte(end.span.start),
        };
        self.text[start..end.unwrap_or(self.text.len())].trim_end()
    }
}

/// Reads a word without quotes, in any case, where it comes next.
fn word(parser: &mut Parser<'_>, sought: &str) -> bool {
    let found = match &parser.peek_token_ref().token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(sought),
        _ => false,
    };
    if found {
        parser.next_token();
    }
    found
}

/// Whether the statement ends here.
fn at_end(token: &Token) -> bool {
    matches!(token, Token::EOF | Token::SemiColon)
}

/// Something's name, in lower case unless it is quoted.
fn name(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let next = parser.peek_token();
    let name = fold(&parser.parse_identifier()?);
    if name.is_empty() {
        return parser.expected("a name that is not empty", next);
    }
    Ok(name)
}

impl ParsedStatement {
    /// Whether it ends a transaction block or goes back in it: all that a failed one takes.
    pub fn leaves_failure(&self) -> bool {
        match &self.syntax {
            Syntax::Standard(statement) => {
                matches!(**statement, Statement::Commit { .. } | Statement::Rollback { .. })
            }
            Syntax::Saga(statement) => statement.ends(),
            _ => false,
        }
    }
}

/// Parses statements separated by semicolons; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<ParsedStatement>, SqlError> {
    let mut tokens = tokens(text)?;
    let mut notes = Notes {
        as_of: as_of::take(&mut tokens),
        overriding: rewrite::take_overriding(&mut tokens),
        warnings: digits::reduced(&tokens),
    };
    rewrite::expand_set_schema(&mut tokens);
    rewrite::expand_quantified_operators(&mut tokens);
    rewrite::take_concurrently(&mut tokens);
    rewrite::expand_table_commands(&mut tokens);
    rewrite::turn_interval_literals(&mut tokens);
    rewrite::order_identity_options(&mut tokens);
    saga::part_steps(&mut tokens);
    row_lock::spell(&mut tokens);
    let whole = Text { text, lines: Lines::of(text) };
    let statements = parse_all(&mut parser(tokens), &whole, &mut notes);
    statements.map_err(|error| syntax_error(error, text))
}

/// What the tokens say that the tree does not show.
struct Notes {
    as_of: Vec<(Location, Option<AsOf>)>,
    overriding: Vec<(Location, Overriding)>,
    warnings: Vec<(Location, SqlError)>,
}

fn parse_all(
    parser: &mut Parser<'_>,
    text: &Text<'_>,
    notes: &mut Notes,
) -> Result<Vec<ParsedStatement>, ParserError> {
    let mut statements = Vec::new();
    loop {
        let mut delimited = statements.is_empty();
        while parser.consume_token(&Token::SemiColon) {
            delimited = true;
        }
        let next = parser.peek_token();
        if next.token == Token::EOF {
            return Ok(statements);
        }
        if !delimited {
            return parser.expected("end of statement", next);
        }
        let syntax = if let Some(statement) = copy::statement(parser)? {
            Syntax::Copy(Box::new(statement))
        } else if let Some(statement) = maintenance::statement(parser)? {
            Syntax::Maintenance(Box::new(statement))
        } else if let Some(wish) = cluster::statement(parser)? {
            Syntax::Wish(wish)
        } else if let Some(syntax) = access_control(parser)? {
            syntax
        } else if let Some(syntax) = comment::statement(parser)? {
            syntax
        } else if let Some(statement) = alter::statement(parser)? {
            Syntax::Alter(Box::new(statement))
        } else if let Some(statement) = sequence::statement(parser)? {
            Syntax::Sequence(Box::new(statement))
        } else if let Some(statement) = table_like::statement(parser)? {
            Syntax::TableLike(Box::new(statement))
        } else if let Some(statement) = table_as::statement(parser)? {
            Syntax::TableAs(Box::new(statement))
        } else if let Some(statement) = prepared::prepare(parser, text)? {
            Syntax::Prepare(Box::new(statement))
        } else if let Some(statement) = prepared::execute(parser)? {
            Syntax::Execute(Box::new(statement))
        } else if let Some(statement) = cursor::declare(parser, text)? {
            Syntax::Declare(Box::new(statement))
        } else if let Some(statement) = cursor::fetch(parser)? {
            Syntax::Fetch(Box::new(statement))
        } else if let Some(statement) = cursor::close(parser)? {
            Syntax::Close(Box::new(statement))
        } else if let Some(statement) = saga::statement(parser, text)? {
            Syntax::Saga(Box::new(statement))
        } else if let Some(statement) = transaction::statement(parser)? {
            Syntax::Transaction(statement)
        } else {
            Syntax::Standard(Box::new(parser.parse_statement()?))
        };
        let (begin, end) = (next.span.start, parser.peek_token());
        let within = |at: Location| at > begin && (end.token == Token::EOF || at < end.span.start);
        let overriding = notes.overriding.iter().find(|(at, _)| within(*at));
        let overriding = overriding.map(|(_, clause)| *clause);
        if overriding.is_some() && !may_override(&syntax) {
            return parser.expected("OVERRIDING in an INSERT only", next);
        }
        let as_of = match notes.as_of.iter().find(|(at, _)| within(*at)) {
            None => None,
            Some((_, Some(time))) if may_read_as_of(&syntax) => Some(time.clone()),
            Some(_) => return parser.expected("AS OF SYSTEM TIME and a time, of a query", next),
        };
        // Of a `SET TRANSACTION` the time may be the only mode.
        if let (Syntax::Transaction(TransactionStatement::Set(modes)), None) = (&syntax, &as_of)
            && modes.is_empty()
        {
            return parser.expected("a transaction mode", end);
        }
        let warnings = notes.warnings.extract_if(.., |(at, _)| *at == begin || within(*at));
        let warnings =
            warnings.map(|(at, warning)| with_position(warning, text.lines.position(at)));
        let (warnings, lines) = (warnings.collect(), text.lines.clone());
        statements.push(ParsedStatement { syntax, lines, overriding, as_of, warnings });
    }
}

/// A statement about roles, privileges, owners or databases.
fn access_control(parser: &mut Parser<'_>) -> Result<Option<Syntax>, ParserError> {
    const VERBS: [&str; 6] = ["create", "alter", "drop", "grant", "revoke", "reassign"];
    let begins = match &parser.peek_token_ref().token {
        Token::Word(word) => VERBS.iter().any(|verb| word.value.eq_ignore_ascii_case(verb)),
        _ => false,
    };
    if !begins {
        return Ok(None);
    }
    if let Some(syntax) = role::statement(parser)? {
        return Ok(Some(syntax));
    }
    if let Some(syntax) = grant::statement(parser)? {
        return Ok(Some(syntax));
    }
    database::statement(parser)
}

/// Whether a statement may read what was there at another time. That of a prepared one is found in
/// its text.
fn may_read_as_of(syntax: &Syntax) -> bool {
    match syntax {
        Syntax::Prepare(_) => true,
        Syntax::Transaction(TransactionStatement::Begin(_) | TransactionStatement::Set(_)) => true,
        Syntax::Standard(statement) => match statement.as_ref() {
            Statement::Query(_) => true,
            Statement::Explain { statement, .. } => matches!(**statement, Statement::Query(_)),
            _ => false,
        },
        _ => false,
    }
}

/// Whether `OVERRIDING` may stand in a statement. That of a prepared one is found in its text.
fn may_override(syntax: &Syntax) -> bool {
    let Syntax::Standard(statement) = syntax else {
        return matches!(syntax, Syntax::Prepare(_));
    };
    match statement.as_ref() {
        Statement::Insert(_) => true,
        Statement::Explain { statement, .. } => matches!(**statement, Statement::Insert(_)),
        _ => false,
    }
}

/// Parses a query, as the catalog keeps a view's.
pub fn parse_query(text: &str) -> Result<Query, SqlError> {
    let mut parser = parser(tokens(text)?);
    let query = parser.parse_query().map_err(|error| syntax_error(error, text))?;
    Ok(*query)
}

/// Parses an expression, as the catalog keeps defaults and checks.
pub fn parse_expression(text: &str) -> Result<sqlparser::ast::Expr, SqlError> {
    let mut parser = parser(tokens(text)?);
    parser.parse_expr().map_err(|error| syntax_error(error, text))
}

/// Parses a name with its schema, as strings hold it.
pub fn parse_object_name(text: &str) -> Result<ObjectName, SqlError> {
    let mut parser = parser(tokens(text)?);
    let name = parser.parse_object_name(false);
    let name = name.and_then(|name| parser.expect_token(&Token::EOF).map(|_end| name));
    name.map_err(|error| syntax_error(error, text))
}

static DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// The text's tokens, blanks among them.
pub(super) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    if text.len() > STATEMENT_BYTES_MAX {
        return Err(SqlError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("the statement has {} bytes", text.len()),
        )
        .detail(format!("At most {STATEMENT_BYTES_MAX} bytes are allowed.")));
    }
    let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|error| {
        let position = Lines::of(text).position(error.location);
        with_position(SqlError::new(SqlState::SYNTAX_ERROR, lower_first(&error.message)), position)
    })?;
    check_chains(&tokens)?;
    Ok(tokens)
}

fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&DIALECT).with_recursion_limit(PARSER_DEPTH).with_tokens_with_locations(tokens)
}

/// Refuses chains of operators whose tree would be too deep to walk. The parser builds a chain
/// without recursion, so that its own limit does not see it.
fn check_chains(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut open: Vec<usize> = Vec::new();
    let mut links = 0;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                open.push(links);
                links = 0;
            }
            Token::RParen | Token::RBracket => links = open.pop().unwrap_or(0),
            Token::Comma | Token::SemiColon => links = 0,
            Token::Word(word) if is_link(word.keyword) => links += 1,
            Token::Word(_)
            | Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::Period
            | Token::EOF => {}
            _ => links += 1,
        }
        if links > NESTING_MAX {
            return Err(too_complex());
        }
    }
    Ok(())
}

/// Words that hang one more expression or query on what stands before.
fn is_link(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::BETWEEN
            | Keyword::IN
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
            | Keyword::JOIN
            | Keyword::COLLATE
            | Keyword::AT
    )
}

fn syntax_error(error: ParserError, text: &str) -> SqlError {
    match error {
        ParserError::RecursionLimitExceeded => {
            SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "the statement is nested too deeply")
                .detail(format!("At most about {PARSER_DEPTH} levels are followed."))
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            let (message, location) = split_location(&message);
            let position = location.and_then(|location| Lines::of(text).position(location));
            with_position(explained(message), position)
        }
    }
}

/// In PostgreSQL's words what the parser says, which is most often `Expected: ..., found: ...`; what
/// it expected becomes the detail.
fn explained(message: &str) -> SqlError {
    let parts = message.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: "));
    let Some((expected, found)) = parts else {
        return SqlError::new(SqlState::SYNTAX_ERROR, lower_first(message));
    };
    let message = match found {
        "EOF" => "syntax error at end of input".to_owned(),
        found => format!("syntax error at or near \"{found}\""),
    };
    SqlError::new(SqlState::SYNTAX_ERROR, message).detail(format!("Expected here: {expected}."))
}

/// The parser puts the location at the end of its message: `... at Line: 1, Column: 8`.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((text, location)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let parsed = location.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.parse().ok()?, column: column.parse().ok()? })
    });
    (text, parsed)
}

fn with_position(error: SqlError, position: Option<u32>) -> SqlError {
    match position {
        Some(position) => error.position(position),
        None => error,
    }
}

/// Error messages begin with a small letter, as PostgreSQL's.
fn lower_first(message: &str) -> String {
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => "syntax error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> SqlState {
        parse(text).unwrap_err().state()
    }

    #[test]
    fn a_syntax_error_says_where() {
        let error = parse("SELECT 1;\nSELEC 2").unwrap_err();
        assert_eq!(error.state(), SqlState::SYNTAX_ERROR);
        assert_eq!(error.fields().position, Some(11));
        assert_eq!(error.fields().message, "syntax error at or near \"SELEC\"");
        let error = parse("SELECT 1 +").unwrap_err();
        assert_eq!(error.fields().message, "syntax error at end of input");
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let parentheses = format!("SELECT {}1{}", "(".repeat(1000), ")".repeat(1000));
        assert_eq!(state(&parentheses), SqlState::STATEMENT_TOO_COMPLEX);
        let chain = format!("SELECT 1{}", " + 1".repeat(2_000));
        assert_eq!(state(&chain), SqlState::STATEMENT_TOO_COMPLEX);
        let negations = format!("SELECT {} true", "NOT ".repeat(100_000));
        assert_eq!(state(&negations), SqlState::STATEMENT_TOO_COMPLEX);
        let subqueries = format!("{}SELECT 1{}", "SELECT (".repeat(600), ")".repeat(600));
        assert_eq!(state(&subqueries), SqlState::STATEMENT_TOO_COMPLEX);
    }

    #[test]
    fn long_lists_are_no_chains() {
        let rows = vec!["(1, -2, 'x')"; 20_000].join(", ");
        assert_eq!(parse(&format!("INSERT INTO t VALUES {rows}")).unwrap().len(), 1);
        let list = vec!["-1"; 20_000].join(", ");
        assert_eq!(parse(&format!("SELECT 1 WHERE 1 IN ({list})")).unwrap().len(), 1);
    }
}
