//! The native protocol's side of a session.

use super::admission::Applicant;
use super::{
    Client, Host, Interrupts, Name, Session, Standing, Weight, shutting_down, unencrypted,
};
use crate::router::RowSink;
use crate::sql::OutputColumn;
use futures::FutureExt;
use futures::future::{Either, LocalBoxFuture, select};
use model::batch::Batch;
use model::error::{SqlError, SqlState};
use model::placement::Place;
use net::frame::StreamId;
use net::link::Links;
use net::message::{Column, Hello, Placement, Prepared, Severity, TransactionStatus};
use net::server::{
    Arrival, Caller, Handshake, Request, RequestKind, Requests, Responder, Server, SessionInfo,
    Unproven,
};
use runtime::net::Stream;
use runtime::task;
use std::cell::{OnceCell, RefCell};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;

/// Requests answered before others of the core get a turn.
const REQUESTS_PER_TURN: usize = 32;
/// An idle session keeps room for so many requests.
const REQUESTS_KEPT: usize = 4;

/// What the native connections of a core have in common. One per core.
pub struct Door {
    server: Server,
    /// Where other nodes go, if any may come.
    links: Option<Links>,
    /// This core.
    place: Place,
    /// Whether no client is let in without TLS.
    encrypted_only: bool,
    /// What clients find; nothing as long as the node starts.
    inside: OnceCell<Inside>,
}

/// What is behind the door.
struct Inside {
    /// The core's sessions.
    host: Rc<Host>,
    /// Who leads which partition, and where, as clients are told when they come in.
    placement: RefCell<Rc<Placement>>,
}

impl Door {
    /// A door for other nodes. Clients are told that the node is starting.
    pub fn new(server: Server, links: Option<Links>, place: Place, encrypted_only: bool) -> Door {
        Door { server, links, place, encrypted_only, inside: OnceCell::new() }
    }

    /// Lets clients in from now on.
    ///
    /// # Panics
    /// When it does already.
    pub fn open(&self, host: Rc<Host>, placement: Placement) {
        let placement = RefCell::new(Rc::new(placement));
        assert!(self.inside.set(Inside { host, placement }).is_ok(), "a door is opened once");
    }

    /// Tells clients that come in from now on where the partitions are.
    pub fn show(&self, placement: Placement) {
        if let Some(inside) = self.inside.get() {
            *inside.placement.borrow_mut() = Rc::new(placement);
        }
    }

    /// Serves a connection to its end.
    pub async fn serve(self: Rc<Door>, stream: Stream) {
        let mut handshake = match self.server.handshake(stream).await {
            Ok(Arrival::Client(handshake)) => handshake,
            // On the heap: the session of a client has no room for it.
            Ok(Arrival::Node(caller)) => return Box::pin(self.pass_on(caller)).await,
            // The client has been told what was wrong with its hello.
            Err(_ended) => return,
        };
        if self.encrypted_only && !handshake.is_encrypted() {
            return handshake.refuse(unencrypted());
        }
        let Some(inside) = self.inside.get() else { return handshake.refuse(starting()) };
        match inside.admit(&mut handshake).await {
            Some(Ok(session)) => self.run(inside, handshake, session).await,
            Some(Err(error)) => handshake.refuse(error),
            None => {}
        }
    }

    /// Tells a client that there are too many. Other nodes do not count.
    pub async fn turn_away(self: Rc<Door>, stream: Stream, connections_max: u32) {
        match self.server.handshake(stream).await {
            Ok(Arrival::Client(handshake)) => handshake.refuse(
                SqlError::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                    .detail(format!("The node holds at most {connections_max} connections."))
                    .hint("Close connections that are not needed, or raise connections-max."),
            ),
            Ok(Arrival::Node(caller)) => self.pass_on(caller).await,
            Err(_ended) => {}
        }
    }

    /// Hands the connection of another node to the links.
    async fn pass_on(&self, caller: Caller) {
        match &self.links {
            Some(links) => links.accept(caller).await,
            None => log::warn!("another node came, and join-token is not set: nodes have no links"),
        }
    }

