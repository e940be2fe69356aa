//! The timers of one core, in the order in which they fire.

use std::collections::BTreeMap;
use std::task::Waker;

use super::Instant;

/// Names one registered timer. Timers with the same deadline fire in the order of registration.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TimerKey {
    deadline: Instant,
    sequence: u64,
}

/// Pending timers. One entry each, removed when it fires or is cancelled: nothing is left behind.
#[derive(Default)]
pub(crate) struct TimerQueue {
    timers: BTreeMap<TimerKey, Waker>,
    next_sequence: u64,
}

impl TimerQueue {
    /// Registers a timer that wakes `waker` at `deadline`.
    pub(crate) fn insert(&mut self, deadline: Instant, waker: Waker) -> TimerKey {
        let key = TimerKey { deadline, sequence: self.next_sequence };
        self.next_sequence += 1;
        self.timers.insert(key, waker);
        key
    }

    /// Points a pending timer at another waker. False if it has fired already.
    pub(crate) fn update(&mut self, key: TimerKey, waker: &Waker) -> bool {
        match self.timers.get_mut(&key) {
            Some(known) => {
                known.clone_from(waker);
                true
            }
            None => false,
        }
    }

    /// Forgets a timer, if it is still pending.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.timers.remove(&key);
    }

    /// When the first pending timer fires.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|(key, _)| key.deadline)
    }

    /// Takes one waker whose deadline is not after `now`, earliest first.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        let first = self.timers.first_entry()?;
        (first.key().deadline <= now).then(|| first.remove())
    }

    /// How many timers are pending.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.timers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    struct Mark(AtomicU64);

    impl Wake for Mark {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn fires_in_order_and_leaves_nothing() {
        let mark = Arc::new(Mark(AtomicU64::new(0)));
        let mut queue = TimerQueue::default();
        let at = Instant::from_nanos;
        let late = queue.insert(at(30), mark.clone().into());
        queue.insert(at(10), mark.clone().into());
        queue.insert(at(10), mark.clone().into());
        assert_eq!(queue.next_deadline(), Some(at(10)));
        assert!(queue.pop_due(at(9)).is_none());
        queue.pop_due(at(10)).unwrap().wake();
        queue.pop_due(at(10)).unwrap().wake();
        assert!(queue.pop_due(at(29)).is_none());
        queue.cancel(late);
        assert_eq!(queue.len(), 0);
        assert!(!queue.update(late, &mark.clone().into()));
        assert_eq!(mark.0.load(Ordering::Relaxed), 2);
    }
}
