//! What the second phase of a commit costs.

use crate::place::{key_where, place_of};
use crate::{is_measured, start};
use std::time::Duration;
use test_support::speaker::Speaker;
use test_support::{Server, Stopwatch, slice};

const CORES: u16 = 2;

/// What a transfer over two partitions may take, of one within a partition.
const RATIO_MAX: f64 = 2.2;

/// Times of transfers between two accounts.
#[derive(Default)]
struct Times {
    /// From the first statement's way to the last answer.
    whole: Vec<Duration>,
    /// Of the commit alone.
    commit: Vec<Duration>,
}

impl Times {
    fn take(&mut self, speaker: &mut Speaker, from: i64, to: i64) {
        let since = Stopwatch::start();
        assert_eq!(speaker.query("BEGIN"), "");
        for (account, by) in [(from, -1), (to, 1)] {
            let text = format!("UPDATE account SET balance = balance + {by} WHERE id = {account}");
            assert_eq!(speaker.query(&text), "");
        }
        let commits = Stopwatch::start();
        assert_eq!(speaker.query("COMMIT"), "");
        self.commit.push(commits.elapsed());
        self.whole.push(since.elapsed());
    }

    /// The medians of the whole and of the commit.
    fn medians(mut self) -> [Duration; 2] {
        [&mut self.whole, &mut self.commit].map(|times| {
            times.sort_unstable();
            times[times.len() / 2]
        })
    }
}

fn connect(server: &Server) -> Speaker {
    let mut speaker = Speaker::connect(server);
    assert_eq!(speaker.query("SET default_transaction_isolation = 'read committed'"), "");
    speaker
}

#[test]
fn two_partitions_cost_little_more_than_twice_one() {
    let transfers = slice("PHANTOM_TRANSFERS", 100, 2_000);
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), CORES);
    let (partition, core) = place_of(1, CORES);
    let beside = key_where(2, CORES, |other, _| other == partition);
    let apart = key_where(2, CORES, |_, other| other != core);
    connect(&server).query("CREATE TABLE account (id int PRIMARY KEY, balance int)");
    let fill = format!("INSERT INTO account VALUES (1, 0), ({beside}, 0), ({apart}, 0)");
    assert_eq!(connect(&server).query(&fill), "");
    let (mut one, mut two) = (Times::default(), Times::default());
    // One client at a time, on whichever core it comes to; both kinds in turn, so that what else
    // the machine does is in both.
    for _ in 0..8 {
        let mut speaker = connect(&server);
        for _ in 0..transfers.div_ceil(8) {
            one.take(&mut speaker, 1, beside);
            two.take(&mut speaker, 1, apart);
        }
    }
    let sum = connect(&server).query("SELECT sum(balance), count(*) FROM account");
    assert_eq!(sum, "0|3;");
    let (one, two) = (one.medians(), two.medians());
    for (what, (one, two)) in ["transfer", "commit"].iter().zip(one.into_iter().zip(two)) {
        let ratio = two.as_secs_f64() / one.as_secs_f64();
        println!("{what}: median {one:?} in one partition, {two:?} in two: {ratio:.2}");
        assert!(!is_measured() || ratio <= RATIO_MAX, "{what}: {one:?}, {two:?}");
    }
}
