//! Commands as bytes: a fixed header each, then lengths and raw bytes; `docs/formats/wal.md` has
//! the layout. All integers are little-endian.

use bytes::Bytes;
use model::command::{Command, KeyWrite, Outcome};
use model::id::{CoreId, NodeId, PartitionId, TxnId};
use model::time::Timestamp;

const COMMIT: u8 = 1;
const PREPARE: u8 = 2;
const DECIDE: u8 = 3;
const FINISH: u8 = 4;
const FORGET: u8 = 5;
const STAGE: u8 = 6;

/// In the second byte: of a commit or vote, that its writes are in the parts before it; of a part,
/// that it is the first.
const MARKED: u8 = 1;

/// Length that stands for a deletion.
const DELETED: u32 = u32::MAX;

/// Bytes before the body of every command: kind, transaction.
const HEADER: usize = 16;

/// An upper bound on the bytes that [`encode`] appends.
pub(crate) fn encoded_bytes(command: &Command) -> usize {
    let writes_bytes = |writes: &[KeyWrite]| {
        let bytes =
            |write: &KeyWrite| 8 + write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
        4 + writes.iter().map(bytes).sum::<usize>()
    };
    let locks_bytes = |locks: &[Bytes]| 4 + locks.iter().map(|key| 4 + key.len()).sum::<usize>();
    HEADER
        + match command {
            Command::Stage { writes, locks, .. } => writes_bytes(writes) + locks_bytes(locks),
            Command::Commit { writes, .. } => 8 + writes_bytes(writes),
            Command::Prepare { writes, locks, .. } => {
                12 + writes_bytes(writes) + locks_bytes(locks)
            }
            Command::Decide { participants, .. } => 10 + 4 + 4 * participants.len(),
            Command::Finish { .. } => 9,
            Command::Forget { .. } => 0,
        }
}

/// Appends a command.
pub(crate) fn encode(command: &Command, out: &mut Vec<u8>) {
    match command {
        Command::Stage { txn, first, writes, locks } => {
            push_header(out, STAGE, *first, txn);
            push_writes(out, writes);
            push_locks(out, locks);
        }
        Command::Commit { txn, at, writes, staged } => {
            push_header(out, COMMIT, *staged, txn);
            push_u64(out, at.0);
            push_writes(out, writes);
        }
        Command::Prepare { txn, at, anchor, writes, locks, staged } => {
            push_header(out, PREPARE, *staged, txn);
            push_u64(out, at.0);
            push_u32(out, anchor.0);
            push_writes(out, writes);
            push_locks(out, locks);
        }
        Command::Decide { txn, outcome, participants, again } => {
            push_header(out, DECIDE, false, txn);
            out.push(u8::from(*again));
            push_outcome(out, outcome);
            push_len(out, participants.len());
            for partition in participants {
                push_u32(out, partition.0);
            }
        }
        Command::Finish { txn, outcome } => {
            push_header(out, FINISH, false, txn);
            push_outcome(out, outcome);
        }
        Command::Forget { txn } => push_header(out, FORGET, false, txn),
    }
}

fn push_header(out: &mut Vec<u8>, kind: u8, marked: bool, txn: &TxnId) {
    out.extend_from_slice(&[kind, u8::from(marked) * MARKED]);
    out.extend_from_slice(&txn.core.0.to_le_bytes());
    push_u32(out, txn.node.0);
    push_u64(out, txn.began.0);
}

fn push_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Counts and lengths are far below 4 GiB: a command fits into a segment.
fn push_len(out: &mut Vec<u8>, len: usize) {
    push_u32(out, len as u32);
}

fn push_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    let (kind, at) = match outcome {
        Outcome::Committed(at) => (1, at.0),
        Outcome::Aborted => (0, 0),
    };
    out.push(kind);
    push_u64(out, at);
}

fn push_writes(out: &mut Vec<u8>, writes: &[KeyWrite]) {
    push_len(out, writes.len());
    for write in writes {
        push_len(out, write.key.len());
        match &write.value {
            Some(value) => push_len(out, value.len()),
            None => push_u32(out, DELETED),
        }
        out.extend_from_slice(&write.key);
        out.extend_from_slice(write.value.as_deref().unwrap_or_default());
    }
}

fn push_locks(out: &mut Vec<u8>, locks: &[Bytes]) {
    push_len(out, locks.len());
    for key in locks {
        push_len(out, key.len());
        out.extend_from_slice(key);
    }
}

