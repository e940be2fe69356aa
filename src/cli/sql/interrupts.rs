//! Ctrl-C cancels the running statement; it never kills the shell.
//!
//! ```text
//!   SIGINT ──> thread "interrupts" ──> the statement watched now ──> its cancel
//!                                └──> none, or the second Ctrl-C: batch runs die of it as any
//!                                     program does, the shell goes on
//! ```
//!
//! While the shell reads a line the terminal is raw and Ctrl-C is a key, not a signal.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

/// Cancels a statement; called on another thread than the one that waits for it.
pub type Cancel = Box<dyn Fn() + Send>;

/// Who else may die of Ctrl-C.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The process stays.
    Shell,
    /// Without a statement to cancel the process ends, as it would without us.
    Batch,
}

/// The process's Ctrl-C.
#[derive(Clone, Default)]
pub struct Interrupts {
    watched: Arc<Mutex<Option<Cancel>>>,
    interrupted: Arc<AtomicBool>,
}

impl Interrupts {
    /// Takes over SIGINT for the rest of the process.
    ///
    /// # Errors
    /// The system refuses the handler or the thread.
    pub fn install(mode: Mode) -> io::Result<Self> {
        let interrupts = Self::default();
        let seen = interrupts.clone();
        let mut signals = Signals::new([SIGINT])?;
        runtime::thread::spawn("interrupts", move || {
            for signal in signals.forever() {
                let cancelled = seen.interrupt();
                if mode == Mode::Shell {
                    // The terminal has echoed ^C: what follows begins on a line of its own.
                    eprintln!();
                } else if !cancelled {
                    // The default action of SIGINT is to end the process: nothing can fail here
                    // that could still be reported.
                    let _ends: io::Result<()> =
                        signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        })?;
        Ok(interrupts)
    }

    /// Cancels what is watched; false when there is nothing, or it was cancelled already.
    fn interrupt(&self) -> bool {
        self.interrupted.store(true, Ordering::Relaxed);
        let cancel = self.watched.lock().unwrap_or_else(PoisonError::into_inner).take();
        cancel.map(|cancel| cancel()).is_some()
    }

    /// Lets Ctrl-C call `cancel` until the guard is dropped.
    #[must_use]
    pub fn watch(&self, cancel: Cancel) -> Watch<'_> {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel);
        Watch(self)
    }

    /// Set once Ctrl-C was pressed.
    pub fn interrupted(&self) -> Arc<AtomicBool> {
        self.interrupted.clone()
    }
}

/// See [`Interrupts::watch`].
pub struct Watch<'a>(&'a Interrupts);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        *self.0.watched.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn only_what_is_watched_is_cancelled_and_only_once() {
        let interrupts = Interrupts::default();
        assert!(!interrupts.interrupt());
        let cancelled = Arc::new(AtomicU32::new(0));
        let counted = cancelled.clone();
        let watch = interrupts.watch(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        assert!(interrupts.interrupt());
        assert!(!interrupts.interrupt());
        drop(watch);
        assert!(!interrupts.interrupt());
        assert_eq!(cancelled.load(Ordering::Relaxed), 1);
        assert!(interrupts.interrupted().load(Ordering::Relaxed));
    }
}
