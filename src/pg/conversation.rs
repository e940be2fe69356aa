//! Messages, one after the other, until the client has no more.

use super::Door;
use super::answer::Answer;
use super::binary;
use super::greeting::{Greeted, farewell};
use super::inlet::Ended;
use super::wire::backend::{self, Severity};
use super::wire::frontend::{Bind, Message, Object, Parse};
use crate::session::{Name, Portal, Progress, shutting_down};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{Either, select};
use model::error::{SqlError, SqlState};
use model::id::CatalogVersion;
use model::types::{DataType, oid};
use model::value::Value;
use runtime::task;
use std::num::NonZeroU64;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;

/// Messages carried out before others of the core get a turn.
const MESSAGES_PER_TURN: u32 = 32;

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    End,
}

/// Carries out what a client asks, until it says goodbye, is gone or the node stops.
pub(super) async fn run(door: &Rc<Door>, greeted: Greeted) {
    let host = door.host.clone();
    let (reported, version) = (greeted.session.reported(), greeted.session.reported_version());
    let mut conversation =
        Conversation { greeted, reported, version, skips: false, messages_in_turn: 0, told: false };
    let closed = {
        let ends = pin!(host.end_of(&conversation.greeted.session));
        let talk = pin!(conversation.talk(&host));
        match select(talk, ends).await {
            Either::Left(_) => None,
            Either::Right((why, _)) => Some(why),
        }
    };
    let Greeted { session, ends, .. } = conversation.greeted;
    if let Some(why) = closed {
        farewell(&ends.outlet, &why);
    }
    session.end().await;
    ends.outlet.close();
}

struct Conversation {
    greeted: Greeted,
    /// Settings as the client was told last.
    reported: Vec<(&'static str, String)>,
    /// Which they were.
    version: (u64, CatalogVersion),
    /// A message failed: what follows is skipped up to the next `Sync`.
    skips: bool,
    messages_in_turn: u32,
    /// The node drains: the session ends with its transaction.
    told: bool,
}

impl Conversation {
    async fn talk(&mut self, host: &crate::session::Host) {
        let ends = self.greeted.ends.clone();
        let mut draining = pin!(host.draining());
        loop {
            if self.told && !self.greeted.session.standing().in_block() {
                farewell(&ends.outlet, &shutting_down());
                return;
            }
            let message = match ends.inlet.try_next() {
                Ok(Some(message)) => message,
                Ok(None) => {
                    ends.outlet.flush();
                    let next = pin!(ends.inlet.next());
                    let next = match self.told {
                        true => next.await,
                        false => match select(next, draining.as_mut()).await {
                            Either::Left((next, _)) => next,
                            Either::Right(_) => {
                                self.told = true;
                                continue;
                            }
                        },
                    };
                    match next {
                        Ok(message) => message,
                        Err(ended) => return self.take_leave(&ended),
                    }
                }
                Err(ended) => return self.take_leave(&ended),
            };
            if self.carry_out(message).await == Then::End {
                return;
            }
            self.messages_in_turn += 1;
            if self.messages_in_turn.is_multiple_of(MESSAGES_PER_TURN) {
                task::yield_if_due().await;
            }
            // Answers must not pile up for a client that sends and never reads.
            ends.outlet.room().await;
            if ends.outlet.is_gone() {
                return;
            }
        }
    }

    fn take_leave(&self, ended: &Ended) {
        if let Some(error) = ended.farewell() {
            farewell(&self.greeted.ends.outlet, &error);
        }
    }

    /// Carries a message out, and survives a defect met there.
    async fn carry_out(&mut self, message: Message) -> Then {
        // What a statement needs is on the heap only while there is one.
        let done = AssertUnwindSafe(Box::pin(self.message(message))).catch_unwind().await;
        done.unwrap_or_else(|_panic| {
            // The panic hook has logged it. What the session holds may be half changed.
            let error = SqlError::internal("the statement met a defect of the server")
                .hint("The server's log says where; please report it.");
            farewell(&self.greeted.ends.outlet, &error);
            Then::End
        })
    }

