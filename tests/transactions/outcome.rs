//! What is shown of an answer: rows, command tags, SQLSTATE and message of errors.

use test_support::speaker::Message;

/// The lines that show the answer to `text`. The rows of a query that asks for no order are sorted.
pub fn lines(text: &str, answer: &[Message]) -> Vec<String> {
    let rows = answer.iter().filter(|message| message.kind == 'D').map(row);
    let mut lines: Vec<String> = rows.collect();
    if !text.to_ascii_lowercase().contains("order by") {
        lines.sort();
    }
    lines.extend(answer.iter().filter_map(|message| match message.kind {
        'C' => Some(String::from_utf8_lossy(message.body.trim_ascii_end()).replace('\0', "")),
        'E' => Some(error(message)),
        _ => None,
    }));
    if answer.last().is_none_or(|message| message.kind != 'Z') {
        lines.push("the connection ends".to_owned());
    }
    lines
}

fn row(message: &Message) -> String {
    let values = message.row().into_iter();
    let values: Vec<String> = values.map(|v| v.unwrap_or_else(|| "NULL".to_owned())).collect();
    values.join(" | ")
}

fn error(message: &Message) -> String {
    let field = |kind| message.field(kind).unwrap_or_else(|| "?".to_owned());
    format!("{} {}: {}", field('S'), field('C'), masked(&field('M')))
}

/// Names of transactions (`71.1.0`) differ from run to run.
fn masked(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        let name = word.trim_end_matches([',', ';', '.', ')']);
        let parts: Vec<&str> = name.trim_start_matches('(').split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match parts.len() == 3 && parts.iter().all(is_number) {
            true => word.replace(&parts.join("."), "<transaction>"),
            false => word.to_owned(),
        }
    });
    words.collect::<Vec<String>>().join(" ")
}

#[test]
fn names_of_transactions_are_masked() {
    let message = "waits for (71.1.0), 72.1.13; not 1.5 or 10.0.0.1.";
    let shown = "waits for (<transaction>), <transaction>; not 1.5 or 10.0.0.1.";
    assert_eq!(masked(message), shown);
}
