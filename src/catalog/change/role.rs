//! Changes of roles and of memberships in them.

use super::Draft;
use crate::catalog::roles::{self, Role, Roles, SALT_SECRET};
use crate::catalog::stored::{Comments, Definition, Membership, RoleDefinition};
use crate::sql::check_new_name;
use crate::sql::ddl::missing;
use crate::sql::ddl::role::{
    MembershipChange, NewPassword, NewRole, RoleName, RoleOptions, RoleStatement, ValidUntil,
};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

/// Names that begin like this are the system's.
const RESERVED_PREFIX: &str = "pg_";
/// Most memberships of one role: each is looked at whenever privileges are.
const MEMBERSHIPS_MAX: usize = 1_000;

impl Draft<'_> {
    pub(super) fn change_roles(&mut self, statement: &RoleStatement) -> Result<(), SqlError> {
        match statement {
            RoleStatement::Create(new) => self.create_role(new),
            RoleStatement::Alter { role, options } => self.alter_role(role, options),
            RoleStatement::Rename { from, to } => self.rename_role(from, to),
            RoleStatement::Drop { roles, if_exists } => self.drop_roles(roles, *if_exists),
            RoleStatement::Grant(change) | RoleStatement::Group { add: true, change } => {
                self.grant_roles(change)
            }
            RoleStatement::Revoke(change) | RoleStatement::Group { add: false, change } => {
                self.revoke_roles(change)
            }
        }
    }

    /// The roles as the change leaves them so far.
    pub(super) fn roles(&self) -> Roles {
        Roles::of(self.definitions.iter())
    }

    pub(super) fn is_superuser(&self) -> bool {
        self.before.roles().is_superuser(self.actor.role)
    }

    fn may_create_roles(&self) -> bool {
        let role = self.before.roles().get(self.actor.role);
        role.is_some_and(|role| role.definition.superuser || role.definition.create_role)
    }

    /// The role that a statement names; 42704 where there is none.
    pub(super) fn role_id(&self, name: &RoleName) -> Result<ObjectId, SqlError> {
        match name {
            RoleName::Current => Ok(self.actor.role),
            RoleName::Session => Ok(self.actor.session),
            RoleName::Public => Err(missing("role", "public")),
            RoleName::Named(name) => self.role_named(name).ok_or_else(|| missing("role", name)),
        }
    }

    fn role_named(&self, name: &str) -> Option<ObjectId> {
        self.definitions.iter().find_map(|(&id, definition)| match definition.as_ref() {
            Definition::Role(role) if role.name == name => Some(id),
            _ => None,
        })
    }

    fn role(&self, id: ObjectId) -> Result<RoleDefinition, SqlError> {
        match self.definitions.get(&id).map(AsRef::as_ref) {
            Some(Definition::Role(role)) => Ok(role.clone()),
            _ => Err(missing("role", &self.before.role_name(id))),
        }
    }

    fn create_role(&mut self, new: &NewRole) -> Result<(), SqlError> {
        let options = &new.options;
        let set = |flag: Option<bool>| flag == Some(true);
        if !self.is_superuser() {
            for (needs, what) in [
                (set(options.superuser), "superusers"),
                (set(options.replication), "replication users"),
                (set(options.bypass_row_security), "bypassrls users"),
            ] {
                if needs {
                    return Err(denied(format!("must be superuser to create {what}")));
                }
            }
        }
        if !self.may_create_roles() {
            return Err(denied("permission denied to create role"));
        }
        self.require_free_role(&new.name)?;
        let mut role = RoleDefinition {
            name: new.name.clone(),
            superuser: false,
            inherit: true,
            create_role: false,
            create_database: false,
            login: false,
            replication: false,
            bypass_row_security: false,
            connection_limit: None,
            verifier: None,
            valid_until: None,
            member_of: Vec::new(),
            comments: Comments::default(),
        };
        self.set_options(&mut role, options)?;
        let id = self.next_id()?;
        self.put(id, Definition::Role(role));
        let itself = || RoleName::Named(new.name.clone());
        let change = |roles: Vec<RoleName>, members: Vec<RoleName>, admin: bool| MembershipChange {
            roles,
            members,
            admin,
            grantor: None,
        };
        self.grant_roles(&change(new.member_of.clone(), vec![itself()], false))?;
        // The creator needs no admin option on what is its own creation.
        self.add_members(id, &new.members, false, self.actor.role)?;
        self.add_members(id, &new.admins, true, self.actor.role)
    }

    fn alter_role(&mut self, name: &RoleName, options: &RoleOptions) -> Result<(), SqlError> {
        let id = self.role_id(name)?;
        let mut role = self.role(id)?;
        if !self.is_superuser() {
            if role.superuser || options.superuser.is_some() {
                return Err(denied(
                    "must be superuser to alter superuser roles or change superuser attribute",
                ));
            }
            if role.replication || options.replication.is_some() {
                return Err(denied(
                    "must be superuser to alter replication roles or change replication attribute",
                ));
            }
            if options.bypass_row_security.is_some() {
                return Err(denied("must be superuser to change bypassrls attribute"));
            }
            let own_password =
                RoleOptions { password: options.password.clone(), ..RoleOptions::default() };
            let only_password = options.password.is_some() && *options == own_password;
            let may = self.may_create_roles() || id == self.actor.role && only_password;
            if !may {
                return Err(denied("permission denied"));
            }
        }
        if id == roles::SUPERUSER && options.superuser == Some(false) {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("the role \"{}\" stays a superuser", role.name),
            )
            .hint("With NOLOGIN or a password nobody comes in as it."));
        }
        self.set_options(&mut role, options)?;
        self.put(id, Definition::Role(role));
        Ok(())
    }

    fn set_options(
        &mut self,
        role: &mut RoleDefinition,
        options: &RoleOptions,
    ) -> Result<(), SqlError> {
        let set = |flag: &mut bool, option: Option<bool>| *flag = option.unwrap_or(*flag);
        set(&mut role.superuser, options.superuser);
        set(&mut role.inherit, options.inherit);
        set(&mut role.create_role, options.create_role);
        set(&mut role.create_database, options.create_database);
        set(&mut role.login, options.login);
        set(&mut role.replication, options.replication);
        set(&mut role.bypass_row_security, options.bypass_row_security);
        if let Some(limit) = options.connection_limit {
            role.connection_limit = match limit {
                -1 => None,
                limit => Some(u32::try_from(limit).map_err(|_negative| {
                    SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        format!("invalid connection limit: {limit}"),
                    )
                })?),
            };
        }
        match &options.valid_until {
            None => {}
            Some(ValidUntil::At(until)) => role.valid_until = Some(*until),
            Some(ValidUntil::Written(_)) => {
                return Err(SqlError::internal("a point in time that was not settled"));
            }
        }
        match &options.password {
            None => {}
            Some(NewPassword::None) => role.verifier = None,
            Some(NewPassword::Clear(_)) => {
                return Err(SqlError::internal("a password that was not sealed"));
            }
            Some(NewPassword::Sealed { verifier, salts }) => {
                role.verifier = Some(verifier.clone());
                if !self.definitions.contains_key(&SALT_SECRET) {
                    self.put(SALT_SECRET, Definition::SaltSecret(salts.clone()));
                }
            }
        }
        Ok(())
    }

    fn require_free_role(&self, name: &str) -> Result<(), SqlError> {
        let reserved = |detail: Option<&'static str>| {
            let error =
                SqlError::new(SqlState::RESERVED_NAME, format!("role name \"{name}\" is reserved"));
            Err(match detail {
                Some(detail) => error.detail(detail),
                None => error,
            })
        };
        if matches!(name, "public" | "none") {
            return reserved(None);
        }
        if name.starts_with(RESERVED_PREFIX) {
            return reserved(Some("Role names starting with \"pg_\" are reserved."));
        }
        check_new_name(name)?;
        match self.role_named(name) {
            None => Ok(()),
            Some(_) => Err(SqlError::new(
                SqlState::DUPLICATE_OBJECT,
                format!("role \"{name}\" already exists"),
            )),
        }
    }

    fn rename_role(&mut self, from: &str, to: &str) -> Result<(), SqlError> {
        let id = self.role_id(&RoleName::Named(from.to_owned()))?;
        let mut role = self.role(id)?;
        for (held, who) in [(self.actor.session, "session"), (self.actor.role, "current")] {
            if id == held {
                return Err(SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("{who} user cannot be renamed"),
                ));
            }
        }
        self.require_free_role(to)?;
        if role.superuser && !self.is_superuser() {
            return Err(denied("must be superuser to rename superusers"));
        }
        if !self.may_create_roles() {
            return Err(denied("permission denied to rename role"));
        }
        to.clone_into(&mut role.name);
        self.put(id, Definition::Role(role));
        Ok(())
    }

    fn drop_roles(&mut self, names: &[RoleName], if_exists: bool) -> Result<(), SqlError> {
        if !self.may_create_roles() {
            return Err(denied("permission denied to drop role"));
        }
        for name in names {
            let RoleName::Named(name) = name else {
                return Err(SqlError::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "cannot use special role specifier in DROP ROLE",
                ));
            };
            match self.role_named(name) {
                Some(id) => self.drop_role(id, name)?,
                None => self.skip(if_exists, "role", name)?,
            }
        }
        Ok(())
    }

    fn drop_role(&mut self, id: ObjectId, name: &str) -> Result<(), SqlError> {
        for (held, who) in [(self.actor.role, "current"), (self.actor.session, "session")] {
            if id == held {
                return Err(SqlError::new(
                    SqlState::OBJECT_IN_USE,
                    format!("{who} user cannot be dropped"),
                ));
            }
        }
        if self.role(id)?.superuser && !self.is_superuser() {
            return Err(denied("must be superuser to drop superusers"));
        }
        if id == roles::SUPERUSER {
            return Err(SqlError::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop role {name} because it is required by the database system"),
            ));
        }
        self.require_unused(id, name)?;
        let members: Vec<ObjectId> = self.roles().members(id).map(|(role, _)| role.id).collect();
        for member in members {
            self.change_memberships(member, |held| held.retain(|one| one.role != id.0))?;
        }
        self.definitions.remove(&id);
        Ok(())
    }

    fn change_memberships(
        &mut self,
        member: ObjectId,
        change: impl FnOnce(&mut Vec<Membership>),
    ) -> Result<(), SqlError> {
        let mut role = self.role(member)?;
        change(&mut role.member_of);
        if role.member_of.len() > MEMBERSHIPS_MAX {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("role \"{}\" is a member of too many roles", role.name),
            )
            .detail(format!("At most {MEMBERSHIPS_MAX} are allowed.")));
        }
        self.put(member, Definition::Role(role));
        Ok(())
    }

    /// Who grants or revokes memberships.
    fn membership_grantor(&self, change: &MembershipChange) -> Result<ObjectId, SqlError> {
        let Some(named) = &change.grantor else { return Ok(self.actor.role) };
        let grantor = self.role_id(named)?;
        if grantor != self.actor.role && !self.is_superuser() {
            return Err(denied("must be superuser to set grantor"));
        }
        Ok(grantor)
    }

    fn require_admin(&self, role: &Role) -> Result<(), SqlError> {
        if role.definition.superuser {
            return match self.is_superuser() {
                true => Ok(()),
                false => Err(denied("must be superuser to alter superusers")),
            };
        }
        let may =
            self.may_create_roles() || self.before.roles().is_admin_of(self.actor.role, role.id);
        match may {
            true => Ok(()),
            false => Err(denied(format!("must have admin option on role \"{}\"", role.name()))),
        }
    }

    fn grant_roles(&mut self, change: &MembershipChange) -> Result<(), SqlError> {
        let grantor = self.membership_grantor(change)?;
        for name in &change.roles {
            let id = self.role_id(name)?;
            let role = Role { id, definition: self.role(id)? };
            self.require_admin(&role)?;
            self.add_members(id, &change.members, change.admin, grantor)?;
        }
        Ok(())
    }

    fn add_members(
        &mut self,
        role: ObjectId,
        members: &[RoleName],
        admin: bool,
        grantor: ObjectId,
    ) -> Result<(), SqlError> {
        for name in members {
            let member = self.role_id(name)?;
            let roles = self.roles();
            let names = (self.role(member)?.name, self.role(role)?.name);
            if roles.is_real_member(role, member) {
                return Err(SqlError::new(
                    SqlState::INVALID_GRANT_OPERATION,
                    format!("role \"{}\" is a member of role \"{}\"", names.1, names.0),
                ));
            }
            let held = roles.get(member).and_then(|known| {
                known.definition.member_of.iter().find(|held| held.role == role.0).copied()
            });
            if held.is_some_and(|held| held.admin || !admin) {
                self.notices.push(format!(
                    "role \"{}\" is already a member of role \"{}\"",
                    names.0, names.1
                ));
                continue;
            }
            let granted = Membership { role: role.0, grantor: grantor.0, admin };
            self.change_memberships(member, |held| {
                held.retain(|one| one.role != role.0);
                held.push(granted);
            })?;
        }
        Ok(())
    }

    fn revoke_roles(&mut self, change: &MembershipChange) -> Result<(), SqlError> {
        self.membership_grantor(change)?;
        for name in &change.roles {
            let id = self.role_id(name)?;
            let role = Role { id, definition: self.role(id)? };
            self.require_admin(&role)?;
            for name in &change.members {
                let member = self.role_id(name)?;
                let held = self.role(member)?;
                if !held.member_of.iter().any(|held| held.role == id.0) {
                    self.warnings.push(SqlError::new(
                        SqlState::WARNING,
                        format!(
                            "role \"{}\" is not a member of role \"{}\"",
                            held.name,
                            role.name()
                        ),
                    ));
                    continue;
                }
                self.change_memberships(member, |held| match change.admin {
                    true => held
                        .iter_mut()
                        .filter(|held| held.role == id.0)
                        .for_each(|held| held.admin = false),
                    false => held.retain(|held| held.role != id.0),
                })?;
            }
        }
        Ok(())
    }
}

/// 42501
pub(super) fn denied(message: impl Into<std::borrow::Cow<'static, str>>) -> SqlError {
    SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message)
}
