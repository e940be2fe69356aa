//! Where a session stands between statements: PostgreSQL's transaction blocks.
//!
//! ```text
//!                 BEGIN                        error
//!      Idle ───────────────► Open ───────────────────────► Failed
//!       │ ▲  COMMIT, ROLLBACK │                               │
//!       │ └───────────────────┴──────── COMMIT, ROLLBACK ─────┘
//!       │ several statements in one text          (both roll back)
//!       └──────────────► Implicit ── end of the text ──► Idle
//!                            └────── BEGIN ──► Open
//! ```
//!
//! `ROLLBACK TO` leads from Failed back to Open, where the block has set a savepoint.
//!
//! ```text
//!       BEGIN SAGA            error (and the saga is compensated)
//!  Idle ──────────► Saga ───────────────────────────────► Failed
//! ```
//!
//! `COMMIT` and `ROLLBACK`, with `SAGA` behind them or not, lead from both back to Idle.
//!
//! The decisions are here, as a pure function of where the session stands and what comes; the
//! session carries them out.

use model::error::{SqlError, SqlState};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// Outside of any block: a statement is a transaction of its own.
    #[default]
    Idle,
    /// Between the statements of one text: they are one transaction unless they say otherwise.
    Implicit,
    /// Inside a block.
    Open,
    /// Inside a saga: its steps are transactions of their own, and so is all else.
    Saga,
    /// Inside a block or saga that has failed: only its end is possible, or a way back to a savepoint.
    Failed,
}

impl Standing {
    /// Whether something has begun that the client is to end.
    pub fn in_block(self) -> bool {
        matches!(self, Standing::Open | Standing::Saga | Standing::Failed)
    }
}

