//! Plans kept for texts that come again: one cache a core, shared by its sessions.

use crate::sql::Planned;
use model::id::{CatalogVersion, ObjectId};
use model::types::DataType;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::rc::Rc;

/// Plans kept at most.
const ENTRIES_MAX: usize = 1024;
/// Texts that are remembered to have come once.
const SEEN_ONCE: usize = 1024;
/// A longer text is not kept: it is data more than a statement.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// What a plan takes besides its text, in bytes: an estimate, as its parts are shared.
const PLAN_BYTES: usize = 4 << 10;
/// What a byte of text becomes in a plan, in bytes: an estimate too.
const PLAN_BYTES_PER_TEXT: usize = 16;

/// What a plan was made for.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    /// The session's database.
    pub(super) database: &'a str,
    /// Whose privileges were looked at.
    pub(super) role: ObjectId,
    /// The `search_path`.
    pub(super) path: &'a str,
    /// The statement.
    pub(super) text: &'a str,
    /// The declared types of its parameters.
    pub(super) parameters: &'a [Option<DataType>],
}

struct Entry {
    database: Box<str>,
    role: ObjectId,
    path: Box<str>,
    text: Box<str>,
    parameters: Box<[Option<DataType>]>,
    planned: Rc<Planned>,
    used: Cell<u64>,
}

impl Entry {
    fn is_for(&self, key: Key<'_>) -> bool {
        *self.text == *key.text
            && *self.database == *key.database
            && self.role == key.role
            && *self.path == *key.path
            && *self.parameters == *key.parameters
    }

    fn bytes(&self) -> usize {
        estimate(self.text.len())
    }
}

fn estimate(text_bytes: usize) -> usize {
    PLAN_BYTES + text_bytes * PLAN_BYTES_PER_TEXT
}

/// The kept plans of a core. At its bounds the one that was used longest ago goes.
pub(super) struct PlanCache {
    bytes_max: usize,
    hasher: BuildHasherDefault<DefaultHasher>,
    inner: RefCell<Inner>,
    clock: Cell<u64>,
    /// The last hash of a key that had no plan, by its lowest bits: most texts with their values
    /// written out come once, and keeping their plans would cost time and push out those that are
    /// used. A plan is kept when its text comes again.
    seen_once: Box<[Cell<u64>]>,
}

#[derive(Default)]
struct Inner {
    /// By the hash of the key; of two keys with one hash the later stays.
    entries: HashMap<u64, Entry, BuildHasherDefault<DefaultHasher>>,
    bytes: usize,
}

impl PlanCache {
    pub(super) fn new(bytes_max: usize) -> PlanCache {
        PlanCache {
            bytes_max,
            hasher: BuildHasherDefault::default(),
            inner: RefCell::default(),
            clock: Cell::new(0),
            seen_once: (0..SEEN_ONCE).map(|_| Cell::new(0)).collect(),
        }
    }

    /// The plan for `key`, made with the catalog of `version`.
    pub(super) fn get(&self, key: Key<'_>, version: CatalogVersion) -> Option<Rc<Planned>> {
        let inner = self.inner.borrow();
        let entry = inner.entries.get(&self.hash(key)).filter(|entry| entry.is_for(key))?;
        if entry.planned.catalog_version != version {
            return None;
        }
        entry.used.set(self.tick());
        Some(entry.planned.clone())
    }

    /// Keeps a plan, if it may be, is not too large, and its text does not come for the first time.
    pub(super) fn keep(&self, key: Key<'_>, planned: &Rc<Planned>) {
        let bytes = estimate(key.text.len());
        if !planned.cacheable || key.text.len() > TEXT_BYTES_MAX || bytes > self.bytes_max {
            return;
        }
        let hash = self.hash(key);
        let seen = &self.seen_once[hash as usize % SEEN_ONCE];
        if seen.replace(hash) != hash {
            return;
        }
        let entry = Entry {
            database: key.database.into(),
            role: key.role,
            path: key.path.into(),
            text: key.text.into(),
            parameters: key.parameters.into(),
            planned: planned.clone(),
            used: Cell::new(self.tick()),
        };
        let mut inner = self.inner.borrow_mut();
        inner.forget(hash);
        while inner.entries.len() >= ENTRIES_MAX || inner.bytes + bytes > self.bytes_max {
            let oldest = inner.entries.iter().min_by_key(|(_, entry)| entry.used.get());
            let Some(oldest) = oldest.map(|(hash, _)| *hash) else { break };
            inner.forget(oldest);
        }
        inner.bytes += bytes;
        inner.entries.insert(hash, entry);
    }

