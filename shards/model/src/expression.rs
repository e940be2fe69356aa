//! Bound expressions: names resolved, types decided, casts explicit.

use crate::archive::{Grown, Text};
use crate::lookup::LookupTable;
use crate::types::DataType;
use crate::value::Value;
use rkyv::de::Pooling;
use rkyv::rancor::Source;
use rkyv::ser::{Allocator, Sharing, Writer};
use rkyv::validation::{ArchiveContext, SharedContext};
use rkyv::{Archive, Deserialize, Serialize};
use std::sync::Arc;

/// An expression over the columns of a batch.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub enum Expression {
    /// Column `index` of the input.
    Column(ColumnReference),
    /// A constant.
    Literal(Value, DataType),
    /// Statement parameter `$index + 1`.
    Parameter {
        /// From 0.
        index: usize,
        /// As inferred or declared.
        data_type: DataType,
    },
    /// Column `index` of the row an enclosing `Apply` is at; `depth` 0 is the nearest one.
    Outer {
        /// How many `Apply` nodes lie between.
        depth: usize,
        /// Column of that node's outer input.
        index: usize,
        /// Its type.
        data_type: DataType,
    },
    /// `-x`, `NOT x`
    Unary {
        /// The operator.
        operator: UnaryOperator,
        /// The operand.
        #[rkyv(omit_bounds, with = Grown)]
        operand: Box<Expression>,
    },
    /// Both operands have been cast to the type the operator works on.
    Binary {
        /// The operator.
        operator: BinaryOperator,
        /// Left operand.
        #[rkyv(omit_bounds, with = Grown)]
        left: Box<Expression>,
        /// Right operand.
        #[rkyv(omit_bounds, with = Grown)]
        right: Box<Expression>,
        /// Type of the result.
        data_type: DataType,
    },
    /// `x IS [NOT] NULL`
    IsNull {
        /// The operand.
        #[rkyv(omit_bounds, with = Grown)]
        operand: Box<Expression>,
        /// `IS NOT NULL`
        negated: bool,
    },
    /// `x::type`, also every implicit conversion; checks range and length.
    Cast {
        /// The operand.
        #[rkyv(omit_bounds, with = Grown)]
        operand: Box<Expression>,
        /// The target.
        data_type: DataType,
        /// Explicit casts truncate `varchar(n)`, assignments refuse.
        explicit: bool,
    },
    /// Searched `CASE`; the simple form is bound to comparisons.
    Case {
        /// Condition and result, in order.
        #[rkyv(omit_bounds, with = Grown)]
        branches: Vec<(Expression, Expression)>,
        /// `ELSE`; absent is `NULL`.
        #[rkyv(omit_bounds, with = Grown)]
        otherwise: Option<Box<Expression>>,
        /// Type of the result.
        data_type: DataType,
    },
    /// `x [NOT] IN (list)` over expressions of one type.
    InList {
        /// The operand.
        #[rkyv(omit_bounds, with = Grown)]
        operand: Box<Expression>,
        /// The candidates.
        #[rkyv(omit_bounds, with = Grown)]
        list: Vec<Expression>,
        /// `NOT IN`
        negated: bool,
    },
    /// `x [NOT] [I]LIKE pattern [ESCAPE e]`
    Like {
        /// The string.
        #[rkyv(omit_bounds, with = Grown)]
        operand: Box<Expression>,
        /// The pattern.
        #[rkyv(omit_bounds, with = Grown)]
        pattern: Box<Expression>,
        /// Escape character; `None` turns escaping off.
        escape: Option<char>,
        /// `NOT LIKE`
        negated: bool,
        /// `ILIKE`
        case_insensitive: bool,
    },
    /// A scalar function, resolved by the registry of the execution engine.
    Function {
        /// Which one.
        function: FunctionReference,
        /// Its arguments, cast to the signature's types.
        #[rkyv(omit_bounds, with = Grown)]
        arguments: Vec<Expression>,
        /// Type of the result.
        data_type: DataType,
    },
    /// What a table that was made when the statement was bound holds for the arguments: names for
    /// oids, and what else depends on the catalog.
    Lookup {
        /// The answers.
        table: Arc<LookupTable>,
        /// One a column of the table's keys, each of that column's kind of value.
        #[rkyv(omit_bounds, with = Grown)]
        arguments: Vec<Expression>,
        /// Type of the answers.
        data_type: DataType,
    },
}

/// A column of an expression's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub struct ColumnReference {
    /// Position in the input batch.
    pub index: usize,
    /// Its type.
    pub data_type: DataType,
}

