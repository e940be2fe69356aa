//! Binding of one `SELECT`.
//!
//! The clauses are bound against the columns of `FROM`; aggregates, windows and subqueries in them
//! become slots. Then the nodes are stacked in SQL's order and the slots get their columns:
//!
//! ```text
//! FROM ─ WHERE ─ [GROUP BY, aggregates ─ HAVING] ─ windows ─ select list ─ DISTINCT ─ ORDER BY
//! ```

use super::OutputColumn;
use super::binder::Binder;
use super::from::Source;
use super::functions::sort_key;
use super::grouping::Grouping;
use super::logical::Logical;
use super::names::{fold, relation_name};
use super::query::{BoundQuery, distinct, ordinal};
use super::row_locks::{self, LockClause};
use super::scope::Scope;
use super::slots::{Refusals, Slot, Slots, collect, replace_slots};
use super::table_as::into_not_allowed;
use model::error::{SqlError, SqlState};
use model::expression::{BinaryOperator, Expression};
use model::plan::{SortKey, WindowCall, WindowFunction};
use model::row_lock::RowLock;
use model::types::DataType;
use model::value::Value;
use shards::exec::functions::changes_sequences;
use sqlparser::ast::{self, Expr, SelectItem};

/// The name of a column that its expression does not name.
const ANONYMOUS: &str = "?column?";

/// Expressions of one `SELECT` over the columns of its `FROM`.
struct Clauses {
    items: Vec<(String, Expression)>,
    having: Option<Expression>,
    order: Vec<SortKey>,
    /// `DISTINCT ON`: of the rows in which these are equal the first in order is kept.
    distinct_on: Vec<Expression>,
    /// The tables whose rows are locked.
    locks: Vec<RowLock>,
}

