//! How long a setting lasts: for the session, or for the transaction at hand.
//!
//! The modes of a transaction are settings, too, which end with it. One that a transaction does not
//! set is what new transactions have, as it was when the transaction came to it.

use super::block::{Standing, Warning};
use super::identity::SettingChange;
use super::settings::{is_of_transaction, of_transaction};
use super::{Client, Open, Session, Settings};
use crate::router::{Exported, Snapshot};
use crate::sql::{Planned, PlannedKind, SET_CONFIG_ARGUMENTS, SetStatement};
use model::batch::Batch;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use model::id::CatalogVersion;
use model::time::Timestamp;
use model::types::DataType;
use model::value::Value;
use std::sync::Arc;

/// How a transaction is kept from others, from its first statement on.
pub(super) struct Kept {
    isolation: Isolation,
    /// What all of its statements read, where that is one snapshot.
    one: Option<OneSnapshot>,
}

/// What all statements of a transaction read.
struct OneSnapshot {
    snapshot: Snapshot,
    /// The catalog when it was taken.
    schema: CatalogVersion,
}

impl Session {
    /// `SET`, `RESET`
    ///
    /// # Errors
    /// Those of [`Settings::set`]; 25001 for a mode that comes too late.
    pub(super) fn change_setting(
        &mut self,
        set: &SetStatement,
        client: &mut dyn Client,
    ) -> Result<(), SqlError> {
        let value = set.value.as_deref();
        if self.open.is_none() && (set.local || is_of_transaction(&set.name)) {
            self.setting_change(&set.name, value)?.apply(&mut self.settings.clone())?;
            if set.local {
                self.warn(Some(Warning::LocalOutside), client);
            }
            return Ok(());
        }
        self.scope_setting(&set.name, value, set.local)
    }

