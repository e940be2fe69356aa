//! What the shell needs of a connection, so that everything above is tested without a server.

use std::io;

use model::error::SqlError;
use model::value::ValueRef;

use super::format::Column;

/// Takes what a statement gives, in the order in which it arrives.
pub trait Sink {
    /// A result begins.
    ///
    /// # Errors
    /// Those of the output, here and below; the statement is then given up.
    fn columns(&mut self, columns: &[Column]) -> io::Result<()>;

    /// One row of it.
    ///
    /// # Errors
    /// Those of the output.
    fn row(&mut self, row: &[ValueRef<'_>]) -> io::Result<()>;

    /// The statement is acknowledged; a result that was begun is complete.
    ///
    /// # Errors
    /// Those of the output.
    fn complete(&mut self, tag: &str) -> io::Result<()>;

    /// The server has something to say beside the result.
    fn notice(&mut self, severity: &str, notice: &SqlError);
}

/// Why a statement did not come to its end.
#[derive(Debug)]
pub enum Trouble {
    /// The server refused it or gave up; the connection goes on.
    Statement(SqlError),
    /// The connection is gone, in the client's words.
    Connection(String),
    /// What it gave could not be written.
    Output(io::Error),
}

/// Where the session stands, for the prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transaction {
    /// Outside of a transaction block.
    None,
    /// Inside of one.
    Open,
    /// Inside of one that failed.
    Failed,
}

/// A connection to a database.
pub trait Session {
    /// Runs the statements of `sql`, one after the other, and hands what they give to `sink`.
    ///
    /// # Errors
    /// The first thing that went wrong; what came before it has been handed over.
    fn execute(&mut self, sql: &str, sink: &mut dyn Sink) -> Result<(), Trouble>;

    /// Leaves this connection for one to `database` on the same server, as the same user.
    ///
    /// # Errors
    /// The new connection was not made; the old one stays.
    fn connect(&mut self, database: &str) -> Result<(), Trouble>;

    /// The database the session is in.
    fn database(&self) -> &str;

    /// Whom it is connected to, in one sentence.
    fn describe(&self) -> String;

    /// Where it stands.
    fn transaction(&self) -> Transaction;
}
