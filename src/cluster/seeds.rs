//! Where the nodes are that a new node asks to be let in: names, each of which may stand for several.
//!
//! The system's resolver blocks, for as long as it likes. So each name is looked up on a thread of its
//! own, and who does not answer in time is left behind. For a plain thread, before the cores run.

use config::HostPort;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Seeds that are looked up; a cluster is found by any one of them.
const SEEDS_MAX: usize = 32;

/// What came of looking seeds up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seeds {
    /// All addresses, each once, in the order of the seeds.
    pub addresses: Vec<SocketAddr>,
    /// The seeds without one, and why.
    pub failures: Vec<(HostPort, String)>,
}

/// Looks up all addresses of the first 32 seeds, all at once, with the system's resolver.
///
/// # Errors
/// A thread cannot be started.
pub fn look_up(seeds: &[HostPort], within: Duration) -> io::Result<Seeds> {
    look_up_by(seeds, within, HostPort::resolve_all)
}

/// As [`look_up`], with another resolver.
fn look_up_by(
    seeds: &[HostPort],
    within: Duration,
    resolve: fn(&HostPort) -> io::Result<Vec<SocketAddr>>,
) -> io::Result<Seeds> {
    let seeds = &seeds[..seeds.len().min(SEEDS_MAX)];
    let (told, answers) = flume::bounded(SEEDS_MAX);
    for (at, seed) in seeds.iter().cloned().enumerate() {
        let told = told.clone();
        runtime::thread::spawn("seed", move || {
            // Who is too late finds nobody.
            let _in_time = told.send((at, resolve(&seed)));
        })?;
    }
    drop(told);
    let mut found: Vec<Option<io::Result<Vec<SocketAddr>>>> = seeds.iter().map(|_| None).collect();
    let end = runtime::time::now() + within;
    loop {
        let left = end.saturating_since(runtime::time::now());
        // All have answered, or the time is over.
        let Ok((at, answer)) = answers.recv_timeout(left) else { break };
        found[at] = Some(answer);
    }
    let mut looked_up = Seeds::default();
    for (seed, answer) in seeds.iter().zip(found) {
        match answer {
            Some(Ok(addresses)) => {
                for address in addresses {
                    if !looked_up.addresses.contains(&address) {
                        looked_up.addresses.push(address);
                    }
                }
            }
            Some(Err(error)) => looked_up.failures.push((seed.clone(), error.to_string())),
            None => {
                let why = format!("cannot resolve {:?} within {within:?}", seed.host);
                looked_up.failures.push((seed.clone(), why));
            }
        }
    }
    Ok(looked_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn seeds(text: &str) -> Vec<HostPort> {
        HostPort::parse_list(text).expect("addresses")
    }

    /// `two` has two addresses, `slow` never answers, and `none` has none.
    fn resolve(seed: &HostPort) -> io::Result<Vec<SocketAddr>> {
        let address = |last: u8| SocketAddr::from(([10, 0, 0, last], seed.port));
        match seed.host.as_str() {
            "one" => Ok(vec![address(1)]),
            "two" => Ok(vec![address(2), address(1)]),
            "slow" => {
                let (_kept, never) = mpsc::channel::<()>();
                let _waited = never.recv_timeout(Duration::from_secs(30));
                Ok(vec![address(3)])
            }
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such host")),
        }
    }

    #[test]
    fn all_addresses_are_found_and_each_once() {
        let within = Duration::from_secs(20);
        let found = look_up_by(&seeds("two:7,one:7,none:7,one:8"), within, resolve);
        let found = found.expect("threads start");
        let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.2:7", "10.0.0.1:7", "10.0.0.1:8"]);
        assert_eq!(found.failures, [(HostPort::new("none", 7), "no such host".to_owned())]);
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let began = runtime::time::now();
        let within = Duration::from_millis(300);
        let found = look_up_by(&seeds("slow:7,one:7"), within, resolve).expect("threads start");
        let took = began.elapsed();
        assert!(took >= within && took < Duration::from_secs(20), "{took:?}");
        assert_eq!(found.addresses.len(), 1);
        let (seed, why) = &found.failures[0];
        assert_eq!(
            (seed.host.as_str(), why.as_str()),
            ("slow", "cannot resolve \"slow\" within 300ms")
        );
    }

    #[test]
    fn literals_need_no_resolver() {
        let found = look_up(&seeds("127.0.0.1:7430,[::1]:7430"), Duration::from_secs(20));
        let found = found.expect("threads start");
        assert_eq!(found.addresses.len(), 2, "{:?}", found.failures);
    }

    #[test]
    fn of_too_many_the_first_are_looked_up() {
        let many = vec![HostPort::new("127.0.0.1", 1); SEEDS_MAX]
            .into_iter()
            .chain([HostPort::new("127.0.0.1", 2)])
            .collect::<Vec<_>>();
        let found = look_up(&many, Duration::from_secs(20)).expect("threads start");
        assert_eq!(found.addresses, [SocketAddr::from(([127, 0, 0, 1], 1))]);
    }
}
