//! A database driven through a pipe: one transaction a line from standard input, what became of it
//! on standard output, as the program `adya` speaks with `adya run exec`.
//!
//! ```text
//!   {"value":[["append",3,7],["r",4,null]]}    ──►
//!                                              ◄──  {"type":"ok","value":[["append",3,7],["r",4,[1,7]]]}
//!                                                   {"type":"fail","error":"..."}   nothing was done
//!                                                   {"type":"info","error":"..."}   it is not known
//! ```

#[path = "client.rs"]
mod client;

use adya::r#gen::{Kind, TxnOp};
use adya::run::{Client as _, Outcome};
use clap::Parser;
use client::{Isolation, Session, create_tables};
use serde_json::{Value as Json, json};
use std::error::Error;
use std::io::{BufRead, Write};

/// Runs transactions from standard input against a server.
#[derive(Parser)]
struct Arguments {
    /// The server
    #[arg(long, default_value = "phantom://phantom@127.0.0.1:7430/phantom")]
    url: String,
    /// read-committed, repeatable-read or serializable
    #[arg(long, default_value = "serializable")]
    isolation: Isolation,
    /// The transactions write registers rather than append to lists
    #[arg(long)]
    registers: bool,
    /// Where random numbers begin; they choose the access paths
    #[arg(long, default_value_t = u64::from(std::process::id()))]
    seed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let kind = if arguments.registers { Kind::RwRegister } else { Kind::ListAppend };
    create_tables(&mut phantomdb_client::blocking::Client::connect(&arguments.url)?)?;
    let odd = Box::new(|what| eprintln!("nothing explains {what}"));
    let mut session =
        Session::connect(&arguments.url, kind, arguments.isolation, arguments.seed, odd)?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let operations = read(&line?)?;
        let outcome = session.txn(&operations);
        writeln!(out, "{}", answer(kind, &operations, &outcome))?;
        out.flush()?;
        if !session.healthy() {
            // The runner starts another.
            return Ok(());
        }
    }
    Ok(())
}

fn read(line: &str) -> Result<Vec<TxnOp>, Box<dyn Error>> {
    let request: Json = serde_json::from_str(line)?;
    let operations = request["value"].as_array().ok_or("a transaction without operations")?;
    let read = |operation: &Json| {
        let number = |place: usize| operation[place].as_i64();
        match operation[0].as_str() {
            Some("append") => Some(TxnOp::Append(number(1)?, number(2)?)),
            Some("w") => Some(TxnOp::Write(number(1)?, number(2)?)),
            Some("r") => Some(TxnOp::Read(number(1)?)),
            _ => None,
        }
    };
    let read: Option<Vec<TxnOp>> = operations.iter().map(read).collect();
    read.ok_or_else(|| format!("no transaction: {line}").into())
}

fn answer(kind: Kind, operations: &[TxnOp], outcome: &Outcome) -> Json {
    let reads = match outcome {
        Outcome::Ok(reads) => reads,
        Outcome::Fail(error) => return json!({"type": "fail", "error": error}),
        Outcome::Info(error) => return json!({"type": "info", "error": error}),
    };
    let value = operations.iter().zip(reads).map(|(operation, read)| match (*operation, kind) {
        (TxnOp::Append(key, value), _) => json!(["append", key, value]),
        (TxnOp::Write(key, value), _) => json!(["w", key, value]),
        (TxnOp::Read(key), Kind::ListAppend) => json!(["r", key, read]),
        (TxnOp::Read(key), Kind::RwRegister) => {
            json!(["r", key, read.as_ref().and_then(|values| values.last())])
        }
    });
    json!({"type": "ok", "value": value.collect::<Vec<Json>>()})
}