    /// Changes a setting for as long as it lasts.
    fn scope_setting(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<(), SqlError> {
        if let (Some(own), true) = (of_transaction(name), self.open.is_some()) {
            // What new transactions are from now on, this one is not.
            let now = self.settings.show(own)?;
            self.keep_setting(own, Some(&now), true)?;
        }
        self.keep_setting(name, value, local || is_of_transaction(name))
    }

    /// The modes that come with a `BEGIN` or a `SET TRANSACTION`.
    ///
    /// # Errors
    /// Those of [`Session::change_setting`].
    pub(super) fn set_modes(
        &mut self,
        planned: &Planned,
        client: &mut dyn Client,
    ) -> Result<(), SqlError> {
        let (PlannedKind::Begin(modes) | PlannedKind::SetTransaction(modes)) = &planned.kind else {
            return Ok(());
        };
        modes.iter().try_for_each(|mode| self.change_setting(mode, client))
    }

    /// `SELECT set_config(...)`: of each row the values that the settings have then. Without a value
    /// it is the default. How many rows there were.
    ///
    /// # Errors
    /// 22004 for no name, and those of [`Session::change_setting`] and of the query.
    pub(super) async fn set_configs(
        &mut self,
        planned: &Planned,
        parameters: Arc<[Value]>,
        client: &mut dyn Client,
    ) -> Result<u64, SqlError> {
        let PlannedKind::SetConfig(query) = &planned.kind else {
            return Err(SqlError::internal("set_config is planned again as something else"));
        };
        let kind = PlannedKind::Query(query.clone());
        let calls = Planned { kind, ..planned.clone() };
        let (mut query, _) = self.open_rows(&calls, parameters, self.snapshot())?;
        let types = vec![DataType::Text; planned.columns.len()];
        let mut count = 0;
        while let Some(batch) = query.next().await? {
            let mut rows = Vec::with_capacity(batch.rows());
            for row in 0..batch.rows() {
                let values = batch.row(row);
                let shown = values.chunks(SET_CONFIG_ARGUMENTS).map(|call| self.set_config(call));
                rows.push(shown.collect::<Result<Vec<Value>, _>>()?);
            }
            count += rows.len() as u64;
            client.rows(Batch::from_rows(&types, &rows)).await?;
        }
        Ok(count)
    }

    /// One call: name, value, and whether the change ends with the transaction.
    fn set_config(&mut self, arguments: &[Value]) -> Result<Value, SqlError> {
        let text = |at: usize| match arguments.get(at) {
            Some(Value::Text(text)) => Some(text.to_string()),
            _ => None,
        };
        let Some(name) = text(0) else {
            return Err(SqlError::new(
                SqlState::NULL_VALUE_NOT_ALLOWED,
                "SET requires parameter name",
            ));
        };
        let (name, value) = (name.to_lowercase(), text(1));
        let local = matches!(arguments.get(2), Some(Value::Bool(true)));
        let is_gone = self.open.is_none() && (local || is_of_transaction(&name));
        let shown = match is_gone {
            true => {
                let mut changed = self.settings.clone();
                let change = self.setting_change(&name, value.as_deref())?;
                change.apply(&mut changed)?;
                match change {
                    SettingChange::Value(..) => changed.show(&name)?,
                    _ => value.unwrap_or_default(),
                }
            }
            false => {
                self.scope_setting(&name, value.as_deref(), local)?;
                self.shown(&name)?
            }
        };
        Ok(Value::text(shown.as_str()))
    }

    fn keep_setting(
        &mut self,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<(), SqlError> {
        let change = self.setting_change(name, value)?;
        let mut changed = self.settings.clone();
        change.apply(&mut changed)?;
        if let Some(open) = &mut self.open {
            if open.worked && self.settings.read_only() && !changed.read_only() {
                return Err(SqlError::new(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "transaction read-write mode must be set before any query",
                ));
            }
            if self.settings.isolation() != changed.isolation() {
                let when = match () {
                    () if !open.savepoints.is_empty() => "must not be called in a subtransaction",
                    () if open.worked => "must be called before any query",
                    () => "",
                };
                if !when.is_empty() {
                    return Err(SqlError::new(
                        SqlState::ACTIVE_SQL_TRANSACTION,
                        format!("SET TRANSACTION ISOLATION LEVEL {when}"),
                    ));
                }
            }
            if open.settings_before.is_none() {
                open.settings_before = Some(self.settings.clone());
            }
            match &mut open.settings_after {
                Some(after) if !local => change.apply(after)?,
                None if local => open.settings_after = Some(self.settings.clone()),
                Some(_) | None => {}
            }
        }
        self.restore_settings(changed);
        Ok(())
    }

    /// Gives the settings back as they were.
    pub(super) fn restore_settings(&mut self, before: Settings) {
        self.settings = before;
        self.settings_changed();
    }

    fn kept(&self) -> Option<&Kept> {
        self.open.as_ref()?.kept.as_ref()
    }

    /// What the transaction's statements read, where all read the same.
    pub(super) fn snapshot(&self) -> Option<Timestamp> {
        self.kept()?.one.as_ref().map(|one| one.snapshot.at())
    }

    /// How the transaction is kept from others; of a statement outside of any, which is one.
    pub(super) fn isolation(&self) -> Isolation {
        self.kept().map_or_else(|| self.settings.isolation(), |kept| kept.isolation)
    }

    /// Before the first statement of a transaction: how it is kept from others, and the snapshot that
    /// all of them read. What only reads, and reads one snapshot, is where that moment is among all
    /// others: it need not lock what it reads to be serializable.
    pub(super) async fn take_snapshot(&mut self) -> Result<(), SqlError> {
        let wanted = |open: &Open| open.kept.is_none();
        if !self.open.as_deref().is_some_and(wanted) {
            return Ok(());
        }
        let isolation = match self.settings.isolation() {
            Isolation::Serializable if self.settings.read_only() => Isolation::RepeatableRead,
            isolation => isolation,
        };
        let one = match isolation {
            Isolation::RepeatableRead => {
                let router = self.host.router.clone();
                let schema = router.catalog_version();
                Some(OneSnapshot { snapshot: router.hold_snapshot().await?, schema })
            }
            Isolation::ReadCommitted | Isolation::Serializable => None,
        };
        if let Some(open) = &mut self.open {
            open.kept = Some(Kept { isolation, one });
        }
        Ok(())
    }

    /// What a statement reads that says so itself.
    ///
    /// # Errors
    /// Those of [`Router::hold_snapshot_as_of`](crate::router::Router::hold_snapshot_as_of); 0A000
    /// inside of a block, whose statements read what the block reads.
    pub(super) async fn snapshot_as_of(
        &self,
        planned: &Planned,
    ) -> Result<Option<Snapshot>, SqlError> {
        let Some(as_of) = &planned.as_of else { return Ok(None) };
        if self.standing == Standing::Open {
            return Err(SqlError::unsupported("AS OF SYSTEM TIME inside of a transaction block")
                .hint("Begin the transaction with it."));
        }
        self.host.router.hold_snapshot_as_of(as_of).await.map(Some)
    }

    /// A `BEGIN` or `SET TRANSACTION` that says what its transaction reads. It does not write.
    ///
    /// # Errors
    /// Those of [`Router::hold_snapshot_as_of`](crate::router::Router::hold_snapshot_as_of); 25001
    /// where it comes too late, 22023 for one that writes.
    pub(super) async fn read_as_of(&mut self, planned: &Planned) -> Result<(), SqlError> {
        let Some(as_of) = &planned.as_of else { return Ok(()) };
        let is_late = |open: &Open| open.worked || open.kept.is_some() || open.schema.is_some();
        if self.open.as_deref().is_some_and(is_late) {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "AS OF SYSTEM TIME must be set before any query",
            ));
        }
        let (PlannedKind::Begin(modes) | PlannedKind::SetTransaction(modes)) = &planned.kind else {
            return Err(SqlError::internal("a statement about no transaction"));
        };
        let writes = |mode: &SetStatement| {
            mode.name == "transaction_read_only" && mode.value.as_deref() == Some("off")
        };
        if modes.iter().any(writes) {
            return Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                "AS OF SYSTEM TIME specified with READ WRITE mode",
            ));
        }
        let router = self.host.router.clone();
        let schema = router.catalog_version();
        let snapshot = router.hold_snapshot_as_of(as_of).await?;
        self.keep_setting("transaction_read_only", Some("on"), true)?;
        if let Some(open) = &mut self.open {
            let one = Some(OneSnapshot { snapshot, schema });
            open.kept = Some(Kept { isolation: Isolation::RepeatableRead, one });
            open.worked = true;
        }
        Ok(())
    }

    /// `SET TRANSACTION SNAPSHOT`: reads what another transaction reads that is open.
    ///
    /// # Errors
    /// 25001 where it comes too late, 0A000 for a transaction whose statements do not all read the
    /// same, and those of [`Router::import_snapshot`](crate::router::Router::import_snapshot).
    pub(super) async fn import_snapshot(
        &mut self,
        id: &str,
        client: &mut dyn Client,
    ) -> Result<(), SqlError> {
        let refuse = |what: &'static str| Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, what));
        if self.open.is_none() {
            self.warn(Some(Warning::ModesOutside), client);
        }
        let is_late = |open: &Open| {
            open.worked
                || open.kept.is_some()
                || open.schema.is_some()
                || !open.savepoints.is_empty()
        };
        if self.open.as_deref().is_some_and(is_late) {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION SNAPSHOT must be called before any query",
            ));
        }
        let isolation = self.settings.isolation();
        if self.open.is_none() || isolation == Isolation::ReadCommitted {
            return refuse(
                "a snapshot-importing transaction must have isolation level SERIALIZABLE or REPEATABLE READ",
            );
        }
        let router = self.host.router.clone();
        let (snapshot, exported) = router.import_snapshot(id).await?;
        if exported.database != self.identity.database {
            return refuse("cannot import a snapshot from a different database");
        }
        if isolation == Isolation::Serializable && !exported.serializable {
            return refuse(
                "a serializable transaction cannot import a snapshot from a non-serializable transaction",
            );
        }
        if isolation == Isolation::Serializable && !self.settings.read_only() {
            return refuse(
                "a non-read-only serializable transaction cannot import a snapshot from a read-only transaction",
            );
        }
        if let Some(open) = &mut self.open {
            let one = Some(OneSnapshot { snapshot, schema: exported.schema });
            open.kept = Some(Kept { isolation: Isolation::RepeatableRead, one });
            open.worked = true;
        }
        Ok(())
    }

    /// What of the session's transaction others may read.
    ///
    /// # Errors
    /// 25001 in a subtransaction, 0A000 where not all of its statements read the same.
    pub(super) fn exportable(&self) -> Result<Exported, SqlError> {
        if self.open.as_ref().is_some_and(|open| !open.savepoints.is_empty()) {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "cannot export a snapshot from a subtransaction",
            ));
        }
        let one = self.kept().and_then(|kept| kept.one.as_ref());
        match (&self.open, one) {
            (Some(open), Some(one)) => Ok(Exported {
                txn: open.transaction.id,
                at: one.snapshot.at(),
                schema: one.schema,
                database: self.identity.database.clone(),
                serializable: self.settings.isolation() == Isolation::Serializable,
            }),
            _ => Err(SqlError::unsupported(
                "exporting a snapshot from a transaction that does not read one",
            )
            .hint("Begin it with ISOLATION LEVEL REPEATABLE READ, or READ ONLY.")),
        }
    }

    /// An index that was built after the snapshot does not show all that it sees, and rows that were
    /// written anew are not there. What else the transaction itself has changed is as it sees it.
    pub(super) fn refuse_new_schema(&self, planned: &Planned) -> Result<(), SqlError> {
        let Some(held) = self.kept().and_then(|kept| kept.one.as_ref()) else { return Ok(()) };
        let (schema, filled) = match self.schema_changes() {
            Some(own) => (own.version_before(), own.has_filled(&planned.tables)),
            None => (planned.catalog_version, false),
        };
        if planned.tables.is_empty() || (schema == held.schema && !filled) {
            return Ok(());
        }
        Err(SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            "the schema has changed since the transaction's snapshot",
        )
        .hint("Run the transaction again."))
    }

    /// A transaction that only reads refuses what writes.
    pub(super) fn refuse_if_read_only(&self, planned: &Planned) -> Result<(), SqlError> {
        if !self.settings.read_only() {
            return Ok(());
        }
        let Some(command) = planned.writes_by() else { return Ok(()) };
        Err(SqlError::new(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            format!("cannot execute {command} in a read-only transaction"),
        ))
    }
}
