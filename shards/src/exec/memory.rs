//! Accounting of the memory that statements keep.

use model::error::{SqlError, SqlState};
use std::cell::Cell;
use std::rc::Rc;

/// A budget of bytes, shared by all operators of a statement (or of a core). Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryAccount(Rc<Account>);

#[derive(Debug)]
struct Account {
    limit_bytes: u64,
    used_bytes: Cell<u64>,
    parent: Option<MemoryAccount>,
}

impl MemoryAccount {
    /// An account that refuses more than `limit_bytes`.
    pub fn new(limit_bytes: u64) -> MemoryAccount {
        MemoryAccount(Rc::new(Account { limit_bytes, used_bytes: Cell::new(0), parent: None }))
    }

    /// An account of its own whose bytes also count in this one: a statement's inside a core's.
    pub fn child(&self, limit_bytes: u64) -> MemoryAccount {
        let parent = Some(self.clone());
        MemoryAccount(Rc::new(Account { limit_bytes, used_bytes: Cell::new(0), parent }))
    }

    /// Bytes reserved now.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes.get()
    }

    /// Bytes that can be reserved at all.
    pub fn limit_bytes(&self) -> u64 {
        self.0.limit_bytes
    }

    /// An empty reservation, to grow.
    pub fn reserve(&self) -> Reservation {
        Reservation { account: self.clone(), bytes: 0 }
    }

    fn try_add(&self, bytes: u64) -> Result<(), SqlError> {
        let account = &*self.0;
        let used = account.used_bytes.get().saturating_add(bytes);
        if used > account.limit_bytes {
            return Err(SqlError::new(SqlState::OUT_OF_MEMORY, "out of memory")
                .detail(format!(
                    "The statement needs more than its limit of {} bytes.",
                    account.limit_bytes
                ))
                .hint("Select fewer rows or columns, or raise the node's memory budget."));
        }
        if let Some(parent) = &account.parent {
            parent.try_add(bytes)?;
        }
        account.used_bytes.set(used);
        Ok(())
    }

    fn subtract(&self, bytes: u64) {
        let account = &*self.0;
        account.used_bytes.set(account.used_bytes.get() - bytes);
        if let Some(parent) = &account.parent {
            parent.subtract(bytes);
        }
    }
}

/// Bytes taken from an account; dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    account: MemoryAccount,
    bytes: u64,
}

impl Reservation {
    /// Takes more; 53200 where the account refuses, and then nothing is taken.
    pub fn grow(&mut self, bytes: usize) -> Result<(), SqlError> {
        let bytes = bytes as u64;
        self.account.try_add(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives all of it back.
    pub fn clear(&mut self) {
        self.account.subtract(self.bytes);
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_counts_in_its_parent_and_both_limits_hold() {
        let core = MemoryAccount::new(100);
        let (a, b) = (core.child(80), core.child(80));
        let mut held = a.reserve();
        held.grow(70).unwrap();
        assert_eq!(held.grow(20).unwrap_err().state(), SqlState::OUT_OF_MEMORY);
        let mut other = b.reserve();
        assert!(other.grow(40).is_err(), "the core's limit");
        assert_eq!((b.used_bytes(), core.used_bytes()), (0, 70));
        drop(held);
        other.grow(40).unwrap();
        assert_eq!(core.used_bytes(), 40);
    }
}
