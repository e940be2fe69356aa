//! The log: JSON lines on standard error, written by a thread of its own.
//!
//! Every part of the program logs with the macros of the `log` crate, key-value pairs included:
//! `log::info!(address = address.to_string(); "serving")`. A core must never wait for whoever
//! reads standard error, so lines go through a bounded queue:
//!
//! ```text
//!   core 0 ──┐
//!   core 1 ──┼── try_send ──> queue of QUEUE_LINES ──> thread "log" ──> standard error
//!   signals ─┘       └─ full: counted, and told in a line of its own once there is room
//! ```
//!
//! A line: `{"time":"2026-11-20T14:18:16.123456Z","level":"info","module":"phantomdb::node",
//! "thread":"core-0","message":"serving","address":"127.0.0.1:7430"}`. The time is UTC.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use config::LogLevel;
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, LevelFilter, Log, Metadata, Record};
use model::text::push_text;
use model::types::DataType;
use model::value::ValueRef;

/// Lines that wait for the writer at most; one more is dropped and counted.
const QUEUE_LINES: usize = 8_192;
/// How long [`Guard`] waits for the last lines when nobody reads standard error.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// A message longer than this is cut.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// What the writer is sent.
enum Message {
    Line(String),
    /// Answered when everything before it is written.
    Flush(flume::Sender<()>),
}

/// The logger of this process.
struct Logger {
    queue: flume::Sender<Message>,
    dropped: AtomicU64,
}

/// Writes the lines that still wait when it is dropped; keep it until the end of `main`.
#[must_use]
pub struct Guard {
    queue: flume::Sender<Message>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (done, written) = flume::bounded(1);
        // A writer that is gone or stuck has nobody left to tell.
        if self.queue.send_timeout(Message::Flush(done), FLUSH_TIMEOUT).is_ok() {
            let _answered: Result<(), flume::RecvTimeoutError> =
                written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Makes this process log lines of `level` and above, and panics as lines of level error. At most
/// once a process.
///
/// # Errors
/// There is a logger already, or no thread for this one.
pub fn install(level: LogLevel) -> io::Result<Guard> {
    let (queue, lines) = flume::bounded(QUEUE_LINES);
    runtime::thread::spawn("log", move || write_lines(&lines, &mut io::stderr()))?;
    let guard = Guard { queue: queue.clone() };
    log::set_boxed_logger(Box::new(Logger { queue, dropped: AtomicU64::new(0) }))
        .map_err(io::Error::other)?;
    log::set_max_level(filter(level));
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), ToString::to_string);
        let payload = panic.payload_as_str().unwrap_or("a payload that is no text");
        log::error!(place = place.as_str(); "panic: {payload}");
    }));
    Ok(guard)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::Off,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let lost =
                format_args!("{dropped} log lines dropped: standard error is not read fast enough")
                    .to_string();
            let told = self.queue.try_send(Message::Line(plain_line(Level::Warn, &lost)));
            if told.is_err() {
                self.dropped.fetch_add(dropped, Ordering::Relaxed);
            }
        }
        if self.queue.try_send(Message::Line(line(record))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        drop(Guard { queue: self.queue.clone() });
    }
}

/// The writer's thread: many lines a system call while they come fast, each at once otherwise.
fn write_lines(lines: &flume::Receiver<Message>, out: &mut impl Write) {
    let mut batch = String::new();
    let mut waiting = Vec::new();
    while let Ok(first) = lines.recv() {
        for message in std::iter::once(first).chain(lines.try_iter().take(QUEUE_LINES)) {
            match message {
                Message::Line(line) => batch.push_str(&line),
                Message::Flush(done) => waiting.push(done),
            }
        }
        // When standard error is closed there is nobody to tell; the queue is still emptied.
        let _written: io::Result<()> = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
        batch.clear();
        for done in waiting.drain(..) {
            let _asker_left: Result<(), flume::SendError<()>> = done.send(());
        }
    }
}

fn plain_line(level: Level, message: &str) -> String {
    line(
        &Record::builder()
            .level(level)
            .target("phantomdb::logging")
            .args(format_args!("{message}"))
            .build(),
    )
}

/// The record as one line of JSON with its newline.
fn line(record: &Record<'_>) -> String {
    let now = runtime::time::wall_clock().as_nanos();
    match runtime::sim::place() {
        Some((runtime::sim::CLIENT, _)) => line_at(record, now, "clients"),
        Some((node, core)) => line_at(record, now, &format!("node-{node}-core-{core}")),
        None => line_at(record, now, std::thread::current().name().unwrap_or("")),
    }
}

