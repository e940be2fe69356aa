//! Binding of `FROM`: tables, views, common table expressions, subqueries and joins.

use super::VirtualTable;
use super::binder::Binder;
use super::logical::Logical;
use super::names::{fold, relation_name};
use super::query::BoundQuery;
use super::relations::Found;
use super::scope::{Scope, ScopeColumn};
use super::set_functions::table_call;
use super::slots::{Refusals, Slots};
use crate::catalog::privileges::Privileges;
use crate::catalog::{Relation, SAGAS_NAME, View, oids};
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression};
use model::plan::{ApplyKind, JoinKind};
use model::schema::Table;
use model::types::DataType;
use model::value::Value;
use shards::exec::operators;
use sqlparser::ast::{self, JoinConstraint, JoinOperator, TableFactor};
use std::sync::Arc;

/// A bound item of `FROM`.
pub(super) struct Source {
    pub(super) plan: Logical,
    pub(super) columns: Vec<ScopeColumn>,
}

impl Binder<'_> {
    /// Binds the whole clause: its items are joined without a condition. `outer` is the scope
    /// around the query.
    pub(super) fn bind_from<'s>(
        &self,
        from: &[ast::TableWithJoins],
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Source, SqlError> {
        let mut bound: Option<Source> = None;
        for item in from {
            bound = Some(match bound {
                None => self.bind_joins(item, outer)?,
                Some(left) => {
                    check_alias(&left.columns, &item.relation)?;
                    if let Some(beside) = self.bind_beside(&left, &item.relation, false, outer)? {
                        self.bind_joins_behind(beside, &item.joins, outer)?
                    } else {
                        let right = self.bind_joins(item, outer)?;
                        check_distinct(&left.columns, &right.columns)?;
                        cross(left, right)
                    }
                }
            });
        }
        Ok(bound.unwrap_or_else(|| Source { plan: Logical::one_row(), columns: Vec::new() }))
    }

    fn bind_joins<'s>(
        &self,
        item: &ast::TableWithJoins,
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Source, SqlError> {
        let left = self.bind_factor(&item.relation, outer)?;
        item.joins
            .iter()
            .try_fold(left, |left, join| self.nested(|| self.bind_join(left, join, outer)))
    }

    /// The joins behind an item that sees those before it: to be joined with all of them is the
    /// same, as long as only rows of the right side are missing.
    fn bind_joins_behind<'s>(
        &self,
        left: Source,
        joins: &[ast::Join],
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Source, SqlError> {
        let one_sided = |join: &ast::Join| {
            !matches!(
                join.join_operator,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
            )
        };
        if !joins.iter().all(one_sided) {
            return Err(SqlError::unsupported("a right or full join behind LATERAL"));
        }
        joins.iter().try_fold(left, |left, join| self.nested(|| self.bind_join(left, join, outer)))
    }

    /// An item that sees the columns of those before it, beside them: `LATERAL`, and a function
    /// that reads them. `None` where it is joined like a table.
    fn bind_beside<'s>(
        &self,
        left: &Source,
        factor: &TableFactor,
        keep: bool,
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Option<Source>, SqlError> {
        let copy = || Source { plan: left.plan.clone(), columns: left.columns.clone() };
        if is_lateral(factor) {
            return self.bind_lateral(copy(), factor, keep, outer).map(Some);
        }
        let Some(call) = table_call(factor)? else { return Ok(None) };
        let scope = Scope { columns: left.columns.clone(), parent: outer };
        if !self.reads_columns(&call, &scope)? {
            return Ok(None);
        }
        let beside = self.bind_table_call(copy(), &call, keep, outer)?;
        check_distinct(&left.columns, &beside.columns[left.columns.len()..])?;
        Ok(Some(beside))
    }

    fn bind_join<'s>(
        &self,
        left: Source,
        join: &ast::Join,
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Source, SqlError> {
        let (kind, constraint) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
            JoinOperator::CrossJoin(c) => (JoinKind::Inner, c),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
            JoinOperator::FullOuter(c) => (JoinKind::Full, c),
            _ => return Err(SqlError::unsupported(format!("the join {join}"))),
        };
        if let Some(beside) =
            self.bind_beside(&left, &join.relation, kind == JoinKind::Left, outer)?
        {
            return self.lateral_condition(beside, kind, constraint, outer);
        }
        let right = self.bind_factor(&join.relation, outer)?;
        check_distinct(&left.columns, &right.columns)?;
        match constraint {
            JoinConstraint::On(condition) => {
                let width = left.columns.len();
                let mut columns = left.columns;
                columns.extend(right.columns);
                let scope = Scope { columns, parent: outer };
                let mut slots = Slots::refusing(Refusals {
                    aggregates: Some("JOIN conditions"),
                    windows: Some("JOIN conditions"),
                    subqueries: (kind != JoinKind::Inner).then_some("an outer join's condition"),
                });
                let bound = self.bind(condition, &scope, &mut slots)?;
                let mut condition = self.condition(bound, "JOIN/ON")?;
                let columns = scope.columns;
                if slots.subqueries.is_empty() {
                    let plan = join_of(left.plan, right.plan, kind, Some(condition));
                    return Ok(Source { plan, columns });
                }
                // An inner join's condition is a filter above it; what the subqueries add goes.
                let types = left.plan.types().len() + right.plan.types().len();
                debug_assert!(width <= types, "the scope is the plan's columns");
                let plan = join_of(left.plan, right.plan, kind, None);
                let kept: Vec<Expression> = plan
                    .types()
                    .into_iter()
                    .enumerate()
                    .map(|(index, data_type)| Expression::column(index, data_type))
                    .collect();
                let plan = slots.place_subqueries(plan, &mut [&mut condition]);
                Ok(Source { plan: plan.filter(condition).project(kept), columns })
            }
            JoinConstraint::Using(names) => {
                let names: Vec<String> =
                    names.iter().map(super::names::single_name).collect::<Result<_, _>>()?;
                self.join_using(left, right, kind, &names)
            }
            JoinConstraint::Natural => {
                let in_right = |name: &String| right.columns.iter().any(|c| visible(c, name));
                let shared: Vec<String> = left
                    .columns
                    .iter()
                    .filter(|column| !column.hidden && !column.only_qualified)
                    .map(|column| column.name.clone())
                    .filter(in_right)
                    .collect();
                self.join_using(left, right, kind, &shared)
            }
            JoinConstraint::None => Ok(cross(left, right)),
        }
    }

    /// The condition of a lateral join: of an inner one a filter above it.
    fn lateral_condition<'s>(
        &self,
        beside: Source,
        kind: JoinKind,
        constraint: &JoinConstraint,
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Source, SqlError> {
        let condition = match (constraint, kind) {
            (JoinConstraint::None, JoinKind::Inner | JoinKind::Left) => return Ok(beside),
            (JoinConstraint::On(ast::Expr::Value(v)), JoinKind::Inner | JoinKind::Left)
                if v.value == ast::Value::Boolean(true) =>
            {
                return Ok(beside);
            }
            (JoinConstraint::On(condition), JoinKind::Inner) => condition,
            _ => {
                return Err(SqlError::unsupported("this condition on a LATERAL join")
                    .hint("Put the condition into the subquery and join ON true."));
            }
        };
        let scope = Scope { columns: beside.columns, parent: outer };
        let mut slots = Slots::refusing(Refusals {
            aggregates: Some("JOIN conditions"),
            windows: Some("JOIN conditions"),
            subqueries: Some("a LATERAL join's condition"),
        });
        let bound = self.bind(condition, &scope, &mut slots)?;
        let condition = self.condition(bound, "JOIN/ON")?;
        Ok(Source { plan: beside.plan.filter(condition), columns: scope.columns })
    }

    /// `USING`: each named column stands once, first, and the two behind it only with their
    /// relation's name.
    fn join_using(
        &self,
        left: Source,
        right: Source,
        kind: JoinKind,
        names: &[String],
    ) -> Result<Source, SqlError> {
        let width = left.columns.len();
        let mut conditions = Vec::with_capacity(names.len());
        let mut merged = Vec::with_capacity(names.len());
        for name in names {
            let (l, left_column) = using_column(&left.columns, name, "left")?;
            let (r, right_column) = using_column(&right.columns, name, "right")?;
            let left_value = Expression::column(l, left_column.data_type);
            let right_value = Expression::column(width + r, right_column.data_type);
            conditions.push(self.typed_binary(
                left_value.clone(),
                BinaryOperator::Equal,
                right_value.clone(),
            )?);
            let value = match kind {
                JoinKind::Right => right_value,
                JoinKind::Full => {
                    let types = [left_column.data_type, right_column.data_type];
                    let common = operators::common_type("JOIN/USING", &types)?;
                    let (left, right) =
                        (self.convert(left_value, common), self.convert(right_value, common));
                    let present =
                        Expression::IsNull { operand: Box::new(left.clone()), negated: true };
                    Expression::Case {
                        branches: vec![(present, left)],
                        otherwise: Some(Box::new(right)),
                        data_type: common,
                    }
                }
                _ => left_value,
            };
            merged.push((name.clone(), value));
        }
        let mut sides = left.columns;
        sides.extend(right.columns);
        let condition = super::logical::conjunction(conditions);
        let plan = join_of(left.plan, right.plan, kind, condition);
        let mut columns = Vec::new();
        let mut expressions = Vec::new();
        for (name, value) in merged {
            columns.push(ScopeColumn {
                relation: None,
                name,
                data_type: value.data_type(),
                hidden: false,
                only_qualified: false,
            });
            expressions.push(value);
        }
        for (index, mut column) in sides.into_iter().enumerate() {
            if names.contains(&column.name) && !column.only_qualified {
                column.only_qualified = true;
                column.hidden = true;
            }
            expressions.push(Expression::column(index, column.data_type));
            columns.push(column);
        }
        Ok(Source { plan: plan.project(expressions), columns })
    }

    fn bind_lateral<'s>(
        &self,
        left: Source,
        factor: &TableFactor,
        keep: bool,
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Source, SqlError> {
        let TableFactor::Derived { subquery, alias, .. } = factor else {
            return Err(SqlError::unsupported("this form of LATERAL"));
        };
        let scope = Scope { columns: left.columns, parent: outer };
        let query = self.bind_query(subquery, Some(&scope))?;
        let right = derived(query, alias.as_ref())?;
        let mut columns = scope.columns;
        columns.extend(right.columns);
        let plan = Logical::Apply {
            input: Box::new(left.plan),
            subplan: Box::new(right.plan),
            kind: ApplyKind::Lateral { outer: keep },
        };
        Ok(Source { plan, columns })
    }

    fn bind_factor<'s>(
        &self,
        factor: &TableFactor,
        outer: Option<&'s Scope<'s>>,
    ) -> Result<Source, SqlError> {
        if let Some(call) = table_call(factor)? {
            let nothing = Source { plan: Logical::one_row(), columns: Vec::new() };
            return self.bind_table_call(nothing, &call, false, outer);
        }
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                partitions,
                sample: None,
                with_ordinality: false,
                ..
            } if with_hints.is_empty() && partitions.is_empty() => {
                let source =
                    self.bind_relation(name, outer).map_err(|error| self.at_name(error, name))?;
                let (_, relation) = relation_name(name)?;
                rename(source, Some(&relation), alias.as_ref())
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let query = self.bind_query(subquery, outer)?;
                derived(query, alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let source = self.nested(|| self.bind_joins(table_with_joins, outer))?;
                match alias {
                    Some(_) => rename(source, None, alias.as_ref()),
                    None => Ok(source),
                }
            }
            other => Err(SqlError::unsupported(format!("{other} in FROM"))),
        }
    }

    fn bind_relation(
        &self,
        written: &ast::ObjectName,
        outer: Option<&Scope<'_>>,
    ) -> Result<Source, SqlError> {
        let (schema, name) = relation_name(written)?;
        if schema.is_none() {
            let ctes = self.ctes.borrow();
            if let Some(cte) = ctes.iter().rev().find(|cte| cte.name == name) {
                let mut plan = cte.plan.clone()?;
                // The rows around the `WITH` are further away where its name stands deeper.
                plan.move_outer(Scope::levels(outer).saturating_sub(cte.levels));
                return Ok(Source { plan, columns: cte.columns.clone() });
            }
        }
        self.check_schema(schema.as_deref())?;
        let Some((within, found)) = self.find(schema.as_deref(), &name) else {
            return Err(self.unknown_relation(schema.as_deref(), &name));
        };
        self.note_relation(written, &within)?;
        match found {
            Found::Virtual => self.bind_virtual_table(&within, &name),
            Found::System(table) if name == SAGAS_NAME => Ok(self.own_sagas(table)),
            Found::System(table) => {
                self.require_superuser_in_system(&name)?;
                Ok(table_source(table))
            }
            Found::Relation(Relation::Table(table)) => {
                self.depends_on(table.id);
                self.requires(table.id, Privileges::SELECT);
                Ok(table_source(table))
            }
            Found::Relation(Relation::View(view)) => self.bind_view_reference(view),
            Found::Relation(Relation::Sequence(sequence)) => Ok(self.sequence_source(sequence)),
        }
    }

    fn bind_virtual_table(&self, schema: &str, name: &str) -> Result<Source, SqlError> {
        let table = self.virtual_tables.table(schema, name, self.catalog, self.settings);
        let table = table.ok_or_else(|| self.unknown_relation(Some(schema), name))?;
        self.require_superuser_for(name)?;
        self.uncacheable.set(true);
        if table.of_the_node {
            self.views_node.set(true);
        }
        if table.of_the_cluster {
            self.views_cluster.set(true);
        }
        let source = virtual_source(table);
        Ok(match name {
            "pg_sequences" => self.with_last_values(source),
            _ => source,
        })
    }

    /// The sagas of roles that the acting one has the privileges of.
    fn own_sagas(&self, table: &Arc<Table>) -> Source {
        let mut source = table_source(table);
        let (roles, acting) = (self.catalog.roles(), self.checked_as());
        if roles.is_superuser(acting) {
            return source;
        }
        // Who is a member of whom is part of the plan: a changed catalog makes it anew.
        if let Logical::Get { conjuncts, .. } = &mut source.plan
            && let Some(at) = table.columns.iter().position(|column| column.name == "role")
        {
            let oid = |role| Value::Int(i64::from(oids::object(role)));
            let list = roles.privileged_as(acting).into_iter();
            let list = list.map(|role| Expression::Literal(oid(role), DataType::Oid)).collect();
            let operand = Box::new(Expression::column(at, DataType::Oid));
            conjuncts.push(Expression::InList { operand, list, negated: false });
        }
        source
    }

    /// Verifiers of passwords are in the stored catalog: it is for superusers.
    fn require_superuser_in_system(&self, name: &str) -> Result<(), SqlError> {
        match !self.catalog.roles().is_superuser(self.checked_as()) {
            true => Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for table {name}"),
            )),
            false => Ok(()),
        }
    }

    /// `pg_authid` and `pg_shadow` are for superusers.
    fn require_superuser_for(&self, name: &str) -> Result<(), SqlError> {
        let kind = match name {
            "pg_authid" => "table",
            "pg_shadow" => "view",
            _ => return Ok(()),
        };
        match self.catalog.roles().is_superuser(self.checked_as()) {
            true => Ok(()),
            false => Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for {kind} {name}"),
            )),
        }
    }

    /// A view's query sees nothing of the query that names the view.
    fn bind_view_reference(&self, view: &Arc<View>) -> Result<Source, SqlError> {
        self.depends_on(view.id);
        self.requires(view.id, Privileges::SELECT);
        let bound = self.in_view(view, || {
            self.nested(|| {
                let query = super::parse::parse_query(&view.text)?;
                self.bind_query(&query, None)
            })
        });
        let bound = bound?;
        let columns = bound
            .columns
            .into_iter()
            .zip(&view.columns)
            .map(|(column, name)| scope_column(name.clone(), column.data_type))
            .collect();
        Ok(Source { plan: bound.plan, columns })
    }
}

