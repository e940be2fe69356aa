//! What a transaction has changed of the schema and not committed yet.
//!
//! It has the turn, the gates of the tables that it changes, and a catalog of its own, with which its
//! statements are planned. What is stored of that is written when the transaction commits.

use super::super::publication::Publication;
use super::PUBLISH_MAX;
use super::checks::Look;
use super::conversion::Becoming;
use crate::catalog::change::{DdlWork, apply_ddl, difference, require_within};
use crate::catalog::{Catalog, Relation};
use crate::router::Router;
use crate::router::gates::Holder;
use crate::router::peers::{Answer, Call};
use crate::router::virtual_tables::Outlines;
use crate::sql::SessionSettings;
use crate::sql::ddl::DdlStatement;
use crate::txn::Transaction;
use model::error::{SqlError, SqlState};
use model::id::{CatalogVersion, ObjectId, PartitionId, TxnId};
use model::placement::Place;
use runtime::sync::oneshot;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Ids that are used up at once, beyond those that are needed: a transaction that makes several objects
/// and writes into each stores that they are used up once.
const IDS_AHEAD: u32 = 16;

/// Changes of the schema that nobody sees but their transaction. Where it is dropped they are given up,
/// and others come in.
pub struct SchemaChanges {
    router: Router,
    change: TxnId,
    /// What all others see. Nobody else changes it meanwhile.
    base: Arc<Catalog>,
    /// What the transaction sees.
    catalog: Arc<Catalog>,
    /// The last version that was given to a catalog, here or before. None is given twice: plans are known
    /// by it.
    version: CatalogVersion,
    /// The id that the next object gets, also where those before have been taken back.
    next_object: ObjectId,
    /// Ids before this one are stored as used up.
    used: ObjectId,
    /// Whose gates are closed, or about to be.
    closed: BTreeSet<ObjectId>,
    /// Tables whose rows or entries were written anew, outside of the snapshot that the transaction
    /// reads.
    filled: BTreeSet<ObjectId>,
    /// All cores that statements may run on while it has the turn.
    places: Vec<Place>,
    /// Whether it has the turn, or wants it.
    held: bool,
}

/// Who changes the schema, and how.
pub struct Changing<'a> {
    /// Of its session.
    pub settings: &'a SessionSettings,
    /// Its session.
    pub by: Holder,
    /// Its transaction.
    pub transaction: &'a Transaction,
    /// How long it waits for others.
    pub lock_timeout: Option<Duration>,
    /// Tables that queries of the transaction are still being read from.
    pub in_use: &'a [ObjectId],
    /// All statements of the transaction read one snapshot, which is older than the change.
    pub has_snapshot: bool,
}

/// A place among changes to go back to.
pub struct ChangesMark {
    catalog: Arc<Catalog>,
    closed: BTreeSet<ObjectId>,
    filled: BTreeSet<ObjectId>,
}

/// How a change ends for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// They go on.
    Known,
    /// It is not known what they would find.
    InDoubt,
}

/// What the client is told and warned of.
pub(super) fn told(notices: Vec<String>, warnings: Vec<SqlError>) -> Vec<SqlError> {
    let notice = |text| SqlError::new(SqlState::SUCCESSFUL_COMPLETION, text);
    notices.into_iter().map(notice).chain(warnings).collect()
}

impl Router {
    /// Waits until nobody else changes the schema.
    ///
    /// # Errors
    /// 55P03 after the limit, 40P01 as the victim of a deadlock, 57P03 where it is not known what the
    /// schema is.
    pub async fn begin_schema_changes(
        &self,
        change: TxnId,
        limit: Option<Duration>,
    ) -> Result<SchemaChanges, SqlError> {
        self.serve().await?;
        let base = self.catalog();
        let mut changes = SchemaChanges {
            router: self.clone(),
            change,
            catalog: base.clone(),
            version: base.version,
            next_object: base.next_object,
            used: base.next_object,
            base,
            closed: BTreeSet::new(),
            filled: BTreeSet::new(),
            places: Vec::new(),
            // From here on it is given back, whatever comes.
            held: true,
        };
        self.inner.changing.borrow_mut().insert(change);
        // To wait for it twice is as good as once.
        let wish = Call::BeginChange { change, limit };
        let turn = self.ask_leader(PartitionId::SYSTEM, wish, true).await?;
        let Answer::Turn { version: last, serving } = turn else {
            return Err(SqlError::internal("no answer to a wish to change the schema"));
        };
        changes.places = self.places_of(&serving);
        if !self.peers().is_alone() {
            // What was published may be on its way here still.
            self.adopt_stored().await?;
        }
        changes.base = self.catalog();
        changes.catalog = changes.base.clone();
        changes.version = last.max(changes.base.version);
        changes.next_object = changes.base.next_object;
        changes.used = changes.base.next_object;
        Ok(changes)
    }
}

impl SchemaChanges {
    /// The catalog as the transaction sees it.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The version of the catalog that all others see.
    pub fn version_before(&self) -> CatalogVersion {
        self.base.version
    }

    /// Whether a table was written anew behind the snapshot that the transaction reads.
    pub fn has_filled(&self, tables: &[ObjectId]) -> bool {
        tables.iter().any(|table| self.filled.contains(table))
    }

