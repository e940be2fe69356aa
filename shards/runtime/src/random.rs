//! Random numbers. Only those of [`fill_secret`] are for secrets.
//!
//! On a real core or a plain thread: one xoshiro256++ stream a thread, seeded by the operating
//! system. In the simulator: the run's seeded stream.

use std::cell::RefCell;

use crate::world::{self, World};

/// A seeded stream of random numbers: xoshiro256++ (Blackman and Vigna), seeded by splitmix64.
/// The same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream that belongs to `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut x = seed;
        let mut split_mix = || {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Self { state: [split_mix(), split_mix(), split_mix(), split_mix()] }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number in `0..n`, each as likely as the next (Lemire 2019).
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there is no number below zero");
        let reject_below = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            // The low half is what is left over; the high half the number.
            if (wide as u64) >= reject_below {
                return (wide >> 64) as u64;
            }
        }
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

thread_local! {
    static STREAM: RefCell<Rng> = RefCell::new(Rng::seeded(os_seed()));
}

/// A seed from the operating system.
fn os_seed() -> u64 {
    let mut seed = [0u8; 8];
    fill_from_os(&mut seed);
    u64::from_le_bytes(seed)
}

/// Fills a few bytes from the operating system: up to 256 come whole.
fn fill_from_os(out: &mut [u8]) {
    const WHOLE_MAX: usize = 256;
    for chunk in out.chunks_mut(WHOLE_MAX) {
        // SAFETY: the pointer and length describe `chunk`.
        let got = unsafe { libc::getrandom(chunk.as_mut_ptr().cast(), chunk.len(), 0) };
        assert_eq!(usize::try_from(got), Ok(chunk.len()), "the kernel gives no random bytes");
    }
}

fn with<T>(f: impl FnOnce(&mut Rng) -> T) -> T {
    match world::current() {
        World::None | World::Glommio => STREAM.with_borrow_mut(f),
        World::Sim => crate::sim::with(|core| core.random().with(f)),
    }
}

/// 64 random bits. Works on every thread.
#[must_use]
pub fn next_u64() -> u64 {
    with(Rng::next_u64)
}

/// A random number in `0..n`. Works on every thread.
///
/// # Panics
/// If `n` is zero.
#[must_use]
pub fn below(n: u64) -> u64 {
    with(|rng| rng.below(n))
}

/// Fills `out` with random bytes. Works on every thread.
pub fn fill(out: &mut [u8]) {
    with(|rng| rng.fill(out));
}

/// Fills `out` with bytes that nobody can guess: nonces, salts, keys. They come from the operating
/// system; in the simulator from the seeded stream, as everything does. Works on every thread.
pub fn fill_secret(out: &mut [u8]) {
    match world::current() {
        World::None | World::Glommio => fill_from_os(out),
        World::Sim => fill(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ() {
        let draw = || {
            let mut out = [0u8; 300];
            fill_secret(&mut out);
            out
        };
        assert_ne!(draw(), draw());
        assert_ne!(draw()[..22], draw()[278..]);
    }

    #[test]
    fn a_seed_names_its_stream() {
        let draw = |seed| {
            let mut rng = Rng::seeded(seed);
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        // Recorded once: a seed must replay the same run on every machine and in every version.
        assert_eq!(Rng::seeded(0).next_u64(), 0x53175d61490b23df);
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut rng = Rng::seeded(1);
        let mut seen = [0u32; 5];
        for _ in 0..5_000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 800), "{seen:?}");
    }

    #[test]
    fn fills_odd_lengths() {
        let mut out = [0u8; 13];
        fill(&mut out);
        assert_ne!(out, [0u8; 13]);
        assert_ne!(next_u64(), next_u64());
    }
}
