//! `import`, `bench`, `cluster` and `demo`.

use crate::{PROGRAM, Place, Ran};

#[test]
fn a_csv_file_makes_a_table() {
    let place = Place::new();
    let file = place
        .file("people.csv", "Id,Full Name,Born,Share\n1,Ada,1815-12-10,0.5\n2,\"Bob, Jr.\",,1\n");
    let ran = place.run(&["import", "--table", "people", "--create", "--primary-key", "id", &file]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("2 rows imported into people, 0 rejected"), "{}", ran.out);
    let select = "SELECT id, full_name, born, share FROM people ORDER BY id";
    assert_eq!(
        place.run(&["sql", "--format", "csv", "-c", select]).done(),
        "id,full_name,born,share\n1,Ada,1815-12-10,0.5\n2,\"Bob, Jr.\",,1\n"
    );
}

#[test]
fn rows_that_do_not_fit_are_kept_with_their_reasons() {
    let place = Place::new();
    place
        .sql("CREATE TABLE t (id INT PRIMARY KEY, day DATE CHECK (day > DATE '2000-01-01'))")
        .done();
    let mut text = String::from("id,day\n");
    for id in 0..2_000 {
        text.push_str(&format!("{id},2024-01-01\n"));
    }
    // Lines 2002 and on: twice the same key, no number, no date, against the check, too short.
    text.push_str(
        "7,2024-01-01\nx,2024-01-01\n3001,soon\n3002,1999-01-01\n3003\n3004,2024-02-29\n",
    );
    let file = place.file("t.csv", &text);
    let ran = place.run(&["import", "--table", "t", &file]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("2001 rows imported into t, 5 rejected"), "{}", ran.out);
    let rejects = std::fs::read_to_string(place.path().join("t.rejects.csv")).expect("rejects");
    let mut lines: Vec<&str> = rejects.lines().collect();
    assert_eq!(lines.remove(0), "line,reason,id,day");
    lines.sort_unstable();
    let expected = [
        ("2002,", "23505"),
        ("2003,", "\"\"x\"\" is no integer"),
        ("2004,", "22007"),
        ("2005,", "23514"),
        ("2006,", "1 fields where the header has 2"),
    ];
    for (line, (number, reason)) in lines.iter().zip(expected) {
        assert!(line.starts_with(number) && line.contains(reason), "{line}");
    }
    assert_eq!(
        place.run(&["sql", "--format", "csv", "-c", "SELECT count(*) FROM t"]).done(),
        "count\n2001\n"
    );
}

#[test]
fn what_is_wrong_with_the_table_ends_the_import() {
    let place = Place::new();
    let file = place.file("t.csv", "id\n1\n");
    let ran = place.run(&["import", "--table", "missing", &file]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("42P01"), "{}", ran.err);
    place.sql("CREATE TABLE t (number INT PRIMARY KEY)").done();
    let ran = place.run(&["import", "--table", "t", &file]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("the table has no column \"id\""), "{}", ran.err);
    let ran = place.run(&["import", "--table", "t", "/nowhere.csv"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}

#[test]
fn the_load_generator_measures_every_workload() {
    let place = Place::new();
    for workload in ["point-read", "range-read", "insert", "update", "mixed"] {
        let json = place.path().join("report.json");
        let json = json.to_str().expect("a name");
        let ran = place.run(&[
            "bench",
            workload,
            "--clients",
            "4",
            "--pipeline",
            "4",
            "--duration",
            "500ms",
            "--warmup",
            "100ms",
            "--rows",
            "1000",
            "--json",
            json,
        ]);
        assert_eq!(ran.code, Some(0), "{workload}: {}{}", ran.out, ran.err);
        let text = std::fs::read_to_string(json).expect("a report");
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (report["workload"].as_str(), report["errors"].as_u64()),
            (Some(workload), Some(0))
        );
        assert!(report["statements"].as_u64() > Some(0), "{text}");
    }
    let ran = place.run(&[
        "bench",
        "point-read",
        "--rate",
        "200",
        "--duration",
        "500ms",
        "--warmup",
        "0",
        "--rows",
        "1000",
        "--json",
        "-",
    ]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let statements = report["statements"].as_u64().unwrap_or_default();
    assert!((60..=110).contains(&statements), "200 a second for half a second, not {statements}");
}

#[test]
fn a_table_of_the_generators_name_is_left_alone() {
    let place = Place::new();
    place.sql("CREATE TABLE phantom_bench (mine INT PRIMARY KEY)").done();
    let ran = place.run(&["bench", "insert", "--rows", "10", "--duration", "100ms"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("not the generator's"), "{}", ran.err);
}

#[test]
fn the_cluster_is_one_node() {
    let place = Place::new();
    let address = place.server.address();
    let status = place.run(&["cluster", "status", "--format", "csv"]).done();
    let lines: Vec<&str> = status.lines().collect();
    assert_eq!(lines[0], "id,address,state,cores,partitions,leaders");
    assert!(lines[1].starts_with(&format!("1,{address},alive,2,")), "{status}");
    assert_eq!(lines.len(), 2);

    let nodes = place.run(&["cluster", "nodes", "--format", "csv"]).done();
    let (head, row) = nodes.split_once('\n').expect("a line a node");
    let names = "id,state,version,cores,partitions,leaders,address,pg_address,core_addresses";
    assert_eq!(head, names);
    let version = env!("CARGO_PKG_VERSION");
    assert!(row.starts_with(&format!("1,alive,{version},2,")), "{row}");
    let doors = row.trim_end().rsplit_once(",\"{").expect("an array").1;
    assert_eq!(doors.trim_end_matches("}\"").split(',').count(), 2, "a door a core: {row}");

    let partitions = place.run(&["cluster", "partitions", "--format", "csv"]).done();
    let lines: Vec<&str> = partitions.lines().collect();
    assert_eq!(lines[0], "id,holds,leader_node,leader_core,voters,learners");
    assert_eq!(lines[1..3], ["0,system,1,0,{1},{}", "1,rows,1,1,{1},{}"]);
    let count = lines.len() - 1;
    assert!(status.trim_end().ends_with(&format!(",{count},{count}")), "{status}");

    let table = place.run(&["cluster", "status"]).done();
    assert!(table.contains("| state |") && table.contains("| alive |"), "{table}");
    let json = place.run(&["cluster", "partitions", "--format", "json"]).done();
    assert!(json.contains("\"holds\":\"system\""), "{json}");
}

#[test]
fn the_demo_runs_without_a_terminal_and_leaves_nothing() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let name = directory.path().to_str().expect("a name");
    let output = std::process::Command::new(PROGRAM)
        .args(["demo", "--duration", "1s", "--cores", "2", "--directory", name])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program runs");
    let ran = Ran::of(output);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    for part in
        ["CREATE TABLE purchase", "revenue", "Latency of all statements", "clients x 1 in flight"]
    {
        assert!(ran.out.contains(part), "{}", ran.out);
    }
    assert!(std::fs::read_dir(directory.path()).expect("listing").next().is_none());
}
