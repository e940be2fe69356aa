//! What the fuzz target runs (`tests/fuzz`), and the tests of damaged messages.

use super::{decode, encode};
use crate::core::CoreMessage;
use model::batch::Batch;
use model::command::Response;
use model::value::Value;

/// Any bytes, as a message of another node. Whatever decodes prints, has rows that can be read, can be
/// sent on, and comes back as the same bytes. Returns whether it decoded.
///
/// # Panics
/// Where that is not so.
pub fn message(data: &[u8]) -> bool {
    let Ok(message) = decode(data) else { return false };
    assert!(!format!("{message:?}").is_empty());
    if let CoreMessage::Response { response, .. } = &message {
        match response {
            Response::Rows(batch) => read_rows(batch),
            Response::Modified(modified) => modified.returning.iter().for_each(read_rows),
            _ => {}
        }
    }
    let mut first = Vec::new();
    encode(&message, &mut first).expect("no longer than it was");
    let again = decode(&first).expect("what was written is read");
    let mut second = Vec::new();
    encode(&again, &mut second).expect("no longer than it was");
    assert_eq!(first, second);
    true
}

/// Reads every value by its row, and every array by its dimensions.
fn read_rows(batch: &Batch) {
    if batch.columns().is_empty() {
        return;
    }
    for row in 0..batch.rows() {
        for value in batch.row(row) {
            let Value::Array(array) = value else { continue };
            let first: Vec<i64> = array.dimensions().iter().map(|d| i64::from(d.lower)).collect();
            assert_eq!(array.get(&first), array.elements().first());
        }
    }
}
