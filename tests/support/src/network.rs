//! Hosts on a network of their own: kernel namespaces, joined by a switch that loses and delays frames
//! as it is told.
//!
//! ```text
//!   namespace 1 ── tap ─┐
//!   namespace 2 ── tap ─┼── switch (this process) ── tap ── the tests, host 0
//!   namespace 3 ── tap ─┘     what is done to frames: by sender and receiver
//! ```
//!
//! The hosts run the kernel's whole network stack. Only the wire is ours, so that it needs nothing of the
//! kernel but namespaces and taps: many lack `netem`, by which `tc` would do the same.

use crate::Random;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// The longest frame: an Ethernet header and 1500 bytes.
const FRAME_MAX: usize = 1514;
/// Bytes of the receiver's address, where a frame begins. The last is the host's number.
const ADDRESS: usize = 6;
/// Networks of this process so far: each has addresses and names of its own.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// What happens to frames from one host to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Path {
    /// Of a thousand frames so many are lost; 1000: nothing arrives.
    pub lost_permille: u32,
    /// They arrive so much later.
    pub delay: Duration,
}

/// A frame that waits: when it is due, its number, the receiver.
type Late = Reverse<(Instant, u64, usize, Vec<u8>)>;

/// The wires and what is done to frames.
struct Switch {
    taps: Vec<File>,
    /// By sender and receiver.
    paths: RwLock<Vec<Vec<Path>>>,
    late: Sender<(Instant, usize, Vec<u8>)>,
}

/// The network; gone when dropped, so the hosts' processes have to end first.
pub struct Network {
    switch: Arc<Switch>,
    name: String,
    net: u32,
    /// The caller's own device.
    device: String,
}

impl Network {
    /// So many hosts, with the numbers from 1 on; 0 is the caller's own. `None`, having said why, where the
    /// machine does not allow it.
    pub fn new(hosts: usize) -> Option<Network> {
        match Network::made(hosts) {
            Ok(network) => Some(network),
            Err(why) => {
                println!("left out: no network of its own: {why}");
                None
            }
        }
    }

    fn made(hosts: usize) -> Result<Network, String> {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let (process, late) = (std::process::id(), channel());
        let name = format!("ph{process}-{number}");
        let net = (process + number) % 250;
        let device = |host: usize| format!("pt{}-{number}-{host}", process % 100_000);
        let mut taps = Vec::new();
        for host in 0..=hosts {
            taps.push(tap(&device(host)).map_err(|error| format!("a tap: {error}"))?);
        }
        let paths = vec![vec![Path::default(); hosts + 1]; hosts + 1];
        let switch = Switch { taps, paths: RwLock::new(paths), late: late.0 };
        // From here on dropping it cleans up.
        let network = Network { switch: Arc::new(switch), name, net, device: device(0) };
        for host in 0..=hosts {
            let (device, address) = (device(host), format!("{}/24", network.address(host)));
            ip(&["link", "set", &device, "address", &format!("02:00:00:00:00:{host:02x}")])?;
            if host > 0 {
                let namespace = network.namespace(host);
                ip(&["netns", "add", &namespace])?;
                ip(&["link", "set", &device, "netns", &namespace])?;
                ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
                ip(&["-n", &namespace, "addr", "add", &address, "dev", &device])?;
                ip(&["-n", &namespace, "link", "set", &device, "up"])?;
            } else {
                ip(&["addr", "add", &address, "dev", &device])?;
                ip(&["link", "set", &device, "up"])?;
            }
        }
        for host in 0..=hosts {
            let switch = network.switch.clone();
            thread::spawn(move || switch.read(host));
        }
        // With the switch its side of the channel goes, and with that the thread.
        let switch = Arc::downgrade(&network.switch);
        thread::spawn(move || deliver_late(&switch, &late.1));
        Ok(network)
    }

    /// The name of a host's namespace.
    pub fn namespace(&self, host: usize) -> String {
        format!("{}-{host}", self.name)
    }

    /// The address of a host.
    pub fn address(&self, host: usize) -> String {
        format!("10.213.{}.{}", self.net, host + 1)
    }

    /// What happens from now on to frames from one host to another.
    pub fn set(&self, from: usize, to: usize, path: Path) {
        self.switch.paths.write().expect("nobody panics with it")[from][to] = path;
    }

    /// Every frame arrives at once again.
    pub fn heal(&self) {
        for row in self.switch.paths.write().expect("nobody panics with it").iter_mut() {
            row.fill(Path::default());
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 1..self.switch.taps.len() {
            // One that was never made is not there to be removed.
            let _gone = ip(&["netns", "del", &self.namespace(host)]);
        }
        // Who reads from it holds the switch.
        let _gone = ip(&["link", "del", &self.device]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip").args(arguments).output();
    let output = ran.map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("ip {}: {}", arguments.join(" "), said.trim()))
        }
    }
}

/// Makes a network device whose other end is the file that is returned; it is gone with the file.
fn tap(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: every field of the structure is plain numbers, for which zeros are values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len() - 1;
    if name.len() > room {
        return Err(io::Error::other(format!("{name} has more than {room} letters")));
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the file is open, and the request is one of this kind and lives through the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Switch {
    /// Takes the frames of a host to where they go, until its device is gone.
    fn read(&self, from: usize) {
        let mut random = Random::new(from as u64);
        let mut frame = [0; FRAME_MAX];
        while let Ok(length) = (&self.taps[from]).read(&mut frame) {
            for to in self.receivers(from, &frame[..length]) {
                self.send(from, to, &frame[..length], &mut random);
            }
        }
    }

    /// The one whose address the frame begins with, or all others where it is for many.
    fn receivers(&self, from: usize, frame: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let hosts = self.taps.len();
        let to = match frame.get(..ADDRESS) {
            Some(address) if address[0] & 1 == 1 => 0..hosts,
            Some(address) => {
                usize::from(address[ADDRESS - 1])..usize::from(address[ADDRESS - 1]) + 1
            }
            None => 0..0,
        };
        to.filter(move |to| *to != from && *to < hosts)
    }

    fn send(&self, from: usize, to: usize, frame: &[u8], random: &mut Random) {
        let path = self.paths.read().expect("nobody panics with it")[from][to];
        if random.below(1_000) < u64::from(path.lost_permille) {
            return;
        }
        if path.delay.is_zero() {
            self.write(to, frame);
        } else {
            // Nobody takes it where the network is gone.
            let _gone = self.late.send((Instant::now() + path.delay, to, frame.to_vec()));
        }
    }

    fn write(&self, to: usize, frame: &[u8]) {
        // A device that is down, or full, loses frames, as devices do.
        let _lost = (&self.taps[to]).write(frame);
    }
}

/// Writes each frame when it is due, as long as the switch is there.
fn deliver_late(switch: &Weak<Switch>, frames: &Receiver<(Instant, usize, Vec<u8>)>) {
    let mut waiting: BinaryHeap<Late> = BinaryHeap::new();
    for number in 0_u64.. {
        let next = match waiting.peek() {
            Some(Reverse((due, ..))) => {
                frames.recv_timeout(due.saturating_duration_since(Instant::now()))
            }
            None => frames.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok((due, to, frame)) => waiting.push(Reverse((due, number, to, frame))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(switch) = switch.upgrade() else { return };
        while waiting.peek().is_some_and(|Reverse((due, ..))| *due <= Instant::now()) {
            let Some(Reverse((_, _, to, frame))) = waiting.pop() else { break };
            switch.write(to, &frame);
        }
    }
}
