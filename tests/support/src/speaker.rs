//! The client's side of PostgreSQL's protocol, spoken byte by byte, so that it can be spoken wrongly.

use crate::{Server, Stopwatch, sleep};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it may take until an answer is the expected one.
const SOON: Duration = Duration::from_secs(10);

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The kind.
    pub kind: char,
    /// What is behind its length.
    pub body: Vec<u8>,
}

impl Message {
    /// The texts in the body, split at zeros.
    fn texts(&self) -> Vec<String> {
        let texts = self.body.split(|byte| *byte == 0);
        texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    /// A field of an error or a notice.
    pub fn field(&self, kind: char) -> Option<String> {
        self.texts().into_iter().find_map(|text| text.strip_prefix(kind).map(str::to_owned))
    }

    /// The columns of a row, as text.
    pub fn row(&self) -> Vec<Option<String>> {
        assert_eq!(self.kind, 'D');
        let mut rest = &self.body[2..];
        let mut columns = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (value, behind) = behind.split_at(length.unwrap_or(0));
            columns.push(length.map(|_| String::from_utf8_lossy(value).into_owned()));
            rest = behind;
        }
        columns
    }
}

/// A connection.
pub struct Speaker {
    stream: TcpStream,
    /// The session's process and secret.
    pub key: [u8; 8],
}

impl Speaker {
    /// A connection on which nothing has been said.
    pub fn silent(server: &Server) -> Speaker {
        Speaker::silent_at(server.pg_address())
    }

    /// The same, with whatever server listens at `address`.
    pub fn silent_at(address: &str) -> Speaker {
        let stream = TcpStream::connect(address).expect("the door is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Speaker { stream, key: [0; 8] }
    }

    /// A session of the default user.
    pub fn connect(server: &Server) -> Speaker {
        Speaker::connect_to(server.pg_address(), "phantom", "phantom")
    }

    /// A session of a user who is asked for no password, with whatever server listens at `address`.
    pub fn connect_to(address: &str, user: &str, database: &str) -> Speaker {
        let mut speaker = Speaker::silent_at(address);
        let answer = speaker.start(&[("user", user), ("database", database)]);
        let key = answer.iter().find(|message| message.kind == 'K').expect("a cancel key");
        speaker.key = key.body[..].try_into().expect("eight bytes");
        speaker
    }

    /// Sends a start-up packet and reads the answer: to `ReadyForQuery` or the end.
    pub fn start(&mut self, parameters: &[(&str, &str)]) -> Vec<Message> {
        self.send_startup(parameters);
        self.answer()
    }

    /// Sends a start-up packet.
    pub fn send_startup(&mut self, parameters: &[(&str, &str)]) {
        let mut body = vec![0, 3, 0, 0];
        for (name, value) in parameters {
            body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        body.push(0);
        self.packet(&body);
    }

    /// Sends a packet without a kind.
    pub fn packet(&mut self, body: &[u8]) {
        let mut bytes = (body.len() as u32 + 4).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        self.bytes(&bytes);
    }

    /// Sends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes bytes");
    }

    /// Sends a message.
    pub fn send(&mut self, kind: char, body: &[u8]) {
        self.bytes(&framed(kind, body));
    }

    /// One byte of an answer that has no frame.
    pub fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).expect("a byte");
        byte[0]
    }

    /// The next message; `None` at the end.
    pub fn receive(&mut self) -> Option<Message> {
        let mut header = [0; 5];
        match self.stream.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if is_end(&error) => return None,
            Err(error) => panic!("no answer: {error}"),
        }
        let [kind, length @ ..] = header;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.stream.read_exact(&mut body).expect("a whole message");
        Some(Message { kind: char::from(kind), body })
    }

    /// Whether something of the next message, or the end, arrives within some time, which is not 0.
    pub fn arrives(&self, within: Duration) -> bool {
        self.stream.set_read_timeout(Some(within)).expect("a timeout");
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        match seen {
            Ok(_) => true,
            Err(error) if is_end(&error) => true,
            Err(error) if is_too_early(&error) => false,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// All messages up to `ReadyForQuery` or the end.
    pub fn answer(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive() {
            let last = message.kind == 'Z';
            messages.push(message);
            if last {
                break;
            }
        }
        messages
    }

    /// The kinds of the messages up to `ReadyForQuery` or the end.
    pub fn kinds(&mut self) -> String {
        self.answer().iter().map(|message| message.kind).collect()
    }

    /// Runs statements by the simple protocol: rows as `a|b` (NULL as `~`), errors as their
    /// SQLSTATE, each followed by `;`.
    pub fn query(&mut self, text: &str) -> String {
        self.send('Q', format!("{text}\0").as_bytes());
        self.results()
    }

    /// The answer up to `ReadyForQuery`, as [`Speaker::query`] shows it.
    pub fn results(&mut self) -> String {
        let mut shown = String::new();
        for message in self.answer() {
            match message.kind {
                'D' => {
                    let columns = message.row().into_iter();
                    let columns: Vec<String> =
                        columns.map(|column| column.unwrap_or_else(|| "~".to_owned())).collect();
                    shown += &(columns.join("|") + ";");
                }
                'E' => shown += &(message.field('C').expect("a SQLSTATE") + ";"),
                _ => {}
            }
        }
        shown
    }

    /// The number of the session's process.
    pub fn process(&mut self) -> String {
        self.query("SELECT pg_backend_pid()").trim_end_matches(';').to_owned()
    }

    /// Asks until the answer is the expected one, which it must be soon.
    pub fn until(&mut self, query: &str, expected: &str) {
        let since = Stopwatch::start();
        loop {
            let answer = self.query(query);
            if answer == expected {
                return;
            }
            assert!(since.elapsed() < SOON, "{query}: {answer}, not {expected}");
            sleep(Duration::from_millis(10));
        }
    }

    /// Hangs up without a goodbye.
    pub fn vanish(self) {
        drop(self.stream);
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

fn is_too_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A message with its kind and length.
pub fn framed(kind: char, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// `Parse` of a statement whose parameters' types are to be found out.
pub fn parse(name: &str, text: &str) -> Vec<u8> {
    framed('P', format!("{name}\0{text}\0\0\0").as_bytes())
}

/// `Bind` with parameters and results as text.
pub fn bind(portal: &str, statement: &str, parameters: &[&str]) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0\0\0").into_bytes();
    body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        body.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
        body.extend_from_slice(parameter.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    framed('B', &body)
}

/// `Execute` of a portal.
pub fn execute(portal: &str, limit: u32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend_from_slice(&limit.to_be_bytes());
    framed('E', &body)
}

/// `Sync`
pub fn sync() -> Vec<u8> {
    framed('S', &[])
}
