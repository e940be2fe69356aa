//! Connections shared by threads, and statements sent to the core that owns the row.

use super::Client;
use crate::url::Options;
use crate::{Error, Outcome, Row, Source, Statement};
use model::value::Value;
use net::message::{Placement, TransactionStatus};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long [`Pool::get`] waits for a connection.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Statements whose routing the pool remembers.
const STATEMENTS_MAX: usize = 1024;

/// At most so many connections, to any of a cluster's doors.
pub struct Pool {
    options: Options,
    connections_max: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    /// By address.
    idle: HashMap<String, Vec<Client>>,
    /// Idle and lent.
    connections: usize,
    /// The newest map seen.
    placement: std::sync::Arc<Placement>,
    statements: HashMap<String, Statement>,
}

/// A connection on loan. It goes back when dropped, unless it is lost or left in a transaction.
pub struct Pooled<'p> {
    pool: &'p Pool,
    address: String,
    client: Option<Client>,
}

impl Pool {
    /// A pool that opens connections as they are asked for.
    pub fn new(options: Options, connections_max: usize) -> Pool {
        Pool {
            options,
            connections_max: connections_max.max(1),
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to the pool's own address.
    ///
    /// # Errors
    /// All connections stayed busy for 30 seconds, or no connection can be made.
    pub fn get(&self) -> Result<Pooled<'_>, Error> {
        self.get_at(&self.options.address())
    }

    /// A connection to one of the cluster's doors.
    ///
    /// # Errors
    /// All connections stayed busy for 30 seconds, or no connection can be made.
    pub fn get_at(&self, address: &str) -> Result<Pooled<'_>, Error> {
        let deadline = Instant::now() + WAIT_MAX;
        let mut state = self.state();
        loop {
            if let Some(client) = state.idle.get_mut(address).and_then(Vec::pop) {
                return Ok(self.lend(address, client));
            }
            if state.connections < self.connections_max || close_one_idle(&mut state) {
                state.connections += 1;
                drop(state);
                return self.open(address);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::PoolBusy(WAIT_MAX));
            }
            let waited = self.returned.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Opens a connection that has been counted already.
    fn open(&self, address: &str) -> Result<Pooled<'_>, Error> {
        let options = self.options.at(address).unwrap_or_else(|| self.options.clone());
        match Client::open(options) {
            Ok(client) => {
                let mut state = self.state();
                if client.placement().version > state.placement.version {
                    state.placement = client.placement().clone();
                }
                Ok(self.lend(address, client))
            }
            Err(error) => {
                self.state().connections -= 1;
                self.returned.notify_one();
                Err(error)
            }
        }
    }

    fn lend(&self, address: &str, client: Client) -> Pooled<'_> {
        Pooled { pool: self, address: address.to_owned(), client: Some(client) }
    }

    /// Runs one statement, outside any transaction, on the core that owns its row where it names
    /// one.
    ///
    /// # Errors
    /// It failed, or there is no connection.
    pub fn outcome<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Outcome, Error> {
        let source = source.into();
        let statement = match source {
            Source::Prepared(statement) => statement.clone(),
            Source::Text(text) => self.prepare(text)?,
        };
        let placement = self.state().placement.clone();
        let mut client = match statement.owner(parameters, &placement) {
            // A door that does not open is no reason to fail: any core answers.
            Some(owner) => self.get_at(owner).or_else(|_| self.get())?,
            None => self.get()?,
        };
        client.outcome(&statement, parameters)
    }

    /// The rows of one statement, as [`Pool::outcome`].
    ///
    /// # Errors
    /// It failed, or there is no connection.
    pub fn query<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        Ok(self.outcome(source, parameters)?.rows)
    }

    /// Runs one statement, as [`Pool::outcome`]; returns how many rows it changed or returned.
    ///
    /// # Errors
    /// It failed, or there is no connection.
    pub fn execute<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        Ok(self.outcome(source, parameters)?.affected)
    }

    /// Prepares a statement once for the pool.
    ///
    /// # Errors
    /// The statement makes no sense to the server, or there is no connection.
    pub fn prepare(&self, text: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.state().statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.get()?.prepare(text)?;
        let mut state = self.state();
        if state.statements.len() >= STATEMENTS_MAX {
            state.statements.clear();
        }
        state.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// Makes room for a connection elsewhere.
fn close_one_idle(state: &mut State) -> bool {
    let closed = state.idle.values_mut().find_map(Vec::pop);
    if closed.is_some() {
        state.connections -= 1;
    }
    closed.is_some()
}

impl Deref for Pooled<'_> {
    type Target = Client;
    fn deref(&self) -> &Client {
        self.client.as_ref().expect("there until dropped")
    }
}

impl DerefMut for Pooled<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("there until dropped")
    }
}

impl Drop for Pooled<'_> {
    fn drop(&mut self) {
        let client = self
            .client
            .take()
            .filter(|client| client.is_usable() && client.transaction() == TransactionStatus::Idle);
        let mut state = self.pool.state();
        match client {
            Some(client) => {
                if client.placement().version > state.placement.version {
                    state.placement = client.placement().clone();
                }
                match state.idle.get_mut(&self.address) {
                    Some(idle) => idle.push(client),
                    None => {
                        state.idle.insert(self.address.clone(), vec![client]);
                    }
                }
            }
            None => state.connections -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
