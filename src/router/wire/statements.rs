//! The plans of the project's SQL scripts, on their way to another node.

use crate::catalog::Catalog;
use crate::catalog::change::apply_ddl;
use crate::router::virtual_tables::Outlines;
use crate::sql::{
    InsertPlan, InsertSource, Planned, PlannedKind, RowsOf, SessionSettings, WriteTarget, parse,
    plan,
};
use model::command::{Fragment, Isolation, Request, RequestBody};
use model::error::SqlError;
use model::id::PartitionId;
use model::plan::{Change, Modify, Plan, Values};
use model::time::Timestamp;
use shards::core::wire::{decode, encode};
use shards::core::{CoreMessage, RequestId};
use std::path::Path;
use std::sync::Arc;

/// The plans of a statement: what a query is gathered by, with its fragments, and what changes rows.
fn plans(planned: &Planned) -> Vec<Arc<Plan>> {
    match &planned.kind {
        PlannedKind::Query(query) | PlannedKind::SetConfig(query) => vec![query.plan.clone()],
        PlannedKind::Insert(insert) => vec![Arc::new(insertion(insert))],
        PlannedKind::CopyIn(copy) => vec![Arc::new(insertion(&copy.insert))],
        PlannedKind::Update(update) => vec![changed(&update.target)],
        PlannedKind::Delete(delete) => vec![changed(&delete.target)],
        PlannedKind::CopyOut(copy) => plans(&copy.inner),
        PlannedKind::Explain { inner, .. } => plans(inner),
        PlannedKind::Prepare(prepare) => plans(&prepare.inner),
        PlannedKind::Declare(declare) => plans(&declare.inner),
        PlannedKind::TableAs(made) => match &made.source {
            RowsOf::Query { query, .. } => vec![query.plan.clone()],
            RowsOf::Execute(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn changed(target: &WriteTarget) -> Arc<Plan> {
    match target {
        WriteTarget::InPlace { modify, .. } => modify.clone(),
        WriteTarget::ByQuery { source, .. } => source.clone(),
    }
}

fn insertion(insert: &InsertPlan) -> Plan {
    let input = match &insert.source {
        InsertSource::Values(rows) => {
            Plan::Values(Values { rows: rows.clone(), types: insert.table.types() })
        }
        InsertSource::Query(query) => Plan::clone(query),
    };
    Plan::Modify(Modify {
        table: insert.table.clone(),
        input: Box::new(input),
        change: Change::Insert { on_conflict: insert.on_conflict.clone() },
        returning: insert.returning.clone(),
    })
}

fn request(plan: &Arc<Plan>) -> CoreMessage {
    let fragment = Fragment {
        plan: plan.clone(),
        parameters: Arc::from([]),
        snapshot: Timestamp(1),
        txn: None,
        seen: None,
        isolation: Isolation::Serializable,
        now_micros: 0,
        lock_timeout: None,
    };
    let body = RequestBody::Read(fragment);
    let request = Request { partition: PartitionId(1), sent: Timestamp(2), body };
    CoreMessage::Request { id: RequestId(3), request }
}

/// What the receiver gets is the same plan, and has the same bytes.
fn travels(plan: &Arc<Plan>, text: &str) {
    let mut bytes = Vec::new();
    encode(&request(plan), &mut bytes).expect("nothing in it is long");
    let received = decode(&bytes).unwrap_or_else(|error| panic!("{text}: {error}"));
    let CoreMessage::Request { request: Request { body: RequestBody::Read(fragment), .. }, .. } =
        &received
    else {
        panic!("not what was sent: {received:?}");
    };
    assert_eq!(fragment.plan, *plan, "{text}");
    let mut again = Vec::new();
    encode(&received, &mut again).expect("nothing in it is long");
    assert_eq!(again, bytes, "{text}");
}

/// The statements of a script, each of which stands behind a line that says what comes of it.
fn statements(script: &str) -> impl Iterator<Item = String> {
    script.split("\n\n").filter_map(|record| {
        let record = record.trim_start_matches('\n');
        let lines = record.lines().skip_while(|line| line.starts_with('#'));
        let mut lines = lines.skip_while(|line| line.contains("if ") && line.len() < 40);
        let first = lines.next()?;
        let is_record = first.starts_with("statement ") || first.starts_with("query ");
        let text = lines.take_while(|line| *line != "----").collect::<Vec<_>>().join("\n");
        is_record.then_some(text)
    })
}

/// Follows a script through the changes that it makes to the schema; how many plans it has.
fn follow(script: &str) -> usize {
    let settings = SessionSettings::of_system("phantom");
    let mut catalog = Catalog::bootstrap();
    let mut count = 0;
    for text in statements(script) {
        let Ok(parsed) = parse(&text) else { continue };
        for statement in parsed {
            let followed = || -> Result<Planned, SqlError> {
                plan(&statement, &catalog, &settings, &Outlines, &[])
            };
            // Many are there to be refused, and some are about a session.
            let Ok(planned) = followed() else { continue };
            if let PlannedKind::Ddl(ddl) = &planned.kind
                && let Ok(change) = apply_ddl(&catalog, ddl, &settings, &Outlines)
            {
                catalog = change.catalog;
            }
            for plan in plans(&planned) {
                travels(&plan, &text);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn the_plans_of_all_scripts_travel() {
    let mut count = 0;
    for folder in ["tests/sql/scripts", "tests/sql/beyond"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).expect("a folder of scripts") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "slt") {
                count += follow(&std::fs::read_to_string(&path).expect("a script"));
            }
        }
    }
    assert!(count > 1_500, "{count} plans are not those of the scripts");
}
