//! A connection on any executor: who reads and writes without a task of its own.
//!
//! The reactor of `async-io` calls a waker when the socket is ready. The waker of a connection
//! does the work itself: it reads what has arrived, puts the frames with their requests, and wakes
//! the tasks that wait for them. No task is spawned, no request's future has to be polled for
//! another's answer to be seen, and with `async_io::block_on` all of it happens on the caller's
//! thread. The waker holds the connection weakly: when the last handle goes, the socket closes.
//!
//! Writing is gathered: a request is only encoded when it is made. Its future lets the other
//! tasks of its thread run once before it writes, so that what they ask leaves with the same
//! system call.

use crate::Error;
use crate::protocol::{Event, Protocol, Request, ServerInfo};
use crate::statement::Cache;
use crate::tls::Tls;
use crate::url::{Options, SslMode};
use async_io::{Async, Timer};
use bytes::{Buf, Bytes, BytesMut};
use futures_lite::future;
use net::frame::{CONNECTION, StreamId};
use net::message::{ClientMessage, TransactionStatus};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Bytes a read takes at most.
const READ_BYTES: usize = 32 << 10;

/// Reads done before other connections have their turn.
const READS_A_TURN: usize = 8;

pub(crate) struct Connection {
    socket: Async<TcpStream>,
    state: Mutex<State>,
    /// Calls [`Connection::drive`].
    waker: Waker,
    info: OnceLock<ServerInfo>,
}

pub(crate) struct State {
    pub(crate) protocol: Protocol,
    pub(crate) statements: Cache,
    tls: Option<Tls>,
    /// Records on their way out.
    sealed: BytesMut,
    buffer: Box<[u8]>,
}

struct Driver {
    connection: Weak<Connection>,
}

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        if let Some(connection) = self.connection.upgrade() {
            connection.drive();
        }
    }
}

impl Connection {
    /// Connects and shakes hands.
    pub(crate) async fn open(options: &Options) -> Result<Arc<Connection>, Error> {
        let limit = options.connect_timeout;
        let timed_out = async {
            Timer::after(limit).await;
            Err(failed(options, io::ErrorKind::TimedOut.into()))
        };
        future::or(Connection::open_without_limit(options), timed_out).await
    }

    async fn open_without_limit(options: &Options) -> Result<Arc<Connection>, Error> {
        let mode = options.effective_sslmode();
        if mode == SslMode::Disable {
            return Connection::open_with(options, None).await;
        }
        let tls = match &options.sslrootcert {
            None => Tls::new(options, mode),
            // Files block.
            Some(_) => {
                let options = options.clone();
                ::blocking::unblock(move || Tls::new(&options, mode)).await
            }
        };
        let opened = match tls {
            Ok(tls) => Connection::open_with(options, Some(tls)).await,
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if mode == SslMode::Prefer && error.is_without_tls() => {
                Connection::open_with(options, None).await
            }
            opened => opened,
        }
    }

