//! Prints the machine's floor: `phantomdb-perf [DIRECTORY] [SECONDS]`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use perf::{disk, echo, percentiles};

/// The shapes of load of the echo: connections, and messages in flight on each.
const SHAPES: [(usize, usize); 4] = [(1, 1), (16, 1), (64, 1), (16, 32)];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse::<u64>());
    let Ok(seconds @ 1..=3600) = seconds else {
        eprintln!("usage: phantomdb-perf [DIRECTORY] [SECONDS, 1 to 3600]");
        return ExitCode::from(2);
    };
    match floor(&directory, Duration::from_secs(seconds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("phantomdb-perf: {error}");
            ExitCode::FAILURE
        }
    }
}

fn floor(directory: &std::path::Path, duration: Duration) -> io::Result<()> {
    println!("loopback echo, {} bytes, blocking threads on both sides", echo::MESSAGE_BYTES);
    for (connections, in_flight) in SHAPES {
        let echo = echo::measure(connections, in_flight, duration)?;
        println!(
            "  {:>3} connections x {:>2} in flight: {:>9.0} messages/s, {}",
            echo.connections,
            echo.in_flight,
            echo.per_second,
            percentiles(&echo.times)
        );
    }
    println!(
        "synchronous direct writes, {} bytes, one at a time, in {}",
        disk::WRITE_BYTES,
        directory.display()
    );
    let times = disk::measure(directory, duration)?;
    println!(
        "  {:.0} writes/s, {}",
        times.len() as f64 / duration.as_secs_f64(),
        percentiles(&times)
    );
    Ok(())
}
