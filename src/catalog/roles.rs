//! Roles: who there is, and who belongs to whom.
//!
//! A role is a user (it may log in), a group (it has members), or both. Membership is a graph
//! without cycles. A member may act as the role (`SET ROLE`); one that *inherits*, and every member
//! on the way to it that does too, has its privileges at once. A superuser is a member of all.

use super::Catalog;
use super::stored::{Comments, Definition, RoleDefinition};
use model::id::ObjectId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The role that exists from the start, a superuser, and owns what nobody created.
pub const SUPERUSER: ObjectId = ObjectId(3);
/// Its name, unless it is renamed.
pub const DEFAULT_ROLE: &str = "phantom";
/// Stands for everyone where privileges are granted; no role has it.
pub const PUBLIC: ObjectId = ObjectId(0);
/// What [`SaltSecret`](super::stored::SaltSecret) is kept under.
pub(super) const SALT_SECRET: ObjectId = ObjectId(4);

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its id.
    pub id: ObjectId,
    /// What is stored of it.
    pub definition: RoleDefinition,
}

impl Role {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }
}

/// In whose name something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// `CURRENT_ROLE`: whose privileges count.
    pub role: ObjectId,
    /// `SESSION_USER`
    pub session: ObjectId,
}

impl Actor {
    /// The superuser that exists from the start: for changes that are the server's own.
    pub const SYSTEM: Actor = Actor { role: SUPERUSER, session: SUPERUSER };
}

/// All roles by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(BTreeMap<ObjectId, Arc<Role>>);

impl Roles {
    pub(super) fn of<'d>(
        definitions: impl Iterator<Item = (&'d ObjectId, &'d Arc<Definition>)>,
    ) -> Roles {
        let roles = definitions.filter_map(|(&id, definition)| match definition.as_ref() {
            Definition::Role(role) => Some((id, Arc::new(Role { id, definition: role.clone() }))),
            _ => None,
        });
        Roles(roles.collect())
    }

    /// The role with this id.
    pub fn get(&self, id: ObjectId) -> Option<&Arc<Role>> {
        self.0.get(&id)
    }

    /// The role called `name`.
    pub fn named(&self, name: &str) -> Option<&Arc<Role>> {
        self.0.values().find(|role| role.name() == name)
    }

    /// All of them by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.0.values()
    }

    /// Whether the role is a superuser.
    pub fn is_superuser(&self, id: ObjectId) -> bool {
        self.get(id).is_some_and(|role| role.definition.superuser)
    }

    /// Whether `member` is `role` or a member of it, at any remove: it may act as `role`.
    pub fn is_member(&self, member: ObjectId, role: ObjectId) -> bool {
        self.is_superuser(member) || self.is_real_member(member, role)
    }

    /// The same, without regard to superusers.
    pub fn is_real_member(&self, member: ObjectId, role: ObjectId) -> bool {
        self.closure(member, |_| true).contains(&role)
    }

    /// Whether `member` has the privileges of `role` as they are.
    pub fn has_privileges_of(&self, member: ObjectId, role: ObjectId) -> bool {
        self.is_superuser(member) || self.privileged_as(member).contains(&role)
    }

    /// The roles whose privileges `member` has as they are, itself among them.
    pub fn privileged_as(&self, member: ObjectId) -> BTreeSet<ObjectId> {
        self.closure(member, |role| role.definition.inherit)
    }

    /// Whether `member` may make others members of `role`.
    pub fn is_admin_of(&self, member: ObjectId, role: ObjectId) -> bool {
        let admin_itself = |held: ObjectId| {
            self.get(held).is_some_and(|held| {
                let mut memberships = held.definition.member_of.iter();
                memberships.any(|granted| granted.admin && granted.role == role.0)
            })
        };
        self.is_superuser(member) || self.closure(member, |_| true).into_iter().any(admin_itself)
    }

    /// The direct members of a role, and how they are members.
    pub fn members(
        &self,
        role: ObjectId,
    ) -> impl Iterator<Item = (&Arc<Role>, super::stored::Membership)> {
        self.iter().flat_map(move |member| {
            let held = member.definition.member_of.iter();
            held.filter(move |granted| granted.role == role.0)
                .map(move |granted| (member, *granted))
        })
    }

    /// What `member` reaches through memberships, going on from those for which `passes`.
    fn closure(&self, member: ObjectId, passes: impl Fn(&Role) -> bool) -> BTreeSet<ObjectId> {
        let mut reached = BTreeSet::from([member]);
        let mut waiting = vec![member];
        while let Some(id) = waiting.pop() {
            let Some(role) = self.get(id).filter(|role| passes(role)) else { continue };
            for granted in &role.definition.member_of {
                let next = ObjectId(granted.role);
                if reached.insert(next) {
                    waiting.push(next);
                }
            }
        }
        reached
    }
}

impl Catalog {
    /// The roles.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The name of a role, also of one that is gone.
    pub fn role_name(&self, id: ObjectId) -> String {
        match self.roles.get(id) {
            Some(role) => role.name().to_owned(),
            None => format!("unknown (OID={})", super::oids::object(id)),
        }
    }

    /// What salts of roles without a password are derived from; none before the first password.
    pub fn salt_secret(&self) -> Option<&[u8; 32]> {
        match self.definitions.get(&SALT_SECRET).map(AsRef::as_ref) {
            Some(Definition::SaltSecret(secret)) => Some(&secret.bytes),
            _ => None,
        }
    }
}

pub(super) fn default_role() -> RoleDefinition {
    RoleDefinition {
        name: DEFAULT_ROLE.to_owned(),
        superuser: true,
        inherit: true,
        create_role: true,
        create_database: true,
        login: true,
        replication: true,
        bypass_row_security: true,
        connection_limit: None,
        verifier: None,
        valid_until: None,
        member_of: Vec::new(),
        comments: Comments::default(),
    }
}
