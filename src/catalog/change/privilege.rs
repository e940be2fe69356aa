//! `GRANT` and `REVOKE` of privileges on objects.
//!
//! What a role holds of an object is a list of grants, each by one grantor to one grantee. A grantor
//! other than the owner has grant options from somebody else: when these go, what was granted by
//! them goes too (`CASCADE`) or keeps them (2BP01).

use super::Draft;
use super::role::denied;
use crate::catalog::privileges::{Held, ObjectKind, Privileges, held, not_permitted};
use crate::catalog::roles::PUBLIC;
use crate::catalog::stored::{Access, Definition, Grant};
use crate::catalog::{INFORMATION_SCHEMA, PG_CATALOG, SYSTEM_SCHEMA};
use crate::sql::ddl::privilege::{PrivilegeChange, PrivilegeStatement, Targets, WrittenName};
use crate::sql::ddl::role::RoleName;
use crate::sql::ddl::{RelationName, missing};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

impl Draft<'_> {
    pub(super) fn change_privileges(
        &mut self,
        database: &str,
        statement: &PrivilegeStatement,
    ) -> Result<(), SqlError> {
        match statement {
            PrivilegeStatement::Grant(change) => self.grant_or_revoke(database, change, true),
            PrivilegeStatement::Revoke(change) => self.grant_or_revoke(database, change, false),
            PrivilegeStatement::Owner { object, if_exists, owner } => {
                self.change_owner(database, object, *if_exists, owner)
            }
            PrivilegeStatement::Reassign { from, to } => self.reassign_owned(database, from, to),
            PrivilegeStatement::DropOwned { of, cascade } => {
                self.drop_owned(database, of, *cascade)
            }
        }
    }

    /// What the acting role may do with an object.
    pub(super) fn held(&self, id: ObjectId) -> Option<(ObjectKind, &str, Held)> {
        let (kind, name, access) = self.definitions.get(&id)?.object()?;
        Some((kind, name, held(self.before.roles(), self.actor.role, kind, access)))
    }

    /// Refuses what the acting role may not do with an object (42501).
    pub(super) fn require(&self, id: ObjectId, wanted: Privileges) -> Result<(), SqlError> {
        match self.held(id) {
            Some((kind, name, held)) if !held.privileges.hold(wanted) => {
                Err(not_permitted(kind, name))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a name in a schema that the acting role may not look into (42501). Of the path there
    /// are only those that it may.
    pub(super) fn require_usage(&self, name: &RelationName) -> Result<(), SqlError> {
        let schema = name.schema.as_ref();
        match schema.and_then(|schema| self.schema_id(&name.database, schema)) {
            Some(schema) => self.require(schema, Privileges::USAGE),
            None => Ok(()),
        }
    }

    /// Owner and grants of what the acting role creates.
    pub(super) fn own(&self) -> Access {
        Access::owned_by(self.actor.role.0)
    }

    fn grant_or_revoke(
        &mut self,
        database: &str,
        change: &PrivilegeChange,
        grants: bool,
    ) -> Result<(), SqlError> {
        if let Some(grantor) = &change.grantor
            && self.role_id(grantor)? != self.actor.role
        {
            return Err(SqlError::new(SqlState::INVALID_GRANTOR, "grantor must be current user"));
        }
        let wanted = wanted(change)?;
        let grantees = change.grantees.iter().map(|name| match name {
            RoleName::Public => Ok(PUBLIC),
            name => self.role_id(name),
        });
        let grantees: Vec<ObjectId> = grantees.collect::<Result<_, _>>()?;
        if grants && change.option && grantees.contains(&PUBLIC) {
            return Err(SqlError::new(
                SqlState::INVALID_GRANT_OPERATION,
                "grant options can only be granted to roles",
            ));
        }
        for id in self.targets(database, &change.on)? {
            self.grant_on(id, wanted, &grantees, change, grants)?;
        }
        Ok(())
    }

    /// The objects that a statement names.
    fn targets(&self, database: &str, targets: &Targets) -> Result<Vec<ObjectId>, SqlError> {
        let named = |names: &[WrittenName], only: Option<ObjectKind>| {
            let ids = names.iter().map(|name| {
                let id = self.written(database, name)?;
                match (self.held(id), only) {
                    (Some((kind, known, _)), Some(only)) if kind != only => Err(SqlError::new(
                        SqlState::WRONG_OBJECT_TYPE,
                        format!("\"{known}\" is not a {only}"),
                    )),
                    _ => Ok(id),
                }
            });
            ids.collect()
        };
        match targets {
            Targets::Relations(names) => named(names, None),
            Targets::Sequences(names) => named(names, Some(ObjectKind::Sequence)),
            Targets::Schemas(names) => {
                let ids = names.iter().map(|name| self.known_schema(database, name));
                ids.collect()
            }
            Targets::Databases(names) => {
                let id =
                    |name: &String| self.database_id(name).ok_or_else(|| missing("database", name));
                names.iter().map(id).collect()
            }
            Targets::AllTables(schemas) => {
                self.all_in(database, schemas, &[ObjectKind::Table, ObjectKind::View])
            }
            Targets::AllSequences(schemas) => {
                self.all_in(database, schemas, &[ObjectKind::Sequence])
            }
        }
    }

    fn known_schema(&self, database: &str, name: &str) -> Result<ObjectId, SqlError> {
        self.schema_id(database, name).ok_or_else(|| match name {
            SYSTEM_SCHEMA | PG_CATALOG | INFORMATION_SCHEMA => {
                denied(format!("permission denied for schema {name}"))
            }
            _ => missing("schema", name),
        })
    }

    /// The relation that a name means.
    pub(super) fn written(&self, database: &str, name: &WrittenName) -> Result<ObjectId, SqlError> {
        if let Some(schema) = &name.schema {
            self.known_schema(database, schema)?;
        }
        let sought = RelationName {
            database: database.to_owned(),
            schema: name.schema.clone(),
            name: name.name.clone(),
        };
        self.require_usage(&sought)?;
        let found = self.relation(&sought).map(|(id, _)| id);
        found.ok_or_else(|| missing("relation", &name.name))
    }

    fn all_in(
        &self,
        database: &str,
        schemas: &[String],
        kinds: &[ObjectKind],
    ) -> Result<Vec<ObjectId>, SqlError> {
        let mut found = Vec::new();
        for schema in schemas {
            self.known_schema(database, schema)?;
            let inside = self.definitions.iter().filter(|(_, definition)| {
                let kind = definition.object().map(|(kind, ..)| kind);
                definition.place() == Some((database, schema))
                    && kind.is_some_and(|kind| kinds.contains(&kind))
            });
            found.extend(inside.map(|(&id, _)| id));
        }
        Ok(found)
    }

    fn grant_on(
        &mut self,
        id: ObjectId,
        wanted: Option<Privileges>,
        grantees: &[ObjectId],
        change: &PrivilegeChange,
        grants: bool,
    ) -> Result<(), SqlError> {
        let Some(definition) = self.definitions.get(&id).cloned() else { return Ok(()) };
        let Some((kind, name, access)) = definition.object() else { return Ok(()) };
        let (name, access) = (name.to_owned(), access.clone());
        let asked = wanted.unwrap_or(kind.all());
        if let Some((_, privilege)) = (asked & !kind.all()).each().next() {
            return Err(SqlError::new(
                SqlState::INVALID_GRANT_OPERATION,
                format!("invalid privilege type {privilege} for {kind}"),
            ));
        }
        let (grantor, grantable) = self.best_grantor(kind, &access, asked);
        let held = held(self.before.roles(), self.actor.role, kind, &access);
        if grantable.is_empty() && held.privileges.is_empty() && held.grantable.is_empty() {
            // PostgreSQL, too, makes no difference between tables and views here.
            let kind = if kind == ObjectKind::View { ObjectKind::Table } else { kind };
            return Err(not_permitted(kind, &name));
        }
        let possible = asked & grantable;
        self.warn_of_missing_options(&name, (asked, possible), wanted.is_none(), grants);
        if possible.is_empty() {
            return Ok(());
        }
        let mut list = access.grants.unwrap_or_else(|| kind.default_grants(access.owner));
        for &grantee in grantees {
            let step = Step { owner: access.owner, grantor, grantee: grantee.0 };
            match grants {
                true => step.grant(&mut list, possible, change.option)?,
                false => step.revoke(&mut list, possible, change.option, change.cascade)?,
            }
        }
        let mut definition = definition.as_ref().clone();
        if let Some(access) = definition.access_mut() {
            access.grants = Some(list);
        }
        self.put(id, definition);
        Ok(())
    }

    /// In whose name the acting role grants: the owner's if it can, otherwise that of the role with
    /// the most grant options for what is asked.
    fn best_grantor(
        &self,
        kind: ObjectKind,
        access: &Access,
        asked: Privileges,
    ) -> (u32, Privileges) {
        let roles = self.before.roles();
        if roles.has_privileges_of(self.actor.role, ObjectId(access.owner)) {
            return (access.owner, kind.all());
        }
        let acts_as = roles.privileged_as(self.actor.role);
        let options = |role: &ObjectId| {
            let grants = access.grants.iter().flatten();
            let own = grants.filter(|grant| grant.grantee == role.0);
            own.fold(Privileges::NONE, |all, grant| all | grant.grantable)
        };
        let own = options(&self.actor.role) & asked;
        let mut best = (self.actor.role.0, own);
        for role in acts_as {
            let has = options(&role) & asked;
            if has.each().count() > best.1.each().count() {
                best = (role.0, has);
            }
        }
        best
    }

    fn warn_of_missing_options(
        &mut self,
        name: &str,
        (asked, possible): (Privileges, Privileges),
        all: bool,
        grants: bool,
    ) {
        let done = if grants { "granted" } else { "revoked" };
        let text = if possible.is_empty() {
            match grants {
                true => format!("no privileges were granted for \"{name}\""),
                false => format!("no privileges could be revoked for \"{name}\""),
            }
        } else if !all && possible != asked {
            match grants {
                true => format!("not all privileges were {done} for \"{name}\""),
                false => format!("not all privileges could be {done} for \"{name}\""),
            }
        } else {
            return;
        };
        let state = match grants {
            true => SqlState::PRIVILEGE_NOT_GRANTED,
            false => SqlState::PRIVILEGE_NOT_REVOKED,
        };
        self.warnings.push(SqlError::new(state, text));
    }

    /// Takes everything from a role that it was granted, on any object that `within` holds for.
    pub(super) fn revoke_everything(
        &mut self,
        role: ObjectId,
        within: impl Fn(&Definition) -> bool,
    ) {
        let ids: Vec<ObjectId> = self.definitions.keys().copied().collect();
        for id in ids {
            let Some(definition) = self.definitions.get(&id) else { continue };
            if !within(definition) || !is_granted(definition, role) {
                continue;
            }
            let mut definition = definition.as_ref().clone();
            let owner = definition.object().map(|(_, _, access)| access.owner);
            if let Some(access) = definition.access_mut()
                && let Some(grants) = &mut access.grants
                && owner != Some(role.0)
            {
                grants.retain(|grant| grant.grantee != role.0 && grant.grantor != role.0);
            }
            self.put(id, definition);
        }
    }
}

/// Whether a role is in an object's grants, as the one who may or the one who said so.
pub(super) fn is_granted(definition: &Definition, role: ObjectId) -> bool {
    let Some((_, _, access)) = definition.object() else { return false };
    let mut grants = access.grants.iter().flatten();
    grants.any(|grant| grant.grantee == role.0 || grant.grantor == role.0)
}

/// The privileges that a statement names; `None` is all of the object's.
fn wanted(change: &PrivilegeChange) -> Result<Option<Privileges>, SqlError> {
    if change.privileges.is_empty() {
        return Ok(None);
    }
    let mut wanted = Privileges::NONE;
    for name in &change.privileges {
        let privilege = Privileges::named(name).ok_or_else(|| {
            SqlError::new(
                SqlState::SYNTAX_ERROR,
                format!("unrecognized privilege type \"{}\"", name.to_lowercase()),
            )
        })?;
        if !change.on.privileges().hold(privilege) {
            return Err(SqlError::new(
                SqlState::INVALID_GRANT_OPERATION,
                format!("invalid privilege type {name} for {}", change.on.kind()),
            ));
        }
        wanted |= privilege;
    }
    Ok(Some(wanted))
}

/// One grantee's part of a change.
struct Step {
    owner: u32,
    grantor: u32,
    grantee: u32,
}

impl Step {
    fn grant(
        &self,
        list: &mut Vec<Grant>,
        privileges: Privileges,
        option: bool,
    ) -> Result<(), SqlError> {
        // The owner has all grant options anyway.
        let option = option && self.grantee != self.owner;
        if option {
            self.refuse_circle(list, privileges)?;
        }
        let grantable = if option { privileges } else { Privileges::NONE };
        let own = list
            .iter_mut()
            .find(|grant| grant.grantee == self.grantee && grant.grantor == self.grantor);
        match own {
            Some(grant) => {
                grant.privileges |= privileges;
                grant.grantable |= grantable;
            }
            None => list.push(Grant {
                grantee: self.grantee,
                grantor: self.grantor,
                privileges,
                grantable,
            }),
        }
        Ok(())
    }

    /// Grant options may not come back to who they come from: without the grantee's own, the
    /// grantor must still have them.
    fn refuse_circle(&self, list: &[Grant], privileges: Privileges) -> Result<(), SqlError> {
        if self.grantor == self.owner {
            return Ok(());
        }
        let mut without = list.to_vec();
        loop {
            let its = without.iter_mut().find(|grant| {
                grant.grantee == self.grantee && !(grant.grantable & privileges).is_empty()
            });
            let Some(grant) = its else { break };
            let options = grant.grantable & privileges;
            grant.grantable = grant.grantable & !privileges;
            cascade(&mut without, self.owner, self.grantee, options);
        }
        match options_of(&without, self.owner, self.grantor).hold(privileges) {
            true => Ok(()),
            false => Err(SqlError::new(
                SqlState::INVALID_GRANT_OPERATION,
                "grant options cannot be granted back to your own grantor",
            )),
        }
    }

    fn revoke(
        &self,
        list: &mut Vec<Grant>,
        privileges: Privileges,
        only_option: bool,
        cascades: bool,
    ) -> Result<(), SqlError> {
        let own = list
            .iter_mut()
            .find(|grant| grant.grantee == self.grantee && grant.grantor == self.grantor);
        let Some(grant) = own else { return Ok(()) };
        let options = grant.grantable & privileges;
        grant.grantable = grant.grantable & !privileges;
        if !only_option {
            grant.privileges = grant.privileges & !privileges;
        }
        let lost = options & !options_of(list, self.owner, self.grantee);
        if !lost.is_empty() && depends(list, self.owner, self.grantee, lost) {
            if !cascades {
                return Err(SqlError::new(
                    SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                    "dependent privileges exist",
                )
                .hint("Use CASCADE to revoke them too."));
            }
            cascade(list, self.owner, self.grantee, lost);
        }
        list.retain(|grant| !grant.privileges.is_empty());
        Ok(())
    }
}

/// The grant options that a role has.
fn options_of(list: &[Grant], owner: u32, role: u32) -> Privileges {
    if role == owner {
        return !Privileges::NONE;
    }
    let own = list.iter().filter(|grant| grant.grantee == role);
    own.fold(Privileges::NONE, |all, grant| all | grant.grantable)
}

/// Whether others have by `role` what it can no longer grant.
fn depends(list: &[Grant], owner: u32, role: u32, lost: Privileges) -> bool {
    let mut given = list.iter().filter(|grant| grant.grantor == role && role != owner);
    given.any(|grant| !(grant.privileges & lost).is_empty())
}

/// Takes away what `role` granted of `lost`, and so on.
fn cascade(list: &mut [Grant], owner: u32, role: u32, lost: Privileges) {
    if role == owner {
        return;
    }
    let mut waiting = vec![(role, lost)];
    while let Some((role, lost)) = waiting.pop() {
        let lost = lost & !options_of(list, owner, role);
        for grant in list.iter_mut().filter(|grant| grant.grantor == role) {
            let options = grant.grantable & lost;
            grant.privileges = grant.privileges & !lost;
            grant.grantable = grant.grantable & !lost;
            if !options.is_empty() {
                waiting.push((grant.grantee, options));
            }
        }
    }
}
