//! What replicas of a group say to each other, as bytes; `docs/formats/raft.md` has the layout. All
//! integers are little-endian. The commands of entries travel as they lie in the log.

mod beats;
#[cfg(test)]
mod tests;

use super::joining::Invitation;
use super::types::{Batch, Entry, LogId, Partitions, Vote, log_id};
use super::voters;
use crate::storage::{Chunk, StreamPosition};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use model::id::{LogIndex, PartitionId};
use openraft::EntryPayload;
use openraft::alias::{SnapshotMetaOf, StoredMembershipOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

pub(super) use beats::{Beat, decode_beaten, decode_beats, encode_beaten, encode_beats};

/// The layout that this version writes and reads.
const VERSION: u8 = 1;

const APPEND: u8 = 1;
const VOTE: u8 = 2;
const PRE_VOTE: u8 = 3;
const TRANSFER: u8 = 4;
const SNAPSHOT_BEGIN: u8 = 5;
const SNAPSHOT_CHUNK: u8 = 6;
const SNAPSHOT_END: u8 = 7;
const BEATS: u8 = 8;
const FILES_WANTED: u8 = 9;
const FILES_END: u8 = 10;
const JOIN: u8 = 11;

/// Commands of at least so many bytes are a piece of their own; shorter ones are copied.
const PIECE_BYTES: usize = 4 << 10;

/// What one replica asks of another.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// Take entries, or hear that the leader is there.
    Append(AppendEntriesRequest<Partitions>),
    /// Vote.
    Vote(VoteRequest<Partitions>),
    /// Would you vote?
    PreVote(VoteRequest<Partitions>),
    /// Stand for election at once.
    Transfer(TransferLeaderRequest<Partitions>),
    /// Begin to receive a partition as files, or go on with it.
    SnapshotBegin {
        /// What the log goes on after, and who takes part as of then.
        meta: SnapshotMetaOf<Partitions>,
        /// What files there are; see [`crate::storage::Contents`].
        contents: Bytes,
    },
    /// A piece of the files.
    SnapshotChunk(Chunk),
    /// All pieces are there.
    SnapshotEnd(Vote),
    /// Send the partition as files to this node, whose own are damaged, and say what came of it.
    FilesWanted(u64),
    /// All pieces are there; they take the place of damaged ones, and nothing else changes.
    FilesEnd,
    /// How does an empty replica begin?
    Join,
}

/// The partition and the question, as pieces that follow each other.
pub(super) fn encode_ask(partition: PartitionId, ask: &Ask) -> Vec<Bytes> {
    let mut out = Pieces::default();
    let kind = match ask {
        Ask::Append(_) => APPEND,
        Ask::Vote(_) => VOTE,
        Ask::PreVote(_) => PRE_VOTE,
        Ask::Transfer(_) => TRANSFER,
        Ask::SnapshotBegin { .. } => SNAPSHOT_BEGIN,
        Ask::SnapshotChunk(_) => SNAPSHOT_CHUNK,
        Ask::SnapshotEnd(_) => SNAPSHOT_END,
        Ask::FilesWanted(_) => FILES_WANTED,
        Ask::FilesEnd => FILES_END,
        Ask::Join => JOIN,
    };
    out.head.put_slice(&[VERSION, kind]);
    out.head.put_u32_le(partition.0);
    match ask {
        Ask::Append(append) => {
            put_vote(&mut out.head, &append.vote);
            put_id(&mut out.head, append.prev_log_id);
            put_id(&mut out.head, append.leader_commit);
            out.head.put_u32_le(append.entries.len() as u32);
            for entry in &append.entries {
                out.put_entry(entry);
            }
        }
        Ask::Vote(vote) | Ask::PreVote(vote) => {
            put_vote(&mut out.head, &vote.vote);
            put_id(&mut out.head, vote.last_log_id);
            out.head.put_u8(u8::from(vote.leadership_transfer));
        }
        Ask::Transfer(transfer) => {
            put_vote(&mut out.head, transfer.from_leader());
            out.head.put_u64_le(*transfer.to_node_id());
            put_id(&mut out.head, transfer.last_log_id().copied());
        }
        Ask::SnapshotBegin { meta, contents } => {
            put_id(&mut out.head, meta.last_log_id);
            put_id(&mut out.head, *meta.last_membership.log_id());
            let voters = voters::encode(meta.last_membership.membership());
            out.head.put_u32_le(voters.len() as u32);
            out.head.put_slice(&voters);
            out.head.put_slice(contents);
        }
        Ask::SnapshotChunk(chunk) => {
            out.head.put_u64_le(chunk.position.0);
            out.head.put_u32_le(chunk.checksum);
            out.done.push(out.head.split().freeze());
            out.done.push(chunk.bytes.clone());
        }
        Ask::SnapshotEnd(vote) => put_vote(&mut out.head, vote),
        Ask::FilesWanted(node) => out.head.put_u64_le(*node),
        Ask::FilesEnd | Ask::Join => {}
    }
    out.finish()
}

