//! `FOR UPDATE`, `FOR NO KEY UPDATE`, `FOR SHARE` and `FOR KEY SHARE`: which tables' rows a query
//! locks, and where among its columns their keys are.

use super::binder::Binder;
use super::names::{fold, relation_name};
use super::parse::{Strength, row_lock_strength};
use super::relations::Found;
use super::scope::Scope;
use super::set_functions::table_call;
use super::slots::Slots;
use super::statement::RowLocks;
use crate::catalog::Relation;
use crate::catalog::privileges::Privileges;
use model::error::{SqlError, SqlState};
use model::row_lock::{LockWait, RowLock, RowLockMode};
use model::schema::Table;
use sqlparser::ast::{self, JoinOperator, ObjectName, SetExpr, TableFactor};
use std::sync::Arc;

/// A clause as it is written.
pub(super) struct LockClause {
    strength: &'static Strength,
    mode: RowLockMode,
    wait: LockWait,
    /// Only of this table.
    of: Option<ObjectName>,
}

/// What a name in `FROM` stands for.
enum Item {
    Table(Arc<Table>),
    Sequence,
    /// Has nothing that could be locked.
    Values,
    /// Takes no locks, and is left alone where it is not named.
    Other(&'static str),
    /// Whose rows PostgreSQL locks and this does not.
    Unsupported(&'static str),
}

/// An item of `FROM`.
struct Named {
    name: String,
    item: Item,
    /// Its side of an outer join may have no row.
    nullable: bool,
}

/// The clauses of a query.
pub(super) fn written(query: &ast::Query) -> Result<Vec<LockClause>, SqlError> {
    let clause = |clause: &ast::LockClause| {
        let (strength, of) = row_lock_strength(clause)?;
        let mode = match clause.lock_type {
            ast::LockType::Update => RowLockMode::Exclusive,
            ast::LockType::Share => RowLockMode::Shared,
        };
        let wait = match clause.nonblock {
            None => LockWait::Wait,
            Some(ast::NonBlock::SkipLocked) => LockWait::Skip,
            Some(ast::NonBlock::Nowait) => LockWait::Refuse,
        };
        Ok(LockClause { strength, mode, wait, of })
    };
    query.locks.iter().map(clause).collect()
}

impl LockClause {
    fn not_allowed(&self, with: &str) -> SqlError {
        let message = format!("{} is not allowed with {with}", self.strength.name);
        SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
    }

    pub(super) fn not_applied_to(&self, what: &str) -> SqlError {
        let message = format!("{} cannot be applied to {what}", self.strength.name);
        SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
    }
}

/// Refuses what has no rows of tables that could be locked: a query that is no `SELECT`.
pub(super) fn refuse_body(clause: &LockClause, body: &SetExpr) -> SqlError {
    match body {
        SetExpr::SetOperation { .. } => clause.not_allowed("UNION/INTERSECT/EXCEPT"),
        _ => clause.not_applied_to("VALUES"),
    }
}

/// Refuses a `SELECT` whose rows are no rows of tables.
pub(super) fn check(
    clauses: &[LockClause],
    select: &ast::Select,
    slots: &Slots,
    has_groups: bool,
) -> Result<(), SqlError> {
    let Some(first) = clauses.first() else { return Ok(()) };
    let distinct = matches!(select.distinct, Some(ast::Distinct::Distinct | ast::Distinct::On(_)));
    let refused = [
        (distinct, "DISTINCT clause"),
        (has_groups, "GROUP BY clause"),
        (select.having.is_some(), "HAVING clause"),
        (!slots.aggregates.is_empty(), "aggregate functions"),
        (!slots.windows.is_empty(), "window functions"),
        (!slots.sets.is_empty(), "set-returning functions in the target list"),
    ];
    match refused.iter().find(|(present, _)| *present) {
        Some((_, with)) => Err(first.not_allowed(with)),
        None => Ok(()),
    }
}

impl Binder<'_> {
    /// The tables that the clauses lock; their keys are columns of `scope`.
    pub(super) fn bind_row_locks(
        &self,
        clauses: &[LockClause],
        from: &[ast::TableWithJoins],
        scope: &Scope<'_>,
    ) -> Result<Vec<RowLock>, SqlError> {
        let mut items = Vec::new();
        if !clauses.is_empty() {
            for item in from {
                self.items_of(item, &mut items)?;
            }
        }
        let mut locks: Vec<(&str, RowLock)> = Vec::new();
        for clause in clauses {
            let found = match &clause.of {
                None => items.iter().collect(),
                Some(of) => vec![self.named_in(clause, of, &items)?],
            };
            for named in found {
                let Some(table) = clause.table_of(named)? else { continue };
                let lock = self.row_lock(clause, table, &named.name, scope)?;
                match locks.iter_mut().find(|(name, _)| *name == named.name) {
                    // The stronger lock, and the way that waits less.
                    Some((_, known)) => {
                        known.mode = known.mode.max(lock.mode);
                        known.wait = known.wait.max(lock.wait);
                    }
                    None => locks.push((&named.name, lock)),
                }
            }
        }
        if let (Some(clause), false) = (clauses.first(), locks.is_empty()) {
            let known = self.row_locks.get();
            let command = known.map_or(clause.strength.command, |known| known.command);
            let skips = known.is_some_and(|known| known.skips)
                || locks.iter().any(|(_, lock)| lock.wait == LockWait::Skip);
            self.row_locks.set(Some(RowLocks { command, skips }));
        }
        Ok(locks.into_iter().map(|(_, lock)| lock).collect())
    }

    fn row_lock(
        &self,
        clause: &LockClause,
        table: &Arc<Table>,
        name: &str,
        scope: &Scope<'_>,
    ) -> Result<RowLock, SqlError> {
        self.requires(table.id, Privileges::UPDATE);
        let columns = scope.columns.iter().enumerate();
        let own = columns.filter(|(_, column)| column.relation.as_deref() == Some(name));
        let own: Vec<usize> = own.map(|(at, _)| at).collect();
        if own.len() != table.columns.len() {
            return Err(SqlError::internal("a locked table whose columns are not all in sight"));
        }
        let key = table.primary_key.iter().map(|&ordinal| own[ordinal]).collect();
        Ok(RowLock { table: Arc::clone(table), key, mode: clause.mode, wait: clause.wait })
    }

    fn named_in<'i>(
        &self,
        clause: &LockClause,
        of: &ObjectName,
        items: &'i [Named],
    ) -> Result<&'i Named, SqlError> {
        let (schema, name) = relation_name(of)?;
        if schema.is_some() {
            let message =
                format!("{} must specify unqualified relation names", clause.strength.name);
            return Err(self.at_name(SqlError::new(SqlState::SYNTAX_ERROR, message), of));
        }
        items.iter().find(|item| item.name == name).ok_or_else(|| {
            let message = format!(
                "relation \"{name}\" in {} clause not found in FROM clause",
                clause.strength.name
            );
            self.at_name(SqlError::new(SqlState::UNDEFINED_TABLE, message), of)
        })
    }

    /// What an item of `FROM` and the joins behind it name.
    fn items_of(&self, item: &ast::TableWithJoins, out: &mut Vec<Named>) -> Result<(), SqlError> {
        let first = out.len();
        self.item_of(&item.relation, out)?;
        for join in &item.joins {
            let right = out.len();
            self.item_of(&join.relation, out)?;
            let (left_nullable, right_nullable) = match &join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
                JoinOperator::FullOuter(_) => (true, true),
                _ => (false, false),
            };
            let nullable = |named: &mut Named| named.nullable = true;
            if left_nullable {
                out[first..right].iter_mut().for_each(nullable);
            }
            if right_nullable {
                out[right..].iter_mut().for_each(nullable);
            }
        }
        Ok(())
    }

    fn item_of(&self, factor: &TableFactor, out: &mut Vec<Named>) -> Result<(), SqlError> {
        let aliased = |alias: &Option<ast::TableAlias>| {
            alias.as_ref().map(|alias| fold(&alias.name)).unwrap_or_default()
        };
        let (name, item) = match factor {
            // Its name is not asked for before it is named.
            factor if table_call(factor)?.is_some() => match factor {
                TableFactor::Table { name, alias, .. } => {
                    let (_, own) = relation_name(name)?;
                    (
                        alias.as_ref().map_or(own, |alias| fold(&alias.name)),
                        Item::Other("a function"),
                    )
                }
                TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. } => {
                    (aliased(alias), Item::Other("a function"))
                }
                _ => (String::new(), Item::Other("a function")),
            },
            TableFactor::Table { name, alias, .. } => {
                let (_, own) = relation_name(name)?;
                let shown = alias.as_ref().map_or(own, |alias| fold(&alias.name));
                (shown, self.item_named(name)?)
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let item = match subquery.body.as_ref() {
                    SetExpr::Values(_) => Item::Values,
                    _ => Item::Unsupported("a subquery in FROM"),
                };
                (aliased(alias), item)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.items_of(table_with_joins, out);
            }
            TableFactor::NestedJoin { alias, .. } => {
                (aliased(alias), Item::Unsupported("a join that has a name"))
            }
            _ => (String::new(), Item::Other("a function")),
        };
        out.push(Named { name, item, nullable: false });
        Ok(())
    }

    fn item_named(&self, written: &ObjectName) -> Result<Item, SqlError> {
        let (schema, name) = relation_name(written)?;
        if schema.is_none() && self.ctes.borrow().iter().any(|cte| cte.name == name) {
            return Ok(Item::Other("a WITH query"));
        }
        Ok(match self.find(schema.as_deref(), &name) {
            Some((_, Found::Relation(Relation::Table(table)))) => Item::Table(Arc::clone(table)),
            Some((_, Found::Relation(Relation::View(_)))) => Item::Unsupported("a view"),
            Some((_, Found::Relation(Relation::Sequence(_)))) => Item::Sequence,
            Some((_, Found::Virtual | Found::System(_))) => {
                Item::Unsupported("a table of the system")
            }
            None => return Err(self.unknown_relation(schema.as_deref(), &name)),
        })
    }
}

impl LockClause {
    /// The table of an item; `None` where it is left alone.
    fn table_of<'i>(&self, named: &'i Named) -> Result<Option<&'i Arc<Table>>, SqlError> {
        let table = match &named.item {
            Item::Table(table) => table,
            Item::Values => return Ok(None),
            Item::Other(_) if self.of.is_none() => return Ok(None),
            Item::Other(what) => return Err(self.not_applied_to(what)),
            Item::Sequence => {
                return Err(SqlError::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("cannot lock rows in sequence \"{}\"", named.name),
                ));
            }
            Item::Unsupported(what) => {
                return Err(SqlError::unsupported(format!(
                    "{} of rows of {what}",
                    self.strength.name
                ))
                .hint("Lock the rows of the tables, and name them with OF."));
            }
        };
        match named.nullable {
            true => Err(self.not_applied_to("the nullable side of an outer join")),
            false => Ok(Some(table)),
        }
    }
}
