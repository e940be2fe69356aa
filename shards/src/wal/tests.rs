use super::format::Record;
use super::recover::Replay;
use super::{Extent, Place, Wal, WalError, WalOptions, check};
use model::id::{CoreId, LogIndex, NodeId, PartitionId, Term};
use model::time::Timestamp;
use runtime::sim::{DiskError, DiskFault, Loss, Operations, Options, Sim};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

const FILE: &str = "/wal/000001-000001.wal";
const SEGMENT: u64 = 64 << 10;

fn options() -> WalOptions {
    WalOptions {
        directory: PathBuf::from("/wal"),
        generation: 1,
        segment_bytes: SEGMENT,
        node: NodeId(1),
        core: CoreId(0),
    }
}

/// Entries that were read back, and the newest clock.
#[derive(Default)]
struct Seen {
    entries: Vec<(LogIndex, Vec<u8>)>,
    clock: Timestamp,
}

impl Replay for Seen {
    async fn record(&mut self, _: Place, record: Record<'_>) -> Result<(), &'static str> {
        if let Record::Entry { index, commands, .. } = record {
            self.entries.push((index, commands.to_vec()));
        }
        Ok(())
    }

    fn clock(&mut self, clock: Timestamp) {
        self.clock = self.clock.max(clock);
    }
}

fn entry(index: u64, commands: &[u8]) -> Record<'_> {
    Record::Entry {
        partition: PartitionId(3),
        term: Term(1),
        index: LogIndex(index),
        count: 1,
        commands,
    }
}

fn payload(index: u64) -> Vec<u8> {
    let len = 20 + (index as usize * 977) % 6_000;
    (0..len).map(|at| (at as u64 ^ index) as u8).collect()
}

/// Runs `work` as the only task of node 1 and gives what it gives.
fn on_node<T: 'static, F: Future<Output = T> + 'static>(
    sim: &Sim,
    work: impl Fn() -> F + 'static,
) -> T {
    let out: Rc<RefCell<Option<T>>> = Rc::default();
    let slot = out.clone();
    let work = Rc::new(work);
    sim.start_node(1, 1, move |_| {
        let (slot, work) = (slot.clone(), work.clone());
        Box::pin(async move {
            let done = work().await;
            *slot.borrow_mut() = Some(done);
        })
    });
    while sim.is_running(1) {
        sim.run_for(Duration::from_millis(10)).unwrap();
    }
    let done = out.borrow_mut().take();
    done.unwrap_or_else(|| panic!("the node ended early: {:?}", sim.panics()))
}

async fn open() -> Result<(Wal, Seen), WalError> {
    let mut seen = Seen::default();
    let wal = Wal::open(options(), &mut seen).await?;
    Ok((wal, seen))
}

async fn write(indexes: std::ops::Range<u64>) -> Result<(), WalError> {
    let (mut wal, _) = open().await?;
    for index in indexes {
        wal.append(Timestamp(index), &[entry(index, &payload(index))]).await?;
    }
    wal.close(Timestamp(1)).await
}

#[test]
fn what_was_written_is_read_back_in_order() {
    let sim = Sim::new(Options::new(1));
    let seen = on_node(&sim, || async {
        Wal::create(options()).await.unwrap();
        write(1..40).await.unwrap();
        write(40..60).await.unwrap();
        open().await.unwrap().1
    });
    assert_eq!(seen.entries.len(), 59);
    for (at, (index, commands)) in seen.entries.iter().enumerate() {
        assert_eq!((*index, commands), (LogIndex(at as u64 + 1), &payload(at as u64 + 1)));
    }
    assert_eq!(seen.clock, Timestamp(59));
}

#[test]
fn recycled_segments_are_never_taken_for_new() {
    let sim = Sim::new(Options::new(2));
    let (entries, files) = on_node(&sim, || async {
        Wal::create(options()).await.unwrap();
        let mut index = 0;
        for _ in 0..6 {
            let (mut wal, _) = open().await.unwrap();
            for _ in 0..60 {
                index += 1;
                let written = payload(index);
                let keep_from = wal.current_segment();
                let mut records = vec![entry(index, &written)];
                records.extend(wal.purge(keep_from));
                wal.append(Timestamp(index), &records).await.unwrap();
            }
            wal.close(Timestamp(1)).await.unwrap();
        }
        let (_, seen) = open().await.unwrap();
        let files = runtime::fs::read_dir(&options().directory).await.unwrap().len();
        (seen.entries, files)
    });
    assert!(files <= 4, "{files} files: segments are not recycled");
    // The newest entries are there without a gap, and nothing is out of order.
    assert_eq!(entries.last().unwrap().0, LogIndex(360));
    assert!(entries.windows(2).all(|pair| pair[0].0.next() == pair[1].0));
    assert!(entries.len() < 60);
}

