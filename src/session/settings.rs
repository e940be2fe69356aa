//! What `SET`, `SHOW` and `RESET` know.
//!
//! The list is short on purpose: what a statement's meaning depends on (`statement_timeout`), what
//! clients say about themselves, and what drivers set as they connect and dumps before they restore
//! although it makes no difference here. Anything else is an error, so that no one believes in a setting that does
//! nothing.

use super::Weight;
use super::identity::Identity;
use crate::catalog::SearchPath;
use crate::router::presence::Patience;
use crate::sql::SettingValues;
use model::command::Isolation;
use model::error::{SqlError, SqlState};
use std::sync::LazyLock;
use std::time::Duration;

/// Longest text of a setting, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// Any text.
    Text,
    /// A length of time; a bare number is milliseconds.
    Duration,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// `on` or `off`, in any of PostgreSQL's spellings.
    Bool,
    /// A level of isolation.
    Isolation,
    /// The default only, in any of these spellings.
    Only(&'static [&'static str]),
    /// A list of names.
    Names,
    /// The name of an encoding that is UTF-8. As in PostgreSQL, only its letters and digits count.
    Utf8,
    /// It cannot be changed.
    Nothing,
}

/// One setting.
struct Row {
    name: &'static str,
    default: &'static str,
    takes: Takes,
    help: &'static str,
}

const fn row(name: &'static str, default: &'static str, takes: Takes, help: &'static str) -> Row {
    Row { name, default, takes, help }
}

/// In the order of `SHOW ALL`.
const ROWS: [Row; 35] = [
    row("application_name", "", Takes::Text, "What the client calls itself."),
    row("bytea_output", "hex", Takes::Only(&["hex"]), "Format of bytea in text."),
    row(
        "check_function_bodies",
        "on",
        Takes::Bool,
        "Whether functions are checked as they are made; none can be.",
    ),
    row("client_encoding", "UTF8", Takes::Utf8, "Encoding of text on the wire."),
    row(
        "client_min_messages",
        "notice",
        Takes::OneOf(&[
            "debug", "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning",
            "error",
        ]),
        "Least severe message that clients of the PostgreSQL protocol are sent.",
    ),
    row(
        "datestyle",
        "ISO, MDY",
        Takes::Only(&["ISO", "ISO, MDY", "ISO,MDY"]),
        "Format of dates in text.",
    ),
    row(
        "default_table_access_method",
        "heap",
        Takes::Only(&["heap"]),
        "What PostgreSQL would keep tables in.",
    ),
    row(
        "default_tablespace",
        "",
        Takes::Only(&["", "pg_default"]),
        "Where new tables lie: in the data folder.",
    ),
    row(
        "default_transaction_deferrable",
        "off",
        Takes::Bool,
        "Whether new transactions that only read may wait for a snapshot; none needs to.",
    ),
    row(
        "default_transaction_isolation",
        "serializable",
        Takes::Isolation,
        "Isolation of new transactions.",
    ),
    row("default_transaction_read_only", "off", Takes::Bool, "Whether new transactions only read."),
    row("extra_float_digits", "1", Takes::OneOf(&["0", "1", "2", "3"]), "Floats are exact anyway."),
    row(
        "idle_in_transaction_session_timeout",
        "0",
        Takes::Duration,
        "Sessions that wait for their client in a transaction for so long end; 0 is for ever.",
    ),
    row(
        "idle_session_timeout",
        "0",
        Takes::Duration,
        "Sessions that wait for their client outside of one for so long end; 0 is for ever.",
    ),
    row("integer_datetimes", "on", Takes::Nothing, "Times are integers."),
    row("intervalstyle", "postgres", Takes::Only(&["postgres"]), "Format of intervals in text."),
    row("lc_collate", "C", Takes::Nothing, "Order of text."),
    row("lc_ctype", "C", Takes::Nothing, "Classes of characters."),
    row(
        "lock_timeout",
        "0",
        Takes::Duration,
        "Statements that wait for a lock for so long fail; 0 is the node's own limit, which is the most.",
    ),
    row("max_identifier_length", "63", Takes::Nothing, "Most bytes of a name."),
    row(
        "row_security",
        "on",
        Takes::OneOf(&["on", "off"]),
        "Whether policies on rows apply; there are none.",
    ),
    row(
        "search_path",
        SearchPath::DEFAULT,
        Takes::Names,
        "Schemas that unqualified names are sought in.",
    ),
    row("server_encoding", "UTF8", Takes::Nothing, "Encoding of stored text."),
    row("server_version", "15.0", Takes::Nothing, "The PostgreSQL version whose SQL is followed."),
    row("server_version_num", "150000", Takes::Nothing, "The same as a number."),
    row(
        "standard_conforming_strings",
        "on",
        Takes::Only(&["on"]),
        "Backslashes in '...' are ordinary.",
    ),
    row(
        "statement_timeout",
        "0",
        Takes::Duration,
        "Statements that take longer are cancelled; 0 is for ever.",
    ),
    row(
        "synchronize_seqscans",
        "off",
        Takes::Only(&["off", "false", "no", "0"]),
        "Whether readers of whole tables share their way; they do not.",
    ),
    row(
        "timezone",
        "UTC",
        Takes::Only(&["UTC", "Etc/UTC", "GMT", "+00:00", "0"]),
        "Zone in which timestamps with time zone are shown.",
    ),
    row(
        COMMIT,
        "auto",
        Takes::OneOf(&["auto", "two_phase"]),
        "How the current transaction commits; on one node both are two-phase commit.",
    ),
    row(
        "transaction_deferrable",
        "off",
        Takes::Bool,
        "Whether the current transaction may wait for a snapshot; none needs to.",
    ),
    row(
        "transaction_isolation",
        "serializable",
        Takes::Isolation,
        "Isolation of the current transaction.",
    ),
    row("transaction_read_only", "off", Takes::Bool, "Whether the current transaction only reads."),
    row(
        "xmloption",
        "content",
        Takes::OneOf(&["content", "document"]),
        "How XML is read; there is no such type.",
    ),
    row("phantomdb_version", env!("CARGO_PKG_VERSION"), Takes::Nothing, "Version of this server."),
];

