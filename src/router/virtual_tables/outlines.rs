//! The virtual tables without their rows: what a view that reads them is bound with.
//!
//! The rows of some say what columns and texts views have. To say it, views are bound; were they
//! bound with rows, a view over such a table would ask for itself.

use super::{functions, phantom, shape};
use crate::catalog::{Catalog, INFORMATION_SCHEMA, PG_CATALOG, SYSTEM_SCHEMA, oids};
use crate::sql::{CatalogFunction, NamedObject, SessionSettings, VirtualTable, VirtualTables};
use model::types::RegKind;

/// The tables of a node, and the functions over them, without an answer.
pub struct Outlines;

impl VirtualTables for Outlines {
    fn holds(&self, schema: &str, name: &str) -> bool {
        super::holds(schema, name)
    }

    fn table(
        &self,
        schema: &str,
        name: &str,
        _catalog: &Catalog,
        _settings: &SessionSettings,
    ) -> Option<VirtualTable> {
        let namespace = match schema {
            SYSTEM_SCHEMA => return phantom::outline(name),
            INFORMATION_SCHEMA => oids::INFORMATION_SCHEMA,
            PG_CATALOG => oids::PG_CATALOG,
            _ => return None,
        };
        shape::find(namespace, name).map(|shape| shape::Rows::of(shape).done())
    }

    fn objects(
        &self,
        kind: RegKind,
        catalog: &Catalog,
        settings: &SessionSettings,
    ) -> Vec<NamedObject> {
        super::objects(kind, catalog, settings)
    }

    fn function(
        &self,
        name: &str,
        arguments: usize,
        _catalog: &Catalog,
        _settings: &SessionSettings,
    ) -> Option<CatalogFunction> {
        functions::outline(name, arguments)
    }
}