    async fn message(&mut self, message: Message) -> Then {
        match message {
            Message::Terminate => return Then::End,
            Message::Sync => self.sync().await,
            Message::Flush => self.greeted.ends.outlet.flush(),
            // Of a copy that has failed: the client could not know.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => {}
            _ if self.skips => {}
            Message::Query(text) => self.query(&text).await,
            Message::FunctionCall => {
                let refused = SqlError::unsupported("calling functions by their number");
                self.fail(refused);
                self.ready();
            }
            Message::Password(_) => {
                let error = SqlError::new(
                    SqlState::PROTOCOL_VIOLATION,
                    "a password comes where none was asked for",
                );
                farewell(&self.greeted.ends.outlet, &error);
                return Then::End;
            }
            message => {
                if let Err(error) = self.extended(message).await {
                    self.fail(error);
                    self.skips = true;
                }
            }
        }
        Then::GoOn
    }

    /// One message of the extended protocol.
    async fn extended(&mut self, message: Message) -> Result<(), SqlError> {
        match message {
            Message::Parse(parse) => self.parse(parse).await,
            Message::Bind(bind) => self.bind(bind).await,
            Message::Describe(object) => self.describe(&object),
            Message::Execute { portal, limit } => self.execute(&portal, limit).await,
            Message::Close(Object::Statement(name)) => {
                self.greeted.session.close_statement(Name::Text(&name));
                self.queue(backend::close_complete);
                Ok(())
            }
            Message::Close(Object::Portal(name)) => {
                self.greeted.session.close_portal(&name);
                self.queue(backend::close_complete);
                Ok(())
            }
            _ => Err(SqlError::internal("a message has no place")),
        }
    }

    fn queue(&self, write: impl FnOnce(&mut BytesMut)) {
        // A client that is gone needs nothing.
        let _gone = self.greeted.ends.outlet.queue(write);
    }

    fn fail(&self, error: SqlError) {
        self.queue(|out| backend::report(out, Severity::Error, &error));
    }

    /// The end of a request: settings that it changed are told, and the next one may come.
    fn ready(&mut self) {
        let version = self.greeted.session.reported_version();
        if version != self.version {
            self.version = version;
            let reported = self.greeted.session.reported();
            for (now, before) in reported.iter().zip(&self.reported) {
                if now != before {
                    self.queue(|out| backend::parameter_status(out, now.0, &now.1));
                }
            }
            self.reported = reported;
        }
        let standing = self.greeted.session.standing();
        self.queue(|out| backend::ready_for_query(out, standing));
    }

    async fn sync(&mut self) {
        self.skips = false;
        if let Err(error) = self.greeted.session.sync().await {
            self.fail(error);
        }
        self.ready();
    }

    async fn query(&mut self, text: &str) {
        let Greeted { session, ends, .. } = &mut self.greeted;
        session.close_portal("");
        session.close_statement(Name::Text(""));
        let mut answer = Answer::described(ends);
        if let Err(error) = session.query(text, &mut answer, &*ends).await {
            self.fail(error);
        }
        self.ready();
    }

    async fn parse(&mut self, parse: Parse) -> Result<(), SqlError> {
        let declared: Vec<DataType> =
            parse.types.iter().map(|oid| declared(*oid)).collect::<Result<_, _>>()?;
        let session = &mut self.greeted.session;
        let described = session.prepare(Name::Text(&parse.name), &parse.text, &declared).await?;
        for warning in &described.warnings {
            self.queue(|out| backend::report(out, Severity::Warning, warning));
        }
        self.queue(backend::parse_complete);
        Ok(())
    }

