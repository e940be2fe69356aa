//! Storage parameters of tables: PostgreSQL's are known and change nothing here.

use crate::sql::names::fold;
use model::error::{SqlError, SqlState};
use sqlparser::ast::{CreateTableOptions, Expr, SqlOption};

/// Parameters that tables of PostgreSQL 15 have, besides `fillfactor` and those of autovacuum.
const KNOWN: [&str; 6] = [
    "toast_tuple_target",
    "parallel_workers",
    "user_catalog_table",
    "vacuum_index_cleanup",
    "vacuum_truncate",
    "log_autovacuum_min_duration",
];

/// Refuses what PostgreSQL does not know.
pub(in crate::sql) fn check(options: &CreateTableOptions) -> Result<(), SqlError> {
    match options {
        CreateTableOptions::None => Ok(()),
        CreateTableOptions::With(options) => check_parameters(options),
        _ => Err(SqlError::unsupported("a table option")),
    }
}

/// The same of parameters that `ALTER TABLE` sets.
pub(super) fn check_parameters(options: &[SqlOption]) -> Result<(), SqlError> {
    options.iter().try_for_each(check_one)
}

/// The same of an index: PostgreSQL's B-trees have two.
pub(super) fn check_of_index(options: &[Expr]) -> Result<(), SqlError> {
    for option in options {
        let named = match option {
            Expr::BinaryOp { left, right, .. } => (left.as_ref(), Some(right.to_string())),
            other => (other, None),
        };
        let (Expr::Identifier(key), value) = named else {
            return Err(SqlError::unsupported(format!("the storage parameter {option}")));
        };
        match (fold(key).as_str(), value) {
            ("deduplicate_items", _) => {}
            ("fillfactor", Some(value)) => check_fillfactor(&value)?,
            (name, _) => return Err(invalid(format!("unrecognized parameter \"{name}\""))),
        }
    }
    Ok(())
}

fn check_fillfactor(value: &str) -> Result<(), SqlError> {
    match value.trim_matches('\'').parse::<u32>() {
        Ok(10..=100) => Ok(()),
        Ok(_) => {
            let message = format!("value {value} out of bounds for option \"fillfactor\"");
            Err(invalid(message).detail("Valid values are between \"10\" and \"100\"."))
        }
        Err(_) => Err(invalid(format!("invalid value for integer option \"fillfactor\": {value}"))),
    }
}

fn check_one(option: &SqlOption) -> Result<(), SqlError> {
    let SqlOption::KeyValue { key, value } = option else {
        return Err(SqlError::unsupported(format!("the storage parameter {option}")));
    };
    let name = fold(key);
    if name == "fillfactor" {
        return check_fillfactor(&value.to_string());
    }
    match KNOWN.contains(&name.as_str()) || name.starts_with("autovacuum_") {
        true => Ok(()),
        false => Err(invalid(format!("unrecognized parameter \"{name}\""))),
    }
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

#[cfg(test)]
mod tests {
    use crate::catalog::Catalog;
    use crate::sql::{NoVirtualTables, SessionSettings, parse, plan};

    fn create(options: &str) -> Result<(), String> {
        let settings = SessionSettings::of_system("phantom");
        let statement = parse(&format!("CREATE TABLE t (a int) WITH ({options})")).unwrap();
        plan(&statement[0], &Catalog::bootstrap(), &settings, &NoVirtualTables, &[])
            .map(drop)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn known_parameters_are_taken_and_others_refused() {
        assert_eq!(create("fillfactor=100"), Ok(()));
        assert_eq!(create("autovacuum_enabled = false, parallel_workers = 2"), Ok(()));
        let unknown = "22023: unrecognized parameter \"colour\"";
        assert_eq!(create("colour = 1"), Err(unknown.to_owned()));
        let bounds = "22023: value 5 out of bounds for option \"fillfactor\"";
        assert_eq!(create("fillfactor = 5"), Err(bounds.to_owned()));
    }
}
