//! Binding and planning of `INSERT`, `UPDATE` and `DELETE`.
//!
//! A change that needs nothing but its own row runs in the partitions: a `Modify` over a locking
//! scan. One that joins, uses subqueries or changes a primary key is a query whose rows the router
//! turns into changes.

use super::OutputColumn;
use super::access::{self, Choice};
use super::binder::{Binder, Coercion};
use super::from::{Source, rename, table_source};
use super::logical::{Logical, conjunction, conjuncts};
use super::names::{fold, relation_name, single_name};
use super::physical::physical;
use super::query::BoundQuery;
use super::relations::Found;
use super::rules;
use super::scope::{Scope, ScopeColumn};
use super::sequences::refuse_sequences;
use super::slots::{Refusals, Slots};
use crate::catalog::Relation;
use crate::catalog::privileges::Privileges;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::plan::{Arbiter, Change, ConflictUpdate, Modify, OnConflict, Plan, Scan, Target};
use model::schema::{Index, Table};
use model::value::Value;
use shards::exec::functions::calls_sequences;
use sqlparser::ast::{self, Assignment, AssignmentTarget, Expr, SelectItem, SetExpr};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `INSERT`
#[derive(Debug, Clone, PartialEq)]
pub struct InsertPlan {
    /// The table.
    pub table: Arc<Table>,
    /// Complete rows in the table's column order, cast to its types; a hidden key is `NULL`, for
    /// the router to fill in.
    pub source: InsertSource,
    /// What happens where the key exists.
    pub on_conflict: OnConflict,
    /// `RETURNING`, over the table's columns.
    pub returning: Option<Vec<Expression>>,
}

/// Where an insert's rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum InsertSource {
    /// Expressions without columns.
    Values(Vec<Vec<Expression>>),
    /// A router's plan.
    Query(Arc<Plan>),
}

/// Where the rows to change are, and how they change.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteTarget {
    /// In place: a [`Plan::Modify`] for these partitions.
    InPlace {
        /// Where.
        target: Target,
        /// The fragment.
        modify: Arc<Plan>,
    },
    /// By a query: a router's plan whose rows are the old row's columns and, of an update, the
    /// new row's behind them.
    ByQuery {
        /// The plan.
        source: Arc<Plan>,
        /// `RETURNING`, over the table's columns.
        returning: Option<Vec<Expression>>,
    },
}

/// `UPDATE`
#[derive(Debug, Clone, PartialEq)]
pub struct UpdatePlan {
    /// The table.
    pub table: Arc<Table>,
    /// How.
    pub target: WriteTarget,
}

/// `DELETE`
#[derive(Debug, Clone, PartialEq)]
pub struct DeletePlan {
    /// The table.
    pub table: Arc<Table>,
    /// How.
    pub target: WriteTarget,
}

/// A bound change and the columns it returns.
pub(super) struct BoundChange<T> {
    pub(super) plan: T,
    pub(super) columns: Vec<OutputColumn>,
}

