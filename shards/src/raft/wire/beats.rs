//! The heartbeats of all groups between two cores, and what became of each.

use super::{
    BEATEN, BEATS, UNABLE, VERSION, put_appended, put_id, put_vote, take_appended, take_id,
    take_vote,
};
use crate::raft::types::{LogId, Partitions, Vote};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use model::id::PartitionId;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};

/// Bytes of a heartbeat.
const BEAT_BYTES: usize = 4 + 17 + 17 + 17;

/// A heartbeat of one group: an append without entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::raft) struct Beat {
    pub(in crate::raft) partition: PartitionId,
    /// The leader's.
    pub(in crate::raft) vote: Vote,
    /// An entry that the leader believes to be there.
    pub(in crate::raft) previous: Option<LogId>,
    /// How far the log is decided.
    pub(in crate::raft) committed: Option<LogId>,
}

impl Beat {
    /// The heartbeat of a group; `None` where the append has entries.
    pub(in crate::raft) fn of(
        partition: PartitionId,
        append: &AppendEntriesRequest<Partitions>,
    ) -> Option<Beat> {
        append.entries.is_empty().then_some(Beat {
            partition,
            vote: append.vote,
            previous: append.prev_log_id,
            committed: append.leader_commit,
        })
    }

    /// What the group is asked.
    pub(in crate::raft) fn append(&self) -> AppendEntriesRequest<Partitions> {
        AppendEntriesRequest {
            vote: self.vote,
            prev_log_id: self.previous,
            leader_commit: self.committed,
            entries: Vec::new(),
        }
    }
}

/// Heartbeats as a message.
pub(in crate::raft) fn encode_beats<'a>(
    beats: impl ExactSizeIterator<Item = &'a Beat>,
) -> Vec<Bytes> {
    let mut out = BytesMut::with_capacity(6 + BEAT_BYTES * beats.len());
    out.put_slice(&[VERSION, BEATS]);
    // A core has fewer partitions than this.
    out.put_u32_le(beats.len() as u32);
    for beat in beats {
        out.put_u32_le(beat.partition.0);
        put_vote(&mut out, &beat.vote);
        put_id(&mut out, beat.previous);
        put_id(&mut out, beat.committed);
    }
    vec![out.freeze()]
}

/// The heartbeats of a message; `None` where it is another message, or makes no sense.
pub(in crate::raft) fn decode_beats(bytes: &Bytes) -> Option<Vec<Beat>> {
    let mut bytes = bytes.clone();
    let input = &mut bytes;
    if [input.try_get_u8().ok()?, input.try_get_u8().ok()?] != [VERSION, BEATS] {
        return None;
    }
    let count = input.try_get_u32_le().ok()? as usize;
    if count != input.len() / BEAT_BYTES {
        return None;
    }
    let mut beats = Vec::with_capacity(count);
    for _ in 0..count {
        beats.push(Beat {
            partition: PartitionId(input.try_get_u32_le().ok()?),
            vote: take_vote(input)?,
            previous: take_id(input)?,
            committed: take_id(input)?,
        });
    }
    input.is_empty().then_some(beats)
}

/// What became of heartbeats, in their order; `None`: the replica is not there, or cannot answer in time.
pub(in crate::raft) fn encode_beaten(
    answers: &[Option<AppendEntriesResponse<Partitions>>],
) -> Bytes {
    let mut out = BytesMut::with_capacity(6 + answers.len());
    out.put_slice(&[VERSION, BEATEN]);
    out.put_u32_le(answers.len() as u32);
    for answer in answers {
        match answer {
            Some(appended) => put_appended(&mut out, appended),
            None => out.put_u8(UNABLE),
        }
    }
    out.freeze()
}

/// See [`encode_beaten`]; `None` where the bytes make no sense.
pub(in crate::raft) fn decode_beaten(
    mut bytes: Bytes,
) -> Option<Vec<Option<AppendEntriesResponse<Partitions>>>> {
    let input = &mut bytes;
    if [input.try_get_u8().ok()?, input.try_get_u8().ok()?] != [VERSION, BEATEN] {
        return None;
    }
    let count = input.try_get_u32_le().ok()? as usize;
    if count > input.len() {
        return None;
    }
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        answers.push(match input.try_get_u8().ok()? {
            UNABLE => None,
            kind => Some(take_appended(kind, input)?),
        });
    }
    input.is_empty().then_some(answers)
}