    async fn run(&self, inside: &Inside, handshake: Handshake, mut session: Session) {
        let placement = inside.placement.borrow().clone();
        let info = SessionInfo {
            server: env!("CARGO_PKG_VERSION"),
            node: self.place.node.0,
            core: self.place.core.0,
            session: session.number().0,
            placement: &placement,
        };
        let (requests, responder) = handshake.welcome(&info);
        drop(placement);
        let closed = {
            let ends = pin!(inside.host.end_of(&session));
            let serve = pin!(serve(&inside.host, &mut session, requests, &responder));
            match select(serve, ends).await {
                Either::Left(_) => None,
                Either::Right((why, _)) => Some(why),
            }
        };
        if let Some(why) = closed {
            responder.fatal(why);
        }
        session.end().await;
    }
}

/// Nobody knows the catalog yet.
fn starting() -> SqlError {
    SqlError::new(SqlState::CANNOT_CONNECT_NOW, "the node is starting up")
        .hint("Connect again in a moment.")
}

impl Inside {
    /// Lets the client in once it has proved what it must, or says why not; `None` where it has
    /// gone.
    async fn admit(&self, handshake: &mut Handshake) -> Option<Result<Session, SqlError>> {
        let Hello { user, database, .. } = handshake.hello().clone();
        let applicant = Applicant {
            user: &user,
            database: &database,
            peer: handshake.peer_addr(),
            encrypted: handshake.is_encrypted(),
        };
        let admitted = self.enter(&applicant, handshake).await?;
        if let Err(refusal) = &admitted {
            self.host.refuse(&applicant, refusal).await;
        }
        Some(admitted)
    }

    async fn enter(
        &self,
        applicant: &Applicant<'_>,
        handshake: &mut Handshake,
    ) -> Option<Result<Session, SqlError>> {
        let mut entry = match self.host.knock(applicant) {
            Ok(entry) => entry,
            Err(refusal) => return Some(Err(refusal)),
        };
        if let Some(proof) = entry.proof() {
            match handshake.prove(proof).await {
                Ok(()) => {}
                // It has been told, where it still listens.
                Err(Unproven::Ended(_reason)) => return None,
                Err(Unproven::Failed(_reason)) => return Some(Err(entry.not_proved())),
            }
        }
        let session = self.host.open(&entry);
        Some(session.and_then(|session| self.set_up(session, handshake.hello())))
    }

    /// Sets what the client wants set from the start.
    fn set_up(&self, mut session: Session, hello: &Hello) -> Result<Session, SqlError> {
        if !hello.application.is_empty() {
            session.set("application_name", &hello.application)?;
        }
        for (name, value) in &hello.settings {
            session.set(name, value)?;
        }
        Ok(session)
    }
}

/// Answers requests until there are no more, or the node drains and no transaction is open.
async fn serve(host: &Host, session: &mut Session, mut requests: Requests, responder: &Responder) {
    let mut batch = Vec::new();
    let mut draining = pin!(host.draining.wait());
    let mut told = false;
    loop {
        if told && !session.standing().in_block() {
            responder.fatal(shutting_down());
            return;
        }
        if told {
            if requests.next_batch(&mut batch).await.is_err() {
                return;
            }
        } else {
            match select(pin!(requests.next_batch(&mut batch)), draining.as_mut()).await {
                Either::Left((Ok(()), _)) => {}
                Either::Left((Err(_), _)) => return,
                Either::Right(_) => {
                    responder.draining(shutting_down());
                    told = true;
                    continue;
                }
            }
        }
        // What a statement needs is on the heap only while there is one.
        if !Box::pin(answer_all(session, responder, &mut batch)).await {
            return;
        }
        batch.shrink_to(REQUESTS_KEPT);
    }
}

/// Answers a batch of requests; whether the session can go on.
async fn answer_all(
    session: &mut Session,
    responder: &Responder,
    batch: &mut Vec<Request>,
) -> bool {
    let mut covered: usize = 0;
    let mut requests = batch.drain(..);
    let mut count: usize = 0;
    loop {
        if covered == 0 {
            covered = look_ahead(session, requests.as_slice());
        }
        let Some(request) = requests.next() else { break };
        covered = covered.saturating_sub(1);
        count += 1;
        let stream = request.stream;
        let answered = AssertUnwindSafe(answer(session, responder, request)).catch_unwind().await;
        match answered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => responder.error(stream, status(session.standing()), error),
            Err(_panic) => {
                // The panic hook has logged it. What the session holds may be half changed.
                let error = SqlError::internal("the statement met a defect of the server")
                    .hint("The server's log says where; please report it.");
                responder.error(stream, TransactionStatus::Idle, error);
                responder.fatal(SqlError::internal("the session is in an unknown state"));
                return false;
            }
        }
        if count.is_multiple_of(REQUESTS_PER_TURN) {
            task::yield_if_due().await;
        }
    }
    responder.flush();
    true
}