/// The rows of a table that is made as it is named. The catalog's have the table's oid in a hidden
/// column, as PostgreSQL's rows do: psql joins descriptions by it.
fn virtual_source(table: VirtualTable) -> Source {
    let mut columns: Vec<ScopeColumn> = table
        .columns
        .iter()
        .map(|(name, data_type)| scope_column(name.clone(), *data_type))
        .collect();
    let mut types: Vec<DataType> = columns.iter().map(|column| column.data_type).collect();
    let oid = table.oid.map(|oid| Value::Int(i64::from(oid)));
    if oid.is_some() {
        let column = scope_column("tableoid".to_owned(), DataType::Oid);
        columns.push(ScopeColumn { hidden: true, ..column });
        types.push(DataType::Oid);
    }
    let literals = |row: Vec<Value>| {
        let values = row.into_iter().chain(oid.clone()).zip(&types);
        values.map(|(value, data_type)| Expression::Literal(value, *data_type)).collect()
    };
    let rows = table.rows.into_iter().map(literals).collect();
    Source { plan: Logical::Values { rows, types }, columns }
}

/// A table's rows with all its columns.
pub(super) fn table_source(table: &Arc<Table>) -> Source {
    let columns = table
        .columns
        .iter()
        .map(|column| ScopeColumn {
            hidden: column.hidden,
            ..scope_column(column.name.clone(), column.data_type)
        })
        .collect();
    let plan = Logical::Get {
        table: Arc::clone(table),
        columns: (0..table.columns.len()).collect(),
        conjuncts: Vec::new(),
    };
    Source { plan, columns }
}

