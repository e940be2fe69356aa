//! The bytes of one file, sparse and shared between the cache and the durable state.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::choice::Random;

/// The unit in which a file's bytes are kept and in which direct writes are aligned.
pub(in crate::sim) const PAGE: usize = 4096;
/// The unit a device writes: what a power loss keeps or loses on its own.
pub(in crate::sim) const SECTOR: usize = 512;

/// A page's bytes; `None` where all of them are zero.
pub(in crate::sim) type Page = Option<Rc<[u8; PAGE]>>;

/// Splits bytes whose length is a multiple of [`PAGE`] into pages.
pub(in crate::sim) fn pages_of(bytes: &[u8]) -> Vec<Page> {
    debug_assert!(bytes.len().is_multiple_of(PAGE), "part of a page");
    let (pages, _) = bytes.as_chunks::<PAGE>();
    pages.iter().map(|page| page.iter().any(|&byte| byte != 0).then(|| Rc::new(*page))).collect()
}

/// A change to a file, as the device sees it.
#[derive(Clone, Debug)]
pub(in crate::sim) enum Change {
    /// Whole pages, from this page on.
    Write { first_page: u64, pages: Rc<[Page]> },
    /// Zeros from `from` up to `to`, which becomes the length where the file is shorter.
    Zero { from: u64, to: u64 },
    /// The file ends here.
    Truncate(u64),
}

/// A file's contents at one moment. Cloning shares the pages.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Image {
    pages: BTreeMap<u64, Rc<[u8; PAGE]>>,
    len: u64,
}

impl Image {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Copies bytes from `position` on into `into`; how many there were.
    pub fn read(&self, position: u64, into: &mut [u8]) -> usize {
        let available = self.len.saturating_sub(position).min(into.len() as u64) as usize;
        let into = &mut into[..available];
        into.fill(0);
        let end = position + available as u64;
        for (&number, page) in self.pages.range(position / PAGE as u64..end.div_ceil(PAGE as u64)) {
            let start = number * PAGE as u64;
            let from = start.max(position);
            let to = (start + PAGE as u64).min(end);
            into[(from - position) as usize..(to - position) as usize]
                .copy_from_slice(&page[(from - start) as usize..(to - start) as usize]);
        }
        available
    }

