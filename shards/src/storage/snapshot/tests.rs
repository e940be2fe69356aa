//! The bytes of contents and journals.

use model::id::{LogIndex, PartitionId};
use model::time::Timestamp;

use super::super::table::format::{Damage, Handle, PAGE_BYTES, TableIdentity};
use super::super::table::{TableMeta, TableNumber};
use super::super::tests::golden;
use super::super::version::Edit;
use super::contents::{Contents, StreamPosition};
use super::journal::{decode, encode_head, encode_progress};

fn meta(number: u64, smallest: &str, largest: &str) -> TableMeta {
    TableMeta {
        number: TableNumber(number),
        identity: TableIdentity(number * 1_000_003),
        file_bytes: 4096 * number,
        top: Handle { offset: 300, len: 90 },
        entries: 12,
        tombstones: 2,
        oldest: Timestamp(3),
        newest: Timestamp(u64::MAX - 1),
        smallest: smallest.as_bytes().into(),
        largest: largest.as_bytes().into(),
    }
}

fn contents_of(added: Vec<(usize, TableMeta)>) -> Contents {
    let (durable_index, next_number) = (LogIndex(77), TableNumber(9));
    let edit = Edit { added, removed: Vec::new(), durable_index, next_number };
    Contents { partition: PartitionId(5), edit }
}

fn contents() -> Contents {
    contents_of(vec![(0, meta(8, "a", "z")), (1, meta(3, "b", "c")), (1, meta(2, "d", "e"))])
}

/// A journal after so many notes of progress.
fn journal(positions: &[u64]) -> Vec<u8> {
    let mut bytes = encode_head(&contents(), TableNumber(40));
    let seal = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
    bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
    let progress_at = bytes.len();
    bytes.resize(progress_at + 2 * PAGE_BYTES, 0);
    for (sequence, position) in (1u64..).zip(positions) {
        let page = encode_progress(seal, sequence, StreamPosition(*position));
        let at = progress_at + (sequence % 2) as usize * PAGE_BYTES;
        bytes[at..at + page.len()].copy_from_slice(&page);
    }
    bytes
}

#[test]
fn the_stream_is_the_files_one_after_the_other() {
    let contents = contents();
    assert_eq!(contents.end(), StreamPosition(13 * 4096));
    let begins: Vec<u64> = contents.files().map(|file| file.begins).collect();
    assert_eq!(begins, [0, 8 * 4096, 11 * 4096]);
    let index = |at| contents.file_at(StreamPosition(at)).map(|file| file.index);
    assert_eq!([index(0), index(8 * 4096 - 1), index(8 * 4096)], [Some(0), Some(0), Some(1)]);
    assert_eq!([index(13 * 4096 - 1), index(13 * 4096)], [Some(2), None]);
}

#[test]
fn contents_that_make_no_sense_are_refused() {
    let refused = |added| Contents::decode(&contents_of(added).encode()).expect_err("refused");
    let overlapping = vec![(1, meta(3, "b", "d")), (1, meta(2, "d", "e"))];
    assert_eq!(refused(overlapping), Damage::Inconsistent);
    assert_eq!(refused(vec![(0, meta(9, "b", "d"))]), Damage::Inconsistent);
    let odd = TableMeta { file_bytes: 5_000, ..meta(3, "b", "d") };
    assert_eq!(refused(vec![(0, odd)]), Damage::Structure);
    let endless = TableMeta { file_bytes: u64::MAX / 4096 * 4096, ..meta(3, "b", "d") };
    assert_eq!(refused(vec![(0, endless), (0, meta(4, "b", "d"))]), Damage::Structure);
    let oldest_first = vec![(0, meta(3, "b", "d")), (0, meta(4, "b", "d"))];
    assert_eq!(refused(oldest_first), Damage::Structure);
    let mut removing = contents();
    removing.edit.removed.push(TableNumber(1));
    assert_eq!(Contents::decode(&removing.encode()), Err(Damage::Structure));
    assert_eq!(Contents::decode(&contents().encode()), Ok(contents()));
}

#[test]
fn a_journal_tells_the_latest_progress_that_is_whole() {
    for positions in [&[][..], &[4096], &[4096, 8192], &[4096, 8192, 12_288, 20_480]] {
        let found = decode(&journal(positions)).expect("it is whole");
        assert_eq!((found.contents, found.first), (contents(), TableNumber(40)));
        let last = positions.last().copied().unwrap_or(0);
        assert_eq!(found.position, StreamPosition(last));
    }
    // Torn while it was written: the note before it counts.
    let mut torn = journal(&[4096, 8192, 12_288]);
    let at = torn.len() - PAGE_BYTES + 25;
    torn[at] ^= 1;
    assert_eq!(decode(&torn).expect("the head is whole").position, StreamPosition(8192));
    // One beyond the end is none.
    let beyond = decode(&journal(&[14 * 4096])).expect("the head is whole");
    assert_eq!(beyond.position, StreamPosition(0));
}

#[test]
fn a_journal_with_any_bit_of_its_head_changed_does_not_count() {
    let whole = journal(&[4096]);
    let head = encode_head(&contents(), TableNumber(40)).len();
    for at in 0..head {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(decode(&damaged).is_none(), "byte {at}");
    }
    assert!((0..head).all(|len| decode(&whole[..len]).is_none()));
    assert!(decode(&whole[..head]).is_some_and(|found| found.position == StreamPosition(0)));
}

#[test]
fn the_formats_have_not_changed() {
    golden("checkpoint.bin", &contents().encode());
    golden("receiving.bin", &journal(&[4096, 8192, 12_288]));
}
