//! The manifest's bytes: round trips, damage at every byte, torn tails, the golden file.

use model::id::{LogIndex, PartitionId};
use model::time::Timestamp;

use super::super::table::TableMeta;
use super::super::table::format::{Handle, TableIdentity};
use super::super::tests::golden;
use super::record::{DamageAt, Recovered, decode_edit};
use super::*;

const PARTITION: PartitionId = PartitionId(5);
const FILE_BYTES: usize = 8 * PAGE_BYTES;

fn meta(number: u64) -> TableMeta {
    TableMeta {
        number: TableNumber(number),
        identity: TableIdentity(number * 1_000_003),
        file_bytes: 8192,
        top: Handle { offset: 300, len: 90 },
        entries: 12,
        tombstones: 2,
        oldest: Timestamp(3),
        newest: Timestamp(u64::MAX - 1),
        smallest: format!("a{number}").into_bytes().into(),
        largest: format!("z{number}").into_bytes().into(),
    }
}

fn edits() -> Vec<Edit> {
    let edit = |added: Vec<(usize, TableMeta)>, removed: &[u64], durable, next| Edit {
        added,
        removed: removed.iter().map(|number| TableNumber(*number)).collect(),
        durable_index: LogIndex(durable),
        next_number: TableNumber(next),
    };
    vec![
        edit(vec![(1, meta(1))], &[], 10, 2),
        edit(vec![(0, meta(2))], &[], 20, 3),
        edit(vec![(1, meta(3))], &[1, 2], 20, 4),
    ]
}

fn file(edits: &[Edit]) -> Vec<u8> {
    let header = FileHeader {
        partition: PARTITION,
        identity: LogIdentity(0xabcd_ef01_2345_6789),
        file_bytes: FILE_BYTES as u64,
    };
    let mut file: Vec<u8> = edits
        .iter()
        .enumerate()
        .flat_map(|(sequence, edit)| encode_record(&header, sequence as u64, &encode_edit(edit)))
        .collect();
    assert!(file.len() <= FILE_BYTES);
    file.resize(FILE_BYTES, 0);
    file
}

fn recovered(bytes: &[u8]) -> Result<Recovered, DamageAt> {
    recover(bytes, PARTITION)
}

#[test]
fn edits_round_trip_and_their_prefixes_are_refused() {
    for edit in edits() {
        let bytes = encode_edit(&edit);
        assert_eq!(decode_edit(&bytes), Some(edit));
        assert!((0..bytes.len()).all(|len| decode_edit(&bytes[..len]).is_none()));
    }
}

#[test]
fn a_whole_file_gives_its_edits() {
    let found = recovered(&file(&edits())).expect("the file is whole");
    assert_eq!(found.edits, edits());
    assert_eq!(found.end, 6 * PAGE_BYTES as u64);
    assert!(!found.is_worn);
}

#[test]
fn no_flipped_bit_changes_what_is_recovered() {
    let whole = file(&edits());
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        let found = recovered(&damaged).unwrap_or_else(|at| panic!("one copy is whole: {at:?}"));
        assert_eq!(found.edits, edits(), "byte {at}");
        assert_eq!(found.end, 6 * PAGE_BYTES as u64);
    }
}

#[test]
fn damage_to_both_copies_is_corruption_unless_it_is_the_tail() {
    let whole = file(&edits());
    for record in 0..3 {
        let mut damaged = whole.clone();
        damaged[2 * record * PAGE_BYTES + 50] ^= 1;
        damaged[(2 * record + 1) * PAGE_BYTES + 50] ^= 1;
        let found = recovered(&damaged);
        match record {
            0 => assert_eq!(found.unwrap_err().offset, 0),
            1 => {
                let at = DamageAt { offset: 2 * PAGE_BYTES as u64, damage: Damage::Checksum };
                assert_eq!(found.unwrap_err(), at);
            }
            // A torn record was never acknowledged; the file is to be written anew.
            _ => {
                let found = found.expect("a torn tail");
                assert_eq!(found.edits, edits()[..2]);
                assert!(found.is_worn);
            }
        }
    }
}

#[test]
fn a_tail_torn_anywhere_leaves_the_edits_before_it() {
    let whole = file(&edits());
    let before = file(&edits()[..2]);
    for len in 4 * PAGE_BYTES..6 * PAGE_BYTES {
        let mut torn = before.clone();
        torn[..len].copy_from_slice(&whole[..len]);
        let found = recovered(&torn).expect("a torn tail is no damage");
        assert!(found.edits == edits()[..2] || found.edits == edits(), "{len} bytes");
        assert!(!found.is_worn || len > 4 * PAGE_BYTES);
    }
}

#[test]
fn truncated_and_foreign_files_are_refused() {
    let whole = file(&edits());
    for len in [0, 10, PAGE_BYTES, 5 * PAGE_BYTES, whole.len() - PAGE_BYTES, whole.len() - 1] {
        let damage = recovered(&whole[..len]).unwrap_err().damage;
        assert_eq!(damage, Damage::Truncated, "{len} bytes");
    }
    assert_eq!(recover(&whole, PartitionId(6)).unwrap_err().damage, Damage::Foreign);
    assert_eq!(recovered(&vec![0; FILE_BYTES]).unwrap_err().damage, Damage::Foreign);
}

#[test]
fn records_of_an_older_file_do_not_count() {
    let mut bytes = file(&edits()[..1]);
    let older = FileHeader {
        partition: PARTITION,
        identity: LogIdentity(1),
        file_bytes: FILE_BYTES as u64,
    };
    let stale = encode_record(&older, 1, &encode_edit(&edits()[1]));
    bytes[2 * PAGE_BYTES..2 * PAGE_BYTES + stale.len()].copy_from_slice(&stale);
    let found = recovered(&bytes).expect("the snapshot is whole");
    assert_eq!(found.edits, edits()[..1]);
}

#[test]
fn the_format_has_not_changed() {
    golden("manifest.bin", &file(&edits()));
}