#[test]
fn a_flipped_bit_is_found_or_does_not_matter() {
    let sim = Sim::new(Options::new(3));
    on_node(&sim, || async {
        Wal::create(options()).await.unwrap();
        let (mut wal, _) = open().await.unwrap();
        for index in 1..4 {
            wal.append(Timestamp(1), &[entry(index, &index.to_le_bytes())]).await.unwrap();
        }
        wal.close(Timestamp(1)).await.unwrap();
    });
    let stored = sim.disk(1).store(FILE).unwrap();
    // The header's block, three frames of a block each, the seal, and what lies behind.
    let mut found = 0;
    for offset in (0..6 * 4096_u64).filter(|offset| offset % 4096 < 160 || offset % 97 == 0) {
        sim.disk(1).restore(FILE, &stored).unwrap();
        sim.disk(1).flip_bit(FILE, offset, (offset % 8) as u8).unwrap();
        match on_node(&sim, || async { open().await.map(|(_, seen)| seen.entries.len()) }) {
            Ok(entries) => assert_eq!(entries, 3, "a bit at {offset} swallowed an entry"),
            Err(WalError::Corruption { file, .. }) => {
                found += 1;
                assert!(file.starts_with("/wal"));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(found > 500);
}

/// What an open log checks: segments that were used again, the last of them in its middle. Every bit of what
/// was written counts, and none behind it.
#[test]
fn a_flipped_bit_of_an_open_log_is_found_where_it_is() {
    let sim = Sim::new(Options::new(8));
    on_node(&sim, || async { Wal::create(options()).await.unwrap() });
    let disk = Rc::new(sim.disk(1));
    let found = on_node(&sim, move || {
        let disk = disk.clone();
        async move {
            let (mut wal, _) = open().await.unwrap();
            for index in 1..200 {
                let written = payload(index);
                let mut records = vec![entry(index, &written)];
                records.extend(wal.purge(wal.current_segment().saturating_sub(2)));
                wal.append(Timestamp(index), &records).await.unwrap();
            }
            let (segments, end) = (wal.live_segments(), wal.end());
            assert_eq!(segments.len(), 3);
            let check = async |at: usize| {
                let extent = match segments.get(at + 1) {
                    Some(next) => Extent::UpTo(next),
                    None => Extent::Bytes(end),
                };
                check(&segments[at], extent, async |_bytes| {}).await
            };
            let mut found = 0;
            for (at, segment) in segments.iter().enumerate() {
                check(at).await.unwrap();
                let last = if at == 2 { end } else { SEGMENT };
                let path = segment.file.path();
                for offset in (0..last).step_by(211) {
                    disk.flip_bit(path, offset, (offset % 8) as u8).unwrap();
                    match check(at).await {
                        Err(WalError::Corruption { file, .. }) => {
                            assert_eq!(file, segment.file.path());
                            found += 1;
                        }
                        // Behind the last frame of a full segment is what was there before.
                        Ok(()) => assert!(at < 2 && offset > SEGMENT - 8192, "{offset}"),
                        Err(other) => panic!("{other}"),
                    }
                    disk.flip_bit(path, offset, (offset % 8) as u8).unwrap();
                }
            }
            disk.flip_bit(segments[2].file.path(), end + 5, 1).unwrap();
            check(2).await.unwrap();
            found
        }
    });
    assert!(found > 500, "{found}");
}

#[test]
fn a_log_cut_anywhere_is_an_error_or_whole() {
    let sim = Sim::new(Options::new(4));
    on_node(&sim, || async {
        Wal::create(options()).await.unwrap();
        write(1..5).await.unwrap();
    });
    let stored = sim.disk(1).store(FILE).unwrap();
    for len in (0..SEGMENT).step_by(509) {
        sim.disk(1).restore(FILE, &stored).unwrap();
        sim.disk(1).truncate(FILE, len).unwrap();
        let opened = on_node(&sim, || async { open().await.map(|(_, seen)| seen.entries.len()) });
        assert!(matches!(opened, Err(WalError::Corruption { .. })), "cut at {len}: {opened:?}");
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let sim = Sim::new(Options::new(5));
    on_node(&sim, || async { Wal::create(options()).await.unwrap() });
    sim.disk(1).set_capacity(4 * SEGMENT);
    on_node(&sim, || async {
        let (mut wal, _) = open().await.unwrap();
        let mut index = 0;
        let refused = loop {
            index += 1;
            let written = wal.append(Timestamp(1), &[entry(index, &payload(index))]).await;
            if let Err(error) = written {
                break error;
            }
        };
        assert!(matches!(refused, WalError::Full { .. }), "{refused}");
        assert!(wal.failed.is_none());
    });
    sim.disk(1).set_capacity(1 << 30);
    let before = on_node(&sim, || async { open().await.unwrap().1.entries.len() as u64 });
    assert!(before > 10);
    on_node(&sim, move || async move { write(before + 1..before + 40).await.unwrap() });
    let after = on_node(&sim, || async { open().await.unwrap().1.entries.len() as u64 });
    assert_eq!(after, before + 39);
}

#[test]
fn a_failed_write_is_final() {
    let sim = Sim::new(Options::new(6));
    on_node(&sim, || async { Wal::create(options()).await.unwrap() });
    sim.disk(1)
        .fail(DiskFault::new(Operations::WRITE, DiskError::InputOutput).on_path(FILE).once());
    on_node(&sim, || async {
        let (mut wal, _) = open().await.unwrap();
        for _ in 0..3 {
            let failed = wal.append(Timestamp(1), &[entry(1, b"x")]).await.unwrap_err();
            assert!(matches!(failed, WalError::Failed { .. }), "{failed}");
        }
    });
}

#[test]
fn a_write_that_fits_nowhere_is_refused() {
    let sim = Sim::new(Options::new(7));
    on_node(&sim, || async {
        Wal::create(options()).await.unwrap();
        let (mut wal, _) = open().await.unwrap();
        let huge = vec![0; SEGMENT as usize];
        let refused = wal.append(Timestamp(1), &[entry(1, &huge)]).await.unwrap_err();
        assert!(matches!(refused, WalError::TooLarge { .. }));
        wal.append(Timestamp(1), &[entry(1, b"fits")]).await.unwrap();
    });
}

/// Power goes at random moments, over and over on the same disk: what was acknowledged is there,
/// in order, and nothing is taken for corruption.
#[test]
fn acknowledged_entries_survive_power_loss() {
    for seed in 0..60 {
        let sim = Sim::new(Options::new(seed));
        on_node(&sim, || async {
            Wal::create(options()).await.unwrap();
            runtime::fs::sync_dir(std::path::Path::new("/")).await.unwrap();
        });
        let acknowledged = Rc::new(std::cell::Cell::new(0_u64));
        for round in 0..6 {
            let known = acknowledged.clone();
            sim.start_node(1, 1, move |_| {
                let known = known.clone();
                Box::pin(async move {
                    let (mut wal, seen) = open().await.unwrap();
                    let mut index = seen.entries.last().map_or(0, |(index, _)| index.0);
                    assert!(index >= known.get(), "{} acknowledged, {index} there", known.get());
                    for (index, commands) in &seen.entries {
                        assert_eq!(commands, &payload(index.0));
                    }
                    assert!(seen.entries.windows(2).all(|pair| pair[0].0.next() == pair[1].0));
                    loop {
                        index += 1;
                        let written = payload(index);
                        let mut records = vec![entry(index, &written)];
                        records.extend(wal.purge(wal.current_segment().saturating_sub(1)));
                        wal.append(Timestamp(index), &records).await.unwrap();
                        known.set(index);
                    }
                })
            });
            let micros = 3_000 + (seed * 7_919 + round * 104_729) % 40_000;
            sim.run_for(Duration::from_micros(micros)).unwrap();
            sim.crash(1, if round % 3 == 2 { Loss::Process } else { Loss::Power });
            assert!(sim.panics().is_empty(), "seed {seed}: {:?}", sim.panics());
        }
        assert!(acknowledged.get() > 0, "seed {seed} wrote nothing");
    }
}

/// The bytes of a small log, as `docs/formats/wal.md` describes them.
#[test]
fn the_format_is_the_documented_one() {
    use super::format::{FrameHeader, Records, SegmentHeader};
    let header = SegmentHeader {
        log: 0x1122_3344_5566_7788,
        generation: 1,
        segment: 9,
        oldest: 7,
        bytes: 64 << 20,
        node: NodeId(5),
        core: CoreId(2),
    };
    let block = header.encode();
    assert_eq!(hex(&block[..64]), include_str!("golden/segment.hex").trim());
    assert_eq!(SegmentHeader::decode(&block), Some(header));
    let frame = FrameHeader {
        log: 0x1122_3344_5566_7788,
        segment: 9,
        sequence: 41,
        clock: Timestamp(1_000),
        previous: 0xdead_beef,
        body_crc: 0x0102_0304,
        body_bytes: 99,
    };
    let (bytes, checksum) = frame.encode();
    assert_eq!(hex(&bytes), include_str!("golden/frame.hex").trim());
    assert_eq!(FrameHeader::decode(&bytes), Some((frame, checksum)));
    let records = [
        entry(6, b"commands"),
        Record::HardState {
            partition: PartitionId(3),
            term: Term(8),
            vote: Some(NodeId(5)),
            elected: true,
            purged: Some((Term(7), LogIndex(40))),
            votes_from: LogIndex(0),
        },
        Record::Membership {
            partition: PartitionId(3),
            term: Term(8),
            index: LogIndex(43),
            voters: b"voters",
        },
        Record::Truncated { partition: PartitionId(3), after: LogIndex(4) },
        Record::Purged { oldest: 7 },
        Record::Forgotten { partition: PartitionId(3) },
        Record::HardState {
            partition: PartitionId(3),
            term: Term(8),
            vote: Some(NodeId(5)),
            elected: true,
            purged: None,
            votes_from: LogIndex(44),
        },
        Record::Seal,
    ];
    let mut body = Vec::new();
    for record in &records {
        let (fixed, len) = record.fixed();
        body.extend_from_slice(&record.header());
        body.extend_from_slice(&fixed[..len]);
        body.extend_from_slice(record.tail());
    }
    assert_eq!(hex(&body), include_str!("golden/records.hex").trim());
    let read: Vec<_> = Records::new(&body).collect();
    assert_eq!(read, records.map(Some).to_vec());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
