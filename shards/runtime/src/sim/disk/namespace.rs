//! Files and directories: what is in the cache, what is on the platter, what is in between.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Component, Path};
use std::rc::Rc;

use super::super::choice::{Chance, Random};
use super::image::{Change, Image, PAGE};

/// Changes to one file, or of names, that a disk holds back at most; beyond that it writes the
/// oldest on its own, as kernels and devices do.
const UNSYNCED_MAX: usize = 8_192;

/// A change the durable image does not have yet.
#[derive(Debug)]
struct Unsynced {
    number: u64,
    change: Change,
    /// It is on the platter all the same, and waits here only for older ones before it: they must
    /// not be carried out over it.
    durable: bool,
}

/// A regular file.
#[derive(Debug)]
pub(in crate::sim) struct FileNode {
    pub number: u64,
    /// What reads see.
    current: RefCell<Image>,
    /// What is there after a power loss that loses everything it may.
    durable: RefCell<Image>,
    /// The changes between the two, oldest first.
    unsynced: RefCell<VecDeque<Unsynced>>,
    /// The disk's bytes in use, shared by its files.
    used: Rc<Cell<u64>>,
    charged: Cell<u64>,
}

impl FileNode {
    pub fn new(number: u64, used: Rc<Cell<u64>>) -> FileNode {
        FileNode {
            number,
            current: RefCell::default(),
            durable: RefCell::default(),
            unsynced: RefCell::default(),
            used,
            charged: Cell::new(0),
        }
    }

    pub fn len(&self) -> u64 {
        self.current.borrow().len()
    }

    pub fn read(&self, position: u64, into: &mut [u8]) -> usize {
        self.current.borrow().read(position, into)
    }

    /// How many more bytes of the disk the file would need to be `len` long.
    pub fn growth(&self, len: u64) -> u64 {
        len.next_multiple_of(PAGE as u64).saturating_sub(self.charged.get())
    }

    fn charge(&self) {
        let charged = self.len().next_multiple_of(PAGE as u64);
        let before = self.charged.replace(charged);
        self.used.set(self.used.get() - before + charged);
    }

    /// Makes a change visible, and durable too when `durably`.
    pub fn apply(&self, number: u64, change: Change, durably: bool) {
        self.current.borrow_mut().apply(&change);
        let mut unsynced = self.unsynced.borrow_mut();
        if durably && unsynced.is_empty() {
            self.durable.borrow_mut().apply(&change);
        } else {
            unsynced.push_back(Unsynced { number, change, durable: durably });
            if unsynced.len() > UNSYNCED_MAX
                && let Some(oldest) = unsynced.pop_front()
            {
                self.durable.borrow_mut().apply(&oldest.change);
            }
        }
        drop(unsynced);
        self.charge();
    }

    /// Makes what was changed before `number` durable.
    pub fn sync(&self, number: u64) {
        let mut durable = self.durable.borrow_mut();
        self.unsynced.borrow_mut().retain(|unsynced| {
            let kept = unsynced.number >= number;
            if !kept {
                durable.apply(&unsynced.change);
            }
            kept
        });
    }

    /// A sync that failed: what it was to write stays visible, and no later sync will write it.
    pub fn forget_unsynced(&self, number: u64) {
        self.unsynced.borrow_mut().retain(|unsynced| unsynced.durable || unsynced.number >= number);
    }

    pub fn unsynced_changes(&self) -> usize {
        self.unsynced.borrow().len()
    }

    /// A change that was under way when the process died: a prefix of its pages, or all, or none.
    pub fn apply_interrupted(&self, number: u64, change: &Change, random: &Random) {
        let change = match change {
            Change::Write { first_page, pages } => {
                let kept = random.index(pages.len() + 1);
                if kept == 0 {
                    return;
                }
                Change::Write { first_page: *first_page, pages: pages[..kept].into() }
            }
            whole if random.next_u64() & 1 == 0 => whole.clone(),
            _ => return,
        };
        self.apply(number, change, false);
    }

