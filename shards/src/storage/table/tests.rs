//! Tables against a model, byte by byte, and against the golden file.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use model::id::PartitionId;
use model::time::Timestamp;
use runtime::random::Rng;

use super::super::tests::golden;
use super::block::{Block, BlockCursor, BlockKind, Gauge};
use super::builder::{BuilderOptions, TableBuilder};
use super::format::{Compression, Damage, FOOTER_BYTES, Footer, Handle, TableIdentity, open_block};
use super::iter::{BlockSource, Run, RunIter, Stop, Walk, find};
use super::*;

/// What a table should hold: ordered as storage orders it.
type Model = BTreeMap<(Vec<u8>, std::cmp::Reverse<u64>), Option<Vec<u8>>>;
type Found = (u64, Option<Vec<u8>>);
type Row = (Vec<u8>, u64, Option<Vec<u8>>);

fn rows(model: &Model) -> Vec<Row> {
    model.iter().map(|((key, ts), value)| (key.clone(), ts.0, value.clone())).collect()
}

/// A model with keys that share prefixes, are prefixes of each other, or have many versions.
fn random_model(rng: &mut Rng, count: usize) -> Model {
    let mut model = Model::new();
    while model.len() < count {
        let mut key = vec![0, 0, 0, rng.below(2) as u8];
        key.extend((0..rng.below(6)).map(|_| rng.below(3) as u8));
        let versions = if rng.below(20) == 0 { 1 + rng.below(40) } else { 1 };
        for _ in 0..versions {
            let value = (rng.below(8) > 0).then(|| {
                let len = if rng.below(50) == 0 { 2_000 } else { rng.below(30) };
                (0..len).map(|_| rng.below(4) as u8).collect()
            });
            model.insert((key.clone(), std::cmp::Reverse(1 + rng.below(1_000))), value);
        }
    }
    model
}

fn build(model: &Model, block_bytes: usize, compression: Compression) -> (TableMeta, Vec<u8>) {
    let mut builder = TableBuilder::new(BuilderOptions {
        partition: PartitionId(3),
        number: TableNumber(7),
        identity: TableIdentity(0x1122_3344_5566_7788),
        block_bytes,
        compression,
    });
    let mut file = Vec::new();
    let mut take = |builder: &mut TableBuilder| {
        let len = builder.ready_bytes();
        let at = file.len();
        file.resize(at + len, 0);
        builder.take(len, &mut file[at..]);
    };
    for ((key, ts), value) in model {
        builder.add(key, Timestamp(ts.0), value.as_deref());
        take(&mut builder);
    }
    let meta = builder.finish();
    take(&mut builder);
    assert_eq!(meta.file_bytes, file.len() as u64);
    assert!(file.len().is_multiple_of(format::PAGE_BYTES));
    (meta, file)
}

/// A table whose file lies in memory, with the blocks that were asked for.
struct InMemory {
    table: Rc<Table>,
    file: Vec<u8>,
    blocks: RefCell<HashMap<u64, Rc<Block>>>,
    gauge: Gauge,
}

impl BlockSource for InMemory {
    fn block(&self, _: &Table, handle: Handle) -> Option<Rc<Block>> {
        self.blocks.borrow().get(&handle.offset).cloned()
    }
}

impl InMemory {
    fn new(meta: TableMeta, file: Vec<u8>) -> Self {
        let table = Rc::new(Table::new(meta, CacheSlot(0), "table".into()));
        Self { table, file, blocks: RefCell::default(), gauge: Gauge::default() }
    }

    /// Does what `step` wants, loading the blocks it asks for.
    fn drive<T>(
        &self,
        mut step: impl FnMut(&dyn BlockSource) -> Result<T, Stop>,
    ) -> Result<T, Damage> {
        loop {
            match step(self) {
                Ok(done) => return Ok(done),
                Err(Stop::Corrupt(corruption)) => return Err(corruption.damage),
                Err(Stop::Need(need)) => {
                    let at = need.handle.offset as usize;
                    let end = at + need.handle.len as usize;
                    let stored = self.file.get(at..end).ok_or(Damage::Truncated)?;
                    let identity = self.table.meta.identity;
                    let payload = open_block(stored, need.kind, identity, need.handle.offset)?;
                    let block = Block::decode(need.kind, payload, &self.gauge)
                        .map_err(|_| Damage::Structure)?;
                    self.blocks.borrow_mut().insert(need.handle.offset, block);
                }
            }
        }
    }

