//! The file of rows that could not be inserted: line, reason and the row itself.

use std::path::PathBuf;

use crate::cli::exit::Failure;

/// The rejects of one import; the file is made with the first of them.
pub(super) struct Rejects {
    path: PathBuf,
    header: Vec<String>,
    writer: Option<csv::Writer<fs_err::File>>,
    count: u64,
}

impl Rejects {
    /// Rejects go to `path`, below the titles `header`.
    pub fn new(path: PathBuf, header: Vec<String>) -> Self {
        Self { path, header, writer: None, count: 0 }
    }

    /// Keeps a row.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, line: u64, reason: &str, fields: &[&str]) -> Result<(), Failure> {
        let path = self.path.display().to_string();
        let failed = |error: csv::Error| Failure::failed(format!("{path}: {error}"));
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let file = fs_err::File::create(&self.path).map_err(Failure::failed)?;
                let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(file);
                let titles =
                    ["line", "reason"].into_iter().chain(self.header.iter().map(String::as_str));
                writer.write_record(titles).map_err(failed)?;
                self.writer.insert(writer)
            }
        };
        self.count += 1;
        let line = line.to_string();
        writer
            .write_record([line.as_str(), reason].into_iter().chain(fields.iter().copied()))
            .map_err(failed)
    }

    /// How many there are, and the file they are in.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(u64, Option<PathBuf>), Failure> {
        if let Some(writer) = &mut self.writer {
            writer
                .flush()
                .map_err(|error| Failure::failed(format!("{}: {error}", self.path.display())))?;
        }
        Ok((self.count, self.writer.is_some().then_some(self.path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_are_kept_with_line_and_reason() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.rejects.csv");
        let mut rejects = Rejects::new(path.clone(), vec!["id".into(), "name".into()]);
        assert!(rejects.push(7, "no, really", &["x", "a\nb"]).is_ok());
        assert!(rejects.push(9, "short", &["y"]).is_ok());
        let (count, file) =
            rejects.finish().unwrap_or_else(|failure| panic!("{}", failure.message));
        assert_eq!((count, file.as_ref()), (2, Some(&path)));
        let text = fs_err::read_to_string(path).expect("file");
        assert_eq!(text, "line,reason,id,name\n7,\"no, really\",x,\"a\nb\"\n9,short,y\n");
    }

    #[test]
    fn without_rejects_there_is_no_file() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.rejects.csv");
        let finished = Rejects::new(path.clone(), Vec::new()).finish();
        assert!(matches!(finished, Ok((0, None))));
        assert!(!path.exists());
    }
}
