//! Who is let in: from a connection's claims to a session.
//!
//! ```text
//!  Applicant ──► the first rule that fits ──► trust ─────────────────────────► Entry ──► Session
//!                        │                    scram ──► the door's exchange ─────┘
//!                        └ none, reject ──► 28000             └ failed ──► 28P01, after a while
//! ```
//!
//! The rules are the configuration's ([`config::authentication`]), roles and verifiers the
//! catalog's. A role that does not exist, has no password or has one that is no longer valid gets
//! the same exchange as any other, and the same refusal. A refused client is told after
//! [`REFUSAL_DELAY`], in which its connection does nothing; [`DELAYED_MAX`] at one time wait on a
//! core, more are told at once.

use super::seats::{RoleSeat, RoleSeats};
use super::{DEFAULT_USER, Host, Session};
use crate::catalog::privileges::Privileges;
use crate::catalog::roles::Role;
use crate::catalog::{Catalog, DEFAULT_DATABASE};
use config::authentication::{AuthenticationMethod, AuthenticationRule, Connection};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use net::scram::{self, Verifier};
use runtime::{random, time};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a refused client waits for the refusal.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);
/// Refused clients that a core lets wait at one time.
const DELAYED_MAX: u32 = 256;
/// Most bytes of a name that the log shows.
const LOGGED_NAME_BYTES: usize = 64;
/// Most bytes of a refusal, which names what the client chose, that the log shows.
const LOGGED_REASON_BYTES: usize = 256;

/// What a connection claims to be.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// The user; empty is the default.
    pub user: &'a str,
    /// The database; empty is the default.
    pub database: &'a str,
    /// Where it is.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

/// How a core lets clients in.
#[derive(Debug, Clone)]
pub struct AdmissionOptions {
    /// The first that fits decides.
    pub rules: Arc<[AuthenticationRule]>,
    /// What salts of users without a password are derived from, as long as the catalog holds
    /// nothing for that.
    pub salts: [u8; 32],
    /// The node's sessions by role.
    pub seats: RoleSeats,
}

/// The gate of a core.
pub(super) struct Gate {
    options: AdmissionOptions,
    delayed: Cell<u32>,
}

impl Gate {
    pub(super) fn new(options: AdmissionOptions) -> Gate {
        Gate { options, delayed: Cell::new(0) }
    }
}

/// A client on its way in.
pub struct Entry {
    user: String,
    database: String,
    client: SocketAddr,
    proof: Option<scram::Server>,
}

impl Entry {
    /// The exchange that the client has to go through first, if it has to.
    pub fn proof(&mut self) -> Option<&mut scram::Server> {
        self.proof.as_mut()
    }

    /// Why a client that did not prove itself is refused.
    pub fn not_proved(&self) -> SqlError {
        SqlError::new(
            SqlState::INVALID_PASSWORD,
            format!("password authentication failed for user \"{}\"", self.user),
        )
    }
}

impl Host {
    /// Looks at who wants to come in.
    ///
    /// # Errors
    /// 28000 where no rule lets it.
    pub fn knock(&self, applicant: &Applicant<'_>) -> Result<Entry, SqlError> {
        let named = |name: &str, default: &str| match name {
            "" => default.to_owned(),
            name => name.to_owned(),
        };
        let user = named(applicant.user, DEFAULT_USER);
        let database = named(applicant.database, DEFAULT_DATABASE);
        let catalog = self.router.catalog();
        let role = catalog.roles().named(&user);
        let connection = Connection {
            user: &user,
            database: &database,
            address: applicant.peer.ip(),
            encrypted: applicant.encrypted,
        };
        let is_member = |of: &str| match (role, catalog.roles().named(of)) {
            // Superusers are members of what they were made members of only, as in PostgreSQL.
            (Some(role), Some(of)) => catalog.roles().is_real_member(role.id, of.id),
            _ => false,
        };
        let mut rules = self.gate.options.rules.iter();
        let rule = rules.find(|rule| rule.fits(&connection, is_member));
        let proves = match rule.map(|rule| rule.method) {
            None => return Err(no_entry("no authentication rule for", &connection)),
            Some(AuthenticationMethod::Reject) => {
                return Err(no_entry("an authentication rule rejects", &connection));
            }
            Some(AuthenticationMethod::Trust) => false,
            Some(AuthenticationMethod::ScramSha256) => true,
            // Who does not exist has no password either, and is not told apart from who has one.
            Some(AuthenticationMethod::ScramIfSet) => {
                role.is_none_or(|role| role.definition.verifier.is_some())
            }
        };
        let proof = proves.then(|| self.proof(&catalog, role, &user));
        Ok(Entry { user, database, client: applicant.peer, proof })
    }

