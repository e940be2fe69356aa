//! The blocking face: one socket, one thread at a time, one system call a batch each way.

mod link;
mod pool;

pub use link::CancelHandle;
pub use pool::{Pool, Pooled};

use crate::outcome::Collector;
use crate::protocol::{Event, Request, ServerInfo};
use crate::statement::Cache;
use crate::url::Options;
use crate::{Error, Outcome, Row, Source, Statement};
use link::Link;
use model::error::SqlState;
use model::types::DataType;
use model::value::Value;
use net::frame::StreamId;
use net::message::{Placement, Report, TransactionStatus};
use std::sync::Arc;
use std::time::Duration;

/// The first pause before a lost connection is tried again; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest such pause.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A session with a server.
///
/// A connection that was lost is opened again by the next request where that is safe: nothing was
/// in flight and no transaction was open. Settings made with `SET` are lost then; those of
/// [`Options::settings`] are not.
pub struct Client {
    options: Options,
    link: Link,
    statements: Cache,
    /// The caller has been told that the connection is lost.
    loss_told: bool,
    /// How often the connection was opened again.
    generation: u32,
}

/// A request whose answer has not been taken; see [`Client::send`].
#[derive(Debug)]
#[must_use = "its answer occupies the connection until it is taken"]
pub struct Ticket {
    stream: StreamId,
    /// Of the connection it was sent on.
    generation: u32,
    statement: Statement,
}

impl Client {
    /// Connects to `phantom://user:password@host:port/database`.
    ///
    /// # Errors
    /// The URL makes no sense, nobody answers, or the server does not let us in.
    pub fn connect(url: &str) -> Result<Client, Error> {
        Client::open(url.parse()?)
    }

    /// Connects as the options say.
    ///
    /// # Errors
    /// Nobody answers, or the server does not let us in.
    pub fn open(options: Options) -> Result<Client, Error> {
        let link = Link::open(&options)?;
        Ok(Client { options, link, statements: Cache::default(), loss_told: false, generation: 0 })
    }

    /// What the server said of itself.
    pub fn server(&self) -> &ServerInfo {
        self.link.info()
    }

    /// Which core leads which partition.
    pub fn placement(&self) -> &Arc<Placement> {
        self.link.protocol().placement()
    }

    /// Where the session stands after the answers received so far.
    pub fn transaction(&self) -> TransactionStatus {
        self.link.protocol().transaction()
    }

    /// Notices that belong to no request.
    pub fn take_notices(&mut self) -> Vec<Arc<Report>> {
        self.link.protocol_mut().take_notices()
    }

