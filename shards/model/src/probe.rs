//! Looking at unique keys before rows claim them: `INSERT ... ON CONFLICT`.

use crate::archive::Blob;
use crate::id::{Mark, TxnId};
use crate::schema::Table;
use crate::time::Timestamp;
use crate::value::Value;
use bytes::Bytes;
use rkyv::with::Map;
use rkyv::{Archive, Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Keys of rows and of entries of unique indexes, in one partition. Each is locked alone, and
/// whoever is about to write it is waited for.
#[derive(Debug, Clone, Archive, Serialize, Deserialize)]
pub struct Probe {
    /// For which transaction.
    pub txn: TxnId,
    /// Whose keys, for errors.
    pub table: Arc<Table>,
    /// In the order in which they are locked.
    #[rkyv(with = Map<Blob>)]
    pub keys: Vec<Bytes>,
    /// Whether keys that are taken stay locked: what is there must stay so.
    pub keep: bool,
    /// 40001 where what has a key is younger than this.
    pub snapshot: Option<Timestamp>,
    /// The last place that the transaction may still go back to.
    pub mark: Option<Mark>,
    /// How long each lock is waited for; `None`: as long as the node allows.
    pub lock_timeout: Option<Duration>,
}

/// What was found at a key.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub enum Probed {
    /// Nothing. It stays locked until the transaction ends.
    Free,
    /// A row with this primary key, or its entry.
    Taken(Vec<Value>),
}