fn line_at(record: &Record<'_>, unix_nanos: u64, thread: &str) -> String {
    let mut line = String::with_capacity(256);
    line.push_str("{\"time\":\"");
    push_time(&mut line, unix_nanos);
    line.push_str("\",\"level\":\"");
    line.push_str(match record.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    });
    line.push('"');
    push_member(&mut line, "module", record.target());
    if !thread.is_empty() {
        push_member(&mut line, "thread", thread);
    }
    let mut message = record.args().to_string();
    if message.len() > MESSAGE_BYTES_MAX {
        let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
        message.truncate(end);
        message.push_str("...");
    }
    push_member(&mut line, "message", &message);
    // Our visitor gives no errors.
    let _infallible: Result<(), kv::Error> = record.key_values().visit(&mut Members(&mut line));
    line.push_str("}\n");
    line
}

/// `2026-11-20T14:18:16.123456Z`.
fn push_time(line: &mut String, unix_nanos: u64) {
    /// 2000-01-01 00:00:00 UTC in Unix time, in microseconds.
    const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
    let micros = (unix_nanos / 1_000) as i64 - POSTGRES_EPOCH_MICROS;
    let start = line.len();
    push_text(line, &ValueRef::Timestamp(micros), DataType::Timestamp);
    line.replace_range(start + 10..start + 11, "T");
    line.push('Z');
}

fn push_member(line: &mut String, key: &str, value: &str) {
    line.push(',');
    push_string(line, key);
    line.push(':');
    push_string(line, value);
}

/// A JSON string with its quotes.
fn push_string(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c < ' ' => push_display(line, format_args!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line.push('"');
}

fn push_display(line: &mut String, value: impl fmt::Display) {
    // Writing to a String cannot fail.
    let _infallible: fmt::Result = write!(line, "{value}");
}

/// Appends key-value pairs as members.
struct Members<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Members<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.push(',');
        push_string(self.0, key.as_str());
        self.0.push(':');
        value.visit(Members(self.0))
    }
}

impl<'v> VisitValue<'v> for Members<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        push_string(self.0, &value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0.push_str("null");
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        push_display(self.0, value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        push_display(self.0, value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        if value.is_finite() {
            push_display(self.0, value);
        } else {
            push_string(self.0, &value.to_string());
        }
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        push_display(self.0, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANOS: u64 = 1_795_184_296_123_456_789;

    #[test]
    fn a_line_is_json_with_its_pairs() {
        let pairs: [(&str, Value<'_>); 4] = [
            ("cores", Value::from(4)),
            ("load", Value::from(f64::NAN)),
            ("tls", Value::from(false)),
            ("who", Value::from("a\u{1}b")),
        ];
        let line = line_at(
            &Record::builder()
                .level(Level::Warn)
                .target("phantomdb::node")
                .args(format_args!("said \"{}\"", "x\ny"))
                .key_values(&pairs.as_slice())
                .build(),
            NANOS,
            "core-0",
        );
        let expected = concat!(
            r#"{"time":"2026-11-20T14:18:16.123456Z","level":"warn","module":"phantomdb::node","#,
            r#""thread":"core-0","message":"said \"x\ny\"","cores":4,"load":"NaN","tls":false,"who":"a\u0001b"}"#,
            "\n"
        );
        assert_eq!(line, expected);
        let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(parsed["who"], "a\u{1}b");
    }

    #[test]
    fn long_messages_are_cut() {
        let long = "ä".repeat(MESSAGE_BYTES_MAX);
        let line = line_at(&Record::builder().args(format_args!("{long}")).build(), NANOS, "");
        assert!(line.len() < MESSAGE_BYTES_MAX + 200);
        assert!(line.ends_with("ä...\"}\n"));
    }

    /// A full queue drops lines and tells how many once there is room.
    #[test]
    fn what_is_dropped_is_told() {
        let (queue, lines) = flume::bounded(2);
        let logger = Logger { queue, dropped: AtomicU64::new(0) };
        log::set_max_level(LevelFilter::Info);
        let log = |text: &str| {
            logger.log(&Record::builder().level(Level::Info).args(format_args!("{text}")).build())
        };
        for text in ["one", "two", "three", "four"] {
            log(text);
        }
        assert_eq!(lines.drain().count(), 2);
        log("five");
        let said: Vec<String> = lines
            .drain()
            .map(|message| match message {
                Message::Line(line) => line,
                Message::Flush(_) => String::new(),
            })
            .collect();
        assert!(said[0].contains("2 log lines dropped"), "{said:?}");
        assert!(said[1].contains("five"), "{said:?}");
    }

    #[test]
    fn the_writer_writes_what_was_queued_before_a_flush() {
        let (queue, lines) = flume::bounded(8);
        let (done, written) = flume::bounded(1);
        for message in
            [Message::Line("a\n".into()), Message::Line("b\n".into()), Message::Flush(done)]
        {
            assert!(queue.send(message).is_ok());
        }
        drop(queue);
        let mut out = Vec::new();
        write_lines(&lines, &mut out);
        assert_eq!(out, b"a\nb\n");
        assert_eq!(written.try_recv(), Ok(()));
    }
}
