//! Binding of queries: `WITH`, set operations, `VALUES`, `ORDER BY`, `LIMIT`.

use super::OutputColumn;
use super::binder::{Binder, Coercion, CommonTable};
use super::functions::sort_key;
use super::logical::Logical;
use super::names::fold;
use super::row_locks::{self, LockClause};
use super::scope::{Scope, ScopeColumn};
use super::slots::{Refusals, Slots};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::{SetOperationKind, SortKey};
use model::types::DataType;
use shards::exec::operators;
use sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier};

/// A bound query.
pub struct BoundQuery {
    /// Its plan; exactly the output columns.
    pub plan: Logical,
    /// Names and types of the output columns.
    pub columns: Vec<OutputColumn>,
}

impl Binder<'_> {
    /// Binds a query inside `outer`, the scope of the query around it.
    pub fn bind_query(
        &self,
        query: &ast::Query,
        outer: Option<&Scope<'_>>,
    ) -> Result<BoundQuery, SqlError> {
        refuse_clauses(query)?;
        let wanted = self.wanted_types.take();
        let ctes = self.ctes.borrow().len();
        let bound = self.nested(|| {
            if let Some(with) = &query.with {
                self.bind_with(with, outer)?;
            }
            if matches!(*query.body, SetExpr::Select(_)) {
                self.wanted_types.replace(wanted);
            }
            self.bind_body(query, outer)
        });
        self.ctes.borrow_mut().truncate(ctes);
        bound
    }

    fn bind_with(&self, with: &ast::With, outer: Option<&Scope<'_>>) -> Result<(), SqlError> {
        let mut names: Vec<String> = Vec::with_capacity(with.cte_tables.len());
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name);
            if names.contains(&name) {
                return Err(SqlError::new(
                    SqlState::DUPLICATE_ALIAS,
                    format!("WITH query name \"{name}\" specified more than once"),
                ));
            }
            names.push(name.clone());
            // The plan is put in wherever the name stands, at any depth.
            let bound = match with.recursive {
                true => self.bind_recursive(&name, &cte.alias, &cte.query, outer)?,
                false => self.bind_query(&cte.query, outer)?,
            };
            let columns = bound.columns.into_iter().map(|c| ScopeColumn {
                relation: None,
                name: c.name,
                data_type: c.data_type,
                hidden: false,
                only_qualified: false,
            });
            let source = super::from::Source { plan: bound.plan, columns: columns.collect() };
            let source = super::from::rename(source, Some(&name), Some(&cte.alias))?;
            let levels = Scope::levels(outer);
            let plan = Ok(source.plan);
            let cte = CommonTable { name, columns: source.columns, levels, plan };
            self.ctes.borrow_mut().push(cte);
        }
        Ok(())
    }

    fn bind_body(
        &self,
        query: &ast::Query,
        outer: Option<&Scope<'_>>,
    ) -> Result<BoundQuery, SqlError> {
        let order = order_expressions(query)?;
        let mut bound = match query.body.as_ref() {
            SetExpr::Select(select) => {
                let locks = row_locks::written(query)?;
                self.bind_select(select, order, &locks, outer)?
            }
            body => {
                if let Some(clause) = row_locks::written(query)?.first() {
                    return self.bind_locked_body(query, clause, outer);
                }
                let bound = self.bind_set(body, outer)?;
                self.order_output(bound, order)?
            }
        };
        let (limit, offset) = self.bind_limits(query)?;
        if limit.is_some() || offset.is_some() {
            bound.plan = Logical::Limit { input: Box::new(bound.plan), limit, offset };
        }
        Ok(bound)
    }

    /// Locks behind a query in parentheses are that query's.
    fn bind_locked_body(
        &self,
        query: &ast::Query,
        clause: &LockClause,
        outer: Option<&Scope<'_>>,
    ) -> Result<BoundQuery, SqlError> {
        let SetExpr::Query(inner) = query.body.as_ref() else {
            return Err(row_locks::refuse_body(clause, &query.body));
        };
        let mut inner = inner.clone();
        inner.locks.extend(query.locks.iter().cloned());
        let body = Box::new(SetExpr::Query(inner));
        self.bind_body(&ast::Query { body, locks: Vec::new(), ..query.clone() }, outer)
    }

    pub(super) fn bind_set(
        &self,
        body: &SetExpr,
        outer: Option<&Scope<'_>>,
    ) -> Result<BoundQuery, SqlError> {
        match body {
            SetExpr::Select(select) => self.bind_select(select, &[], &[], outer),
            SetExpr::Query(query) => self.bind_query(query, outer),
            SetExpr::Values(values) => self.bind_values(values, outer),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let left = self.nested(|| self.bind_set(left, outer))?;
                let right = self.nested(|| self.bind_set(right, outer))?;
                let all = match set_quantifier {
                    SetQuantifier::All => true,
                    SetQuantifier::None | SetQuantifier::Distinct => false,
                    other => return Err(SqlError::unsupported(format!("{op} {other}"))),
                };
                self.set_operation(left, *op, all, right)
            }
            other => Err(SqlError::unsupported(format!("the query {other}"))),
        }
    }

    fn set_operation(
        &self,
        left: BoundQuery,
        operator: SetOperator,
        all: bool,
        right: BoundQuery,
    ) -> Result<BoundQuery, SqlError> {
        let name = operator.to_string();
        if left.columns.len() != right.columns.len() {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                format!("each {name} query must have the same number of columns"),
            ));
        }
        let mut columns = left.columns.clone();
        for (column, other) in columns.iter_mut().zip(&right.columns) {
            column.data_type = operators::common_type(&name, &[column.data_type, other.data_type])?;
        }
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type).collect();
        let (left, right) = (self.retype(left.plan, &types)?, self.retype(right.plan, &types)?);
        let kind = match operator {
            SetOperator::Union => {
                let union = Logical::Append { inputs: vec![left, right] };
                let plan = if all { union } else { distinct(union) };
                return Ok(BoundQuery { plan, columns });
            }
            SetOperator::Intersect => SetOperationKind::Intersect,
            SetOperator::Except => SetOperationKind::Except,
            SetOperator::Minus => return Err(SqlError::unsupported("MINUS").hint("Use EXCEPT.")),
        };
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(BoundQuery { plan: Logical::SetOperation { left, right, kind, all }, columns })
    }

    /// Converts a plan's columns to other types, where they differ.
    pub(super) fn retype(&self, plan: Logical, types: &[DataType]) -> Result<Logical, SqlError> {
        let from = plan.types();
        if from == types {
            return Ok(plan);
        }
        let expressions = from.iter().zip(types).enumerate().map(|(index, (from, to))| {
            self.coerce(Expression::column(index, *from), *to, Coercion::Implicit)
        });
        Ok(plan.project(expressions.collect::<Result<_, _>>()?))
    }

    fn bind_values(
        &self,
        values: &ast::Values,
        outer: Option<&Scope<'_>>,
    ) -> Result<BoundQuery, SqlError> {
        let scope = Scope::inside(outer);
        let mut slots = Slots::refusing(Refusals {
            aggregates: Some("VALUES"),
            windows: Some("VALUES"),
            subqueries: None,
        });
        let mut rows: Vec<Vec<Expression>> = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let row: Vec<Expression> = row
                .content
                .iter()
                .map(|value| self.bind(value, &scope, &mut slots))
                .collect::<Result<_, _>>()?;
            if rows.first().is_some_and(|first| first.len() != row.len()) {
                return Err(SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    "VALUES lists must all be the same length",
                ));
            }
            rows.push(row);
        }
        let width = rows.first().map_or(0, Vec::len);
        let mut types = Vec::with_capacity(width);
        for column in 0..width {
            let of_rows: Vec<DataType> = rows.iter().map(|row| row[column].data_type()).collect();
            types.push(operators::common_type("VALUES", &of_rows)?);
        }
        for row in &mut rows {
            let bound = std::mem::take(row);
            *row = bound.into_iter().zip(&types).map(|(e, t)| self.convert(e, *t)).collect();
        }
        let columns = types
            .iter()
            .enumerate()
            .map(|(i, t)| OutputColumn { name: format!("column{}", i + 1), data_type: *t })
            .collect();
        let plan = if slots.subqueries.is_empty() {
            Logical::Values { rows, types }
        } else {
            // Rows with subqueries: one projection of a single row each.
            let inputs = rows.into_iter().map(|mut row| {
                let mut used: Vec<&mut Expression> = row.iter_mut().collect();
                let input = slots.place_subqueries(Logical::one_row(), &mut used);
                input.project(row)
            });
            Logical::Append { inputs: inputs.collect() }
        };
        Ok(BoundQuery { plan, columns })
    }

    /// `ORDER BY` of a set operation: output columns by name or number.
    fn order_output(
        &self,
        bound: BoundQuery,
        order: &[ast::OrderByExpr],
    ) -> Result<BoundQuery, SqlError> {
        if order.is_empty() {
            return Ok(bound);
        }
        let mut keys: Vec<SortKey> = Vec::with_capacity(order.len());
        for key in order {
            let position = match &key.expr {
                ast::Expr::Identifier(name) => {
                    let name = fold(name);
                    bound.columns.iter().position(|column| column.name == name)
                }
                other => ordinal(other, bound.columns.len(), "ORDER BY")?,
            };
            let Some(position) = position else {
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                )
                .detail("Only result column names can be used, not expressions or functions.")
                .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause."));
            };
            let column = Expression::column(position, bound.columns[position].data_type);
            keys.push(sort_key(column, &key.options)?);
        }
        let plan = Logical::Sort { input: Box::new(bound.plan), keys, limit: None };
        Ok(BoundQuery { plan, columns: bound.columns })
    }

    /// `LIMIT`, `OFFSET` and `FETCH`.
    fn bind_limits(
        &self,
        query: &ast::Query,
    ) -> Result<(Option<Expression>, Option<Expression>), SqlError> {
        let (mut limit, mut offset) = (None, None);
        match &query.limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit: l, offset: o, limit_by })
                if limit_by.is_empty() =>
            {
                limit = l.as_ref();
                offset = o.as_ref().map(|offset| &offset.value);
            }
            Some(other) => return Err(SqlError::unsupported(format!("the clause{other}"))),
        }
        if let Some(fetch) = &query.fetch {
            if fetch.percent || fetch.with_ties {
                return Err(SqlError::unsupported("FETCH with PERCENT or WITH TIES"));
            }
            let one = || self.bind_limit(None, "FETCH");
            let fetched = match &fetch.quantity {
                Some(quantity) => self.bind_limit(Some(quantity), "FETCH")?,
                None => one()?,
            };
            let offset = offset.map(|o| self.bind_limit(Some(o), "OFFSET")).transpose()?;
            return Ok((Some(fetched), offset));
        }
        let limit = limit.map(|l| self.bind_limit(Some(l), "LIMIT")).transpose()?;
        let offset = offset.map(|o| self.bind_limit(Some(o), "OFFSET")).transpose()?;
        Ok((limit, offset))
    }

    /// A count: an expression without columns; absent is one.
    fn bind_limit(
        &self,
        count: Option<&ast::Expr>,
        clause: &'static str,
    ) -> Result<Expression, SqlError> {
        let Some(count) = count else { return Ok(Expression::literal(1, DataType::Int8)) };
        let mut slots = Slots::refusing(Refusals {
            aggregates: Some(clause),
            windows: Some(clause),
            subqueries: Some(clause),
        });
        let bound = self.bind(count, &Scope::default(), &mut slots).map_err(|error| {
            if error.state() == SqlState::UNDEFINED_COLUMN {
                SqlError::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    format!("argument of {clause} must not contain variables"),
                )
            } else {
                error
            }
        })?;
        self.coerce(bound, DataType::Int8, Coercion::Assignment)
    }
}

