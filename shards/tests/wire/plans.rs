//! Plans and expressions with every node and everything that it can hold, drawn from a seed.

use super::generate::Generator;
use model::error::SqlState;
use model::expression::{
    BinaryOperator, ColumnReference, Expression, FunctionReference, UnaryOperator,
};
use model::lookup::{LookupTable, Missing};
use model::plan::{
    Access, Aggregate, AggregateCall, AggregateFunction, Append, Apply, ApplyKind, Arbiter, Bound,
    Change, ConflictUpdate, Exchange, Filter, HashJoin, JoinKind, KeyBounds, Limit, LockRows,
    Materialize, Modify, NestedLoopJoin, OnConflict, Phase, Plan, Project, ProjectSet, Recursive,
    Scan, SetCall, SetFunction, SetOperation, SetOperationKind, Sort, SortKey, Target, Values,
    Window, WindowCall, WindowFunction, WorkingTable,
};
use model::value::Value;
use std::sync::Arc;

/// Deeper than this there are only leaves.
const DEPTH_MAX: usize = 4;

const BINARY: [BinaryOperator; 22] = {
    use BinaryOperator::*;
    [
        And,
        Or,
        Equal,
        NotEqual,
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
        IsDistinctFrom,
        IsNotDistinctFrom,
        Add,
        Subtract,
        Multiply,
        Divide,
        Modulo,
        Power,
        Concatenate,
        BitAnd,
        BitOr,
        BitXor,
        ShiftLeft,
        ShiftRight,
    ]
};

const AGGREGATES: [AggregateFunction; 14] = {
    use AggregateFunction::*;
    [
        Count, Sum, Avg, Min, Max, BoolAnd, BoolOr, StringAgg, ArrayAgg, StddevSamp, StddevPop,
        VarSamp, VarPop, First,
    ]
};

const JOINS: [JoinKind; 7] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
    JoinKind::NullAwareAnti,
];

/// How many kinds of expression and of plan there are.
pub const EXPRESSIONS: usize = 13;
pub const PLANS: usize = 20;

/// Which kind it is: a new kind is to be generated, too.
pub fn expression_kind(expression: &Expression) -> usize {
    match expression {
        Expression::Column(_) => 0,
        Expression::Literal(..) => 1,
        Expression::Parameter { .. } => 2,
        Expression::Outer { .. } => 3,
        Expression::Unary { .. } => 4,
        Expression::Binary { .. } => 5,
        Expression::IsNull { .. } => 6,
        Expression::Cast { .. } => 7,
        Expression::Case { .. } => 8,
        Expression::InList { .. } => 9,
        Expression::Like { .. } => 10,
        Expression::Function { .. } => 11,
        Expression::Lookup { .. } => 12,
    }
}

/// Which kind it is: a new kind is to be generated, too.
pub fn plan_kind(plan: &Plan) -> usize {
    match plan {
        Plan::Scan(_) => 0,
        Plan::Values(_) => 1,
        Plan::WorkingTable(_) => 2,
        Plan::Exchange(_) => 3,
        Plan::Filter(_) => 4,
        Plan::Project(_) => 5,
        Plan::Aggregate(_) => 6,
        Plan::Sort(_) => 7,
        Plan::Limit(_) => 8,
        Plan::HashJoin(_) => 9,
        Plan::NestedLoopJoin(_) => 10,
        Plan::Apply(_) => 11,
        Plan::Append(_) => 12,
        Plan::SetOperation(_) => 13,
        Plan::Recursive(_) => 14,
        Plan::Window(_) => 15,
        Plan::ProjectSet(_) => 16,
        Plan::Materialize(_) => 17,
        Plan::LockRows(_) => 18,
        Plan::Modify(_) => 19,
    }
}

impl Generator {
    pub fn expression(&mut self) -> Expression {
        self.depth += 1;
        let kinds = if self.depth > DEPTH_MAX { 4 } else { EXPRESSIONS };
        let kind = self.below(kinds);
        let expression = self.expression_of(kind);
        self.depth -= 1;
        expression
    }

    fn operand(&mut self) -> Box<Expression> {
        Box::new(self.expression())
    }

