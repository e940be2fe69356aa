//! Holds the schedules in `schedules/` to what is written behind them.
//!
//! `PHANTOM_BLESS=1` writes the outcomes anew: read what has changed. Where PostgreSQL's outcome is
//! another one, it stands beside the schedule in a file `.postgres`, which the same variable writes
//! when the schedules run on PostgreSQL; the comment at the head of the schedule says why.

use crate::place::place_of;
use crate::runner::{self, Subject};
use crate::schedule::{OUTCOME, Schedule};
use crate::start;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use test_support::speaker::Speaker;

/// A database of a server that speaks PostgreSQL's protocol.
struct Database<'a> {
    address: &'a str,
    user: &'a str,
    name: String,
}

impl Subject for Database<'_> {
    fn connect(&self) -> Speaker {
        Speaker::connect_to(self.address, self.user, &self.name)
    }
}

impl<'a> Database<'a> {
    /// A new one, with a schedule's tables.
    fn create(address: &'a str, user: &'a str, control: &mut Speaker, name: String) -> Self {
        assert_eq!(control.query(&format!("CREATE DATABASE {name}")), "", "{name}");
        Database { address, user, name }
    }

    fn set_up(&self, schedule: &Schedule) {
        let mut speaker = self.connect();
        for statement in &schedule.setup {
            let answer = speaker.query(statement);
            assert_eq!(answer, "", "{}: {statement}", self.name);
        }
    }
}

fn schedules() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transactions/schedules");
    let entries = fs::read_dir(folder).expect("a folder of schedules");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension() == Some("txt".as_ref())).collect();
    files.sort();
    // One of them, to work on it.
    if let Ok(part) = std::env::var("PHANTOM_SCHEDULE") {
        files.retain(|file| file.to_string_lossy().contains(&part));
    }
    files
}

fn is_blessed() -> bool {
    std::env::var_os("PHANTOM_BLESS").is_some()
}

/// The part of a file before the outcome, and the outcome.
fn parts(text: &str) -> (&str, &str) {
    let start = match text.starts_with(OUTCOME) {
        true => Some(0),
        false => text.find(&format!("\n{OUTCOME}")).map(|at| at + 1),
    };
    text.split_at(start.unwrap_or(text.len()))
}

/// What comes of a schedule at all of its levels.
fn outcome(
    address: &str,
    user: &str,
    control: &mut Speaker,
    name: &str,
    schedule: &Schedule,
) -> Result<String, String> {
    let levels = match schedule.levels.as_slice() {
        [] => vec!["outcome".to_owned()],
        levels => levels.to_vec(),
    };
    let mut sections = Vec::new();
    for (number, level) in levels.iter().enumerate() {
        let database = format!("{}_{number}_{}", name.replace('-', "_"), std::process::id());
        let database = Database::create(address, user, control, database);
        database.set_up(schedule);
        let lines = runner::run(&database, schedule.steps_at(level));
        let lines = lines.map_err(|error| format!("{name}, {level}: {error}"))?;
        sections.push(format!("{OUTCOME} {level}\n{}\n", lines.join("\n")));
        // Of a server that stays nothing else is left behind.
        drop_database(control, &database.name);
    }
    Ok(sections.join("\n"))
}

