//! The failure of a statement, in PostgreSQL's terms.

use crate::archive::Text;
use rkyv::with::Map;
use rkyv::{Archive, Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A five-character SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub struct SqlState(pub [u8; 5]);

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState {
            $($(#[$doc])* pub const $name: SqlState = SqlState(*$code);)*
        }
    };
}

// PostgreSQL 15, appendix A. Add what is needed, under PostgreSQL's condition name.
states! {
    /// successful_completion: of notices
    SUCCESSFUL_COMPLETION = b"00000";
    /// warning: of notices
    WARNING = b"01000";
    /// connection does not exist / lost
    CONNECTION_FAILURE = b"08006";
    /// protocol_violation
    PROTOCOL_VIOLATION = b"08P01";
    /// feature_not_supported
    FEATURE_NOT_SUPPORTED = b"0A000";
    /// cardinality_violation
    CARDINALITY_VIOLATION = b"21000";
    /// string_data_right_truncation
    STRING_DATA_RIGHT_TRUNCATION = b"22001";
    /// numeric_value_out_of_range
    NUMERIC_VALUE_OUT_OF_RANGE = b"22003";
    /// datetime: invalid_datetime_format
    INVALID_DATETIME_FORMAT = b"22007";
    /// invalid_time_zone_displacement_value
    INVALID_TIME_ZONE_DISPLACEMENT = b"22009";
    /// datetime_field_overflow
    DATETIME_FIELD_OVERFLOW = b"22008";
    /// substring_error
    SUBSTRING_ERROR = b"22011";
    /// division_by_zero
    DIVISION_BY_ZERO = b"22012";
    /// invalid_parameter_value
    INVALID_PARAMETER_VALUE = b"22023";
    /// invalid_escape_sequence
    INVALID_ESCAPE_SEQUENCE = b"22025";
    /// invalid_text_representation
    INVALID_TEXT_REPRESENTATION = b"22P02";
    /// invalid_binary_representation
    INVALID_BINARY_REPRESENTATION = b"22P03";
    /// null_value_not_allowed
    NULL_VALUE_NOT_ALLOWED = b"22004";
    /// array_subscript_error
    ARRAY_SUBSCRIPT_ERROR = b"2202E";
    /// invalid_regular_expression
    INVALID_REGULAR_EXPRESSION = b"2201B";
    /// invalid_name
    INVALID_NAME = b"42602";
    /// untranslatable_character
    UNTRANSLATABLE_CHARACTER = b"22P05";
    /// bad_copy_file_format
    BAD_COPY_FILE_FORMAT = b"22P04";
    /// invalid_row_count_in_limit_clause
    INVALID_ROW_COUNT_IN_LIMIT_CLAUSE = b"2201W";
    /// sequence_generator_limit_exceeded
    SEQUENCE_GENERATOR_LIMIT_EXCEEDED = b"2200H";
    /// invalid_row_count_in_result_offset_clause
    INVALID_ROW_COUNT_IN_OFFSET_CLAUSE = b"2201X";
    /// invalid_argument_for_logarithm
    INVALID_ARGUMENT_FOR_LOGARITHM = b"2201E";
    /// invalid_argument_for_power_function
    INVALID_ARGUMENT_FOR_POWER_FUNCTION = b"2201F";
    /// character_not_in_repertoire (invalid UTF-8)
    CHARACTER_NOT_IN_REPERTOIRE = b"22021";
    /// invalid_recursion
    INVALID_RECURSION = b"42P19";
    /// not_null_violation
    NOT_NULL_VIOLATION = b"23502";
    /// foreign_key_violation
    FOREIGN_KEY_VIOLATION = b"23503";
    /// unique_violation
    UNIQUE_VIOLATION = b"23505";
    /// check_violation
    CHECK_VIOLATION = b"23514";
    /// invalid_transaction_state
    INVALID_TRANSACTION_STATE = b"25000";
    /// active_sql_transaction
    ACTIVE_SQL_TRANSACTION = b"25001";
    /// no_active_sql_transaction
    NO_ACTIVE_SQL_TRANSACTION = b"25P01";
    /// read_only_sql_transaction
    READ_ONLY_SQL_TRANSACTION = b"25006";
    /// invalid_savepoint_specification
    INVALID_SAVEPOINT_SPECIFICATION = b"3B001";
    /// idle_in_transaction_session_timeout
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = b"25P03";
    /// in_failed_sql_transaction
    IN_FAILED_SQL_TRANSACTION = b"25P02";
    /// invalid_sql_statement_name
    INVALID_SQL_STATEMENT_NAME = b"26000";
    /// invalid_authorization_specification
    INVALID_AUTHORIZATION_SPECIFICATION = b"28000";
    /// invalid_cursor_name
    INVALID_CURSOR_NAME = b"34000";
    /// invalid_password
    INVALID_PASSWORD = b"28P01";
    /// invalid_grantor
    INVALID_GRANTOR = b"0L000";
    /// invalid_grant_operation
    INVALID_GRANT_OPERATION = b"0LP01";
    /// invalid_role_specification
    INVALID_ROLE_SPECIFICATION = b"0P000";
    /// warning_privilege_not_granted
    PRIVILEGE_NOT_GRANTED = b"01007";
    /// warning_privilege_not_revoked
    PRIVILEGE_NOT_REVOKED = b"01006";
    /// dependent_objects_still_exist
    DEPENDENT_OBJECTS_STILL_EXIST = b"2BP01";
    /// invalid_catalog_name (database)
    INVALID_CATALOG_NAME = b"3D000";
    /// invalid_schema_name
    INVALID_SCHEMA_NAME = b"3F000";
    /// transaction_rollback
    TRANSACTION_ROLLBACK = b"40000";
    /// serialization_failure
    SERIALIZATION_FAILURE = b"40001";
    /// statement_completion_unknown
    STATEMENT_COMPLETION_UNKNOWN = b"40003";
    /// deadlock_detected
    DEADLOCK_DETECTED = b"40P01";
    /// syntax_error
    SYNTAX_ERROR = b"42601";
    /// insufficient_privilege
    INSUFFICIENT_PRIVILEGE = b"42501";
    /// reserved_name
    RESERVED_NAME = b"42939";
    /// cannot_coerce
    CANNOT_COERCE = b"42846";
    /// grouping_error
    GROUPING_ERROR = b"42803";
    /// windowing_error
    WINDOWING_ERROR = b"42P20";
    /// datatype_mismatch
    DATATYPE_MISMATCH = b"42804";
    /// wrong_object_type
    WRONG_OBJECT_TYPE = b"42809";
    /// generated_always
    GENERATED_ALWAYS = b"428C9";
    /// invalid_foreign_key
    INVALID_FOREIGN_KEY = b"42830";
    /// undefined_column
    UNDEFINED_COLUMN = b"42703";
    /// undefined_function
    UNDEFINED_FUNCTION = b"42883";
    /// undefined_table
    UNDEFINED_TABLE = b"42P01";
    /// undefined_parameter
    UNDEFINED_PARAMETER = b"42P02";
    /// undefined_object
    UNDEFINED_OBJECT = b"42704";
    /// duplicate_column
    DUPLICATE_COLUMN = b"42701";
    /// duplicate_database
    DUPLICATE_DATABASE = b"42P04";
    /// duplicate_schema
    DUPLICATE_SCHEMA = b"42P06";
    /// duplicate_table
    DUPLICATE_TABLE = b"42P07";
    /// duplicate_alias
    DUPLICATE_ALIAS = b"42712";
    /// duplicate_object
    DUPLICATE_OBJECT = b"42710";
    /// duplicate_prepared_statement
    DUPLICATE_PREPARED_STATEMENT = b"42P05";
    /// invalid_cursor_definition
    INVALID_CURSOR_DEFINITION = b"42P11";
    /// duplicate_cursor
    DUPLICATE_CURSOR = b"42P03";
    /// ambiguous_column
    AMBIGUOUS_COLUMN = b"42702";
    /// ambiguous_function
    AMBIGUOUS_FUNCTION = b"42725";
    /// invalid_column_reference
    INVALID_COLUMN_REFERENCE = b"42P10";
    /// invalid_table_definition
    INVALID_TABLE_DEFINITION = b"42P16";
    /// indeterminate_datatype
    INDETERMINATE_DATATYPE = b"42P18";
    /// disk_full
    DISK_FULL = b"53100";
    /// out_of_memory
    OUT_OF_MEMORY = b"53200";
    /// too_many_connections
    TOO_MANY_CONNECTIONS = b"53300";
    /// configuration_limit_exceeded
    CONFIGURATION_LIMIT_EXCEEDED = b"53400";
    /// program_limit_exceeded
    PROGRAM_LIMIT_EXCEEDED = b"54000";
    /// statement_too_complex
    STATEMENT_TOO_COMPLEX = b"54001";
    /// too_many_columns
    TOO_MANY_COLUMNS = b"54011";
    /// object_not_in_prerequisite_state
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000";
    /// object_in_use
    OBJECT_IN_USE = b"55006";
    /// lock_not_available
    LOCK_NOT_AVAILABLE = b"55P03";
    /// query_canceled
    QUERY_CANCELED = b"57014";
    /// admin_shutdown
    ADMIN_SHUTDOWN = b"57P01";
    /// cannot_connect_now
    CANNOT_CONNECT_NOW = b"57P03";
    /// idle_session_timeout
    IDLE_SESSION_TIMEOUT = b"57P05";
    /// io_error
    IO_ERROR = b"58030";
    /// snapshot_too_old
    SNAPSHOT_TOO_OLD = b"72000";
    /// internal_error
    INTERNAL_ERROR = b"XX000";
    /// data_corrupted
    DATA_CORRUPTED = b"XX001";
}

impl SqlState {
    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// Whether the same statement or transaction may succeed when it is tried again unchanged.
    pub fn is_retryable(self) -> bool {
        matches!(self, SqlState::SERIALIZATION_FAILURE | SqlState::DEADLOCK_DETECTED)
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a statement failed. One pointer wide, so that results stay small.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SqlError(Box<ErrorFields>);

/// The fields of an error or notice, as they travel to the client.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ErrorFields {
    /// The condition.
    pub state: SqlState,
    /// One line, lower case, without the severity.
    #[rkyv(with = Text)]
    pub message: Cow<'static, str>,
    /// What exactly happened.
    pub detail: Option<String>,
    /// What the user can do.
    pub hint: Option<String>,
    /// Position in the statement's text, in characters, from 1.
    pub position: Option<u32>,
    /// Schema of the table concerned.
    pub schema: Option<String>,
    /// Table concerned.
    pub table: Option<String>,
    /// Column concerned.
    pub column: Option<String>,
    /// Constraint concerned.
    pub constraint: Option<String>,
    /// Where in the statement's input: a line of `COPY`. The native protocol does not carry it.
    pub context: Option<String>,
    /// The routine of PostgreSQL's source that would report it, where drivers tell an error by
    /// that. The native protocol does not carry it.
    #[rkyv(with = Map<Text>)]
    pub routine: Option<Cow<'static, str>>,
}

impl SqlError {
    /// An error with a condition and a message.
    pub fn new(state: SqlState, message: impl Into<Cow<'static, str>>) -> SqlError {
        SqlError(Box::new(ErrorFields {
            state,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
            context: None,
            routine: None,
        }))
    }

    /// An error whose fields are all known.
    pub fn from_fields(fields: ErrorFields) -> SqlError {
        SqlError(Box::new(fields))
    }

    /// What PhantomDB does not do (yet): `what` reads as a noun phrase.
    pub fn unsupported(what: impl fmt::Display) -> SqlError {
        SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
    }

    /// A broken invariant: a bug, not the user's fault.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> SqlError {
        SqlError::new(SqlState::INTERNAL_ERROR, message)
    }

    /// Adds what exactly happened.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> SqlError {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> SqlError {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the position in the statement, in characters from 1.
    #[must_use]
    pub fn position(mut self, position: u32) -> SqlError {
        self.0.position = Some(position);
        self
    }

    /// Adds the table concerned.
    #[must_use]
    pub fn table(mut self, schema: impl Into<String>, table: impl Into<String>) -> SqlError {
        self.0.schema = Some(schema.into());
        self.0.table = Some(table.into());
        self
    }

    /// Adds the column concerned.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> SqlError {
        self.0.column = Some(column.into());
        self
    }

    /// Adds the constraint concerned.
    #[must_use]
    pub fn constraint(mut self, constraint: impl Into<String>) -> SqlError {
        self.0.constraint = Some(constraint.into());
        self
    }

    /// Adds where in the statement's input it happened, unless that is known more closely.
    #[must_use]
    pub fn context(mut self, context: impl FnOnce() -> String) -> SqlError {
        self.0.context.get_or_insert_with(context);
        self
    }

    /// Adds the routine by which drivers know the error.
    #[must_use]
    pub fn routine(mut self, routine: &'static str) -> SqlError {
        self.0.routine = Some(Cow::Borrowed(routine));
        self
    }

    /// All fields.
    pub fn fields(&self) -> &ErrorFields {
        &self.0
    }

    /// The condition.
    pub fn state(&self) -> SqlState {
        self.0.state
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.state, self.0.message)
    }
}

impl std::error::Error for SqlError {}
