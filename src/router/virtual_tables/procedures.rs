//! The functions of the server, as `pg_proc` and the functions over it show them.
//!
//! PostgreSQL's functions are there under its oids where a call of them is understood here. What
//! is left of the engine's own functions has oids of its own ([`oids::function`]).

use super::functions;
use super::shape::{Rows, Shape, number, vector};
use crate::catalog::oids;
use crate::catalog::postgres::{self, Argument, Function, Mode};
use crate::sql::{NamedObject, VirtualTable, argument_types, is_callable};
use model::lookup::LookupTable;
use model::types::{DataType, RegKind, oid};
use model::value::Value;
use shards::exec::functions::{Declaration, Volatility, declarations, quote_identifier};
use std::collections::HashSet;
use std::sync::LazyLock;

/// The oids of the languages.
const INTERNAL: u32 = 12;
const SQL: u32 = 14;

/// What the grammar makes of these words is no function to PostgreSQL's catalog.
const WORDS: [&str; 8] = [
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "user",
];

/// Functions that PostgreSQL does not have.
static OWN: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let known: Vec<&Function> = postgres::functions().iter().filter(|f| is_here(f)).collect();
    let is_known = |declared: &Declaration| {
        known.iter().any(|function| function.name == declared.name && covers(function, declared))
    };
    let mut own: Vec<Function> = declarations()
        .filter(|declared| !WORDS.contains(&declared.name) && !is_known(declared))
        .map(|declared| own_function(&declared))
        .collect();
    own.sort_by(|a, b| (a.name, a.oid).cmp(&(b.name, b.oid)));
    own
});

/// All functions.
static ALL: LazyLock<Vec<&'static Function>> = LazyLock::new(|| {
    let known = postgres::functions().iter().filter(|function| is_here(function));
    known.chain(OWN.iter()).collect()
});

/// All functions of the server.
pub(super) fn all() -> &'static [&'static Function] {
    &ALL
}

fn is_here(function: &Function) -> bool {
    is_callable(function) || functions::takes(function.name, &argument_types(function))
}

/// Whether a call of the engine's function is one of PostgreSQL's, whose last arguments may be left
/// out.
fn covers(function: &Function, declared: &Declaration) -> bool {
    let types = argument_types(function);
    let given = declared.arguments.len();
    given <= types.len()
        && given + function.defaults() >= types.len()
        && types[..given] == *declared.arguments
}

fn own_function(declared: &Declaration) -> Function {
    let types: Vec<String> = declared.arguments.iter().map(DataType::to_string).collect();
    let argument = |data_type: &DataType| Argument {
        mode: Mode::In,
        name: "",
        oid: oid::oid(*data_type),
        default: None,
    };
    Function {
        oid: oids::function(&format!("{}({})", declared.name, types.join(","))),
        name: declared.name,
        kind: "f",
        volatility: match declared.volatility {
            Volatility::Immutable => "i",
            Volatility::Stable => "s",
            Volatility::Volatile => "v",
        },
        strict: declared.strict,
        set: false,
        parallel: "s",
        leakproof: false,
        cost: 1.0,
        rows: 0.0,
        language: "internal",
        arguments: declared.arguments.iter().map(argument).collect(),
        result: oid::oid(declared.result),
        source: declared.name.to_owned(),
        description: "",
    }
}

/// `pg_proc` and `pg_aggregate`.
pub(super) fn table(shape: &'static Shape) -> Option<VirtualTable> {
    let mut rows = Rows::of(shape);
    match shape.name {
        "pg_proc" => all().iter().for_each(|function| rows.push(row(function))),
        "pg_aggregate" => {
            for aggregate in all().iter().filter(|function| function.kind == "a") {
                rows.push(aggregate_row(aggregate));
            }
        }
        _ => return None,
    }
    Some(rows.done())
}

