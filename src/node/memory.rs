//! How the node's memory budget is divided. The only place that does.
//!
//! ```text
//!   --memory ─┬─ 1/8, at least 23 MiB, 5 for each core and 0.9 for each partition: code, rings,
//!             │  stacks, tasks, the allocator's slack
//!             └─ the rest, in equal shares for the cores
//!                  ├─ 5/8  engine: memtables, block cache, staged writes; 1/16 of that for what waits
//!                  │       to be sent to other nodes
//!                  ├─ 2/8  statements: sorts, hash tables, results on their way
//!                  └─ 1/8  sessions: requests on their way in, and 1/8 of that for kept plans
//! ```
//!
//! Each part is a hard bound: at it writers wait, queries spill or are refused with 53200, and
//! requests are refused.

/// Bytes resident of the program itself once its statements have run: most of it code, of which a
/// build that is not optimised has more.
const PROGRAM: u64 = if cfg!(debug_assertions) { 46 << 20 } else { 23 << 20 };
/// Bytes resident of a core that has done nothing yet: its rings, their buffers, its tasks.
const IDLE_CORE: u64 = 5 << 20;
/// Bytes resident of a partition's Raft group once its queues have gone round: they are rings of fixed
/// length.
const GROUP: u64 = 900 << 10;
/// The part of the budget that is left to what is not counted.
const RESERVE_PART: u64 = 8;
/// A core's share is handed out in so many parts.
const PARTS: u64 = 8;
const ENGINE_PARTS: u64 = 5;
const STATEMENT_PARTS: u64 = 2;
/// Of what the engine gets, one in so many bytes waits for other nodes.
const LINKS_PART: u64 = 16;
/// Of what the sessions get, one in so many bytes keeps plans.
const PLANS_PART: u64 = 8;

/// Bytes of syntax tree and plan that a byte of text may become.
const TREE_BYTES_PER_TEXT: u64 = 32;
/// Every node takes a text of so many bytes.
const TEXT_MIN: usize = 1 << 20;

/// The bounds of one core, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreMemory {
    /// Memtables, block cache and staged writes.
    pub engine: usize,
    /// Messages that wait to be sent to other nodes, apart from a longest one.
    pub links: usize,
    /// What all running statements keep together.
    pub statements: usize,
    /// Requests that have arrived and are not answered.
    pub requests: usize,
    /// Plans kept for statements that come again.
    pub plans: usize,
    /// The longest text of statements: planned, it takes many times its length of what the
    /// statements have.
    pub text_max: usize,
}

/// Divides `budget` bytes among `cores` cores, of a node with so many partitions besides the system's.
pub fn divide(budget: u64, cores: u16, partitions: u32) -> CoreMemory {
    let reserve = (budget / RESERVE_PART).max(idle(cores, partitions)).min(budget / 4 * 3);
    let share = (budget - reserve) / u64::from(cores.max(1));
    let part = |parts: u64| share * parts / PARTS;
    let (engine, statements) = (part(ENGINE_PARTS), part(STATEMENT_PARTS));
    let sessions = share - engine - statements;
    let links = engine / LINKS_PART;
    let plans = sessions / PLANS_PART;
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    CoreMemory {
        engine: bytes(engine - links),
        links: bytes(links),
        statements: bytes(statements),
        requests: bytes(sessions - plans),
        plans: bytes(plans),
        text_max: bytes(statements / TREE_BYTES_PER_TEXT).max(TEXT_MIN),
    }
}

/// Bytes resident of a node that holds nothing: the least that is left to what is not counted.
fn idle(cores: u16, partitions: u32) -> u64 {
    PROGRAM + IDLE_CORE * u64::from(cores) + GROUP * (u64::from(partitions) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_stay_inside_the_budget() {
        for (budget, cores) in [(64 << 20, 1), (64 << 20, 64), (512 << 20, 2), (1 << 40, 16)] {
            let core = divide(budget, cores, 8);
            let all = core.engine + core.links + core.statements + core.requests + core.plans;
            let used = all as u64 * u64::from(cores);
            assert!(
                used <= budget - idle(cores, 8).min(budget / 4 * 3),
                "{cores} cores of {budget}: {core:?}"
            );
            assert!(used >= budget / 4 - u64::from(cores), "{cores} cores of {budget}: {core:?}");
            assert!(core.engine > core.statements && core.plans > 0);
        }
    }
}
