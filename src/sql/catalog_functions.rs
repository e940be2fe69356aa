//! Calls of functions over the catalog: `pg_get_indexdef`, `format_type`, `to_regclass`.
//!
//! Most are lookups in a table of all their answers, which the knower of the virtual tables makes.

use super::binder::Binder;
use super::privilege_functions::is_privilege_call;
use model::error::{SqlError, SqlState};
use model::expression::Expression;
use model::lookup::{LookupTable, Missing};
use model::types::{DataType, ElementType, RegKind};
use model::value::Value;
use shards::exec::functions::reaches_backends;
use shards::exec::operators::is_implicit_cast;

/// A function over the catalog, with all that it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogFunction {
    /// Its answers by its arguments.
    pub table: LookupTable,
    /// What it takes.
    pub argument_types: Vec<DataType>,
    /// What it answers.
    pub return_type: DataType,
}

impl Binder<'_> {
    /// A call of a function over the catalog; the arguments are given back where it is none.
    pub(super) fn catalog_call(
        &self,
        name: &str,
        mut arguments: Vec<Expression>,
    ) -> Result<Result<Expression, Vec<Expression>>, SqlError> {
        if let (Some(kind), 1) = (to_reg_kind(name), arguments.len()) {
            return Ok(self.to_reg(kind, arguments));
        }
        match (name, arguments.len()) {
            ("nextval" | "currval" | "pg_sequence_last_value", 1) | ("setval", 2 | 3) => {
                let sequence = std::mem::replace(
                    &mut arguments[0],
                    Expression::Literal(Value::Null, DataType::Unknown),
                );
                arguments[0] = self.sequence_argument(name, sequence)?;
                match name {
                    "nextval" => self.changes_sequences.set(Some("nextval()")),
                    "setval" => self.changes_sequences.set(Some("setval()")),
                    "currval" => self.needs_session.set(true),
                    _ => {}
                }
                Ok(Err(arguments))
            }
            ("pg_get_serial_sequence", 2) => self.serial_sequence(arguments).map(Ok),
            (name, _) if reaches_backends(name) => {
                self.views_node.set(true);
                self.needs_session.set(true);
                self.uncacheable.set(true);
                Ok(Err(arguments))
            }
            ("lastval", 0) => {
                self.needs_session.set(true);
                self.sequences.set(true);
                Ok(Err(arguments))
            }
            ("current_schema", 0) => self.current_schema().map(Ok),
            ("current_schemas", 1) => self.current_schemas(arguments),
            ("current_setting", 1 | 2) => self.current_setting(arguments),
            // Without a modifier the type is named without one.
            ("format_type", 2) => {
                let none = Expression::literal(-1, DataType::Int4);
                let modifier = arguments.pop().into_iter().chain([none]).collect();
                arguments.push(self.call("coalesce", modifier)?);
                Ok(Err(arguments))
            }
            // A stored expression is the text that it prints as.
            ("pg_get_expr", 2 | 3) if arguments[0].data_type().is_text() => {
                Ok(Ok(arguments.swap_remove(0)))
            }
            _ => match self.privilege_call(name, arguments)? {
                Ok(call) => Ok(Ok(call)),
                Err(arguments) => Ok(self.listed_call(name, arguments)),
            },
        }
    }

    fn to_reg(
        &self,
        kind: RegKind,
        mut arguments: Vec<Expression>,
    ) -> Result<Expression, Vec<Expression>> {
        let name = match arguments.pop() {
            Some(name) => self.decided(name),
            None => return Err(arguments),
        };
        if !name.data_type().is_text() {
            return Err(vec![name]);
        }
        Ok(self.reg_oid(kind, name, Missing::Null))
    }

    /// `current_schema`: where what has no schema is made.
    fn current_schema(&self) -> Result<Expression, SqlError> {
        self.refuse_in_stored("current_schema")?;
        let schema = self.path.borrow().creation().map(str::to_owned);
        Ok(Expression::Literal(Value::from(schema), DataType::Name))
    }

    /// `current_schemas(boolean)`: the schemas of the path, with or without those that are on it unsaid.
    fn current_schemas(
        &self,
        mut arguments: Vec<Expression>,
    ) -> Result<Result<Expression, Vec<Expression>>, SqlError> {
        if !matches!(arguments[0].data_type(), DataType::Bool | DataType::Unknown) {
            return Ok(Err(arguments));
        }
        self.refuse_in_stored("current_schemas")?;
        let names = |schemas: &mut dyn Iterator<Item = &str>| {
            Value::array(schemas.map(Value::text).collect())
        };
        let path = self.path.borrow();
        let mut table = LookupTable::new("current_schemas", Missing::Null);
        table.insert(&[Value::Bool(true)], names(&mut path.sought()));
        let named = &mut path.named().iter().map(String::as_str);
        table.insert(&[Value::Bool(false)], names(named));
        let implied = self.decide(arguments.swap_remove(0), DataType::Bool);
        Ok(Ok(self.lookup(table, vec![implied], DataType::Array(ElementType::Name))))
    }

    /// What a default or a check would ask of the session that made it.
    fn refuse_in_stored(&self, function: &str) -> Result<(), SqlError> {
        match self.stored.get() {
            true => Err(SqlError::unsupported(format!("{function} in a default or a check"))),
            false => Ok(()),
        }
    }

    /// `current_setting(name [, missing_ok])`. A name that is written out is looked up at once, so
    /// that clients learn that it is none before they run anything.
    fn current_setting(
        &self,
        mut arguments: Vec<Expression>,
    ) -> Result<Result<Expression, Vec<Expression>>, SqlError> {
        let missing_ok = match arguments.get(1) {
            None => false,
            Some(Expression::Literal(Value::Bool(truth), _)) => *truth,
            Some(_) => {
                return Err(SqlError::unsupported("current_setting with a computed missing_ok"));
            }
        };
        let given = arguments[0].data_type();
        if !given.is_text() && given != DataType::Unknown {
            return Ok(Err(arguments));
        }
        let missing = if missing_ok {
            Missing::Null
        } else {
            Missing::Error {
                state: SqlState::UNDEFINED_OBJECT,
                before: "unrecognized configuration parameter \"".into(),
                after: "\"".into(),
            }
        };
        let mut table = LookupTable::new("current_setting", missing);
        for (name, value) in self.settings.values.iter() {
            table.insert(&[Value::text(*name)], Value::text(value.as_str()));
        }
        let name = self.decided(arguments.swap_remove(0));
        if let Expression::Literal(Value::Text(written), _) = unconverted(&name)
            && !missing_ok
            && table.get(&[Value::text(written.to_lowercase())]).is_none()
        {
            return Err(SqlError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("unrecognized configuration parameter \"{written}\""),
            ));
        }
        let name = self.call("lower", vec![name])?;
        Ok(Ok(self.lookup(table, vec![name], DataType::Text)))
    }

    fn listed_call(
        &self,
        name: &str,
        arguments: Vec<Expression>,
    ) -> Result<Expression, Vec<Expression>> {
        let (count, tables) = (arguments.len(), self.virtual_tables);
        let Some(function) = tables.function(name, count, self.catalog, self.settings) else {
            return Err(arguments);
        };
        let fits = |(argument, &target): (&Expression, &DataType)| {
            let from = argument.data_type();
            from == DataType::Unknown
                || from.base() == target
                || target == DataType::Text
                || is_implicit_cast(from, target)
        };
        if !arguments.iter().zip(&function.argument_types).all(fits) {
            return Err(arguments);
        }
        let given =
            arguments.into_iter().zip(&function.argument_types).map(|(given, &target)| match given
                .data_type()
            {
                DataType::Unknown => self.decide(given, target),
                from if from == target => given,
                _ => self.cast(given, target, false),
            });
        Ok(self.lookup(function.table, given.collect(), function.return_type))
    }
}

