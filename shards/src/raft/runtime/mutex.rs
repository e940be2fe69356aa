//! A lock that tasks of one core wait for, first come first served.

use openraft::type_config::async_runtime::mutex::Mutex;
use runtime::sync::{Permit, Semaphore};
use std::cell::{RefCell, RefMut};
use std::ops::{Deref, DerefMut};

/// A value that one task at a time has.
pub struct Lock<T> {
    turn: Semaphore,
    value: RefCell<T>,
}

/// The right to the value.
pub struct Guard<'a, T> {
    value: RefMut<'a, T>,
    /// Given back after the value.
    _turn: Permit,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: 'static> Mutex<T> for Lock<T> {
    type Guard<'a> = Guard<'a, T>;

    fn new(value: T) -> Lock<T> {
        Lock { turn: Semaphore::new(1), value: RefCell::new(value) }
    }

    async fn lock(&self) -> Guard<'_, T> {
        match self.turn.acquire(1).await {
            Ok(turn) => Guard { value: self.value.borrow_mut(), _turn: turn },
            Err(_closed) => unreachable!("nobody closes the turn of a lock"),
        }
    }
}