    /// Carries out a change completely.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { first_page, pages } => {
                for (number, page) in (*first_page..).zip(pages.iter()) {
                    match page {
                        Some(page) => self.pages.insert(number, Rc::clone(page)),
                        None => self.pages.remove(&number),
                    };
                }
                self.len = self.len.max((first_page + pages.len() as u64) * PAGE as u64);
            }
            Change::Zero { from, to } => {
                self.zero(*from, *to);
                self.len = self.len.max(*to);
            }
            Change::Truncate(len) => self.truncate(*len),
        }
    }

    /// Carries out a change in part, as a power loss leaves it: every sector of a write is kept
    /// or lost on its own, and with `tear` one sector ends in the old bytes.
    pub fn apply_torn(&mut self, change: &Change, tear: bool, random: &Random) {
        let Change::Write { first_page, pages } = change else {
            if random.next_u64() & 1 == 0 {
                self.apply(change);
            }
            return;
        };
        let sectors = pages.len() * (PAGE / SECTOR);
        let torn = tear.then(|| random.index(sectors));
        let prefix_only = random.next_u64() & 1 == 0;
        let end = random.index(sectors + 1);
        for sector in 0..sectors {
            let kept = match torn {
                Some(torn) if sector == torn => 1 + random.index(SECTOR - 1),
                _ if prefix_only && sector < end => SECTOR,
                _ if !prefix_only && random.next_u64() & 1 == 0 => SECTOR,
                _ => continue,
            };
            let position = first_page * PAGE as u64 + (sector * SECTOR) as u64;
            let within = (sector % (PAGE / SECTOR)) * SECTOR;
            let page = pages[sector / (PAGE / SECTOR)].as_deref().unwrap_or(&[0; PAGE]);
            self.overwrite(position, &page[within..within + kept]);
            // The file ends with a sector: its length is the inode's, written as a whole.
            self.len = self.len.max(position + SECTOR as u64);
        }
    }

    /// Writes bytes that stay inside one page.
    fn overwrite(&mut self, position: u64, bytes: &[u8]) {
        let within = (position % PAGE as u64) as usize;
        let page = self.pages.entry(position / PAGE as u64).or_insert_with(|| Rc::new([0; PAGE]));
        Rc::make_mut(page)[within..within + bytes.len()].copy_from_slice(bytes);
    }

    pub fn truncate(&mut self, len: u64) {
        if len < self.len {
            self.zero(len, self.len);
        }
        self.len = len;
    }

    /// Zeros `from..to` without a change of length.
    pub fn zero(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let first = from / PAGE as u64;
        let touched: Vec<u64> =
            self.pages.range(first..to.div_ceil(PAGE as u64)).map(|(&number, _)| number).collect();
        for number in touched {
            let start = number * PAGE as u64;
            let low = from.saturating_sub(start).min(PAGE as u64) as usize;
            let high = (to - start).min(PAGE as u64) as usize;
            if (low, high) == (0, PAGE) {
                self.pages.remove(&number);
            } else if let Some(page) = self.pages.get_mut(&number) {
                Rc::make_mut(page)[low..high].fill(0);
            }
        }
    }

    /// Inverts one bit of the byte at `position`; false beyond the end.
    pub fn flip_bit(&mut self, position: u64, bit: u8) -> bool {
        if position >= self.len {
            return false;
        }
        let mut byte = [0];
        self.read(position, &mut byte);
        self.overwrite(position, &[byte[0] ^ (1 << (bit % 8))]);
        true
    }

    /// Copies bytes inside the file, as far as they and their target lie inside of it.
    pub fn copy_within(&mut self, from: u64, to: u64, len: usize) {
        let mut bytes = vec![0; len];
        let available = self.read(from, &mut bytes);
        let room = self.len.saturating_sub(to).min(available as u64) as usize;
        let mut position = to;
        let mut rest = &bytes[..room];
        while !rest.is_empty() {
            let in_page = PAGE - (position % PAGE as u64) as usize;
            let (part, after) = rest.split_at(in_page.min(rest.len()));
            self.overwrite(position, part);
            position += part.len() as u64;
            rest = after;
        }
    }

    /// Pages that hold something, for bounding a test's memory.
    #[cfg(test)]
    pub fn resident_pages(&self) -> usize {
        self.pages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(first_page: u64, bytes: &[u8]) -> Change {
        Change::Write { first_page, pages: pages_of(bytes).into() }
    }

    fn contents(image: &Image) -> Vec<u8> {
        let mut bytes = vec![0xee; image.len() as usize];
        assert_eq!(image.read(0, &mut bytes), bytes.len());
        bytes
    }

    /// The same changes to an image and to a plain vector leave the same bytes.
    #[test]
    fn an_image_is_a_byte_vector() {
        let random = Random::new(11);
        let (mut image, mut model) = (Image::default(), Vec::<u8>::new());
        for _ in 0..2_000 {
            let page = random.below(8);
            match random.below(4) {
                0 | 1 => {
                    let mut bytes = vec![0; PAGE * (1 + random.index(3))];
                    if random.below(3) > 0 {
                        random.fill(&mut bytes);
                    }
                    let start = page as usize * PAGE;
                    model.resize(model.len().max(start + bytes.len()), 0);
                    model[start..start + bytes.len()].copy_from_slice(&bytes);
                    image.apply(&write(page, &bytes));
                }
                2 => {
                    let from = random.below(40_000);
                    let to = from + random.below(10_000);
                    if model.len() < to as usize {
                        model.resize(to as usize, 0);
                    }
                    model[from as usize..to as usize].fill(0);
                    image.apply(&Change::Zero { from, to });
                }
                _ => {
                    let len = random.below(40_000);
                    model.resize(len as usize, 0);
                    image.apply(&Change::Truncate(len));
                }
            }
            assert_eq!(contents(&image), model);
            let from = random.below(50_000);
            let mut part = vec![0; random.index(9_000)];
            let got = image.read(from, &mut part);
            let start = (from as usize).min(model.len());
            assert_eq!(part[..got], model[start..(start + part.len()).min(model.len())]);
        }
    }

    #[test]
    fn zeros_take_no_memory() {
        let mut image = Image::default();
        image.apply(&Change::Zero { from: 0, to: 1 << 40 });
        image.apply(&write(9, &[0; PAGE]));
        assert_eq!((image.len(), image.resident_pages()), (1 << 40, 0));
    }

    #[test]
    fn a_torn_write_keeps_a_part() {
        let random = Random::new(3);
        let (mut inside, mut between, mut gaps) = (false, false, false);
        for _ in 0..500 {
            let mut image = Image::default();
            image.apply(&write(0, &[1; PAGE * 2]));
            image.apply_torn(&write(0, &[2; PAGE * 2]), random.below(2) == 0, &random);
            let bytes = contents(&image);
            let new = |sector: &[u8]| sector.iter().filter(|&&byte| byte == 2).count();
            let kept: Vec<usize> = bytes.chunks(SECTOR).map(new).collect();
            inside |= kept.iter().any(|&kept| kept != 0 && kept != SECTOR);
            between |= kept.contains(&0) && kept.contains(&SECTOR);
            gaps |= kept.windows(2).any(|pair| pair == [0, SECTOR]);
        }
        assert!(inside && between && gaps);
    }
}