impl Binder<'_> {
    /// The table that a change names.
    pub(super) fn changed_table(&self, name: &ast::ObjectName) -> Result<Arc<Table>, SqlError> {
        let (schema, name) = relation_name(name)?;
        self.check_schema(schema.as_deref())?;
        let found = self.find(schema.as_deref(), &name).map(|(_, found)| found);
        match found {
            Some(Found::Relation(Relation::Table(table))) => {
                self.depends_on(table.id);
                for reference in table.foreign_keys.iter().chain(&table.referenced_by) {
                    self.depends_on(reference.parent);
                    self.depends_on(reference.child);
                }
                Ok(Arc::clone(table))
            }
            Some(Found::Relation(Relation::View(_))) => Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("\"{name}\" is a view and cannot be changed"),
            )),
            Some(Found::Relation(Relation::Sequence(_))) => Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot change sequence \"{name}\""),
            )),
            Some(Found::System(table)) if self.of_system.get() => Ok(Arc::clone(table)),
            Some(Found::Virtual | Found::System(_)) => Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for table {name}"),
            )
            .hint("The system's tables change through statements such as CREATE TABLE.")),
            None => Err(self.unknown_relation(schema.as_deref(), &name)),
        }
    }

    pub(super) fn bind_insert(
        &self,
        insert: &ast::Insert,
    ) -> Result<BoundChange<InsertPlan>, SqlError> {
        refuse_insert_clauses(insert)?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT into anything but a table"));
        };
        let table = self.changed_table(name).map_err(|error| self.at_name(error, name))?;
        let targets = self.insert_columns(&table, &insert.columns)?;
        let source = match &insert.source {
            None => InsertSource::Values(vec![self.complete_row(&table, &[], Vec::new())?]),
            Some(query) => {
                let named = !insert.columns.is_empty();
                self.bind_insert_source(&table, &targets, named, query)?
            }
        };
        let on_conflict = match &insert.on {
            None => OnConflict::Fail,
            Some(ast::OnInsert::OnConflict(clause)) => self.bind_conflict(&table, clause)?,
            Some(other) => return Err(SqlError::unsupported(format!("the clause {other}"))),
        };
        self.requires(table.id, Privileges::INSERT);
        match &on_conflict {
            OnConflict::Fail | OnConflict::DoNothing(None) => {}
            // The rows that are there are looked at.
            OnConflict::DoNothing(Some(_)) => self.requires(table.id, Privileges::SELECT),
            OnConflict::DoUpdate(..) => {
                self.requires(table.id, Privileges::SELECT | Privileges::UPDATE);
            }
        }
        let alias = insert.table_alias.as_ref().map(|alias| fold(&alias.alias));
        let (returning, columns) =
            self.bind_returning(&table, alias.as_deref(), insert.returning.as_deref())?;
        if any_reads(returning.iter().flatten(), table.columns.len()) {
            self.requires(table.id, Privileges::SELECT);
        }
        let plan = InsertPlan { table, source, on_conflict, returning };
        Ok(BoundChange { plan, columns })
    }

    /// Ordinals of the columns an insert names, or all visible ones.
    pub(super) fn insert_columns(
        &self,
        table: &Table,
        names: &[ast::ObjectName],
    ) -> Result<Vec<usize>, SqlError> {
        if names.is_empty() {
            return Ok(table.visible().collect());
        }
        let mut ordinals = Vec::with_capacity(names.len());
        for name in names {
            let ordinal = column_ordinal(table, &single_name(name)?)?;
            if ordinals.contains(&ordinal) {
                return Err(specified_twice(&table.columns[ordinal].name));
            }
            ordinals.push(ordinal);
        }
        Ok(ordinals)
    }

    /// `named`: the statement names the target columns.
    fn bind_insert_source(
        &self,
        table: &Arc<Table>,
        targets: &[usize],
        named: bool,
        query: &ast::Query,
    ) -> Result<InsertSource, SqlError> {
        let plain =
            query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
        if let SetExpr::Values(values) = query.body.as_ref()
            && plain
        {
            return self.bind_insert_values(table, targets, named, values);
        }
        let wanted = targets.iter().map(|&ordinal| table.columns[ordinal].data_type);
        self.wanted_types.replace(wanted.collect());
        let BoundQuery { plan, columns } = self.bind_query(query, None)?;
        let targets = targets_of(targets, named, columns.len())?;
        let mut values = Vec::with_capacity(targets.len());
        for (at, (column, &ordinal)) in columns.iter().zip(targets).enumerate() {
            values.push(match self.gives_way(table, ordinal)? {
                true => self.default_of(table, ordinal),
                false => Expression::column(at, column.data_type),
            });
        }
        let row = self.complete_row(table, targets, values)?;
        let plan = rules::optimize(plan.project(row));
        Ok(InsertSource::Query(Arc::new(physical(plan))))
    }

    fn bind_insert_values(
        &self,
        table: &Arc<Table>,
        targets: &[usize],
        named: bool,
        values: &ast::Values,
    ) -> Result<InsertSource, SqlError> {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let targets = targets_of(targets, named, width)?;
        let scope = Scope::default();
        let mut slots = Slots::refusing(Refusals {
            aggregates: Some("VALUES"),
            windows: Some("VALUES"),
            subqueries: None,
        });
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            if row.content.len() != width {
                let message = "VALUES lists must all be the same length";
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
            }
            let mut bound = Vec::with_capacity(row.content.len());
            for (value, &ordinal) in row.content.iter().zip(targets) {
                bound.push(match is_default(value) {
                    true => self.default_of(table, ordinal),
                    false if self.gives_way(table, ordinal)? => self.default_of(table, ordinal),
                    false => self.bind(value, &scope, &mut slots)?,
                });
            }
            rows.push(self.complete_row(table, targets, bound)?);
        }
        if slots.subqueries.is_empty() {
            for value in rows.iter_mut().flatten() {
                rules::fold(value);
            }
            return Ok(InsertSource::Values(rows));
        }
        let inputs = rows.into_iter().map(|mut row| {
            let mut used: Vec<&mut Expression> = row.iter_mut().collect();
            let input = slots.place_subqueries(Logical::one_row(), &mut used);
            input.project(row)
        });
        let plan = rules::optimize(Logical::Append { inputs: inputs.collect() });
        Ok(InsertSource::Query(Arc::new(physical(plan))))
    }

    /// A whole row in the table's order: the given values, converted, and defaults.
    pub(super) fn complete_row(
        &self,
        table: &Table,
        targets: &[usize],
        values: Vec<Expression>,
    ) -> Result<Vec<Expression>, SqlError> {
        let mut row: Vec<Option<Expression>> = vec![None; table.columns.len()];
        for (&ordinal, value) in targets.iter().zip(values) {
            row[ordinal] = Some(self.assigned(table, ordinal, value)?);
        }
        let complete = row.into_iter().enumerate();
        Ok(complete.map(|(i, value)| value.unwrap_or_else(|| self.default_of(table, i))).collect())
    }

    /// A value as a column takes it.
    fn assigned(
        &self,
        table: &Table,
        ordinal: usize,
        value: Expression,
    ) -> Result<Expression, SqlError> {
        let column = &table.columns[ordinal];
        let from = value.data_type();
        self.coerce(value, column.data_type, Coercion::Assignment).map_err(|_error| {
            SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{}\" is of type {} but expression is of type {from}",
                    column.name, column.data_type
                ),
            )
            .hint("You will need to rewrite or cast the expression.")
        })
    }

    fn bind_conflict(
        &self,
        table: &Arc<Table>,
        clause: &ast::OnConflict,
    ) -> Result<OnConflict, SqlError> {
        let target = clause.conflict_target.as_ref();
        let arbiter = target.map(|target| arbiter(table, target)).transpose()?;
        let update = match &clause.action {
            ast::OnConflictAction::DoNothing => return Ok(OnConflict::DoNothing(arbiter)),
            ast::OnConflictAction::DoUpdate(update) => update,
        };
        let Some(arbiter) = arbiter else {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )
            .hint("For example, ON CONFLICT (column_name)."));
        };
        let source = table_source(table);
        let mut columns = rename(source, Some(&table.name), None)?.columns;
        let mut excluded = columns.clone();
        for column in &mut excluded {
            column.relation = Some("excluded".to_owned());
            column.only_qualified = true;
        }
        columns.extend(excluded);
        let scope = Scope { columns, parent: None };
        let assignments = self.bind_assignments(table, &update.assignments, &scope)?;
        if assignments.iter().any(|(ordinal, _)| table.primary_key.contains(ordinal)) {
            return Err(SqlError::unsupported("changing the primary key in ON CONFLICT DO UPDATE"));
        }
        let is_referenced = |ordinal: &usize| {
            table.referenced_by.iter().any(|key| key.parent_columns.contains(ordinal))
        };
        if assignments.iter().any(|(ordinal, _)| is_referenced(ordinal)) {
            return Err(SqlError::unsupported(
                "changing a key that others refer to in ON CONFLICT DO UPDATE",
            ));
        }
        let condition = match &update.selection {
            None => None,
            Some(condition) => Some(self.bind_plain_condition(condition, &scope)?),
        };
        Ok(OnConflict::DoUpdate(arbiter, ConflictUpdate { assignments, condition }))
    }

    fn bind_plain_condition(
        &self,
        condition: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Expression, SqlError> {
        let mut slots = plain_slots("ON CONFLICT DO UPDATE");
        let bound = self.bind(condition, scope, &mut slots)?;
        refuse_sequences([&bound], "ON CONFLICT DO UPDATE")?;
        self.condition(bound, "WHERE")
    }

    /// `SET` without subqueries.
    fn bind_assignments(
        &self,
        table: &Table,
        assignments: &[Assignment],
        scope: &Scope<'_>,
    ) -> Result<Vec<(usize, Expression)>, SqlError> {
        let mut slots = plain_slots("ON CONFLICT DO UPDATE");
        let bound = self.bind_assignments_with(table, assignments, scope, &mut slots)?;
        refuse_sequences(bound.iter().map(|(_, value)| value), "ON CONFLICT DO UPDATE")?;
        Ok(bound)
    }

    fn bind_assignments_with(
        &self,
        table: &Table,
        assignments: &[Assignment],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Vec<(usize, Expression)>, SqlError> {
        let mut bound: Vec<(usize, Expression)> = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let AssignmentTarget::ColumnName(name) = &assignment.target else {
                return Err(SqlError::unsupported("SET of several columns at once"));
            };
            let ordinal = column_ordinal(table, &single_name(name)?)?;
            if bound.iter().any(|(known, _)| *known == ordinal) {
                return Err(SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    format!(
                        "multiple assignments to same column \"{}\"",
                        table.columns[ordinal].name
                    ),
                ));
            }
            let value = match is_default(&assignment.value) {
                true => self.default_of(table, ordinal),
                false => {
                    self.require_settable(table, ordinal)?;
                    self.bind(&assignment.value, scope, slots)?
                }
            };
            let mut value = self.assigned(table, ordinal, value)?;
            rules::fold(&mut value);
            bound.push((ordinal, value));
        }
        Ok(bound)
    }

    pub(super) fn bind_update(
        &self,
        update: &ast::Update,
    ) -> Result<BoundChange<UpdatePlan>, SqlError> {
        let refused = update.output.is_some()
            || update.or.is_some()
            || update.limit.is_some()
            || !update.order_by.is_empty()
            || !update.table.joins.is_empty();
        if refused {
            return Err(SqlError::unsupported("a clause of this UPDATE"));
        }
        let (table, alias, source) = self.bind_target(&update.table.relation)?;
        let from = match &update.from {
            None => &[],
            Some(ast::UpdateTableFromKind::AfterSet(from)) => from.as_slice(),
            Some(_) => return Err(SqlError::unsupported("FROM before SET")),
        };
        let (plan, scope) = self.join_from(source, from)?;
        let mut slots = Slots::refusing(Refusals {
            aggregates: Some("UPDATE"),
            windows: Some("UPDATE"),
            subqueries: None,
        });
        let assignments =
            self.bind_assignments_with(&table, &update.assignments, &scope, &mut slots)?;
        let (returning, columns) =
            self.bind_returning(&table, Some(&alias), update.returning.as_deref())?;
        let filtered = self.bind_where(plan, update.selection.as_ref(), &scope)?;
        self.requires(table.id, Privileges::UPDATE);
        let width = table.columns.len();
        if filter_reads(update.selection.as_ref(), &filtered, width)
            || any_reads(returning.iter().flatten(), width)
            || !slots.subqueries.is_empty()
            || any_reads(assignments.iter().map(|(_, value)| value), width)
        {
            self.requires(table.id, Privileges::SELECT);
        }
        let referenced = |(ordinal, value): &(usize, Expression)| {
            table.primary_key.contains(ordinal)
                || calls_sequences(value)
                || table.referenced_by.iter().any(|key| key.parent_columns.contains(ordinal))
        };
        let in_place = slots.subqueries.is_empty() && !assignments.iter().any(referenced);
        let change = |assignments| Change::Update { assignments };
        if in_place && let Some(found) = single_table(&filtered) {
            let target = in_place_target(&table, found, change(assignments), returning);
            return Ok(BoundChange { plan: UpdatePlan { table, target }, columns });
        }
        let mut row: Vec<Expression> = all_columns(&table);
        row.extend((0..width).map(|ordinal| {
            let assigned = assignments.iter().find(|(known, _)| *known == ordinal);
            assigned.map_or_else(
                || Expression::column(ordinal, table.columns[ordinal].data_type),
                |(_, value)| value.clone(),
            )
        }));
        let mut used: Vec<&mut Expression> = row.iter_mut().collect();
        let plan = slots.place_subqueries(filtered, &mut used);
        let source = Arc::new(physical(rules::optimize(plan.project(row))));
        let target = WriteTarget::ByQuery { source, returning };
        Ok(BoundChange { plan: UpdatePlan { table, target }, columns })
    }

    pub(super) fn bind_delete(
        &self,
        delete: &ast::Delete,
    ) -> Result<BoundChange<DeletePlan>, SqlError> {
        let refused = delete.output.is_some()
            || delete.limit.is_some()
            || !delete.order_by.is_empty()
            || !delete.tables.is_empty();
        if refused {
            return Err(SqlError::unsupported("a clause of this DELETE"));
        }
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) =
            &delete.from;
        let [ast::TableWithJoins { relation, joins }] = from.as_slice() else {
            return Err(SqlError::unsupported("DELETE from several tables"));
        };
        if !joins.is_empty() {
            return Err(SqlError::unsupported("a join in DELETE").hint("Use USING."));
        }
        let (table, alias, source) = self.bind_target(relation)?;
        let using = delete.using.as_deref().unwrap_or_default();
        let (plan, scope) = self.join_from(source, using)?;
        let (returning, columns) =
            self.bind_returning(&table, Some(&alias), delete.returning.as_deref())?;
        let filtered = self.bind_where(plan, delete.selection.as_ref(), &scope)?;
        self.requires(table.id, Privileges::DELETE);
        let width = table.columns.len();
        if filter_reads(delete.selection.as_ref(), &filtered, width)
            || any_reads(returning.iter().flatten(), width)
        {
            self.requires(table.id, Privileges::SELECT);
        }
        if let Some(found) = single_table(&filtered) {
            let target = in_place_target(&table, found, Change::Delete, returning);
            return Ok(BoundChange { plan: DeletePlan { table, target }, columns });
        }
        let row = all_columns(&table);
        let source = Arc::new(physical(rules::optimize(filtered.project(row))));
        let target = WriteTarget::ByQuery { source, returning };
        Ok(BoundChange { plan: DeletePlan { table, target }, columns })
    }

    /// The table an update or delete changes, its name in the statement, and its rows.
    fn bind_target(
        &self,
        factor: &ast::TableFactor,
    ) -> Result<(Arc<Table>, String, Source), SqlError> {
        let ast::TableFactor::Table { name, alias, args: None, .. } = factor else {
            return Err(SqlError::unsupported(format!("changing {factor}")));
        };
        let table = self.changed_table(name).map_err(|error| self.at_name(error, name))?;
        let source = rename(table_source(&table), Some(&table.name), alias.as_ref())?;
        let name = alias.as_ref().map_or_else(|| table.name.clone(), |alias| fold(&alias.name));
        Ok((table, name, source))
    }

    /// The target's columns come first, so that their positions are the table's ordinals.
    fn join_from(
        &self,
        target: Source,
        from: &[ast::TableWithJoins],
    ) -> Result<(Logical, Scope<'static>), SqlError> {
        if from.is_empty() {
            return Ok((target.plan, Scope { columns: target.columns, parent: None }));
        }
        let other = self.bind_from(from, None)?;
        let mut columns: Vec<ScopeColumn> = target.columns;
        columns.extend(other.columns);
        let plan = Logical::Join {
            left: Box::new(target.plan),
            right: Box::new(other.plan),
            kind: model::plan::JoinKind::Inner,
            condition: None,
        };
        Ok((plan, Scope { columns, parent: None }))
    }

    fn bind_returning(
        &self,
        table: &Arc<Table>,
        alias: Option<&str>,
        items: Option<&[SelectItem]>,
    ) -> Result<(Option<Vec<Expression>>, Vec<OutputColumn>), SqlError> {
        let Some(items) = items else { return Ok((None, Vec::new())) };
        let name = alias.unwrap_or(&table.name);
        let source = rename(table_source(table), Some(name), None)?;
        let scope = Scope { columns: source.columns, parent: None };
        let mut slots = plain_slots("RETURNING");
        let items = self.bind_items(items, &[], &scope, &mut slots)?;
        refuse_sequences(items.iter().map(|(_, value)| value), "RETURNING")?;
        let columns = items
            .iter()
            .map(|(name, value)| OutputColumn { name: name.clone(), data_type: value.data_type() })
            .collect();
        Ok((Some(items.into_iter().map(|(_, value)| value).collect()), columns))
    }
}

