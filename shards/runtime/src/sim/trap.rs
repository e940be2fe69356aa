//! An end that is set for an exact place: after so many steps of a node from now.

use std::cell::RefCell;

use super::options::Loss;

/// A step of a task: what ran on which core of its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The core.
    pub core: u16,
    /// The name that the task was spawned under.
    pub task: &'static str,
}

/// Looks at the node as its last step has left it.
pub(super) type Look = Box<dyn FnOnce(Step)>;

/// A node's end that is to come.
pub(super) struct Trap {
    pub node: u32,
    pub steps_left: u64,
    pub loss: Loss,
    pub look: Look,
}

/// The ends that are to come.
#[derive(Default)]
pub(super) struct Traps(RefCell<Vec<Trap>>);

impl Traps {
    /// Sets one; it takes the place of one that the node has.
    pub fn set(&self, trap: Trap) {
        self.take(trap.node);
        self.0.borrow_mut().push(trap);
    }

    /// Takes back what a node has.
    pub fn take(&self, node: u32) -> Option<Trap> {
        let mut traps = self.0.borrow_mut();
        let place = traps.iter().position(|trap| trap.node == node)?;
        Some(traps.swap_remove(place))
    }

    /// A node has taken a step. Returns what springs.
    pub fn step(&self, node: u32) -> Option<Trap> {
        let mut traps = self.0.borrow_mut();
        let place = traps.iter().position(|trap| trap.node == node)?;
        let left = traps[place].steps_left.saturating_sub(1);
        traps[place].steps_left = left;
        (left == 0).then(|| traps.swap_remove(place))
    }
}