    fn hash(&self, key: Key<'_>) -> u64 {
        self.hasher.hash_one((key.database, key.role, key.path, key.text, key.parameters))
    }

    fn tick(&self) -> u64 {
        self.clock.replace(self.clock.get() + 1)
    }
}

impl Inner {
    fn forget(&mut self, hash: u64) {
        if let Some(entry) = self.entries.remove(&hash) {
            self.bytes -= entry.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::SearchPath;
    use crate::sql::PlannedKind;

    fn planned(version: u64, cacheable: bool) -> Rc<Planned> {
        Rc::new(Planned {
            as_of: None,
            row_locks: None,
            parameters: Vec::new(),
            columns: Vec::new(),
            catalog_version: CatalogVersion(version),
            role: ObjectId(3),
            path: SearchPath::default(),
            tables: Vec::new(),
            cacheable,
            warnings: Vec::new(),
            views_node: false,
            views_cluster: false,
            sequences: crate::sql::SequenceUse::None,
            session_values: Vec::new(),
            kind: PlannedKind::Begin(Vec::new()),
        })
    }

    fn key(text: &str) -> Key<'_> {
        Key { database: "phantom", role: ObjectId(3), path: "public", text, parameters: &[] }
    }

    fn keep_twice(cache: &PlanCache, key: Key<'_>, planned: &Rc<Planned>) {
        cache.keep(key, planned);
        cache.keep(key, planned);
    }

    #[test]
    fn a_text_that_comes_once_pushes_nothing_out() {
        let cache = PlanCache::new(1 << 20);
        cache.keep(key("SELECT 1"), &planned(1, true));
        assert!(cache.get(key("SELECT 1"), CatalogVersion(1)).is_none());
        keep_twice(&cache, key("SELECT 2"), &planned(1, true));
        for once in 0..5_000 {
            cache.keep(key(&format!("SELECT 'once {once}'")), &planned(1, true));
        }
        assert!(cache.get(key("SELECT 2"), CatalogVersion(1)).is_some());
        assert_eq!(cache.inner.borrow().entries.len(), 1);
    }

    #[test]
    fn a_plan_is_found_by_all_of_its_key_until_the_catalog_changes() {
        let cache = PlanCache::new(1 << 20);
        keep_twice(&cache, key("SELECT 1"), &planned(3, true));
        assert!(cache.get(key("SELECT 1"), CatalogVersion(3)).is_some());
        assert!(cache.get(key("SELECT 1"), CatalogVersion(4)).is_none());
        let elsewhere = Key { database: "shop", ..key("SELECT 1") };
        assert!(cache.get(elsewhere, CatalogVersion(3)).is_none());
        let other = Key { role: ObjectId(1000), ..key("SELECT 1") };
        assert!(cache.get(other, CatalogVersion(3)).is_none(), "another role's privileges");
        let pathless = Key { path: "", ..key("SELECT 1") };
        assert!(cache.get(pathless, CatalogVersion(3)).is_none(), "names mean other things");
        let typed = Key { parameters: &[Some(DataType::Int4)], ..key("SELECT 1") };
        assert!(cache.get(typed, CatalogVersion(3)).is_none());
        keep_twice(&cache, key("SELECT now"), &planned(3, false));
        assert!(cache.get(key("SELECT now"), CatalogVersion(3)).is_none());
    }

    #[test]
    fn the_one_used_longest_ago_goes_first_and_the_bounds_hold() {
        let bytes_max = 10 * estimate(8);
        let cache = PlanCache::new(bytes_max);
        for round in 0..5_000 {
            keep_twice(&cache, key(&format!("S {:06}", round)), &planned(1, true));
            assert!(cache.get(key("S 000000"), CatalogVersion(1)).is_some(), "used all the time");
            let inner = cache.inner.borrow();
            assert!(inner.bytes <= bytes_max && inner.entries.len() <= ENTRIES_MAX);
            assert_eq!(inner.bytes, inner.entries.values().map(Entry::bytes).sum::<usize>());
        }
        keep_twice(&cache, key(&"x".repeat(TEXT_BYTES_MAX + 1)), &planned(1, true));
        assert_eq!(cache.inner.borrow().entries.len(), 10);
    }
}
