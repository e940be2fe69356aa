//! Names in sight: the columns that a clause can refer to, and those of the queries around it.

use crate::catalog::similar;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::types::DataType;

/// A column in sight.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopeColumn {
    /// The relation's alias or name; none for computed columns.
    pub relation: Option<String>,
    /// The column's name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Left out by `*`: the hidden key, and the right side of a column that `USING` merged.
    pub hidden: bool,
    /// Not found without its relation's name either: merged columns.
    pub only_qualified: bool,
}

/// The columns of one query level; the position is the input's.
#[derive(Debug, Clone, Default)]
pub struct Scope<'a> {
    /// In the order of the input's columns.
    pub columns: Vec<ScopeColumn>,
    /// The query around this one.
    pub parent: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    /// An empty level inside `parent`.
    pub fn inside(parent: Option<&'a Scope<'a>>) -> Scope<'a> {
        Scope { columns: Vec::new(), parent }
    }

    /// How many levels there are around a query inside `outer`.
    pub fn levels(outer: Option<&Scope<'_>>) -> usize {
        std::iter::successors(outer, |scope| scope.parent).count()
    }

    /// Finds a column by name, here or in the queries around.
    pub fn resolve(&self, relation: Option<&str>, name: &str) -> Result<Expression, SqlError> {
        let mut level = Some(self);
        let mut depth = 0;
        while let Some(scope) = level {
            if let Some((index, column)) = scope.find(relation, name)? {
                let data_type = column.data_type;
                return Ok(match depth {
                    0 => Expression::column(index, data_type),
                    _ => Expression::Outer { depth: depth - 1, index, data_type },
                });
            }
            level = scope.parent;
            depth += 1;
        }
        Err(self.unknown(relation, name))
    }

    fn find(
        &self,
        relation: Option<&str>,
        name: &str,
    ) -> Result<Option<(usize, &ScopeColumn)>, SqlError> {
        let matches = |column: &ScopeColumn| {
            column.name == name
                && match relation {
                    Some(relation) => column.relation.as_deref() == Some(relation),
                    None => !column.only_qualified,
                }
        };
        let mut found = self.columns.iter().enumerate().filter(|(_, column)| matches(column));
        let first = found.next();
        if first.is_some() && found.next().is_some() {
            return Err(SqlError::new(
                SqlState::AMBIGUOUS_COLUMN,
                format!("column reference \"{name}\" is ambiguous"),
            ));
        }
        Ok(first)
    }

    /// Whether a relation of this name or alias is in sight at this level.
    pub fn has_relation(&self, relation: &str) -> bool {
        self.columns.iter().any(|column| column.relation.as_deref() == Some(relation))
    }

    fn unknown(&self, relation: Option<&str>, name: &str) -> SqlError {
        if let Some(relation) = relation {
            let mut level = Some(self);
            while let Some(scope) = level {
                if scope.has_relation(relation) {
                    return self.unknown_column(
                        &format!("{relation}.{name}"),
                        Some(relation),
                        name,
                    );
                }
                level = scope.parent;
            }
            return SqlError::new(
                SqlState::UNDEFINED_TABLE,
                format!("missing FROM-clause entry for table \"{relation}\""),
            );
        }
        self.unknown_column(&format!("\"{name}\""), None, name)
    }

    fn unknown_column(&self, shown: &str, relation: Option<&str>, name: &str) -> SqlError {
        let error =
            SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column {shown} does not exist"));
        let of_relation = |column: &&ScopeColumn| {
            relation.is_none_or(|relation| column.relation.as_deref() == Some(relation))
        };
        let candidates = self.columns.iter().filter(of_relation).map(|c| c.name.as_str());
        let Some(close) = similar(name, candidates) else { return error };
        let owner = self.columns.iter().find(|column| column.name == close);
        let qualified = match owner.and_then(|column| column.relation.as_deref()) {
            Some(relation) => format!("{relation}.{close}"),
            None => close.to_owned(),
        };
        error.hint(format!("Perhaps you meant to reference the column \"{qualified}\"."))
    }
}