    /// Loses the power: of the changes that were not durable each is kept, lost or torn.
    pub fn lose_power(&self, loss: &LossPolicy, under_way: &[Change], random: &Random) {
        let unsynced = std::mem::take(&mut *self.unsynced.borrow_mut());
        let mut durable = self.durable.borrow_mut();
        let changes = unsynced.iter().map(|unsynced| (&unsynced.change, unsynced.durable));
        for (change, on_platter) in changes.chain(under_way.iter().map(|change| (change, false))) {
            if on_platter {
                durable.apply(change);
            } else if random.happens(loss.partial) {
                durable.apply_torn(change, random.happens(loss.torn_sector), random);
            } else if random.happens(loss.keep) {
                durable.apply(change);
            }
        }
        *self.current.borrow_mut() = durable.clone();
        drop(durable);
        self.charge();
    }

    /// What reads see, as a whole.
    pub fn image(&self) -> Image {
        self.current.borrow().clone()
    }

    /// Damages what is stored, in the cache as on the platter.
    pub fn damage(&self, damage: impl Fn(&mut Image)) {
        damage(&mut self.current.borrow_mut());
        damage(&mut self.durable.borrow_mut());
        self.charge();
    }
}

impl Drop for FileNode {
    fn drop(&mut self) {
        self.used.set(self.used.get() - self.charged.get());
    }
}

/// How much of what was not durable one power loss keeps.
#[derive(Copy, Clone, Debug)]
pub(in crate::sim) struct LossPolicy {
    /// A change is kept whole, where it is not partial.
    pub keep: Chance,
    /// A change is kept in part: sector by sector.
    pub partial: Chance,
    /// Of a change kept in part, one sector is torn inside.
    pub torn_sector: Chance,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(in crate::sim) enum Node {
    File(Rc<FileNode>),
    Directory(Rc<DirectoryNode>),
}

impl Node {
    pub fn number(&self) -> u64 {
        match self {
            Node::File(file) => file.number,
            Node::Directory(directory) => directory.number,
        }
    }
}

/// A directory.
#[derive(Debug)]
pub(in crate::sim) struct DirectoryNode {
    pub number: u64,
    current: RefCell<BTreeMap<String, Node>>,
    durable: RefCell<BTreeMap<String, Node>>,
}

impl DirectoryNode {
    pub fn new(number: u64) -> DirectoryNode {
        DirectoryNode { number, current: RefCell::default(), durable: RefCell::default() }
    }

    pub fn get(&self, name: &str) -> Option<Node> {
        self.current.borrow().get(name).cloned()
    }

    pub fn is_empty(&self) -> bool {
        self.current.borrow().is_empty()
    }

    /// Names and what they stand for, by name.
    pub fn entries(&self) -> Vec<(String, Node)> {
        self.current.borrow().iter().map(|(name, node)| (name.clone(), node.clone())).collect()
    }
}

/// A change of names that is durable once the directory that is its home is synced.
#[derive(Clone, Debug)]
pub(in crate::sim) enum NameChange {
    Link {
        directory: Rc<DirectoryNode>,
        name: String,
        node: Node,
    },
    Unlink {
        directory: Rc<DirectoryNode>,
        name: String,
        number: u64,
    },
    /// Its home is the directory it moves into.
    Rename {
        from: (Rc<DirectoryNode>, String),
        to: (Rc<DirectoryNode>, String),
        node: Node,
    },
}

impl NameChange {
    fn home(&self) -> &Rc<DirectoryNode> {
        match self {
            NameChange::Link { directory, .. } | NameChange::Unlink { directory, .. } => directory,
            NameChange::Rename { to, .. } => &to.0,
        }
    }

    /// Carries the change out on one of the two views of the directories.
    fn apply(&self, view: fn(&DirectoryNode) -> &RefCell<BTreeMap<String, Node>>) {
        let unlink = |directory: &DirectoryNode, name: &str, number: u64| {
            let mut entries = view(directory).borrow_mut();
            if entries.get(name).is_some_and(|node| node.number() == number) {
                entries.remove(name)
            } else {
                None
            }
        };
        // What a change replaces is dropped here, after the directory is no longer borrowed.
        let _replaced = match self {
            NameChange::Link { directory, name, node } => {
                view(directory).borrow_mut().insert(name.clone(), node.clone())
            }
            NameChange::Unlink { directory, name, number } => unlink(directory, name, *number),
            NameChange::Rename { from, to, node } => {
                unlink(&from.0, &from.1, node.number());
                view(&to.0).borrow_mut().insert(to.1.clone(), node.clone())
            }
        };
    }
}

/// The tree of names of one disk.
#[derive(Debug)]
pub(in crate::sim) struct Namespace {
    root: Rc<DirectoryNode>,
    unsynced: RefCell<VecDeque<(u64, NameChange)>>,
}

impl Namespace {
    pub fn new() -> Namespace {
        Namespace { root: Rc::new(DirectoryNode::new(0)), unsynced: RefCell::default() }
    }

