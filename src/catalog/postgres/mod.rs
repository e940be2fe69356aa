//! Facts of PostgreSQL 15's own catalog: functions, operators, casts and operator classes with
//! their oids, over the types that are here, too.
//!
//! Clients know PostgreSQL's objects by their oids, and `psql` prints what its catalog says of them.
//! These lists say that and no more: a function in the list is not a function that can be called
//! (`crate::sql::is_callable` knows), while operators, casts and classes are listed only where they
//! work. `facts.sql` takes the lists from a running PostgreSQL.
//!
//! A line that names a type which does not exist here is passed over.

use model::types::{DataType, oid};
use std::collections::HashMap;
use std::sync::LazyLock;

/// A function, an aggregate or a window function.
#[derive(Debug)]
pub struct Function {
    /// `pg_proc.oid`
    pub oid: u32,
    /// `proname`
    pub name: &'static str,
    /// `prokind`: `f`, `a` or `w`.
    pub kind: &'static str,
    /// `provolatile`: `i`, `s` or `v`.
    pub volatility: &'static str,
    /// `proisstrict`
    pub strict: bool,
    /// `proretset`
    pub set: bool,
    /// `proparallel`: `s`, `r` or `u`.
    pub parallel: &'static str,
    /// `proleakproof`
    pub leakproof: bool,
    /// `procost`
    pub cost: f64,
    /// `prorows`
    pub rows: f64,
    /// `internal` or `sql`.
    pub language: &'static str,
    /// What is given to it and, of some, what it gives back.
    pub arguments: Vec<Argument>,
    /// The oid of the result's type; that of `text` or its arrays where the type does not exist here.
    pub result: u32,
    /// `prosrc`; of a function in SQL its body.
    pub source: String,
    /// What `pg_description` says of it; empty where it says nothing.
    pub description: &'static str,
}

/// An argument as it is declared.
#[derive(Debug)]
pub struct Argument {
    /// What it is for.
    pub mode: Mode,
    /// Its name; empty where it has none.
    pub name: &'static str,
    /// The oid of its type.
    pub oid: u32,
    /// What it is where it is left out.
    pub default: Option<&'static str>,
}

/// `proargmodes`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `i`: it is given.
    In,
    /// `o`: it is a part of the result.
    Out,
    /// `v`: it and any number behind it are given.
    Variadic,
}

/// An operator.
#[derive(Debug)]
pub struct Operator {
    /// `pg_operator.oid`
    pub oid: u32,
    /// `oprname`
    pub symbol: &'static str,
    /// The left operand's type; 0 of a prefix operator.
    pub left: u32,
    /// The right operand's type.
    pub right: u32,
    /// The result's type.
    pub result: u32,
    /// The function that it calls.
    pub function: u32,
    /// `oprcom`; 0 where there is none.
    pub commutator: u32,
    /// `oprnegate`; 0 where there is none.
    pub negator: u32,
    /// `oprcanmerge`
    pub merges: bool,
    /// `oprcanhash`
    pub hashes: bool,
    /// What `pg_description` says of it; empty where it says nothing.
    pub description: &'static str,
}

/// A cast.
#[derive(Debug)]
pub struct Cast {
    /// `pg_cast.oid`
    pub oid: u32,
    /// From this type.
    pub source: u32,
    /// To this one.
    pub target: u32,
    /// The function that it calls; 0 where there is none.
    pub function: u32,
    /// `castmethod`: `f`, `b` or `i`.
    pub method: &'static str,
}

/// An operator class of B-trees.
#[derive(Debug)]
pub struct Class {
    /// `pg_opclass.oid`
    pub oid: u32,
    /// Its name.
    pub name: &'static str,
    /// The oid of its family.
    pub family: u32,
    /// What it orders.
    pub data_type: u32,
    /// Whether it is the type's default.
    pub default: bool,
    /// As what the index keeps it; 0 where as it is.
    pub stored: u32,
}

/// A family of operator classes.
#[derive(Debug)]
pub struct Family {
    /// `pg_opfamily.oid`
    pub oid: u32,
    /// Its name.
    pub name: &'static str,
}

/// What stands in a family: an operator with its strategy, or a function that compares.
#[derive(Debug)]
pub struct Member {
    /// `pg_amop.oid` or `pg_amproc.oid`
    pub oid: u32,
    /// The family.
    pub family: u32,
    /// The left operand's type.
    pub left: u32,
    /// The right operand's type.
    pub right: u32,
    /// The strategy of an operator: `<`, `<=`, `=`, `>=`, `>` from 1; 1 of a function.
    pub number: u32,
    /// The oid of the operator or function.
    pub member: u32,
}

/// The operator classes of B-trees and what is in them.
#[derive(Debug, Default)]
pub struct Classes {
    /// `pg_opclass`
    pub classes: Vec<Class>,
    /// `pg_opfamily`
    pub families: Vec<Family>,
    /// `pg_amop`
    pub operators: Vec<Member>,
    /// `pg_amproc`
    pub functions: Vec<Member>,
}