    pub fn expression_of(&mut self, kind: usize) -> Expression {
        let data_type = self.data_type();
        match kind {
            0 => Expression::Column(ColumnReference { index: self.ordinal(), data_type }),
            1 => Expression::Literal(self.value(), data_type),
            2 => Expression::Parameter { index: self.ordinal(), data_type },
            3 => Expression::Outer { depth: self.below(4), index: self.ordinal(), data_type },
            4 => Expression::Unary {
                operator: self.pick(&[
                    UnaryOperator::Negate,
                    UnaryOperator::Not,
                    UnaryOperator::BitNot,
                ]),
                operand: self.operand(),
            },
            5 => Expression::Binary {
                operator: self.pick(&BINARY),
                left: self.operand(),
                right: self.operand(),
                data_type,
            },
            6 => Expression::IsNull { operand: self.operand(), negated: self.flag() },
            7 => Expression::Cast { operand: self.operand(), data_type, explicit: self.flag() },
            8 => Expression::Case {
                branches: self.some(|g| (g.expression(), g.expression())),
                otherwise: self.maybe(Generator::operand),
                data_type,
            },
            9 => Expression::InList {
                operand: self.operand(),
                list: self.some(Generator::expression),
                negated: self.flag(),
            },
            10 => Expression::Like {
                operand: self.operand(),
                pattern: self.operand(),
                escape: self.maybe(|g| g.pick(&['\\', '€', '🦀'])),
                negated: self.flag(),
                case_insensitive: self.flag(),
            },
            11 => Expression::Function {
                function: FunctionReference(self.text().into()),
                arguments: self.some(Generator::expression),
                data_type,
            },
            _ => Expression::Lookup {
                table: Arc::new(self.lookup()),
                arguments: self.some(Generator::expression),
                data_type,
            },
        }
    }

    /// Of one answer at most, so that it prints in one way.
    fn lookup(&mut self) -> LookupTable {
        let missing = match self.below(4) {
            0 => Missing::Null,
            1 => Missing::Value(self.value()),
            2 => Missing::Input,
            _ => Missing::Error {
                state: SqlState::UNDEFINED_OBJECT,
                before: self.text().into(),
                after: self.text().into(),
            },
        };
        let mut table = LookupTable::new(self.text(), missing);
        if self.flag() {
            table.insert(&[Value::Int(self.number() as i64)], self.value());
        }
        if self.flag() {
            table.insert_ambiguous(&[Value::text(self.text())], self.text());
        }
        table
    }

    pub fn plan(&mut self) -> Plan {
        self.depth += 1;
        let kinds = if self.depth > DEPTH_MAX { 3 } else { PLANS };
        let kind = self.below(kinds);
        let plan = self.plan_of(kind);
        self.depth -= 1;
        plan
    }

    fn input(&mut self) -> Box<Plan> {
        Box::new(self.plan())
    }

    pub fn plan_of(&mut self, kind: usize) -> Plan {
        match kind {
            0 => Plan::Scan(self.scan()),
            1 => Plan::Values(Values {
                rows: self.some(|g| g.some(Generator::expression)),
                types: self.some(Generator::data_type),
            }),
            2 => Plan::WorkingTable(WorkingTable {
                id: self.ordinal(),
                types: self.some(Generator::data_type),
            }),
            3 => Plan::Exchange(Exchange {
                fragment: Arc::new(self.plan()),
                target: match self.below(3) {
                    0 => Target::All,
                    1 => Target::Keys(self.some(|g| g.some(Generator::expression))),
                    _ => Target::System,
                },
                merge: self.some(Generator::sort_key),
            }),
            4 => Plan::Filter(Filter { input: self.input(), condition: self.expression() }),
            5 => Plan::Project(Project {
                input: self.input(),
                expressions: self.some(Generator::expression),
            }),
            6 => Plan::Aggregate(Aggregate {
                input: self.input(),
                groups: self.some(Generator::expression),
                aggregates: self.some(Generator::aggregate),
                phase: self.pick(&[Phase::Single, Phase::Partial, Phase::Final]),
            }),
            7 => Plan::Sort(Sort {
                input: self.input(),
                keys: self.some(Generator::sort_key),
                limit: self.maybe(Generator::expression),
            }),
            8 => Plan::Limit(Limit {
                input: self.input(),
                limit: self.maybe(Generator::expression),
                offset: self.maybe(Generator::expression),
            }),
            9 => Plan::HashJoin(HashJoin {
                left: self.input(),
                right: self.input(),
                kind: self.pick(&JOINS),
                left_keys: self.some(Generator::expression),
                right_keys: self.some(Generator::expression),
                condition: self.maybe(Generator::expression),
            }),
            10 => Plan::NestedLoopJoin(NestedLoopJoin {
                left: self.input(),
                right: self.input(),
                kind: self.pick(&JOINS),
                condition: self.maybe(Generator::expression),
            }),
            _ => self.plan_of_plans(kind),
        }
    }

