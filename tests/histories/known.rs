//! The checker can say no: histories with an anomaly that is known, under the model that forbids it
//! and under the one that does not.

use crate::histories::judge;
use adya::Valid;
use adya::r#gen::Kind;

/// A history, and what is to be said of it.
struct Known {
    what: &'static str,
    kind: Kind,
    lines: &'static [&'static str],
    forbidden_by: &'static str,
    allowed_by: Option<&'static str>,
}

const KNOWN: [Known; 7] = [
    Known {
        what: "an aborted write is read (G1a)",
        kind: Kind::ListAppend,
        lines: &[
            r#"{"type":"invoke","process":0,"value":[["append",1,1]]}"#,
            r#"{"type":"fail","process":0,"value":[["append",1,1]]}"#,
            r#"{"type":"invoke","process":1,"value":[["append",1,2],["r",1,null]]}"#,
            r#"{"type":"ok","process":1,"value":[["append",1,2],["r",1,[1,2]]]}"#,
        ],
        forbidden_by: "read-committed",
        allowed_by: None,
    },
    Known {
        what: "writes that another overwrote inside its transaction are read (G1b)",
        kind: Kind::ListAppend,
        lines: &[
            r#"{"type":"invoke","process":0,"value":[["append",1,1],["append",1,2]]}"#,
            r#"{"type":"invoke","process":1,"value":[["r",1,null]]}"#,
            r#"{"type":"ok","process":1,"value":[["r",1,[1]]]}"#,
            r#"{"type":"ok","process":0,"value":[["append",1,1],["append",1,2]]}"#,
        ],
        forbidden_by: "read-committed",
        allowed_by: None,
    },
    Known {
        what: "two transactions read each other's writes (G1c)",
        kind: Kind::ListAppend,
        lines: &[
            r#"{"type":"invoke","process":0,"value":[["append",1,1],["r",2,null]]}"#,
            r#"{"type":"invoke","process":1,"value":[["append",2,1],["r",1,null]]}"#,
            r#"{"type":"ok","process":0,"value":[["append",1,1],["r",2,[1]]]}"#,
            r#"{"type":"ok","process":1,"value":[["append",2,1],["r",1,[1]]]}"#,
        ],
        forbidden_by: "read-committed",
        allowed_by: None,
    },
    Known {
        what: "half of a transaction is seen (G-single)",
        kind: Kind::ListAppend,
        lines: &[
            r#"{"type":"invoke","process":0,"value":[["append",1,1],["append",2,1]]}"#,
            r#"{"type":"invoke","process":1,"value":[["r",1,null],["r",2,null]]}"#,
            r#"{"type":"ok","process":0,"value":[["append",1,1],["append",2,1]]}"#,
            r#"{"type":"ok","process":1,"value":[["r",1,[]],["r",2,[1]]]}"#,
        ],
        forbidden_by: "snapshot-isolation",
        allowed_by: Some("read-committed"),
    },
    Known {
        what: "write skew (G2-item)",
        kind: Kind::ListAppend,
        lines: &[
            r#"{"type":"invoke","process":0,"value":[["r",1,null],["append",2,1]]}"#,
            r#"{"type":"invoke","process":1,"value":[["r",2,null],["append",1,1]]}"#,
            r#"{"type":"ok","process":0,"value":[["r",1,[]],["append",2,1]]}"#,
            r#"{"type":"ok","process":1,"value":[["r",2,[]],["append",1,1]]}"#,
        ],
        forbidden_by: "strict-serializable",
        allowed_by: Some("snapshot-isolation"),
    },
    Known {
        what: "what was acknowledged is not seen by who came later",
        kind: Kind::ListAppend,
        lines: &[
            r#"{"type":"invoke","process":0,"value":[["append",1,1]]}"#,
            r#"{"type":"ok","process":0,"value":[["append",1,1]]}"#,
            r#"{"type":"invoke","process":1,"value":[["r",1,null]]}"#,
            r#"{"type":"ok","process":1,"value":[["r",1,[]]]}"#,
            r#"{"type":"invoke","process":2,"value":[["r",1,null]]}"#,
            r#"{"type":"ok","process":2,"value":[["r",1,[1]]]}"#,
        ],
        forbidden_by: "strict-serializable",
        allowed_by: Some("serializable"),
    },
    Known {
        what: "an aborted write of a register is read (G1a)",
        kind: Kind::RwRegister,
        lines: &[
            r#"{"type":"invoke","process":0,"value":[["w",1,1]]}"#,
            r#"{"type":"fail","process":0,"value":[["w",1,1]]}"#,
            r#"{"type":"invoke","process":1,"value":[["r",1,null]]}"#,
            r#"{"type":"ok","process":1,"value":[["r",1,1]]}"#,
        ],
        forbidden_by: "read-committed",
        allowed_by: None,
    },
];

#[test]
fn the_checker_finds_what_is_known_to_be_wrong() {
    for Known { what, kind, lines, forbidden_by, allowed_by } in KNOWN {
        let history = lines.join("\n");
        let found = judge(&history, kind, forbidden_by);
        assert_eq!(found.valid, Valid::False, "{what}: {:?}", found.anomaly_types);
        if let Some(model) = allowed_by {
            let found = judge(&history, kind, model);
            assert_eq!(found.valid, Valid::True, "{what} under {model}: {:?}", found.anomaly_types);
        }
    }
}
