//! Owners and grants as PostgreSQL's catalog and the standard's views show them.

use super::shape::{Rows, number};
use crate::catalog::privileges::ObjectKind;
use crate::catalog::roles::PUBLIC;
use crate::catalog::stored::Grant;
use crate::catalog::{Catalog, oids};
use model::id::ObjectId;
use model::value::Value;

/// The oid of an object's owner.
pub(super) fn owner(catalog: &Catalog, id: ObjectId) -> Value {
    number(catalog.owner(id).map_or(oids::SUPERUSER, oids::object))
}

/// The name of an object's owner.
pub(super) fn owner_name(catalog: &Catalog, id: ObjectId) -> Value {
    let owner = catalog.owner(id).unwrap_or(crate::catalog::roles::SUPERUSER);
    Value::text(catalog.role_name(owner))
}

/// An object's grants, as `aclitem[]` prints them; `NULL` while there are none but the owner's.
pub(super) fn acl(catalog: &Catalog, id: ObjectId) -> Value {
    let grants = catalog.object(id).and_then(|(_, _, access)| access.grants.as_ref());
    grants.map_or(Value::Null, |grants| {
        Value::array(grants.iter().map(|grant| Value::text(item(catalog, grant))).collect())
    })
}

/// Kinds of objects by the letters of `acldefault`: what everyone may with a new one, and its owner.
const DEFAULTS: [(&str, &str, &str); 13] = [
    ("c", "", ""),
    ("r", "", "arwdDxt"),
    ("s", "", "rwU"),
    ("d", "Tc", "CTc"),
    ("f", "X", "X"),
    ("l", "U", "U"),
    ("L", "", "rw"),
    ("n", "", "UC"),
    ("t", "", "C"),
    ("F", "", "U"),
    ("S", "", "U"),
    ("T", "U", "U"),
    ("p", "", "sA"),
];

/// The answers of `acldefault(kind, owner)`: kind, role, and the grants of a new object.
pub(super) fn defaults(catalog: &Catalog) -> impl Iterator<Item = ([Value; 2], Value)> + '_ {
    catalog.roles().iter().flat_map(|role| {
        let (oid, owner) = (number(oids::object(role.id)), quoted(role.name()));
        DEFAULTS.iter().map(move |(kind, everyone, own)| {
            let granted = [("", *everyone), (&owner, *own)];
            let granted = granted.iter().filter(|(_, privileges)| !privileges.is_empty());
            let items = granted.map(|(name, may)| Value::text(format!("{name}={may}/{owner}")));
            ([Value::text(*kind), oid.clone()], Value::array(items.collect()))
        })
    })
}

fn item(catalog: &Catalog, grant: &Grant) -> String {
    let name = |role: u32| match ObjectId(role) {
        PUBLIC => String::new(),
        role => quoted(&catalog.role_name(role)),
    };
    let privileges = grant.privileges.letters(grant.grantable);
    format!("{}={privileges}/{}", name(grant.grantee), name(grant.grantor))
}

/// A role's name in an `aclitem`.
fn quoted(name: &str) -> String {
    match name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Whether a role has the privileges of an object's owner.
pub(super) fn owns(catalog: &Catalog, role: ObjectId, id: ObjectId) -> bool {
    catalog.owner(id).is_some_and(|owner| catalog.roles().has_privileges_of(role, owner))
}

/// Whether an object is shown to a role by the standard's views: it owns it, or may do something
/// with it.
pub(super) fn concerns(catalog: &Catalog, role: ObjectId, id: ObjectId) -> bool {
    owns(catalog, role, id) || !catalog.held(role, id).privileges.is_empty()
}

/// Adds the privileges on tables and views that concern the roles whose privileges `role` has:
/// `role_table_grants`, and with all that everyone may `table_privileges`.
pub(super) fn table_privileges(
    rows: &mut Rows,
    catalog: &Catalog,
    database: &str,
    role: ObjectId,
    with_public: bool,
) {
    let roles = catalog.roles();
    let enabled = |id: u32| roles.has_privileges_of(role, ObjectId(id));
    for (schema, relation) in catalog.relations(database) {
        let Some((kind, name, access)) = catalog.object(relation.id()) else { continue };
        if !matches!(kind, ObjectKind::Table | ObjectKind::View) {
            continue;
        }
        let grants = match &access.grants {
            Some(grants) => grants.clone(),
            None => kind.default_grants(access.owner),
        };
        for grant in grants {
            let public = ObjectId(grant.grantee) == PUBLIC;
            let concerns = enabled(grant.grantor) || enabled(grant.grantee);
            if !(concerns || public && with_public) {
                continue;
            }
            let grantee = match public {
                true => "PUBLIC".to_owned(),
                false => catalog.role_name(ObjectId(grant.grantee)),
            };
            for (privilege, privilege_name) in grant.privileges.each() {
                let own = grant.grantee == access.owner;
                let grantable = own || grant.grantable.hold(privilege);
                let yes = |truth: bool| Value::text(if truth { "YES" } else { "NO" });
                rows.push([
                    ("grantor", Value::text(catalog.role_name(ObjectId(grant.grantor)))),
                    ("grantee", Value::text(grantee.as_str())),
                    ("table_catalog", Value::text(database)),
                    ("table_schema", Value::text(schema)),
                    ("table_name", Value::text(name)),
                    ("privilege_type", Value::text(privilege_name)),
                    ("is_grantable", yes(grantable)),
                    ("with_hierarchy", yes(privilege_name == "SELECT")),
                ]);
            }
        }
    }
}