/// The partition and the question; `None` where the bytes make no sense.
pub(super) fn decode_ask(mut bytes: Bytes) -> Option<(PartitionId, Ask)> {
    let input = &mut bytes;
    if input.try_get_u8().ok()? != VERSION {
        return None;
    }
    let kind = input.try_get_u8().ok()?;
    let partition = PartitionId(input.try_get_u32_le().ok()?);
    let ask = match kind {
        APPEND => Ask::Append(AppendEntriesRequest {
            vote: take_vote(input)?,
            prev_log_id: take_id(input)?,
            leader_commit: take_id(input)?,
            entries: take_entries(input)?,
        }),
        VOTE | PRE_VOTE => {
            let vote = VoteRequest {
                vote: take_vote(input)?,
                last_log_id: take_id(input)?,
                leadership_transfer: input.try_get_u8().ok()? != 0,
            };
            if kind == VOTE { Ask::Vote(vote) } else { Ask::PreVote(vote) }
        }
        TRANSFER => {
            let (from, to) = (take_vote(input)?, input.try_get_u64_le().ok()?);
            Ask::Transfer(TransferLeaderRequest::new(from, to, take_id(input)?))
        }
        SNAPSHOT_BEGIN => {
            let (last_log_id, id) = (take_id(input)?, take_id(input)?);
            let bytes = input.try_get_u32_le().ok()? as usize;
            let voters = (bytes <= input.len()).then(|| input.split_to(bytes))?;
            let last_membership =
                StoredMembershipOf::<Partitions>::new(id, voters::decode(&voters)?);
            let meta = SnapshotMetaOf::<Partitions> { last_log_id, last_membership };
            Ask::SnapshotBegin { meta, contents: std::mem::take(input) }
        }
        SNAPSHOT_CHUNK => {
            let position = StreamPosition(input.try_get_u64_le().ok()?);
            let checksum = input.try_get_u32_le().ok()?;
            Ask::SnapshotChunk(Chunk { position, checksum, bytes: std::mem::take(input) })
        }
        SNAPSHOT_END => Ask::SnapshotEnd(take_vote(input)?),
        FILES_WANTED => Ask::FilesWanted(input.try_get_u64_le().ok()?),
        FILES_END => Ask::FilesEnd,
        JOIN => Ask::Join,
        _ => return None,
    };
    input.is_empty().then_some((partition, ask))
}

/// What a replica answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// To [`Ask::Append`].
    Appended(AppendEntriesResponse<Partitions>),
    /// To [`Ask::Vote`] and [`Ask::PreVote`].
    Voted(VoteResponse<Partitions>),
    /// To [`Ask::Transfer`].
    Transferred(TransferLeaderResponse<Partitions>),
    /// To [`Ask::SnapshotBegin`] and [`Ask::SnapshotChunk`]: what comes next.
    Received(StreamPosition),
    /// To [`Ask::SnapshotEnd`].
    Installed(Vote),
    /// To [`Ask::FilesEnd`] and [`Ask::FilesWanted`].
    Replaced,
    /// To [`Ask::Join`].
    Invited(Invitation),
    /// The replica is not here, or cannot answer: why.
    Unable(String),
}

