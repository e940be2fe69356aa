//! Connections shared by tasks, and statements sent to the core that owns the row.

use super::Client;
use crate::url::Options;
use crate::{Error, Outcome, Row, Source, Statement};
use async_io::Timer;
use async_lock::{Semaphore, SemaphoreGuardArc};
use futures_lite::future;
use model::value::Value;
use net::message::{Placement, TransactionStatus};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long [`Pool::get`] waits for a connection.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Statements whose routing the pool remembers.
const STATEMENTS_MAX: usize = 1024;

/// At most so many connections on loan at once, to any of a cluster's doors, and as many idle.
/// Cloning gives another handle on the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    connections_max: usize,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By address.
    idle: HashMap<String, Vec<Client>>,
    idle_count: usize,
    /// The newest map seen.
    placement: Arc<Placement>,
    statements: HashMap<String, Statement>,
}

/// A connection on loan. It goes back when dropped, unless it is lost, busy or left in a
/// transaction.
pub struct Pooled {
    pool: Pool,
    address: String,
    client: Client,
    _permit: SemaphoreGuardArc,
}

impl Pool {
    /// A pool that opens connections as they are asked for.
    pub fn new(options: Options, connections_max: usize) -> Pool {
        let connections_max = connections_max.max(1);
        let permits = Arc::new(Semaphore::new(connections_max));
        let state = Mutex::default();
        Pool { shared: Arc::new(Shared { options, connections_max, permits, state }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to the pool's own address.
    ///
    /// # Errors
    /// All connections stayed busy for 30 seconds, or no connection can be made.
    pub async fn get(&self) -> Result<Pooled, Error> {
        self.get_at(&self.shared.options.address()).await
    }

    /// A connection to one of the cluster's doors.
    ///
    /// # Errors
    /// All connections stayed busy for 30 seconds, or no connection can be made.
    pub async fn get_at(&self, address: &str) -> Result<Pooled, Error> {
        let permit = match self.shared.permits.try_acquire_arc() {
            Some(permit) => permit,
            None => {
                let busy = async {
                    Timer::after(WAIT_MAX).await;
                    Err(Error::PoolBusy(WAIT_MAX))
                };
                let freed = async { Ok(self.shared.permits.acquire_arc().await) };
                future::or(freed, busy).await?
            }
        };
        let idle = self.take_idle(address);
        let client = match idle {
            Some(client) => client,
            None => self.open(address).await?,
        };
        Ok(Pooled { pool: self.clone(), address: address.to_owned(), client, _permit: permit })
    }

    fn take_idle(&self, address: &str) -> Option<Client> {
        let mut state = self.state();
        let client = state.idle.get_mut(address).and_then(Vec::pop)?;
        state.idle_count -= 1;
        Some(client)
    }

    async fn open(&self, address: &str) -> Result<Client, Error> {
        let options = &self.shared.options;
        let client = Client::open(options.at(address).unwrap_or_else(|| options.clone())).await?;
        self.note_placement(&client);
        Ok(client)
    }

    fn note_placement(&self, client: &Client) {
        let placement = client.placement();
        let mut state = self.state();
        if placement.version > state.placement.version {
            state.placement = placement;
        }
    }

    /// Runs one statement, outside any transaction, on the core that owns its row where it names
    /// one.
    ///
    /// # Errors
    /// It failed, or there is no connection.
    pub async fn outcome<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Outcome, Error> {
        let statement = match source.into() {
            Source::Prepared(statement) => statement.clone(),
            Source::Text(text) => self.prepare(text).await?,
        };
        let placement = Arc::clone(&self.state().placement);
        let routed = match statement.owner(parameters, &placement) {
            Some(owner) => self.get_at(owner).await.ok(),
            None => None,
        };
        // A door that does not open is no reason to fail: any core answers.
        let client = match routed {
            Some(client) => client,
            None => self.get().await?,
        };
        client.outcome(&statement, parameters).await
    }

    /// The rows of one statement, as [`Pool::outcome`].
    ///
    /// # Errors
    /// It failed, or there is no connection.
    pub async fn query<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        Ok(self.outcome(source, parameters).await?.rows)
    }

    /// Runs one statement, as [`Pool::outcome`]; returns how many rows it changed or returned.
    ///
    /// # Errors
    /// It failed, or there is no connection.
    pub async fn execute<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        Ok(self.outcome(source, parameters).await?.affected)
    }

    /// Prepares a statement once for the pool.
    ///
    /// # Errors
    /// The statement makes no sense to the server, or there is no connection.
    pub async fn prepare(&self, text: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.state().statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.get().await?.prepare(text).await?;
        let mut state = self.state();
        if state.statements.len() >= STATEMENTS_MAX {
            state.statements.clear();
        }
        state.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Deref for Pooled {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let idle = self.client.current().is_quiet()
            && self.client.transaction() == TransactionStatus::Idle;
        if !idle || !self.client.is_usable() {
            return;
        }
        self.pool.note_placement(&self.client);
        let mut state = self.pool.state();
        let surplus = (state.idle_count >= self.pool.shared.connections_max)
            .then(|| state.idle.values_mut().find_map(Vec::pop))
            .flatten();
        state.idle_count -= usize::from(surplus.is_some());
        state.idle_count += 1;
        state.idle.entry(std::mem::take(&mut self.address)).or_default().push(self.client.clone());
        drop(state);
        // Closing a connection writes a goodbye: not under the lock.
        drop(surplus);
    }
}
