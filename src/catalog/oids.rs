//! The numbers by which PostgreSQL's catalog knows objects.
//!
//! ```text
//!  below 16384              PostgreSQL's own objects, with its own oids, and what PhantomDB starts with
//!  16384 ..                 an object of the catalog: its id, moved up
//!  PRIMARY_KEYS + table     the index of a table's primary key, which is the table itself here
//!  DERIVED + hash           what has no id: constraints, defaults, rules, and functions that
//!                           PostgreSQL does not have
//! ```
//!
//! All are stable as long as the object keeps its name, and none reaches 2^31, which some clients
//! take for a sign.

use super::roles;
use super::system::DEFAULT_DATABASE_ID;
use super::{DEFAULT_SCHEMA, SYSTEM_SCHEMA};
use model::id::ObjectId;

/// The schema `pg_catalog`.
pub const PG_CATALOG: u32 = 11;
/// The schema `information_schema`.
pub const INFORMATION_SCHEMA: u32 = 12_900;
/// The schema `public`, in every database.
pub const PUBLIC: u32 = 2200;
/// The schema of PhantomDB's own tables.
pub const PHANTOM: u32 = 12_901;
/// The extension that stands for it where PostgreSQL's tools ask what is part of what.
pub const EXTENSION: u32 = 12_902;
/// The user that exists from the start.
pub const SUPERUSER: u32 = 10;

const FIRST_DATABASE: u32 = 5;
const FIRST_USER_OID: u32 = 16_384;
const PRIMARY_KEYS: u32 = 0x2000_0000;
const DERIVED: u32 = 0x4000_0000;

/// The oid of a relation, an index, a database or a role.
pub fn object(id: ObjectId) -> u32 {
    match id {
        DEFAULT_DATABASE_ID => return FIRST_DATABASE,
        roles::SUPERUSER => return SUPERUSER,
        _ => {}
    }
    (id.0.wrapping_sub(ObjectId::FIRST_USER.0).wrapping_add(FIRST_USER_OID)) % PRIMARY_KEYS
}

/// The object with an oid: the inverse of [`object`], for what users make.
pub fn object_of(oid: u32) -> Option<ObjectId> {
    let made = (FIRST_USER_OID..PRIMARY_KEYS).contains(&oid);
    made.then(|| ObjectId(oid - FIRST_USER_OID + ObjectId::FIRST_USER.0))
}

/// The oid of a schema.
pub fn schema(name: &str, id: ObjectId) -> u32 {
    match name {
        DEFAULT_SCHEMA => PUBLIC,
        SYSTEM_SCHEMA => PHANTOM,
        _ => object(id),
    }
}

/// The oid of the index of a table's primary key.
pub fn primary_key(table: ObjectId) -> u32 {
    PRIMARY_KEYS + object(table)
}

/// The oid of a function that PostgreSQL does not have, by its name and the types it takes. It is
/// no object of the catalog: as a part, of nothing.
pub fn function(signature: &str) -> u32 {
    part(ObjectId(0), signature)
}

/// The oid of a part of a relation that has a name there but no id (FNV-1a of both).
pub fn part(relation: ObjectId, name: &str) -> u32 {
    let seed = relation.0.to_le_bytes();
    let hash = seed
        .iter()
        .chain(name.as_bytes())
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    // Room above, for those that have to step aside.
    DERIVED + hash % (DERIVED - 0x1_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_do_not_meet() {
        assert_eq!(object(ObjectId::FIRST_USER), FIRST_USER_OID);
        assert_eq!(object_of(object(ObjectId(4711))), Some(ObjectId(4711)));
        assert_eq!(object_of(1259), None, "pg_class is nobody's");
        assert_eq!(object(ObjectId(1259)), 16_643, "pg_class is 1259");
        assert_eq!(schema("public", ObjectId(2)), PUBLIC);
        assert_eq!(schema("public", ObjectId(4711)), PUBLIC);
        assert!(primary_key(ObjectId(u32::MAX)) < DERIVED);
        assert_ne!(part(ObjectId(1000), "a_check"), part(ObjectId(1001), "a_check"));
        assert!(part(ObjectId(1000), "a_check") < 1 << 31);
    }
}