    async fn open_with(options: &Options, tls: Option<Tls>) -> Result<Arc<Connection>, Error> {
        let socket = connect(options).await?;
        let connection = Arc::new_cyclic(|weak| Connection {
            socket,
            state: Mutex::new(State {
                protocol: Protocol::new(options),
                statements: Cache::default(),
                tls,
                sealed: BytesMut::new(),
                buffer: vec![0; READ_BYTES].into_boxed_slice(),
            }),
            waker: Waker::from(Arc::new(Driver { connection: Weak::clone(weak) })),
            info: OnceLock::new(),
        });
        connection.drive();
        poll_fn(|cx| {
            let protocol = &mut connection.state().protocol;
            if let Some(failure) = protocol.failure() {
                return Poll::Ready(Err(match failure {
                    Error::Lost { cause, .. } => {
                        Error::Connect { address: options.address(), cause: Arc::clone(cause) }
                    }
                    other => other.clone(),
                }));
            }
            if let Some(info) = protocol.info() {
                connection.info.get_or_init(|| info.clone());
                return Poll::Ready(Ok(()));
            }
            protocol.wait_for_room(cx.waker());
            Poll::Pending
        })
        .await?;
        Ok(connection)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn info(&self) -> &ServerInfo {
        self.info.get().expect("a connection is handed out when it is welcomed")
    }

    /// Whether nothing is in flight and no transaction open.
    pub(crate) fn is_quiet(&self) -> bool {
        let protocol = &self.state().protocol;
        protocol.open_streams() == 0 && protocol.transaction() == TransactionStatus::Idle
    }

    /// Gives the connection up: all that wait for it learn why.
    pub(crate) fn fail(&self, error: Error) {
        let mut woken = Vec::new();
        self.state().protocol.fail(error, &mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Sends what is queued and takes what has arrived, without waiting for either.
    pub(crate) fn drive(&self) {
        let mut woken = Vec::new();
        let mut cx = Context::from_waker(&self.waker);
        let mut state = self.state();
        let driven = self
            .drive_writes(&mut cx, &mut state)
            .and_then(|()| self.drive_reads(&mut cx, &mut state, &mut woken))
            // Reading may have queued credits, or a part of the handshake.
            .and_then(|()| self.drive_writes(&mut cx, &mut state));
        if let Err(cause) = driven {
            state.protocol.fail(Error::lost(cause), &mut woken);
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    fn drive_writes(&self, cx: &mut Context<'_>, state: &mut State) -> io::Result<()> {
        let output = state.outgoing()?;
        while !output.is_empty() {
            match self.socket.get_ref().write(output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => output.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.socket.poll_writable(cx) {
                        Poll::Ready(ready) => ready?,
                        Poll::Pending => return Ok(()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn drive_reads(
        &self,
        cx: &mut Context<'_>,
        state: &mut State,
        woken: &mut Vec<Waker>,
    ) -> io::Result<()> {
        let State { protocol, tls, buffer, .. } = state;
        for _ in 0..READS_A_TURN {
            if protocol.failure().is_some() {
                return Ok(());
            }
            match self.socket.poll_readable(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
            match self.socket.get_ref().read(buffer) {
                Ok(0) => protocol.receive_end(woken),
                Ok(read) => match tls {
                    None => protocol.receive(Bytes::copy_from_slice(&buffer[..read]), woken),
                    Some(tls) => {
                        let mut plain = BytesMut::new();
                        tls.open(&buffer[..read], &mut plain)?;
                        if !plain.is_empty() {
                            protocol.receive(plain.freeze(), woken);
                        }
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        // There may be more, and the reactor was not asked to tell: come back by ourselves, after
        // those who have something to do now.
        woken.push(self.waker.clone());
        Ok(())
    }

    /// Queues a request as soon as the server takes one more.
    pub(crate) async fn start(self: &Arc<Self>, request: Request<'_>) -> Result<Answer, Error> {
        let mut flushed = false;
        let stream = poll_fn(|cx| {
            let mut state = self.state();
            let protocol = &mut state.protocol;
            if protocol.failure().is_some() || protocol.has_room() {
                return Poll::Ready(protocol.start(request));
            }
            protocol.wait_for_room(cx.waker());
            drop(state);
            if !std::mem::replace(&mut flushed, true) {
                self.drive();
            }
            Poll::Pending
        })
        .await?;
        Ok(Answer { connection: Arc::clone(self), stream, phase: Phase::Fresh, done: false })
    }
}

impl State {
    /// What is to leave, as it leaves.
    fn outgoing(&mut self) -> io::Result<&mut BytesMut> {
        let output = self.protocol.output();
        let Some(tls) = &mut self.tls else { return Ok(output) };
        if !output.is_empty() || tls.has_outgoing() {
            tls.seal(output, &mut self.sealed)?;
            output.clear();
        }
        Ok(&mut self.sealed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.protocol.failure().is_none() {
            ClientMessage::Goodbye.write(state.protocol.output(), CONNECTION);
            // What does not fit into the socket now is no loss: the end says the same.
            if let Ok(output) = state.outgoing() {
                self.socket.get_ref().write_all(output).ok();
            }
        }
    }
}

fn failed(options: &Options, cause: io::Error) -> Error {
    Error::Connect { address: options.address(), cause: Arc::new(cause) }
}

async fn connect(options: &Options) -> Result<Async<TcpStream>, Error> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolve(options).await.map_err(|cause| failed(options, cause))? {
        let connected = Async::<TcpStream>::connect(address).await;
        match connected.and_then(|socket| socket.get_ref().set_nodelay(true).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(failed(options, last))
}

async fn resolve(options: &Options) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = options.host.parse() {
        return Ok(vec![SocketAddr::new(address, options.port)]);
    }
    // The system's resolver blocks.
    let (host, port) = (options.host.clone(), options.port);
    ::blocking::unblock(move || Ok((host.as_str(), port).to_socket_addrs()?.collect())).await
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its future has not been polled: others may join its write.
    Fresh,
    /// The next poll writes.
    Queued,
    Sent,
}

/// The answer to a request, a piece at a time. Dropped early, the request is cancelled.
pub struct Answer {
    connection: Arc<Connection>,
    stream: StreamId,
    phase: Phase,
    done: bool,
}

impl Answer {
    /// The next piece; `None` when there is no more. Cancel-safe.
    ///
    /// # Errors
    /// A statement failed, which ends the answer, or the connection is lost.
    pub async fn next_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// As [`Answer::next_event`]; gives the connection up when nothing comes within `limit`.
    pub(crate) async fn next_within(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<Option<Event>, Error> {
        let Some(limit) = limit else { return self.next_event().await };
        let connection = Arc::clone(&self.connection);
        let passed = async {
            Timer::after(limit).await;
            connection.fail(Error::Timeout { limit, may_have_executed: false });
            // The answer itself now says so, with the request's part.
            future::pending().await
        };
        future::or(self.next_event(), passed).await
    }

    /// Asks the server to give the request up; the answer still has to be taken.
    pub fn cancel(&self) {
        self.connection.state().protocol.cancel(self.stream);
        self.connection.drive();
    }

    /// The next poll writes: nobody else is expected to join.
    pub(crate) fn queued(mut self) -> Answer {
        self.phase = Phase::Queued;
        self
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        if self.done {
            return Poll::Ready(Ok(None));
        }
        let mut state = self.connection.state();
        if let Some(event) = state.protocol.next_event(self.stream) {
            let flush = !state.protocol.output().is_empty() && self.phase == Phase::Sent;
            drop(state);
            if flush {
                // A credit was queued.
                self.connection.drive();
            }
            return Poll::Ready(match event {
                Ok((event, end)) => {
                    self.done = end;
                    Ok(Some(event))
                }
                Err(error) => {
                    self.done = true;
                    Err(error)
                }
            });
        }
        state.protocol.wait_for_event(self.stream, cx.waker());
        drop(state);
        match self.phase {
            Phase::Fresh => {
                self.phase = Phase::Queued;
                cx.waker().wake_by_ref();
            }
            Phase::Queued => {
                self.phase = Phase::Sent;
                self.connection.drive();
            }
            Phase::Sent => {}
        }
        Poll::Pending
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.done {
            self.connection.state().protocol.abandon(self.stream);
            self.connection.drive();
        }
    }
}
