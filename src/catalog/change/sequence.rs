//! Sequences: created, altered and dropped, by themselves and with the columns that they fill.

use super::{DdlWork, Draft, QualifiedName, wrong_kind};
use crate::catalog::oids;
use crate::catalog::sequence::bounds_of;
use crate::catalog::stored::{
    Access, ColumnDefinition, Comments, Definition, IdentityDefinition, SequenceDefinition,
    TableDefinition,
};
use crate::sql::ddl::{
    DropRelations, NewSequence, RelationName, SequenceOptions, missing, relation_in_text,
};
use crate::sql::{sequence_oids_in, type_named, with_sequence_oids};
use model::error::{SqlError, SqlState};
use model::id::ObjectId;
use model::types::DataType;

impl Draft<'_> {
    pub(super) fn create_sequence(
        &mut self,
        name: &RelationName,
        if_not_exists: bool,
        options: &SequenceOptions,
    ) -> Result<(), SqlError> {
        let name = &self.place(name)?;
        if if_not_exists && self.is_taken(&name.database, &name.schema, &name.name) {
            self.notices.push(format!("relation \"{}\" already exists, skipping", name.name));
            return Ok(());
        }
        self.require_free(name)?;
        let mut sequence = new_sequence(name, DataType::Int8);
        sequence.access = self.own();
        define(&mut sequence, options, Kind::New)?;
        self.set_owner(&mut sequence, options)?;
        let id = self.next_id()?;
        self.put(id, Definition::Sequence(sequence));
        Ok(())
    }

    pub(super) fn alter_sequence(
        &mut self,
        name: &RelationName,
        if_exists: bool,
        options: &SequenceOptions,
    ) -> Result<(), SqlError> {
        if if_exists && self.relation(name).is_none() {
            return self.skip(true, "relation", &name.name);
        }
        let (id, sequence) = self.sequence(name)?;
        self.require_owner(id)?;
        let sequence = sequence.clone();
        if options.owned_by.is_some()
            && let Some((table, _)) = self.identity_of(id)
        {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot change ownership of identity sequence",
            )
            .detail(format!(
                "Sequence \"{}\" is linked to table \"{}\".",
                sequence.name, table.name
            )));
        }
        self.redefine(id, sequence, options)
    }

    /// Applies options to a sequence that there is.
    fn redefine(
        &mut self,
        id: ObjectId,
        before: SequenceDefinition,
        options: &SequenceOptions,
    ) -> Result<(), SqlError> {
        let mut sequence = before.clone();
        if !options.says_only_the_owner() {
            define(&mut sequence, options, Kind::Altered)?;
        }
        self.set_owner(&mut sequence, options)?;
        match options.restart {
            Some(_) => sequence.state = Some(self.next_id()?.0),
            None if narrows(&before, &sequence) => {
                self.work.push(DdlWork::CheckSequence { sequence: id });
            }
            None => {}
        }
        self.put(id, Definition::Sequence(sequence));
        Ok(())
    }

    pub(super) fn drop_sequences(&mut self, drop: &DropRelations) -> Result<(), SqlError> {
        let mut ids = Vec::with_capacity(drop.names.len());
        for name in &drop.names {
            self.require_usage(name)?;
            match self.relation(name) {
                None => self.skip(drop.if_exists, "sequence", &name.name)?,
                Some((id, Definition::Sequence(_))) => {
                    self.require_drop(id)?;
                    if let Some((table, column)) = self.identity_of(id) {
                        return Err(SqlError::new(
                            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                            format!(
                                "cannot drop sequence {} because column {} of table {} requires it",
                                name.name, column.name, table.name
                            ),
                        )
                        .hint(format!(
                            "You can drop column {} of table {} instead.",
                            column.name, table.name
                        )));
                    }
                    ids.push(id);
                }
                Some((_, Definition::View(_))) => {
                    let error = wrong_kind(&name.name, "sequence");
                    return Err(error.hint("Use DROP VIEW to remove a view."));
                }
                Some(_) => {
                    let error = wrong_kind(&name.name, "sequence");
                    return Err(error.hint("Use DROP TABLE to remove a table."));
                }
            }
        }
        self.drop_relations(&ids, drop.cascade)
    }

    fn sequence(&self, name: &RelationName) -> Result<(ObjectId, &SequenceDefinition), SqlError> {
        self.require_usage(name)?;
        match self.relation(name) {
            Some((id, Definition::Sequence(sequence))) => Ok((id, sequence)),
            Some(_) => Err(wrong_kind(&name.name, "sequence")),
            None => Err(missing("relation", &name.name)),
        }
    }

    /// `OWNED BY`
    fn set_owner(
        &self,
        sequence: &mut SequenceDefinition,
        options: &SequenceOptions,
    ) -> Result<(), SqlError> {
        let (name, column) = match &options.owned_by {
            None => return Ok(()),
            Some(None) => {
                sequence.owned_by = None;
                return Ok(());
            }
            Some(Some((name, column))) => (name, column),
        };
        let (id, table) = match self.relation(name) {
            Some((id, Definition::Table(table))) => (id, table),
            Some(_) => {
                return Err(SqlError::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("sequence cannot be owned by relation \"{}\"", name.name),
                ));
            }
            None => return Err(missing("relation", &name.name)),
        };
        if table.schema != sequence.schema {
            return Err(SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "sequence must be in same schema as table it is linked to",
            ));
        }
        if table.access.owner != sequence.access.owner {
            return Err(SqlError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "sequence must have same owner as table it is linked to",
            ));
        }
        sequence.owned_by = Some((id.0, super::table::ordinal(table, column)?));
        Ok(())
    }

    /// Gives a column of a table that is being made a sequence of its own, which is its default.
    pub(super) fn add_column_sequence(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        ordinal: usize,
        wanted: &NewSequence,
    ) -> Result<(), SqlError> {
        let column = &table.columns[ordinal];
        let data_type = type_named(&column.data_type)?;
        let named = match wanted {
            NewSequence::Identity { options, .. } => options.name.as_ref(),
            NewSequence::Serial => None,
        };
        let qualified = match named {
            Some(name) => {
                let place = self.place(name)?;
                self.require_free(&place)?;
                place
            }
            None => QualifiedName {
                database: table.database.clone(),
                schema: table.schema.clone(),
                name: self.free_name(table, std::slice::from_ref(&column.name), "seq"),
            },
        };
        let mut sequence = new_sequence(&qualified, data_type);
        sequence.access = Access::owned_by(table.access.owner);
        sequence.owned_by = Some((id.0, ordinal));
        match wanted {
            NewSequence::Serial => {
                define(&mut sequence, &SequenceOptions::default(), Kind::New)?;
            }
            NewSequence::Identity { options, .. } => {
                if !matches!(data_type, DataType::Int2 | DataType::Int4 | DataType::Int8) {
                    return Err(SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        "identity column type must be smallint, integer, or bigint",
                    ));
                }
                define(&mut sequence, options, Kind::New)?;
            }
        }
        let made = self.next_id()?;
        let column = &mut table.columns[ordinal];
        match wanted {
            NewSequence::Serial => column.default = Some(next_of(made)),
            NewSequence::Identity { always, .. } => {
                let always = *always;
                column.identity = Some(IdentityDefinition { always, sequence: made.0 });
            }
        }
        self.put(made, Definition::Sequence(sequence));
        Ok(())
    }

    /// `ALTER COLUMN ... ADD GENERATED ... AS IDENTITY`
    pub(super) fn add_identity(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        name: &str,
        wanted: &NewSequence,
    ) -> Result<(), SqlError> {
        let ordinal = super::table::ordinal(table, name)?;
        let column = &table.columns[ordinal];
        let what = match column {
            ColumnDefinition { nullable: true, .. } => {
                "must be declared NOT NULL before identity can be added"
            }
            ColumnDefinition { identity: Some(_), .. } => "is already an identity column",
            ColumnDefinition { default: Some(_), .. } => "already has a default value",
            _ => return self.add_column_sequence(id, table, ordinal, wanted),
        };
        Err(SqlError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("column \"{name}\" of relation \"{}\" {what}", table.name),
        ))
    }

    /// `ALTER COLUMN ... SET GENERATED` and what else changes an identity column.
    pub(super) fn set_identity(
        &mut self,
        table: &mut TableDefinition,
        name: &str,
        always: Option<bool>,
        options: &SequenceOptions,
    ) -> Result<(), SqlError> {
        let ordinal = super::table::ordinal(table, name)?;
        let table_name = table.name.clone();
        let Some(identity) = &mut table.columns[ordinal].identity else {
            return Err(no_identity(name, &table_name));
        };
        identity.always = always.unwrap_or(identity.always);
        let id = ObjectId(identity.sequence);
        match self.definitions.get(&id).map(AsRef::as_ref) {
            Some(Definition::Sequence(sequence)) if *options != SequenceOptions::default() => {
                let sequence = sequence.clone();
                self.redefine(id, sequence, options)
            }
            _ => Ok(()),
        }
    }

    /// `ALTER COLUMN ... DROP IDENTITY`: the sequence goes.
    pub(super) fn drop_identity(
        &mut self,
        id: ObjectId,
        table: &mut TableDefinition,
        name: &str,
        if_exists: bool,
    ) -> Result<(), SqlError> {
        let ordinal = super::table::ordinal(table, name)?;
        let Some(identity) = table.columns[ordinal].identity.take() else {
            let error = no_identity(name, &table.name);
            if !if_exists {
                return Err(error);
            }
            self.notices.push(format!("{}, skipping", error.fields().message));
            return Ok(());
        };
        self.put(id, Definition::Table(table.clone()));
        self.remove_relation(ObjectId(identity.sequence), false)
    }

    /// A default as it is stored: with the oids of the sequences that it names.
    pub(super) fn stored_default(
        &self,
        database: &str,
        text: Option<&String>,
    ) -> Result<Option<String>, SqlError> {
        let Some(text) = text else { return Ok(None) };
        let stored = with_sequence_oids(text, |name| {
            let name = relation_in_text(name, database)?;
            self.sequence(&name).map(|(id, _)| oids::object(id))
        });
        stored.map(Some)
    }

    /// The table and identity column of a sequence.
    fn identity_of(&self, sequence: ObjectId) -> Option<(&TableDefinition, &ColumnDefinition)> {
        let is_its = |column: &&ColumnDefinition| {
            column.identity.is_some_and(|identity| identity.sequence == sequence.0)
        };
        self.tables()
            .find_map(|(_, table)| table.columns.iter().find(is_its).map(|column| (table, column)))
    }

    /// The sequences that go with a table, or with one of its columns.
    pub(super) fn owned_sequences(&self, table: ObjectId, column: Option<usize>) -> Vec<ObjectId> {
        let owned = self.definitions.iter().filter(|(_, definition)| match definition.as_ref() {
            Definition::Sequence(sequence) => sequence.owned_by.is_some_and(|(owner, at)| {
                owner == table.0 && column.is_none_or(|column| column == at)
            }),
            _ => false,
        });
        owned.map(|(&id, _)| id).collect()
    }

    /// The columns whose defaults call a sequence: tables and ordinals.
    pub(super) fn defaults_on(&self, sequence: ObjectId) -> Vec<(ObjectId, usize)> {
        let oid = oids::object(sequence);
        let calls = |column: &ColumnDefinition| {
            column.default.as_ref().is_some_and(|text| sequence_oids_in(text).contains(&oid))
        };
        let mut found = Vec::new();
        for (id, table) in self.tables() {
            let columns = table.columns.iter().enumerate();
            found.extend(columns.filter(|(_, column)| calls(column)).map(|(at, _)| (id, at)));
        }
        found
    }

    /// Removes what of `going`'s sequences depends: defaults of other tables. 2BP01 where that is
    /// not asked for.
    pub(super) fn release_sequences(
        &mut self,
        going: &[ObjectId],
        sequences: &[ObjectId],
        kind: &str,
        cascade: bool,
    ) -> Result<(), SqlError> {
        for &sequence in sequences {
            let mut dependents = self.defaults_on(sequence);
            dependents.retain(|(table, _)| !going.contains(table));
            if let (Some((table, column)), false) = (dependents.first(), cascade) {
                return Err(self.is_default(sequence, going.first(), kind, (*table, *column)));
            }
            for (id, at) in dependents {
                let Some(Definition::Table(table)) = self.definitions.get(&id).map(AsRef::as_ref)
                else {
                    continue;
                };
                let mut table = table.clone();
                table.columns[at].default = None;
                self.put(id, Definition::Table(table));
            }
        }
        Ok(())
    }

    /// 2BP01: a default calls what should go.
    fn is_default(
        &self,
        sequence: ObjectId,
        going: Option<&ObjectId>,
        kind: &str,
        (table, column): (ObjectId, usize),
    ) -> SqlError {
        let name = self.relation_name(*going.unwrap_or(&sequence));
        let column = match self.definitions.get(&table).map(AsRef::as_ref) {
            Some(Definition::Table(table)) => table.columns[column].name.clone(),
            _ => column.to_string(),
        };
        let (sequence, table) = (self.relation_name(sequence), self.relation_name(table));
        SqlError::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop {kind} {name} because other objects depend on it"),
        )
        .detail(format!(
            "default value for column {column} of table {table} depends on sequence {sequence}"
        ))
        .hint("Use DROP ... CASCADE to drop the dependent objects too.")
    }

    /// Begins a table's sequences anew.
    pub(super) fn restart_sequences(&mut self, table: ObjectId) -> Result<(), SqlError> {
        for id in self.owned_sequences(table, None) {
            let Some(Definition::Sequence(sequence)) = self.definitions.get(&id).map(AsRef::as_ref)
            else {
                continue;
            };
            let mut sequence = sequence.clone();
            sequence.state = Some(self.next_id()?.0);
            sequence.first = None;
            self.put(id, Definition::Sequence(sequence));
        }
        Ok(())
    }
}