pub(super) fn scope_column(name: String, data_type: DataType) -> ScopeColumn {
    ScopeColumn { relation: None, name, data_type, hidden: false, only_qualified: false }
}

fn derived(query: BoundQuery, alias: Option<&ast::TableAlias>) -> Result<Source, SqlError> {
    let columns = query.columns.into_iter().map(|c| scope_column(c.name, c.data_type)).collect();
    rename(Source { plan: query.plan, columns }, None, alias)
}

/// Gives a source its alias and its columns theirs.
pub(super) fn rename(
    mut source: Source,
    name: Option<&str>,
    alias: Option<&ast::TableAlias>,
) -> Result<Source, SqlError> {
    let relation = alias.map(|alias| fold(&alias.name)).or(name.map(str::to_owned));
    for column in &mut source.columns {
        column.relation.clone_from(&relation);
    }
    let Some(alias) = alias else { return Ok(source) };
    let names = &alias.columns;
    let visible: Vec<usize> =
        (0..source.columns.len()).filter(|&i| !source.columns[i].hidden).collect();
    if names.len() > visible.len() {
        return Err(SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!(
                "table \"{}\" has {} columns available but {} columns specified",
                fold(&alias.name),
                visible.len(),
                names.len()
            ),
        ));
    }
    for (&index, name) in visible.iter().zip(names) {
        source.columns[index].name = fold(&name.name);
    }
    Ok(source)
}

