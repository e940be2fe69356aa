//! `DROP`

use super::{DdlStatement, DropRelations, SessionSettings, qualified};
use crate::sql::names::{relation_name, single_name};
use model::error::SqlError;
use sqlparser::ast::{self, ObjectType};

pub(super) fn drop_statement(
    object: &ObjectType,
    names: &[ast::ObjectName],
    if_exists: bool,
    cascade: bool,
    settings: &SessionSettings,
) -> Result<DdlStatement, SqlError> {
    let relations = || -> Result<DropRelations, SqlError> {
        let names = names.iter().map(|name| qualified(name, settings));
        Ok(DropRelations { names: names.collect::<Result<_, _>>()?, if_exists, cascade })
    };
    let single = || match names {
        [name] => single_name(name),
        _ => Err(SqlError::unsupported(format!("DROP {object} of several at once"))),
    };
    Ok(match object {
        ObjectType::Table => DdlStatement::DropTables(relations()?),
        ObjectType::View => DdlStatement::DropViews(relations()?),
        ObjectType::Index => DdlStatement::DropIndexes(relations()?),
        ObjectType::Sequence => DdlStatement::DropSequences(relations()?),
        ObjectType::Database => DdlStatement::DropDatabase { name: single()?, if_exists },
        ObjectType::Schema => DdlStatement::DropSchemas {
            database: settings.database.clone(),
            names: names.iter().map(single_name).collect::<Result<_, _>>()?,
            if_exists,
            cascade,
        },
        ObjectType::Type => absent("type", "DROP TYPE", names.iter(), if_exists)?,
        ObjectType::MaterializedView => {
            absent("materialized view", "DROP MATERIALIZED VIEW", names.iter(), if_exists)?
        }
        other => return Err(SqlError::unsupported(format!("DROP {other}"))),
    })
}

/// Drops objects of a kind that there is none of.
pub(super) fn absent<'n>(
    kind: &'static str,
    tag: &'static str,
    names: impl Iterator<Item = &'n ast::ObjectName>,
    if_exists: bool,
) -> Result<DdlStatement, SqlError> {
    let names = names.map(|name| relation_name(name).map(|(_, name)| name));
    Ok(DdlStatement::DropAbsent { kind, tag, names: names.collect::<Result<_, _>>()?, if_exists })
}
