//! The oracle of kept promises: what one client knows of the rows that it alone writes.
//!
//! A client runs one transaction at a time over its own rows. Of each it learns that it committed,
//! that it was refused, or nothing: the connection broke first. After any crash the rows must be
//! exactly what the acknowledged transactions made of them, with each transaction whose fate was
//! not learned there wholly or not at all.

use std::collections::BTreeMap;
use std::fmt;

/// A row's key.
pub type Key = i64;
/// A row's content; `None` is no row.
pub type Content = Option<i64>;
/// The rows one transaction sets.
pub type Writes = BTreeMap<Key, Content>;

/// What one client knows.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// As the acknowledged transactions left them; only rows that exist.
    rows: BTreeMap<Key, i64>,
    /// The last transaction, while its fate is open.
    open: Option<Writes>,
    acknowledged: u64,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A row is not what an acknowledged transaction made of it.
    Lost {
        /// The row.
        key: Key,
        /// What was acknowledged.
        expected: Content,
        /// What is there.
        found: Content,
    },
    /// Some writes of a transaction are there and others are not.
    Half {
        /// Rows that hold its writes.
        present: Vec<Key>,
        /// Rows that do not.
        absent: Vec<Key>,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Lost { key, expected, found } => {
                write!(f, "row {key}: acknowledged {expected:?}, found {found:?}")
            }
            Violation::Half { present, absent } => {
                write!(f, "half a transaction: rows {present:?} written, rows {absent:?} not")
            }
        }
    }
}

impl Oracle {
    /// A client that has written nothing.
    pub fn new() -> Oracle {
        Oracle::default()
    }

    /// What the client believes a row to be, when no transaction is open.
    pub fn content(&self, key: Key) -> Content {
        self.rows.get(&key).copied()
    }

    /// How many transactions were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// A transaction is about to be sent. None may be open.
    pub fn begin(&mut self, writes: Writes) {
        assert!(self.open.is_none(), "a client runs one transaction at a time");
        self.open = Some(writes);
    }

    /// The open transaction was acknowledged.
    pub fn committed(&mut self) {
        let writes = self.open.take().expect("a transaction is open");
        self.apply(writes);
        self.acknowledged += 1;
    }

    /// The open transaction was refused: nothing of it may be there.
    pub fn refused(&mut self) {
        self.open = None;
    }

    /// Compares with what is there (only this client's rows) and learns the open transaction's
    /// fate from it.
    pub fn check(&mut self, found: &BTreeMap<Key, i64>) -> Result<(), Violation> {
        if let Some(writes) = self.open.take() {
            let changes = |(key, content): &(&Key, &Content)| self.content(**key) != **content;
            let changed: Vec<(&Key, &Content)> = writes.iter().filter(changes).collect();
            let is_present =
                |(key, content): &&(&Key, &Content)| found.get(key) == content.as_ref();
            let present: Vec<Key> =
                changed.iter().filter(is_present).map(|(key, _)| **key).collect();
            if !present.is_empty() && present.len() < changed.len() {
                let absent = changed.iter().map(|(key, _)| **key);
                let absent = absent.filter(|key| !present.contains(key)).collect();
                return Err(Violation::Half { present, absent });
            }
            if !present.is_empty() {
                self.apply(writes);
            }
        }
        let keys = self.rows.keys().chain(found.keys());
        for &key in keys {
            let (expected, found) = (self.content(key), found.get(&key).copied());
            if expected != found {
                return Err(Violation::Lost { key, expected, found });
            }
        }
        Ok(())
    }

    fn apply(&mut self, writes: Writes) {
        for (key, content) in writes {
            match content {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(pairs: &[(Key, Content)]) -> Writes {
        pairs.iter().copied().collect()
    }

    fn found(pairs: &[(Key, i64)]) -> BTreeMap<Key, i64> {
        pairs.iter().copied().collect()
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        let mut oracle = Oracle::new();
        oracle.begin(writes(&[(1, Some(10)), (2, Some(20))]));
        oracle.committed();
        assert_eq!(oracle.check(&found(&[(1, 10), (2, 20)])), Ok(()));
        let lost = Violation::Lost { key: 2, expected: Some(20), found: None };
        assert_eq!(oracle.check(&found(&[(1, 10)])), Err(lost));
    }

    #[test]
    fn what_was_refused_must_not() {
        let mut oracle = Oracle::new();
        oracle.begin(writes(&[(1, Some(10))]));
        oracle.refused();
        let kept = Violation::Lost { key: 1, expected: None, found: Some(10) };
        assert_eq!(oracle.check(&found(&[(1, 10)])), Err(kept));
    }

    #[test]
    fn what_is_in_doubt_is_there_wholly_or_not_at_all_and_then_stays() {
        let mut oracle = Oracle::new();
        oracle.begin(writes(&[(1, Some(1)), (2, Some(2)), (3, Some(3))]));
        oracle.committed();
        // Row 3 is set to what it is already: it tells nothing.
        oracle.begin(writes(&[(1, None), (2, Some(5)), (3, Some(3))]));
        let mut other = oracle.clone();
        let mut third = oracle.clone();
        assert_eq!(oracle.check(&found(&[(2, 5), (3, 3)])), Ok(()));
        assert_eq!(other.check(&found(&[(1, 1), (2, 2), (3, 3)])), Ok(()));
        let half = Violation::Half { present: vec![1], absent: vec![2] };
        assert_eq!(third.check(&found(&[(2, 2), (3, 3)])), Err(half));
        assert!(oracle.check(&found(&[(1, 1), (2, 2), (3, 3)])).is_err(), "it was seen committed");
    }
}