/// Whether any of these looks at a column of the changed table, whose columns come first.
fn any_reads<'e>(expressions: impl IntoIterator<Item = &'e Expression>, width: usize) -> bool {
    let own =
        |node: &Expression| matches!(node, Expression::Column(column) if column.index < width);
    expressions.into_iter().any(|expression| expression.any(&own))
}

/// Whether a `WHERE` does; what is more than a filter of the table's rows is taken to.
fn filter_reads(selection: Option<&Expr>, filtered: &Logical, width: usize) -> bool {
    selection.is_some() && single_table(filtered).is_none_or(|found| any_reads(&found, width))
}

fn plain_slots(clause: &'static str) -> Slots {
    Slots::refusing(Refusals {
        aggregates: Some(clause),
        windows: Some(clause),
        subqueries: Some(clause),
    })
}

/// The conjuncts over a table's columns, where the plan is nothing but its filtered rows.
fn single_table(plan: &Logical) -> Option<Vec<Expression>> {
    match plan {
        Logical::Get { conjuncts, .. } => Some(conjuncts.clone()),
        Logical::Filter { condition, .. } if calls_sequences(condition) => None,
        Logical::Filter { input, condition } => {
            let mut found = single_table(input)?;
            conjuncts(condition.clone(), &mut found);
            Some(found)
        }
        _ => None,
    }
}

