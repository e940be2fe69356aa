//! What the kernel says of a process.

use std::fs;
use std::io;
use std::time::Duration;

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy)]
pub struct ProcessStatus {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Highest resident memory so far, in bytes.
    pub resident_peak: u64,
    /// Processor time used so far, by all threads, user and system.
    pub cpu: Duration,
}

impl ProcessStatus {
    /// Reads the status of process `pid`.
    pub fn read(pid: u32) -> io::Result<ProcessStatus> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let kib = |field: &str| -> io::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            number.map(|kib| kib * 1024).ok_or_else(|| malformed(field))
        };
        // The second field is the command in parentheses and may hold spaces.
        let fields = stat.rsplit_once(')').ok_or_else(|| malformed("stat"))?.1;
        let ticks = |position: usize| -> io::Result<u64> {
            let field = fields.split_whitespace().nth(position);
            field.and_then(|text| text.parse().ok()).ok_or_else(|| malformed("stat"))
        };
        // Fields 14 and 15 of the whole line, in ticks of 10 ms.
        let cpu = Duration::from_millis(10 * (ticks(11)? + ticks(12)?));
        Ok(ProcessStatus { resident: kib("VmRSS:")?, resident_peak: kib("VmHWM:")?, cpu })
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no {what} in the process's status"))
}
