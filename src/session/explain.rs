//! `EXPLAIN` and `EXPLAIN ANALYZE`: a plan as rows of text.

use super::Client;
use crate::router::{Router, RowSink, Statement};
use crate::sql::{InsertPlan, InsertSource, Planned, PlannedKind, RowsOf, WriteTarget};
use crate::txn::Transaction;
use futures::future::LocalBoxFuture;
use model::batch::Batch;
use model::error::SqlError;
use model::id::NodeId;
use model::placement::Place;
use model::plan::{Arbiter, OnConflict, Plan};
use model::types::DataType;
use model::value::Value;
use runtime::time;
use shards::core::Trace;
use shards::exec::explain::render;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What is explained.
pub(super) struct Run<'a> {
    pub(super) inner: &'a Planned,
    /// Whether it is run first.
    pub(super) analyze: bool,
    /// How its transaction commits, where the client has said something of it.
    pub(super) commit: Option<String>,
}

/// Sends the plan of a statement. Returns the lines sent.
pub(super) async fn run(
    router: &Router,
    Run { inner, analyze, commit }: Run<'_>,
    statement: Statement<'_>,
    transaction: Option<&mut Transaction>,
    client: &mut dyn Client,
) -> Result<u64, SqlError> {
    let partitions = router.engine().placement().partitions();
    let mut lines = lines(inner, partitions)?;
    if analyze {
        // The parameters are those of the whole statement.
        let inner = Planned { parameters: statement.planned.parameters.clone(), ..inner.clone() };
        let statement = Statement { planned: &inner, ..statement };
        let began = time::now();
        let trace = Rc::new(Trace::default());
        let traced = router.traced(trace.clone());
        let rows = traced.run(&statement, transaction, &mut Nowhere).await?;
        let milliseconds = began.elapsed().as_secs_f64() * 1_000.0;
        lines.extend(hops(&trace, router.engine().node()));
        lines.push(format!("Rows: {rows}"));
        lines.push(format!("Execution Time: {milliseconds:.3} ms"));
    }
    lines.extend(commit);
    let count = lines.len() as u64;
    let rows: Vec<Vec<Value>> =
        lines.into_iter().map(|line| vec![Value::text(line.as_str())]).collect();
    client.rows(Batch::from_rows(&[DataType::Text], &rows)).await?;
    Ok(count)
}

/// Where the requests to partitions went, seen from `here`.
fn hops(trace: &Trace, here: NodeId) -> Vec<String> {
    let mut places: BTreeMap<Place, (u64, Vec<String>)> = BTreeMap::new();
    for visit in trace.visits() {
        let (requests, partitions) = places.entry(visit.place).or_default();
        *requests += visit.requests;
        partitions.push(visit.partition.to_string());
    }
    let counted = |away: bool| {
        let at = places.iter().filter(|(place, _)| !away || place.node != here);
        at.map(|(_, (requests, _))| requests).sum::<u64>()
    };
    let mut lines =
        vec![format!("Requests: {}, to other nodes: {}", counted(false), counted(true))];
    lines.extend(places.iter().map(|(place, (requests, partitions))| {
        let Place { node, core } = place;
        format!("  Node {node} Core {core}: {requests} (Partitions: {})", partitions.join(", "))
    }));
    let missed = trace.missed();
    lines.extend((missed > 0).then(|| format!("  Sent in Vain: {missed}")));
    lines
}

fn lines(planned: &Planned, partitions: u32) -> Result<Vec<String>, SqlError> {
    let below = |title: String, plan: &Plan| {
        let mut lines = vec![title];
        lines.extend(render(plan, partitions).into_iter().map(|line| format!("  {line}")));
        lines
    };
    let changed = |title: String, target: &WriteTarget| match target {
        WriteTarget::InPlace { modify, .. } => below(title, modify),
        WriteTarget::ByQuery { source, .. } => below(title, source),
    };
    Ok(match &planned.kind {
        PlannedKind::Query(query) => render(&query.plan, partitions),
        PlannedKind::Insert(insert) => {
            let title = format!("Insert on {}", insert.table.name);
            let mut lines = match &insert.source {
                InsertSource::Values(rows) => {
                    vec![title, format!("  Values ({} rows)", rows.len())]
                }
                InsertSource::Query(plan) => below(title, plan),
            };
            lines.splice(1..1, on_conflict(insert));
            lines
        }
        PlannedKind::Update(update) => {
            changed(format!("Update on {}", update.table.name), &update.target)
        }
        PlannedKind::Delete(delete) => {
            changed(format!("Delete on {}", delete.table.name), &delete.target)
        }
        PlannedKind::TableAs(table) => match &table.source {
            RowsOf::Query { query, .. } => render(&query.plan, partitions),
            RowsOf::Execute(_) => return Err(SqlError::unsupported("EXPLAIN of EXECUTE")),
        },
        _ => return Err(SqlError::unsupported("EXPLAIN of this statement")),
    })
}

/// What an insert does about conflicts, and by which key.
fn on_conflict(insert: &InsertPlan) -> Vec<String> {
    let (resolution, arbiter) = match &insert.on_conflict {
        OnConflict::Fail => return Vec::new(),
        OnConflict::DoNothing(arbiter) => ("NOTHING", *arbiter),
        OnConflict::DoUpdate(arbiter, _) => ("UPDATE", Some(*arbiter)),
    };
    let name = arbiter.and_then(|arbiter| match arbiter {
        Arbiter::PrimaryKey => insert.table.primary_key_name.as_deref(),
        Arbiter::Index(index) => Some(insert.table.indexes[index].name.as_str()),
    });
    let arbiter = name.map(|name| format!("  Conflict Arbiter Indexes: {name}"));
    std::iter::once(format!("  Conflict Resolution: {resolution}")).chain(arbiter).collect()
}

/// Takes rows that nobody wants to see.
struct Nowhere;

impl RowSink for Nowhere {
    fn rows(&mut self, _batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
