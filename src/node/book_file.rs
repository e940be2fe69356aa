//! `cluster.json` in the data directory: the book of the cluster's nodes.

use crate::cluster::book::{Book, NoBook};
use runtime::fs::{self, Buffer, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "cluster.json";
const FILE_NEW: &str = "cluster.json.new";
/// More than the book of the largest cluster takes, in bytes.
const BYTES_MAX: u64 = 64 << 20;

/// Why a book cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub(super) struct BookError {
    path: PathBuf,
    what: Trouble,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The file system refuses it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What is there is none.
    #[error("{0}")]
    Invalid(#[from] NoBook),
    /// What is there is far too long.
    #[error("it has {0} bytes")]
    TooLong(u64),
}

/// Reads the book; `None` where there is none.
pub(super) async fn read(data_dir: &Path) -> Result<Option<Book>, BookError> {
    let path = data_dir.join(FILE);
    read_file(&path).await.map_err(|what| BookError { path, what })
}

async fn read_file(path: &Path) -> Result<Option<Book>, Trouble> {
    if !fs::exists(path).await? {
        return Ok(None);
    }
    let file = File::open(path, &OpenOptions::default()).await?;
    let size = file.size().await?;
    if size > BYTES_MAX {
        return Err(Trouble::TooLong(size));
    }
    let text = file.read_at(0, size as usize).await?;
    Ok(Some(Book::decode(&text)?))
}

/// Replaces the book in one step.
pub(super) async fn write(data_dir: &Path, book: &Book) -> Result<(), BookError> {
    let path = data_dir.join(FILE);
    let written = write_file(data_dir, &path, &book.encode()).await;
    written.map_err(|error| BookError { path, what: error.into() })
}

async fn write_file(data_dir: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let new = data_dir.join(FILE_NEW);
    let options =
        OpenOptions { write: true, create: true, truncate: true, ..OpenOptions::default() };
    let file = File::open(&new, &options).await?;
    file.write_at(0, Buffer::from_slice_padded(text)).await?;
    file.truncate(text.len() as u64).await?;
    file.sync().await?;
    file.close().await?;
    fs::rename(&new, path).await?;
    fs::sync_dir(data_dir).await
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
