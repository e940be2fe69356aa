//! Whose data a directory holds, and for how many cores it is laid out.
//!
//! `node.json` says it. It is replaced in one step (written beside, synced, renamed), and names the
//! *generation* of the logs: files of any other generation are of an unfinished change of the
//! number of cores, or of the layout before it, and count for nothing.

use super::engine::OpenError;
use super::options::EngineOptions;
use super::parts::log_options;
use super::reshape;
use crate::raft::CoreLog;
use model::id::{CoreId, NodeId};
use model::placement::PlacementMap;
use runtime::fs::{self, Buffer, File, LockFile, OpenOptions};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const IDENTITY_FILE: &str = "node.json";
const IDENTITY_FILE_NEW: &str = "node.json.new";
const LOCK_FILE: &str = "lock";
/// The form of what is in the directory. 2: a partition's log is that of a Raft group.
const FORMAT: u32 = 2;
/// Far more than an identity takes, in bytes.
const IDENTITY_BYTES_MAX: u64 = 64 << 10;

/// The generation of a new node's logs.
const FIRST_GENERATION: u64 = 1;

/// What `node.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the layout of the directory.
    pub format: u32,
    /// The node's id.
    pub node: u32,
    /// The same on all nodes of a cluster, and on no other; random.
    pub cluster: u64,
    /// Cores that the logs are laid out for.
    pub cores: u16,
    /// Partitions besides the system partition; never changes.
    pub partitions: u32,
    /// Which logs count.
    pub generation: u64,
    /// The node founds its cluster: its partitions may not all have begun.
    #[serde(default)]
    pub founding: bool,
    /// How often the node has started, this time included.
    #[serde(default)]
    pub starts: u32,
}

/// Settings for opening a data directory.
#[derive(Debug, Clone)]
pub struct DataDirOptions {
    /// The directory.
    pub path: PathBuf,
    /// The node that starts.
    pub node: NodeId,
    /// With so many cores.
    pub cores: u16,
    /// Partitions of a new node; one that has data keeps its own.
    pub partitions: u32,
    /// Memory for moving data to another number of cores, in bytes.
    pub memory_bytes: usize,
    /// Size of a log segment; a multiple of 4096.
    pub wal_segment_bytes: u64,
}

/// A data directory that is locked, and not open yet.
#[derive(Debug)]
pub struct Claimed {
    path: PathBuf,
    identity: Option<Identity>,
    lock: LockFile,
}

/// A node's data directory, locked against other processes for as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    identity: Identity,
    _lock: LockFile,
}

impl DataDir {
    /// Locks the directory, and makes it where it is new.
    ///
    /// # Errors
    /// [`OpenError::Locked`]; damaged data.
    pub async fn claim(path: &Path) -> Result<Claimed, OpenError> {
        fs::create_dir_all(path).await?;
        if let Some(parent) = path.parent().filter(|parent| parent.components().count() > 0) {
            fs::sync_dir(parent).await?;
        }
        let lock = fs::lock(&path.join(LOCK_FILE)).await?;
        let lock = lock.ok_or_else(|| OpenError::Locked(path.to_owned()))?;
        let identity = read_identity(path).await?;
        if identity.is_none() && fs::exists(&path.join("partitions")).await? {
            let what = format!("{} holds data, but {IDENTITY_FILE} is missing", path.display());
            return Err(OpenError::Mismatch(what));
        }
        Ok(Claimed { path: path.to_owned(), identity, lock })
    }

    /// Claims the directory, and opens it.
    ///
    /// # Errors
    /// As [`DataDir::claim`] and [`Claimed::open`].
    pub async fn open(options: &DataDirOptions) -> Result<DataDir, OpenError> {
        DataDir::claim(&options.path).await?.open(options).await
    }

    /// Whose data this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the partitions are as long as the node is the only one of its cluster.
    pub fn placement(&self) -> PlacementMap {
        placement(&self.identity)
    }
}

impl Claimed {
    /// Whose data this is; `None` where there is none yet.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Opens the directory, which counts as a start of the node. Who has none founds a cluster; one
    /// that was left by another number of cores is laid out anew. Runs on one core, before any
    /// engine opens. Can be interrupted at any point and begun again.
    ///
    /// # Errors
    /// The data of another node; damaged data; what the file system refuses.
    pub async fn open(self, options: &DataDirOptions) -> Result<DataDir, OpenError> {
        let mut identity = match self.identity {
            None => {
                // 0 is for nobody.
                create(options, runtime::random::next_u64().max(1), true).await?
            }
            Some(identity) if identity.node != options.node.0 => {
                return Err(OpenError::Mismatch(format!(
                    "{} belongs to node {}, not to node {}",
                    self.path.display(),
                    identity.node,
                    options.node
                )));
            }
            Some(identity) if identity.cores == options.cores => identity,
            Some(identity) => reshape::reshape(options, identity).await?,
        };
        identity.starts = identity.starts.saturating_add(1);
        write_identity(&self.path, &identity).await?;
        Ok(DataDir { identity, _lock: self.lock })
    }

