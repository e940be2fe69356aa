//! Violations in PostgreSQL's words.

use model::error::{SqlError, SqlState};
use model::schema::{ForeignKey, Table};
use model::text::shown;
use model::value::Value;

/// `Failing row contains (1, null).`
fn failing_row(table: &Table, row: &[Value]) -> String {
    let values: Vec<String> =
        table.visible().map(|at| shown(&row[at], table.columns[at].data_type)).collect();
    format!("Failing row contains ({}).", values.join(", "))
}

/// 23502
pub(super) fn not_null(table: &Table, ordinal: usize, row: &[Value]) -> SqlError {
    let column = &table.columns[ordinal].name;
    SqlError::new(
        SqlState::NOT_NULL_VIOLATION,
        format!(
            "null value in column \"{column}\" of relation \"{}\" violates not-null constraint",
            table.name
        ),
    )
    .detail(failing_row(table, row))
    .table(&table.schema, &table.name)
    .column(column)
}

/// 23514
pub(super) fn check(table: &Table, name: &str, row: &[Value]) -> SqlError {
    SqlError::new(
        SqlState::CHECK_VIOLATION,
        format!("new row for relation \"{}\" violates check constraint \"{name}\"", table.name),
    )
    .detail(failing_row(table, row))
    .table(&table.schema, &table.name)
    .constraint(name)
}

/// `(a, b)=(1, 2)`
fn key_text(table: &Table, columns: impl Iterator<Item = usize> + Clone, row: &[Value]) -> String {
    let names: Vec<&str> = columns.clone().map(|at| table.columns[at].name.as_str()).collect();
    let values: Vec<String> =
        columns.map(|at| shown(&row[at], table.columns[at].data_type)).collect();
    format!("({})=({})", names.join(", "), values.join(", "))
}

/// 23505
pub(super) fn unique(
    table: &Table,
    constraint: &str,
    columns: impl Iterator<Item = usize> + Clone,
    row: &[Value],
) -> SqlError {
    SqlError::new(
        SqlState::UNIQUE_VIOLATION,
        format!("duplicate key value violates unique constraint \"{constraint}\""),
    )
    .detail(format!("Key {} already exists.", key_text(table, columns, row)))
    .table(&table.schema, &table.name)
    .constraint(constraint)
}

/// 23503 of a row whose referenced row does not exist.
pub(super) fn foreign_key(table: &Table, key: &ForeignKey, row: &[Value]) -> SqlError {
    SqlError::new(
        SqlState::FOREIGN_KEY_VIOLATION,
        format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
            table.name, key.name
        ),
    )
    .detail(format!(
        "Key {} is not present in table \"{}\".",
        key_text(table, key.child_columns.iter().copied(), row),
        key.parent_name
    ))
    .table(&table.schema, &table.name)
    .constraint(&key.name)
}
