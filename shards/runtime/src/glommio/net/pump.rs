//! The task that turns a core's network ring.
//!
//! While there is traffic it takes its turn between the other tasks: they queue their sends, it
//! submits all of them with one system call and wakes those whose bytes have arrived. When a turn
//! finds nothing it sleeps until a task queues something or the kernel counts a completion on an
//! eventfd, which the executor reads.
//!
//! The order of going to sleep closes the gap: the eventfd is enabled, then the ring is looked at
//! once more, then it sleeps. The heartbeat of the core's timers nudges it as well, so that no
//! event that was lost anywhere can keep it asleep for longer than that.

use std::future::Future;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use glommio::io::BufferedFile;
use glommio::timer::Timer;

use super::ring::Shared;
use crate::glommio::fs;
use crate::time::{self, Instant};

/// How long traffic may keep the executor from looking at its own rings, where disk completions
/// and timers wait. A pass costs about 5 us.
const PASS_EVERY: Duration = Duration::from_micros(200);

/// How long the core stays awake for the next bytes after the last ones. Parking and waking cost
/// more than that, and a peer that answers at once is back before it is over.
const LINGER: Duration = Duration::from_micros(50);

/// An executor timer this short is over before anyone could sleep for it.
const AT_ONCE: Duration = Duration::from_nanos(300);

type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// Turns a ring; it never ends.
pub(super) struct Pump {
    ring: Shared,
    event: Rc<BufferedFile>,
    /// The read of the eventfd, kept over busy times: a dropped one leaves memory behind.
    waiting: Option<Wait>,
    pass: Timer,
    passed: Instant,
    /// When the last turn found something.
    active: Instant,
}

impl Pump {
    pub(super) fn new(ring: Shared) -> io::Result<Self> {
        // SAFETY: no memory is involved; the descriptor is ours alone.
        let event = unsafe {
            let event = libc::eventfd(0, libc::EFD_CLOEXEC);
            if event < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(event).into_raw_fd()
        };
        // SAFETY: the descriptor is open, and given away here.
        let file = unsafe { BufferedFile::from_raw_fd(event) };
        {
            let mut ring = ring.borrow_mut();
            ring.register_event(event)?;
            ring.enable_event(false);
        }
        Ok(Self {
            ring,
            event: Rc::new(file),
            waiting: None,
            pass: Timer::new(PASS_EVERY),
            passed: time::now(),
            active: time::now(),
        })
    }

    /// Runs again after the other tasks, and from time to time after the executor's rings too.
    fn again(&mut self, now: Instant, every: Duration, cx: &mut Context<'_>) {
        if now.saturating_since(self.passed) >= every {
            self.passed = now;
            self.pass.reset(AT_ONCE);
            if Pin::new(&mut self.pass).poll(cx).is_pending() {
                // It is due by the time the executor looks, so it looks without sleeping.
                while time::now() <= now + 2 * AT_ONCE {
                    std::hint::spin_loop();
                }
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Polls the read of the eventfd; whether it counted something.
    fn event_counted(&mut self, cx: &mut Context<'_>) -> bool {
        let waiting = self.waiting.get_or_insert_with(|| {
            let event = self.event.clone();
            Box::pin(async move {
                // A failed read wakes like a good one: the ring is looked at either way.
                drop(event.read_at(0, size_of::<u64>()).await);
            })
        });
        let counted = waiting.as_mut().poll(cx).is_ready();
        if counted {
            self.waiting = None;
        }
        counted
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let shared = this.ring.clone();
        let now = time::now();
        let (busy, lingers) = {
            let mut ring = shared.borrow_mut();
            ring.pumped_by(cx.waker());
            ring.enable_event(false);
            let busy = ring.turn();
            if busy {
                this.active = now;
            }
            let recent = now.saturating_since(this.active) < LINGER;
            let lingers = !busy && recent && !fs::writes_are_under_way();
            if !busy && !lingers {
                ring.enable_event(true);
            }
            (busy || (!lingers && ring.has_work()), lingers)
        };
        if lingers {
            // Nothing else may be waiting to be polled: let the executor look at its rings too.
            this.again(now, Duration::ZERO, cx);
        } else if busy || this.event_counted(cx) {
            this.again(now, PASS_EVERY, cx);
        }
        Poll::Pending
    }
}