/// What clients of the PostgreSQL protocol are told at the start and after each change, as they
/// spell it.
const REPORTED: [&str; 9] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "integer_datetimes",
    "IntervalStyle",
    "server_encoding",
    "server_version",
    "standard_conforming_strings",
    "TimeZone",
];

/// The setting that `BEGIN ... WITH (commit = ...)` gives to its transaction.
pub(super) const COMMIT: &str = "transaction_commit";

/// Names that mean another one.
const ALIASES: [(&str, &str); 4] = [
    ("names", "client_encoding"),
    ("time_zone", "timezone"),
    ("time zone", "timezone"),
    // SHOW TRANSACTION ISOLATION LEVEL
    ("transaction_isolation_level", "transaction_isolation"),
];

/// Settings of the transaction at hand, each with the one that says what it is in a new one.
const OF_TRANSACTION: [(&str, &str); 3] = [
    ("transaction_deferrable", "default_transaction_deferrable"),
    ("transaction_isolation", "default_transaction_isolation"),
    ("transaction_read_only", "default_transaction_read_only"),
];

/// Whether a setting is one of the transaction at hand.
pub(super) fn is_of_transaction(name: &str) -> bool {
    OF_TRANSACTION.iter().any(|(own, _)| *own == name)
}

/// The setting of the transaction at hand that a default is one of.
pub(super) fn of_transaction(default: &str) -> Option<&'static str> {
    OF_TRANSACTION.iter().find(|(_, of)| *of == default).map(|(own, _)| *own)
}

/// The settings of one session. Empty, and without memory, until something is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    changed: Vec<(usize, String)>,
    statement_timeout: Option<Duration>,
    lock_timeout: Option<Duration>,
    patience: Patience,
    read_only: bool,
    isolation: Isolation,
    search_path: SearchPath,
    /// `ROLE`: as whom the session acts, where that is not its authorization.
    pub(super) role: Option<Identity>,
    /// `SESSION AUTHORIZATION`, where that is not the role that logged in.
    pub(super) authorization: Option<Identity>,
}

/// A line of `SHOW ALL`: name, value, what it is.
pub(super) type Shown = (&'static str, String, &'static str);