/// Sends out the lookups that stand next to each other at the front of `requests`; how many
/// requests they are.
fn look_ahead(session: &mut Session, requests: &[Request]) -> usize {
    let prepared = |request: &Request| matches!(request.kind, RequestKind::Execute(_));
    // A single request is answered at once: there is nothing to gain.
    if requests.len() < 2 || !requests[..2].iter().all(prepared) {
        return 0;
    }
    session.look_ahead(requests.iter().map_while(|request| match &request.kind {
        RequestKind::Execute(execute) => Some((execute.statement, execute.parameters.as_slice())),
        _ => None,
    }))
}

async fn answer(
    session: &mut Session,
    responder: &Responder,
    request: Request,
) -> Result<(), SqlError> {
    let stream = request.stream;
    let mut answer = Answer { responder, stream };
    let interrupts = Interruption { responder, stream };
    match request.kind {
        RequestKind::Query { text } => session.query(&text, &mut answer, &interrupts).await,
        RequestKind::Execute(execute) => {
            let (number, parameters) = (execute.statement, execute.parameters);
            session.execute(Name::Number(number), parameters, &mut answer, &interrupts).await
        }
        RequestKind::Prepare(prepare) => {
            let number = prepare.statement;
            let described =
                session.prepare(Name::Number(number), &prepare.text, &prepare.parameters).await?;
            for warning in described.warnings {
                answer.notice(Weight::Warning, session.standing(), warning);
            }
            let prepared = Prepared {
                statement: number,
                parameters: described.parameters,
                columns: described.columns.iter().map(column).collect(),
                routing: described.routing,
            };
            responder.prepared(stream, prepared);
            Ok(())
        }
        RequestKind::CloseStatement { statement } => {
            session.close_statement(Name::Number(statement));
            responder.complete(stream, status(session.standing()), 0, "DEALLOCATE", true);
            Ok(())
        }
    }
}

fn status(standing: Standing) -> TransactionStatus {
    match standing {
        Standing::Idle | Standing::Implicit => TransactionStatus::Idle,
        Standing::Open | Standing::Saga => TransactionStatus::Open,
        Standing::Failed => TransactionStatus::Failed,
    }
}

fn column(column: &OutputColumn) -> Column {
    Column { name: column.name.clone(), data_type: column.data_type, table: None }
}

/// The answer to one request.
struct Answer<'a> {
    responder: &'a Responder,
    stream: StreamId,
}

impl RowSink for Answer<'_> {
    fn rows(&mut self, batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async move {
            let ready = self.responder.ready_for(self.stream).await;
            ready.map_err(|interrupted| interrupted.to_error())?;
            self.responder.batch(self.stream, &batch).map_err(|too_long| too_long.to_error())
        })
    }
}

impl Client for Answer<'_> {
    fn columns(&mut self, columns: &[OutputColumn], _binary: bool) {
        self.responder.row_description(self.stream, columns.iter().map(column).collect());
    }

    fn notice(&mut self, weight: Weight, standing: Standing, notice: SqlError) {
        let severity = match weight {
            Weight::Warning => Severity::Warning,
            Weight::Notice => Severity::Notice,
        };
        self.responder.notice(self.stream, severity, status(standing), notice);
    }

    fn complete(&mut self, standing: Standing, rows: u64, tag: &str, last: bool) {
        self.responder.complete(self.stream, status(standing), rows, tag, last);
    }
}

/// When the request of one stream is to be given up.
struct Interruption<'a> {
    responder: &'a Responder,
    stream: StreamId,
}

impl Interrupts for Interruption<'_> {
    fn wait(&self) -> LocalBoxFuture<'static, SqlError> {
        // What was answered before need not wait for this one.
        self.responder.flush();
        let (responder, stream) = (self.responder.clone(), self.stream);
        Box::pin(async move { responder.interrupted(stream).await.to_error() })
    }
}