fn row(function: &Function) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::text(text);
    let (in_sql, has_body) = (function.language == "sql", has_body(function));
    let variadic = function.arguments.iter().find(|argument| argument.mode == Mode::Variadic);
    let element = variadic.map_or(0, |argument| match oid::from_oid(argument.oid, -1) {
        Some(array) => array.element().map_or(argument.oid, oid::oid),
        None => argument.oid,
    });
    let has_outputs = function.arguments.iter().any(|argument| argument.mode == Mode::Out);
    let defaults: Vec<&str> =
        function.arguments.iter().filter_map(|argument| argument.default).collect();
    let inputs = function.inputs().map(|argument| i64::from(argument.oid));
    let mut row = vec![
        ("oid", number(function.oid)),
        ("proname", text(function.name)),
        ("pronamespace", number(oids::PG_CATALOG)),
        ("proowner", number(oids::SUPERUSER)),
        ("prolang", number(if in_sql { SQL } else { INTERNAL })),
        ("procost", Value::Float(function.cost)),
        ("prorows", Value::Float(function.rows)),
        ("provariadic", number(element)),
        ("prosupport", number(0)),
        ("prokind", text(function.kind)),
        ("prosecdef", Value::Bool(false)),
        ("proleakproof", Value::Bool(function.leakproof)),
        ("proisstrict", Value::Bool(function.strict)),
        ("proretset", Value::Bool(function.set)),
        ("provolatile", text(function.volatility)),
        ("proparallel", text(function.parallel)),
        ("pronargs", Value::Int(function.inputs().count() as i64)),
        ("pronargdefaults", Value::Int(function.defaults() as i64)),
        ("prorettype", number(function.result)),
        ("proargtypes", vector(inputs)),
        ("prosrc", text(if has_body { "" } else { &function.source })),
    ];
    let all =
        |of: &dyn Fn(&Argument) -> Value| Value::array(function.arguments.iter().map(of).collect());
    if has_outputs || variadic.is_some() {
        let mode = |argument: &Argument| match argument.mode {
            Mode::In => "i",
            Mode::Out => "o",
            Mode::Variadic => "v",
        };
        row.push(("proargmodes", all(&|argument| Value::text(mode(argument)))));
        row.push(("proallargtypes", all(&|argument| number(argument.oid))));
    }
    if function.arguments.iter().any(|argument| !argument.name.is_empty()) {
        row.push(("proargnames", all(&|argument| Value::text(argument.name))));
    }
    if !defaults.is_empty() {
        row.push(("proargdefaults", text(&defaults.join(", "))));
    }
    if has_body {
        row.push(("prosqlbody", text(&function.source)));
    }
    row
}

/// Whether the source is a body of SQL's own syntax, and no string.
fn has_body(function: &Function) -> bool {
    let begins = |word| function.source.starts_with(word);
    function.language == "sql" && (begins("RETURN ") || begins("BEGIN ATOMIC"))
}

/// The engine aggregates without functions for its steps.
fn aggregate_row(aggregate: &Function) -> Vec<(&'static str, Value)> {
    const STEPS: [&str; 9] = [
        "aggtransfn",
        "aggfinalfn",
        "aggcombinefn",
        "aggserialfn",
        "aggdeserialfn",
        "aggmtransfn",
        "aggminvtransfn",
        "aggmfinalfn",
        "aggmtranstype",
    ];
    // The least value is the first one in order, the greatest the last one.
    let symbol = match aggregate.name {
        "min" | "bool_and" | "every" => "<",
        "max" | "bool_or" => ">",
        _ => "",
    };
    let of = aggregate.arguments.first().map_or(0, |argument| argument.oid);
    let sort = postgres::operators()
        .iter()
        .find(|operator| operator.symbol == symbol && (operator.left, operator.right) == (of, of));
    let mut row = vec![
        ("aggfnoid", number(aggregate.oid)),
        ("aggkind", Value::text("n")),
        ("aggnumdirectargs", Value::Int(0)),
        ("aggfinalextra", Value::Bool(false)),
        ("aggmfinalextra", Value::Bool(false)),
        ("aggfinalmodify", Value::text("r")),
        ("aggmfinalmodify", Value::text("r")),
        ("aggsortop", number(sort.map_or(0, |operator| operator.oid))),
        ("aggtranstype", number(aggregate.result)),
        ("aggtransspace", Value::Int(0)),
        ("aggmtransspace", Value::Int(0)),
    ];
    row.extend(STEPS.map(|step| (step, number(0))));
    row
}

/// What `regproc` and `regprocedure` values name.
pub(super) fn objects(kind: RegKind) -> Vec<NamedObject> {
    let name = |function: &Function| match kind {
        RegKind::Procedure => {
            let types: Vec<String> =
                function.inputs().filter_map(|argument| oid::type_name(argument.oid)).collect();
            format!("{}({})", function.name, types.join(","))
        }
        _ => function.name.to_owned(),
    };
    let object = |function: &&Function| NamedObject {
        oid: function.oid,
        schema: Some("pg_catalog".to_owned()),
        name: name(function),
    };
    all().iter().map(object).collect()
}

