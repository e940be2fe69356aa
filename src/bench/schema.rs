//! The generator's own table, and filling it.

use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, SqlState, Value};

use super::keys::Random;
use super::{BenchError, Options};

/// The table of all workloads.
pub const TABLE: &str = "phantom_bench";
/// Bytes of each row's payload.
pub(super) const PAYLOAD_BYTES: usize = 100;
/// Rows a statement loads.
const LOAD_ROWS_PER_STATEMENT: u64 = 200;
/// Statements in flight while loading.
const LOAD_STATEMENTS_IN_FLIGHT: usize = 8;
/// Loaded rows have this client's random numbers; no client of the load has its number.
const LOADER: usize = usize::MAX;

/// Makes the table if there is none and fills in the rows that lack; `progress` is told how many
/// of the rows there are.
///
/// # Errors
/// The server refuses, or a table of that name has other columns.
pub fn prepare(options: &Options, progress: &mut dyn FnMut(u64)) -> Result<(), BenchError> {
    let mut client = Client::open(options.connect.clone())?;
    let created = client.run(&format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (id BIGINT PRIMARY KEY, counter BIGINT NOT NULL, payload TEXT NOT NULL)"
    ));
    created?;
    check_columns(&mut client)?;
    let loaded = loaded_rows(&mut client)?;
    if loaded < options.rows {
        load(&mut client, loaded, options, progress)?;
    }
    Ok(())
}

/// A table somebody else made under our name is left alone.
fn check_columns(client: &mut Client) -> Result<(), BenchError> {
    let selected = client.prepare(&format!("SELECT * FROM {TABLE}"))?;
    let names: Vec<&str> = selected.columns().iter().map(|column| column.name.as_str()).collect();
    if names == ["id", "counter", "payload"] {
        return Ok(());
    }
    Err(BenchError::ForeignTable { table: TABLE, found: format!("columns {}", names.join(", ")) })
}

/// How many of the rows 0, 1, 2, ... are there: they are loaded in order, so a count tells.
fn loaded_rows(client: &mut Client) -> Result<u64, BenchError> {
    let row = client
        .query_one(&format!("SELECT count(*) FROM {TABLE} WHERE id < {}", 1_u64 << 62), &[])?;
    let count: i64 = row.get(0)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn load(
    client: &mut Client,
    from: u64,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<(), BenchError> {
    let mut random = Random::of_client(options.seed, LOADER);
    let mut next = from;
    let mut done = from;
    let mut in_flight = std::collections::VecDeque::new();
    while done < options.rows {
        while next < options.rows && in_flight.len() < LOAD_STATEMENTS_IN_FLIGHT {
            let count = LOAD_ROWS_PER_STATEMENT.min(options.rows - next);
            let parameters = rows(next, count, &mut random);
            in_flight.push_back((client.send(&insert_text(count), &parameters)?, count));
            next += count;
        }
        let Some((ticket, count)) = in_flight.pop_front() else { break };
        match client.take(ticket) {
            Ok(_) => {}
            // A run that was broken off left these rows, but not those before them: they count.
            Err(Error::Server(report)) if report.error.state() == SqlState::UNIQUE_VIOLATION => {}
            Err(error) => return Err(error.into()),
        }
        done += count;
        progress(done);
    }
    Ok(())
}

/// The statement that loads `count` rows.
fn insert_text(count: u64) -> String {
    let rows: Vec<String> = (0..count)
        .map(|row| format!("(${}, ${}, ${})", row * 3 + 1, row * 3 + 2, row * 3 + 3))
        .collect();
    format!("INSERT INTO {TABLE} (id, counter, payload) VALUES {}", rows.join(", "))
}

fn rows(first: u64, count: u64, random: &mut Random) -> Vec<Value> {
    (first..first + count)
        .flat_map(|id| {
            let id = Value::Int(i64::try_from(id).unwrap_or(i64::MAX));
            [id, Value::Int(0), Value::text(random.text(PAYLOAD_BYTES))]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_statement_numbers_its_parameters() {
        let text = insert_text(2);
        assert!(text.ends_with("VALUES ($1, $2, $3), ($4, $5, $6)"), "{text}");
        assert_eq!(rows(5, 2, &mut Random::of_client(0, LOADER)).len(), 6);
    }
}
