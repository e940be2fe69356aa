//! Roles and memberships: `pg_authid`, `pg_roles`, `pg_user`, `pg_auth_members` and their kin.

use super::shape::{Rows, Shape, number};
use crate::catalog::roles::{Role, Roles};
use crate::catalog::{Catalog, oids};
use crate::sql::VirtualTable;
use model::id::ObjectId;
use model::value::Value;

/// The table of that name in `pg_catalog`, where it is about roles.
pub(super) fn table(shape: &'static Shape, catalog: &Catalog) -> Option<VirtualTable> {
    let mut rows = Rows::of(shape);
    let roles = catalog.roles();
    match shape.name {
        "pg_authid" | "pg_roles" => roles.iter().for_each(|role| rows.push(role_row(role, shape))),
        "pg_user" | "pg_shadow" => {
            let users = roles.iter().filter(|role| role.definition.login);
            users.for_each(|role| rows.push(user_row(role, shape)));
        }
        "pg_group" => groups(&mut rows, roles),
        "pg_auth_members" => memberships(&mut rows, roles),
        _ => return None,
    }
    Some(rows.done())
}

fn id(role: &Role) -> Value {
    number(oids::object(role.id))
}

fn valid_until(role: &Role) -> Value {
    role.definition.valid_until.map_or(Value::Null, Value::Timestamp)
}

/// What stands where the password would. `pg_authid` and `pg_shadow`, which superusers read, tell
/// whether there is one; what it is stored as nothing shows.
fn password(role: &Role, shape: &Shape) -> Value {
    let tells = matches!(shape.name, "pg_authid" | "pg_shadow");
    match tells && role.definition.verifier.is_none() {
        true => Value::Null,
        false => Value::text("********"),
    }
}

fn role_row(role: &Role, shape: &Shape) -> Vec<(&'static str, Value)> {
    let definition = &role.definition;
    vec![
        ("oid", id(role)),
        ("rolname", Value::text(role.name())),
        ("rolsuper", Value::Bool(definition.superuser)),
        ("rolinherit", Value::Bool(definition.inherit)),
        ("rolcreaterole", Value::Bool(definition.create_role)),
        ("rolcreatedb", Value::Bool(definition.create_database)),
        ("rolcanlogin", Value::Bool(definition.login)),
        ("rolreplication", Value::Bool(definition.replication)),
        ("rolbypassrls", Value::Bool(definition.bypass_row_security)),
        ("rolconnlimit", Value::Int(definition.connection_limit.map_or(-1, i64::from))),
        ("rolpassword", password(role, shape)),
        ("rolvaliduntil", valid_until(role)),
    ]
}

fn user_row(role: &Role, shape: &Shape) -> Vec<(&'static str, Value)> {
    let definition = &role.definition;
    vec![
        ("usename", Value::text(role.name())),
        ("usesysid", id(role)),
        ("usecreatedb", Value::Bool(definition.create_database)),
        ("usesuper", Value::Bool(definition.superuser)),
        ("userepl", Value::Bool(definition.replication)),
        ("usebypassrls", Value::Bool(definition.bypass_row_security)),
        ("passwd", password(role, shape)),
        ("valuntil", valid_until(role)),
    ]
}

fn groups(rows: &mut Rows, roles: &Roles) {
    for role in roles.iter().filter(|role| !role.definition.login) {
        let members = roles.members(role.id).map(|(member, _)| id(member));
        rows.push([
            ("groname", Value::text(role.name())),
            ("grosysid", id(role)),
            ("grolist", Value::array(members.collect())),
        ]);
    }
}

fn memberships(rows: &mut Rows, roles: &Roles) {
    for member in roles.iter() {
        for held in &member.definition.member_of {
            rows.push([
                ("roleid", number(oids::object(ObjectId(held.role)))),
                ("member", id(member)),
                ("grantor", number(oids::object(ObjectId(held.grantor)))),
                ("admin_option", Value::Bool(held.admin)),
            ]);
        }
    }
}

/// Adds what a view of `information_schema` says of the roles whose privileges `role` has.
pub(super) fn enabled(rows: &mut Rows, catalog: &Catalog, role: ObjectId) {
    let roles = catalog.roles();
    for enabled in roles.iter().filter(|enabled| roles.has_privileges_of(role, enabled.id)) {
        rows.push([("role_name", Value::text(enabled.name()))]);
    }
}

/// Adds the memberships of the roles whose privileges `role` has, as `applicable_roles` and, of
/// those that can be given on, `administrable_role_authorizations` list them.
pub(super) fn applicable(
    rows: &mut Rows,
    catalog: &Catalog,
    role: ObjectId,
    only_administrable: bool,
) {
    let roles = catalog.roles();
    for member in roles.iter().filter(|member| roles.has_privileges_of(role, member.id)) {
        for held in &member.definition.member_of {
            let Some(of) = roles.get(ObjectId(held.role)) else { continue };
            if only_administrable && !held.admin {
                continue;
            }
            rows.push([
                ("grantee", Value::text(member.name())),
                ("role_name", Value::text(of.name())),
                ("is_grantable", Value::text(if held.admin { "YES" } else { "NO" })),
            ]);
        }
    }
}