impl Settings {
    /// Sets one, as `SET` does.
    ///
    /// # Errors
    /// 42704 for a name that is none, 22023 for a value that it does not take, 55P02's sense (told
    /// as 22023) for one that cannot be changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let index = find(name)?;
        let value = check(&ROWS[index], value)?;
        self.changed.retain(|(changed, _)| *changed != index);
        self.changed.push((index, value));
        self.note();
        Ok(())
    }

    /// Gives one, or `all`, its default again.
    ///
    /// # Errors
    /// 42704 for a name that is none.
    pub fn reset(&mut self, name: &str) -> Result<(), SqlError> {
        if name.eq_ignore_ascii_case("all") {
            // What the transaction at hand is, it stays; and, as in PostgreSQL, the session goes on
            // as whom it acts.
            self.changed.retain(|(changed, _)| is_of_transaction(ROWS[*changed].name));
            self.note();
            return Ok(());
        }
        let index = find(name)?;
        self.changed.retain(|(changed, _)| *changed != index);
        self.note();
        Ok(())
    }

    /// Every statement asks for these.
    fn note(&mut self) {
        self.read_only = self.show("transaction_read_only").is_ok_and(|value| value == "on");
        self.isolation = match self.show("transaction_isolation").as_deref() {
            Ok("read committed" | "read uncommitted") => Isolation::ReadCommitted,
            Ok("repeatable read") => Isolation::RepeatableRead,
            _ => Isolation::Serializable,
        };
        self.statement_timeout = self.duration("statement_timeout");
        self.lock_timeout = self.duration("lock_timeout");
        self.patience = Patience {
            idle: self.duration("idle_session_timeout"),
            in_transaction: self.duration("idle_in_transaction_session_timeout"),
        };
        let path = find("search_path").map_or("", |row| self.value(row));
        if path != self.search_path.text() {
            self.search_path = SearchPath::parse(path).unwrap_or_default();
        }
    }

    /// A length of time; 0 is none.
    fn duration(&self, name: &str) -> Option<Duration> {
        let value = find(name).map_or("", |row| self.value(row));
        parse_duration(value).filter(|duration| !duration.is_zero())
    }

    /// How long the session waits for its client.
    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// Where names without a schema are sought.
    pub(super) fn search_path(&self) -> &SearchPath {
        &self.search_path
    }

    /// How the transaction at hand is kept from others.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Whether the transaction at hand only reads.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Sets one, or gives it its default again where there is no value.
    pub(super) fn apply(&mut self, name: &str, value: Option<&str>) -> Result<(), SqlError> {
        match value {
            Some(value) => self.set(name, value),
            None => self.reset(name),
        }
    }

    /// The value of one.
    ///
    /// # Errors
    /// 42704 for a name that is none.
    pub fn show(&self, name: &str) -> Result<String, SqlError> {
        Ok(self.value(find(name)?).to_owned())
    }

    /// What the client calls itself.
    pub(super) fn application_name(&self) -> &str {
        find("application_name").map_or("", |row| self.value(row))
    }

    /// All of them.
    pub(super) fn show_all(&self) -> Vec<Shown> {
        let line = |(index, row): (usize, &Row)| (row.name, self.value(index).to_owned(), row.help);
        ROWS.iter().enumerate().map(line).collect()
    }

    /// All values, for planning. Sessions that have changed nothing share them.
    pub(super) fn values(&self) -> SettingValues {
        static DEFAULTS: LazyLock<SettingValues> =
            LazyLock::new(|| all_values(&Settings::default()));
        if self.changed.is_empty() { DEFAULTS.clone() } else { all_values(self) }
    }

    /// The settings that clients are told of, always in the same order.
    pub(super) fn reported(&self) -> Vec<(&'static str, String)> {
        let value = |name: &str| find(name).map_or("", |index| self.value(index)).to_owned();
        REPORTED.iter().map(|name| (*name, value(name))).collect()
    }

    /// How long a statement may take; `None` is for ever.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
    }

    /// How long a statement waits for each lock; `None` is as long as the node allows.
    pub(super) fn lock_timeout(&self) -> Option<Duration> {
        self.lock_timeout
    }

    /// Whether the client wants to hear of what weighs so much (`client_min_messages`).
    pub(super) fn wants(&self, weight: Weight) -> bool {
        let least = find("client_min_messages").map_or("", |index| self.value(index));
        match weight {
            Weight::Notice => !matches!(least, "warning" | "error"),
            Weight::Warning => least != "error",
        }
    }

    fn value(&self, index: usize) -> &str {
        let changed = |index: usize| self.changed.iter().find(|(changed, _)| *changed == index);
        if let Some((_, value)) = changed(index) {
            return value;
        }
        let default = OF_TRANSACTION.iter().find(|(own, _)| *own == ROWS[index].name);
        let default = default.and_then(|(_, name)| find(name).ok()).and_then(changed);
        default.map_or(ROWS[index].default, |(_, value)| value)
    }
}

fn all_values(settings: &Settings) -> SettingValues {
    settings.show_all().into_iter().map(|(name, value, _)| (name, value)).collect()
}

fn find(name: &str) -> Result<usize, SqlError> {
    let name = name.to_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let sought = alias.map_or(name.as_str(), |(_, meant)| meant);
    ROWS.iter().position(|row| row.name == sought).ok_or_else(|| {
        SqlError::new(
            SqlState::UNDEFINED_OBJECT,
            format!("unrecognized configuration parameter \"{name}\""),
        )
    })
}