    async fn bind(&mut self, bind: Bind) -> Result<(), SqlError> {
        let session = &mut self.greeted.session;
        let statement = Name::Text(&bind.statement);
        let planned = session.prepared(statement)?;
        let parameters = parameters(&bind, &planned.parameters)?;
        let binary = binary_columns(&bind.result_formats, planned.columns.len())?;
        session.bind(&bind.portal, statement, parameters, binary).await?;
        self.queue(backend::bind_complete);
        Ok(())
    }

    fn describe(&mut self, object: &Object) -> Result<(), SqlError> {
        let session = &mut self.greeted.session;
        let (planned, binary) = match object {
            Object::Statement(name) => {
                let planned = session.prepared(Name::Text(name))?;
                self.queue(|out| backend::parameter_description(out, &planned.parameters));
                (planned, Rc::from([]))
            }
            Object::Portal(name) => {
                let Portal { planned, binary } = session.portal(name)?;
                (planned, binary)
            }
        };
        match planned.has_rows() {
            true => self.queue(|out| backend::row_description(out, &planned.columns, &binary)),
            false => self.queue(backend::no_data),
        }
        Ok(())
    }

    async fn execute(&mut self, portal: &str, limit: i32) -> Result<(), SqlError> {
        let Greeted { session, ends, .. } = &mut self.greeted;
        let Portal { planned, binary } = session.portal(portal)?;
        let limit = u64::try_from(limit).ok().and_then(NonZeroU64::new);
        let more = !ends.inlet.at_sync();
        let mut answer = Answer::bound(ends, &planned.columns, &binary);
        let progress = session.run_portal(portal, limit, more, &mut answer, &*ends).await?;
        if progress == Progress::Suspended {
            self.queue(backend::portal_suspended);
        }
        Ok(())
    }
}

/// The type that a client declares a parameter to be.
fn declared(oid: u32) -> Result<DataType, SqlError> {
    /// `bpchar`: of no certain length, it is text.
    const BLANK_PADDED: u32 = 1042;
    match oid {
        0 => Ok(DataType::Unknown),
        BLANK_PADDED => Ok(DataType::Text),
        oid => oid::from_oid(oid, -1).ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} does not exist"))
        }),
    }
}

fn violation(message: String) -> SqlError {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, message)
}

/// Whether each of `count` values is in binary form, as `formats` say: none, one for all, or one
/// each.
fn binary_each(formats: &[i16], count: usize, what: &str) -> Result<Vec<bool>, SqlError> {
    let binary = |format: &i16| match format {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("unsupported format code: {other}"),
        )),
    };
    match formats {
        [] => Ok(vec![false; count]),
        [all] => Ok(vec![binary(all)?; count]),
        each if each.len() == count => each.iter().map(binary).collect(),
        each => Err(violation(format!(
            "bind message has {} {what} formats but there are {count} {what}s",
            each.len()
        ))),
    }
}

/// As [`binary_each`]; nothing where no column is.
fn binary_columns(formats: &[i16], count: usize) -> Result<Vec<bool>, SqlError> {
    let binary = binary_each(formats, count, "result column")?;
    Ok(if binary.contains(&true) { binary } else { Vec::new() })
}

/// The parameters of a `Bind` as values of the statement's types.
fn parameters(bind: &Bind, types: &[DataType]) -> Result<Vec<Value>, SqlError> {
    if bind.parameters.len() != types.len() {
        return Err(violation(format!(
            "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
            bind.parameters.len(),
            &*bind.statement,
            types.len()
        )));
    }
    let binary = binary_each(&bind.formats, types.len(), "parameter")?;
    let given = bind.parameters.iter().zip(types).zip(binary);
    given
        .map(|((bytes, data_type), binary)| parameter(bytes.as_ref(), *data_type, binary))
        .collect()
}

fn parameter(
    bytes: Option<&Bytes>,
    data_type: DataType,
    is_binary: bool,
) -> Result<Value, SqlError> {
    match bytes {
        None => Ok(Value::Null),
        Some(bytes) if is_binary => binary::decode(bytes, data_type),
        Some(bytes) => crate::session::read_text(binary::text(bytes)?, data_type),
    }
}
