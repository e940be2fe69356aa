//! Errors and notices.

use crate::codec::{Malformed, Reader, Wire, put_bytes};
use bytes::{BufMut, BytesMut};
use model::error::{ErrorFields, SqlError, SqlState};
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Severity {
    /// The statement failed.
    Error = 1,
    /// The connection ends.
    Fatal = 2,
    /// Probably not what the user meant.
    Warning = 3,
    /// Worth knowing.
    Notice = 4,
    /// Asked for.
    Info = 5,
}

impl Severity {
    /// The word that stands in front of the message.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
            Severity::Info => "INFO",
        }
    }
}

impl Wire for Severity {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(*self as u8);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match u8::decode(input)? {
            1 => Severity::Error,
            2 => Severity::Fatal,
            3 => Severity::Warning,
            4 => Severity::Notice,
            5 => Severity::Info,
            _ => return Err(Malformed::OutOfRange("a severity")),
        })
    }
}

/// Where the session stands after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum TransactionStatus {
    /// Outside a transaction block.
    #[default]
    Idle = 0,
    /// Inside one.
    Open = 1,
    /// Inside one that has failed: only its end is possible.
    Failed = 2,
}

impl Wire for TransactionStatus {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(*self as u8);
    }
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match u8::decode(input)? {
            0 => TransactionStatus::Idle,
            1 => TransactionStatus::Open,
            2 => TransactionStatus::Failed,
            _ => return Err(Malformed::OutOfRange("a transaction status")),
        })
    }
}

/// An error or a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How bad.
    pub severity: Severity,
    /// Whether the same transaction may succeed when repeated unchanged.
    pub retryable: bool,
    /// Where the session stands now.
    pub transaction: TransactionStatus,
    /// What happened.
    pub error: SqlError,
}

impl Report {
    /// A report of `error`, retryable as its SQLSTATE says.
    pub fn new(severity: Severity, transaction: TransactionStatus, error: SqlError) -> Report {
        Report { severity, retryable: error.state().is_retryable(), transaction, error }
    }
}

/// `ERROR 42703: column "x" does not exist`
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity.name(), self.error)
    }
}

impl Wire for Report {
    fn encode(&self, out: &mut BytesMut) {
        let fields = self.error.fields();
        self.severity.encode(out);
        out.extend_from_slice(&fields.state.0);
        self.retryable.encode(out);
        self.transaction.encode(out);
        fields.position.unwrap_or(0).encode(out);
        put_bytes(out, fields.message.as_bytes());
        fields.detail.encode(out);
        fields.hint.encode(out);
        fields.schema.encode(out);
        fields.table.encode(out);
        fields.column.encode(out);
        fields.constraint.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let severity = Severity::decode(input)?;
        let state = SqlState(input.array()?);
        if !state.0.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
            return Err(Malformed::OutOfRange("a SQLSTATE"));
        }
        let retryable = bool::decode(input)?;
        let transaction = TransactionStatus::decode(input)?;
        let position = u32::decode(input)?;
        let error = SqlError::from_fields(ErrorFields {
            state,
            message: String::decode(input)?.into(),
            detail: Wire::decode(input)?,
            hint: Wire::decode(input)?,
            position: (position > 0).then_some(position),
            schema: Wire::decode(input)?,
            table: Wire::decode(input)?,
            column: Wire::decode(input)?,
            constraint: Wire::decode(input)?,
            context: None,
            routine: None,
        });
        Ok(Report { severity, retryable, transaction, error })
    }
}
