//! Loopback echo.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use hdrhistogram::Histogram;
use runtime::thread;
use runtime::time;

/// Bytes of a request and of its answer.
pub const MESSAGE_BYTES: usize = 64;

/// What one shape of load gave.
pub struct Echo {
    /// Connections, each with a thread on both sides.
    pub connections: usize,
    /// Messages written and awaited together.
    pub in_flight: usize,
    /// Messages a second over all connections.
    pub per_second: f64,
    /// Time from writing a batch to its last answer, in nanoseconds.
    pub times: Histogram<u64>,
}

/// Echoes for `duration`.
///
/// # Errors
/// Sockets or threads fail.
pub fn measure(connections: usize, in_flight: usize, duration: Duration) -> io::Result<Echo> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn("echo-accept", move || serve(&listener, connections))?;
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(thread::spawn("echo-client", move || client(address, in_flight, duration))?);
    }
    let started = time::now();
    let mut times = crate::histogram();
    for thread in clients {
        let seen = thread.join().map_err(|_| io::Error::other("a client panicked"))??;
        times.add(&seen).map_err(io::Error::other)?;
    }
    let elapsed = started.elapsed().as_secs_f64();
    server.join().map_err(|_| io::Error::other("the server panicked"))??;
    let messages = times.len() as f64 * in_flight as f64;
    Ok(Echo { connections, in_flight, per_second: messages / elapsed, times })
}

/// Takes the connections and echoes on a thread each, until the clients leave.
fn serve(listener: &TcpListener, connections: usize) -> io::Result<()> {
    let mut threads = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (stream, _) = listener.accept()?;
        threads.push(thread::spawn("echo-server", move || echo(stream))?);
    }
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("an echo panicked"))??;
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..read])?;
    }
}

fn client(address: SocketAddr, in_flight: usize, duration: Duration) -> io::Result<Histogram<u64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut batch = vec![7; MESSAGE_BYTES * in_flight];
    let mut times = crate::histogram();
    let until = time::now() + duration;
    loop {
        let sent = time::now();
        if sent >= until {
            return Ok(times);
        }
        stream.write_all(&batch)?;
        stream.read_exact(&mut batch)?;
        times.saturating_record(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let echo = measure(2, 4, Duration::from_millis(20)).expect("an echo");
        assert!(echo.per_second > 0.0 && !echo.times.is_empty());
    }
}