    fn plan_of_plans(&mut self, kind: usize) -> Plan {
        match kind {
            11 => Plan::Apply(Apply {
                input: self.input(),
                subplan: Arc::new(self.plan()),
                kind: match self.below(4) {
                    0 => ApplyKind::Scalar,
                    1 => ApplyKind::Exists,
                    2 => {
                        ApplyKind::Any { operand: self.expression(), operator: self.pick(&BINARY) }
                    }
                    _ => ApplyKind::Lateral { outer: self.flag() },
                },
            }),
            12 => Plan::Append(Append { inputs: self.some(Generator::plan) }),
            13 => Plan::SetOperation(SetOperation {
                left: self.input(),
                right: self.input(),
                kind: self.pick(&[SetOperationKind::Intersect, SetOperationKind::Except]),
                all: self.flag(),
            }),
            14 => Plan::Recursive(Recursive {
                id: self.ordinal(),
                first: self.input(),
                step: Arc::new(self.plan()),
                all: self.flag(),
            }),
            15 => Plan::Window(Window {
                input: self.input(),
                partition_by: self.some(Generator::expression),
                order_by: self.some(Generator::sort_key),
                calls: self.some(Generator::window_call),
            }),
            16 => Plan::ProjectSet(ProjectSet {
                input: self.input(),
                calls: self.some(Generator::set_call),
                ordinality: self.flag(),
                outer: self.flag(),
            }),
            17 => Plan::Materialize(Materialize { input: self.input() }),
            18 => Plan::LockRows(LockRows {
                input: self.input(),
                locks: self.some(Generator::row_lock),
                ordered: self.flag(),
                limit: self.maybe(Generator::expression),
                offset: self.maybe(Generator::expression),
            }),
            _ => Plan::Modify(Modify {
                table: self.table(),
                input: self.input(),
                change: self.change(),
                returning: self.maybe(|g| g.some(Generator::expression)),
            }),
        }
    }

    fn scan(&mut self) -> Scan {
        let bound = |g: &mut Generator| Bound { value: g.expression(), inclusive: g.flag() };
        let bounds = KeyBounds {
            equal: self.some(|g| g.some(Generator::expression)),
            lower: self.maybe(bound),
            upper: self.maybe(bound),
        };
        Scan {
            table: self.table(),
            access: match self.flag() {
                true => Access::PrimaryKey(bounds),
                false => Access::Index { index: self.ordinal(), bounds },
            },
            columns: self.some(Generator::ordinal),
            filter: self.maybe(Generator::expression),
            reverse: self.flag(),
            lock: self.flag(),
            limit: self.maybe(Generator::number),
        }
    }

    fn sort_key(&mut self) -> SortKey {
        SortKey { expression: self.expression(), descending: self.flag(), nulls_first: self.flag() }
    }

    fn aggregate(&mut self) -> AggregateCall {
        AggregateCall {
            function: self.pick(&AGGREGATES),
            arguments: self.some(Generator::expression),
            distinct: self.flag(),
            filter: self.maybe(Generator::expression),
            data_type: self.data_type(),
        }
    }

    fn window_call(&mut self) -> WindowCall {
        WindowCall {
            function: match self.below(4) {
                0 => WindowFunction::RowNumber,
                1 => WindowFunction::Rank,
                2 => WindowFunction::DenseRank,
                _ => WindowFunction::Aggregate(self.pick(&AGGREGATES)),
            },
            arguments: self.some(Generator::expression),
            data_type: self.data_type(),
        }
    }

    fn set_call(&mut self) -> SetCall {
        let functions = [
            SetFunction::Unnest,
            SetFunction::Series,
            SetFunction::Subscripts,
            SetFunction::Scalar,
            SetFunction::Sleep,
        ];
        SetCall {
            function: self.pick(&functions),
            arguments: self.some(Generator::expression),
            data_type: self.data_type(),
        }
    }

    fn change(&mut self) -> Change {
        match self.below(4) {
            0 => Change::Insert {
                on_conflict: match self.below(3) {
                    0 => OnConflict::Fail,
                    1 => OnConflict::DoNothing(self.maybe(Generator::arbiter)),
                    _ => OnConflict::DoUpdate(self.arbiter(), self.conflict_update()),
                },
            },
            1 => {
                Change::UpdateConflicting { index: self.ordinal(), update: self.conflict_update() }
            }
            2 => Change::Update { assignments: self.some(|g| (g.ordinal(), g.expression())) },
            _ => Change::Delete,
        }
    }

    fn arbiter(&mut self) -> Arbiter {
        if self.flag() { Arbiter::PrimaryKey } else { Arbiter::Index(self.ordinal()) }
    }

    fn conflict_update(&mut self) -> ConflictUpdate {
        ConflictUpdate {
            assignments: self.some(|g| (g.ordinal(), g.expression())),
            condition: self.maybe(Generator::expression),
        }
    }
}
