//! Runs the golden scripts in `testscripts/`.
//!
//! A script is a list of statements and what comes of each: `CREATE TABLE` and other schema
//! changes answer their tag, queries and changes their plan, failures their error. With
//! `PHANTOM_BLESS=1` in the environment the answers are written anew.
//!
//! ```text
//! > SELECT name FROM artist WHERE artist_id = 7
//! Exchange ...
//! ```

use super::{NoVirtualTables, PlannedKind, SessionSettings, WriteTarget, parse, plan};
use crate::catalog::Catalog;
use crate::catalog::change::apply_ddl;
use fs_err as fs;
use model::error::SqlError;
use shards::exec::explain::render;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Partitions of the imagined cluster.
const PARTITIONS: u32 = 8;

#[test]
fn golden_scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sql/testscripts");
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    let bless = std::env::var_os("PHANTOM_BLESS").is_some();
    let mut different = Vec::new();
    for script in scripts {
        let expected = fs::read_to_string(&script).unwrap();
        let actual = run(&expected);
        if actual == expected {
            continue;
        }
        if bless {
            fs::write(&script, actual).unwrap();
        } else {
            let (line, (actual, expected)) = actual
                .lines()
                .zip(expected.lines())
                .enumerate()
                .find(|(_, (a, b))| a != b)
                .unwrap_or((0, ("(the lengths differ)", "")));
            let name = script.file_name().unwrap().to_string_lossy().into_owned();
            different
                .push(format!("{name}:{}\n  expected {expected}\n  got      {actual}", line + 1));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The script with what its statements answer now.
fn run(script: &str) -> String {
    let mut catalog = Catalog::bootstrap();
    let mut out = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("> ") else {
            // Comments and blank lines stay; old answers go.
            if line.starts_with('#') || line.is_empty() {
                writeln!(out, "{line}").unwrap();
            }
            continue;
        };
        let mut statement = first.to_owned();
        writeln!(out, "{line}").unwrap();
        while let Some(more) = lines.next_if(|next| next.starts_with(">   ")) {
            writeln!(out, "{more}").unwrap();
            write!(statement, "\n{}", &more[2..]).unwrap();
        }
        match answer(&statement, &mut catalog) {
            Ok(lines) => lines.iter().for_each(|line| writeln!(out, "{line}").unwrap()),
            Err(error) => write_error(&mut out, &error),
        }
    }
    out
}

fn write_error(out: &mut String, error: &SqlError) {
    writeln!(out, "ERROR {error}").unwrap();
    let fields = error.fields();
    if let Some(detail) = &fields.detail {
        writeln!(out, "DETAIL {detail}").unwrap();
    }
    if let Some(hint) = &fields.hint {
        writeln!(out, "HINT {hint}").unwrap();
    }
}

fn answer(statement: &str, catalog: &mut Catalog) -> Result<Vec<String>, SqlError> {
    let settings = SessionSettings::of_system("phantom");
    let mut lines = Vec::new();
    for parsed in parse(statement)? {
        let planned = plan(&parsed, catalog, &settings, &NoVirtualTables, &[])?;
        if !planned.parameters.is_empty() {
            let types: Vec<String> = planned.parameters.iter().map(ToString::to_string).collect();
            lines.push(format!("Parameters: {}", types.join(", ")));
        }
        match &planned.kind {
            PlannedKind::Ddl(ddl) => {
                let change = apply_ddl(catalog, ddl, &settings, &NoVirtualTables)?;
                *catalog = change.catalog;
                lines.extend(change.notices.into_iter().map(|notice| format!("NOTICE {notice}")));
                lines.push(planned.tag(0));
            }
            PlannedKind::Query(query) => {
                if query.point.is_some() {
                    lines.push("Point read".to_owned());
                }
                lines.extend(render(&query.plan, PARTITIONS));
            }
            PlannedKind::Update(update) => write_target(&update.target, &mut lines),
            PlannedKind::Delete(delete) => write_target(&delete.target, &mut lines),
            _ => lines.push(planned.tag(0)),
        }
    }
    Ok(lines)
}

fn write_target(target: &WriteTarget, lines: &mut Vec<String>) {
    let (how, plan) = match target {
        WriteTarget::InPlace { modify, .. } => ("In place", modify),
        WriteTarget::ByQuery { source, .. } => ("By query", source),
    };
    lines.push(how.to_owned());
    lines.extend(render(plan, PARTITIONS));
}