impl Binder<'_> {
    /// Binds a `SELECT` and the `ORDER BY` behind it.
    pub(super) fn bind_select(
        &self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        locks: &[LockClause],
        outer: Option<&Scope<'_>>,
    ) -> Result<BoundQuery, SqlError> {
        refuse_clauses(select)?;
        let wanted = self.wanted_types.take();
        let Source { plan, columns } = self.bind_from(&select.from, outer)?;
        let scope = Scope { columns, parent: outer };
        let mut plan = self.bind_where(plan, select.selection.as_ref(), &scope)?;
        let mut slots = Slots { takes_sets: true, ..Slots::default() };
        let items = self.bind_items(&select.projection, &wanted, &scope, &mut slots)?;
        slots.takes_sets = false;
        let groups = self.bind_groups(&select.group_by, &items, &select.projection, &scope)?;
        let having = match &select.having {
            None => None,
            Some(condition) => {
                slots.refusals.windows = Some("HAVING");
                let bound = self.bind(condition, &scope, &mut slots)?;
                slots.refusals.windows = None;
                Some(self.condition(bound, "HAVING")?)
            }
        };
        slots.takes_sets = true;
        let order = self.bind_order(order, &items, &scope, &mut slots)?;
        let distinct_on = match &select.distinct {
            Some(ast::Distinct::On(expressions)) => {
                let bind = |e| self.bind_key(e, "DISTINCT ON", &items, &scope, &mut slots);
                expressions.iter().map(bind).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        row_locks::check(locks, select, &slots, !groups.is_empty())?;
        let locks = self.bind_row_locks(locks, &select.from, &scope)?;
        let mut clauses = Clauses { items, having, order, distinct_on, locks };
        let grouped =
            !groups.is_empty() || !slots.aggregates.is_empty() || clauses.having.is_some();
        if grouped {
            plan = group(plan, groups, &scope, &mut clauses, &mut slots)?;
        }
        plan = place_windows(plan, &mut clauses, &slots);
        self.finish_select(plan, clauses, select.distinct.as_ref(), &slots)
    }

    /// `WHERE`
    pub(super) fn bind_where(
        &self,
        plan: Logical,
        condition: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Logical, SqlError> {
        let Some(condition) = condition else { return Ok(plan) };
        let mut slots = Slots::refusing(Refusals {
            aggregates: Some("WHERE"),
            windows: Some("WHERE"),
            subqueries: None,
        });
        let bound = self.bind(condition, scope, &mut slots)?;
        let mut condition = self.condition(bound, "WHERE")?;
        self.take_session_values(&mut condition);
        let plan = slots.place_subqueries(plan, &mut [&mut condition]);
        Ok(plan.filter(condition))
    }

    /// The select list: names and expressions, `*` spelled out. What nothing else gives a type has the
    /// one that is wanted in its place, and otherwise is text.
    pub(super) fn bind_items(
        &self,
        items: &[SelectItem],
        wanted: &[DataType],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Vec<(String, Expression)>, SqlError> {
        let mut bound = Vec::with_capacity(items.len());
        let decided = |value: Expression, at: usize| match wanted.get(at) {
            Some(&wanted) if value.data_type() == DataType::Unknown => self.decide(value, wanted),
            _ => self.decided(value),
        };
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let value = self.bind(expression, scope, slots)?;
                    bound.push((output_name(expression), decided(value, bound.len())));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let value = self.bind(expr, scope, slots)?;
                    bound.push((fold(alias), decided(value, bound.len())));
                }
                SelectItem::Wildcard(options) => {
                    refuse_wildcard_options(options)?;
                    let before = bound.len();
                    push_columns(scope, None, &mut bound);
                    if bound.len() == before && scope.columns.is_empty() {
                        return Err(SqlError::new(
                            SqlState::SYNTAX_ERROR,
                            "SELECT * with no tables specified is not valid",
                        ));
                    }
                }
                SelectItem::QualifiedWildcard(
                    ast::SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) => {
                    refuse_wildcard_options(options)?;
                    let (_, relation) = relation_name(name)?;
                    if !scope.has_relation(&relation) {
                        return Err(SqlError::new(
                            SqlState::UNDEFINED_TABLE,
                            format!("missing FROM-clause entry for table \"{relation}\""),
                        ));
                    }
                    push_columns(scope, Some(&relation), &mut bound);
                }
                other => return Err(SqlError::unsupported(format!("the select item {other}"))),
            }
        }
        Ok(bound)
    }

    /// `GROUP BY`: expressions, numbers of select items, or their names.
    fn bind_groups(
        &self,
        groups: &ast::GroupByExpr,
        items: &[(String, Expression)],
        projection: &[SelectItem],
        scope: &Scope<'_>,
    ) -> Result<Vec<Expression>, SqlError> {
        let ast::GroupByExpr::Expressions(expressions, modifiers) = groups else {
            return Err(SqlError::unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(SqlError::unsupported("a modifier of GROUP BY"));
        }
        let mut slots = Slots::refusing(Refusals {
            aggregates: Some("GROUP BY"),
            windows: Some("GROUP BY"),
            subqueries: Some("GROUP BY"),
        });
        let mut bound = Vec::with_capacity(expressions.len());
        for expression in expressions {
            if let Some(position) = ordinal(expression, items.len(), "GROUP BY")? {
                bound.push(refuse_slots(&items[position].1)?);
                continue;
            }
            let value = match self.bind(expression, scope, &mut slots) {
                Ok(value) => self.decided(value),
                // A name that is no input column may be an output column's.
                Err(error) => match alias_of(expression, items, projection) {
                    Some(item) if error.state() == SqlState::UNDEFINED_COLUMN => {
                        refuse_slots(item)?
                    }
                    _ => return Err(error),
                },
            };
            bound.push(value);
        }
        Ok(bound)
    }

    /// `ORDER BY`: names and numbers of select items first, then any expression.
    fn bind_order(
        &self,
        order: &[ast::OrderByExpr],
        items: &[(String, Expression)],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Vec<SortKey>, SqlError> {
        let mut keys = Vec::with_capacity(order.len());
        for key in order {
            let value = self.bind_key(&key.expr, "ORDER BY", items, scope, slots)?;
            keys.push(sort_key(value, &key.options)?);
        }
        Ok(keys)
    }

    /// The name or number of a select item, or else an expression.
    fn bind_key(
        &self,
        key: &Expr,
        clause: &str,
        items: &[(String, Expression)],
        scope: &Scope<'_>,
        slots: &mut Slots,
    ) -> Result<Expression, SqlError> {
        let named = match key {
            Expr::Identifier(name) => {
                let name = fold(name);
                items.iter().find(|(item, _)| *item == name).map(|(_, value)| value.clone())
            }
            other => ordinal(other, items.len(), clause)?.map(|index| items[index].1.clone()),
        };
        match named {
            Some(value) => Ok(value),
            None => Ok(self.decided(self.bind(key, scope, slots)?)),
        }
    }

    /// Select list, `DISTINCT` and `ORDER BY` over a plan that has all their columns.
    fn finish_select(
        &self,
        mut plan: Logical,
        mut clauses: Clauses,
        distinctness: Option<&ast::Distinct>,
        slots: &Slots,
    ) -> Result<BoundQuery, SqlError> {
        let is_distinct = match distinctness {
            None | Some(ast::Distinct::All | ast::Distinct::On(_)) => false,
            Some(ast::Distinct::Distinct) => true,
        };
        check_distinct_on(&clauses)?;
        let ordered = !clauses.order.is_empty();
        let columns: Vec<OutputColumn> = clauses
            .items
            .iter()
            .map(|(name, value)| OutputColumn { name: name.clone(), data_type: value.data_type() })
            .collect();
        // An order by a select item is one by its output column.
        let mut extra: Vec<Expression> = Vec::new();
        let mut keys = Vec::with_capacity(clauses.order.len());
        for key in clauses.order.drain(..) {
            let data_type = key.expression.data_type();
            let known = clauses.items.iter().position(|(_, value)| *value == key.expression);
            let index = match known {
                Some(index) => index,
                None if is_distinct => {
                    return Err(SqlError::new(
                        SqlState::INVALID_COLUMN_REFERENCE,
                        "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                    ));
                }
                None => {
                    extra.push(key.expression);
                    columns.len() + extra.len() - 1
                }
            };
            keys.push(SortKey { expression: Expression::column(index, data_type), ..key });
        }
        let mut distinct_on = Vec::with_capacity(clauses.distinct_on.len());
        for expression in clauses.distinct_on {
            let data_type = expression.data_type();
            let mut known = clauses.items.iter().map(|(_, value)| value).chain(&extra);
            let index = known.position(|value| *value == expression).unwrap_or_else(|| {
                extra.push(expression);
                columns.len() + extra.len() - 1
            });
            distinct_on.push(Expression::column(index, data_type));
        }
        let mut locks = clauses.locks;
        for RowLock { table, key, .. } in &mut locks {
            for (column, &ordinal) in key.iter_mut().zip(&table.primary_key) {
                let key = Expression::column(*column, table.columns[ordinal].data_type);
                let mut known = clauses.items.iter().map(|(_, value)| value).chain(&extra);
                *column = known.position(|value| *value == key).unwrap_or_else(|| {
                    extra.push(key);
                    columns.len() + extra.len() - 1
                });
            }
        }
        let mut expressions: Vec<Expression> =
            clauses.items.into_iter().map(|(_, value)| value).chain(extra).collect();
        let drops_rows = is_distinct || !distinct_on.is_empty();
        let drawn = drawn_behind_order(&mut expressions, columns.len(), &keys, drops_rows);
        let mut used: Vec<&mut Expression> = expressions.iter_mut().collect();
        plan = slots.place_sets(plan, &mut used);
        plan = slots.place_subqueries(plan, &mut used);
        let width = expressions.len();
        plan = plan.project(expressions);
        if is_distinct {
            plan = distinct(plan);
        }
        if !distinct_on.is_empty() {
            plan = first_of_each(plan, distinct_on, keys.clone());
        }
        if !keys.is_empty() {
            plan = Logical::Sort { input: Box::new(plan), keys, limit: None };
        }
        if !locks.is_empty() {
            let input = Box::new(plan);
            plan = Logical::LockRows { input, locks, ordered, limit: None, offset: None };
        }
        if width > columns.len() || !drawn.is_empty() {
            let kept = columns.iter().enumerate();
            let mut kept: Vec<Expression> =
                kept.map(|(i, c)| Expression::column(i, c.data_type)).collect();
            for (at, expression) in drawn {
                kept[at] = expression;
            }
            plan = plan.project(kept);
        }
        Ok(BoundQuery { plan, columns })
    }
}

/// `ORDER BY` has to put the rows that `DISTINCT ON` takes for equal one behind the other.
fn check_distinct_on(clauses: &Clauses) -> Result<(), SqlError> {
    let distinct_on = &clauses.distinct_on;
    let ordered: Vec<bool> =
        clauses.order.iter().map(|key| distinct_on.contains(&key.expression)).collect();
    let leading = ordered.iter().take_while(|known| **known).count();
    let behind = &ordered[leading..];
    let missing = |e: &Expression| !clauses.order.iter().any(|key| key.expression == *e);
    if !behind.is_empty() && (behind.contains(&true) || distinct_on.iter().any(missing)) {
        return Err(SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
        ));
    }
    Ok(())
}

/// Of the rows in which `groups` are equal the first in order.
fn first_of_each(input: Logical, groups: Vec<Expression>, order_by: Vec<SortKey>) -> Logical {
    let types = input.types();
    let number = Expression::column(types.len(), DataType::Int8);
    let calls = vec![WindowCall {
        function: WindowFunction::RowNumber,
        arguments: Vec::new(),
        data_type: DataType::Int8,
    }];
    let numbered =
        Logical::Window { input: Box::new(input), partition_by: groups, order_by, calls };
    let is_first = Expression::Binary {
        operator: BinaryOperator::Equal,
        left: Box::new(number),
        right: Box::new(Expression::literal(1, DataType::Int8)),
        data_type: DataType::Bool,
    };
    let columns = types.into_iter().enumerate().map(|(at, t)| Expression::column(at, t));
    numbered.filter(is_first).project(columns.collect())
}

/// Takes the select items that change sequences out, where there is an order that is not by them:
/// rows draw their values in that order. Their places keep a `NULL`; the columns that they read are
/// added to the expressions.
fn drawn_behind_order(
    expressions: &mut Vec<Expression>,
    items: usize,
    keys: &[SortKey],
    drops_rows: bool,
) -> Vec<(usize, Expression)> {
    let mut drawn = Vec::new();
    if keys.is_empty() || drops_rows {
        return drawn;
    }
    let is_key = |at: usize| {
        keys.iter().any(|key| matches!(&key.expression, Expression::Column(c) if c.index == at))
    };
    for at in 0..items {
        if is_key(at) || !changes_sequences(&expressions[at]) {
            continue;
        }
        let nothing = Expression::Literal(Value::Null, expressions[at].data_type());
        let mut expression = std::mem::replace(&mut expressions[at], nothing);
        expression.rewrite(&mut |node| {
            if let Expression::Column(column) = node {
                let read = expressions.len();
                expressions.push(Expression::Column(*column));
                column.index = read;
            }
        });
        drawn.push((at, expression));
    }
    drawn
}

/// Puts the aggregation into the plan and makes the clauses refer to its columns.
fn group(
    plan: Logical,
    groups: Vec<Expression>,
    scope: &Scope<'_>,
    clauses: &mut Clauses,
    slots: &mut Slots,
) -> Result<Logical, SqlError> {
    let mut grouping = Grouping::new(groups, std::mem::take(&mut slots.aggregates));
    let items = clauses.items.iter_mut().map(|(_, value)| value);
    let order = clauses.order.iter_mut().map(|key| &mut key.expression);
    let distinct_on = &mut clauses.distinct_on;
    for expression in items.chain(&mut clauses.having).chain(order).chain(distinct_on) {
        grouping.regroup(expression, scope, &plan)?;
    }
    for window in &mut slots.windows {
        let order = window.order_by.iter_mut().map(|key| &mut key.expression);
        for expression in window.arguments.iter_mut().chain(&mut window.partition_by).chain(order) {
            grouping.regroup(expression, scope, &plan)?;
        }
    }
    for argument in slots.sets.iter_mut().flat_map(|call| &mut call.arguments) {
        grouping.regroup(argument, scope, &plan)?;
    }
    grouping.regroup_subqueries(slots, scope, &plan)?;
    let mut plan = grouping.place(plan, slots);
    if let Some(mut having) = clauses.having.take() {
        plan = slots.place_subqueries(plan, &mut [&mut having]);
        plan = plan.filter(having);
    }
    Ok(plan)
}

/// Adds a node for each window specification, and puts its columns into the clauses.
fn place_windows(mut plan: Logical, clauses: &mut Clauses, slots: &Slots) -> Logical {
    let mut placed: Vec<usize> = vec![0; slots.windows.len()];
    let mut done = vec![false; slots.windows.len()];
    for first in 0..slots.windows.len() {
        if done[first] {
            continue;
        }
        let window = &slots.windows[first];
        let mut calls = Vec::new();
        let mut input = plan;
        let mut specification =
            (window.partition_by.clone(), window.order_by.clone(), Vec::<Vec<Expression>>::new());
        let mut together = Vec::new();
        for (position, other) in slots.windows.iter().enumerate().skip(first) {
            let same =
                other.partition_by == window.partition_by && other.order_by == window.order_by;
            if same && !done[position] {
                done[position] = true;
                together.push(position);
                specification.2.push(other.arguments.clone());
            }
        }
        let keys = specification.1.iter_mut().map(|key| &mut key.expression);
        let mut used: Vec<&mut Expression> = specification.0.iter_mut().chain(keys).collect();
        used.extend(specification.2.iter_mut().flatten());
        input = slots.place_subqueries(input, &mut used);
        let width = input.width();
        let (partition_by, order_by, arguments) = specification;
        for (offset, (position, arguments)) in together.into_iter().zip(arguments).enumerate() {
            let slot = &slots.windows[position];
            calls.push(WindowCall {
                function: slot.function,
                arguments,
                data_type: slot.data_type,
            });
            placed[position] = width + offset;
        }
        plan = Logical::Window { input: Box::new(input), partition_by, order_by, calls };
    }
    let order = clauses.order.iter_mut().map(|key| &mut key.expression);
    let items = clauses.items.iter_mut().map(|(_, value)| value);
    for expression in items.chain(order).chain(&mut clauses.distinct_on) {
        replace_slots(expression, &mut |slot| match slot {
            Slot::Window(position) => Some(placed[position]),
            _ => None,
        });
    }
    plan
}

fn push_columns(scope: &Scope<'_>, relation: Option<&str>, out: &mut Vec<(String, Expression)>) {
    for (index, column) in scope.columns.iter().enumerate() {
        let wanted = match relation {
            None => !column.hidden,
            // A column that `USING` merged is its relation's still.
            Some(relation) => {
                column.relation.as_deref() == Some(relation)
                    && (!column.hidden || column.only_qualified)
            }
        };
        if wanted {
            out.push((column.name.clone(), Expression::column(index, column.data_type)));
        }
    }
}

/// An expression that `GROUP BY` names through the select list.
fn refuse_slots(expression: &Expression) -> Result<Expression, SqlError> {
    let mut slots = Vec::new();
    collect(expression, &mut slots);
    let refused = match slots.first() {
        None => return Ok(expression.clone()),
        Some(Slot::Aggregate(_)) => "aggregate functions are not allowed in GROUP BY",
        Some(Slot::Window(_)) => "window functions are not allowed in GROUP BY",
        Some(Slot::Subquery(_)) => return Err(SqlError::unsupported("a subquery in GROUP BY")),
        Some(Slot::Set(_)) => {
            return Err(SqlError::unsupported("a set-returning function in GROUP BY"));
        }
    };
    Err(SqlError::new(SqlState::GROUPING_ERROR, refused))
}

fn alias_of<'i>(
    expression: &Expr,
    items: &'i [(String, Expression)],
    projection: &[SelectItem],
) -> Option<&'i Expression> {
    let Expr::Identifier(name) = expression else { return None };
    let name = fold(name);
    // With `*` in the list its positions are not the items'; a name still finds its item.
    let aliased = projection
        .iter()
        .any(|item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == name));
    items.iter().find(|(item, _)| aliased && *item == name).map(|(_, value)| value)
}

