//! Bound expressions as text. Columns that have no name here print as `#1`, the first of the
//! input being 1.

use crate::exec::operators::operator_symbol;
use model::expression::{Expression, UnaryOperator};
use model::text;
use model::types::DataType;
use model::value::Value;

/// The expression with columns by number.
pub fn expression(expression: &Expression) -> String {
    with_names(expression, &[])
}

/// The expression with the names of its input's columns, as far as they are given.
pub fn with_names(expression: &Expression, names: &[&str]) -> String {
    let inner = |e: &Expression| with_names(e, names);
    let list = |e: &[Expression]| e.iter().map(inner).collect::<Vec<_>>().join(", ");
    let not = |negated: bool| if negated { "NOT " } else { "" };
    match expression {
        Expression::Column(column) => names
            .get(column.index)
            .map_or_else(|| format!("#{}", column.index + 1), |name| (*name).to_owned()),
        Expression::Literal(value, data_type) => literal(value, *data_type),
        Expression::Parameter { index, .. } => format!("${}", index + 1),
        Expression::Outer { index, .. } => format!("outer #{}", index + 1),
        Expression::Unary { operator, operand } => {
            let symbol = match operator {
                UnaryOperator::Negate => "- ",
                UnaryOperator::Not => "NOT ",
                UnaryOperator::BitNot => "~ ",
            };
            format!("({symbol}{})", inner(operand))
        }
        Expression::Binary { operator, left, right, .. } => {
            format!("({} {} {})", inner(left), operator_symbol(*operator), inner(right))
        }
        Expression::IsNull { operand, negated } => {
            format!("({} IS {}NULL)", inner(operand), not(*negated))
        }
        Expression::Cast { operand, data_type, .. } => format!("({})::{data_type}", inner(operand)),
        Expression::Case { branches, otherwise, .. } => {
            let mut text = String::from("CASE");
            for (condition, result) in branches {
                text.push_str(&format!(" WHEN {} THEN {}", inner(condition), inner(result)));
            }
            if let Some(otherwise) = otherwise {
                text.push_str(&format!(" ELSE {}", inner(otherwise)));
            }
            text + " END"
        }
        Expression::InList { operand, list: candidates, negated } => {
            format!("({} {}IN ({}))", inner(operand), not(*negated), list(candidates))
        }
        Expression::Like { operand, pattern, negated, case_insensitive, .. } => {
            let operator = if *case_insensitive { "ILIKE" } else { "LIKE" };
            format!("({} {}{operator} {})", inner(operand), not(*negated), inner(pattern))
        }
        Expression::Function { function, arguments, .. }
            if function.0.ends_with(" ANY") || function.0.ends_with(" ALL") =>
        {
            let operands: Vec<String> = arguments.iter().map(inner).collect();
            format!("({})", operands.join(&format!(" {} ", function.0)))
        }
        Expression::Function { function, arguments, .. } => {
            let name = function.0.split('(').next().unwrap_or_default();
            format!("{name}({})", list(arguments))
        }
        Expression::Lookup { table, arguments, .. } => {
            format!("{}({})", table.name, list(arguments))
        }
    }
}

fn literal(value: &Value, data_type: DataType) -> String {
    match text::to_text(&value.as_ref(), data_type) {
        None => "NULL".to_owned(),
        Some(text) => match value {
            Value::Int(_) | Value::Float(_) | Value::Numeric(_) => text,
            Value::Bool(truth) => truth.to_string(),
            _ => format!("'{}'::{data_type}", text.replace('\'', "''")),
        },
    }
}
