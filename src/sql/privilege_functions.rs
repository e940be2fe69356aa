//! `has_table_privilege` and its kin: what a role may do with an object.
//!
//! The privilege is written out; role and object may be computed: the answers are a table made from
//! the catalog, for each object of the kind, and for each role where it is computed.

use super::NamedObject;
use super::binder::Binder;
use crate::catalog::privileges::{Held, ObjectKind, Privileges};
use crate::catalog::roles::PUBLIC;
use crate::catalog::{Relation, oids};
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::id::ObjectId;
use model::lookup::{LookupTable, Missing};
use model::types::{DataType, RegKind};
use model::value::Value;
use std::collections::BTreeSet;
use std::ops::BitOr;

/// Most answers of one call.
const ANSWERS_MAX: usize = 500_000;

/// Those of tables that there are on columns, too.
const ON_COLUMNS: [Privileges; 4] =
    [Privileges::SELECT, Privileges::INSERT, Privileges::UPDATE, Privileges::REFERENCES];

/// What a function asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Table,
    /// Of a table: there are no privileges on columns.
    Column,
    Sequence,
    Schema,
    Database,
    Role,
}

/// What is asked, and how many arguments stand before the privilege besides the role.
fn asked(name: &str) -> Option<(Asked, usize)> {
    Some(match name {
        "has_table_privilege" => (Asked::Table, 1),
        "has_any_column_privilege" => (Asked::Column, 1),
        "has_column_privilege" => (Asked::Column, 2),
        "has_sequence_privilege" => (Asked::Sequence, 1),
        "has_schema_privilege" => (Asked::Schema, 1),
        "has_database_privilege" => (Asked::Database, 1),
        "pg_has_role" => (Asked::Role, 1),
        _ => return None,
    })
}

/// Whether a call with so many arguments is one of these.
pub(super) fn is_privilege_call(name: &str, arguments: usize) -> bool {
    asked(name).is_some_and(|(_, own)| arguments == own + 1 || arguments == own + 2)
}

/// An object, and what a role may with it.
struct Answer {
    oid: u32,
    held: bool,
}