const SUCCESS: u8 = 1;
const PARTIAL_SUCCESS: u8 = 2;
const CONFLICT: u8 = 3;
const HIGHER_VOTE: u8 = 4;
const VOTED: u8 = 5;
const TRANSFERRED: u8 = 6;
const VOTE_CHANGED: u8 = 7;
const NOT_FLUSHED: u8 = 8;
const UNABLE: u8 = 9;
const RECEIVED: u8 = 10;
const INSTALLED: u8 = 11;
const BEATEN: u8 = 12;
const REPLACED: u8 = 13;
const INVITED: u8 = 14;

/// An answer as bytes.
pub(super) fn encode_told(told: &Told) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    match told {
        Told::Appended(appended) => put_appended(&mut out, appended),
        Told::Voted(vote) => {
            out.put_slice(&[VOTED, u8::from(vote.vote_granted)]);
            put_vote(&mut out, &vote.vote);
            put_id(&mut out, vote.last_log_id);
        }
        Told::Transferred(Ok(())) => out.put_u8(TRANSFERRED),
        Told::Transferred(Err(TransferLeaderError::VoteChanged { expected, actual })) => {
            out.put_u8(VOTE_CHANGED);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Told::Transferred(Err(TransferLeaderError::LogNotFlushed { expected, actual })) => {
            out.put_u8(NOT_FLUSHED);
            put_id(&mut out, *expected);
            put_id(&mut out, *actual);
        }
        Told::Received(position) => {
            out.put_u8(RECEIVED);
            out.put_u64_le(position.0);
        }
        Told::Installed(vote) => {
            out.put_u8(INSTALLED);
            put_vote(&mut out, vote);
        }
        Told::Replaced => out.put_u8(REPLACED),
        Told::Invited(Invitation { vote, votes_from }) => {
            out.put_u8(INVITED);
            put_vote(&mut out, vote);
            out.put_u64_le(votes_from.0);
        }
        Told::Unable(why) => {
            out.put_u8(UNABLE);
            out.put_slice(why.as_bytes());
        }
    }
    out.freeze()
}

/// An answer; `None` where the bytes make no sense.
pub(super) fn decode_told(mut bytes: Bytes) -> Option<Told> {
    let input = &mut bytes;
    if input.try_get_u8().ok()? != VERSION {
        return None;
    }
    let told = match input.try_get_u8().ok()? {
        kind @ (SUCCESS | PARTIAL_SUCCESS | CONFLICT | HIGHER_VOTE) => {
            Told::Appended(take_appended(kind, input)?)
        }
        VOTED => {
            let vote_granted = input.try_get_u8().ok()? != 0;
            let (vote, last_log_id) = (take_vote(input)?, take_id(input)?);
            Told::Voted(VoteResponse { vote, vote_granted, last_log_id })
        }
        TRANSFERRED => Told::Transferred(Ok(())),
        VOTE_CHANGED => Told::Transferred(Err(TransferLeaderError::VoteChanged {
            expected: take_vote(input)?,
            actual: take_vote(input)?,
        })),
        NOT_FLUSHED => Told::Transferred(Err(TransferLeaderError::LogNotFlushed {
            expected: take_id(input)?,
            actual: take_id(input)?,
        })),
        RECEIVED => Told::Received(StreamPosition(input.try_get_u64_le().ok()?)),
        INSTALLED => Told::Installed(take_vote(input)?),
        REPLACED => Told::Replaced,
        INVITED => Told::Invited(Invitation {
            vote: take_vote(input)?,
            votes_from: LogIndex(input.try_get_u64_le().ok()?),
        }),
        UNABLE => {
            let why = std::mem::take(input);
            Told::Unable(String::from_utf8_lossy(&why).into_owned())
        }
        _ => return None,
    };
    input.is_empty().then_some(told)
}

fn put_appended(out: &mut BytesMut, appended: &AppendEntriesResponse<Partitions>) {
    match appended {
        AppendEntriesResponse::Success => out.put_u8(SUCCESS),
        AppendEntriesResponse::PartialSuccess(id) => {
            out.put_u8(PARTIAL_SUCCESS);
            put_id(out, *id);
        }
        AppendEntriesResponse::Conflict => out.put_u8(CONFLICT),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(HIGHER_VOTE);
            put_vote(out, vote);
        }
    }
}

