//! The bytes of messages between replicas, as they were when their version was given out. Where one of these
//! fails a layout has changed: nodes of the last release would not understand it. Raise `VERSION`, keep
//! reading the older one if there is a release of it, and write the files anew with
//! `PHANTOM_GOLDEN=write`.

use super::*;
use bytes::Bytes;
use openraft::Membership;
use std::collections::BTreeSet;
use std::path::Path;

fn hex(pieces: &[Bytes]) -> String {
    let mut text = String::new();
    for line in pieces.concat().chunks(32) {
        text.extend(line.iter().map(|byte| format!("{byte:02x}")));
        text.push('\n');
    }
    text
}

fn vote() -> Vote {
    Vote::new_committed(5, 2)
}

fn entries() -> Vec<Entry> {
    let voters = Membership::new_with_defaults(vec![BTreeSet::from([1, 2])], [3]);
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Membership(voters),
        EntryPayload::Normal(Batch::read(2, Bytes::from_static(b"two commands"))),
        EntryPayload::Normal(Batch::read(1, Bytes::from(vec![7; PIECE_BYTES]))),
    ];
    (11..)
        .zip(payloads)
        .map(|(index, payload)| Entry { log_id: log_id(5, index), payload })
        .collect()
}

fn asks() -> Vec<(&'static str, Ask)> {
    let append = AppendEntriesRequest {
        vote: vote(),
        prev_log_id: Some(log_id(4, 10)),
        leader_commit: None,
        entries: entries(),
    };
    let ballot = VoteRequest {
        vote: Vote::new(6, 3),
        last_log_id: Some(log_id(5, 14)),
        leadership_transfer: true,
    };
    let voters = StoredMembershipOf::<Partitions>::new(
        Some(log_id(5, 12)),
        Membership::new_with_defaults(vec![BTreeSet::from([1])], []),
    );
    let meta =
        SnapshotMetaOf::<Partitions> { last_log_id: Some(log_id(5, 13)), last_membership: voters };
    let chunk = Chunk {
        position: StreamPosition(0x0102),
        checksum: 0x0a0b_0c0d,
        bytes: Bytes::from_static(b"of a file"),
    };
    vec![
        ("append", Ask::Append(append)),
        ("vote", Ask::Vote(ballot.clone())),
        ("pre_vote", Ask::PreVote(ballot)),
        ("transfer", Ask::Transfer(TransferLeaderRequest::new(vote(), 3, Some(log_id(5, 14))))),
        ("snapshot_begin", Ask::SnapshotBegin { meta, contents: Bytes::from_static(b"contents") }),
        ("snapshot_chunk", Ask::SnapshotChunk(chunk)),
        ("snapshot_end", Ask::SnapshotEnd(vote())),
        ("files_wanted", Ask::FilesWanted(3)),
        ("files_end", Ask::FilesEnd),
        ("join", Ask::Join),
    ]
}

fn answers() -> Vec<(&'static str, Told)> {
    let (expected, actual) = (Some(log_id(5, 14)), None);
    vec![
        ("success", Told::Appended(AppendEntriesResponse::Success)),
        ("partial", Told::Appended(AppendEntriesResponse::PartialSuccess(Some(log_id(5, 12))))),
        ("conflict", Told::Appended(AppendEntriesResponse::Conflict)),
        ("higher_vote", Told::Appended(AppendEntriesResponse::HigherVote(Vote::new(9, 1)))),
        ("voted", Told::Voted(VoteResponse::new(vote(), Some(log_id(5, 14)), true))),
        ("transferred", Told::Transferred(Ok(()))),
        (
            "vote_changed",
            Told::Transferred(Err(TransferLeaderError::VoteChanged {
                expected: vote(),
                actual: Vote::new(9, 1),
            })),
        ),
        (
            "not_flushed",
            Told::Transferred(Err(TransferLeaderError::LogNotFlushed { expected, actual })),
        ),
        ("received", Told::Received(StreamPosition(77))),
        ("installed", Told::Installed(vote())),
        ("replaced", Told::Replaced),
        ("invited", Told::Invited(Invitation { vote: vote(), votes_from: LogIndex(14) })),
        ("unable", Told::Unable("why".to_owned())),
    ]
}