    fn get(&self, key: &[u8], at: u64) -> Result<Option<Found>, Damage> {
        let hash = filter::hash_key(key);
        let found = self.drive(|blocks| find(blocks, &self.table, key, hash, Timestamp(at)))?;
        Ok(found.map(|found| {
            let value = found.value.map(|range| found.block.bytes()[range].to_vec());
            (found.ts.0, value)
        }))
    }

    fn walk(&self, walk: Walk) -> Result<Vec<Row>, Damage> {
        let mut iter = RunIter::new(Run::Tables(vec![Rc::clone(&self.table)]), walk, None);
        let mut out = Vec::new();
        loop {
            self.drive(|blocks| iter.settle(blocks))?;
            let Some(cursor) = iter.cursor() else { return Ok(out) };
            let value = cursor.value().map(<[u8]>::to_vec);
            out.push((cursor.key().to_vec(), cursor.ts().0, value));
            iter.advance();
        }
    }
}

#[test]
fn tables_agree_with_the_model() {
    for seed in 0..20 {
        let mut rng = Rng::seeded(seed);
        let count = 1 + rng.below(400) as usize;
        let model = random_model(&mut rng, count);
        let compression = if seed % 2 == 0 { Compression::None } else { Compression::Lz4 };
        let (meta, file) = build(&model, 64 << rng.below(6), compression);
        assert_eq!(meta.entries, model.len() as u64);
        let table = InMemory::new(meta, file);
        let all = rows(&model);
        assert_eq!(table.walk(Walk::Forward(Box::default())), Ok(all.clone()), "seed {seed}");
        let mut reversed = all.clone();
        reversed.reverse();
        assert_eq!(table.walk(Walk::Reverse(None)), Ok(reversed), "seed {seed}");
        for _ in 0..150 {
            check_random_reads(&mut rng, &table, &model, &all);
        }
    }
}

fn check_random_reads(rng: &mut Rng, table: &InMemory, model: &Model, all: &[Row]) {
    let mut key = all[rng.below(all.len() as u64) as usize].0.clone();
    match rng.below(3) {
        0 => key.push(rng.below(3) as u8),
        1 => key.truncate(rng.below(key.len() as u64 + 1) as usize),
        _ => {}
    }
    let at = rng.below(1_100);
    let expected = model
        .range((key.clone(), std::cmp::Reverse(at))..)
        .next()
        .filter(|((found, _), _)| *found == key)
        .map(|((_, ts), value)| (ts.0, value.clone()));
    assert_eq!(table.get(&key, at), Ok(expected));
    let from = all.partition_point(|row| row.0 < key);
    let walked = table.walk(Walk::Forward(key.as_slice().into()));
    assert_eq!(walked, Ok(all[from..].to_vec()));
    let mut before = all[..from].to_vec();
    before.reverse();
    assert_eq!(table.walk(Walk::Reverse(Some(key.as_slice().into()))), Ok(before));
}

#[test]
fn absent_keys_read_no_data_block() {
    let model: Model = (0..2_000u32)
        .map(|n| ((n.to_be_bytes().to_vec(), std::cmp::Reverse(1)), Some(vec![1; 50])))
        .collect();
    let (meta, file) = build(&model, 1024, Compression::None);
    let table = InMemory::new(meta, file);
    table.walk(Walk::Forward(Box::default())).expect("the table is whole");
    let data_blocks = |table: &InMemory| {
        let blocks = table.blocks.borrow();
        blocks.len()
    };
    table.blocks.borrow_mut().clear();
    for n in 0..1_000u32 {
        let mut key = (n * 2).to_be_bytes().to_vec();
        key.push(0);
        assert_eq!(table.get(&key, 9), Ok(None));
    }
    // Some 13 partitions of 8 blocks: a top block, and an index and a filter for each; data blocks
    // only for the few keys that the filter lets pass.
    assert!(data_blocks(&table) < 60, "{} blocks were read", data_blocks(&table));
}

