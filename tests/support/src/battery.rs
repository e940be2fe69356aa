//! How much of a long battery is run: a slice by default, the whole by the environment.

use std::time::{SystemTime, UNIX_EPOCH};

/// The number in the environment variable `name`, or `default`, which is a slice of the battery.
/// Says how to run the `whole` of it.
pub fn slice(name: &str, default: u64, whole: u64) -> u64 {
    number(name, default, &format!("{name}={whole} runs the whole battery"))
}

fn number(name: &str, default: u64, hint: &str) -> u64 {
    let Ok(text) = std::env::var(name) else {
        println!("{name}={default} ({hint})");
        return default;
    };
    let number = text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}"));
    println!("{name}={number}");
    number
}

/// The seed of a random test: `PHANTOM_SEED`, or one from the clock. Printed, to repeat the run.
pub fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    number("PHANTOM_SEED", now as u64, "set it so to repeat the run")
}
