//! SQL text that the catalog keeps: defaults, checks and type names, bound again when it is read.

use super::binder::{Binder, Coercion};
use super::logical::Logical;
use super::parse::{parse_expression, parse_query};
use super::query::BoundQuery;
use super::relations::NamedRelation;
use super::scope::{Scope, ScopeColumn};
use super::slots::{Refusals, Slots};
use super::types::data_type;
use super::{NoVirtualTables, OutputColumn, SessionSettings, VirtualTables, view_text};
use crate::catalog::roles::Actor;
use crate::catalog::{ActivePath, Catalog, View, Visible};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::ObjectId;
use model::schema::Column;
use model::types::DataType;
use std::rc::Rc;

/// The type of this name.
pub(crate) fn type_named(name: &str) -> Result<DataType, SqlError> {
    match parse_expression(&format!("NULL::{name}"))? {
        sqlparser::ast::Expr::Cast { data_type: target, .. } => data_type(&target),
        _ => Err(SqlError::internal(format!("\"{name}\" is no type name"))),
    }
}

/// Runs `bind` with a binder that knows no relations.
fn alone<T>(bind: impl FnOnce(&Binder<'_>) -> Result<T, SqlError>) -> Result<T, SqlError> {
    let catalog = Catalog::bootstrap();
    let settings = SessionSettings::of_system(crate::catalog::DEFAULT_DATABASE);
    let binder = Binder::new(&catalog, &settings, &NoVirtualTables, &[]);
    binder.stored.set(true);
    bind(&binder)
}

fn refusing(clause: &'static str) -> Slots {
    Slots::refusing(Refusals {
        aggregates: Some(clause),
        windows: Some(clause),
        subqueries: Some(clause),
    })
}

/// Binds a column's `DEFAULT`: an expression without columns, of the column's type.
pub(crate) fn bind_default(text: &str, column: &Column) -> Result<Expression, SqlError> {
    let parsed = parse_expression(text)?;
    alone(|binder| {
        let bound = binder.bind(&parsed, &Scope::default(), &mut refusing("DEFAULT"))?;
        refuse_parameters(&bound)?;
        let from = bound.data_type();
        let name = &column.name;
        binder.coerce(bound, column.data_type, Coercion::Assignment).map_err(|_mismatch| {
            SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{name}\" is of type {} but default expression is of type {from}",
                    column.data_type
                ),
            )
            .hint("You will need to rewrite or cast the expression.")
        })
    })
}

/// Binds what `ALTER COLUMN ... TYPE` makes of a column's values: an expression over the columns
/// of the old rows, or where there is none a cast of the old value.
pub(crate) fn bind_conversion(
    using: Option<&str>,
    table: &str,
    columns: &[Column],
    at: usize,
    to: DataType,
) -> Result<Expression, SqlError> {
    let column = &columns[at];
    let mismatch = |subject: String, hint: String| {
        SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            format!("{subject} cannot be cast automatically to type {to}"),
        )
        .hint(hint)
    };
    let Some(text) = using else {
        return alone(|binder| {
            let value = Expression::column(at, column.data_type);
            binder.coerce(value, to, Coercion::Assignment).map_err(|_mismatch| {
                let name = shards::exec::functions::quote_identifier(&column.name);
                mismatch(
                    format!("column \"{}\"", column.name),
                    format!("You might need to specify \"USING {name}::{to}\"."),
                )
            })
        });
    };
    let parsed = parse_expression(text)?;
    let scope = scope_of(table, columns);
    alone(|binder| {
        let bound = binder.bind(&parsed, &scope, &mut refusing("transform expressions"))?;
        refuse_parameters(&bound)?;
        binder.coerce(bound, to, Coercion::Assignment).map_err(|_mismatch| {
            mismatch(
                format!("result of USING clause for column \"{}\"", column.name),
                "You might need to add an explicit cast.".to_owned(),
            )
        })
    })
}

