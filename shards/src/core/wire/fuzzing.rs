//! What the fuzz target runs (`tests/fuzz`), and the tests of damaged messages.

use super::{decode, encode};

/// Any bytes, as a message of another node. Whatever decodes prints, can be sent on, and comes back
/// as the same bytes. Returns whether it decoded.
///
/// # Panics
/// Where that is not so.
pub fn message(data: &[u8]) -> bool {
    let Ok(message) = decode(data) else { return false };
    assert!(!format!("{message:?}").is_empty());
    let mut first = Vec::new();
    encode(&message, &mut first).expect("no longer than it was");
    let again = decode(&first).expect("what was written is read");
    let mut second = Vec::new();
    encode(&again, &mut second).expect("no longer than it was");
    assert_eq!(first, second);
    true
}
