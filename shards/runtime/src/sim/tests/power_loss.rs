//! What a loss of power may take, and what it may not.

use std::cell::RefCell;

use super::*;
use crate::{random, time};

const SECTOR: usize = 512;
const SECTORS: usize = 128;

/// What a sector may hold: the version that is durable, and those written since.
#[derive(Clone, Default)]
struct Sector {
    durable: u8,
    since: Vec<u8>,
}

impl Sector {
    fn allows(&self, byte: u8) -> bool {
        byte == self.durable || self.since.contains(&byte)
    }
}

/// The model of one file of `SECTORS` sectors; each write fills its sectors with its own byte.
#[derive(Clone)]
struct Model {
    sectors: Vec<Sector>,
    /// Versions that completed without being durable, oldest first, with their sectors.
    unsynced: Vec<(u8, std::ops::Range<usize>)>,
    versions: u8,
}

impl Model {
    fn begin(&mut self, range: &std::ops::Range<usize>) -> u8 {
        self.versions += 1;
        for sector in &mut self.sectors[range.clone()] {
            sector.since.push(self.versions);
        }
        self.versions
    }

    fn settle(&mut self, range: std::ops::Range<usize>) {
        for sector in &mut self.sectors[range] {
            sector.durable = sector.since.pop().unwrap_or(sector.durable);
            sector.since.clear();
        }
    }
}

/// Writes, some durably, some with a sync after them, until the power is lost.
async fn write_until_crash(model: Rc<RefCell<Model>>) {
    let plain = open("/data", false).await;
    plain.preallocate((SECTORS * SECTOR) as u64).await.unwrap();
    let durable = open("/data", true).await;
    fs::sync_dir("/".as_ref()).await.unwrap();
    while model.borrow().versions < 200 {
        let pages = 1 + random::below(3) as usize;
        let first = random::below((SECTORS / 8 - pages + 1) as u64) as usize;
        let range = first * 8..(first + pages) * 8;
        let version = model.borrow_mut().begin(&range);
        let bytes = vec![version; pages * fs::ALIGNMENT];
        let dsync = random::below(3) == 0;
        let file = if dsync { &durable } else { &plain };
        let position = (range.start * SECTOR) as u64;
        file.write_at(position, Buffer::from_slice_padded(&bytes)).await.unwrap();
        if dsync {
            model.borrow_mut().settle(range);
        } else {
            model.borrow_mut().unsynced.push((version, range));
        }
        if random::below(8) == 0 {
            plain.sync().await.unwrap();
            let mut model = model.borrow_mut();
            model.unsynced.clear();
            model.settle(0..SECTORS);
        }
    }
    std::future::pending().await
}

/// What was seen to happen to unsynced writes.
#[derive(Default, Debug)]
struct Seen {
    lost: usize,
    kept: usize,
    torn_between: usize,
    torn_inside: usize,
    reordered: usize,
}

impl Seen {
    fn look(&mut self, model: &Model, bytes: &[u8]) {
        let mut whole = Vec::new();
        for (version, range) in &model.unsynced {
            let sectors = &bytes[range.start * SECTOR..range.end * SECTOR];
            let counts: Vec<usize> = sectors
                .chunks(SECTOR)
                .map(|sector| sector.iter().filter(|byte| *byte == version).count())
                .collect();
            let newest = |at: usize| model.sectors[at].since.last() == Some(version);
            if !range.clone().all(newest) {
                continue;
            }
            let all = counts.iter().all(|&count| count == SECTOR);
            let none = counts.iter().all(|&count| count == 0);
            self.lost += usize::from(none);
            self.kept += usize::from(all);
            self.torn_inside += usize::from(counts.iter().any(|count| !matches!(count, 0 | 512)));
            self.torn_between += usize::from(counts.contains(&0) && counts.contains(&SECTOR));
            if all || none {
                whole.push(all);
            }
        }
        self.reordered += usize::from(whole.windows(2).any(|pair| pair == [false, true]));
    }
}

#[test]
fn synced_data_survives_and_the_rest_is_lost_kept_torn_and_reordered() {
    let mut seen = Seen::default();
    for seed in 0..600 {
        let sim = sim(seed);
        let sectors = vec![Sector::default(); SECTORS];
        let model = Model { sectors, unsynced: Vec::new(), versions: 0 };
        let model = Rc::new(RefCell::new(model));
        let writes = model.clone();
        sim.start_node(1, 1, move |_| Box::pin(write_until_crash(writes.clone())));
        let life = 2 * MS + sim.random().duration(MS, 20 * MS);
        sim.run_for(life).unwrap();
        assert_eq!(sim.panics(), [], "seed {seed}");
        sim.crash(1, Loss::Power);
        if sim.disk(1).files().is_empty() {
            assert_eq!(model.borrow().versions, 0, "seed {seed}: a synced name is gone");
            continue;
        }
        let bytes = sim.disk(1).read("/data").unwrap();
        let model = model.borrow();
        for (at, byte) in bytes.iter().enumerate() {
            let sector = &model.sectors[at / SECTOR];
            assert!(sector.allows(*byte), "seed {seed}: byte {at} is {byte}");
        }
        seen.look(&model, &bytes);
        // What survived one loss is durable: a second one takes nothing more.
        sim.crash(1, Loss::Power);
        assert_eq!(sim.disk(1).read("/data").unwrap(), bytes, "seed {seed}");
    }
    let Seen { lost, kept, torn_between, torn_inside, reordered } = seen;
    let all = [lost, kept, torn_between, torn_inside, reordered];
    assert!(all.iter().all(|&count| count > 10), "{seen:?}");
}

