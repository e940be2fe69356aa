//! Who waits for whom, as the server says.

use std::collections::BTreeMap;
use test_support::speaker::Speaker;

/// What a session does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It waits for its client with a transaction open: nothing happens until that says something.
    Rests,
    /// It waits for locks that these sessions hold, or wait for before it.
    Waits(Vec<u32>),
    /// It is on its way, or has nothing that others could wait for.
    Moves,
}

/// What all sessions do, by process.
#[derive(Debug, Clone, Default)]
pub struct View(BTreeMap<u32, Standing>);

impl View {
    /// Whether a session waits, and will until a client says something: all that it waits for, and
    /// those wait for, rest. Who waits in a circle does not: the server ends that.
    pub fn is_stuck(&self, process: u32) -> bool {
        matches!(self.0.get(&process), Some(Standing::Waits(_)))
            && self.leads_to_rest(process, &mut Vec::new())
    }

    fn leads_to_rest(&self, process: u32, path: &mut Vec<u32>) -> bool {
        match self.0.get(&process) {
            Some(Standing::Rests) => true,
            Some(Standing::Waits(blockers)) => {
                path.push(process);
                let stuck = !blockers.is_empty()
                    && blockers.iter().all(|blocker| {
                        !path.contains(blocker) && self.leads_to_rest(*blocker, path)
                    });
                path.pop();
                stuck
            }
            Some(Standing::Moves) | None => false,
        }
    }
}

/// A session that looks at the others.
pub struct Observer(Speaker);

impl Observer {
    /// Looks through `speaker`.
    pub fn new(speaker: Speaker) -> Observer {
        Observer(speaker)
    }

    /// What all sessions do now.
    pub fn look(&mut self) -> View {
        self.0.send(
            'Q',
            b"SELECT pid, state, wait_event_type, pg_blocking_pids(pid) FROM pg_stat_activity\0",
        );
        let mut view = View::default();
        for message in self.0.answer() {
            match message.kind {
                'D' => {
                    let (process, standing) = standing(&message.row());
                    view.0.insert(process, standing);
                }
                'E' => panic!("who waits for whom is not told: {message:?}"),
                _ => {}
            }
        }
        view
    }
}

fn standing(row: &[Option<String>]) -> (u32, Standing) {
    let [process, state, wait, blockers] = row else { panic!("four columns, not {row:?}") };
    let process = process.as_deref().and_then(|process| process.parse().ok()).expect("a process");
    let standing = match (state.as_deref(), wait.as_deref()) {
        (Some("idle in transaction" | "idle in transaction (aborted)"), _) => Standing::Rests,
        (Some("active"), Some("Lock")) => {
            let blockers = blockers.as_deref().unwrap_or_default();
            let blockers = blockers.trim_matches(['{', '}']).split(',');
            Standing::Waits(blockers.filter_map(|process| process.parse().ok()).collect())
        }
        _ => Standing::Moves,
    };
    (process, standing)
}

#[test]
fn who_waits_for_one_that_rests_is_stuck() {
    let view = View(BTreeMap::from([
        (1, Standing::Rests),
        (2, Standing::Waits(vec![1])),
        (3, Standing::Waits(vec![2, 1])),
        (4, Standing::Moves),
        (5, Standing::Waits(vec![4, 1])),
        (6, Standing::Waits(vec![7])),
        (7, Standing::Waits(vec![6])),
        (8, Standing::Waits(vec![6, 1])),
        (9, Standing::Waits(Vec::new())),
    ]));
    let stuck: Vec<u32> = (0..11).filter(|process| view.is_stuck(*process)).collect();
    assert_eq!(stuck, [2, 3]);
}