fn cast_type_name(data_type: &ast::DataType) -> String {
    super::types::data_type(data_type).map_or_else(|_| ANONYMOUS.to_owned(), short_type_name)
}

/// The name PostgreSQL gives a select item without an alias.
fn output_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(name) => fold(name),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, fold),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => output_name(inner),
        // An element or a slice of an array has the array's name.
        Expr::CompoundFieldAccess { root, access_chain } => {
            output_name(&super::arrays::subscripted(root, access_chain).0)
        }
        Expr::Array(_) => "array".to_owned(),
        Expr::Function(call) => {
            relation_name(&call.name).map_or_else(|_| ANONYMOUS.to_owned(), |(_, name)| name)
        }
        Expr::Cast { expr, data_type, .. } => {
            let mut operand = &**expr;
            while let Expr::Cast { expr, .. } | Expr::Nested(expr) = operand {
                operand = expr;
            }
            // A name that only a type gave, or `CASE`, gives way.
            let weak = match operand {
                Expr::TypedString(_) | Expr::Interval(_) | Expr::Value(_) => true,
                Expr::Case { .. } => output_name(operand) == "case",
                _ => false,
            };
            match output_name(operand) {
                name if name != ANONYMOUS && !weak => name,
                _ => cast_type_name(data_type),
            }
        }
        Expr::Case { else_result, .. } => match else_result.as_deref().map(output_name) {
            Some(name) if name != ANONYMOUS => name,
            _ => "case".to_owned(),
        },
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim".to_owned(),
            Some(ast::TrimWhereField::Trailing) => "rtrim".to_owned(),
            _ => "btrim".to_owned(),
        },
        Expr::TypedString(typed) => cast_type_name(&typed.data_type),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::Value(value) if matches!(value.value, ast::Value::Boolean(_)) => "bool".to_owned(),
        Expr::Subquery(query) => match query.body.as_ref() {
            ast::SetExpr::Select(select) => match select.projection.as_slice() {
                [SelectItem::UnnamedExpr(expression)] => output_name(expression),
                [SelectItem::ExprWithAlias { alias, .. }] => fold(alias),
                _ => ANONYMOUS.to_owned(),
            },
            _ => ANONYMOUS.to_owned(),
        },
        _ => ANONYMOUS.to_owned(),
    }
}

/// PostgreSQL's internal name of a type, which names the column of a cast.
fn short_type_name(data_type: model::types::DataType) -> String {
    model::types::oid::entry_of(data_type).name.to_owned()
}

fn refuse_wildcard_options(options: &ast::WildcardAdditionalOptions) -> Result<(), SqlError> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none();
    if plain { Ok(()) } else { Err(SqlError::unsupported("an option of *")) }
}

fn refuse_clauses(select: &ast::Select) -> Result<(), SqlError> {
    if select.into.is_some() {
        return Err(into_not_allowed());
    }
    let refused = [
        (select.top.is_some(), "TOP"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (select.qualify.is_some(), "QUALIFY"),
        (!select.named_window.is_empty(), "the WINDOW clause"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
    ];
    match refused.iter().find(|(present, _)| *present) {
        Some((_, clause)) => Err(SqlError::unsupported(clause)),
        None => Ok(()),
    }
}