    /// Makes the directory of a node that a cluster has let in, with the id and for the partitions
    /// in `options`. It holds no replica yet; this is its first start.
    ///
    /// # Errors
    /// The directory belongs to a node; what the file system refuses.
    pub async fn join(self, options: &DataDirOptions, cluster: u64) -> Result<DataDir, OpenError> {
        if let Some(identity) = &self.identity {
            let (path, owner) = (self.path.display(), identity.node);
            let what = format!("{path} belongs to node {owner} of a cluster already");
            return Err(OpenError::Mismatch(what));
        }
        let identity = Identity { starts: 1, ..create(options, cluster, false).await? };
        write_identity(&self.path, &identity).await?;
        Ok(DataDir { identity, _lock: self.lock })
    }
}

pub(super) fn placement(identity: &Identity) -> PlacementMap {
    PlacementMap::single_node(NodeId(identity.node), identity.cores, identity.partitions)
}

/// Settings of a core's engine for preparing its data.
pub(super) fn engine_options(
    options: &DataDirOptions,
    identity: &Identity,
    core: u16,
) -> EngineOptions {
    let node = NodeId(identity.node);
    let engine = EngineOptions::new(options.path.clone(), node, CoreId(core), placement(identity));
    EngineOptions {
        memory_bytes: options.memory_bytes,
        wal_segment_bytes: options.wal_segment_bytes,
        ..engine
    }
}

/// Makes the empty logs of a layout.
pub(super) async fn create_logs(
    options: &DataDirOptions,
    identity: &Identity,
) -> Result<(), OpenError> {
    for core in 0..identity.cores {
        let engine = engine_options(options, identity, core);
        CoreLog::create(&log_options(&engine, identity.generation).core_log()).await?;
        fs::sync_dir(&options.path.join(format!("core-{core}"))).await?;
    }
    fs::sync_dir(&options.path).await?;
    Ok(())
}

/// Makes the logs of a new node. They count as soon as `node.json` says so.
async fn create(
    options: &DataDirOptions,
    cluster: u64,
    founding: bool,
) -> Result<Identity, OpenError> {
    let identity = Identity {
        format: FORMAT,
        node: options.node.0,
        cluster,
        cores: options.cores,
        partitions: options.partitions,
        generation: FIRST_GENERATION,
        founding,
        starts: 0,
    };
    create_logs(options, &identity).await?;
    Ok(identity)
}

/// What the directory's `node.json` says; `None` where there is none.
pub(super) async fn read_identity(data_dir: &Path) -> Result<Option<Identity>, OpenError> {
    let path = data_dir.join(IDENTITY_FILE);
    if !fs::exists(&path).await? {
        return Ok(None);
    }
    let invalid = |what: String| OpenError::Identity { file: path.clone(), what };
    let file = File::open(&path, &OpenOptions::default()).await?;
    let size = file.size().await?;
    if size > IDENTITY_BYTES_MAX {
        return Err(invalid(format!("it has {size} bytes")));
    }
    let bytes = file.read_at(0, IDENTITY_BYTES_MAX as usize).await?;
    let identity: Identity =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if identity.format != FORMAT {
        return Err(OpenError::Mismatch(format!(
            "{} has format {}, this version knows format {FORMAT}",
            path.display(),
            identity.format
        )));
    }
    if identity.cores == 0 {
        return Err(invalid("a node has at least one core".to_owned()));
    }
    Ok(Some(identity))
}

/// Notes that every partition of a cluster that this node founds has begun: from now on it has those
/// that have a directory.
///
/// # Errors
/// What the file system refuses.
pub async fn founded(data_dir: &Path) -> Result<(), OpenError> {
    match read_identity(data_dir).await? {
        Some(identity) if identity.founding => {
            write_identity(data_dir, &Identity { founding: false, ..identity }).await
        }
        _ => Ok(()),
    }
}

/// Replaces `node.json` in one step.
pub(super) async fn write_identity(data_dir: &Path, identity: &Identity) -> Result<(), OpenError> {
    let text = serde_json::to_vec_pretty(identity).map_err(std::io::Error::other)?;
    let (new, path) = (data_dir.join(IDENTITY_FILE_NEW), data_dir.join(IDENTITY_FILE));
    let options =
        OpenOptions { write: true, create: true, truncate: true, ..OpenOptions::default() };
    let file = File::open(&new, &options).await?;
    file.write_at(0, Buffer::from_slice_padded(&text)).await?;
    file.truncate(text.len() as u64).await?;
    file.sync().await?;
    file.close().await?;
    fs::rename(&new, &path).await?;
    fs::sync_dir(data_dir).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
