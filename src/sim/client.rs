//! A client of the native protocol over simulated sockets: one request at a time.
//!
//! It shares frames and messages with the server, and nothing else. What it learns of a request is
//! one of three things: an answer, a refusal, or that the connection broke first.

use bytes::{Bytes, BytesMut};
use model::error::SqlState;
use model::value::Value;
use net::frame::{CONNECTION, FrameDecoder, StreamId};
use net::message::{
    ClientMessage, Execute, Hello, MAGIC, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN, Prepare,
    Report, ServerMessage, Severity,
};
use runtime::net::{ReadHalf, Stream, WriteHalf};
use runtime::time;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A request that is not answered after so long is given up, with its connection.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(40);
/// Connecting and the handshake together take no longer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest payload taken from the server, in bytes.
const PAYLOAD_MAX: u32 = 16 << 20;
/// Window of every stream, in bytes; small, so that flow control takes part.
const WINDOW: u32 = 16 << 10;

/// What a statement answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub rows: Vec<Vec<Value>>,
    /// PostgreSQL's command tag.
    pub tag: String,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The statement was refused; the connection goes on.
    Refused(Box<Report>),
    /// The connection is gone, and with it word of the request's fate.
    Lost(String),
}

impl Failure {
    /// The SQLSTATE of a refusal.
    pub fn state(&self) -> Option<SqlState> {
        match self {
            Failure::Refused(report) => Some(report.error.state()),
            Failure::Lost(_) => None,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused(report) => {
                write!(f, "{report}")?;
                match &report.error.fields().detail {
                    Some(detail) => write!(f, " ({detail})"),
                    None => Ok(()),
                }
            }
            Failure::Lost(why) => write!(f, "connection lost: {why}"),
        }
    }
}

/// One connection.
pub(super) struct Client {
    read: ReadHalf,
    write: WriteHalf,
    decoder: FrameDecoder,
    stream: u32,
    /// Statements prepared on this connection, by their text.
    prepared: BTreeMap<String, u32>,
    bytes_since_credit: u32,
}