#[test]
fn a_process_crash_keeps_what_was_written() {
    let mut interrupted = [0; 2];
    for seed in 0..200 {
        let sim = sim(seed);
        sim.start_node(1, 1, |_| {
            Box::pin(async {
                let file = open("/data", false).await;
                file.write_at(0, page(1)).await.unwrap();
                time::sleep(Duration::from_secs(1)).await;
                file.write_at(0, Buffer::from_slice_padded(&[2; 8192])).await.unwrap();
            })
        });
        sim.run_for(Duration::from_secs(1)).unwrap();
        let late = sim.run_until(async {
            time::sleep(Duration::from_micros(200 + random::below(600))).await;
        });
        late.unwrap();
        sim.crash(1, Loss::Process);
        let bytes = sim.disk(1).read("/data").unwrap();
        assert!(bytes.len() == 4096 || bytes.len() == 8192);
        assert!(bytes[..4096].iter().all(|&byte| byte == bytes[0]));
        assert!(bytes[4096..].iter().all(|&byte| byte == 2));
        interrupted[usize::from(bytes[0]) - 1] += 1;
    }
    assert!(interrupted.iter().all(|&count| count > 10), "{interrupted:?}");
}

#[test]
fn names_are_durable_once_their_directory_is_synced() {
    let mut survivors = 0;
    for seed in 0..100 {
        let sim = sim(seed);
        sim.run_until(async {
            fs::create_dir_all("/a/b".as_ref()).await.unwrap();
            for directory in ["/", "/a"] {
                fs::sync_dir(directory.as_ref()).await.unwrap();
            }
            let kept = open("/a/b/kept", true).await;
            kept.write_at(0, page(1)).await.unwrap();
            fs::sync_dir("/a/b".as_ref()).await.unwrap();
            let unsure = open("/a/b/unsure", true).await;
            unsure.write_at(0, page(2)).await.unwrap();
        })
        .unwrap();
        sim.crash(CLIENT, Loss::Power);
        let disk = sim.disk(CLIENT);
        assert_eq!(disk.read("/a/b/kept").unwrap(), [1; 4096]);
        match disk.read("/a/b/unsure") {
            Ok(bytes) => {
                assert_eq!(bytes, [2; 4096]);
                survivors += 1;
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
        let left = if disk.files().len() == 2 { 8192 } else { 4096 };
        assert_eq!(disk.used(), left, "seed {seed}");
    }
    assert!((10..90).contains(&survivors), "{survivors}");
}

#[test]
fn a_rename_is_there_or_not_and_both_names_never_vanish() {
    let mut kinds = [0; 3];
    for seed in 0..150 {
        let sim = sim(seed);
        let synced = seed % 3 == 0;
        sim.start_node(1, 1, move |_| {
            Box::pin(async move {
                open("/manifest", true).await.write_at(0, page(1)).await.unwrap();
                fs::sync_dir("/".as_ref()).await.unwrap();
                open("/new", true).await.write_at(0, page(2)).await.unwrap();
                fs::rename("/new".as_ref(), "/manifest".as_ref()).await.unwrap();
                if synced {
                    fs::sync_dir("/".as_ref()).await.unwrap();
                }
                std::future::pending().await
            })
        });
        sim.run_for(10 * MS).unwrap();
        sim.crash(1, Loss::Power);
        let manifest = sim.disk(1).read("/manifest").unwrap();
        let temporary = sim.disk(1).read("/new").is_ok();
        match (manifest[0], temporary) {
            (2, false) => kinds[0] += 1,
            (1, true) => kinds[1] += 1,
            (1, false) => kinds[2] += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
        assert!(!synced || manifest == [2; 4096], "seed {seed}");
    }
    assert!(kinds.iter().all(|&count| count > 5), "{kinds:?}");
}

#[test]
fn an_older_truncate_never_undoes_a_durable_write() {
    for seed in 0..100 {
        let sim = sim(seed);
        sim.run_until(async {
            let file = open("/log", true).await;
            fs::sync_dir("/".as_ref()).await.unwrap();
            file.write_at(0, page(1)).await.unwrap();
            file.truncate(0).await.unwrap();
            file.write_at(0, page(2)).await.unwrap();
            if random::below(2) == 0 {
                file.sync().await.unwrap();
            }
        })
        .unwrap();
        sim.crash(CLIENT, Loss::Power);
        assert_eq!(sim.disk(CLIENT).read("/log").unwrap(), [2; 4096], "seed {seed}");
    }
}