fn is_lateral(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Derived { lateral: true, .. })
}

fn cross(left: Source, right: Source) -> Source {
    let mut columns = left.columns;
    columns.extend(right.columns);
    Source { plan: join_of(left.plan, right.plan, JoinKind::Inner, None), columns }
}

fn join_of(
    left: Logical,
    right: Logical,
    kind: JoinKind,
    condition: Option<Expression>,
) -> Logical {
    Logical::Join { left: Box::new(left), right: Box::new(right), kind, condition }
}

fn visible(column: &ScopeColumn, name: &str) -> bool {
    column.name == name && !column.hidden && !column.only_qualified
}

fn using_column<'c>(
    columns: &'c [ScopeColumn],
    name: &str,
    side: &str,
) -> Result<(usize, &'c ScopeColumn), SqlError> {
    let mut found = columns.iter().enumerate().filter(|(_, column)| visible(column, name));
    let Some(first) = found.next() else {
        return Err(SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
        ));
    };
    if found.next().is_some() {
        return Err(SqlError::new(
            SqlState::AMBIGUOUS_COLUMN,
            format!("common column name \"{name}\" appears more than once in {side} table"),
        ));
    }
    Ok(first)
}

/// Two items of one name cannot be told apart.
fn check_distinct(left: &[ScopeColumn], right: &[ScopeColumn]) -> Result<(), SqlError> {
    for column in right {
        let Some(relation) = &column.relation else { continue };
        if left.iter().any(|other| other.relation.as_ref() == Some(relation)) {
            return Err(duplicate_alias(relation));
        }
    }
    Ok(())
}

fn check_alias(left: &[ScopeColumn], factor: &TableFactor) -> Result<(), SqlError> {
    let TableFactor::Derived { alias: Some(alias), .. } = factor else { return Ok(()) };
    let name = fold(&alias.name);
    let taken = left.iter().any(|column| column.relation.as_deref() == Some(&name));
    if taken { Err(duplicate_alias(&name)) } else { Ok(()) }
}

fn duplicate_alias(name: &str) -> SqlError {
    SqlError::new(
        SqlState::DUPLICATE_ALIAS,
        format!("table name \"{name}\" specified more than once"),
    )
}
