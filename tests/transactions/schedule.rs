//! A schedule as it is written.
//!
//! ```text
//! # What is shown, what is expected, and why.
//! levels: READ COMMITTED, SERIALIZABLE
//! apart: 1, 2
//! setup: CREATE TABLE test (id int PRIMARY KEY, value int)
//! t1: BEGIN ISOLATION LEVEL {level}
//! t1: UPDATE test SET value = 11 WHERE id = 1
//! t2: UPDATE test SET value = 12
//!       WHERE id = 1
//! t1: COMMIT
//!
//! --- READ COMMITTED
//! ...
//! ```
//!
//! A line says who (`t1`) and what; one that begins with a space goes on with the line before. The
//! steps are taken in order, each when the one before has been answered, or waits for a lock. A
//! step of a client that still waits is taken as soon as it does not. With `t1!:` the answer is
//! awaited whatever it waits for: it comes without anybody's doing, after a time limit.
//!
//! `setup` runs before, and must succeed. `levels` has the steps run once for each, with its name in
//! the place of `{level}`. `apart` are keys, integers, which lie on different cores of four.
//! `not-postgres` says why PostgreSQL's outcome is not held to anything.
//!
//! What stands behind the first line that begins with `---` is the outcome, and is written by
//! `PHANTOM_BLESS=1` (see [`crate::golden`]).

/// Begins an outcome.
pub const OUTCOME: &str = "---";

/// What one client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who.
    pub client: String,
    /// What.
    pub text: String,
    /// The answer is awaited in any case.
    pub ends_by_itself: bool,
}

/// A schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// What the steps are run at; empty where they say it themselves.
    pub levels: Vec<String>,
    /// Keys that lie on different cores of four.
    pub apart: Vec<i64>,
    /// Why PostgreSQL's outcome is not looked at.
    pub not_postgres: Option<String>,
    /// What is there before.
    pub setup: Vec<String>,
    /// In order.
    pub steps: Vec<Step>,
}

impl Schedule {
    /// Reads the part of a file before the outcome.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let mut schedule = Schedule::default();
        for line in whole_lines(text) {
            let (head, body) = line.split_once(':').ok_or_else(|| format!("who says {line}?"))?;
            let body = body.trim();
            match head {
                "levels" => schedule.levels = list(body).map(str::to_owned).collect(),
                "apart" => {
                    let keys = list(body).map(|key| key.parse().map_err(|e| format!("{key}: {e}")));
                    schedule.apart = keys.collect::<Result<_, _>>()?;
                }
                "not-postgres" => schedule.not_postgres = Some(body.to_owned()),
                "setup" => schedule.setup.push(body.to_owned()),
                _ => schedule.steps.push(step(head, body)?),
            }
        }
        match schedule.steps.is_empty() {
            true => Err("a schedule without a step".to_owned()),
            false => Ok(schedule),
        }
    }

    /// The steps at a level.
    pub fn steps_at(&self, level: &str) -> Vec<Step> {
        let steps = self
            .steps
            .iter()
            .map(|step| Step { text: step.text.replace("{level}", level), ..step.clone() });
        steps.collect()
    }
}

/// Lines without comments and blank ones, each with those that go on with it.
fn whole_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let said = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    for line in said {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn list(body: &str) -> impl Iterator<Item = &str> {
    body.split(',').map(str::trim)
}

fn step(head: &str, text: &str) -> Result<Step, String> {
    let client = head.strip_suffix('!').unwrap_or(head);
    let is_name = !client.is_empty() && client.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_name || text.is_empty() {
        return Err(format!("who says what in {head}: {text}?"));
    }
    let ends_by_itself = client != head;
    Ok(Step { client: client.to_owned(), text: text.to_owned(), ends_by_itself })
}

#[test]
fn schedules_are_read() {
    let text = "# why\nlevels: A B, C\napart: 1, -2\nnot-postgres: no\nsetup: CREATE\n  TABLE t\n\
                t1: BEGIN {level}\n# then\nt2!: SELECT 'a: b'\n";
    let schedule = Schedule::parse(text).expect("it is well-formed");
    assert_eq!(schedule.levels, ["A B", "C"]);
    assert_eq!(schedule.apart, [1, -2]);
    assert_eq!(schedule.not_postgres.as_deref(), Some("no"));
    assert_eq!(schedule.setup, ["CREATE TABLE t"]);
    let step = |client: &str, text: &str, ends_by_itself| Step {
        client: client.to_owned(),
        text: text.to_owned(),
        ends_by_itself,
    };
    assert_eq!(
        schedule.steps_at("C"),
        [step("t1", "BEGIN C", false), step("t2", "SELECT 'a: b'", true)]
    );
    for wrong in ["", "levels: A", "SELECT 1", "t 1: SELECT 1", "t1:", "apart: x\nt1: a"] {
        assert!(Schedule::parse(wrong).is_err(), "{wrong}");
    }
}