/// What a statement is, as far as blocks are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// `BEGIN`
    Begin,
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`
    Rollback,
    /// `SAVEPOINT`, `RELEASE`: what names a savepoint.
    Savepoint(&'static str),
    /// `ROLLBACK TO`
    RollbackTo,
    /// `BEGIN SAGA`
    BeginSaga,
    /// `STEP`
    PartOfSaga,
    /// `COMMIT SAGA`; of another saga than the session's where it names one.
    CommitSaga {
        /// Whether it names one.
        named: bool,
    },
    /// `ROLLBACK SAGA`
    RollbackSaga {
        /// Whether it names one.
        named: bool,
    },
    /// A schema change.
    SchemaChange {
        /// Its name, where it stands by itself: `CREATE DATABASE`.
        by_itself: Option<&'static str>,
        /// Whether it shares its text.
        more: bool,
    },
    /// A statement of that name that stands by itself: `VACUUM`, `DISCARD ALL`. `more`: other
    /// statements share its text.
    ByItself {
        /// Its name.
        name: &'static str,
        /// Whether it shares its text.
        more: bool,
    },
    /// A statement of that name that is of use in a transaction only: `DECLARE`.
    InTransaction {
        /// Its name.
        name: &'static str,
        /// Whether it shares its text.
        more: bool,
    },
    /// Anything else. `more`: other statements of the same text stand before or after it.
    Work {
        /// Whether it shares its text.
        more: bool,
    },
}

/// What the session is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Begin a transaction and stay inside it.
    Begin,
    /// Go on in the transaction that is open, which is a block from here on.
    Continue,
    /// Nothing but the warning.
    Warn(Warning),
    /// Commit what is open, with a warning where it was no block.
    Commit(Option<Warning>),
    /// Roll back what is open.
    Rollback(Option<Warning>),
    /// Leave a failed block.
    Leave,
    /// Set or release a savepoint.
    Savepoint,
    /// Go back to a savepoint, out of failure where the block has failed.
    RollbackTo,
    /// Run the statement as a transaction of its own.
    Alone,
    /// Begin an implicit transaction and run the statement in it.
    BeginImplicit,
    /// Run the statement in the transaction that is open.
    Inside,
    /// Begin a saga.
    BeginSaga,
    /// Commit the session's saga.
    CommitSaga,
    /// Compensate the session's saga.
    RollbackSaga,
    /// Find out what has become of a saga that is not the session's.
    OtherSaga,
    /// Refuse.
    Refuse(Refusal),
}

/// Not an error, but probably not what was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Warning {
    /// `BEGIN` inside a block.
    AlreadyOpen,
    /// `COMMIT` or `ROLLBACK` outside.
    NoneOpen,
    /// `COMMIT SAGA` or `ROLLBACK SAGA` outside.
    NoSagaOpen,
    /// `SET LOCAL` outside, where it has no effect.
    LocalOutside,
    /// `SET TRANSACTION` outside, too.
    ModesOutside,
}

/// Why a statement has no place here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The block has failed.
    Failed,
    /// The statement of that name stands by itself, and this is inside a block.
    Inside(&'static str),
    /// The statement of that name needs a block, and there is none.
    Outside(&'static str),
    /// The statement of that name has no place in a saga.
    InSaga(&'static str),
    /// The statement of that name needs a saga, and there is none.
    OutsideSaga(&'static str),
}

/// What to do with a statement.
pub(super) fn decide(standing: Standing, step: Step) -> Decision {
    match (standing, step) {
        (Standing::Saga, step) => decide_in_saga(step),
        (Standing::Idle, Step::BeginSaga) => Decision::BeginSaga,
        (Standing::Implicit | Standing::Open, Step::BeginSaga) => {
            Decision::Refuse(Refusal::Inside("BEGIN SAGA"))
        }
        (Standing::Failed, Step::CommitSaga { .. } | Step::RollbackSaga { .. }) => Decision::Leave,
        (Standing::Idle, Step::CommitSaga { named } | Step::RollbackSaga { named }) => {
            match named {
                true => Decision::OtherSaga,
                false => Decision::Warn(Warning::NoSagaOpen),
            }
        }
        (Standing::Implicit | Standing::Open, Step::CommitSaga { .. }) => {
            Decision::Refuse(Refusal::Inside("COMMIT SAGA"))
        }
        (Standing::Implicit | Standing::Open, Step::RollbackSaga { .. }) => {
            Decision::Refuse(Refusal::Inside("ROLLBACK SAGA"))
        }
        (Standing::Idle | Standing::Implicit | Standing::Open, Step::PartOfSaga) => {
            Decision::Refuse(Refusal::OutsideSaga("STEP"))
        }
        (Standing::Idle, Step::Begin) => Decision::Begin,
        (Standing::Implicit, Step::Begin) => Decision::Continue,
        (Standing::Open, Step::Begin) => Decision::Warn(Warning::AlreadyOpen),
        (Standing::Idle, Step::Commit | Step::Rollback) => Decision::Warn(Warning::NoneOpen),
        (Standing::Implicit, Step::Commit) => Decision::Commit(Some(Warning::NoneOpen)),
        (Standing::Implicit, Step::Rollback) => Decision::Rollback(Some(Warning::NoneOpen)),
        (Standing::Open, Step::Commit) => Decision::Commit(None),
        (Standing::Open, Step::Rollback) => Decision::Rollback(None),
        (Standing::Failed, Step::Commit | Step::Rollback) => Decision::Leave,
        (Standing::Open | Standing::Failed, Step::RollbackTo) => Decision::RollbackTo,
        (Standing::Failed, _) => Decision::Refuse(Refusal::Failed),
        (Standing::Open, Step::Savepoint(_)) => Decision::Savepoint,
        (_, Step::Savepoint(name)) => Decision::Refuse(Refusal::Outside(name)),
        (_, Step::RollbackTo) => Decision::Refuse(Refusal::Outside("ROLLBACK TO SAVEPOINT")),
        (Standing::Idle, Step::SchemaChange { by_itself: None, .. })
        | (Standing::Idle, Step::SchemaChange { more: false, .. }) => Decision::BeginImplicit,
        (_, Step::SchemaChange { by_itself: Some(name), .. }) => {
            Decision::Refuse(Refusal::Inside(name))
        }
        (_, Step::SchemaChange { by_itself: None, .. }) => Decision::Inside,
        (Standing::Idle, Step::ByItself { more: false, .. }) => Decision::Alone,
        (_, Step::ByItself { name, .. }) => Decision::Refuse(Refusal::Inside(name)),
        (Standing::Idle, Step::InTransaction { name, more: false }) => {
            Decision::Refuse(Refusal::Outside(name))
        }
        (Standing::Idle, Step::Work { more: false }) => Decision::Alone,
        (Standing::Idle, Step::Work { more: true } | Step::InTransaction { more: true, .. }) => {
            Decision::BeginImplicit
        }
        (Standing::Implicit | Standing::Open, Step::Work { .. } | Step::InTransaction { .. }) => {
            Decision::Inside
        }
    }
}

/// The same, in a saga.
fn decide_in_saga(step: Step) -> Decision {
    match step {
        Step::Commit | Step::CommitSaga { .. } => Decision::CommitSaga,
        Step::Rollback | Step::RollbackSaga { .. } => Decision::RollbackSaga,
        Step::PartOfSaga => Decision::Inside,
        Step::Work { .. } => Decision::Alone,
        Step::Begin => Decision::Refuse(Refusal::InSaga("BEGIN")),
        Step::BeginSaga => Decision::Refuse(Refusal::InSaga("BEGIN SAGA")),
        Step::RollbackTo => Decision::Refuse(Refusal::InSaga("ROLLBACK TO SAVEPOINT")),
        Step::SchemaChange { .. } => Decision::Refuse(Refusal::InSaga("a schema change")),
        Step::Savepoint(name) | Step::ByItself { name, .. } | Step::InTransaction { name, .. } => {
            Decision::Refuse(Refusal::InSaga(name))
        }
    }
}

impl Warning {
    pub(super) fn to_notice(self) -> SqlError {
        match self {
            Warning::AlreadyOpen => SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "there is already a transaction in progress",
            ),
            Warning::NoneOpen => SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "there is no transaction in progress",
            ),
            Warning::NoSagaOpen => {
                SqlError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no saga in progress")
            }
            Warning::LocalOutside => SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            ),
            Warning::ModesOutside => SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION can only be used in transaction blocks",
            ),
        }
    }
}

impl Refusal {
    pub(super) fn to_error(self) -> SqlError {
        match self {
            Refusal::Failed => SqlError::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ),
            Refusal::Inside(name) => SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{name} cannot run inside a transaction block"),
            ),
            Refusal::Outside(name) => SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                format!("{name} can only be used in transaction blocks"),
            ),
            Refusal::InSaga(name) => SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{name} cannot run inside a saga"),
            ),
            Refusal::OutsideSaga(name) => SqlError::new(
                SqlState::NO_ACTIVE_SQL_TRANSACTION,
                format!("{name} can only be used in sagas"),
            )
            .hint("Begin one with BEGIN SAGA."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Failed, Idle, Implicit, Open, Saga};
    use Step::{Begin, BeginSaga, Commit, PartOfSaga, Rollback, RollbackTo};

    const ALONE: Step = Step::Work { more: false };
    const AMONG: Step = Step::Work { more: true };
    const CHANGE: Step = Step::SchemaChange { by_itself: None, more: false };
    const CHANGE_AMONG: Step = Step::SchemaChange { by_itself: None, more: true };
    const DATABASE: Step = Step::SchemaChange { by_itself: Some("CREATE DATABASE"), more: false };
    const DATABASE_AMONG: Step =
        Step::SchemaChange { by_itself: Some("CREATE DATABASE"), more: true };
    const SAVEPOINT: Step = Step::Savepoint("SAVEPOINT");
    const VACUUM: Step = Step::ByItself { name: "VACUUM", more: false };
    const DECLARE: Step = Step::InTransaction { name: "DECLARE CURSOR", more: false };
    const DECLARE_AMONG: Step = Step::InTransaction { name: "DECLARE CURSOR", more: true };
    const COMMIT_SAGA: Step = Step::CommitSaga { named: false };
    const COMMIT_NAMED: Step = Step::CommitSaga { named: true };
    const ROLLBACK_SAGA: Step = Step::RollbackSaga { named: false };
    const VACUUM_AMONG: Step = Step::ByItself { name: "VACUUM", more: true };

    #[test]
    fn every_statement_has_its_place() {
        let table = [
            (Idle, Begin, Decision::Begin),
            (Idle, Commit, Decision::Warn(Warning::NoneOpen)),
            (Idle, Rollback, Decision::Warn(Warning::NoneOpen)),
            (Idle, CHANGE, Decision::BeginImplicit),
            (Idle, CHANGE_AMONG, Decision::BeginImplicit),
            (Idle, DATABASE, Decision::BeginImplicit),
            (Idle, DATABASE_AMONG, Decision::Refuse(Refusal::Inside("CREATE DATABASE"))),
            (Idle, ALONE, Decision::Alone),
            (Idle, AMONG, Decision::BeginImplicit),
            (Implicit, Begin, Decision::Continue),
            (Implicit, Commit, Decision::Commit(Some(Warning::NoneOpen))),
            (Implicit, Rollback, Decision::Rollback(Some(Warning::NoneOpen))),
            (Implicit, CHANGE_AMONG, Decision::Inside),
            (Implicit, DATABASE, Decision::Refuse(Refusal::Inside("CREATE DATABASE"))),
            (Implicit, AMONG, Decision::Inside),
            (Open, Begin, Decision::Warn(Warning::AlreadyOpen)),
            (Open, Commit, Decision::Commit(None)),
            (Open, Rollback, Decision::Rollback(None)),
            (Open, CHANGE, Decision::Inside),
            (Open, DATABASE, Decision::Refuse(Refusal::Inside("CREATE DATABASE"))),
            (Open, ALONE, Decision::Inside),
            (Open, AMONG, Decision::Inside),
            (Failed, Begin, Decision::Refuse(Refusal::Failed)),
            (Failed, Commit, Decision::Leave),
            (Failed, Rollback, Decision::Leave),
            (Failed, CHANGE, Decision::Refuse(Refusal::Failed)),
            (Failed, ALONE, Decision::Refuse(Refusal::Failed)),
            (Idle, VACUUM, Decision::Alone),
            (Idle, VACUUM_AMONG, Decision::Refuse(Refusal::Inside("VACUUM"))),
            (Implicit, VACUUM_AMONG, Decision::Refuse(Refusal::Inside("VACUUM"))),
            (Open, VACUUM, Decision::Refuse(Refusal::Inside("VACUUM"))),
            (Idle, SAVEPOINT, Decision::Refuse(Refusal::Outside("SAVEPOINT"))),
            (Implicit, SAVEPOINT, Decision::Refuse(Refusal::Outside("SAVEPOINT"))),
            (Open, SAVEPOINT, Decision::Savepoint),
            (Failed, SAVEPOINT, Decision::Refuse(Refusal::Failed)),
            (Idle, RollbackTo, Decision::Refuse(Refusal::Outside("ROLLBACK TO SAVEPOINT"))),
            (Implicit, RollbackTo, Decision::Refuse(Refusal::Outside("ROLLBACK TO SAVEPOINT"))),
            (Open, RollbackTo, Decision::RollbackTo),
            (Failed, RollbackTo, Decision::RollbackTo),
            (Idle, DECLARE, Decision::Refuse(Refusal::Outside("DECLARE CURSOR"))),
            (Idle, DECLARE_AMONG, Decision::BeginImplicit),
            (Implicit, DECLARE_AMONG, Decision::Inside),
            (Open, DECLARE, Decision::Inside),
            (Failed, DECLARE, Decision::Refuse(Refusal::Failed)),
            (Failed, VACUUM, Decision::Refuse(Refusal::Failed)),
            (Idle, BeginSaga, Decision::BeginSaga),
            (Implicit, BeginSaga, Decision::Refuse(Refusal::Inside("BEGIN SAGA"))),
            (Open, BeginSaga, Decision::Refuse(Refusal::Inside("BEGIN SAGA"))),
            (Saga, BeginSaga, Decision::Refuse(Refusal::InSaga("BEGIN SAGA"))),
            (Failed, BeginSaga, Decision::Refuse(Refusal::Failed)),
            (Idle, PartOfSaga, Decision::Refuse(Refusal::OutsideSaga("STEP"))),
            (Open, PartOfSaga, Decision::Refuse(Refusal::OutsideSaga("STEP"))),
            (Saga, PartOfSaga, Decision::Inside),
            (Failed, PartOfSaga, Decision::Refuse(Refusal::Failed)),
            (Idle, COMMIT_SAGA, Decision::Warn(Warning::NoSagaOpen)),
            (Idle, COMMIT_NAMED, Decision::OtherSaga),
            (Idle, ROLLBACK_SAGA, Decision::Warn(Warning::NoSagaOpen)),
            (Open, COMMIT_SAGA, Decision::Refuse(Refusal::Inside("COMMIT SAGA"))),
            (Implicit, ROLLBACK_SAGA, Decision::Refuse(Refusal::Inside("ROLLBACK SAGA"))),
            (Saga, COMMIT_SAGA, Decision::CommitSaga),
            (Saga, Commit, Decision::CommitSaga),
            (Saga, ROLLBACK_SAGA, Decision::RollbackSaga),
            (Saga, Rollback, Decision::RollbackSaga),
            (Failed, COMMIT_SAGA, Decision::Leave),
            (Failed, ROLLBACK_SAGA, Decision::Leave),
            (Saga, ALONE, Decision::Alone),
            (Saga, AMONG, Decision::Alone),
            (Saga, Begin, Decision::Refuse(Refusal::InSaga("BEGIN"))),
            (Saga, CHANGE, Decision::Refuse(Refusal::InSaga("a schema change"))),
            (Saga, SAVEPOINT, Decision::Refuse(Refusal::InSaga("SAVEPOINT"))),
            (Saga, VACUUM, Decision::Refuse(Refusal::InSaga("VACUUM"))),
            (Saga, DECLARE, Decision::Refuse(Refusal::InSaga("DECLARE CURSOR"))),
        ];
        for (standing, step, expected) in table {
            assert_eq!(decide(standing, step), expected, "{step:?} while {standing:?}");
        }
    }
}