/// 55000
fn no_identity(column: &str, table: &str) -> SqlError {
    SqlError::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("column \"{column}\" of relation \"{table}\" is not an identity column"),
    )
}

/// The default that takes a sequence's values.
fn next_of(sequence: ObjectId) -> String {
    format!("nextval('{}'::regclass)", oids::object(sequence))
}

/// Whether values given so far may lie outside of what is allowed from now on.
fn narrows(before: &SequenceDefinition, after: &SequenceDefinition) -> bool {
    after.min_value > before.min_value || after.max_value < before.max_value
}

fn new_sequence(name: &QualifiedName, data_type: DataType) -> SequenceDefinition {
    SequenceDefinition {
        database: name.database.clone(),
        schema: name.schema.clone(),
        name: name.name.clone(),
        data_type: data_type.to_string(),
        increment: 1,
        min_value: 1,
        max_value: bounds_of(data_type).1,
        start: 1,
        cache: 1,
        cycle: false,
        state: None,
        first: None,
        owned_by: None,
        access: Access::default(),
        comments: Comments::default(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Altered,
}

/// Applies options, in PostgreSQL's order and with its words.
fn define(
    sequence: &mut SequenceDefinition,
    options: &SequenceOptions,
    kind: Kind,
) -> Result<(), SqlError> {
    let before = bounds_of(type_named(&sequence.data_type)?);
    let is_new = kind == Kind::New;
    let (mut reset_min, mut reset_max) = (false, false);
    if let Some(data_type) = options.data_type {
        if !matches!(data_type, DataType::Int2 | DataType::Int4 | DataType::Int8) {
            return Err(invalid("sequence type must be smallint, integer, or bigint".to_owned()));
        }
        // Limits that were the old type's become the new one's.
        reset_max = !is_new && sequence.max_value == before.1;
        reset_min = !is_new && sequence.min_value == before.0;
        sequence.data_type = data_type.to_string();
    }
    let data_type = type_named(&sequence.data_type)?;
    let (lowest, highest) = bounds_of(data_type);
    if let Some(increment) = options.increment {
        sequence.increment = increment;
    }
    if sequence.increment == 0 {
        return Err(invalid("INCREMENT must not be zero".to_owned()));
    }
    if let Some(cycle) = options.cycle {
        sequence.cycle = cycle;
    }
    let rises = sequence.increment > 0;
    match options.max_value {
        Some(Some(value)) => sequence.max_value = value,
        None if !is_new && !reset_max => {}
        _ => sequence.max_value = if rises || reset_max { highest } else { -1 },
    }
    let outside = |value: i64| !(lowest..=highest).contains(&value);
    if outside(sequence.max_value) {
        return Err(out_of_range("MAXVALUE", sequence.max_value, data_type));
    }
    match options.min_value {
        Some(Some(value)) => sequence.min_value = value,
        None if !is_new && !reset_min => {}
        _ => sequence.min_value = if rises && !reset_min { 1 } else { lowest },
    }
    if outside(sequence.min_value) {
        return Err(out_of_range("MINVALUE", sequence.min_value, data_type));
    }
    let (min, max) = (sequence.min_value, sequence.max_value);
    if min >= max {
        return Err(invalid(format!("MINVALUE ({min}) must be less than MAXVALUE ({max})")));
    }
    match options.start {
        Some(start) => {
            // Where the sequence is now stays as it was.
            sequence.first = (!is_new).then(|| sequence.first.unwrap_or(sequence.start));
            sequence.start = start;
        }
        None if is_new => sequence.start = if rises { min } else { max },
        None => {}
    }
    require_within("START", sequence.start, min, max)?;
    if let Some(restart) = options.restart {
        sequence.first = Some(restart.unwrap_or(sequence.start));
    }
    if let Some(first) = sequence.first.filter(|_| options.restart.is_some()) {
        require_within("RESTART", first, min, max)?;
    }
    if let Some(cache) = options.cache {
        if cache <= 0 {
            return Err(invalid(format!("CACHE ({cache}) must be greater than zero")));
        }
        sequence.cache = cache;
    }
    Ok(())
}

/// 22023 where a value lies outside of a sequence's bounds.
pub(crate) fn require_within(what: &str, value: i64, min: i64, max: i64) -> Result<(), SqlError> {
    if value < min {
        return Err(invalid(format!(
            "{what} value ({value}) cannot be less than MINVALUE ({min})"
        )));
    }
    if value > max {
        return Err(invalid(format!(
            "{what} value ({value}) cannot be greater than MAXVALUE ({max})"
        )));
    }
    Ok(())
}

fn out_of_range(what: &str, value: i64, data_type: DataType) -> SqlError {
    invalid(format!("{what} ({value}) is out of range for sequence data type {data_type}"))
}

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}
