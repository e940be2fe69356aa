//! What becomes of data on its way in and out, format by format.

use super::reader::Reader;
use super::writer::Writer;
use crate::catalog::Catalog;
use crate::catalog::change::apply_ddl;
use crate::router::RowSink;
use crate::session::{Client, Standing, Weight};
use crate::sql::{
    CopyIn, CopyOut, NoVirtualTables, OutputColumn, PlannedKind, SessionSettings, parse, plan,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, ready};
use model::batch::Batch;
use model::error::SqlError;
use model::types::DataType;
use model::value::Value;

fn planned(text: &str) -> PlannedKind {
    let settings = SessionSettings::of_system("phantom");
    let mut catalog = Catalog::bootstrap();
    let table = "CREATE TABLE t (a int, b text, c numeric(6, 2), d varchar(3), e bytea)";
    for text in [table, text] {
        let statement = parse(text).unwrap().remove(0);
        let planned = plan(&statement, &catalog, &settings, &NoVirtualTables, &[]).unwrap();
        match planned.kind {
            PlannedKind::Ddl(ddl) => {
                catalog = apply_ddl(&catalog, &ddl, &settings, &NoVirtualTables).unwrap().catalog
            }
            kind => return kind,
        }
    }
    panic!("{text} copies nothing")
}

fn copy_in(text: &str) -> CopyIn {
    let PlannedKind::CopyIn(copy) = planned(text) else { panic!("{text} copies nothing in") };
    copy
}

fn read(text: &str, data: &[u8]) -> Result<Vec<Vec<Value>>, SqlError> {
    let copy = copy_in(text);
    let mut reader = Reader::new(&copy, 0);
    let mut rows = Vec::new();
    reader.feed(data);
    reader.finish();
    while let Some((row, _)) = reader.next()? {
        rows.push(row);
    }
    Ok(rows)
}

/// Keeps what is copied out.
#[derive(Default)]
struct Kept(Vec<u8>);

impl RowSink for Kept {
    fn rows(&mut self, _batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(ready(Err(SqlError::internal("rows outside of COPY"))))
    }
}

impl Client for Kept {
    fn columns(&mut self, _columns: &[OutputColumn], _binary: bool) {}
    fn notice(&mut self, _weight: Weight, _standing: Standing, _notice: SqlError) {}
    fn complete(&mut self, _standing: Standing, _rows: u64, _tag: &str, _last: bool) {}

    fn copy_data(&mut self, data: Bytes) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        self.0.extend_from_slice(&data);
        Box::pin(ready(Ok(())))
    }
}

fn written(text: &str, rows: &[Vec<Value>]) -> Vec<u8> {
    let PlannedKind::CopyOut(copy) = planned(text) else { panic!("{text} copies nothing out") };
    let CopyOut { inner, .. } = &copy;
    let types: Vec<DataType> = inner.columns.iter().map(|column| column.data_type).collect();
    let mut kept = Kept::default();
    let mut writer = Writer::new(&copy, &mut kept);
    writer.begin().now_or_never().unwrap().unwrap();
    writer.rows(Batch::from_rows(&types, rows)).now_or_never().unwrap().unwrap();
    writer.end().now_or_never().unwrap().unwrap();
    kept.0
}

fn samples() -> Vec<Vec<Value>> {
    let full = vec![
        Value::Int(-7),
        Value::text("a\t\"b\"\n\\.,"),
        Value::Numeric("12.50".parse().unwrap()),
        Value::text(""),
        Value::Bytes(vec![0, 255].into()),
    ];
    vec![full, vec![Value::Null; 5]]
}

#[test]
fn each_format_reads_what_it_writes() {
    for options in ["", "(FORMAT csv, HEADER)", "(FORMAT binary)", "CSV QUOTE '!' DELIMITER '|'"] {
        let data = written(&format!("COPY t TO STDOUT {options}"), &samples());
        let rows = read(&format!("COPY t FROM STDIN {options}"), &data).unwrap();
        assert_eq!(rows, samples(), "{options}");
    }
}

#[test]
fn text_and_csv_are_written_as_postgresql_does() {
    let text = written("COPY t TO STDOUT", &samples());
    let expected = "-7\ta\\t\"b\"\\n\\\\.,\t12.50\t\t\\\\x00ff\n\\N\t\\N\t\\N\t\\N\t\\N\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    let csv = written("COPY t TO STDOUT CSV HEADER FORCE QUOTE a", &samples());
    let expected = "a,b,c,d,e\n\"-7\",\"a\t\"\"b\"\"\n\\.,\",12.50,\"\",\\x00ff\n,,,,\n";
    assert_eq!(String::from_utf8(csv).unwrap(), expected);
}

#[test]
fn nulls_follow_the_options() {
    let rows = read("COPY t (a, b) FROM STDIN CSV", b"1,\n2,\"\"\n").unwrap();
    assert_eq!(rows[0][1], Value::Null);
    assert_eq!(rows[1][1], Value::text(""));
    let forced = read("COPY t (a, b) FROM STDIN CSV FORCE NULL b", b"1,\"\"\n").unwrap();
    assert_eq!(forced[0][1], Value::Null);
    let forced = read("COPY t (a, b) FROM STDIN CSV FORCE NOT NULL b", b"1,\n").unwrap();
    assert_eq!(forced[0][1], Value::text(""));
}

#[test]
fn errors_say_where_they_are() {
    let table: [(&str, &[u8], &str, &str); 7] = [
        (
            "COPY t (a) FROM STDIN",
            b"1\nx\n",
            "22P02: invalid input syntax for type integer: \"x\"",
            "COPY t, line 2, column a: \"x\"",
        ),
        (
            "COPY t (a, b) FROM STDIN",
            b"1\n",
            "22P04: missing data for column \"b\"",
            "COPY t, line 1: \"1\"",
        ),
        (
            "COPY t (a) FROM STDIN",
            b"1\t2\n",
            "22P04: extra data after last expected column",
            "COPY t, line 1: \"1\t2\"",
        ),
        (
            "COPY t (b) FROM STDIN",
            b"\xff\n",
            "22021: invalid byte sequence for encoding \"UTF8\": 0xff",
            "COPY t, line 1",
        ),
        (
            "COPY t (d) FROM STDIN",
            b"four\n",
            "22001: value too long for type character varying(3)",
            "COPY t, line 1, column d: \"four\"",
        ),
        (
            "COPY t (a, b) FROM STDIN (FORMAT csv, HEADER match)",
            b"a,x\n",
            "22P04: column name mismatch in header line field 2: got \"x\", expected \"b\"",
            "COPY t, line 1",
        ),
        (
            "COPY t (b) FROM STDIN CSV",
            b"x\n\"y\n",
            "22P04: unterminated CSV quoted field",
            "COPY t, line 2: \"\"y\n\"",
        ),
    ];
    for (text, data, message, context) in table {
        let error = read(text, data).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
        assert_eq!(error.fields().context.as_deref(), Some(context), "{text}");
    }
}
