//! `CREATE INDEX`, and the columns of keys.

use super::storage::check_of_index;
use super::{NewIndex, SessionSettings, new_name, qualified};
use crate::sql::expression::check_collation;
use crate::sql::names::{fold, relation_name};
use model::error::SqlError;
use model::types::DataType;
use sqlparser::ast;

/// Columns of a key: names without an order.
pub(super) fn plain_columns(columns: &[ast::IndexColumn]) -> Result<Vec<String>, SqlError> {
    let columns = columns.iter().map(index_column);
    columns.map(|column| column.map(|(name, _)| name)).collect()
}

fn index_column(column: &ast::IndexColumn) -> Result<(String, bool), SqlError> {
    // Texts are ordered by their bytes, which is what the collations are that there are.
    let indexed = match &column.column.expr {
        ast::Expr::Collate { expr, collation } => {
            check_collation(collation)?;
            expr.as_ref()
        }
        other => other,
    };
    let ast::Expr::Identifier(name) = indexed else {
        return Err(SqlError::unsupported("an index on an expression"));
    };
    let key = crate::sql::functions::sort_key(
        model::expression::Expression::column(0, DataType::Bool),
        &column.column.options,
    )?;
    if key.nulls_first != key.descending {
        return Err(SqlError::unsupported("NULLS FIRST or LAST against the index's order"));
    }
    Ok((fold(name), key.descending))
}

pub(super) fn new_index(
    create: &ast::CreateIndex,
    settings: &SessionSettings,
) -> Result<NewIndex, SqlError> {
    let refused = [
        (create.predicate.is_some(), "a partial index"),
        (!create.include.is_empty(), "INCLUDE"),
        (create.nulls_distinct == Some(false), "NULLS NOT DISTINCT"),
    ];
    if let Some((_, what)) = refused.iter().find(|(present, _)| *present) {
        return Err(SqlError::unsupported(what));
    }
    check_of_index(&create.with)?;
    if !matches!(create.using, None | Some(ast::IndexType::BTree)) {
        return Err(SqlError::unsupported("an index that is no B-tree"));
    }
    // An index lives in its table's schema, whatever is written.
    let name = match &create.name {
        Some(name) => Some(new_name(relation_name(name)?.1)?),
        None => None,
    };
    Ok(NewIndex {
        name,
        table: qualified(&create.table_name, settings)?,
        columns: create.columns.iter().map(index_column).collect::<Result<_, _>>()?,
        unique: create.unique,
        if_not_exists: create.if_not_exists,
        concurrently: create.concurrently,
    })
}