/// Sessions that have hung up may still be ending.
fn drop_database(control: &mut Speaker, name: &str) {
    for _ in 0..100 {
        if control.query(&format!("DROP DATABASE {name}")).is_empty() {
            return;
        }
        test_support::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the database {name} cannot be dropped");
}

/// The first line that differs.
fn difference(name: &str, expected: &str, actual: &str) -> String {
    let mut expected_lines = expected.lines();
    for (number, line) in actual.lines().enumerate() {
        let expected = expected_lines.next().unwrap_or("(nothing)");
        if line != expected {
            let before: Vec<&str> = actual.lines().take(number).collect();
            let before = before[before.len().saturating_sub(12)..].join("\n  ");
            return format!("{name}\n  {before}\n  expected {expected}\n  got      {line}");
        }
    }
    format!("{name}: {} is missing", expected_lines.next().unwrap_or("a line end"))
}

fn name_of(file: &Path) -> String {
    file.file_stem().expect("a name").to_string_lossy().into_owned()
}

fn read(file: &Path) -> (String, Schedule) {
    let text = fs::read_to_string(file).expect("a schedule");
    let schedule = Schedule::parse(parts(&text).0);
    (text, schedule.unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

fn run_all(cores: u16, bless: bool) {
    let data = tempfile::tempdir().expect("a data directory");
    let mut server = start(&data.path().join("data"), cores);
    let mut control = Speaker::connect(&server);
    let mut different = Vec::new();
    for file in schedules() {
        let (text, schedule) = read(&file);
        let (name, (source, expected)) = (name_of(&file), parts(&text));
        match outcome(server.pg_address(), "phantom", &mut control, &name, &schedule) {
            Ok(actual) if actual == expected => {}
            Ok(actual) if bless => {
                fs::write(&file, format!("{}\n\n{actual}", source.trim_end())).expect("written");
            }
            Ok(actual) => different.push(difference(&name, expected, &actual)),
            Err(error) => different.push(error),
        }
    }
    assert!(server.is_running() && !server.log().contains("panick"), "{}", server.log());
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn schedules_come_out_as_written_on_one_core() {
    run_all(1, false);
}

#[test]
fn schedules_come_out_as_written_on_four_cores() {
    run_all(4, is_blessed());
}

#[test]
fn rows_of_schedules_lie_apart() {
    for file in schedules() {
        let (_, schedule) = read(&file);
        let cores: BTreeSet<_> = schedule.apart.iter().map(|key| place_of(*key, 4).1).collect();
        assert_eq!(cores.len(), schedule.apart.len(), "{}: {cores:?}", file.display());
    }
}

/// `postgresql://user@host:port/database`: user, address, database.
fn url_parts(url: &str) -> Option<(&str, &str, &str)> {
    let (user, rest) = url.split_once("://")?.1.split_once('@')?;
    let (address, database) = rest.split_once('/')?;
    Some((user, address, database))
}

/// Not a test of PhantomDB: whether PostgreSQL's outcome is what stands beside each schedule, or in
/// it.
#[test]
#[ignore = "wants a PostgreSQL: run tests/transactions/check-with-postgres"]
fn postgres_agrees_with_our_schedules() {
    let url = std::env::var("PHANTOM_POSTGRES_URL").expect("PHANTOM_POSTGRES_URL");
    let (user, address, database) = url_parts(&url).expect("postgresql://user@host:port/database");
    let mut control = Speaker::connect_to(address, user, database);
    let mut different = Vec::new();
    for file in schedules() {
        let (text, schedule) = read(&file);
        let name = name_of(&file);
        if let Some(reason) = &schedule.not_postgres {
            println!("{name} is left out: {reason}");
            continue;
        }
        let beside = Beside::of(&file);
        match outcome(address, user, &mut control, &name, &schedule) {
            Ok(actual) if is_blessed() => beside.bless(parts(&text).1, &actual),
            Ok(actual) => {
                let expected = beside.expected(parts(&text).1);
                if actual != expected {
                    different.push(difference(&name, &expected, &actual));
                }
            }
            Err(error) => different.push(error),
        }
    }
    assert!(different.is_empty(), "PostgreSQL disagrees\n\n{}", different.join("\n\n"));
}

/// The file beside a schedule: those sections of the outcome in which PostgreSQL differs.
struct Beside {
    path: PathBuf,
    text: Option<String>,
}

impl Beside {
    fn of(schedule: &Path) -> Beside {
        let path = schedule.with_extension("postgres");
        let text = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        Beside { path, text }
    }

    /// What PostgreSQL is to answer where `ours` is our outcome.
    fn expected(&self, ours: &str) -> String {
        let beside = sections(self.text.as_deref().unwrap_or_default());
        let of = |section: &String| {
            let same_level =
                beside.iter().find(|other| other.lines().next() == section.lines().next());
            same_level.unwrap_or(section).clone()
        };
        sections(ours).iter().map(of).collect::<Vec<_>>().join("\n")
    }

    /// Keeps what differs from `ours`.
    fn bless(&self, ours: &str, actual: &str) {
        let ours = sections(ours);
        let differing = sections(actual).into_iter().filter(|section| !ours.contains(section));
        let differing = differing.collect::<Vec<_>>().join("\n");
        if !differing.is_empty() {
            fs::write(&self.path, differing).expect("written");
        } else if self.text.is_some() {
            fs::remove_file(&self.path).expect("removed");
        }
    }
}

/// The sections of an outcome, one a level.
fn sections(outcome: &str) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in outcome.lines().filter(|line| !line.is_empty()) {
        match sections.last_mut() {
            Some(last) if !line.starts_with(OUTCOME) => {
                last.push_str(line);
                last.push('\n');
            }
            _ => sections.push(format!("{line}\n")),
        }
    }
    sections
}
