//! The interactive shell, on a pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use runtime::time;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::Place;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell with somebody at the keyboard.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn open(place: &Place) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let side = || {
            let path = std::path::Path::new(name.to_str().expect("a name"));
            OwnedFd::from(
                File::options().read(true).write(true).open(path).expect("the other side"),
            )
        };
        let mut command = place.command(&["sql"]);
        command
            .env("TERM", "xterm")
            .env("PHANTOM_HISTORY", place.path().join("history"))
            .stdin(Stdio::from(side()))
            .stdout(Stdio::from(side()))
            .stderr(Stdio::from(side()));
        // SAFETY: between fork and exec only two system calls are made, both safe there.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(std::io::stdin().as_fd())?;
                Ok(())
            });
        }
        let child = command.spawn().expect("the program runs");
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().expect("cloned");
        let (sender, screen) = channel();
        let _reader = runtime::thread::spawn("screen", move || {
            let mut buffer = [0; 4096];
            // The read fails once the program has closed its side.
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, keyboard, screen, seen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until the screen has shown `text` since the last call.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let until = time::now() + PATIENCE;
        while !self.seen.contains(text) {
            match self.screen.recv_timeout(until.saturating_since(time::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} did not come; there was {:?}", self.seen)
                }
            }
        }
        let end = self.seen.find(text).map_or(0, |start| start + text.len());
        self.seen.drain(..end);
    }
}

#[test]
fn a_conversation() {
    let place = Place::new();
    let rows: Vec<String> = (0..1_000).map(|id| format!("({id})")).collect();
    place
        .sql(&format!(
            "CREATE TABLE numbers (id INT PRIMARY KEY); INSERT INTO numbers VALUES {}",
            rows.join(",")
        ))
        .done();
    let mut terminal = Terminal::open(&place);
    terminal.expect("\\? for help");
    terminal.expect("phantom=> ");
    // A statement over two lines.
    terminal.press("SELECT 6 * 7\r");
    terminal.expect("phantom-> ");
    terminal.press("AS answer;\r");
    terminal.expect("(1 row)");
    terminal.expect("phantom=> ");
    // Tab knows the table.
    terminal.press("SELECT count(*) FROM numb\t;\r");
    terminal.expect("numbers");
    terminal.expect("1000");
    terminal.expect("phantom=> ");
    // Ctrl-C gives up what was typed,
    terminal.press("SELECT 'half a str\r");
    terminal.expect("phantom'> ");
    terminal.press("\x03");
    terminal.expect("phantom=> ");
    // and cancels what runs.
    terminal.press(
        "SELECT count(*) FROM numbers a, numbers b, numbers c WHERE a.id + b.id + c.id < 0;\r",
    );
    test_support::sleep(Duration::from_millis(700));
    terminal.press("\x03");
    terminal.expect("ERROR 57014");
    terminal.expect("phantom=> ");
    // An error does not end the shell; transactions show in the prompt.
    terminal.press("BEGIN;\r");
    terminal.expect("phantom=*> ");
    terminal.press("SELECT nonsense;\r");
    terminal.expect("ERROR 42703");
    terminal.expect("phantom=!> ");
    terminal.press("ROLLBACK;\r");
    terminal.expect("phantom=> ");
    terminal.press("\\q\r");
    assert_eq!(terminal.child.wait().expect("the end").code(), Some(0));
    let history = std::fs::read_to_string(place.path().join("history")).expect("a history");
    assert!(history.contains("ROLLBACK;"), "{history}");
}