/// A scalar function: the registry's stable name of one overload, e.g. `substring(text,integer)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub struct FunctionReference(#[rkyv(with = Text)] pub Arc<str>);

/// An operator of one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum UnaryOperator {
    /// `-`
    Negate,
    /// `NOT`
    Not,
    /// `~` on integers
    BitNot,
}

/// An operator of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
pub enum BinaryOperator {
    /// `AND`, three-valued
    And,
    /// `OR`, three-valued
    Or,
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IS DISTINCT FROM`
    IsDistinctFrom,
    /// `IS NOT DISTINCT FROM`
    IsNotDistinctFrom,
    /// `+`; also date and interval arithmetic, by the operands' types
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `^`
    Power,
    /// `||`
    Concatenate,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `#`
    BitXor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

impl BinaryOperator {
    /// Whether the result is a truth value made by comparing the operands.
    pub fn is_comparison(self) -> bool {
        use BinaryOperator::{
            Equal, Greater, GreaterOrEqual, IsDistinctFrom, IsNotDistinctFrom, Less, LessOrEqual,
            NotEqual,
        };
        matches!(
            self,
            Equal
                | NotEqual
                | Less
                | LessOrEqual
                | Greater
                | GreaterOrEqual
                | IsDistinctFrom
                | IsNotDistinctFrom
        )
    }
}

/// Calls `$visit` on the direct operands of an expression, to read or to change them.
macro_rules! each_child {
    ($expression:expr, $visit:ident) => {
        match $expression {
            Expression::Column(_)
            | Expression::Literal(..)
            | Expression::Parameter { .. }
            | Expression::Outer { .. } => {}
            Expression::Unary { operand, .. }
            | Expression::IsNull { operand, .. }
            | Expression::Cast { operand, .. } => $visit(operand),
            Expression::Binary { left, right, .. } => {
                $visit(left);
                $visit(right);
            }
            Expression::Case { branches, otherwise, .. } => {
                for (condition, result) in branches {
                    $visit(condition);
                    $visit(result);
                }
                if let Some(otherwise) = otherwise {
                    $visit(otherwise);
                }
            }
            Expression::InList { operand, list, .. } => {
                $visit(operand);
                for item in list {
                    $visit(item);
                }
            }
            Expression::Like { operand, pattern, .. } => {
                $visit(operand);
                $visit(pattern);
            }
            Expression::Function { arguments, .. } | Expression::Lookup { arguments, .. } => {
                for argument in arguments {
                    $visit(argument);
                }
            }
        }
    };
}

impl Expression {
    /// A constant.
    pub fn literal(value: impl Into<Value>, data_type: DataType) -> Expression {
        Expression::Literal(value.into(), data_type)
    }

    /// Column `index` of the input.
    pub fn column(index: usize, data_type: DataType) -> Expression {
        Expression::Column(ColumnReference { index, data_type })
    }

    /// The type of the result.
    pub fn data_type(&self) -> DataType {
        match self {
            Expression::Column(column) => column.data_type,
            Expression::Literal(_, data_type)
            | Expression::Parameter { data_type, .. }
            | Expression::Outer { data_type, .. }
            | Expression::Binary { data_type, .. }
            | Expression::Cast { data_type, .. }
            | Expression::Case { data_type, .. }
            | Expression::Function { data_type, .. }
            | Expression::Lookup { data_type, .. } => *data_type,
            Expression::Unary { operator: UnaryOperator::Not, .. }
            | Expression::IsNull { .. }
            | Expression::InList { .. }
            | Expression::Like { .. } => DataType::Bool,
            Expression::Unary { operand, .. } => operand.data_type(),
        }
    }

    /// Calls `visit` on the direct operands, in order.
    pub fn for_each_child<'a>(&'a self, mut visit: impl FnMut(&'a Expression)) {
        each_child!(self, visit);
    }

    /// Calls `change` on the direct operands, in order.
    pub fn for_each_child_mut(&mut self, mut change: impl FnMut(&mut Expression)) {
        each_child!(self, change);
    }

    /// Whether `test` holds for this expression or any below it.
    pub fn any(&self, test: &impl Fn(&Expression) -> bool) -> bool {
        if test(self) {
            return true;
        }
        let mut found = false;
        self.for_each_child(|child| found = found || child.any(test));
        found
    }

    /// Rewrites bottom-up: `change` sees every node after its operands.
    pub fn rewrite(&mut self, change: &mut impl FnMut(&mut Expression)) {
        self.for_each_child_mut(|child| child.rewrite(change));
        change(self);
    }
}
