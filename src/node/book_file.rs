//! `cluster.json` in the data directory: the book of the cluster's nodes.

use crate::cluster::book::{Book, NoBook};
use runtime::fs::{self, Buffer, File, OpenOptions};
use std::io;
use std::path::Path;

const FILE: &str = "cluster.json";
const FILE_NEW: &str = "cluster.json.new";
/// More than the book of the largest cluster takes, in bytes.
const BYTES_MAX: u64 = 64 << 20;

/// Why a book cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum BookError {
    /// The file system refuses it.
    #[error("{FILE}: {0}")]
    Io(#[from] io::Error),
    /// What is there is none.
    #[error("{FILE}: {0}")]
    Invalid(#[from] NoBook),
    /// What is there is far too long.
    #[error("{FILE}: it has {0} bytes")]
    TooLong(u64),
}

/// Reads the book; `None` where there is none.
pub(super) async fn read(data_dir: &Path) -> Result<Option<Book>, BookError> {
    let path = data_dir.join(FILE);
    if !fs::exists(&path).await? {
        return Ok(None);
    }
    let file = File::open(&path, &OpenOptions::default()).await?;
    let size = file.size().await?;
    if size > BYTES_MAX {
        return Err(BookError::TooLong(size));
    }
    let text = file.read_at(0, size as usize).await?;
    Ok(Some(Book::decode(&text)?))
}

/// Replaces the book in one step.
pub(super) async fn write(data_dir: &Path, book: &Book) -> Result<(), BookError> {
    let text = book.encode();
    let (new, path) = (data_dir.join(FILE_NEW), data_dir.join(FILE));
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
mod tests {
    use super::*;
    use runtime::sim::{Loss, Options, Sim};
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    fn live(sim: &Sim, what: impl AsyncFnOnce(&Path) + Clone + 'static) {
        let done = Rc::new(Cell::new(false));
        let told = done.clone();
        sim.start_node(1, 1, move |_core| {
            let (told, what) = (told.clone(), what.clone());
            Box::pin(async move {
                let path = Path::new("/data");
                fs::create_dir_all(path).await.expect("a directory");
                fs::sync_dir(Path::new("/")).await.expect("synced");
                what(path).await;
                told.set(true);
            })
        });
        sim.run_for(Duration::from_secs(5)).expect("it ends");
        assert!(sim.panics().is_empty(), "{:?}", sim.panics());
        assert!(done.get(), "all of it was done");
    }

    #[test]
    fn a_book_outlives_the_power() {
        for seed in 0..20 {
            let sim = Sim::new(Options::new(seed));
            live(&sim, async |path: &Path| {
                assert_eq!(read(path).await.expect("readable"), None);
                write(path, &Book::new(1, 8, 3)).await.expect("written");
                write(path, &Book::new(2, 8, 3)).await.expect("written again");
            });
            sim.crash(1, Loss::Power);
            live(&sim, async |path: &Path| {
                let book = read(path).await.expect("readable");
                assert_eq!(book, Some(Book::new(2, 8, 3)));
            });
        }
    }
}
