//! The same small results in every format, byte for byte.

use super::*;
use model::value::Value;

fn people() -> (Vec<Column>, Vec<Vec<Value>>) {
    let column = |name: &str, data_type| Column { name: name.into(), data_type };
    let columns = vec![
        column("id", DataType::Int4),
        column("name", DataType::Text),
        column("share", DataType::Float8),
        column("born", DataType::Date),
    ];
    let rows = vec![
        vec![
            Value::Int(1),
            Value::text("Ada, \"Countess\""),
            Value::Float(0.5),
            Value::Date(-67_227),
        ],
        vec![Value::Int(-20), Value::text(""), Value::Float(f64::NAN), Value::Null],
        vec![Value::Int(3), Value::text("Bö\t北\\京\n"), Value::Null, Value::Date(0)],
    ];
    (columns, rows)
}

fn print_with(printer: &mut Printer, columns: &[Column], rows: &[Vec<Value>]) -> String {
    let mut out = Vec::new();
    printer.begin(columns, &mut out).expect("header");
    for row in rows {
        let row: Vec<ValueRef<'_>> = row.iter().map(Value::as_ref).collect();
        printer.row(&row, &mut out).expect("row");
    }
    printer.end(&mut out).expect("end");
    String::from_utf8(out).expect("UTF-8")
}

fn print(format: Format) -> String {
    let (columns, rows) = people();
    print_with(&mut Printer::new(format), &columns, &rows)
}

#[test]
fn table() {
    let expected = [
        " id  |      name       | share |    born",
        "-----+-----------------+-------+------------",
        "   1 | Ada, \"Countess\" |   0.5 | 1815-12-10",
        " -20 |                 |   NaN |",
        "   3 | Bö\\t北\\京\\n     |       | 2000-01-01",
        "(3 rows)",
        "",
    ];
    assert_eq!(print(Format::Table), expected.join("\n"));
}

#[test]
fn expanded_table() {
    let (columns, rows) = people();
    let mut printer = Printer::new(Format::Table);
    assert_eq!(printer.toggle_expanded(), Expanded::On);
    let expected = [
        "-[ RECORD 1 ]-",
        "id    | 1",
        "name  | Ada, \"Countess\"",
        "share | 0.5",
        "born  | 1815-12-10",
        "(1 row)",
        "",
    ];
    assert_eq!(print_with(&mut printer, &columns, &rows[..1]), expected.join("\n"));
}

#[test]
fn csv() {
    assert_eq!(
        print(Format::Csv),
        "id,name,share,born\n1,\"Ada, \"\"Countess\"\"\",0.5,1815-12-10\n-20,\"\",NaN,\n3,\"Bö\t北\\京\n\",,2000-01-01\n"
    );
}

#[test]
fn tsv() {
    assert_eq!(
        print(Format::Tsv),
        "id\tname\tshare\tborn\n1\tAda, \"Countess\"\t0.5\t1815-12-10\n-20\t\tNaN\t\\N\n3\tBö\\t北\\\\京\\n\t\\N\t2000-01-01\n"
    );
}

#[test]
fn json() {
    let first =
        "{\"id\":1,\"name\":\"Ada, \\\"Countess\\\"\",\"share\":0.5,\"born\":\"1815-12-10\"}";
    let second = "{\"id\":-20,\"name\":\"\",\"share\":\"NaN\",\"born\":null}";
    let third = "{\"id\":3,\"name\":\"Bö\\t北\\\\京\\n\",\"share\":null,\"born\":\"2000-01-01\"}";
    assert_eq!(print(Format::Json), format!("[\n{first},\n{second},\n{third}\n]\n"));
    assert_eq!(print(Format::Ndjson), format!("{first}\n{second}\n{third}\n"));
    let parsed: Vec<serde_json::Value> = serde_json::from_str(&print(Format::Json)).expect("JSON");
    assert_eq!(parsed[2]["name"], "Bö\t北\\京\n");
}

#[test]
fn empty_results_still_have_a_header() {
    let (columns, _) = people();
    let empty = |format| print_with(&mut Printer::new(format), &columns, &[]);
    assert_eq!(
        empty(Format::Table),
        " id | name | share | born\n----+------+-------+------\n(0 rows)\n"
    );
    assert_eq!(empty(Format::Csv), "id,name,share,born\n");
    assert_eq!(empty(Format::Json), "[]\n");
    assert_eq!(empty(Format::Ndjson), "");
}

#[test]
fn repeated_names_stay_apart_in_json() {
    let column = |name: &str| Column { name: name.into(), data_type: DataType::Int8 };
    let columns = [column("count"), column("count"), column("count_2"), column("count")];
    let row = [1, 2, 3, 4].map(Value::Int).to_vec();
    assert_eq!(
        print_with(&mut Printer::new(Format::Ndjson), &columns, &[row]),
        "{\"count\":1,\"count_3\":2,\"count_2\":3,\"count_4\":4}\n"
    );
}

/// More rows than the window: they are printed as they come, in the widths of the window.
#[test]
fn long_tables_are_streamed() {
    let columns = [Column { name: "n".into(), data_type: DataType::Int8 }];
    let mut printer = Printer::new(Format::Table);
    let mut out = Vec::new();
    printer.begin(&columns, &mut out).expect("header");
    for n in 0..table::WINDOW_ROWS as i64 - 1 {
        printer.row(&[ValueRef::Int(n)], &mut out).expect("row");
    }
    assert!(out.is_empty());
    printer.row(&[ValueRef::Int(7)], &mut out).expect("row");
    assert!(!out.is_empty());
    let before = out.len();
    printer.row(&[ValueRef::Int(1_000_000)], &mut out).expect("row");
    assert_eq!(&out[before..], b" 1000000\n");
    printer.end(&mut out).expect("end");
    assert!(out.ends_with(b"(1001 rows)\n"));
}
