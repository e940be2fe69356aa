//! `LOCK TABLE`, in the modes that only changes of the schema wait for: dumps take them, so that no
//! table goes away beneath them.

use super::binder::Binder;
use super::names::relation_name;
use super::relations::Found;
use super::statement::PlannedKind;
use crate::catalog::Relation;
use crate::catalog::privileges::Privileges;
use model::error::{SqlError, SqlState};
use sqlparser::ast::{Lock, LockTableMode, ObjectName};

impl Binder<'_> {
    pub(super) fn bind_lock(&self, lock: &Lock) -> Result<PlannedKind, SqlError> {
        let mode = lock.lock_mode.as_ref().unwrap_or(&LockTableMode::AccessExclusive);
        let privileges = match mode {
            LockTableMode::AccessShare => Privileges::SELECT,
            LockTableMode::RowShare | LockTableMode::RowExclusive => {
                Privileges::INSERT | Privileges::UPDATE | Privileges::DELETE | Privileges::TRUNCATE
            }
            mode => {
                return Err(SqlError::unsupported(format!("LOCK TABLE in {mode} mode"))
                    .hint("ACCESS SHARE, ROW SHARE and ROW EXCLUSIVE are taken."));
            }
        };
        for target in &lock.tables {
            let locked = self.bind_locked(&target.name, privileges);
            locked.map_err(|error| self.at_name(error, &target.name))?;
        }
        Ok(PlannedKind::LockTables)
    }

    fn bind_locked(&self, name: &ObjectName, privileges: Privileges) -> Result<(), SqlError> {
        let (schema, name) = relation_name(name)?;
        self.check_schema(schema.as_deref())?;
        match self.find(schema.as_deref(), &name) {
            None => Err(self.unknown_relation(schema.as_deref(), &name)),
            Some((_, Found::Relation(Relation::Sequence(_)))) => Err(SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot lock relation \"{name}\""),
            )
            .detail("This operation is not supported for sequences.")),
            Some((_, Found::Relation(relation))) => {
                self.depends_on(relation.id());
                self.requires_any(relation.id(), privileges);
                Ok(())
            }
            Some((_, Found::Virtual | Found::System(_))) => Ok(()),
        }
    }
}
