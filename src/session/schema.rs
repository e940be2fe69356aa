//! Changes of the schema in the session's transaction.
//!
//! From its first change on the transaction has a catalog of its own: names mean what they mean there,
//! and plans are made with it. All others go on with theirs until it commits.

use super::{Open, Session};
use crate::catalog::Catalog;
use crate::router::gates::Holder;
use crate::router::{Changing, NewStorage, SchemaChanges};
use crate::sql::ddl::{DdlStatement, NewTable};
use model::error::SqlError;
use model::id::CatalogVersion;
use std::sync::Arc;

/// The name of a change that stands by itself.
pub(super) fn stands_by_itself(change: &DdlStatement) -> Option<&'static str> {
    match change {
        DdlStatement::CreateDatabase { .. } => Some("CREATE DATABASE"),
        DdlStatement::DropDatabase { .. } => Some("DROP DATABASE"),
        DdlStatement::CreateIndex(new) if new.concurrently => Some("CREATE INDEX CONCURRENTLY"),
        _ => None,
    }
}

impl Session {
    /// What the transaction has changed of the schema.
    pub(super) fn schema_changes(&self) -> Option<&SchemaChanges> {
        self.open.as_ref()?.schema.as_deref()
    }

    /// The catalog that statements are planned with now.
    pub(super) fn catalog(&self) -> Arc<Catalog> {
        self.own_catalog().unwrap_or_else(|| self.host.router.catalog())
    }

    /// The same, where it is the transaction's own.
    pub(super) fn own_catalog(&self) -> Option<Arc<Catalog>> {
        self.schema_changes().map(|changes| changes.catalog().clone())
    }

    /// The version of the catalog that statements are planned with now.
    pub(super) fn catalog_version(&self) -> CatalogVersion {
        let own = self.schema_changes().map(|changes| changes.catalog().version);
        own.unwrap_or_else(|| self.host.router.catalog_version())
    }

    /// Who it is at the gates.
    pub(super) fn holder(&self) -> Holder {
        Holder::Session(self.presence.key().process)
    }

    /// Changes the schema in the transaction. Returns what the client is told besides the success.
    ///
    /// # Errors
    /// Those of [`SchemaChanges::make`], and of waiting for others to commit their changes.
    pub(super) async fn change_schema(
        &mut self,
        change: &DdlStatement,
    ) -> Result<Vec<SqlError>, SqlError> {
        let (by, lock_timeout) = (self.holder(), self.settings.lock_timeout());
        let (in_use, has_snapshot) = (self.portals.tables_read(), self.snapshot().is_some());
        let router = self.host.router.clone();
        let Some(open) = &mut self.open else {
            return Err(SqlError::internal("a schema change outside of a transaction"));
        };
        let Open { transaction, schema, .. } = &mut **open;
        let is_first = schema.is_none();
        let changes = match schema {
            Some(changes) => changes,
            None => {
                let begun = router.begin_schema_changes(transaction.id, lock_timeout).await?;
                schema.insert(Box::new(begun))
            }
        };
        let settings = &self.scope;
        let in_use = &in_use;
        let changing = Changing { settings, by, transaction, lock_timeout, in_use, has_snapshot };
        let told = changes.make(change, &changing).await;
        // One that has changed nothing is in nobody's way.
        if is_first
            && changes.is_empty()
            && let Some(changes) = schema.take()
        {
            changes.end().await;
        }
        told
    }

    /// Finds a place for the rows of a table that is to be created.
    ///
    /// # Errors
    /// Those of creating it.
    pub(super) async fn reserve_storage(&mut self, new: &NewTable) -> Result<NewStorage, SqlError> {
        let (router, lock_timeout) = (self.host.router.clone(), self.settings.lock_timeout());
        let Some(open) = &mut self.open else {
            return Err(SqlError::internal("a schema change outside of a transaction"));
        };
        if let Some(changes) = &mut open.schema {
            return changes.reserve_storage(new, &self.scope).await;
        }
        let mut turn = router.begin_schema_changes(open.transaction.id, lock_timeout).await?;
        let reserved = turn.reserve_storage(new, &self.scope).await;
        turn.end().await;
        reserved
    }
}
