//! Owners: who must be one, how another becomes one, and what goes with one.

use super::Draft;
use super::privilege::is_granted;
use super::role::denied;
use crate::catalog::privileges::{Privileges, held, not_owner, not_permitted};
use crate::catalog::roles;
use crate::catalog::stored::{Access, Definition};
use crate::sql::ddl::missing;
use crate::sql::ddl::privilege::OwnedObject;
use crate::sql::ddl::role::RoleName;
use model::error::{SqlError, SqlState};
use model::id::ObjectId;

/// Objects that an error lists.
const LISTED_MAX: usize = 100;

impl Draft<'_> {
    /// Whether the acting role has the privileges of an object's owner.
    pub(super) fn owns(&self, id: ObjectId) -> bool {
        let owner = self.definitions.get(&id).and_then(|definition| definition.object());
        owner.is_none_or(|(_, _, access)| {
            self.before.roles().has_privileges_of(self.actor.role, ObjectId(access.owner))
        })
    }

    /// Refuses who does not own an object (42501).
    pub(super) fn require_owner(&self, id: ObjectId) -> Result<(), SqlError> {
        match self.definitions.get(&id).and_then(|definition| definition.object()) {
            Some((kind, name, _)) if !self.owns(id) => Err(not_owner(&kind, name)),
            _ => Ok(()),
        }
    }

    /// Refuses who owns neither a relation nor the schema that it is in.
    pub(super) fn require_drop(&self, id: ObjectId) -> Result<(), SqlError> {
        let place = self.definitions.get(&id).and_then(|definition| definition.place());
        let schema = place.and_then(|(database, schema)| self.schema_id(database, schema));
        match schema.is_some_and(|schema| self.owns(schema)) {
            true => Ok(()),
            false => self.require_owner(id),
        }
    }

    /// Refuses who may not make a role the owner of something.
    pub(super) fn require_membership(&self, role: ObjectId) -> Result<(), SqlError> {
        match self.before.roles().is_member(self.actor.role, role) {
            true => Ok(()),
            false => {
                Err(denied(format!("must be member of role \"{}\"", self.before.role_name(role))))
            }
        }
    }

    pub(super) fn change_owner(
        &mut self,
        database: &str,
        object: &OwnedObject,
        if_exists: bool,
        owner: &RoleName,
    ) -> Result<(), SqlError> {
        let found = match object {
            OwnedObject::Relation(word, name) => match self.written(database, name) {
                Err(_missing) if if_exists => return self.skip(true, "relation", &name.name),
                found => found.and_then(|id| self.require_kind(id, word).map(|()| id)),
            },
            OwnedObject::Schema(name) => {
                self.schema_id(database, name).ok_or_else(|| missing("schema", name))
            }
            OwnedObject::Database(name) => {
                self.database_id(name).ok_or_else(|| missing("database", name))
            }
        };
        let (id, owner) = (found?, self.role_id(owner)?);
        if let Some(Definition::Sequence(sequence)) = self.definitions.get(&id).map(AsRef::as_ref)
            && let Some((table, _)) = sequence.owned_by
        {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cannot change owner of sequence \"{}\"", sequence.name),
            )
            .detail(format!(
                "Sequence \"{}\" is linked to table \"{}\".",
                sequence.name,
                self.relation_name(ObjectId(table))
            )));
        }
        if !self.is_superuser() {
            self.require_owner(id)?;
            self.require_membership(owner)?;
            self.require_room_for(owner, id)?;
        }
        self.put_owner(id, owner);
        Ok(())
    }

    /// `ALTER TABLE` is said of views, too.
    fn require_kind(&self, id: ObjectId, word: &str) -> Result<(), SqlError> {
        let object = self.definitions.get(&id).and_then(|definition| definition.object());
        let Some((kind, name, _)) = object else { return Ok(()) };
        match word == "table" || word == kind.to_string() {
            true => Ok(()),
            false => Err(super::wrong_kind(name, word)),
        }
    }

    /// The new owner must be one who could have created it.
    fn require_room_for(&self, owner: ObjectId, id: ObjectId) -> Result<(), SqlError> {
        let Some(definition) = self.definitions.get(&id) else { return Ok(()) };
        let within = match (definition.as_ref(), definition.place()) {
            (Definition::Database(_), _) => {
                let may = self.before.roles().get(self.actor.role);
                return match may.is_some_and(|role| role.definition.create_database) {
                    true => Ok(()),
                    false => Err(denied("permission denied to change owner of database")),
                };
            }
            (Definition::Schema(schema), _) => self.database_id(&schema.database),
            (_, Some((database, schema))) => self.schema_id(database, schema),
            _ => None,
        };
        let within = within.and_then(|within| self.definitions.get(&within));
        match within.and_then(|within| within.object()) {
            Some((kind, name, access))
                if !held(self.before.roles(), owner, kind, access)
                    .privileges
                    .hold(Privileges::CREATE) =>
            {
                Err(not_permitted(kind, name))
            }
            _ => Ok(()),
        }
    }

    fn put_owner(&mut self, id: ObjectId, owner: ObjectId) {
        let Some(definition) = self.definitions.get(&id) else { return };
        let mut definition = definition.as_ref().clone();
        if let Some(access) = definition.access_mut() {
            give(access, owner.0);
        }
        self.put(id, definition);
        // A table's sequences are its owner's.
        for sequence in self.owned_sequences(id, None) {
            self.put_owner(sequence, owner);
        }
    }

    /// What a role owns in a database; the databases themselves, where `databases` says so.
    fn owned(&self, role: ObjectId, database: &str, databases: bool) -> Vec<ObjectId> {
        let owns = |definition: &Definition| {
            definition.object().is_some_and(|(_, _, access)| access.owner == role.0)
                && match definition {
                    Definition::Database(_) => databases,
                    definition => definition.is_in(database),
                }
        };
        let owned = self.definitions.iter().filter(|(_, definition)| owns(definition));
        owned.map(|(&id, _)| id).collect()
    }

    pub(super) fn reassign_owned(
        &mut self,
        database: &str,
        from: &[RoleName],
        to: &RoleName,
    ) -> Result<(), SqlError> {
        let to = self.role_id(to)?;
        let from = from.iter().map(|name| self.role_id(name));
        let from: Vec<ObjectId> = from.collect::<Result<_, _>>()?;
        for &role in from.iter().chain([&to]) {
            if !self.before.roles().has_privileges_of(self.actor.role, role) {
                return Err(denied("permission denied to reassign objects"));
            }
        }
        for role in from {
            if role == roles::SUPERUSER {
                return Err(required(&self.before.role_name(role), "reassign ownership of"));
            }
            for id in self.owned(role, database, true) {
                self.put_owner(id, to);
            }
        }
        Ok(())
    }

    pub(super) fn drop_owned(
        &mut self,
        database: &str,
        of: &[RoleName],
        cascade: bool,
    ) -> Result<(), SqlError> {
        let of = of.iter().map(|name| self.role_id(name));
        for role in of.collect::<Result<Vec<_>, _>>()? {
            if !self.before.roles().has_privileges_of(self.actor.role, role) {
                return Err(denied("permission denied to drop objects"));
            }
            if role == roles::SUPERUSER {
                return Err(required(&self.before.role_name(role), "drop"));
            }
            let owned = self.owned(role, database, false);
            let is_schema = |id: &ObjectId| {
                matches!(self.definitions.get(id).map(AsRef::as_ref), Some(Definition::Schema(_)))
            };
            let (schemas, relations): (Vec<ObjectId>, Vec<ObjectId>) =
                owned.into_iter().partition(is_schema);
            self.drop_relations(&relations, cascade)?;
            let names =
                schemas.iter().filter_map(|id| match self.definitions.get(id).map(AsRef::as_ref) {
                    Some(Definition::Schema(schema)) => Some(schema.name.clone()),
                    _ => None,
                });
            let names: Vec<String> = names.collect();
            self.drop_schemas(database, &names, false, cascade)?;
            // Databases belong to none of them.
            self.revoke_everything(role, |definition| {
                matches!(definition, Definition::Database(_)) || definition.is_in(database)
            });
        }
        Ok(())
    }

    /// Refuses to drop a role that owns something or was granted something (2BP01).
    pub(super) fn require_unused(&self, role: ObjectId, name: &str) -> Result<(), SqlError> {
        let mut uses = Vec::new();
        for definition in self.definitions.values() {
            let Some((kind, object, access)) = definition.object() else { continue };
            let object = match definition.place() {
                Some((_, schema)) if !self.path.named().iter().any(|known| known == schema) => {
                    format!("{schema}.{object}")
                }
                _ => object.to_owned(),
            };
            if access.owner == role.0 {
                uses.push(format!("owner of {kind} {object}"));
            } else if is_granted(definition, role) {
                uses.push(format!("privileges for {kind} {object}"));
            }
        }
        if uses.is_empty() {
            return Ok(());
        }
        uses.truncate(LISTED_MAX);
        Err(SqlError::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("role \"{name}\" cannot be dropped because some objects depend on it"),
        )
        .detail(uses.join("\n")))
    }
}

fn required(role: &str, what: &str) -> SqlError {
    SqlError::new(
        SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
        format!(
            "cannot {what} objects owned by role {role} because they are required by the database \
             system"
        ),
    )
}

/// Makes another role the owner. What the old one was granted, and granted, is the new one's.
fn give(access: &mut Access, owner: u32) {
    let before = std::mem::replace(&mut access.owner, owner);
    let Some(grants) = access.grants.take() else { return };
    let renamed = |role: u32| if role == before { owner } else { role };
    let mut merged: Vec<crate::catalog::stored::Grant> = Vec::with_capacity(grants.len());
    for mut grant in grants {
        grant.grantee = renamed(grant.grantee);
        grant.grantor = renamed(grant.grantor);
        let same = merged
            .iter_mut()
            .find(|known| known.grantee == grant.grantee && known.grantor == grant.grantor);
        match same {
            Some(known) => {
                known.privileges |= grant.privileges;
                known.grantable |= grant.grantable;
            }
            None => merged.push(grant),
        }
    }
    access.grants = Some(merged);
}
