//! Which column of the table each field goes to, and how its text becomes a value.

use config::nearest;
use phantomdb_client::blocking::Client;
use phantomdb_client::{DataType, Value};

use super::infer::column_names;
use crate::cli::exit::Failure;
use crate::cli::sql::client::failure;

/// The columns that the fields go to, in the order of the fields.
#[derive(Clone, Debug)]
pub(super) struct TableColumns {
    /// The table, quoted.
    table: String,
    columns: Vec<(String, DataType)>,
}

/// Parameters that one statement can carry: their count travels in 16 bits.
const PARAMETERS_MAX: usize = 65_535;

impl TableColumns {
    /// Asks the server for the table's columns and matches the header with them; an empty header
    /// takes them as they come.
    ///
    /// # Errors
    /// No such table, or a title that is no column.
    pub fn look_up(client: &mut Client, table: &str, header: &[String]) -> Result<Self, Failure> {
        let selected =
            client.prepare(&format!("SELECT * FROM {table}")).map_err(|error| failure(&error))?;
        let there: Vec<(String, DataType)> = selected
            .columns()
            .iter()
            .map(|column| (column.name.clone(), column.data_type))
            .collect();
        let columns = if header.is_empty() {
            there
        } else {
            matched(header, &there).map_err(Failure::failed)?
        };
        Ok(Self { table: table.to_owned(), columns })
    }

    /// How many fields a row has.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// How many rows one statement can carry.
    pub fn rows_per_statement_max(&self) -> usize {
        PARAMETERS_MAX / self.columns.len().max(1)
    }

    /// The values of a row.
    ///
    /// # Errors
    /// What is wrong with a field.
    pub fn values(&self, fields: &[Option<String>]) -> Result<Vec<Value>, String> {
        if fields.len() != self.columns.len() {
            return Err(format!(
                "{} fields where the table has {} columns",
                fields.len(),
                self.columns.len()
            ));
        }
        fields
            .iter()
            .zip(&self.columns)
            .map(|(field, (name, data_type))| match field {
                None => Ok(Value::Null),
                Some(text) => value(text, *data_type)
                    .map_err(|wanted| format!("column {name}: {text:?} is no {wanted}")),
            })
            .collect()
    }

    /// The statement that inserts `rows` rows.
    pub fn insert_text(&self, rows: usize) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| quote(name)).collect();
        let mut text = format!("INSERT INTO {} ({}) VALUES ", self.table, names.join(", "));
        let mut parameter = 0;
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for (position, (_, data_type)) in self.columns.iter().enumerate() {
                parameter += 1;
                let separator = if position == 0 { "" } else { ", " };
                // What travels as text is cast where it is stored.
                match parameter_type(*data_type) {
                    DataType::Text if !data_type.is_text() => {
                        text.push_str(&format!("{separator}CAST(${parameter} AS {data_type})"))
                    }
                    _ => text.push_str(&format!("{separator}${parameter}")),
                }
            }
            text.push(')');
        }
        text
    }

    /// The types of the parameters of that statement.
    pub fn parameter_types(&self, rows: usize) -> Vec<DataType> {
        let row: Vec<DataType> =
            self.columns.iter().map(|(_, data_type)| parameter_type(*data_type)).collect();
        row.repeat(rows)
    }
}

/// The column each title names: as it is, or as `--create` would have named it.
fn matched(
    header: &[String],
    there: &[(String, DataType)],
) -> Result<Vec<(String, DataType)>, String> {
    let made = column_names(header);
    header
        .iter()
        .zip(&made)
        .map(|(title, made)| {
            let found = there
                .iter()
                .find(|(name, _)| name == title)
                .or_else(|| there.iter().find(|(name, _)| name == made));
            found.cloned().ok_or_else(|| {
                let names = there.iter().map(|(name, _)| name.as_str());
                let hint = nearest(made, names)
                    .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
                format!("the table has no column {title:?}{hint}")
            })
        })
        .collect()
}

/// The type in which values of a column travel.
fn parameter_type(data_type: DataType) -> DataType {
    match data_type {
        DataType::Bool => DataType::Bool,
        DataType::Int2 | DataType::Int4 | DataType::Int8 => DataType::Int8,
        DataType::Float4 | DataType::Float8 => DataType::Float8,
        _ => DataType::Text,
    }
}

/// The value of a text, in the type in which it travels; otherwise what it should have been.
fn value(text: &str, data_type: DataType) -> Result<Value, &'static str> {
    let trimmed = text.trim();
    match parameter_type(data_type) {
        DataType::Bool => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Ok(Value::Bool(true)),
            "f" | "false" | "n" | "no" | "off" | "0" => Ok(Value::Bool(false)),
            _ => Err("boolean"),
        },
        DataType::Int8 => trimmed.parse().map(Value::Int).map_err(|_| "integer"),
        DataType::Float8 => trimmed.parse().map(Value::Float).map_err(|_| "number"),
        _ => Ok(Value::text(text)),
    }
}

/// A quoted identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TableColumns {
        let columns =
            [("id", DataType::Int4), ("born", DataType::Date), ("na\"me", DataType::Varchar(9))];
        TableColumns {
            table: "\"t\"".into(),
            columns: columns.map(|(name, data_type)| (name.to_owned(), data_type)).to_vec(),
        }
    }

    #[test]
    fn the_statement_casts_what_travels_as_text() {
        assert_eq!(
            table().insert_text(2),
            "INSERT INTO \"t\" (\"id\", \"born\", \"na\"\"me\") VALUES ($1, CAST($2 AS date), $3), ($4, CAST($5 AS date), $6)"
        );
        assert_eq!(table().parameter_types(1), [DataType::Int8, DataType::Text, DataType::Text]);
        assert_eq!(table().rows_per_statement_max(), 21_845);
    }

    #[test]
    fn fields_become_values() {
        let row = |id: &str| vec![Some(id.to_owned()), None, Some(" x".to_owned())];
        let values = table().values(&row(" 7")).expect("values");
        assert!(
            matches!(values.as_slice(), [Value::Int(7), Value::Null, Value::Text(text)] if &**text == " x")
        );
        assert_eq!(
            table().values(&row("x")).map(|_| ()),
            Err("column id: \"x\" is no integer".into())
        );
        assert!(table().values(&row("1")[..2]).is_err());
    }

    #[test]
    fn titles_find_their_columns() {
        let there =
            [("customer_id".to_owned(), DataType::Int8), ("Odd".to_owned(), DataType::Text)];
        let found =
            matched(&["Odd".to_owned(), "Customer ID".to_owned()], &there).expect("columns");
        assert_eq!(
            found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["Odd", "customer_id"]
        );
        let missing = matched(&["customerid".to_owned()], &there);
        assert_eq!(
            missing,
            Err("the table has no column \"customerid\"; did you mean \"customer_id\"?".into())
        );
    }
}