/// A small table with every kind of block, more than one of each but the top.
fn small_model() -> Model {
    let mut rng = Rng::seeded(11);
    let mut model = random_model(&mut rng, 40);
    for value in model.values_mut().flatten() {
        value.truncate(20);
    }
    model
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    for compression in [Compression::None, Compression::Lz4] {
        let model = small_model();
        let all = rows(&model);
        let (meta, file) = build(&model, 96, compression);
        let mut harmless = 0;
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            let table = InMemory::new(meta.clone(), damaged);
            let footer = Footer::decode(&table.file[file.len() - FOOTER_BYTES..]);
            let walked = table.walk(Walk::Forward(Box::default()));
            let mut got_damage = false;
            for (key, ts, value) in &all {
                match table.get(key, *ts) {
                    Ok(found) => assert_eq!(found, Some((*ts, value.clone())), "byte {at}"),
                    Err(_) => got_damage = true,
                }
            }
            if let Ok(walked) = &walked {
                assert_eq!(*walked, all, "byte {at}");
            }
            if footer.is_ok() && walked.is_ok() && !got_damage {
                harmless += 1;
                assert_eq!(file[at], 0, "byte {at}: only padding may change unnoticed");
            }
        }
        assert!(harmless < format::PAGE_BYTES, "{harmless} bytes of padding");
    }
}

#[test]
fn blocks_of_another_table_or_place_are_refused() {
    let (meta, file) = build(&small_model(), 96, Compression::None);
    let top = &file[meta.top.offset as usize..meta.top.end() as usize];
    let open = |identity, offset| open_block(top, BlockKind::Top, identity, offset);
    assert!(open(meta.identity, meta.top.offset).is_ok());
    assert_eq!(open(TableIdentity(1), meta.top.offset), Err(Damage::Checksum));
    assert_eq!(open(meta.identity, meta.top.offset + 4096), Err(Damage::Checksum));
    let wrong_kind = open_block(top, BlockKind::Data, meta.identity, meta.top.offset);
    assert_eq!(wrong_kind, Err(Damage::Structure));
}

#[test]
fn malformed_blocks_are_refused_without_panic() {
    let mut rng = Rng::seeded(5);
    let gauge = Gauge::default();
    let mut builder = block::BlockBuilder::new();
    for n in 0..40u8 {
        builder.add(&[1, n], Timestamp(u64::from(n)), Some(&[n; 3]));
    }
    let mut payload = Vec::new();
    builder.finish_into(&mut payload);
    for _ in 0..20_000 {
        let mut bytes = payload.clone();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        if rng.below(4) == 0 {
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
        }
        // What still decodes can be walked both ways without a panic.
        if let Ok(block) = Block::decode(BlockKind::Data, bytes.into(), &gauge) {
            let mut cursor = BlockCursor::new(Rc::clone(&block), Vec::new());
            cursor.seek_first();
            while cursor.is_valid() {
                cursor.next();
            }
            cursor.seek_last();
            while cursor.is_valid() {
                cursor.prev();
            }
            block.lower_bound(&[1, 20], Timestamp(20));
        }
    }
    assert_eq!(gauge.bytes(), 0);
}

#[test]
fn the_format_has_not_changed() {
    let (meta, file) = build(&small_model(), 96, Compression::None);
    golden("table.bin", &file);
    let (_, compressed) = build(&small_model(), 96, Compression::Lz4);
    assert_eq!(compressed[compressed.len() - FOOTER_BYTES..][..8], *b"PHDBTBL\0");
    // The stored file reads as the model says.
    let table = InMemory::new(meta, file);
    assert_eq!(table.walk(Walk::Forward(Box::default())), Ok(rows(&small_model())));
}

#[test]
fn table_names_are_recognised_exactly() {
    let number = TableNumber(42);
    assert_eq!(TableNumber::from_file_name(&number.file_name()), Some(number));
    for name in ["42.table", "000000000042.tabl", "00000000004x.table", "+00000000042.table", ""] {
        assert_eq!(TableNumber::from_file_name(name), None, "{name}");
    }
}