fn in_place_target(
    table: &Arc<Table>,
    mut found: Vec<Expression>,
    change: Change,
    returning: Option<Vec<Expression>>,
) -> WriteTarget {
    found.iter_mut().for_each(rules::fold);
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    let Choice { access, target } = access::choose(table, &columns, &found);
    let scan = Scan {
        table: Arc::clone(table),
        access,
        columns,
        filter: conjunction(found),
        reverse: false,
        lock: true,
        limit: None,
    };
    let input = Box::new(Plan::Scan(scan));
    let modify = Plan::Modify(Modify { table: Arc::clone(table), input, change, returning });
    WriteTarget::InPlace { target, modify: Arc::new(modify) }
}

fn all_columns(table: &Table) -> Vec<Expression> {
    let types = table.types().into_iter().enumerate();
    types.map(|(ordinal, data_type)| Expression::column(ordinal, data_type)).collect()
}

pub(super) fn column_default(table: &Table, ordinal: usize) -> Expression {
    let column = &table.columns[ordinal];
    column.default.clone().unwrap_or(Expression::Literal(Value::Null, column.data_type))
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

pub(super) fn column_ordinal(table: &Table, name: &str) -> Result<usize, SqlError> {
    let found = table.ordinal(name).filter(|&ordinal| !table.columns[ordinal].hidden);
    found.ok_or_else(|| {
        SqlError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

fn specified_twice(name: &str) -> SqlError {
    SqlError::new(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
}

/// The columns that values for so many of them are for. Fewer values than columns leave the last
/// ones to their defaults where the statement does not name the columns.
fn targets_of(targets: &[usize], named: bool, values: usize) -> Result<&[usize], SqlError> {
    let error = |message| Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    match targets.get(..values) {
        None => error("INSERT has more expressions than target columns"),
        Some(_) if named && values < targets.len() => {
            error("INSERT has more target columns than expressions")
        }
        Some(targets) => Ok(targets),
    }
}

/// The unique key that a conflict target means: of several on the same columns one speaks for all.
fn arbiter(table: &Table, target: &ast::ConflictTarget) -> Result<Arbiter, SqlError> {
    match target {
        ast::ConflictTarget::Columns(names) => {
            let named = names.iter().map(|name| column_ordinal(table, &fold(name)));
            arbiter_on(table, &named.collect::<Result<_, _>>()?)
        }
        ast::ConflictTarget::OnConstraint(name) => arbiter_called(table, &single_name(name)?),
    }
}

fn arbiter_on(table: &Table, columns: &BTreeSet<usize>) -> Result<Arbiter, SqlError> {
    let is_meant = |ordinals: BTreeSet<usize>| ordinals == *columns;
    if is_meant(table.primary_key.iter().copied().collect()) {
        return Ok(Arbiter::PrimaryKey);
    }
    let columns_of = |index: &Index| index.columns.iter().map(|column| column.ordinal).collect();
    let found = table.indexes.iter().position(|index| index.unique && is_meant(columns_of(index)));
    found.map(Arbiter::Index).ok_or_else(|| {
        SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        )
    })
}

fn arbiter_called(table: &Table, name: &str) -> Result<Arbiter, SqlError> {
    if table.primary_key_name.as_deref() == Some(name) {
        return Ok(Arbiter::PrimaryKey);
    }
    let is_meant = |index: &Index| index.constraint && index.name == name;
    if let Some(found) = table.indexes.iter().position(is_meant) {
        return Ok(Arbiter::Index(found));
    }
    let others = table.checks.iter().map(|check| &check.name);
    let mut others = others.chain(table.foreign_keys.iter().map(|key| &key.name));
    Err(match others.any(|other| other == name) {
        true => SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            "constraint in ON CONFLICT clause has no associated index",
        ),
        false => SqlError::new(
            SqlState::UNDEFINED_OBJECT,
            format!("constraint \"{name}\" for table \"{}\" does not exist", table.name),
        ),
    })
}

fn refuse_insert_clauses(insert: &ast::Insert) -> Result<(), SqlError> {
    let refused = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || insert.replace_into
        || insert.priority.is_some()
        || insert.partitioned.is_some()
        || insert.insert_alias.is_some()
        || insert.output.is_some()
        || insert.settings.is_some()
        || insert.format_clause.is_some()
        || !insert.assignments.is_empty()
        || !insert.after_columns.is_empty()
        || insert.multi_table_insert_type.is_some();
    if refused { Err(SqlError::unsupported("a clause of this INSERT")) } else { Ok(()) }
}
