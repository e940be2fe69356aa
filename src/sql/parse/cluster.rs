//! The grammar of what an operator wants of the cluster.
//!
//! ```text
//! ALTER SYSTEM DRAIN NODE number       free it of leaders and replicas; it stays
//! ALTER SYSTEM RESUME NODE number      it holds replicas again
//! ALTER SYSTEM REMOVE NODE number      free it, for good
//! ALTER SYSTEM TRANSFER LEADER OF PARTITION number TO NODE number
//! ```

use super::words::{Parsed, accept, expect};
use crate::cluster::decide::Wanted;
use crate::cluster::wants::Wish;
use model::id::{NodeId, PartitionId};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

/// One of them; `None`, and nothing read, where the statement is another.
pub(super) fn statement(parser: &mut Parser<'_>) -> Parsed<Option<Wish>> {
    let verbs = [
        ("drain", Wanted::Draining),
        ("resume", Wanted::Active),
        ("remove", Wanted::Decommissioned),
    ];
    for (verb, wanted) in verbs {
        if accept(parser, &["alter", "system", verb, "node"]) {
            return Ok(Some(Wish::Node(NodeId(number(parser)?), wanted)));
        }
    }
    if !accept(parser, &["alter", "system", "transfer", "leader", "of", "partition"]) {
        return Ok(None);
    }
    let partition = PartitionId(number(parser)?);
    expect(parser, &["to", "node"])?;
    Ok(Some(Wish::Leader(partition, NodeId(number(parser)?))))
}

fn number(parser: &mut Parser<'_>) -> Parsed<u32> {
    let next = parser.next_token();
    let number = match &next.token {
        Token::Number(digits, false) => digits.parse().ok(),
        _ => None,
    };
    match number {
        Some(number) => Ok(number),
        None => parser.expected("a number", next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::{Syntax, parse};

    fn wish(text: &str) -> Option<Wish> {
        let mut parsed = parse(text).ok()?;
        match parsed.pop()?.syntax {
            Syntax::Wish(wish) => Some(wish),
            _ => None,
        }
    }

    #[test]
    fn what_is_wanted_is_read() {
        let node = |wanted| Some(Wish::Node(NodeId(3), wanted));
        assert_eq!(wish("ALTER SYSTEM DRAIN NODE 3"), node(Wanted::Draining));
        assert_eq!(wish("alter system remove node 3;"), node(Wanted::Decommissioned));
        assert_eq!(wish("alter system resume node 3"), node(Wanted::Active));
        let leader = wish("ALTER SYSTEM TRANSFER LEADER OF PARTITION 0 TO NODE 2");
        assert_eq!(leader, Some(Wish::Leader(PartitionId(0), NodeId(2))));
        for wrong in [
            "ALTER SYSTEM DRAIN NODE",
            "ALTER SYSTEM DRAIN NODE -1",
            "ALTER SYSTEM DRAIN NODE 3 4",
            "ALTER SYSTEM TRANSFER LEADER OF PARTITION 1 TO 2",
        ] {
            assert_eq!(wish(wrong), None, "{wrong}");
        }
    }
}