static FUNCTIONS: LazyLock<Vec<Function>> =
    LazyLock::new(|| lines(include_str!("functions.tsv")).filter_map(read_function).collect());

static OPERATORS: LazyLock<Vec<Operator>> =
    LazyLock::new(|| lines(include_str!("operators.txt")).filter_map(read_operator).collect());

static CASTS: LazyLock<Vec<Cast>> =
    LazyLock::new(|| lines(include_str!("casts.txt")).filter_map(read_cast).collect());

static CLASSES: LazyLock<Classes> = LazyLock::new(|| {
    let mut classes = Classes::default();
    for line in lines(include_str!("operator_classes.txt")) {
        read_class(line, &mut classes);
    }
    classes
});

/// Catalog, object and words.
type Description = (&'static str, u32, &'static str);

static DESCRIPTIONS: LazyLock<Vec<Description>> = LazyLock::new(|| {
    lines(include_str!("descriptions.txt"))
        .map(|line| match line.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
            [catalog, oid, words] => (*catalog, number(oid), *words),
            _ => panic!("not a description: {line}"),
        })
        .collect()
});

/// Functions by name: their places in the list.
static BY_NAME: LazyLock<HashMap<&'static str, Vec<&'static Function>>> = LazyLock::new(|| {
    let mut by_name: HashMap<&str, Vec<&Function>> = HashMap::new();
    for function in FUNCTIONS.iter() {
        by_name.entry(function.name).or_default().push(function);
    }
    by_name
});

/// What stands behind a function that an operator, a cast or an operator class calls.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    /// The operator.
    Operator(&'static Operator),
    /// The cast.
    Cast(&'static Cast),
    /// A comparison of three outcomes.
    Comparison,
}

static USES: LazyLock<HashMap<u32, Use>> = LazyLock::new(|| {
    let mut uses = HashMap::new();
    for cast in casts() {
        uses.entry(cast.function).or_insert(Use::Cast(cast));
    }
    for function in &classes().functions {
        uses.insert(function.member, Use::Comparison);
    }
    for operator in operators() {
        uses.insert(operator.function, Use::Operator(operator));
    }
    uses.remove(&0);
    uses
});

/// All functions, ordered by their names.
pub fn functions() -> &'static [Function] {
    &FUNCTIONS
}

/// The functions of a name.
pub fn functions_named(name: &str) -> &'static [&'static Function] {
    BY_NAME.get(name).map_or(&[], Vec::as_slice)
}

/// All operators, ordered by their symbols.
pub fn operators() -> &'static [Operator] {
    &OPERATORS
}

/// All casts.
pub fn casts() -> &'static [Cast] {
    &CASTS
}

/// The operator classes.
pub fn classes() -> &'static Classes {
    &CLASSES
}

/// What is said of types, schemas and the like: the catalog's name, the object, the words.
pub fn descriptions() -> &'static [Description] {
    &DESCRIPTIONS
}

/// What a function is there for besides being called.
pub fn use_of(function: &Function) -> Option<Use> {
    USES.get(&function.oid).copied()
}

impl Function {
    /// The arguments that a call gives.
    pub fn inputs(&self) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().filter(|argument| argument.mode != Mode::Out)
    }

    /// How many of the last arguments may be left out.
    pub fn defaults(&self) -> usize {
        self.inputs().filter(|argument| argument.default.is_some()).count()
    }
}

/// The lines of a list. It is part of the program: what is wrong in it is a bug, which a test
/// finds.
fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_error| panic!("no number: {text}"))
}

fn read_function(line: &'static str) -> Option<Function> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [oid, name, flags, estimates, language, arguments, result, source, description] =
        fields.as_slice()
    else {
        panic!("a function has nine fields: {line}");
    };
    let (cost, rows) = estimates.split_once('/').expect("a cost and rows");
    let estimate = |text: &str| text.parse().expect("an estimate is a number");
    let arguments = arguments.split(';').filter(|argument| !argument.is_empty());
    Some(Function {
        oid: number(oid),
        name,
        kind: &flags[0..1],
        volatility: &flags[1..2],
        strict: &flags[2..3] == "s",
        set: &flags[3..4] == "r",
        parallel: &flags[4..5],
        leakproof: &flags[5..6] == "l",
        cost: estimate(cost),
        rows: estimate(rows),
        language,
        arguments: arguments.map(read_argument).collect::<Option<_>>()?,
        result: type_oid(result).unwrap_or_else(|| match result.starts_with('_') {
            true => oid::array_oid(DataType::Text),
            false => oid::oid(DataType::Text),
        }),
        source: source.replace("\\n", "\n"),
        description,
    })
}