/// Fills in the answers of the functions that describe functions.
pub(super) fn answers(table: &mut LookupTable, name: &str) {
    let mut insert = |function: &Function, answer: Value| {
        table.insert(&[number(function.oid)], answer);
    };
    for function in all() {
        match name {
            "pg_function_is_visible" => insert(function, Value::Bool(true)),
            "pg_get_function_arguments" => {
                insert(function, Value::text(arguments_text(function, true)));
            }
            "pg_get_function_identity_arguments" => {
                insert(function, Value::text(arguments_text(function, false)));
            }
            "pg_get_function_result" => insert(function, Value::text(result_text(function))),
            "pg_get_function_sqlbody" if has_body(function) => {
                insert(function, Value::text(function.source.as_str()));
            }
            "pg_get_functiondef" if function.kind != "a" => {
                insert(function, Value::text(definition(function)));
            }
            _ => {}
        }
    }
}

/// What `pg_description` says: the catalog's name, the object, the words.
pub(super) fn descriptions() -> impl Iterator<Item = (&'static str, u32, &'static str)> {
    let listed: HashSet<u32> = all().iter().map(|function| function.oid).collect();
    let functions = all().iter().map(|function| ("pg_proc", function.oid, function.description));
    let operators = postgres::operators()
        .iter()
        .filter(move |operator| listed.contains(&operator.function))
        .map(|operator| ("pg_operator", operator.oid, operator.description));
    let all = functions.chain(operators).chain(postgres::descriptions().iter().copied());
    all.filter(|(_, _, description)| !description.is_empty())
}

fn arguments_text(function: &Function, defaults: bool) -> String {
    let argument = |argument: &Argument| {
        let mode = match argument.mode {
            Mode::In => "",
            Mode::Out => "OUT ",
            Mode::Variadic => "VARIADIC ",
        };
        let mut text = mode.to_owned();
        if !argument.name.is_empty() {
            text.push_str(&quote_identifier(argument.name));
            text.push(' ');
        }
        text.push_str(&type_text(argument.oid));
        if let Some(default) = argument.default.filter(|_| defaults) {
            text.push_str(" DEFAULT ");
            text.push_str(default);
        }
        text
    };
    function.arguments.iter().map(argument).collect::<Vec<_>>().join(", ")
}

fn result_text(function: &Function) -> String {
    let set = if function.set { "SETOF " } else { "" };
    format!("{set}{}", type_text(function.result))
}

fn type_text(number: u32) -> String {
    oid::type_name(number).unwrap_or_else(|| "???".to_owned())
}