/// What `to_regclass` and its kin make.
fn to_reg_kind(name: &str) -> Option<RegKind> {
    let kind = name.strip_prefix("to_")?;
    RegKind::ALL.into_iter().find(|known| known.name() == kind)
}

/// Whether a call is bound here, or in a way of its own, to something else than a function with a
/// body: the answers come from the catalog or the session.
pub(super) fn is_bound_call(name: &str, arguments: &[DataType]) -> bool {
    use DataType::{Bool, Text};
    match (name, arguments) {
        (name, [Text]) if to_reg_kind(name).is_some() => true,
        ("current_schema", []) | ("current_schemas", [Bool]) => true,
        ("current_setting", [Text] | [Text, Bool])
        | ("set_config", [Text, Text, Bool])
        | ("pg_get_serial_sequence", [Text, Text])
        | ("pg_partition_ancestors" | "pg_partition_tree", [DataType::Reg(RegKind::Class)])
        | ("pg_options_to_table", [DataType::Array(ElementType::Text)]) => true,
        (name, arguments) => is_privilege_call(name, arguments.len()),
    }
}

/// A literal that was given a type is a cast until the plan is folded.
fn unconverted(expression: &Expression) -> &Expression {
    match expression {
        Expression::Cast { operand, .. } => unconverted(operand),
        other => other,
    }
}
