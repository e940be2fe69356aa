//! What depends on what: `pg_depend`. Dumps order objects by it.

use super::relations::{all_views, default_of};
use super::sequences::{all, called, owner};
use super::shape::{Rows, Shape, number};
use super::{attribute_number, real_tables};
use crate::catalog::{Catalog, oids};
use crate::sql::VirtualTable;
use model::id::ObjectId;
use model::value::Value;

const PG_CLASS: u32 = 1259;
const PG_ATTRDEF: u32 = 2604;
const PG_NAMESPACE: u32 = 2615;
const PG_REWRITE: u32 = 2618;
const PG_EXTENSION: u32 = 3079;

/// An object of a catalog, or a column of one.
struct Member(u32, u32, i64);

/// `pg_depend`
pub(super) fn table(shape: &'static Shape, catalog: &Catalog, database: &str) -> VirtualTable {
    let mut rows = Rows::of(shape);
    let mut push = |Member(class, object, _): Member, on: Member, kind: &'static str| {
        rows.push([
            ("classid", number(class)),
            ("objid", number(object)),
            ("objsubid", Value::Int(0)),
            ("refclassid", number(on.0)),
            ("refobjid", number(on.1)),
            ("refobjsubid", Value::Int(on.2)),
            ("deptype", Value::text(kind)),
        ]);
    };
    let relation = |id: ObjectId| Member(PG_CLASS, oids::object(id), 0);
    let extension = Member(PG_EXTENSION, oids::EXTENSION, 0);
    push(Member(PG_NAMESPACE, oids::PHANTOM, 0), extension, "e");
    for (_, view) in all_views(catalog, database) {
        let rule = || Member(PG_REWRITE, oids::part(view.id, "_RETURN"), 0);
        push(rule(), relation(view.id), "i");
        view.depends_on.iter().for_each(|&read| push(rule(), relation(read), "n"));
    }
    for (_, sequence) in all(catalog, database) {
        let Some((table, ordinal)) = owner(catalog, sequence) else { continue };
        // An identity column has its sequence inside of it.
        let kind = if table.columns[ordinal].identity.is_some() { "i" } else { "a" };
        let column = attribute_number(table, ordinal);
        let place = Member(PG_CLASS, oids::object(table.id), column);
        push(Member(PG_CLASS, sequence.oid(), 0), place, kind);
    }
    for (_, table) in real_tables(catalog, database) {
        for ordinal in table.visible() {
            let column = &table.columns[ordinal];
            let Some(default) = default_of(column) else { continue };
            let object = oids::part(table.id, &column.name);
            let number = attribute_number(table, ordinal);
            let default_of_it = || Member(PG_ATTRDEF, object, 0);
            push(default_of_it(), Member(PG_CLASS, oids::object(table.id), number), "a");
            for sequence in called(catalog, default) {
                push(default_of_it(), Member(PG_CLASS, sequence.oid(), 0), "n");
            }
        }
    }
    rows.done()
}