/// Each row once.
pub(super) fn distinct(input: Logical) -> Logical {
    let groups = input
        .types()
        .into_iter()
        .enumerate()
        .map(|(index, data_type)| Expression::column(index, data_type))
        .collect();
    Logical::Aggregate { input: Box::new(input), groups, aggregates: Vec::new() }
}

/// The column that a number in `ORDER BY` or `GROUP BY` means; `None` where it is no number.
pub(super) fn ordinal(
    expression: &ast::Expr,
    columns: usize,
    clause: &str,
) -> Result<Option<usize>, SqlError> {
    let ast::Expr::Value(value) = expression else { return Ok(None) };
    let ast::Value::Number(text, _) = &value.value else { return Ok(None) };
    match text.parse::<usize>() {
        Ok(position) if (1..=columns).contains(&position) => Ok(Some(position - 1)),
        Ok(position) => Err(SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!("{clause} position {position} is not in select list"),
        )),
        Err(_) => {
            Err(SqlError::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}")))
        }
    }
}

fn order_expressions(query: &ast::Query) -> Result<&[ast::OrderByExpr], SqlError> {
    match &query.order_by {
        None => Ok(&[]),
        Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(keys), interpolate: None }) => {
            Ok(keys)
        }
        Some(other) => Err(SqlError::unsupported(format!("the clause {other}"))),
    }
}

fn refuse_clauses(query: &ast::Query) -> Result<(), SqlError> {
    let foreign = query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty();
    if foreign { Err(SqlError::unsupported("a clause of this query")) } else { Ok(()) }
}
