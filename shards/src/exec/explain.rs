//! Plans as text, the way PostgreSQL's `EXPLAIN` shows them.

mod expression;

use super::project_set;
pub use expression::expression;
use model::expression::Expression;
use model::plan::{
    Access, Aggregate, ApplyKind, Bound, Change, Exchange, HashJoin, JoinKind, KeyBounds, Phase,
    Plan, Scan, SetOperationKind, SortKey, Target,
};
use model::row_lock::{LockWait, RowLock, RowLockMode};

/// One line a node or property. `partitions` is how many share the hash space.
pub fn render(plan: &Plan, partitions: u32) -> Vec<String> {
    let mut printer = Printer { lines: Vec::new(), partitions };
    printer.node(plan, 0);
    printer.lines
}

struct Printer {
    lines: Vec<String>,
    partitions: u32,
}

/// What a node says of itself, and its inputs.
struct Description<'a> {
    title: String,
    properties: Vec<String>,
    inputs: Vec<&'a Plan>,
}

impl Printer {
    fn node(&mut self, plan: &Plan, depth: usize) {
        let description = describe(plan, self.partitions);
        let (indent, arrow) = if depth == 0 { (0, "") } else { (depth * 6 - 4, "->  ") };
        self.lines.push(format!("{}{arrow}{}", " ".repeat(indent), description.title));
        let inner = " ".repeat(depth * 6 + 2);
        self.lines.extend(description.properties.iter().map(|line| format!("{inner}{line}")));
        for input in description.inputs {
            self.node(input, depth + 1);
        }
    }
}

fn describe(plan: &Plan, partitions: u32) -> Description<'_> {
    let mut properties = Vec::new();
    let (title, inputs): (String, Vec<&Plan>) = match plan {
        Plan::Scan(scan) => (scan_title(scan, &mut properties), Vec::new()),
        Plan::Values(values) => (format!("Values ({} rows)", values.rows.len()), Vec::new()),
        Plan::Exchange(node) => {
            (exchange_title(node, partitions, &mut properties), vec![&node.fragment])
        }
        Plan::Filter(node) => {
            properties.push(format!("Filter: {}", expression(&node.condition)));
            ("Filter".to_owned(), vec![&node.input])
        }
        Plan::Project(node) => {
            let columns: Vec<String> = node.expressions.iter().map(expression).collect();
            properties.push(format!("Output: {}", columns.join(", ")));
            ("Project".to_owned(), vec![&node.input])
        }
        Plan::Aggregate(node) => (aggregate_title(node, &mut properties), vec![&node.input]),
        Plan::Sort(node) => {
            properties.push(format!("Sort Key: {}", sort_keys(&node.keys)));
            if let Some(limit) = &node.limit {
                properties.push(format!("Limit: {}", expression(limit)));
            }
            ("Sort".to_owned(), vec![&node.input])
        }
        Plan::Limit(node) => {
            for (name, value) in [("Limit", &node.limit), ("Offset", &node.offset)] {
                properties
                    .extend(value.iter().map(|value| format!("{name}: {}", expression(value))));
            }
            ("Limit".to_owned(), vec![&node.input])
        }
        Plan::HashJoin(node) => {
            properties.push(hash_condition(node));
            properties.extend(join_filter(&node.condition));
            (format!("Hash {}Join", join_name(node.kind)), vec![&node.left, &node.right])
        }
        Plan::NestedLoopJoin(node) => {
            properties.extend(join_filter(&node.condition));
            (format!("Nested Loop {}Join", join_name(node.kind)), vec![&node.left, &node.right])
        }
        Plan::Apply(node) => {
            (format!("Apply ({})", apply_name(&node.kind)), vec![&node.input, &node.subplan])
        }
        Plan::Append(node) => ("Append".to_owned(), node.inputs.iter().collect()),
        Plan::Recursive(node) => {
            ("Recursive Union".to_owned(), vec![node.first.as_ref(), node.step.as_ref()])
        }
        Plan::WorkingTable(_) => ("WorkTable Scan".to_owned(), Vec::new()),
        Plan::SetOperation(node) => {
            let name = match node.kind {
                SetOperationKind::Intersect => "Intersect",
                SetOperationKind::Except => "Except",
            };
            let all = if node.all { " All" } else { "" };
            (format!("HashSetOp {name}{all}"), vec![&node.left, &node.right])
        }
        Plan::Window(node) => {
            if !node.partition_by.is_empty() {
                let columns: Vec<String> = node.partition_by.iter().map(expression).collect();
                properties.push(format!("Partition By: {}", columns.join(", ")));
            }
            if !node.order_by.is_empty() {
                properties.push(format!("Order By: {}", sort_keys(&node.order_by)));
            }
            ("WindowAgg".to_owned(), vec![&node.input])
        }
        Plan::ProjectSet(node) => {
            let calls: Vec<String> =
                node.calls.iter().map(|call| project_set::shown(call, expression)).collect();
            properties.push(format!("Calls: {}", calls.join(", ")));
            ("ProjectSet".to_owned(), vec![&node.input])
        }
        Plan::Materialize(node) => ("Materialize".to_owned(), vec![&node.input]),
        Plan::LockRows(node) => {
            properties.extend(node.locks.iter().map(row_lock));
            ("LockRows".to_owned(), vec![&node.input])
        }
        Plan::Modify(node) => {
            let verb = match node.change {
                Change::Insert { .. } => "Insert",
                Change::UpdateConflicting { .. } => "Update",
                Change::Update { .. } => "Update",
                Change::Delete => "Delete",
            };
            (format!("{verb} on {}", node.table.name), vec![&node.input])
        }
    };
    Description { title, properties, inputs }
}