fn check(row: &Row, value: &str) -> Result<String, SqlError> {
    let invalid = |why: String| {
        SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("invalid value for parameter \"{}\": \"{value}\"", row.name),
        )
        .hint(why)
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("the value for parameter \"{}\" has {} bytes", row.name, value.len()),
        )
        .hint(format!("At most {VALUE_BYTES_MAX} bytes are kept.")));
    }
    match row.takes {
        Takes::Text => Ok(value.to_owned()),
        Takes::Duration => parse_duration(value).map(|_| value.to_owned()).ok_or_else(|| {
            invalid("Write milliseconds, or a number with a unit: us, ms, s, min, h, d.".into())
        }),
        Takes::OneOf(values) => match values.iter().find(|one| one.eq_ignore_ascii_case(value)) {
            Some(one) => Ok((*one).to_owned()),
            None => Err(invalid(format!("It takes: {}.", values.join("; ")))),
        },
        Takes::Bool => match value.to_ascii_lowercase().as_str() {
            "on" | "true" | "t" | "yes" | "y" | "1" => Ok("on".to_owned()),
            "off" | "false" | "f" | "no" | "n" | "0" => Ok("off".to_owned()),
            _ => Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("parameter \"{}\" requires a Boolean value", row.name),
            )),
        },
        Takes::Isolation => match value.to_ascii_lowercase().as_str() {
            level
            @ ("read committed" | "read uncommitted" | "repeatable read" | "serializable") => {
                Ok(level.to_owned())
            }
            _ => Err(invalid(
                "It takes: serializable; repeatable read; read committed; read uncommitted.".into(),
            )),
        },
        Takes::Only(spellings) => {
            match spellings.iter().any(|one| one.eq_ignore_ascii_case(value)) {
                true => Ok(row.default.to_owned()),
                false => Err(invalid(format!("It is always {}.", row.default))),
            }
        }
        Takes::Names => match SearchPath::parse(value) {
            Some(_) => Ok(value.to_owned()),
            None => Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"{}\": \"{value}\"", row.name),
            )
            .detail("List syntax is invalid.")),
        },
        Takes::Utf8 => {
            let name: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            match matches!(&*name.to_ascii_lowercase(), "utf8" | "unicode") {
                true => Ok(row.default.to_owned()),
                false => Err(invalid(format!("It is always {}.", row.default))),
            }
        }
        Takes::Nothing => Err(SqlError::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("parameter \"{}\" cannot be changed", row.name),
        )),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let micros = match text[end..].trim() {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    Some(Duration::from_micros(number.checked_mul(micros)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_shown_until_it_is_reset() {
        let mut settings = Settings::default();
        assert_eq!(settings.show("Application_Name").as_deref(), Ok(""));
        settings.set("application_name", "ETL").unwrap();
        settings.set("statement_timeout", "2s").unwrap();
        assert_eq!(settings.show("application_name").as_deref(), Ok("ETL"));
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(2)));
        settings.set("statement_timeout", "1500").unwrap();
        assert_eq!(settings.statement_timeout(), Some(Duration::from_millis(1500)));
        settings.reset("statement_timeout").unwrap();
        assert_eq!(settings.statement_timeout(), None);
        settings.reset("ALL").unwrap();
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        let mut settings = Settings::default();
        let state = |result: Result<(), SqlError>| result.unwrap_err().state();
        assert_eq!(state(settings.set("nonsense", "1")), SqlState::UNDEFINED_OBJECT);
        let invalid = SqlState::INVALID_PARAMETER_VALUE;
        assert_eq!(state(settings.set("statement_timeout", "soon")), invalid);
        assert_eq!(state(settings.set("timezone", "Asia/Tashkent")), invalid);
        assert_eq!(state(settings.set("server_version", "16")), invalid);
        assert_eq!(state(settings.set("application_name", &"x".repeat(2000))), invalid);
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_transaction_is_what_new_ones_are_until_it_says_otherwise() {
        let mut settings = Settings::default();
        settings.set("default_transaction_read_only", "true").unwrap();
        assert_eq!(settings.show("transaction_read_only").as_deref(), Ok("on"));
        assert!(settings.read_only());
        settings.set("transaction_read_only", "off").unwrap();
        assert!(!settings.read_only());
        settings.reset("transaction_read_only").unwrap();
        assert!(settings.read_only());
        for (level, isolation) in [
            ("Repeatable Read", Isolation::RepeatableRead),
            ("serializable", Isolation::Serializable),
            ("read uncommitted", Isolation::ReadCommitted),
        ] {
            settings.set("default_transaction_isolation", level).unwrap();
            assert_eq!(settings.isolation(), isolation);
        }
        settings.set("transaction_isolation", "serializable").unwrap();
        assert_eq!(settings.isolation(), Isolation::Serializable);
    }

    #[test]
    fn spellings_of_the_only_value_are_understood() {
        let mut settings = Settings::default();
        settings.set("time zone", "etc/utc").unwrap();
        settings.set("NAMES", "utf-8").unwrap();
        settings.set("client_encoding", "'utf-8'").unwrap();
        assert_eq!(settings.show("timezone").as_deref(), Ok("UTC"));
        assert_eq!(settings.show("client_encoding").as_deref(), Ok("UTF8"));
    }
}