    /// Whether there is anything to commit.
    pub fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.catalog.is_same_as(&self.base)
    }

    /// Changes the schema for the transaction. Returns what the client is told besides the success.
    ///
    /// # Errors
    /// Those of the statement and of what it does to rows; 55P03 and 40P01 of waiting for those in its
    /// tables; 55006 where the transaction itself reads from one. What is seen is as it was then.
    pub async fn make(
        &mut self,
        ddl: &DdlStatement,
        changing: &Changing<'_>,
    ) -> Result<Vec<SqlError>, SqlError> {
        let before = self.next();
        let change = apply_ddl(&before, ddl, changing.settings, &Outlines)?;
        let told = told(change.notices, change.warnings);
        if change.catalog.version == before.version {
            return Ok(told);
        }
        let touched = touched(&before, &change.catalog);
        require_unused(&before, &touched, ddl, changing.in_use)?;
        self.close_gates(touched, changing).await?;
        self.version = CatalogVersion(self.version.0 + 1);
        let mut catalog = change.catalog;
        catalog.version = self.version;
        let catalog = Arc::new(catalog);
        self.take_ids(&catalog);
        if change.work.iter().any(DdlWork::fills) {
            self.use_ids().await?;
        }
        let participates = !changing.transaction.participants().is_empty();
        let reader = participates.then(|| changing.transaction.reader());
        let look = Look { catalog: &catalog, settings: changing.settings, reader: reader.as_ref() };
        for item in &change.work {
            self.router.work(item, look).await?;
            if changing.has_snapshot {
                self.filled.extend(item.filled());
            }
        }
        self.catalog = catalog;
        Ok(told)
    }

    /// What the next change is made from: the catalog, in which ids that were taken back are used up.
    pub(super) fn next(&self) -> Catalog {
        self.catalog.with_ids_used(self.next_object)
    }

    /// Notes which ids a change has used.
    pub(super) fn take_ids(&mut self, changed: &Catalog) {
        self.next_object = self.next_object.max(changed.next_object);
    }

    /// Stores that the ids which the changes have used are used up, whatever becomes of them: before
    /// something is written under them that the transaction would not take back.
    pub async fn use_ids(&mut self) -> Result<(), SqlError> {
        if self.next_object <= self.used {
            return Ok(());
        }
        let used = ObjectId(self.next_object.0.saturating_add(IDS_AHEAD));
        let base = Arc::new(self.base.with_ids_used(used));
        self.router.store(&difference(&self.base, &base)?, &self.base).await?;
        let call = Call::Publish(Publication::Catalog(base.clone()));
        self.router.tell_serving(&self.places, call, PUBLISH_MAX).await?;
        (self.base, self.used) = (base, used);
        Ok(())
    }

    /// A place to go back to.
    pub fn mark(&self) -> ChangesMark {
        let catalog = self.catalog.clone();
        ChangesMark { catalog, closed: self.closed.clone(), filled: self.filled.clone() }
    }

    /// Goes back to a place, when the transaction has.
    pub async fn go_back(&mut self, mark: &ChangesMark) {
        self.catalog = mark.catalog.clone();
        self.filled.clone_from(&mark.filled);
        let since: Arc<[ObjectId]> = self.closed.difference(&mark.closed).copied().collect();
        if !since.is_empty() {
            // A core that is stopping lets nobody in; one that is not reached asks by itself.
            let open = Call::OpenGates(self.change, since);
            let _told = self.router.peers().ask_all(self.places.clone(), open).await;
            self.closed.clone_from(&mark.closed);
        }
    }

    /// Lets others go on. What was changed is forgotten.
    pub async fn end(self) {
        self.end_as(Ending::Known).await;
    }

    pub(super) async fn end_as(mut self, ending: Ending) {
        // Where it breaks off there is nobody to be told any more.
        let _stopping = self.give_back(ending).await;
    }

    /// Begins to let others go on; the result tells when they can.
    fn give_back(&mut self, ending: Ending) -> oneshot::Receiver<()> {
        self.held = false;
        let (sender, receiver) = oneshot::channel();
        let (router, change, version) = (self.router.clone(), self.change, self.version);
        let places = std::mem::take(&mut self.places);
        let closed: Arc<[ObjectId]> = self.closed.iter().copied().collect();
        let work = async move {
            // A core that is stopping lets nobody in, and with it the node stops. Into tables of which it
            // is not known what they are nobody comes: what is written by the old schema, as rows without
            // the entries of an index that may be there, would not fit the new one.
            let mut in_doubt = ending == Ending::InDoubt;
            if in_doubt && !router.peers().is_alone() {
                router.settle_doubt(change, &places).await;
                in_doubt = false;
            }
            if !in_doubt && !closed.is_empty() {
                // One that is not reached asks by itself.
                let _told = router.peers().ask_all(places, Call::OpenGates(change, closed)).await;
            }
            let end = Call::EndChange { change, version, in_doubt };
            // A keeper that is not reached asks by itself, or has the turn to give anew.
            let _told = router.ask_keeper(end).await;
            router.inner.changing.borrow_mut().remove(&change);
            // Whoever does not wait has no use for it.
            let _gone = sender.send(());
        };
        runtime::task::spawn("end of a schema change", work).detach();
        receiver
    }

    async fn close_gates(
        &mut self,
        tables: Vec<ObjectId>,
        changing: &Changing<'_>,
    ) -> Result<(), SqlError> {
        let new = tables.into_iter().filter(|table| !self.closed.contains(table));
        let tables: Arc<[ObjectId]> = new.collect();
        if tables.is_empty() {
            return Ok(());
        }
        self.closed.extend(tables.iter());
        let most = self.router.inner.options.schema_lock_timeout;
        let limit = changing.lock_timeout.map_or(most, |limit| limit.min(most));
        let (change, by) = (self.change, changing.by);
        let call = Call::CloseGates { change, by, tables, limit };
        let gone = self.router.tell_serving(&self.places, call, limit).await?;
        // They get no new lease while this has the turn.
        self.places.retain(|place| !gone.contains(&place.node));
        Ok(())
    }

    /// What others see when it is committed; `None` where that is what they see.
    pub(super) fn committed(&self) -> Option<Catalog> {
        let changed = !self.catalog.is_same_as(&self.base);
        changed.then(|| self.next())
    }

    /// All cores that statements may run on.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(super) fn base(&self) -> &Catalog {
        &self.base
    }
}

