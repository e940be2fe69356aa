//! The async face, on any executor.

mod pool;

pub use pool::{Pool, Pooled};

use crate::connection::{Answer, Connection};
use crate::outcome::Collector;
use crate::protocol::{Event, Request, ServerInfo};
use crate::url::Options;
use crate::{Error, Outcome, Row, Source, Statement};
use async_io::Timer;
use model::error::SqlState;
use model::types::DataType;
use model::value::Value;
use net::message::{Placement, Report, TransactionStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The first pause before a lost connection is tried again; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest such pause.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A session with a server, on any executor. Cloning gives another handle on the same session:
/// requests made through several are in flight together, and leave together.
///
/// A connection that was lost is opened again by the next request where that is safe: nothing was
/// in flight and no transaction was open. Settings made with `SET` are lost then; those of
/// [`Options::settings`] are not.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    current: Mutex<Arc<Connection>>,
    /// Held while the connection is opened again.
    reopening: async_lock::Mutex<()>,
    /// The caller has been told that the connection is lost.
    loss_told: AtomicBool,
}

/// A request on its way; see [`Client::send`]. Dropped early, it is cancelled.
pub struct Pending {
    client: Client,
    answer: Answer,
    statement: Statement,
}

impl Client {
    /// Connects to `phantom://user:password@host:port/database`.
    ///
    /// # Errors
    /// The URL makes no sense, nobody answers, or the server does not let us in.
    pub async fn connect(url: &str) -> Result<Client, Error> {
        Client::open(url.parse()?).await
    }

    /// Connects as the options say.
    ///
    /// # Errors
    /// Nobody answers, or the server does not let us in.
    pub async fn open(options: Options) -> Result<Client, Error> {
        let current = Mutex::new(Connection::open(&options).await?);
        let reopening = async_lock::Mutex::new(());
        let loss_told = AtomicBool::new(false);
        Ok(Client { shared: Arc::new(Shared { options, current, reopening, loss_told }) })
    }

    fn current(&self) -> Arc<Connection> {
        Arc::clone(&self.shared.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the server said of itself.
    pub fn server(&self) -> ServerInfo {
        self.current().info().clone()
    }

    /// Which core leads which partition.
    pub fn placement(&self) -> Arc<Placement> {
        Arc::clone(self.current().state().protocol.placement())
    }

    /// Where the session stands after the answers received so far.
    pub fn transaction(&self) -> TransactionStatus {
        self.current().state().protocol.transaction()
    }

    /// Notices that belong to no request.
    pub fn take_notices(&self) -> Vec<Arc<Report>> {
        self.current().state().protocol.take_notices()
    }

    /// Whether another request may go out on this connection.
    pub fn is_usable(&self) -> bool {
        let connection = self.current();
        let protocol = &connection.state().protocol;
        protocol.failure().is_none() && !protocol.is_draining()
    }

    /// Runs statements given as text, streaming their results.
    ///
    /// # Errors
    /// The connection is lost. Failures of the statements come with the answer.
    pub async fn stream(&self, text: &str) -> Result<Answer, Error> {
        self.usable().await?.start(Request::Query(text)).await
    }

    /// Runs statements given as text, one after the other, and gathers their results.
    ///
    /// # Errors
    /// The first statement that failed; those behind it were not executed.
    pub async fn run(&self, text: &str) -> Result<Vec<Outcome>, Error> {
        let mut answer = self.stream(text).await?;
        let mut collector = Collector::default();
        while let Some(event) = self.next(&mut answer).await? {
            collector.push(event)?;
        }
        Ok(collector.finish())
    }

    /// The next event, within the limit of the options.
    async fn next(&self, answer: &mut Answer) -> Result<Option<Event>, Error> {
        let event = answer.next_within(self.shared.options.answer_timeout).await;
        if let Err(error) = &event
            && !matches!(error, Error::Server(_))
        {
            self.shared.loss_told.store(true, Ordering::Release);
        }
        event
    }

    /// Prepares a statement, or finds it prepared.
    ///
    /// # Errors
    /// The statement makes no sense to the server, or the connection is lost.
    pub async fn prepare(&self, text: &str) -> Result<Statement, Error> {
        self.prepare_typed(text, &[]).await
    }

    /// Prepares a statement whose first parameters have these types.
    ///
    /// # Errors
    /// The statement makes no sense to the server, or the connection is lost.
    pub async fn prepare_typed(&self, text: &str, types: &[DataType]) -> Result<Statement, Error> {
        let connection = self.usable().await?;
        Ok(self.prepared(&connection, text, types).await?.1)
    }

    async fn prepared(
        &self,
        connection: &Arc<Connection>,
        text: &str,
        types: &[DataType],
    ) -> Result<(u32, Statement), Error> {
        let number = {
            let statements = &mut connection.state().statements;
            if let Some(known) = statements.get(text) {
                return Ok(known);
            }
            statements.next_number()
        };
        let request = Request::Prepare { statement: number, text, types };
        let mut answer = connection.start(request).await?;
        let mut prepared = None;
        while let Some(event) = self.next(&mut answer).await? {
            match event {
                Event::Prepared(message) => prepared = Some(message),
                Event::Notice(_) => {}
                _ => return Err(Error::OutOfPlace("rows in answer to a prepare")),
            }
        }
        let prepared = prepared.ok_or(Error::OutOfPlace("no answer to a prepare"))?;
        let statement = Statement::new(text, prepared);
        let closed = connection.state().statements.put(number, statement.clone());
        if let Some(closed) = closed {
            let mut answer = connection.start(Request::CloseStatement(closed)).await?;
            while self.next(&mut answer).await?.is_some() {}
        }
        Ok((number, statement))
    }

    /// Runs one statement and gathers its result.
    ///
    /// # Errors
    /// It failed, or the connection is lost.
    pub async fn outcome<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Outcome, Error> {
        let (answer, statement) = self.start(source.into(), parameters).await?;
        Pending { client: self.clone(), answer, statement }.outcome().await
    }

    /// The rows of one statement.
    ///
    /// # Errors
    /// It failed, or the connection is lost.
    pub async fn query<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        Ok(self.outcome(source, parameters).await?.rows)
    }

    /// The first row of one statement.
    ///
    /// # Errors
    /// It failed, or yields no row, or the connection is lost.
    pub async fn query_one<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Row, Error> {
        let rows = self.query(source, parameters).await?;
        rows.into_iter().next().ok_or_else(|| Error::Missing("row".to_owned()))
    }

    /// Runs one statement; returns how many rows it changed or returned.
    ///
    /// # Errors
    /// It failed, or the connection is lost.
    pub async fn execute<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        Ok(self.outcome(source, parameters).await?.affected)
    }