impl Binder<'_> {
    /// A call of one of these functions; the arguments are given back where it is none.
    pub(super) fn privilege_call(
        &self,
        name: &str,
        arguments: Vec<Expression>,
    ) -> Result<Result<Expression, Vec<Expression>>, SqlError> {
        let Some((asked, own)) = asked(name) else { return Ok(Err(arguments)) };
        let named_role = match arguments.len() {
            given if given == own + 1 => false,
            given if given == own + 2 => true,
            _ => return Ok(Err(arguments)),
        };
        let mut arguments = arguments.into_iter();
        let role = if named_role { arguments.next() } else { None };
        // Everyone, by a name that is no role's.
        let everyone = role.as_ref().is_some_and(
            |role| matches!(literal(role), Some(Value::Text(name)) if &**name == "public"),
        );
        let Some(object) = arguments.next() else { return Ok(Err(Vec::new())) };
        let Some(privilege) = arguments.last() else { return Ok(Err(Vec::new())) };
        let Some(Value::Text(privilege)) = literal(&privilege) else {
            return Err(SqlError::unsupported(format!("{name} with a computed privilege")));
        };
        let privilege = privilege.to_string();
        let object = self.object_oid(asked, object);
        let mut table = LookupTable::new(name.to_owned(), Missing::Null);
        let Some(role) = role.filter(|_| !everyone) else {
            let role = if everyone { PUBLIC } else { self.settings.actor.role };
            for answer in self.answers(asked, role, &privilege)? {
                table.insert(&[number(answer.oid)], Value::Bool(answer.held));
            }
            return Ok(Ok(self.lookup(table, vec![object], DataType::Bool)));
        };
        let role = self.object_oid(Asked::Role, role);
        for known in self.catalog.roles().iter() {
            let answers = self.answers(asked, known.id, &privilege)?;
            if answers.len() * self.catalog.roles().iter().count() > ANSWERS_MAX {
                return Err(SqlError::new(
                    SqlState::PROGRAM_LIMIT_EXCEEDED,
                    format!("{name} has too many answers in this database"),
                )
                .hint("Ask without naming a role."));
            }
            for answer in answers {
                let key = [number(oids::object(known.id)), number(answer.oid)];
                table.insert(&key, Value::Bool(answer.held));
            }
        }
        Ok(Ok(self.lookup(table, vec![role, object], DataType::Bool)))
    }

    /// The object's oid, however it is given. Tables are named as in statements, all others by their
    /// names as they are.
    fn object_oid(&self, asked: Asked, object: Expression) -> Expression {
        let given = object.data_type();
        if given != DataType::Unknown && !given.is_text() {
            return object;
        }
        let (kind, state) = match asked {
            Asked::Table | Asked::Column | Asked::Sequence => {
                return self.reg_from_text(RegKind::Class, object);
            }
            Asked::Schema => ("schema", SqlState::INVALID_SCHEMA_NAME),
            Asked::Database => ("database", SqlState::INVALID_CATALOG_NAME),
            Asked::Role => ("role", SqlState::UNDEFINED_OBJECT),
        };
        let (before, after) = (format!("{kind} \"").into(), "\" does not exist".into());
        let mut table = LookupTable::new(kind, Missing::Error { state, before, after });
        let mut known = |name: &str, oid: u32| table.insert(&[Value::text(name)], number(oid));
        match asked {
            Asked::Schema => {
                let kind = RegKind::Namespace;
                for schema in self.virtual_tables.objects(kind, self.catalog, self.settings) {
                    known(&schema.name, schema.oid);
                }
            }
            Asked::Database => {
                for (name, database) in self.catalog.databases() {
                    known(name, oids::object(database.id));
                }
            }
            _ => {
                for role in self.catalog.roles().iter() {
                    known(role.name(), oids::object(role.id));
                }
            }
        }
        self.lookup(table, vec![self.decided(object)], DataType::Oid)
    }

    fn answers(
        &self,
        asked: Asked,
        role: ObjectId,
        privilege: &str,
    ) -> Result<Vec<Answer>, SqlError> {
        if asked == Asked::Role {
            return self.membership_answers(role, privilege);
        }
        let all = match asked {
            Asked::Schema => ObjectKind::Schema.all(),
            Asked::Database => ObjectKind::Database.all(),
            Asked::Sequence => ObjectKind::Sequence.all(),
            Asked::Column => ON_COLUMNS.into_iter().fold(Privileges::NONE, BitOr::bitor),
            Asked::Table | Asked::Role => ObjectKind::Table.all(),
        };
        let wanted = Wanted::read(privilege, all)?;
        let mut answers = Vec::new();
        let mut known = |id: ObjectId, oid: u32| {
            answers.push(Answer { oid, held: wanted.are_held(self.catalog.held(role, id)) });
        };
        let database = &self.settings.database;
        match asked {
            Asked::Database => {
                for (_, database) in self.catalog.databases() {
                    known(database.id, oids::object(database.id));
                }
                return Ok(answers);
            }
            Asked::Schema => {
                let schemas = self.catalog.database(database).into_iter().flat_map(|d| &d.schemas);
                schemas.for_each(|(name, schema)| {
                    known(schema.id, oids::schema(name, schema.id));
                });
            }
            _ => {
                for (_, relation) in self.catalog.relations(database) {
                    let is_sequence = matches!(relation, Relation::Sequence(_));
                    if is_sequence || asked != Asked::Sequence {
                        known(relation.id(), oids::object(relation.id()));
                    }
                }
            }
        }
        if asked == Asked::Sequence {
            return Ok(answers);
        }
        // The system's own: everyone may read them.
        let reg = if asked == Asked::Schema { RegKind::Namespace } else { RegKind::Class };
        let superuser = self.catalog.roles().is_superuser(role);
        let open = Privileges::SELECT | Privileges::USAGE;
        let own: BTreeSet<u32> = answers.iter().map(|answer| answer.oid).collect();
        for object in self.virtual_tables.objects(reg, self.catalog, self.settings) {
            if !own.contains(&object.oid) && is_of_the_system(&object) {
                let secret = matches!(object.name.as_str(), "pg_authid" | "pg_shadow");
                let held = superuser || !secret && wanted.any_of(open);
                answers.push(Answer { oid: object.oid, held });
            }
        }
        Ok(answers)
    }

    fn membership_answers(
        &self,
        member: ObjectId,
        privilege: &str,
    ) -> Result<Vec<Answer>, SqlError> {
        let roles = self.catalog.roles();
        let mut answers: Vec<Answer> =
            roles.iter().map(|role| Answer { oid: oids::object(role.id), held: false }).collect();
        for word in privilege.split(',').map(str::trim) {
            for (role, answer) in roles.iter().zip(&mut answers) {
                answer.held |= match word.to_uppercase().as_str() {
                    "MEMBER" => roles.is_member(member, role.id),
                    "USAGE" => roles.has_privileges_of(member, role.id),
                    "MEMBER WITH ADMIN OPTION"
                    | "MEMBER WITH GRANT OPTION"
                    | "USAGE WITH ADMIN OPTION"
                    | "USAGE WITH GRANT OPTION" => roles.is_admin_of(member, role.id),
                    _ => return Err(unrecognized(word)),
                };
            }
        }
        Ok(answers)
    }
}

/// An index, which nobody is granted anything on, is in a schema of the database.
fn is_of_the_system(object: &NamedObject) -> bool {
    let schema = object.schema.as_deref();
    matches!(schema, None | Some("pg_catalog" | "information_schema"))
}

/// Privileges, of which one is enough.
struct Wanted {
    plain: Privileges,
    grantable: Privileges,
}

impl Wanted {
    /// `all`: those that there are on such an object.
    fn read(text: &str, all: Privileges) -> Result<Wanted, SqlError> {
        let mut wanted = Wanted { plain: Privileges::NONE, grantable: Privileges::NONE };
        for word in text.split(',').map(str::trim) {
            let upper = word.to_uppercase();
            let (name, option) = match upper.strip_suffix(" WITH GRANT OPTION") {
                Some(name) => (name, true),
                None => (upper.as_str(), false),
            };
            let privilege = Privileges::named(name).filter(|one| all.hold(*one));
            let privilege = privilege.ok_or_else(|| unrecognized(word))?;
            match option {
                true => wanted.grantable |= privilege,
                false => wanted.plain |= privilege,
            }
        }
        Ok(wanted)
    }

    fn are_held(&self, held: Held) -> bool {
        !(self.plain & held.privileges).is_empty() || !(self.grantable & held.grantable).is_empty()
    }

    fn any_of(&self, privileges: Privileges) -> bool {
        !(self.plain & privileges).is_empty()
    }
}

fn unrecognized(word: &str) -> SqlError {
    SqlError::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!("unrecognized privilege type: \"{word}\""),
    )
}

fn number(oid: u32) -> Value {
    Value::Int(i64::from(oid))
}

/// What is written out, whatever type it was given.
fn literal(expression: &Expression) -> Option<&Value> {
    match expression {
        Expression::Literal(value, _) => Some(value),
        Expression::Cast { operand, .. } => literal(operand),
        _ => None,
    }
}