impl Drop for SchemaChanges {
    fn drop(&mut self) {
        if self.held {
            drop(self.give_back(Ending::Known));
        }
    }
}

impl DdlWork {
    /// The table that it writes something of.
    fn filled(&self) -> Option<ObjectId> {
        match self {
            DdlWork::BackfillIndex { table, .. } | DdlWork::Rewrite { table, .. } => Some(*table),
            _ => None,
        }
    }
}

impl Router {
    async fn work(&self, item: &DdlWork, look: Look<'_>) -> Result<(), SqlError> {
        let catalog = look.catalog;
        let table_of = |id: ObjectId| {
            catalog.table(id).ok_or_else(|| SqlError::internal("work on a table that is not there"))
        };
        match item {
            DdlWork::BackfillIndex { table, index } => {
                let table = table_of(*table)?;
                let index = table.indexes.iter().find(|known| known.id == *index);
                let index = index.ok_or_else(|| SqlError::internal("no such index to fill"))?;
                self.backfill(table, index, look.reader).await
            }
            DdlWork::Rewrite { table, from, conversions, indexes } => {
                let becoming = Becoming { table: table_of(*table)?, conversions, catalog };
                self.rewrite(becoming, from, indexes, look.reader).await
            }
            DdlWork::ValidateForeignKey { table, name } => {
                self.validate_foreign_key(table_of(*table)?, name, look).await
            }
            DdlWork::ValidateCheck { table, name } => {
                self.validate_check(table_of(*table)?, name, look).await
            }
            DdlWork::ValidateNotNull { table, column } => {
                self.validate_not_null(table_of(*table)?, *column, look).await
            }
            DdlWork::CheckSequence { sequence } => {
                let sequence = catalog.sequence(*sequence);
                let sequence =
                    sequence.ok_or_else(|| SqlError::internal("no such sequence to check"))?;
                let at = self.sequence_state(sequence).await?.last_value;
                require_within("RESTART", at, sequence.min_value, sequence.max_value)
            }
            // Nothing refers to dropped keys any more, and their ids are never used again.
            DdlWork::DropData { .. } => Ok(()),
        }
    }
}

/// The tables that exist before a change and are different, or gone, after it.
fn touched(before: &Catalog, after: &Catalog) -> Vec<ObjectId> {
    let mut touched = BTreeSet::new();
    for (_, _, relation) in before.all_relations() {
        let same = match relation {
            Relation::Table(table) => after.table(table.id).is_some_and(|next| next == table),
            Relation::View(view) => after
                .all_relations()
                .any(|(_, _, next)| matches!(next, Relation::View(next) if next == view)),
            Relation::Sequence(sequence) => {
                after.sequence(sequence.id).is_some_and(|next| next == sequence)
            }
        };
        if !same {
            touched.insert(relation.id());
        }
    }
    touched.into_iter().collect()
}

/// 55006 for a table that a query of the same transaction is still being read from.
fn require_unused(
    before: &Catalog,
    touched: &[ObjectId],
    ddl: &DdlStatement,
    in_use: &[ObjectId],
) -> Result<(), SqlError> {
    let used = touched.iter().filter(|table| in_use.contains(table));
    let Some(table) = used.filter_map(|table| before.table(*table)).next() else { return Ok(()) };
    Err(SqlError::new(
        SqlState::OBJECT_IN_USE,
        format!(
            "cannot {} \"{}\" because it is being used by active queries in this session",
            ddl.tag(),
            table.name
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_is_the_table() {
        let (table, index) = (ObjectId(7), ObjectId(8));
        assert_eq!(DdlWork::BackfillIndex { table, index }.filled(), Some(table));
        assert_eq!(DdlWork::ValidateNotNull { table, column: 0 }.filled(), None);
    }
}
