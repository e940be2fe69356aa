//! Builds a table as a stream of bytes; knows no file. The caller takes the bytes away as they
//! pile up, so that a table of any size is built in bounded memory: one data block, one index
//! partition with the hashes of its keys, and the list of partitions.

use model::id::PartitionId;
use model::time::Timestamp;

use super::block::{BlockBuilder, BlockKind};
use super::filter;
use super::format::{
    Compression, FOOTER_BYTES, Footer, Handle, PAGE_BYTES, PartitionHandles, TableIdentity,
    seal_block,
};
use super::{TableMeta, TableNumber};

/// What a builder must know beside the rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuilderOptions {
    pub(crate) partition: PartitionId,
    pub(crate) number: TableNumber,
    pub(crate) identity: TableIdentity,
    /// Payload bytes after which a data or index block is closed.
    pub(crate) block_bytes: usize,
    pub(crate) compression: Compression,
}

/// Builds one table. Versions must be added in order (see [`super::block::compare`]), each once.
pub(crate) struct TableBuilder {
    options: BuilderOptions,
    out: Vec<u8>,
    /// Bytes of the file that the caller has taken out of `out`.
    taken: u64,
    data: BlockBuilder,
    index: BlockBuilder,
    top: BlockBuilder,
    hashes: Vec<u64>,
    payload: Vec<u8>,
    handle: Vec<u8>,
    smallest: Option<Box<[u8]>>,
    last_key: Vec<u8>,
    last_ts: Timestamp,
    entries: u64,
    tombstones: u64,
    oldest: Timestamp,
    newest: Timestamp,
}

impl TableBuilder {
    pub(crate) fn new(options: BuilderOptions) -> Self {
        Self {
            options,
            out: Vec::new(),
            taken: 0,
            data: BlockBuilder::new(),
            index: BlockBuilder::new(),
            top: BlockBuilder::new(),
            hashes: Vec::new(),
            payload: Vec::new(),
            handle: Vec::new(),
            smallest: None,
            last_key: Vec::new(),
            last_ts: Timestamp(0),
            entries: 0,
            tombstones: 0,
            oldest: Timestamp(u64::MAX),
            newest: Timestamp(0),
        }
    }

    /// Bytes of the file so far, without what is still in open blocks.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.taken + self.out.len() as u64
    }

    /// Bytes ready to be written.
    pub(crate) fn ready_bytes(&self) -> usize {
        self.out.len()
    }

    /// Takes the first `len` ready bytes.
    pub(crate) fn take(&mut self, len: usize, into: &mut [u8]) {
        into[..len].copy_from_slice(&self.out[..len]);
        self.out.drain(..len);
        self.taken += len as u64;
    }

    pub(crate) fn add(&mut self, key: &[u8], ts: Timestamp, value: Option<&[u8]>) {
        let same_key = self.entries > 0 && self.last_key == key;
        debug_assert!(
            self.entries == 0
                || super::block::compare((&self.last_key, self.last_ts), (key, ts)).is_lt(),
            "versions are added in order"
        );
        if self.smallest.is_none() {
            self.smallest = Some(key.into());
        }
        if !same_key || self.hashes.is_empty() {
            self.hashes.push(filter::hash_key(key));
        }
        if !same_key {
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        self.last_ts = ts;
        self.data.add(key, ts, value);
        self.entries += 1;
        self.tombstones += u64::from(value.is_none());
        self.oldest = self.oldest.min(ts);
        self.newest = self.newest.max(ts);
        if self.data.size_bytes() >= self.options.block_bytes {
            self.close_data_block();
        }
    }

    fn seal(&mut self, kind: BlockKind) -> Handle {
        let offset = self.written_bytes();
        let Self { out, payload, options, .. } = self;
        seal_block(out, payload, kind, options.compression, options.identity, offset);
        payload.clear();
        let len = u32::try_from(self.written_bytes() - offset).expect("a block stays below 4 GiB");
        Handle { offset, len }
    }

    fn close_data_block(&mut self) {
        self.data.finish_into(&mut self.payload);
        let handle = self.seal(BlockKind::Data);
        self.handle.clear();
        handle.put(&mut self.handle);
        self.index.add(&self.last_key, self.last_ts, Some(&self.handle));
        if self.index.size_bytes() >= self.options.block_bytes {
            self.close_index_partition();
        }
    }

    fn close_index_partition(&mut self) {
        filter::build_into(&self.hashes, &mut self.payload);
        self.hashes.clear();
        let filter = self.seal(BlockKind::Filter);
        self.index.finish_into(&mut self.payload);
        let index = self.seal(BlockKind::Index);
        self.handle.clear();
        PartitionHandles { index, filter }.put(&mut self.handle);
        self.top.add(&self.last_key, self.last_ts, Some(&self.handle));
    }

    /// Closes the table; what is left in the ready bytes ends on a page boundary. The table must
    /// hold at least one version.
    pub(crate) fn finish(&mut self) -> TableMeta {
        let smallest = self.smallest.take().expect("a table holds at least one version");
        if !self.data.is_empty() {
            self.close_data_block();
        }
        if !self.index.is_empty() {
            self.close_index_partition();
        }
        self.top.finish_into(&mut self.payload);
        let top = self.seal(BlockKind::Top);
        let end = self.written_bytes() as usize + FOOTER_BYTES;
        let padding = end.next_multiple_of(PAGE_BYTES) - end;
        self.out.resize(self.out.len() + padding, 0);
        let file_bytes = (end + padding) as u64;
        let footer = Footer {
            partition: self.options.partition,
            identity: self.options.identity,
            file_bytes,
            top,
            entries: self.entries,
            tombstones: self.tombstones,
            oldest: self.oldest,
            newest: self.newest,
        };
        self.out.extend_from_slice(&footer.encode());
        TableMeta {
            number: self.options.number,
            identity: self.options.identity,
            file_bytes,
            top,
            entries: self.entries,
            tombstones: self.tombstones,
            oldest: self.oldest,
            newest: self.newest,
            smallest,
            largest: self.last_key.as_slice().into(),
        }
    }
}
