//! How what is open begins and ends: blocks, the transactions of texts and requests, sagas.

use super::block::{Decision, Refusal, Standing};
use super::guard::guarded;
use super::run::now_micros;
use super::{Client, Interrupts, Open, Session, Weight};
use crate::router::gates::Pass;
use crate::sql::{Planned, PlannedKind};
use model::error::SqlError;

impl Session {
    /// Carries out what a statement means for what is open. The tag of a statement that is done with
    /// that; `None`: it is still to be run.
    pub(super) async fn change_standing(
        &mut self,
        decision: Decision,
        planned: &Planned,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<Option<String>, SqlError> {
        match decision {
            Decision::Refuse(Refusal::Failed) => return Err(self.failed_block()),
            Decision::Refuse(refusal) => return Err(refusal.to_error()),
            Decision::Warn(warning) => {
                self.tell(Weight::Warning, warning.to_notice(), client);
                self.set_modes(planned, client)?;
            }
            Decision::Begin => {
                self.begin(Standing::Open);
                self.set_modes(planned, client)?;
                self.note_commit_mode(planned);
                if let Err(error) = self.read_as_of(planned).await {
                    self.rollback_open(Standing::Idle).await;
                    return Err(error);
                }
                return Ok(Some("BEGIN".to_owned()));
            }
            Decision::Continue => {
                self.standing = Standing::Open;
                self.set_modes(planned, client)?;
                self.note_commit_mode(planned);
                self.read_as_of(planned).await?;
                return Ok(Some("BEGIN".to_owned()));
            }
            Decision::Leave => {
                self.rollback_open(Standing::Idle).await;
                let is_saga = matches!(&planned.kind, PlannedKind::Saga(_));
                return Ok(Some(if is_saga { "ROLLBACK SAGA" } else { "ROLLBACK" }.to_owned()));
            }
            Decision::Savepoint => match &planned.kind {
                PlannedKind::Savepoint(name) => self.set_savepoint(name)?,
                PlannedKind::Release(name) => self.release_savepoint(name)?,
                _ => return Err(SqlError::internal("no statement about savepoints")),
            },
            Decision::RollbackTo => {
                let PlannedKind::RollbackTo(name) = &planned.kind else {
                    return Err(SqlError::internal("no statement about savepoints"));
                };
                self.roll_back_to(name).await?;
            }
            Decision::Commit(warning) => {
                self.warn(warning, client);
                self.commit_block(client, interrupts).await?;
                return Ok(Some("COMMIT".to_owned()));
            }
            Decision::Rollback(warning) => {
                self.warn(warning, client);
                self.rollback_open(Standing::Idle).await;
                return Ok(Some("ROLLBACK".to_owned()));
            }
            Decision::BeginSaga
            | Decision::CommitSaga
            | Decision::RollbackSaga
            | Decision::OtherSaga => {
                self.change_saga(decision, planned, client, interrupts).await?;
            }
            Decision::BeginImplicit => {
                self.begin(Standing::Implicit);
                return Ok(None);
            }
            Decision::Alone | Decision::Inside => return Ok(None),
        }
        Ok(Some(planned.tag(0)))
    }

    /// `COMMIT`
    async fn commit_block(
        &mut self,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<(), SqlError> {
        // What the commit would do itself, but here it may be interrupted.
        let (presence, timeout) = (self.presence.clone(), self.settings.statement_timeout());
        let held = guarded(self.hold_cursors(), interrupts, &presence, timeout);
        if let Err(error) = held.await {
            self.rollback_open(Standing::Idle).await;
            return Err(error);
        }
        let way = self.way_of_commit();
        self.commit_open().await?;
        if let Some(way) = way {
            self.tell(Weight::Notice, way.to_notice(), client);
        }
        Ok(())
    }

    async fn change_saga(
        &mut self,
        decision: Decision,
        planned: &Planned,
        client: &mut dyn Client,
        interrupts: &dyn Interrupts,
    ) -> Result<(), SqlError> {
        let (presence, timeout) = (self.presence.clone(), self.settings.statement_timeout());
        match decision {
            Decision::BeginSaga => {
                guarded(self.begin_saga(planned), interrupts, &presence, timeout).await
            }
            Decision::CommitSaga => self.commit_saga(planned).await,
            Decision::RollbackSaga => self.rollback_saga(planned, client).await,
            _ => guarded(self.other_saga(planned, client), interrupts, &presence, timeout).await,
        }
    }

    pub(super) fn begin(&mut self, standing: Standing) {
        (self.standing, self.failure) = (standing, None);
        let (transaction, began_micros) = (self.host.router.begin(), now_micros());
        self.presence.enter(transaction.id, began_micros);
        let pass = Pass::of_transaction(self.holder(), transaction.id);
        self.open = Some(Box::new(Open {
            transaction,
            pass,
            began_micros,
            settings_before: None,
            settings_after: None,
            tells_commit: false,
            worked: false,
            kept: None,
            schema: None,
            savepoints: Vec::new(),
        }));
    }

    /// Commits what is open. Whatever comes of it, the session is outside of it afterwards.
    pub(super) async fn commit_open(&mut self) -> Result<(), SqlError> {
        if let Err(error) = self.hold_cursors().await {
            self.rollback_open(Standing::Idle).await;
            return Err(error);
        }
        self.standing = Standing::Idle;
        let Some(open) = self.open.take() else {
            self.portals.end_unheld();
            return Ok(());
        };
        self.presence.withdraw();
        let Open { transaction, pass, settings_before, settings_after, schema, .. } = *open;
        let router = &self.host.router;
        let committed = match schema {
            Some(changes) => router.commit_with_schema(transaction, *changes).await,
            None => router.commit(transaction).await,
        };
        drop(pass);
        match &committed {
            Ok(()) => {
                self.presence.statistics().committed();
                self.portals.committed();
            }
            Err(_) => {
                self.presence.statistics().rolled_back();
                self.portals.end_unheld();
            }
        }
        let left = if committed.is_ok() { settings_after } else { settings_before };
        if let Some(settings) = left {
            self.restore_settings(settings);
        }
        committed
    }

    pub(super) async fn rollback_open(&mut self, standing: Standing) {
        self.standing = standing;
        self.lost_savepoints = false;
        self.portals.end_unheld();
        let Some(open) = self.open.take() else { return };
        self.presence.withdraw();
        self.presence.statistics().rolled_back();
        if let Some(before) = open.settings_before {
            self.restore_settings(before);
        }
        self.host.router.rollback(open.transaction).await;
        if let Some(changes) = open.schema {
            changes.end().await;
        }
    }

    /// A statement has failed: a block has, too. What the client is told of it.
    pub(super) async fn fail(&mut self, error: SqlError) -> SqlError {
        self.presence.statistics().failed(&error);
        match self.standing {
            Standing::Idle => {}
            Standing::Failed => drop(self.failure.get_or_insert_with(|| error.clone())),
            Standing::Implicit | Standing::Open | Standing::Saga => {
                self.failure = Some(error.clone());
            }
        }
        match self.standing {
            Standing::Idle | Standing::Failed => {}
            Standing::Implicit => self.rollback_open(Standing::Idle).await,
            Standing::Open => self.fail_block().await,
            Standing::Saga => return self.fail_saga(error).await,
        }
        error
    }

    /// What a block that has failed answers to everything but its end, with what it has failed of.
    pub(super) fn failed_block(&self) -> SqlError {
        let refused = Refusal::Failed.to_error();
        match &self.failure {
            Some(failure) => refused.detail(format!("The transaction has failed with {failure}.")),
            None => refused,
        }
    }
}
