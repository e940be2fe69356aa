//! How many sessions each role has in the node.

use model::id::ObjectId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The count, shared by all cores: it is looked at when a session begins and ends, never between.
#[derive(Debug, Clone, Default)]
pub struct RoleSeats(Arc<Mutex<BTreeMap<ObjectId, u32>>>);

impl RoleSeats {
    /// A place for one more session of a role, if it has fewer than `limit`.
    pub(super) fn take(&self, role: ObjectId, limit: Option<u32>) -> Option<RoleSeat> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&role).copied().unwrap_or(0);
        if limit.is_some_and(|limit| count >= limit) {
            return None;
        }
        counts.insert(role, count + 1);
        Some(RoleSeat { seats: self.clone(), role })
    }
}

/// A session's place; given back when dropped.
#[derive(Debug)]
pub(super) struct RoleSeat {
    seats: RoleSeats,
    role: ObjectId,
}

impl Drop for RoleSeat {
    fn drop(&mut self) {
        let mut counts = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.role) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.role)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let (seats, role) = (RoleSeats::default(), ObjectId(7));
        let first = seats.take(role, Some(2)).unwrap();
        let _second = seats.take(role, Some(2)).unwrap();
        assert!(seats.take(role, Some(2)).is_none());
        let _other = seats.take(ObjectId(8), Some(1)).unwrap();
        drop(first);
        let _third = seats.take(role, Some(2)).unwrap();
        assert!(seats.take(role, None).is_some(), "without a limit");
        assert_eq!(seats.0.lock().unwrap().get(&role), Some(&2));
    }
}