/// The statement that would make the function.
fn definition(function: &Function) -> String {
    let mut text = format!(
        "CREATE OR REPLACE FUNCTION pg_catalog.{}({})\n RETURNS {}\n LANGUAGE {}\n",
        quote_identifier(function.name),
        arguments_text(function, true),
        result_text(function),
        function.language,
    );
    let mut words: Vec<String> = Vec::new();
    let mut say = |holds: bool, word: &str| {
        if holds {
            words.push(word.to_owned());
        }
    };
    let default_cost = if function.language == "internal" { 1.0 } else { 100.0 };
    say(function.kind == "w", "WINDOW");
    say(function.volatility == "i", "IMMUTABLE");
    say(function.volatility == "s", "STABLE");
    say(function.parallel == "s", "PARALLEL SAFE");
    say(function.parallel == "r", "PARALLEL RESTRICTED");
    say(function.strict, "STRICT");
    say(function.leakproof, "LEAKPROOF");
    say(function.cost != default_cost, &format!("COST {}", function.cost));
    say(function.set && function.rows != 1000.0, &format!("ROWS {}", function.rows));
    if !words.is_empty() {
        text.push_str(&format!(" {}\n", words.join(" ")));
    }
    text.push_str(&match has_body(function) {
        true => format!("{}\n", function.source),
        false => format!("AS $function${}$function$\n", function.source),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::catalog::SearchPath;
    use crate::catalog::roles::Actor;
    use crate::router::virtual_tables::NodeTables;
    use crate::sql::{SessionSettings, parse, plan};
    use model::error::{SqlError, SqlState};
    use model::id::NodeId;
    use model::placement::PlacementMap;
    use model::types::oid::PseudoType;
    use std::sync::Arc;

    /// What comes of a call with a `NULL` of each of these types.
    fn call(name: &str, types: &[DataType], behind: &str) -> Result<DataType, SqlError> {
        let (catalog, node) = (Catalog::bootstrap(), NodeId(1));
        let settings = SessionSettings {
            database: "phantom".to_owned(),
            actor: Actor::SYSTEM,
            path: SearchPath::default(),
            values: [].into(),
        };
        let placement = Arc::new(PlacementMap::single_node(node, 1, 1));
        let tables = NodeTables {
            node,
            address: String::new(),
            core_addresses: Vec::new(),
            pg_address: None,
            cores: 1,
            placement,
        };
        let arguments: Vec<String> = types.iter().map(|t| format!("NULL::{t}")).collect();
        let name = quote_identifier(name);
        let text = format!("SELECT {name}({}){behind}", arguments.join(", "));
        let [statement] = parse(&text)?.try_into().expect("one statement");
        let planned = plan(&statement, &catalog, &settings, &tables, &[])?;
        Ok(planned.columns[0].data_type)
    }

    /// An argument may be refused, the function may not.
    fn exists(name: &str, types: &[DataType], behind: &str) -> bool {
        match call(name, types, behind) {
            Ok(_) => true,
            Err(error) => error.state() != SqlState::UNDEFINED_FUNCTION,
        }
    }

    /// Whether a value of this type is what the function is said to answer.
    fn answers(function: &Function, result: DataType) -> bool {
        let printed = match oid::from_oid(function.result, -1) {
            // The client sees an object's name, `pg_typeof` answers no more than it.
            Some(DataType::Reg(_)) => DataType::Text,
            Some(declared) => declared.base(),
            None => return PseudoType::of(function.result).is_some(),
        };
        printed == result.base()
    }

    #[test]
    fn every_row_is_a_function_that_can_be_called() {
        for function in all() {
            let behind = if function.kind == "w" { " OVER ()" } else { "" };
            let types = argument_types(function);
            let called = call(function.name, &types, behind);
            let is_there = exists(function.name, &types, behind);
            assert!(is_there, "{}({types:?}): {called:?}", function.name);
            if let Ok(result) = called {
                assert!(answers(function, result), "{} answers {result}", function.name);
            }
        }
    }

    #[test]
    fn every_function_that_can_be_called_has_a_row() {
        let listed: HashSet<(&str, usize)> =
            all().iter().map(|function| (function.name, function.inputs().count())).collect();
        for declared in declarations().filter(|declared| !WORDS.contains(&declared.name)) {
            let is_row = |function: &&&Function| {
                function.name == declared.name && covers(function, &declared)
            };
            assert!(all().iter().find(is_row).is_some(), "{declared:?}");
        }
        // Of PostgreSQL's functions, those that the binder takes and that are no row are taken for
        // another of the same name.
        for function in postgres::functions() {
            let types = argument_types(function);
            let key = (function.name, types.len());
            if function.kind == "f" && !listed.contains(&key) {
                assert!(!exists(function.name, &types, ""), "{}({types:?})", function.name);
            }
        }
    }

    #[test]
    fn no_two_functions_share_an_oid() {
        let oids: HashSet<u32> = all().iter().map(|function| function.oid).collect();
        assert_eq!(oids.len(), all().len());
        assert!(OWN.iter().all(|function| function.oid > 1 << 30));
    }

    #[test]
    fn functions_are_described_as_postgresql_does() {
        let of = |name: &str, arguments: usize| {
            let mut named = all().iter().filter(|function| function.name == name);
            named.find(|f| f.arguments.len() == arguments).copied().expect("it is there")
        };
        assert_eq!(
            arguments_text(of("jsonb_set", 4), true),
            "jsonb_in jsonb, path text[], replacement jsonb, create_if_missing boolean DEFAULT true"
        );
        assert_eq!(arguments_text(of("concat", 1), true), "VARIADIC \"any\"");
        let elements = of("jsonb_array_elements", 2);
        assert_eq!(arguments_text(elements, false), "from_json jsonb, OUT value jsonb");
        assert_eq!(result_text(elements), "SETOF jsonb");
        assert_eq!(
            definition(of("lower", 1)),
            "CREATE OR REPLACE FUNCTION pg_catalog.lower(text)\n RETURNS text\n LANGUAGE internal\n \
             IMMUTABLE PARALLEL SAFE STRICT\nAS $function$lower$function$\n"
        );
    }
}