/// `[OUT|VARIADIC] [name] type[=default]`
fn read_argument(text: &'static str) -> Option<Argument> {
    let (declared, default) = match text.split_once('=') {
        Some((declared, default)) => (declared, Some(default)),
        None => (text, None),
    };
    let (mode, declared) = if let Some(rest) = declared.strip_prefix("OUT ") {
        (Mode::Out, rest)
    } else if let Some(rest) = declared.strip_prefix("VARIADIC ") {
        (Mode::Variadic, rest)
    } else {
        (Mode::In, declared)
    };
    let (name, type_name) = declared.split_once(' ').unwrap_or(("", declared));
    Some(Argument { mode, name, oid: type_oid(type_name)?, default })
}

fn read_operator(line: &'static str) -> Option<Operator> {
    let mut words = line.splitn(10, ' ');
    let mut word = || words.next().unwrap_or("");
    let (oid, symbol, left, right, result) = (word(), word(), word(), word(), word());
    let (function, commutator, negator, flags) = (word(), word(), word(), word());
    Some(Operator {
        oid: number(oid),
        symbol,
        left: if left == "-" { 0 } else { type_oid(left)? },
        right: type_oid(right)?,
        result: type_oid(result)?,
        function: number(function),
        commutator: number(commutator),
        negator: number(negator),
        merges: flags.starts_with('m'),
        hashes: flags.ends_with('h'),
        description: word(),
    })
}

fn read_cast(line: &'static str) -> Option<Cast> {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or("");
    let (oid, source, target, function) = (word(), word(), word(), word());
    // How eager PostgreSQL is to cast is not asked: what the server does is.
    let (_context, method) = (word(), word());
    Some(Cast {
        oid: number(oid),
        source: type_oid(source)?,
        target: type_oid(target)?,
        function: number(function),
        method,
    })
}

fn read_class(line: &'static str, classes: &mut Classes) {
    let words: Vec<&str> = line.split(' ').collect();
    let known = |name: &str| type_oid(name);
    match words.as_slice() {
        ["class", oid, name, family, data_type, default, stored] => {
            if let Some(data_type) = known(data_type) {
                let (oid, family) = (number(oid), number(family));
                let default = *default == "t";
                let stored = known(stored).unwrap_or(0);
                classes.classes.push(Class { oid, name, family, data_type, default, stored });
            }
        }
        ["family", oid, name] => classes.families.push(Family { oid: number(oid), name }),
        ["operator", oid, family, left, right, strategy, operator] => {
            if let (Some(left), Some(right)) = (known(left), known(right)) {
                classes.operators.push(Member {
                    oid: number(oid),
                    family: number(family),
                    left,
                    right,
                    number: number(strategy),
                    member: number(operator),
                });
            }
        }
        ["procedure", oid, family, left, right, function] => {
            if let (Some(left), Some(right)) = (known(left), known(right)) {
                classes.functions.push(Member {
                    oid: number(oid),
                    family: number(family),
                    left,
                    right,
                    number: 1,
                    member: number(function),
                });
            }
        }
        _ => panic!("not a line of operator classes: {line}"),
    }
}

/// The oid of the type of this internal name, pseudo-types among them.
fn type_oid(name: &str) -> Option<u32> {
    if let Some(pseudo) = oid::PSEUDO_TYPES.iter().find(|pseudo| pseudo.name == name) {
        return Some(pseudo.oid);
    }
    let element = name.strip_prefix('_').unwrap_or(name);
    let entry = oid::TYPES.iter().find(|entry| entry.name == element)?;
    let number = if element == name { entry.oid } else { entry.array_oid };
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_lists_can_be_read() {
        let lower = functions_named("lower");
        assert_eq!(lower.len(), 1);
        assert_eq!((lower[0].oid, lower[0].volatility, lower[0].strict), (870, "i", true));
        let set = functions_named("jsonb_set")[0];
        assert_eq!((set.defaults(), set.arguments[3].default), (1, Some("true")));
        let elements = functions_named("jsonb_array_elements")[0];
        assert_eq!(elements.inputs().count(), 1);
        assert_eq!(elements.arguments[1].mode, Mode::Out);
        assert!(casts().len() > 100 && classes().classes.len() > 20);
    }

    #[test]
    fn what_is_named_is_listed() {
        let functions: HashSet<u32> = functions().iter().map(|function| function.oid).collect();
        let all: HashSet<u32> = operators().iter().map(|operator| operator.oid).collect();
        for operator in operators() {
            assert!(functions.contains(&operator.function), "the function of {operator:?}");
            for other in [operator.commutator, operator.negator] {
                assert!(other == 0 || all.contains(&other), "what {operator:?} names");
            }
        }
        for cast in casts() {
            assert!(cast.function == 0 || functions.contains(&cast.function), "{cast:?}");
        }
        for member in &classes().operators {
            assert!(all.contains(&member.member), "{member:?}");
        }
        for member in &classes().functions {
            assert!(functions.contains(&member.member), "{member:?}");
        }
    }
}