    /// Cancels what this client waits for, from another thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.link.cancel_handle()
    }

    /// Whether another request may go out on this connection.
    pub fn is_usable(&self) -> bool {
        let protocol = self.link.protocol();
        protocol.failure().is_none() && !protocol.is_draining()
    }

    /// Runs statements given as text, streaming their results.
    ///
    /// # Errors
    /// The connection is lost. Failures of the statements come with the answer.
    pub fn stream(&mut self, text: &str) -> Result<Answer<'_>, Error> {
        let stream = self.start(Request::Query(text))?;
        Ok(Answer { client: self, stream, done: false })
    }

    /// Runs statements given as text, one after the other, and gathers their results.
    ///
    /// # Errors
    /// The first statement that failed; those behind it were not executed.
    pub fn run(&mut self, text: &str) -> Result<Vec<Outcome>, Error> {
        let mut answer = self.stream(text)?;
        let mut collector = Collector::default();
        while let Some(event) = answer.next_event()? {
            collector.push(event)?;
        }
        Ok(collector.finish())
    }

    /// Prepares a statement, or finds it prepared.
    ///
    /// # Errors
    /// The statement makes no sense to the server, or the connection is lost.
    pub fn prepare(&mut self, text: &str) -> Result<Statement, Error> {
        self.prepare_typed(text, &[])
    }

    /// Prepares a statement whose first parameters have these types.
    ///
    /// # Errors
    /// The statement makes no sense to the server, or the connection is lost.
    pub fn prepare_typed(&mut self, text: &str, types: &[DataType]) -> Result<Statement, Error> {
        self.ensure()?;
        Ok(self.prepared(text, types)?.1)
    }

    fn prepared(&mut self, text: &str, types: &[DataType]) -> Result<(u32, Statement), Error> {
        if let Some(known) = self.statements.get(text) {
            return Ok(known);
        }
        let number = self.statements.next_number();
        let stream = self.start(Request::Prepare { statement: number, text, types })?;
        let mut answer = Answer { client: self, stream, done: false };
        let mut prepared = None;
        while let Some(event) = answer.next_event()? {
            match event {
                Event::Prepared(message) => prepared = Some(message),
                Event::Notice(_) => {}
                _ => return Err(Error::OutOfPlace("rows in answer to a prepare")),
            }
        }
        drop(answer);
        let prepared = prepared.ok_or(Error::OutOfPlace("no answer to a prepare"))?;
        let statement = Statement::new(text, prepared);
        if let Some(closed) = self.statements.put(number, statement.clone()) {
            let stream = self.start(Request::CloseStatement(closed))?;
            let mut answer = Answer { client: self, stream, done: false };
            while answer.next_event()?.is_some() {}
        }
        Ok((number, statement))
    }

    /// Runs one statement and gathers its result.
    ///
    /// # Errors
    /// It failed, or the connection is lost.
    pub fn outcome<'a>(
        &mut self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Outcome, Error> {
        let ticket = self.send(source, parameters)?;
        self.take(ticket)
    }

    /// The rows of one statement.
    ///
    /// # Errors
    /// It failed, or the connection is lost.
    pub fn query<'a>(
        &mut self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Vec<Row>, Error> {
        Ok(self.outcome(source, parameters)?.rows)
    }

    /// The first row of one statement.
    ///
    /// # Errors
    /// It failed, or yields no row, or the connection is lost.
    pub fn query_one<'a>(
        &mut self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Row, Error> {
        let rows = self.query(source, parameters)?;
        rows.into_iter().next().ok_or_else(|| Error::Missing("row".to_owned()))
    }

    /// Runs one statement; returns how many rows it changed or returned.
    ///
    /// # Errors
    /// It failed, or the connection is lost.
    pub fn execute<'a>(
        &mut self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        Ok(self.outcome(source, parameters)?.affected)
    }

    /// Queues one statement without sending it: it leaves with the next [`Client::flush`] or
    /// [`Client::take`], together with all queued before. Answers come in the order of sending;
    /// each ticket is to be taken, in any order. (A statement that is not prepared yet is
    /// prepared first, which waits for the server.)
    ///
    /// # Errors
    /// The connection is lost, or the statement cannot be prepared.
    pub fn send<'a>(
        &mut self,
        source: impl Into<Source<'a>>,
        parameters: &[Value],
    ) -> Result<Ticket, Error> {
        self.ensure()?;
        let (number, statement) = self.prepared(source.into().text(), &[])?;
        let stream = self.start(Request::Execute { statement: number, parameters })?;
        Ok(Ticket { stream, generation: self.generation, statement })
    }

    /// Sends all that is queued with one system call.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.link.flush()
    }

    /// Waits for the outcome of a request.
    ///
    /// # Errors
    /// The statement failed, or the connection is lost.
    pub fn take(&mut self, ticket: Ticket) -> Result<Outcome, Error> {
        let Ticket { stream, generation, statement } = ticket;
        if generation != self.generation {
            let cause = std::io::Error::other("the connection was opened again meanwhile");
            return Err(Error::lost(cause).in_flight());
        }
        let mut collector = Collector::with_columns(statement.columns());
        let mut answer = Answer { client: self, stream, done: false };
        let outcome = loop {
            match answer.next_event() {
                Ok(Some(event)) => collector.push(event)?,
                Ok(None) => break collector.finish_one(),
                Err(error) => break Err(error),
            }
        };
        drop(answer);
        if let Err(error) = &outcome {
            self.forget_stale(&statement, error);
        }
        outcome
    }

    /// A plan the server gave up is prepared anew next time.
    fn forget_stale(&mut self, statement: &Statement, error: &Error) {
        let stale = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME];
        if error.state().is_some_and(|state| stale.contains(&state)) {
            self.statements.forget(statement.text());
        }
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// It does not.
    pub fn ping(&mut self) -> Result<(), Error> {
        self.run("").map(|_| ())
    }

    /// Says goodbye and closes.
    pub fn close(self) {}

    fn start(&mut self, request: Request<'_>) -> Result<StreamId, Error> {
        self.ensure()?;
        while !self.link.protocol().has_room() {
            self.link.advance(self.options.answer_timeout)?;
        }
        self.link.protocol_mut().start(request)
    }

    /// Opens the connection again if it is lost and that is safe.
    fn ensure(&mut self) -> Result<(), Error> {
        self.link.notice_loss();
        let protocol = self.link.protocol();
        let failure = protocol.failure().cloned();
        if failure.is_none() && !(protocol.is_draining() && self.is_quiet()) {
            return Ok(());
        }
        if let Some(error) = failure
            && !self.is_quiet()
            && !self.loss_told
        {
            // A transaction was open, or answers are outstanding: the caller has to know first.
            self.loss_told = true;
            return Err(error);
        }
        self.reconnect()
    }

    fn is_quiet(&self) -> bool {
        let protocol = self.link.protocol();
        protocol.open_streams() == 0 && protocol.transaction() == TransactionStatus::Idle
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        let mut pause = BACKOFF_MIN;
        let mut tries = 0;
        loop {
            match Link::open(&self.options) {
                Ok(link) => {
                    self.link = link;
                    self.statements = Cache::default();
                    self.loss_told = false;
                    self.generation = self.generation.wrapping_add(1);
                    return Ok(());
                }
                Err(error @ Error::Refused(_)) => return Err(error),
                Err(error) if tries == self.options.reconnects_max => return Err(error),
                Err(_) => {}
            }
            tries += 1;
            std::thread::sleep(pause);
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }
}

/// The answer to a request, a piece at a time. Dropped early, the request is cancelled.
pub struct Answer<'a> {
    client: &'a mut Client,
    stream: StreamId,
    done: bool,
}

impl Answer<'_> {
    /// The next piece; `None` when there is no more.
    ///
    /// # Errors
    /// A statement failed, which ends the answer, or the connection is lost.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        if self.done {
            return Ok(None);
        }
        let link = &mut self.client.link;
        link.watch(self.stream);
        loop {
            match link.protocol_mut().next_event(self.stream) {
                Some(Ok((event, end))) => {
                    self.done = end;
                    return Ok(Some(event));
                }
                Some(Err(error)) => {
                    self.done = true;
                    self.client.loss_told |= !matches!(error, Error::Server(_));
                    return Err(error);
                }
                None => {
                    // A failure here is found again by `next_event`, with the request's part.
                    if link.advance(self.client.options.answer_timeout).is_err() {
                        continue;
                    }
                }
            }
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.client.link.protocol_mut().abandon(self.stream);
        }
    }
}
