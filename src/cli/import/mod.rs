//! `phantomdb import`: CSV into a table.
//!
//! ```text
//!   file ──> records ──> values ──> batches ──> several statements in flight ──> server
//!               │           │                          │ refused: halved until one row is left
//!               └───────────┴──────────────────────────┴──> FILE.rejects.csv (line, reason, row)
//! ```
//!
//! A statement inserts many rows and is atomic: when the server refuses it, none of its rows are
//! in, and its halves are tried, so that in the end exactly the rows that cannot be inserted are
//! rejected. What is wrong with the table or the server, and not with a row, ends the import.
//! Memory is bounded by the batches in flight, whatever the length of the file.

mod columns;
mod infer;
mod loader;
mod rejects;
mod source;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use phantomdb_client::blocking::Client;
use runtime::time;

use self::columns::TableColumns;
use self::loader::Loader;
use self::rejects::Rejects;
use self::source::{Layout, Source};
use super::exit::{Exit, Failure};
use super::sql::client::{ServerArgs, failure};

/// Arguments of `phantomdb import`.
#[derive(Clone, Args, Debug)]
pub struct ImportArgs {
    /// The server
    #[command(flatten)]
    server: ServerArgs,
    /// The table, with its schema if need be
    #[arg(long, short)]
    table: String,
    /// Make the table first, with types that fit every value of the file
    #[arg(long)]
    create: bool,
    /// Primary key of the table that is made: columns separated by commas
    #[arg(long, value_name = "COLUMNS", requires = "create", value_delimiter = ',')]
    primary_key: Vec<String>,
    /// What separates the fields
    #[arg(long, default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// A field with this text is NULL; an empty field by default
    #[arg(long, default_value = "", value_name = "TEXT")]
    null: String,
    /// The first line is a row: the fields are the table's columns in their order
    #[arg(long, conflicts_with = "create")]
    no_header: bool,
    /// Where rows go that cannot be inserted, with line and reason [default: FILE.rejects.csv]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// The file; - is standard input
    file: PathBuf,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("is not one character; \\t is the tab".into()),
    }
}

/// Imports the file.
///
/// # Errors
/// No server, no such file or table, a header that does not fit, or a server that cannot go on.
pub fn run(args: &ImportArgs) -> Result<Exit, Failure> {
    let started = time::now();
    let layout =
        Layout { delimiter: args.delimiter, header: !args.no_header, null: args.null.clone() };
    let from_stdin = args.file.as_os_str() == "-";
    if from_stdin && args.create {
        return Err(Failure::usage("--create reads the file twice: standard input cannot be"));
    }
    let mut client =
        Client::open(args.server.options("phantomdb import")?).map_err(|error| failure(&error))?;
    let table = quote_table(&args.table);
    if args.create {
        create(&mut client, args, &layout, &table)?;
    }
    let mut source = Source::open(&args.file, layout)?;
    let columns = TableColumns::look_up(&mut client, &table, source.header())?;
    let bar = bar(&args.file, from_stdin);
    let rejects = Rejects::new(rejects_path(args, from_stdin), source.header().to_vec());
    let mut loader = Loader::new(client, columns, rejects);
    while let Some(record) = source.next_record()? {
        bar.set_position(source.bytes_read());
        loader.push(record)?;
    }
    let outcome = loader.finish()?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let rate = outcome.inserted as f64 / seconds.max(1e-9);
    let mut said = format!(
        "{} rows imported into {}, {} rejected, {seconds:.1} s, {rate:.0} rows/s",
        outcome.inserted, args.table, outcome.rejected
    );
    if let Some(path) = outcome.rejects_file {
        said.push_str(&format!("\nrejected rows are in {}", path.display()));
    }
    super::output::finish(std::io::Write::write_all(
        &mut std::io::stdout(),
        format!("{said}\n").as_bytes(),
    ))?;
    Ok(if outcome.rejected == 0 { Exit::Done } else { Exit::Failed })
}

/// Reads the whole file once to learn its types, then makes the table.
fn create(
    client: &mut Client,
    args: &ImportArgs,
    layout: &Layout,
    table: &str,
) -> Result<(), Failure> {
    let mut source = Source::open(&args.file, layout.clone())?;
    let header = source.header().to_vec();
    let mut guesses = vec![infer::Guess::default(); header.len()];
    while let Some(record) = source.next_record()? {
        // Rows that do not fit the header are rejected later; they say nothing about types.
        let Ok(fields) = record.fields else { continue };
        for (guess, field) in guesses.iter_mut().zip(&fields) {
            if let Some(text) = field {
                guess.see(text);
            }
        }
    }
    let sql =
        infer::create_table(table, &header, &guesses, &args.primary_key).map_err(Failure::usage)?;
    client.run(&sql).map_err(|error| failure(&error))?;
    eprintln!("{sql}");
    Ok(())
}

fn rejects_path(args: &ImportArgs, from_stdin: bool) -> PathBuf {
    match &args.rejects {
        Some(path) => path.clone(),
        None if from_stdin => PathBuf::from("stdin.rejects.csv"),
        None => {
            let mut name = args.file.clone().into_os_string();
            name.push(".rejects.csv");
            // FILE.csv gives FILE.rejects.csv.
            match args.file.extension() {
                Some(extension) if extension == "csv" => args.file.with_extension("rejects.csv"),
                _ => PathBuf::from(name),
            }
        }
    }
}

/// `schema.table` as quoted identifiers; each part is folded unless it is quoted already.
fn quote_table(name: &str) -> String {
    name.split('.')
        .map(|part| {
            if part.starts_with('"') {
                part.to_owned()
            } else {
                columns::quote(&part.to_lowercase())
            }
        })
        .collect::<Vec<_>>()
        .join(".")
}

/// A bar over the bytes of the file, on standard error where that is a terminal.
fn bar(file: &Path, from_stdin: bool) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let length =
        if from_stdin { None } else { fs_err::metadata(file).ok().map(|metadata| metadata.len()) };
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "importing [{bar:40}] {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left)",
        ),
        None => (ProgressBar::no_length(), "importing {bytes} ({bytes_per_sec})"),
    };
    // A template that does not parse leaves the default style: the bar is a convenience.
    bar.with_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters() {
        assert_eq!(delimiter(";"), Ok(b';'));
        assert_eq!(delimiter("\\t"), Ok(b'\t'));
        assert!(delimiter(";;").is_err() && delimiter("").is_err() && delimiter("\"").is_err());
    }

    #[test]
    fn table_names() {
        assert_eq!(quote_table("Album"), "\"album\"");
        assert_eq!(quote_table("public.\"Album\""), "\"public\".\"Album\"");
    }
}
