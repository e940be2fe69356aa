//! What a node says to a node of a cluster before it belongs to it, and what it is told.
//!
//! Texts in JSON, since two versions of the program must understand each other here before they
//! know of each other's version: what one does not know it leaves out. `docs/formats/cluster.md`
//! has them. They travel as calls of the links' gossip service.

use super::book::Book;
use super::registry::About;
use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// To be let in.
    Join {
        /// The id it wants; none for any.
        node: Option<u32>,
        /// What it says of itself.
        about: About,
    },
    /// Where the nodes are, by one that belongs to them.
    Where {
        /// The cluster's id, as its data directory says.
        cluster: u64,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is let in, and is in the registry already.
    Admitted {
        /// Its id.
        node: u32,
        /// Its cluster, with all nodes.
        book: Book,
    },
    /// Where all nodes are.
    Here {
        /// Its cluster, with all nodes.
        book: Book,
    },
    /// It is not let in, and would not be the next time.
    Refused {
        /// Why, as a sentence.
        why: String,
    },
    /// Nobody can say at present: to be asked again.
    NotNow {
        /// Why, as a sentence.
        why: String,
    },
}

/// Bytes that are no message of these.
#[derive(Debug, thiserror::Error)]
#[error("the message makes no sense: {0}")]
pub struct Senseless(#[from] serde_json::Error);

impl Question {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has no maps with keys that are no text")
    }

    /// Reads them.
    ///
    /// # Errors
    /// They are none.
    pub fn decode(bytes: &[u8]) -> Result<Question, Senseless> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl Reply {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has no maps with keys that are no text")
    }

    /// Reads them.
    ///
    /// # Errors
    /// They are none.
    pub fn decode(bytes: &[u8]) -> Result<Reply, Senseless> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            native: "10.0.0.1:7430".to_owned(),
            pg: Some("10.0.0.1:7432".to_owned()),
            cores: vec!["10.0.0.1:7500".to_owned()],
            locality: "region=eu,zone=a".parse().expect("a locality"),
            software: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn the_texts_are_the_documented_ones() {
        let book = Book::new(193, 8, 3);
        let questions = [
            Question::Join { node: None, about: about() },
            Question::Join { node: Some(7), about: About { pg: None, ..about() } },
            Question::Where { cluster: 193 },
        ];
        let replies = [
            Reply::Admitted { node: 2, book: book.clone() },
            Reply::Here { book },
            Reply::Refused { why: "node 7 is in use".to_owned() },
            Reply::NotNow { why: "the node is starting".to_owned() },
        ];
        let mut lines = include_str!("join/golden.jsonl").lines();
        for question in questions {
            let line = lines.next().expect("a line");
            assert_eq!(String::from_utf8(question.encode()).expect("text"), line);
            assert_eq!(Question::decode(line.as_bytes()).expect("a question"), question);
        }
        for reply in replies {
            let line = lines.next().expect("a line");
            assert_eq!(String::from_utf8(reply.encode()).expect("text"), line);
            assert_eq!(Reply::decode(line.as_bytes()).expect("a reply"), reply);
        }
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn what_a_later_version_adds_is_left_out() {
        let later = r#"{"where":{"cluster":193,"mood":"good"}}"#;
        assert_eq!(
            Question::decode(later.as_bytes()).expect("it is known"),
            Question::Where { cluster: 193 }
        );
        let hostile: [&[u8]; 4] = [b"", b"{", b"[[[[", b"\xff\xff"];
        for bytes in hostile {
            assert!(Question::decode(bytes).is_err() && Reply::decode(bytes).is_err());
        }
    }
}