    /// Queues one statement without sending it: it leaves with the next [`Client::flush`], or when
    /// any outcome is awaited, together with all queued before. (A statement that is not prepared
    /// yet is prepared first, which waits for the server.)
    ///
    /// # Errors
    /// The connection is lost, or the statement cannot be prepared.
    pub async fn send<'a>(
        &self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Pending, Error> {
        let (answer, statement) = self.start(source.into(), parameters).await?;
        Ok(Pending { client: self.clone(), answer: answer.queued(), statement })
    }

    async fn start(
        &self,
        source: Source<'_>,
        parameters: &[Value],
    ) -> Result<(Answer, Statement), Error> {
        let connection = self.usable().await?;
        let (number, statement) = self.prepared(&connection, source.text(), &[]).await?;
        let request = Request::Execute { statement: number, parameters };
        Ok((connection.start(request).await?, statement))
    }

    /// Sends all that is queued with one system call, without waiting.
    pub fn flush(&self) {
        self.current().drive();
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.run("").await.map(|_| ())
    }

    /// The connection, opened again if it is lost and that is safe.
    async fn usable(&self) -> Result<Arc<Connection>, Error> {
        let connection = self.current();
        let (failure, draining) = {
            let protocol = &connection.state().protocol;
            (protocol.failure().cloned(), protocol.is_draining())
        };
        if failure.is_none() && !(draining && connection.is_quiet()) {
            return Ok(connection);
        }
        if let Some(error) = failure
            && !connection.is_quiet()
            && !self.shared.loss_told.swap(true, Ordering::AcqRel)
        {
            // A transaction was open, or answers are outstanding: the caller has to know first.
            return Err(error);
        }
        let _turn = self.shared.reopening.lock().await;
        let newest = self.current();
        if !Arc::ptr_eq(&newest, &connection) {
            return Ok(newest);
        }
        self.reopen().await
    }

    async fn reopen(&self) -> Result<Arc<Connection>, Error> {
        let options = &self.shared.options;
        let mut pause = BACKOFF_MIN;
        let mut tries = 0;
        loop {
            match Connection::open(options).await {
                Ok(connection) => {
                    let mut current =
                        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
                    *current = Arc::clone(&connection);
                    self.shared.loss_told.store(false, Ordering::Release);
                    return Ok(connection);
                }
                Err(error @ Error::Refused(_)) => return Err(error),
                Err(error) if tries == options.reconnects_max => return Err(error),
                Err(_) => {}
            }
            tries += 1;
            Timer::after(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }
}

impl Pending {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// The statement failed, or the connection is lost.
    pub async fn outcome(mut self) -> Result<Outcome, Error> {
        let mut collector = Collector::with_columns(self.statement.columns());
        loop {
            match self.client.next(&mut self.answer).await {
                Ok(Some(event)) => collector.push(event)?,
                Ok(None) => return collector.finish_one(),
                Err(error) => {
                    self.forget_stale(&error);
                    return Err(error);
                }
            }
        }
    }

    /// A plan the server gave up is prepared anew next time.
    fn forget_stale(&self, error: &Error) {
        let stale = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME];
        if error.state().is_some_and(|state| stale.contains(&state)) {
            self.client.current().state().statements.forget(self.statement.text());
        }
    }

    /// Asks the server to give the request up; its outcome still has to be awaited.
    pub fn cancel(&self) {
        self.answer.cancel();
    }
}
