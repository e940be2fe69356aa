//! `WITH RECURSIVE`: a query that reads its own rows.
//!
//! The left side of its `UNION` gives the first rows and the types of the columns. The right side
//! is bound with the query's name in sight; there it means the rows that the run before has
//! added. What PostgreSQL refuses of such a query is refused here: whatever would make the result
//! depend on the order of the runs, or need rows that later runs add.

use super::binder::{Binder, CommonTable};
use super::logical::Logical;
use super::query::BoundQuery;
use super::scope::{Scope, ScopeColumn};
use model::error::{SqlError, SqlState};
use model::plan::{ApplyKind, JoinKind};
use model::types::DataType;
use shards::exec::operators;
use sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier};

impl Binder<'_> {
    /// Binds a query of `WITH RECURSIVE`, which may read itself under `name`.
    pub(super) fn bind_recursive(
        &self,
        name: &str,
        alias: &ast::TableAlias,
        query: &ast::Query,
        outer: Option<&Scope<'_>>,
    ) -> Result<BoundQuery, SqlError> {
        let union = match query.body.as_ref() {
            SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right }
                if query.with.is_none() =>
            {
                match set_quantifier {
                    SetQuantifier::All => Some((left, right, true)),
                    SetQuantifier::None | SetQuantifier::Distinct => Some((left, right, false)),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some((left, right, all)) = union else {
            let refusal = invalid(format!(
                "recursive query \"{name}\" does not have the form \
                 non-recursive-term UNION [ALL] recursive-term"
            ));
            return self.with_name(refused(name, refusal), || self.bind_query(query, outer));
        };
        let refusal = refusal(name, "its non-recursive term");
        let first =
            self.with_name(refused(name, refusal), || self.nested(|| self.bind_set(left, outer)))?;
        let id = self.next_working_table();
        let types: Vec<DataType> = first.columns.iter().map(|column| column.data_type).collect();
        let columns = first.columns.iter().map(|column| ScopeColumn {
            relation: None,
            name: column.name.clone(),
            data_type: column.data_type,
            hidden: false,
            only_qualified: false,
        });
        let source = super::from::Source {
            plan: Logical::WorkingTable { id, types: types.clone() },
            columns: columns.collect(),
        };
        let source = super::from::rename(source, Some(name), Some(alias))?;
        let itself = CommonTable {
            name: name.to_owned(),
            columns: source.columns,
            levels: Scope::levels(outer),
            plan: Ok(source.plan),
        };
        let step = self.with_name(itself, || self.nested(|| self.bind_set(right, outer)))?;
        let mut found = Found { id, times: 0 };
        found.check(&step.plan, name)?;
        if found.times == 0 {
            // It does not read itself: a query like any other.
            return self.bind_query(query, outer);
        }
        refuse_clauses(query)?;
        if first.columns.len() != step.columns.len() {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "each UNION query must have the same number of columns",
            ));
        }
        for (number, (column, other)) in (1..).zip(first.columns.iter().zip(&step.columns)) {
            let types = [column.data_type, other.data_type];
            let overall = operators::common_type("UNION", &types)?;
            if overall != column.data_type {
                return Err(SqlError::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "recursive query \"{name}\" column {number} has type {} in non-recursive \
                         term but type {overall} overall",
                        column.data_type
                    ),
                )
                .hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        let step = Box::new(self.retype(step.plan, &types)?);
        let plan = Logical::Recursive { id, first: Box::new(first.plan), step, all };
        Ok(BoundQuery { plan, columns: first.columns })
    }

    /// Binds with one more name in sight.
    fn with_name<T>(
        &self,
        name: CommonTable,
        bind: impl FnOnce() -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let known = self.ctes.borrow().len();
        self.ctes.borrow_mut().push(name);
        let bound = bind();
        self.ctes.borrow_mut().truncate(known);
        bound
    }
}

/// A name that may not be used here.
fn refused(name: &str, error: SqlError) -> CommonTable {
    CommonTable { name: name.to_owned(), columns: Vec::new(), levels: 0, plan: Err(error) }
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_RECURSION, message)
}

fn refusal(name: &str, place: &str) -> SqlError {
    invalid(format!("recursive reference to query \"{name}\" must not appear within {place}"))
}

fn refuse_clauses(query: &ast::Query) -> Result<(), SqlError> {
    let (limit, offset) = match &query.limit_clause {
        Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
            (limit.is_some(), offset.is_some())
        }
        Some(_) => (true, true),
        None => (false, false),
    };
    let clause = match () {
        () if query.order_by.is_some() => "ORDER BY",
        () if offset => "OFFSET",
        () if limit || query.fetch.is_some() => "LIMIT",
        () => return Ok(()),
    };
    Err(SqlError::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("{clause} in a recursive query is not implemented"),
    ))
}

/// Where a query reads itself.
struct Found {
    id: usize,
    times: usize,
}

impl Found {
    /// Counts the places, and refuses those that PostgreSQL refuses.
    fn check(&mut self, plan: &Logical, name: &str) -> Result<(), SqlError> {
        if matches!(plan, Logical::WorkingTable { id, .. } if *id == self.id) {
            self.times += 1;
            if self.times > 1 {
                return Err(invalid(format!(
                    "recursive reference to query \"{name}\" must not appear more than once"
                )));
            }
            return Ok(());
        }
        let mut inputs = Vec::new();
        plan.for_each_input(|input, is_subplan| inputs.push((input, is_subplan)));
        for (position, (input, is_subplan)) in inputs.into_iter().enumerate() {
            let before = self.times;
            stacker::maybe_grow(256 << 10, 4 << 20, || self.check(input, name))?;
            if self.times == before {
                continue;
            }
            let within = match plan {
                Logical::Apply { kind: ApplyKind::Lateral { .. }, .. } => None,
                Logical::Apply { .. } if is_subplan => Some("a subquery"),
                Logical::Join { kind: JoinKind::Full, .. } => Some("an outer join"),
                Logical::Join { kind: JoinKind::Left, .. } if position == 1 => {
                    Some("an outer join")
                }
                Logical::Join { kind: JoinKind::Right, .. } if position == 0 => {
                    Some("an outer join")
                }
                Logical::SetOperation {
                    kind: model::plan::SetOperationKind::Intersect, ..
                } => Some("INTERSECT"),
                Logical::SetOperation { .. } if position == 1 => Some("EXCEPT"),
                Logical::Aggregate { aggregates, .. } if !aggregates.is_empty() => {
                    return Err(invalid(
                        "aggregate functions are not allowed in a recursive query's recursive term"
                            .to_owned(),
                    ));
                }
                _ => None,
            };
            if let Some(place) = within {
                return Err(refusal(name, place));
            }
        }
        Ok(())
    }
}
