//! The thread that makes signatures which would keep a core for too long.

use super::Session;
use runtime::thread;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Handshakes that may wait for it; who comes later waits at its connection.
const JOBS_MAX: usize = 64;

/// A session with what has arrived for it, and where it goes back to.
struct Job {
    session: Session,
    received: Vec<u8>,
    back: flume::Sender<Session>,
}

/// The thread, for the cores. It ends with the last of its handles.
#[derive(Clone)]
pub(super) struct Worker {
    jobs: flume::Sender<Job>,
}

impl Worker {
    /// Starts it.
    pub(super) fn start() -> io::Result<Worker> {
        let (jobs, taken) = flume::bounded(JOBS_MAX);
        thread::spawn("tls", move || {
            while let Ok(Job { mut session, received, back }) = taken.recv() {
                let done = catch_unwind(AssertUnwindSafe(|| {
                    session.receive(received);
                    session
                }));
                // One that met a defect does not go back, which its connection notices; one whose
                // connection is gone has nowhere to go.
                if let Ok(session) = done {
                    let _gone = back.send(session);
                }
            }
        })?;
        Ok(Worker { jobs })
    }

    /// [`Session::receive`], on that thread.
    pub(super) async fn receive(&self, session: Session, received: Vec<u8>) -> io::Result<Session> {
        let (back, returned) = flume::bounded(1);
        let lost = || io::Error::other("the handshake met a defect of the server");
        self.jobs.send_async(Job { session, received, back }).await.map_err(|_ended| lost())?;
        returned.recv_async().await.map_err(|_dropped| lost())
    }
}
