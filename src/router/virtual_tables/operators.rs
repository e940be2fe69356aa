//! Operators, casts, operator classes and languages.

use super::relations::BTREE;
use super::shape::{Rows, Shape, number};
use crate::catalog::oids;
use crate::catalog::postgres::{self, Member, Operator};
use crate::sql::{NamedObject, VirtualTable};
use model::types::{RegKind, oid};
use model::value::Value;
use shards::exec::cast;
use shards::exec::operators::is_implicit_cast;

/// The languages that functions are in.
const LANGUAGES: [(u32, &str); 2] = [(12, "internal"), (14, "sql")];

/// The table of that name, where it is one of these.
pub(super) fn table(shape: &'static Shape) -> Option<VirtualTable> {
    let mut rows = Rows::of(shape);
    match shape.name {
        "pg_operator" => {
            postgres::operators().iter().for_each(|operator| rows.push(operator_row(operator)));
        }
        "pg_cast" => casts(&mut rows),
        "pg_opclass" => {
            for class in &postgres::classes().classes {
                rows.push([
                    ("oid", number(class.oid)),
                    ("opcmethod", number(BTREE)),
                    ("opcname", Value::text(class.name)),
                    ("opcnamespace", number(oids::PG_CATALOG)),
                    ("opcowner", number(oids::SUPERUSER)),
                    ("opcfamily", number(class.family)),
                    ("opcintype", number(class.data_type)),
                    ("opcdefault", Value::Bool(class.default)),
                    ("opckeytype", number(class.stored)),
                ]);
            }
        }
        "pg_opfamily" => {
            for family in &postgres::classes().families {
                rows.push([
                    ("oid", number(family.oid)),
                    ("opfmethod", number(BTREE)),
                    ("opfname", Value::text(family.name)),
                    ("opfnamespace", number(oids::PG_CATALOG)),
                    ("opfowner", number(oids::SUPERUSER)),
                ]);
            }
        }
        "pg_amop" => {
            for member in &postgres::classes().operators {
                rows.push([
                    ("oid", number(member.oid)),
                    ("amopfamily", number(member.family)),
                    ("amoplefttype", number(member.left)),
                    ("amoprighttype", number(member.right)),
                    ("amopstrategy", number(member.number)),
                    ("amoppurpose", Value::text("s")),
                    ("amopopr", number(member.member)),
                    ("amopmethod", number(BTREE)),
                    ("amopsortfamily", number(0)),
                ]);
            }
        }
        "pg_amproc" => {
            postgres::classes().functions.iter().for_each(|member| rows.push(function_row(member)));
        }
        "pg_language" => {
            for (oid, name) in LANGUAGES {
                rows.push([
                    ("oid", number(oid)),
                    ("lanname", Value::text(name)),
                    ("lanpltrusted", Value::Bool(name == "sql")),
                ]);
            }
        }
        _ => return None,
    }
    Some(rows.done())
}

fn operator_row(operator: &Operator) -> [(&'static str, Value); 15] {
    [
        ("oid", number(operator.oid)),
        ("oprname", Value::text(operator.symbol)),
        ("oprnamespace", number(oids::PG_CATALOG)),
        ("oprowner", number(oids::SUPERUSER)),
        ("oprkind", Value::text(if operator.left == 0 { "l" } else { "b" })),
        ("oprcanmerge", Value::Bool(operator.merges)),
        ("oprcanhash", Value::Bool(operator.hashes)),
        ("oprleft", number(operator.left)),
        ("oprright", number(operator.right)),
        ("oprresult", number(operator.result)),
        ("oprcom", number(operator.commutator)),
        ("oprnegate", number(operator.negator)),
        ("oprcode", number(operator.function)),
        // Nothing is estimated by an operator's own function.
        ("oprrest", number(0)),
        ("oprjoin", number(0)),
    ]
}

fn function_row(member: &Member) -> [(&'static str, Value); 6] {
    [
        ("oid", number(member.oid)),
        ("amprocfamily", number(member.family)),
        ("amproclefttype", number(member.left)),
        ("amprocrighttype", number(member.right)),
        ("amprocnum", number(member.number)),
        ("amproc", number(member.member)),
    ]
}

/// Casts as eager as the engine is.
fn casts(rows: &mut Rows) {
    for listed in postgres::casts() {
        let types = oid::from_oid(listed.source, -1).zip(oid::from_oid(listed.target, -1));
        let Some((source, target)) = types else { continue };
        if !cast::exists(source, target, true) {
            continue;
        }
        let context = if is_implicit_cast(source, target) {
            "i"
        } else if cast::exists(source, target, false) {
            "a"
        } else {
            "e"
        };
        rows.push([
            ("oid", number(listed.oid)),
            ("castsource", number(listed.source)),
            ("casttarget", number(listed.target)),
            ("castfunc", number(listed.function)),
            ("castcontext", Value::text(context)),
            ("castmethod", Value::text(listed.method)),
        ]);
    }
}

/// What `regoper` and `regoperator` values name.
pub(super) fn objects(kind: RegKind) -> Vec<NamedObject> {
    let type_name = |number| oid::type_name(number).unwrap_or_else(|| "NONE".to_owned());
    let name = |operator: &Operator| match kind {
        RegKind::Operator => {
            let (left, right) = (type_name(operator.left), type_name(operator.right));
            format!("{}({left},{right})", operator.symbol)
        }
        _ => operator.symbol.to_owned(),
    };
    let object = |operator: &Operator| NamedObject {
        oid: operator.oid,
        schema: Some("pg_catalog".to_owned()),
        name: name(operator),
    };
    postgres::operators().iter().map(object).collect()
}
