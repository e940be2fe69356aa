//! The oracle of kept promises: what one client knows of the rows that it alone writes.
//!
//! A client runs one transaction at a time over its own rows. Of each it learns that it committed,
//! that it was refused, or nothing: the connection broke first. After any crash the rows must be
//! exactly what the acknowledged transactions made of them, with each transaction whose fate was
//! not learned there wholly or not at all.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

/// The rows one transaction sets; `None` is no row.
pub type Writes<K, V> = BTreeMap<K, Option<V>>;

/// What one client knows.
#[derive(Debug, Clone)]
pub struct Oracle<K, V> {
    /// As the acknowledged transactions left them; only rows that exist.
    rows: BTreeMap<K, V>,
    /// The last transaction, while its fate is open.
    open: Option<Writes<K, V>>,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation<K, V> {
    /// A row is not what an acknowledged transaction made of it.
    Lost {
        /// The row.
        key: K,
        /// What was acknowledged.
        expected: Option<V>,
        /// What is there.
        found: Option<V>,
    },
    /// Some writes of a transaction are there and others are not.
    Half {
        /// Rows that hold its writes.
        present: Vec<K>,
        /// Rows that do not.
        absent: Vec<K>,
    },
}

impl<K: Debug, V: Debug> fmt::Display for Violation<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Lost { key, expected, found } => {
                write!(f, "row {key:?}: acknowledged {expected:?}, found {found:?}")
            }
            Violation::Half { present, absent } => {
                write!(f, "half a transaction: rows {present:?} written, rows {absent:?} not")
            }
        }
    }
}

impl<K, V> Default for Oracle<K, V> {
    fn default() -> Oracle<K, V> {
        Oracle { rows: BTreeMap::new(), open: None }
    }
}

impl<K: Ord + Clone + Debug, V: Clone + PartialEq + Debug> Oracle<K, V> {
    /// A client that has written nothing.
    pub fn new() -> Oracle<K, V> {
        Oracle::default()
    }

    /// What the client believes a row to be, when no transaction is open.
    pub fn content(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// The rows as the acknowledged transactions left them.
    pub fn rows(&self) -> &BTreeMap<K, V> {
        &self.rows
    }

    /// Whether the fate of a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A transaction is about to be sent. None may be open.
    pub fn begin(&mut self, writes: Writes<K, V>) {
        assert!(self.open.is_none(), "a client runs one transaction at a time");
        self.open = Some(writes);
    }

    /// The open transaction was acknowledged.
    pub fn committed(&mut self) {
        let writes = self.open.take().expect("a transaction is open");
        self.apply(writes);
    }

    /// The open transaction was refused: nothing of it may be there.
    pub fn refused(&mut self) {
        self.open = None;
    }

    /// Compares with what is there (only this client's rows) and learns the open transaction's
    /// fate from it.
    pub fn check(&mut self, found: &BTreeMap<K, V>) -> Result<(), Violation<K, V>> {
        if let Some(writes) = self.open.take() {
            let changes =
                |(key, content): &(&K, &Option<V>)| self.rows.get(*key) != content.as_ref();
            let changed: Vec<(&K, &Option<V>)> = writes.iter().filter(changes).collect();
            let is_present =
                |(key, content): &&(&K, &Option<V>)| found.get(*key) == content.as_ref();
            let present: Vec<K> =
                changed.iter().filter(is_present).map(|(key, _)| (*key).clone()).collect();
            if !present.is_empty() && present.len() < changed.len() {
                let absent = changed.iter().map(|(key, _)| (*key).clone());
                let absent = absent.filter(|key| !present.contains(key)).collect();
                return Err(Violation::Half { present, absent });
            }
            if !present.is_empty() {
                self.apply(writes);
            }
        }
        let keys = self.rows.keys().chain(found.keys());
        for key in keys {
            let (expected, found) = (self.rows.get(key), found.get(key));
            if expected != found {
                let (expected, found) = (expected.cloned(), found.cloned());
                return Err(Violation::Lost { key: key.clone(), expected, found });
            }
        }
        Ok(())
    }

    fn apply(&mut self, writes: Writes<K, V>) {
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

    fn writes(pairs: &[(i64, Option<i64>)]) -> Writes<i64, i64> {
        pairs.iter().copied().collect()
    }

    fn found(pairs: &[(i64, i64)]) -> BTreeMap<i64, i64> {
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
