//! Many who insert the same keys at once, each under a primary key of its own: one row each stays, and
//! nobody fails.

use crate::start;
use test_support::speaker::Speaker;

const CLIENTS: usize = 12;
const ROUNDS: usize = 40;
/// Names that all of them insert.
const NAMES: usize = 5;

#[test]
fn keys_that_all_insert_are_there_once_and_counted_by_all() {
    let data = tempfile::tempdir().expect("a data directory");
    let server = start(&data.path().join("data"), 4);
    let mut control = Speaker::connect(&server);
    for level in ["read committed", "serializable"] {
        control.query("DROP TABLE IF EXISTS visit");
        control.query("DROP TABLE IF EXISTS seen");
        let columns = "(id int PRIMARY KEY, name text UNIQUE, n int)";
        assert_eq!(control.query(&format!("CREATE TABLE visit {columns}")), "");
        assert_eq!(control.query(&format!("CREATE TABLE seen {columns}")), "");
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let mut speaker = Speaker::connect(&server);
                scope.spawn(move || {
                    let set = format!("SET default_transaction_isolation = '{level}'");
                    assert_eq!(speaker.query(&set), "");
                    for round in 0..ROUNDS {
                        let id = client * ROUNDS + round;
                        let name = round % NAMES;
                        let values = format!("VALUES ({id}, 'name {name}', 1)");
                        let counted = speaker.query(&format!(
                            "INSERT INTO visit {values} ON CONFLICT (name) DO UPDATE SET n = visit.n + 1"
                        ));
                        assert_eq!(counted, "", "{level}, client {client}, round {round}");
                        let noted = speaker
                            .query(&format!("INSERT INTO seen {values} ON CONFLICT DO NOTHING"));
                        assert_eq!(noted, "", "{level}, client {client}, round {round}");
                    }
                });
            }
        });
        let visits = control.query("SELECT count(*), sum(n) FROM visit");
        assert_eq!(visits, format!("{NAMES}|{};", CLIENTS * ROUNDS), "{level}");
        let seen = control.query("SELECT count(*), sum(n) FROM seen");
        assert_eq!(seen, format!("{NAMES}|{NAMES};"), "{level}");
    }
}