    /// What `path` stands for. Relative paths begin at the root.
    pub fn find(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Directory(Rc::clone(&self.root));
        for name in names(path) {
            let Node::Directory(directory) = &node else { return None };
            node = directory.get(name.as_str())?;
        }
        Some(node)
    }

    /// The directory `path` lies in, and its name there; `None` for the root and where the
    /// directory is missing.
    pub fn parent(&self, path: &Path) -> Option<(Rc<DirectoryNode>, String)> {
        let mut names = names(path);
        let name = names.pop()?;
        let mut directory = Rc::clone(&self.root);
        for name in names {
            match directory.get(&name)? {
                Node::Directory(next) => directory = next,
                Node::File(_) => return None,
            }
        }
        Some((directory, name))
    }

    /// Makes a change of names visible; durable once its home is synced.
    pub fn apply(&self, number: u64, change: NameChange) {
        change.apply(|directory| &directory.current);
        let mut unsynced = self.unsynced.borrow_mut();
        unsynced.push_back((number, change));
        if unsynced.len() > UNSYNCED_MAX
            && let Some((_, oldest)) = unsynced.pop_front()
        {
            oldest.apply(|directory| &directory.durable);
        }
    }

    /// Makes the changes before `number` whose home is `directory` durable.
    pub fn sync(&self, directory: &DirectoryNode, number: u64) {
        let mut unsynced = std::mem::take(&mut *self.unsynced.borrow_mut());
        unsynced.retain(|(made, change)| {
            let kept = *made >= number || change.home().number != directory.number;
            if !kept {
                change.apply(|directory| &directory.durable);
            }
            kept
        });
        *self.unsynced.borrow_mut() = unsynced;
    }

    /// Makes all changes of names durable.
    pub fn settle(&self) {
        for (_, change) in std::mem::take(&mut *self.unsynced.borrow_mut()) {
            change.apply(|directory| &directory.durable);
        }
    }

    /// Loses the power: each change of names that was not durable is kept or lost on its
    /// own. `lose_file` then decides over the contents of each file left.
    pub fn lose_power(&self, keep: Chance, random: &Random, mut lose_file: impl FnMut(&FileNode)) {
        let unsynced = std::mem::take(&mut *self.unsynced.borrow_mut());
        for (_, change) in unsynced {
            if random.happens(keep) {
                change.apply(|directory| &directory.durable);
            }
        }
        let mut files = BTreeMap::new();
        let mut directories = vec![Rc::clone(&self.root)];
        while let Some(directory) = directories.pop() {
            let entries = directory.durable.borrow().clone();
            for node in entries.values() {
                match node {
                    Node::File(file) => drop(files.insert(file.number, Rc::clone(file))),
                    Node::Directory(inner) => directories.push(Rc::clone(inner)),
                }
            }
            let _before = directory.current.replace(entries);
        }
        files.values().for_each(|file| lose_file(file));
    }

    /// Every file's path and node, in the order of the paths.
    pub fn files(&self) -> Vec<(String, Rc<FileNode>)> {
        let mut files = Vec::new();
        let mut directories = vec![(String::new(), Rc::clone(&self.root))];
        while let Some((path, directory)) = directories.pop() {
            for (name, node) in directory.entries() {
                let path = format!("{path}/{name}");
                match node {
                    Node::File(file) => files.push((path, file)),
                    Node::Directory(inner) => directories.push((path, inner)),
                }
            }
        }
        files.sort_by(|one, two| one.0.cmp(&two.0));
        files
    }
}

/// The names a path is made of. `..` climbs, as far as the root.
fn names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}