    fn proof(&self, catalog: &Catalog, role: Option<&Arc<Role>>, user: &str) -> scram::Server {
        let mut nonce = [0; scram::NONCE_BYTES];
        random::fill_secret(&mut nonce);
        let now = super::run::now_micros();
        let verifier = role
            .map(|role| &role.definition)
            .filter(|role| role.valid_until.is_none_or(|until| now < until))
            .and_then(|role| Verifier::parse(&role.verifier.as_ref()?.0));
        match verifier {
            Some(verifier) => scram::Server::new(verifier, nonce),
            None => {
                let salts = catalog.salt_secret().unwrap_or(&self.gate.options.salts);
                scram::Server::mock(salts, user, nonce)
            }
        }
    }

    /// Notes that a client is refused, and holds its refusal back for a while.
    pub async fn refuse(&self, applicant: &Applicant<'_>, refusal: &SqlError) {
        let user = shortened(applicant.user, LOGGED_NAME_BYTES);
        let address = applicant.peer.ip().to_canonical().to_string();
        let reason = refusal.to_string();
        let reason = shortened(&reason, LOGGED_REASON_BYTES);
        log::warn!(user = user, address = address; "a client is refused: {reason}");
        let delayed = &self.gate.delayed;
        if delayed.get() < DELAYED_MAX {
            delayed.set(delayed.get() + 1);
            let _counted = Delayed(delayed);
            time::sleep(REFUSAL_DELAY).await;
        }
    }

    /// Whom a session is for that begins now, and its place among the role's sessions.
    pub(super) fn let_in(&self, entry: &Entry) -> Result<Admitted, SqlError> {
        let catalog = self.router.catalog();
        let user = &entry.user;
        let refused = |message: String| {
            Err(SqlError::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message))
        };
        let Some(role) = catalog.roles().named(user) else {
            return refused(format!("role \"{user}\" does not exist"));
        };
        if !role.definition.login {
            return refused(format!("role \"{user}\" is not permitted to log in"));
        }
        let limit = role.definition.connection_limit.filter(|_| !role.definition.superuser);
        let Some(seat) = self.gate.options.seats.take(role.id, limit) else {
            return Err(SqlError::new(
                SqlState::TOO_MANY_CONNECTIONS,
                format!("too many connections for role \"{user}\""),
            ));
        };
        let name = &entry.database;
        let Some(database) = catalog.database(name) else {
            return Err(SqlError::new(
                SqlState::INVALID_CATALOG_NAME,
                format!("database \"{name}\" does not exist"),
            ));
        };
        if !catalog.may(role.id, database.id, Privileges::CONNECT) {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for database \"{name}\""),
            )
            .detail("User does not have CONNECT privilege."));
        }
        Ok(Admitted {
            role: role.id,
            user: user.clone(),
            database: entry.database.clone(),
            client: entry.client,
            seat,
        })
    }

    /// Opens the session of a client that has proved what it had to.
    ///
    /// # Errors
    /// 28000 for a role that may not log in, 53300 where it has too many sessions, 3D000 for an
    /// unknown database.
    pub fn open(self: &Rc<Host>, entry: &Entry) -> Result<Session, SqlError> {
        Session::new(self, self.let_in(entry)?)
    }
}

/// A session's role and its place.
pub(super) struct Admitted {
    pub(super) role: ObjectId,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) client: SocketAddr,
    pub(super) seat: RoleSeat,
}

/// Counts a client whose refusal is held back; it may go away in the meantime.
struct Delayed<'a>(&'a Cell<u32>);

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn no_entry(what: &str, connection: &Connection<'_>) -> SqlError {
    let Connection { user, database, address, encrypted } = connection;
    let host = address.to_canonical();
    let encryption = if *encrypted { "SSL encryption" } else { "no encryption" };
    SqlError::new(
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        format!("{what} host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"),
    )
}

/// What a stranger may have chosen, as the log shows it.
fn shortened(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
