//! A client proves who it is: SCRAM-SHA-256 in PostgreSQL's messages.
//!
//! ```text
//!   AuthenticationSASL: SCRAM-SHA-256 ──────────────────────►
//!   ◄── SASLInitialResponse: the mechanism, the client's first message
//!   AuthenticationSASLContinue: the server's first message ──►
//!   ◄── SASLResponse: the client's last message
//!   AuthenticationSASLFinal: the server's last message ──────►  and what follows a log-in
//! ```
//!
//! All of it is within the time of the start-up, and no message is longer than
//! [`Limits::proof_bytes_max`](super::Limits::proof_bytes_max).

use super::Door;
use super::answer::Ends;
use super::inlet::Ended;
use super::wire::backend;
use super::wire::frontend::{Message, sasl_initial};
use super::wire::startup::Startup;
use crate::session::Session;
use crate::session::admission::Applicant;
use bytes::Bytes;
use model::error::{SqlError, SqlState};
use net::scram::{self, MECHANISM, ScramError, ServerAction};
use runtime::time::{self, Instant};
use std::net::SocketAddr;

/// What a client says of itself, and what is known of its connection.
pub(super) struct Claim<'a> {
    pub(super) startup: &'a Startup,
    pub(super) peer: SocketAddr,
    pub(super) encrypted: bool,
    /// When it connected.
    pub(super) began: Instant,
}

/// It is not let in: what it is told, where it may still listen.
pub(super) struct Refused(pub(super) Option<SqlError>);

impl From<SqlError> for Refused {
    fn from(error: SqlError) -> Refused {
        Refused(Some(error))
    }
}

impl From<Ended> for Refused {
    fn from(ended: Ended) -> Refused {
        Refused(ended.farewell())
    }
}

/// Opens the session that the start-up packet asks for.
pub(super) async fn admit(door: &Door, claim: &Claim<'_>, ends: &Ends) -> Result<Session, Refused> {
    let startup = claim.startup;
    let user = startup.parameter("user").filter(|user| !user.is_empty()).ok_or_else(|| {
        SqlError::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet",
        )
    })?;
    let database = startup.parameter("database").filter(|name| !name.is_empty()).unwrap_or(user);
    let Claim { peer, encrypted, .. } = *claim;
    let applicant = Applicant { user, database, peer, encrypted };
    let refusal = match enter(door, claim, &applicant, ends).await {
        Ok(session) => return Ok(session),
        Err(Failure::Refused(refusal)) => refusal,
        Err(Failure::Ended(ended)) => return Err(ended.into()),
    };
    door.host.refuse(&applicant, &refusal).await;
    Err(refusal.into())
}

/// Why there is no session.
enum Failure {
    Refused(SqlError),
    Ended(Ended),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Failure {
        Failure::Refused(error)
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Failure {
        Failure::Ended(ended)
    }
}

async fn enter(
    door: &Door,
    claim: &Claim<'_>,
    applicant: &Applicant<'_>,
    ends: &Ends,
) -> Result<Session, Failure> {
    let mut entry = door.host.knock(applicant)?;
    if let Some(proof) = entry.proof() {
        match prove(door, claim.began, proof, ends).await? {
            Ok(()) => {}
            Err(ScramError::WrongPassword) => return Err(entry.not_proved().into()),
            Err(error) => {
                return Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, error.to_string()).into());
            }
        }
    }
    Ok(door.host.open(&entry)?)
}

async fn prove(
    door: &Door,
    began: Instant,
    proof: &mut scram::Server,
    ends: &Ends,
) -> Result<Result<(), ScramError>, Failure> {
    tell(ends, |out| backend::authentication_sasl(out, &[MECHANISM]));
    let (mechanism, first) = sasl_initial(answer(door, began, ends).await?).map_err(Ended::from)?;
    if &*mechanism != MECHANISM {
        let message = "client selected an invalid SASL authentication mechanism";
        return Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message).into());
    }
    let challenge = match proof.step(&first) {
        Ok(ServerAction::Continue(challenge)) => challenge,
        Ok(ServerAction::Done(_)) => unreachable!("one message proves nothing"),
        Err(error) => return Ok(Err(error)),
    };
    tell(ends, |out| backend::authentication_sasl_continue(out, &challenge));
    let last = answer(door, began, ends).await?;
    match proof.step(&last) {
        Ok(ServerAction::Done(signature)) => {
            tell(ends, |out| backend::authentication_sasl_final(out, &signature));
            Ok(Ok(()))
        }
        Ok(ServerAction::Continue(_)) => unreachable!("two messages are the whole exchange"),
        Err(error) => Ok(Err(error)),
    }
}

fn tell(ends: &Ends, write: impl FnOnce(&mut bytes::BytesMut)) {
    // One who is gone is noticed when it does not answer.
    let _gone = ends.outlet.queue(write);
    ends.outlet.flush();
}

/// The client's answer, in the time that is left of the start-up.
async fn answer(door: &Door, began: Instant, ends: &Ends) -> Result<Bytes, Failure> {
    let limit = door.limits.startup_timeout;
    let left = limit.saturating_sub(began.elapsed());
    match time::timeout(left, ends.inlet.next()).await {
        Err(_elapsed) => Err(Ended::Timeout(limit).into()),
        Ok(Ok(Message::Password(answer))) => Ok(answer),
        // A client that has no password goes away to ask for one.
        Ok(Ok(Message::Terminate)) => Err(Ended::Closed.into()),
        Ok(Ok(_)) => {
            let message = "expected SASL response, got another message";
            Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message).into())
        }
        Ok(Err(ended)) => Err(ended.into()),
    }
}