impl Client {
    /// Connects and shakes hands.
    pub async fn connect(address: SocketAddr) -> Result<Client, Failure> {
        match time::timeout(CONNECT_TIME_MAX, Client::shake_hands(address)).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(Failure::Lost("no welcome in time".to_owned())),
        }
    }

    async fn shake_hands(address: SocketAddr) -> Result<Client, Failure> {
        let stream = Stream::connect(address).await.map_err(lost)?;
        let (read, write) = stream.split();
        let mut client = Client {
            read,
            write,
            decoder: FrameDecoder::new(PAYLOAD_MAX),
            stream: 0,
            prepared: BTreeMap::new(),
            bytes_since_credit: 0,
        };
        let hello = Hello {
            magic: MAGIC,
            version_min: PROTOCOL_VERSION_MIN,
            version_max: PROTOCOL_VERSION_MAX,
            user: "phantom".to_owned(),
            database: "phantom".to_owned(),
            application: "sim".to_owned(),
            window: WINDOW,
            settings: Vec::new(),
        };
        client.send(&ClientMessage::Hello(hello), CONNECTION).await?;
        loop {
            match client.receive().await? {
                (_, ServerMessage::Welcome(_), _) => return Ok(client),
                (_, ServerMessage::Error(report), _) => {
                    return Err(Failure::Lost(report.to_string()));
                }
                _ => {}
            }
        }
    }

    /// Runs a statement: as text with its parameters written out, or prepared.
    pub async fn run(
        &mut self,
        statement: &str,
        parameters: &[Value],
        prepared: bool,
    ) -> Result<Answer, Failure> {
        let asked = async {
            if !prepared {
                return self.ask(&ClientMessage::Query(inline(statement, parameters))).await;
            }
            let number = match self.prepared.get(statement) {
                Some(number) => *number,
                None => self.prepare(statement).await?,
            };
            let parameters = parameters.to_vec();
            self.ask(&ClientMessage::Execute(Execute { statement: number, parameters })).await
        };
        let answer = match time::timeout(ANSWER_TIME_MAX, asked).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Failure::Lost(format!("no answer to {statement}"))),
        };
        match &answer {
            Ok(answer) => log::debug!("{statement} {parameters:?}: {}", answer.tag),
            Err(failure) => log::debug!("{statement} {parameters:?}: {failure}"),
        }
        answer
    }

    /// Runs a statement without parameters, as text.
    pub async fn query(&mut self, statement: &str) -> Result<Answer, Failure> {
        self.run(statement, &[], false).await
    }

    async fn prepare(&mut self, statement: &str) -> Result<u32, Failure> {
        let number = self.prepared.len() as u32 + 1;
        let text = statement.to_owned();
        let prepare = Prepare { statement: number, text, parameters: Vec::new() };
        self.ask(&ClientMessage::Prepare(prepare)).await?;
        self.prepared.insert(statement.to_owned(), number);
        Ok(number)
    }

    async fn ask(&mut self, message: &ClientMessage) -> Result<Answer, Failure> {
        self.stream += 1;
        self.bytes_since_credit = 0;
        let stream = StreamId(self.stream);
        self.send(message, stream).await?;
        let mut answer = Answer::default();
        loop {
            let (of, message, end) = self.receive().await?;
            if of == CONNECTION {
                match message {
                    ServerMessage::Error(report) => return Err(Failure::Lost(report.to_string())),
                    _ => continue,
                }
            }
            if of != stream {
                return Err(Failure::Lost(format!("an answer on stream {of}")));
            }
            match message {
                ServerMessage::Rows(batch) => {
                    let rows = batch.to_rows().map_err(lost)?;
                    answer.rows.extend(rows);
                    self.credit(batch.payload().len() as u32, stream, end).await?;
                }
                ServerMessage::Complete(complete) => answer.tag = complete.tag,
                ServerMessage::Error(report) if report.severity == Severity::Fatal => {
                    return Err(Failure::Lost(report.to_string()));
                }
                ServerMessage::Error(report) => return Err(Failure::Refused(Box::new(report))),
                _ => {}
            }
            if end {
                return Ok(answer);
            }
        }
    }

    /// Gives the server window back for what has been read.
    async fn credit(&mut self, bytes: u32, stream: StreamId, end: bool) -> Result<(), Failure> {
        self.bytes_since_credit += bytes;
        if self.bytes_since_credit < WINDOW / 2 || end {
            return Ok(());
        }
        let credit = ClientMessage::Credit(self.bytes_since_credit);
        self.bytes_since_credit = 0;
        self.send(&credit, stream).await
    }

    async fn send(&mut self, message: &ClientMessage, stream: StreamId) -> Result<(), Failure> {
        let mut out = BytesMut::new();
        message.write(&mut out, stream);
        self.write.write_all(&mut vec![out.freeze()]).await.map_err(lost)
    }

    async fn receive(&mut self) -> Result<(StreamId, ServerMessage, bool), Failure> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(lost)? {
                let message = ServerMessage::read(&frame).map_err(lost)?;
                return Ok((frame.stream, message, frame.end));
            }
            let received = self.read.read().await.map_err(lost)?;
            if received.is_empty() {
                return Err(Failure::Lost("the server closed the connection".to_owned()));
            }
            self.decoder.feed(Bytes::copy_from_slice(&received));
        }
    }
}

fn lost(why: impl std::fmt::Display) -> Failure {
    Failure::Lost(why.to_string())
}

/// Writes parameters into the text. They are numbers and plain words.
fn inline(statement: &str, parameters: &[Value]) -> String {
    let mut text = statement.to_owned();
    for (index, value) in parameters.iter().enumerate().rev() {
        let literal = match value {
            Value::Int(number) => number.to_string(),
            Value::Text(word) => format!("'{word}'"),
            other => unreachable!("no statement of the workload has a parameter like {other:?}"),
        };
        text = text.replace(&format!("${}", index + 1), &literal);
    }
    text
}
