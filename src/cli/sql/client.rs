//! The session over the wire: `phantomdb_client` behind the [`Session`] trait.

use std::io;

use phantomdb_client::blocking::Client;
use phantomdb_client::{Class, Columns, Error, Event, Options, RowBatch, TransactionStatus};

use super::format::Column;
use super::interrupts::Interrupts;
use super::session::{Session, Sink, Transaction, Trouble};
use crate::cli::exit::{Exit, Failure};

/// The variable that names the server when `--url` does not.
const URL_VARIABLE: &str = "PHANTOM_URL";
/// The variable that holds the password when the URL does not.
const PASSWORD_VARIABLE: &str = "PHANTOM_PASSWORD";

/// Which server to talk to; the same flag for every command that does.
#[derive(Clone, clap::Args, Debug)]
pub struct ServerArgs {
    /// The server and database; PHANTOM_URL names one too, PHANTOM_PASSWORD holds a password
    /// [default: phantom://phantom@127.0.0.1:7430/phantom]
    #[arg(long, value_name = "phantom://USER@HOST:PORT/DB")]
    pub url: Option<String>,
}

impl ServerArgs {
    /// The options of a connection; `application` is what lists of sessions show.
    ///
    /// # Errors
    /// The URL makes no sense: a usage failure.
    pub fn options(&self, application: &str) -> Result<Options, Failure> {
        let url = self.url.clone().or_else(|| std::env::var(URL_VARIABLE).ok());
        let mut options: Options = match url {
            Some(url) => url.parse().map_err(Failure::usage)?,
            None => Options::default(),
        };
        options.password = options.password.or_else(|| std::env::var(PASSWORD_VARIABLE).ok());
        if options.application.is_empty() {
            options.application = application.to_owned();
        }
        Ok(options)
    }
}

/// The command's end for a failure of the client.
pub fn failure(error: &Error) -> Failure {
    let exit = match error.class() {
        Class::Statement => Exit::Failed,
        Class::Usage => Exit::Usage,
        Class::Connection => Exit::NoConnection,
    };
    let message = match error.sql() {
        Some(sql) => format!(
            "{sql}{}",
            sql.fields().hint.as_ref().map_or(String::new(), |hint| format!("\nHINT: {hint}"))
        ),
        None => error.to_string(),
    };
    Failure { exit, message }
}

/// A connection as the shell sees it.
pub struct ClientSession {
    client: Client,
    options: Options,
    interrupts: Interrupts,
}

impl ClientSession {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers, or the server does not let us in.
    pub fn open(options: Options, interrupts: Interrupts) -> Result<Self, Failure> {
        let client = Client::open(options.clone()).map_err(|error| failure(&error))?;
        Ok(Self { client, options, interrupts })
    }
}

impl Session for ClientSession {
    fn execute(&mut self, sql: &str, sink: &mut dyn Sink) -> Result<(), Trouble> {
        let cancel = self.client.cancel_handle();
        let _watch = self.interrupts.watch(Box::new(move || {
            // The statement's own answer tells what became of it; a connection that is gone has
            // nothing left to cancel.
            let _sent: Result<(), Error> = cancel.cancel();
        }));
        let mut answer = self.client.stream(sql).map_err(|error| trouble(&error))?;
        let mut columns: Option<Columns> = None;
        while let Some(event) = answer.next_event().map_err(|error| trouble(&error))? {
            match event {
                Event::Columns(described) => {
                    let heads: Vec<Column> = described
                        .iter()
                        .map(|column| Column {
                            name: column.name.clone(),
                            data_type: column.data_type,
                        })
                        .collect();
                    sink.columns(&heads).map_err(Trouble::Output)?;
                    columns = Some(described);
                }
                Event::Rows(batch) => rows(&batch, columns.as_ref(), sink)?,
                Event::Complete(complete) => {
                    columns = None;
                    sink.complete(&complete.tag).map_err(Trouble::Output)?;
                }
                Event::Notice(report) => sink.notice(report.severity.name(), &report.error),
                Event::Prepared(_) => {
                    return Err(trouble(&Error::OutOfPlace("a statement nobody prepared")));
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, database: &str) -> Result<(), Trouble> {
        let options = Options { database: database.to_owned(), ..self.options.clone() };
        self.client = Client::open(options.clone()).map_err(|error| match &error {
            // The server is there and says why not: a failed statement, not a lost server.
            Error::Refused(report) => Trouble::Statement(report.error.clone()),
            error => trouble(error),
        })?;
        self.options = options;
        Ok(())
    }

    fn database(&self) -> &str {
        &self.options.database
    }

    fn describe(&self) -> String {
        let server = self.client.server();
        format!(
            "connected to database \"{}\" as \"{}\" at {} (PhantomDB {}, node {}, core {})",
            self.options.database,
            self.options.user,
            self.options.address(),
            server.version,
            server.node,
            server.core
        )
    }

    fn transaction(&self) -> Transaction {
        match self.client.transaction() {
            TransactionStatus::Idle => Transaction::None,
            TransactionStatus::Open => Transaction::Open,
            TransactionStatus::Failed => Transaction::Failed,
        }
    }
}

/// Hands the rows of a batch over as they lie in it.
fn rows(batch: &RowBatch, columns: Option<&Columns>, sink: &mut dyn Sink) -> Result<(), Trouble> {
    let width = columns.map_or(0, |columns| columns.len());
    if usize::from(batch.columns()) != width {
        return Err(trouble(&Error::OutOfPlace("rows that are not as wide as their description")));
    }
    let mut reader = batch.reader();
    let mut row = Vec::with_capacity(width);
    loop {
        match reader.next_row(&mut row) {
            Ok(true) => sink.row(&row).map_err(Trouble::Output)?,
            Ok(false) => return Ok(()),
            Err(_) => return Err(trouble(&Error::OutOfPlace("a row that cannot be read"))),
        }
    }
}

fn trouble(error: &Error) -> Trouble {
    match error {
        Error::Server(report) => Trouble::Statement(report.error.clone()),
        error => Trouble::Connection(error.to_string()),
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Statement(error) => Failure::failed(error),
            Trouble::Connection(problem) => Failure::no_connection(problem),
            Trouble::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Failure::silent(Exit::Done)
            }
            Trouble::Output(error) => Failure::failed(format!("cannot write the result: {error}")),
        }
    }
}