/// Takes the command at the start of `bytes` off. `None` where there is none that makes sense.
/// Keys and values share the memory of `bytes`.
fn decode(bytes: &mut Bytes) -> Option<Command> {
    let input = &mut Input { bytes };
    let head = input.take(2)?;
    let (kind, marked) = (head[0], head[1] == MARKED);
    let core = CoreId(u16::from_le_bytes(input.take(2)?[..].try_into().ok()?));
    let node = NodeId(input.u32()?);
    let txn = TxnId { began: Timestamp(input.u64()?), node, core };
    Some(match kind {
        STAGE => {
            Command::Stage { txn, first: marked, writes: input.writes()?, locks: input.locks()? }
        }
        COMMIT => Command::Commit {
            txn,
            staged: marked,
            at: Timestamp(input.u64()?),
            writes: input.writes()?,
        },
        PREPARE => Command::Prepare {
            txn,
            at: Timestamp(input.u64()?),
            anchor: PartitionId(input.u32()?),
            writes: input.writes()?,
            locks: input.locks()?,
            staged: marked,
        },
        DECIDE => Command::Decide {
            txn,
            again: input.take(1)?[0] != 0,
            outcome: input.outcome()?,
            participants: input.list(4, |input| input.u32().map(PartitionId))?,
        },
        FINISH => Command::Finish { txn, outcome: input.outcome()? },
        FORGET => Command::Forget { txn },
        _ => return None,
    })
}

/// Takes the commands of an entry apart. `None` where they make no sense.
pub(crate) fn decode_all(count: u32, mut bytes: Bytes) -> Option<Vec<Command>> {
    // Each takes some bytes: a count that cannot be true takes no memory.
    let mut commands = Vec::with_capacity((count as usize).min(bytes.len() / HEADER));
    for _ in 0..count {
        commands.push(decode(&mut bytes)?);
    }
    bytes.is_empty().then_some(commands)
}

struct Input<'a> {
    bytes: &'a mut Bytes,
}

impl Input<'_> {
    fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.bytes.len()).then(|| self.bytes.split_to(len))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?[..].try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?[..].try_into().ok()?))
    }

    fn outcome(&mut self) -> Option<Outcome> {
        let kind = self.take(1)?[0];
        let at = Timestamp(self.u64()?);
        match kind {
            0 => Some(Outcome::Aborted),
            1 => Some(Outcome::Committed(at)),
            _ => None,
        }
    }

    /// A count, then so many items of at least `item_bytes` each.
    fn list<T>(
        &mut self,
        item_bytes: usize,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.u32()? as usize;
        if count > self.bytes.len() / item_bytes {
            return None;
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }

    fn locks(&mut self) -> Option<Vec<Bytes>> {
        self.list(4, |input| {
            let len = input.u32()? as usize;
            input.take(len)
        })
    }

    fn writes(&mut self) -> Option<Vec<KeyWrite>> {
        self.list(8, |input| {
            let key = input.u32()? as usize;
            let value = input.u32()?;
            let key = input.take(key)?;
            let value = match value {
                DELETED => None,
                len => Some(input.take(len as usize)?),
            };
            Some(KeyWrite { key, value })
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn txn(began: u64) -> TxnId {
        TxnId { began: Timestamp(began), node: NodeId(7), core: CoreId(3) }
    }

    pub(crate) fn samples() -> Vec<Command> {
        let write = |key: &'static str, value: Option<&'static str>| KeyWrite {
            key: Bytes::from(key),
            value: value.map(Bytes::from),
        };
        vec![
            Command::Commit {
                txn: txn(1),
                at: Timestamp(20),
                writes: vec![write("a", Some("one")), write("b", None), write("", Some(""))],
                staged: false,
            },
            Command::Prepare {
                txn: txn(2),
                at: Timestamp(30),
                anchor: PartitionId(4),
                writes: vec![write("c", Some("three"))],
                locks: vec![Bytes::from("d"), Bytes::new()],
                staged: false,
            },
            Command::Decide {
                txn: txn(2),
                outcome: Outcome::Committed(Timestamp(31)),
                participants: vec![PartitionId(4), PartitionId(9)],
                again: true,
            },
            Command::Finish { txn: txn(2), outcome: Outcome::Aborted },
            Command::Forget { txn: txn(u64::MAX) },
            Command::Stage {
                txn: txn(5),
                first: true,
                writes: vec![write("e", Some("five")), write("f", None)],
                locks: vec![Bytes::from("g")],
            },
            Command::Prepare {
                txn: txn(5),
                at: Timestamp(50),
                anchor: PartitionId(4),
                writes: Vec::new(),
                locks: Vec::new(),
                staged: true,
            },
        ]
    }

    #[test]
    fn every_command_survives() {
        let mut bytes = Vec::new();
        let mut bound = 0;
        for command in samples() {
            encode(&command, &mut bytes);
            bound += encoded_bytes(&command);
            assert!(bytes.len() <= bound);
        }
        let mut bytes = Bytes::from(bytes);
        for command in samples() {
            assert_eq!(decode(&mut bytes), Some(command));
        }
        assert!(bytes.is_empty());
    }

    #[test]
    fn no_damaged_command_panics_or_takes_memory() {
        for command in samples() {
            let mut bytes = Vec::new();
            encode(&command, &mut bytes);
            for len in 0..bytes.len() {
                assert_eq!(decode(&mut Bytes::copy_from_slice(&bytes[..len])), None);
            }
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] = 0xff;
                // Any answer will do; the record's checksum is what tells right from wrong.
                decode(&mut Bytes::from(damaged));
            }
        }
    }
}