fn beats() -> Vec<Beat> {
    let beat = |partition, previous, committed| Beat {
        partition: PartitionId(partition),
        vote: vote(),
        previous,
        committed,
    };
    vec![beat(3, Some(log_id(5, 14)), Some(log_id(5, 13))), beat(0x0102_0304, None, None)]
}

fn beaten() -> Vec<Option<AppendEntriesResponse<Partitions>>> {
    vec![
        Some(AppendEntriesResponse::Success),
        None,
        Some(AppendEntriesResponse::HigherVote(Vote::new(9, 1))),
        Some(AppendEntriesResponse::Conflict),
        Some(AppendEntriesResponse::PartialSuccess(None)),
    ]
}

#[test]
fn messages_have_the_bytes_that_they_had() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/raft");
    let partition = PartitionId(0x0102_0304);
    let asks =
        asks().into_iter().map(|(name, ask)| (format!("ask_{name}"), encode_ask(partition, &ask)));
    let told = answers()
        .into_iter()
        .map(|(name, told)| (format!("told_{name}"), vec![encode_told(&told)]));
    let beats = [
        ("beats".to_owned(), encode_beats(beats().iter())),
        ("beaten".to_owned(), vec![encode_beaten(&beaten())]),
    ];
    for (name, message) in asks.chain(told).chain(beats) {
        let (path, found) = (folder.join(format!("{name}.hex")), hex(&message));
        if std::env::var_os("PHANTOM_GOLDEN").is_some_and(|how| how == "write") {
            std::fs::write(&path, &found).expect("the folder is there");
        }
        let expected = std::fs::read_to_string(&path).expect("the file is there");
        assert_eq!(found, expected, "the layout of {name} has changed");
    }
}

#[test]
fn what_was_written_is_read() {
    for (name, ask) in asks() {
        let bytes = Bytes::from(encode_ask(PartitionId(9), &ask).concat());
        let (partition, read) = decode_ask(bytes.clone()).expect(name);
        assert_eq!(partition, PartitionId(9), "{name}");
        assert_eq!(format!("{read:?}"), format!("{ask:?}"), "{name}");
        assert!(decode_beats(&bytes).is_none(), "{name} is no heartbeat");
    }
    for (name, told) in answers() {
        assert_eq!(decode_told(encode_told(&told)), Some(told), "{name}");
    }
    let message = Bytes::from(encode_beats(beats().iter()).concat());
    assert_eq!(decode_beats(&message), Some(beats()));
    assert!(decode_ask(message).is_none(), "heartbeats are of no partition");
    assert_eq!(decode_beaten(encode_beaten(&beaten())), Some(beaten()));
}

/// A message that ends early, goes on too long or has another version is refused.
#[test]
fn damaged_heartbeats_are_refused() {
    let message = Bytes::from(encode_beats(beats().iter()).concat());
    let answer = encode_beaten(&beaten());
    for end in 0..message.len() {
        assert!(decode_beats(&message.slice(..end)).is_none(), "{end} bytes");
    }
    for end in 0..answer.len() {
        assert!(decode_beaten(answer.slice(..end)).is_none(), "{end} bytes");
    }
    let longer = |bytes: &Bytes| Bytes::from([bytes, &b"x"[..]].concat());
    assert!(decode_beats(&longer(&message)).is_none());
    assert!(decode_beaten(longer(&answer)).is_none());
    for at in [0, 1, 2, 5] {
        let mut bytes = message.to_vec();
        bytes[at] ^= 0x40;
        assert!(decode_beats(&Bytes::from(bytes)).is_none(), "byte {at}");
    }
}
