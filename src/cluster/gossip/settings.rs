//! How often is asked, and how long is waited.

use foca::{Config, PeriodicParams};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// Settings of the failure detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often a node asks another whether it lives.
    pub probe_every: Duration,
    /// How long an answer takes at most before others are asked to ask; less than a third of
    /// `probe_every`, so that theirs can come in time.
    pub answer_within: Duration,
    /// How many others are asked.
    pub helpers: usize,
    /// How long a suspect of a cluster of up to ten nodes has to refute; more in larger ones.
    pub refute_within: Duration,
    /// How often news are spread beside what rides on probes.
    pub gossip_every: Duration,
    /// To how many.
    pub gossip_to: usize,
    /// How often one that should be there and is not heard of is called.
    pub call_every: Duration,
    /// Longest datagram, in bytes.
    pub datagram_bytes_max: usize,
}

/// How long the dead are remembered, so that news of their life are known to be old.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            probe_every: Duration::from_secs(1),
            answer_within: Duration::from_millis(300),
            helpers: 3,
            refute_within: Duration::from_secs(4),
            gossip_every: Duration::from_millis(200),
            gossip_to: 3,
            call_every: Duration::from_secs(1),
            datagram_bytes_max: 4_096,
        }
    }
}

impl Settings {
    /// For a cluster of `members`: news must reach all of them, and the more they are the longer that
    /// takes.
    pub(super) fn for_members(&self, members: usize) -> Config {
        let at_least_one = |count: usize| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        let digits = (members.max(10) as f64).log10();
        // Each of those that heard it tells it on: 3 log2 n times reach all but for one in n^2.
        let times = (3.0 * (members as f64 + 2.0).log2()).ceil().clamp(6.0, 60.0) as u8;
        Config {
            probe_period: self.probe_every,
            probe_rtt: self.answer_within,
            num_indirect_probes: at_least_one(self.helpers),
            max_transmissions: NonZeroU8::new(times).unwrap_or(NonZeroU8::MIN),
            suspect_to_down_after: self.refute_within.mul_f64(digits),
            remove_down_after: Some(REMEMBERED),
            max_packet_size: at_least_one(self.datagram_bytes_max),
            notify_down_members: true,
            periodic_announce: Some(PeriodicParams {
                frequency: self.call_every * 30,
                num_members: NonZeroUsize::MIN,
            }),
            // Who should be there and is not is called by us: foca knows only those it has met.
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(PeriodicParams {
                frequency: self.gossip_every,
                num_members: at_least_one(self.gossip_to),
            }),
        }
    }
}