fn hash_condition(join: &HashJoin) -> String {
    let keys = join.left_keys.iter().zip(&join.right_keys);
    let keys: Vec<String> = keys
        .map(|(left, right)| format!("left {} = right {}", expression(left), expression(right)))
        .collect();
    format!("Hash Cond: ({})", keys.join(") AND ("))
}

fn join_filter(condition: &Option<Expression>) -> Option<String> {
    condition.as_ref().map(|condition| format!("Join Filter: {}", expression(condition)))
}

fn apply_name(kind: &ApplyKind) -> &'static str {
    match kind {
        ApplyKind::Scalar => "Scalar",
        ApplyKind::Exists => "Exists",
        ApplyKind::Any { .. } => "Any",
        ApplyKind::Lateral { outer: false } => "Lateral",
        ApplyKind::Lateral { outer: true } => "Lateral Left",
    }
}

fn row_lock(lock: &RowLock) -> String {
    let mode = match lock.mode {
        RowLockMode::Exclusive => "FOR UPDATE",
        RowLockMode::Shared => "FOR SHARE",
    };
    let wait = match lock.wait {
        LockWait::Wait => "",
        LockWait::Skip => " SKIP LOCKED",
        LockWait::Refuse => " NOWAIT",
    };
    format!("Lock: {} {mode}{wait}", lock.table.name)
}

fn scan_title(scan: &Scan, properties: &mut Vec<String>) -> String {
    let table = &scan.table;
    let direction = if scan.reverse { " Backward" } else { "" };
    let (title, bounds, names): (String, &KeyBounds, Vec<&str>) = match &scan.access {
        Access::PrimaryKey(bounds) => {
            let unbounded = *bounds == KeyBounds::default();
            let title = match (&table.primary_key_name, unbounded) {
                (Some(name), false) => {
                    format!("Index Scan{direction} using {name} on {}", table.name)
                }
                _ => format!("Seq Scan{direction} on {}", table.name),
            };
            let names = table.primary_key.iter().map(|&at| table.columns[at].name.as_str());
            (title, bounds, names.collect())
        }
        Access::Index { index, bounds } => {
            let index = &table.indexes[*index];
            let names = index.columns.iter().map(|c| table.columns[c.ordinal].name.as_str());
            let title = format!("Index Scan{direction} using {} on {}", index.name, table.name);
            (title, bounds, names.collect())
        }
    };
    let condition = bounds_text(bounds, &names);
    if !condition.is_empty() {
        properties.push(format!("Index Cond: {condition}"));
    }
    if let Some(filter) = &scan.filter {
        let output: Vec<&str> =
            scan.columns.iter().map(|&at| table.columns[at].name.as_str()).collect();
        properties.push(format!("Filter: {}", expression::with_names(filter, &output)));
    }
    if let Some(limit) = scan.limit {
        properties.push(format!("Limit: {limit}"));
    }
    if scan.lock {
        properties.push("Lock: rows".to_owned());
    }
    title
}

fn bounds_text(bounds: &KeyBounds, names: &[&str]) -> String {
    let mut parts = Vec::new();
    let name = |at: usize| names.get(at).copied().unwrap_or("?");
    let columns = bounds.equal.first().map_or(0, Vec::len);
    for at in 0..columns {
        let mut values: Vec<String> =
            bounds.equal.iter().map(|point| expression(&point[at])).collect();
        values.dedup();
        parts.push(match values.as_slice() {
            [only] => format!("({} = {only})", name(at)),
            many => format!("({} IN ({}))", name(at), many.join(", ")),
        });
    }
    let ends: [(&Option<Bound>, &str); 2] = [(&bounds.lower, ">"), (&bounds.upper, "<")];
    for (bound, operator) in ends {
        if let Some(bound) = bound {
            let or_equal = if bound.inclusive { "=" } else { "" };
            parts.push(format!(
                "({} {operator}{or_equal} {})",
                name(columns),
                expression(&bound.value)
            ));
        }
    }
    parts.join(" AND ")
}

fn exchange_title(node: &Exchange, partitions: u32, properties: &mut Vec<String>) -> String {
    if !node.merge.is_empty() {
        properties.push(format!("Merge Key: {}", sort_keys(&node.merge)));
    }
    let target = match &node.target {
        Target::All => format!("{partitions} partitions"),
        Target::Keys(keys) => match keys.len() {
            1 => "1 partition by key".to_owned(),
            keys => format!("at most {keys} partitions by key"),
        },
        Target::System => "system partition".to_owned(),
    };
    format!("Gather ({target})")
}

fn aggregate_title(node: &Aggregate, properties: &mut Vec<String>) -> String {
    if !node.groups.is_empty() {
        let groups: Vec<String> = node.groups.iter().map(expression).collect();
        properties.push(format!("Group Key: {}", groups.join(", ")));
    }
    let phase = match node.phase {
        Phase::Single => "",
        Phase::Partial => "Partial ",
        Phase::Final => "Finalize ",
    };
    let kind = if node.groups.is_empty() { "Aggregate" } else { "HashAggregate" };
    format!("{phase}{kind}")
}

fn sort_keys(keys: &[SortKey]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| {
            let direction = if key.descending { " DESC" } else { "" };
            let nulls = match (key.descending, key.nulls_first) {
                (false, true) => " NULLS FIRST",
                (true, false) => " NULLS LAST",
                _ => "",
            };
            format!("{}{direction}{nulls}", expression(&key.expression))
        })
        .collect();
    keys.join(", ")
}

fn join_name(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "",
        JoinKind::Left => "Left ",
        JoinKind::Right => "Right ",
        JoinKind::Full => "Full ",
        JoinKind::Semi => "Semi ",
        JoinKind::Anti => "Anti ",
        JoinKind::NullAwareAnti => "Null-Aware Anti ",
    }
}