fn take_appended(kind: u8, input: &mut Bytes) -> Option<AppendEntriesResponse<Partitions>> {
    Some(match kind {
        SUCCESS => AppendEntriesResponse::Success,
        PARTIAL_SUCCESS => AppendEntriesResponse::PartialSuccess(take_id(input)?),
        CONFLICT => AppendEntriesResponse::Conflict,
        HIGHER_VOTE => AppendEntriesResponse::HigherVote(take_vote(input)?),
        _ => return None,
    })
}

/// Bytes that follow each other, in pieces that were there already and such as were copied.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    head: BytesMut,
}

impl Pieces {
    fn put_entry(&mut self, entry: &Entry) {
        let out = &mut self.head;
        out.put_u64_le(entry.log_id.committed_leader_id().term);
        out.put_u64_le(entry.log_id.index);
        match &entry.payload {
            EntryPayload::Blank => put_body(out, 0, 0, &[]),
            EntryPayload::Membership(voters) => put_body(out, 1, 0, &voters::encode(voters)),
            EntryPayload::Normal(batch) if batch.commands.len() < PIECE_BYTES => {
                put_body(out, 2, batch.count, &batch.commands);
            }
            EntryPayload::Normal(batch) => {
                put_body_header(out, 2, batch.count, batch.commands.len());
                self.done.push(self.head.split().freeze());
                self.done.push(batch.commands.clone());
            }
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.head.is_empty() {
            self.done.push(self.head.freeze());
        }
        self.done
    }
}

fn put_body_header(out: &mut BytesMut, kind: u8, count: u32, bytes: usize) {
    out.put_u8(kind);
    out.put_u32_le(count);
    // An entry fits into a segment of the log.
    out.put_u32_le(bytes as u32);
}

fn put_body(out: &mut BytesMut, kind: u8, count: u32, body: &[u8]) {
    put_body_header(out, kind, count, body.len());
    out.put_slice(body);
}

fn take_entries(input: &mut Bytes) -> Option<Vec<Entry>> {
    /// Bytes of an entry before its body.
    const ENTRY_HEADER: usize = 25;
    let count = input.try_get_u32_le().ok()? as usize;
    if count > input.len() / ENTRY_HEADER {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let id = log_id(input.try_get_u64_le().ok()?, input.try_get_u64_le().ok()?);
        let (kind, commands) = (input.try_get_u8().ok()?, input.try_get_u32_le().ok()?);
        let bytes = input.try_get_u32_le().ok()? as usize;
        let body = (bytes <= input.len()).then(|| input.split_to(bytes))?;
        let payload = match kind {
            0 if body.is_empty() => EntryPayload::Blank,
            1 => EntryPayload::<Batch, _, _>::Membership(voters::decode(&body)?),
            2 if commands > 0 => EntryPayload::Normal(Batch::read(commands, body)),
            _ => return None,
        };
        entries.push(Entry { log_id: id, payload });
    }
    Some(entries)
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

fn take_vote(input: &mut Bytes) -> Option<Vote> {
    let (term, node) = (input.try_get_u64_le().ok()?, input.try_get_u64_le().ok()?);
    Some(match input.try_get_u8().ok()? {
        0 => Vote::new(term, node),
        1 => Vote::new_committed(term, node),
        _ => return None,
    })
}

fn put_id(out: &mut BytesMut, id: Option<LogId>) {
    out.put_u8(u8::from(id.is_some()));
    out.put_u64_le(id.map_or(0, |id| id.committed_leader_id().term));
    out.put_u64_le(id.map_or(0, |id| id.index));
}

fn take_id(input: &mut Bytes) -> Option<Option<LogId>> {
    let is_some = input.try_get_u8().ok()?;
    let id = log_id(input.try_get_u64_le().ok()?, input.try_get_u64_le().ok()?);
    match is_some {
        0 => Some(None),
        1 => Some(Some(id)),
        _ => None,
    }
}
