//! Tables that an expression looks values up in.
//!
//! What a catalog function answers (`regclass` to text, `pg_get_userbyid`, `col_description`)
//! depends on the catalog, which expressions do not know. The binder therefore makes a table of all
//! answers when it binds the statement, and the expression only looks its arguments up. The plan is
//! good as long as that catalog is: a binder that makes a table must note that the plan depends on
//! the whole catalog.

use crate::archive::{SortedPairs, Text};
use crate::error::{SqlError, SqlState};
use crate::key::push_value;
use crate::value::Value;
use rkyv::{Archive, Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;

/// What an expression answers for arguments that the table does not hold.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum Missing {
    /// `NULL`.
    Null,
    /// This value.
    Value(Value),
    /// The first argument's text: of an oid its number.
    Input,
    /// An error that says `{before}{argument}{after}`.
    Error {
        /// Its state.
        state: SqlState,
        /// Before the first argument's text.
        #[rkyv(with = Text)]
        before: Cow<'static, str>,
        /// Behind it.
        #[rkyv(with = Text)]
        after: Cow<'static, str>,
    },
}

/// Answers by their arguments. A `NULL` argument finds `NULL` without a look.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct LookupTable {
    /// What `EXPLAIN` calls it: the function's or the type's name.
    #[rkyv(with = Text)]
    pub name: Cow<'static, str>,
    /// Answers by the arguments, each encoded as a column of a key.
    #[rkyv(with = SortedPairs)]
    answers: HashMap<Box<[u8]>, Value>,
    /// Arguments that find several answers, and what is said of them.
    #[rkyv(with = SortedPairs)]
    ambiguous: HashMap<Box<[u8]>, String>,
    /// What all other arguments find.
    pub missing: Missing,
}

impl LookupTable {
    /// A table without answers.
    pub fn new(name: impl Into<Cow<'static, str>>, missing: Missing) -> LookupTable {
        let (answers, ambiguous) = (HashMap::new(), HashMap::new());
        LookupTable { name: name.into(), answers, ambiguous, missing }
    }

    /// Adds an answer; the first one for the same arguments stays.
    pub fn insert(&mut self, arguments: &[Value], answer: Value) {
        self.answers.entry(encoded(arguments).into()).or_insert(answer);
    }

    /// Makes these arguments ambiguous: a lookup is an error (42725) that says so.
    pub fn insert_ambiguous(&mut self, arguments: &[Value], message: String) {
        self.ambiguous.insert(encoded(arguments).into(), message);
    }

    /// The error for arguments that are ambiguous.
    pub fn ambiguity(&self, arguments: &[Value]) -> Option<SqlError> {
        let message = self.ambiguous.get(encoded(arguments).as_slice())?;
        Some(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, message.clone()))
    }

    /// The answer for these arguments; `None` where the table holds none.
    pub fn get(&self, arguments: &[Value]) -> Option<&Value> {
        self.answers.get(encoded(arguments).as_slice())
    }

    /// How many answers there are.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

fn encoded(arguments: &[Value]) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    arguments.iter().for_each(|argument| push_value(&mut key, argument, false));
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_by_all_arguments() {
        let mut table = LookupTable::new("col_description", Missing::Null);
        table.insert(&[Value::Int(7), Value::Int(1)], Value::from("first"));
        table.insert(&[Value::Int(7), Value::Int(1)], Value::from("second"));
        assert_eq!(table.get(&[Value::Int(7), Value::Int(1)]), Some(&Value::from("first")));
        assert_eq!(table.get(&[Value::Int(7), Value::Int(2)]), None);
        assert_eq!(table.len(), 1);
        table.insert_ambiguous(&[Value::from("abs")], "more than one".to_owned());
        let error = table.ambiguity(&[Value::from("abs")]).expect("it is ambiguous");
        assert_eq!(error.state(), SqlState::AMBIGUOUS_FUNCTION);
        assert_eq!(table.ambiguity(&[Value::Int(7), Value::Int(1)]), None);
    }
}
