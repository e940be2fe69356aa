//! What locks are on, as errors name it: tables and keys with their columns' values.

use model::command::KeyConflict;
use model::error::SqlError;
use model::id::TxnId;
use model::key;
use model::schema::Table;

/// What is locked, and what is known of it where it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Locked<'a> {
    /// A row of a table, or an entry of one of its indexes.
    In(&'a Table),
    /// A range of those.
    RangeIn(&'a Table),
    /// What a constraint wants of another partition: a key of its own, or a row it refers to.
    For(&'a KeyConflict),
    /// An entry of an index whose table is not known here.
    Entry,
}

impl Locked<'_> {
    /// Its name in a message.
    pub(super) fn name(self, key: &[u8]) -> String {
        match self {
            Locked::In(table) => key::describe(table, key),
            Locked::RangeIn(table) => format!("a range of table \"{}\"", table.name),
            Locked::For(conflict) => of_constraint(&conflict.error),
            Locked::Entry => "an entry of an index".to_owned(),
        }
    }

    /// An error with the table, and the constraint, as fields of their own.
    pub(super) fn attach(self, error: SqlError) -> SqlError {
        if error.fields().table.is_some() {
            return error;
        }
        match self {
            Locked::In(table) | Locked::RangeIn(table) => error.table(&table.schema, &table.name),
            Locked::For(conflict) => {
                let fields = conflict.error.fields();
                let error = match (&fields.schema, &fields.table) {
                    (Some(schema), Some(table)) => error.table(schema, table),
                    _ => error,
                };
                match &fields.constraint {
                    Some(constraint) => error.constraint(constraint),
                    None => error,
                }
            }
            Locked::Entry => error,
        }
    }
}

/// `constraint "t_v_key" of table "t", key (v) = (5)`: its violation names the key.
fn of_constraint(violation: &SqlError) -> String {
    let fields = violation.fields();
    let constraint = fields.constraint.as_deref().unwrap_or_default();
    let table = fields.table.as_deref().unwrap_or_default();
    let place = format!("constraint \"{constraint}\" of table \"{table}\"");
    let detail = fields.detail.as_deref().unwrap_or_default();
    let key = detail.strip_prefix("Key ").and_then(|key| key.split_once(")=("));
    let key = key.and_then(|(columns, rest)| {
        let ends = [") already exists.", ") is not present in table "];
        let end = ends.iter().filter_map(|end| rest.rfind(end)).max()?;
        Some(format!("{place}, key {columns}) = ({})", &rest[..end]))
    });
    key.unwrap_or(place)
}

/// Who is in the way.
pub(super) fn name_of(blocker: Option<TxnId>) -> String {
    blocker.map_or_else(|| "Another transaction".to_owned(), |txn| format!("Transaction {txn}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::error::SqlState;
    use std::sync::Arc;

    #[test]
    fn what_a_constraint_wants_is_named_as_its_violation_names_it() {
        let conflict = |detail: &str| KeyConflict {
            error: SqlError::new(SqlState::UNIQUE_VIOLATION, "taken")
                .detail(detail)
                .table("public", "t")
                .constraint("t_key"),
        };
        let name = |detail| Locked::For(&conflict(detail)).name(b"");
        let place = "constraint \"t_key\" of table \"t\"";
        assert_eq!(
            name("Key (a, b)=(1, x) already exists."),
            format!("{place}, key (a, b) = (1, x)")
        );
        assert_eq!(
            name("Key (a)=(is) not) is not present in table \"p\"."),
            format!("{place}, key (a) = (is) not)")
        );
        assert_eq!(name("Something else."), place);
        let conflict = Arc::new(conflict(""));
        let error =
            Locked::For(&conflict).attach(SqlError::new(SqlState::LOCK_NOT_AVAILABLE, "late"));
        assert_eq!(error.fields().table.as_deref(), Some("t"));
        assert_eq!(error.fields().constraint.as_deref(), Some("t_key"));
    }
}