/// Binds a `CHECK` of the table with these columns.
pub(crate) fn bind_check(
    text: &str,
    table: &str,
    columns: &[Column],
) -> Result<Expression, SqlError> {
    let parsed = parse_expression(text)?;
    let scope = scope_of(table, columns);
    alone(|binder| {
        let bound = binder.bind(&parsed, &scope, &mut refusing("CHECK"))?;
        refuse_parameters(&bound)?;
        binder.condition(bound, "CHECK")
    })
}

/// The columns of one table in sight.
fn scope_of(table: &str, columns: &[Column]) -> Scope<'static> {
    let columns = columns.iter().map(|column| ScopeColumn {
        relation: Some(table.to_owned()),
        name: column.name.clone(),
        data_type: column.data_type,
        hidden: column.hidden,
        only_qualified: false,
    });
    Scope { columns: columns.collect(), parent: None }
}

fn refuse_parameters(expression: &Expression) -> Result<(), SqlError> {
    if expression.any(&|node| matches!(node, Expression::Parameter { .. })) {
        return Err(SqlError::new(
            SqlState::UNDEFINED_PARAMETER,
            "a stored expression cannot have parameters",
        ));
    }
    Ok(())
}

/// A view's query.
pub(crate) struct BoundView {
    /// Its columns.
    pub(crate) columns: Vec<OutputColumn>,
    /// The relations that it reads.
    pub(crate) depends_on: Vec<ObjectId>,
    /// Its text with the schema of every relation.
    pub(crate) text: String,
}

/// Binds a view's query, whose names without a schema are sought on `path`. `tables` need no rows.
/// `actor` must be able to find what it names, and need not be able to read it.
pub(crate) fn bind_view(
    text: &str,
    database: &str,
    path: &ActivePath,
    actor: Actor,
    catalog: &Catalog,
    tables: &dyn VirtualTables,
) -> Result<BoundView, SqlError> {
    let (columns, depends_on, named) = bind_named(text, database, path, actor, catalog, tables)?;
    Ok(BoundView { columns, depends_on, text: view_text::with_schemas(text, &named)? })
}

/// A view's text for a reader who need not write the schemas of what is `visible`.
pub(crate) fn shown_view(
    view: &View,
    database: &str,
    catalog: &Catalog,
    visible: &Visible<'_>,
    tables: &dyn VirtualTables,
) -> Result<String, SqlError> {
    let path = ActivePath::of(view.path.clone());
    let (_, _, named) = bind_named(&view.text, database, &path, Actor::SYSTEM, catalog, tables)?;
    view_text::without_schemas(&view.text, &named, visible)
}

type BoundNames = (Vec<OutputColumn>, Vec<ObjectId>, Vec<NamedRelation>);

fn bind_named(
    text: &str,
    database: &str,
    path: &ActivePath,
    actor: Actor,
    catalog: &Catalog,
    tables: &dyn VirtualTables,
) -> Result<BoundNames, SqlError> {
    let query = parse_query(text)?;
    let settings = SessionSettings { actor, ..SessionSettings::of_system(database) };
    let binder = Binder::new(catalog, &settings, tables, &[]);
    binder.path.replace(Rc::new(path.clone()));
    binder.named_relations.replace(Some(Vec::new()));
    let BoundQuery { plan, columns } = binder.bind_query(&query, None)?;
    if let Some(locks) = binder.row_locks.get() {
        return Err(SqlError::unsupported(format!("{} in a view", locks.command)));
    }
    refuse_plan_parameters(&plan)?;
    let named = binder.named_relations.take().unwrap_or_default();
    Ok((columns, binder.tables(), named))
}

fn refuse_plan_parameters(plan: &Logical) -> Result<(), SqlError> {
    let mut result = Ok(());
    plan.for_each_expression(|expression| {
        if result.is_ok() {
            result = refuse_parameters(expression);
        }
    });
    plan.for_each_input(|input, _| {
        if result.is_ok() {
            result = refuse_plan_parameters(input);
        }
    });
    result
}
