//! The CSV file as records, each with its line, in bounded memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use csv::{ByteRecord, Reader, ReaderBuilder};

use crate::cli::exit::Failure;

/// A record longer than this is a quote that was never closed.
const RECORD_BYTES_MAX: u64 = 32 << 20;

/// How the file is laid out.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub delimiter: u8,
    pub header: bool,
    /// A field with this text is NULL.
    pub null: String,
}

/// One record of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// The line in which it begins, from 1; that of the first empty line before it, if there is one.
    pub line: u64,
    /// Its fields, `None` for NULL; or what is wrong with it and the fields as far as they are
    /// text.
    pub fields: Result<Vec<Option<String>>, (String, Vec<String>)>,
}

/// The file.
pub(super) struct Source {
    reader: Reader<Metered>,
    header: Vec<String>,
    record: ByteRecord,
    null: String,
    since_record: Rc<Cell<u64>>,
    name: String,
}

impl Source {
    /// Opens the file, `-` for standard input, and reads its header.
    ///
    /// # Errors
    /// It cannot be read, or has no header.
    pub fn open(path: &Path, layout: Layout) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let input: Box<dyn Read> = if name == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(fs_err::File::open(path).map_err(Failure::usage)?)
        };
        Self::read(input, layout, name)
    }

    fn read(input: Box<dyn Read>, layout: Layout, name: String) -> Result<Self, Failure> {
        let since_record = Rc::new(Cell::new(0));
        let metered = Metered { input, since_record: Rc::clone(&since_record) };
        let mut reader = ReaderBuilder::new()
            .delimiter(layout.delimiter)
            .has_headers(layout.header)
            .flexible(true)
            .from_reader(metered);
        let mut header = Vec::new();
        if layout.header {
            let read = reader
                .byte_headers()
                .map_err(|error| Failure::failed(format!("{name}: {error}")))?;
            header =
                read.iter().map(|field| String::from_utf8_lossy(field).trim().to_owned()).collect();
            if header.iter().all(String::is_empty) {
                return Err(Failure::failed(format!(
                    "{name}: there is no header line (--no-header says that there is none)"
                )));
            }
        }
        since_record.set(0);
        Ok(Self {
            reader,
            header,
            record: ByteRecord::new(),
            null: layout.null,
            since_record,
            name,
        })
    }

    /// The names in the header; empty without one.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// How far into the file the records read so far reach, in bytes.
    pub fn bytes_read(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The next record.
    ///
    /// # Errors
    /// The file cannot be read on: an I/O error, or a record without end.
    pub fn next_record(&mut self) -> Result<Option<Record>, Failure> {
        let line = self.reader.position().line();
        let more = self.reader.read_byte_record(&mut self.record);
        self.since_record.set(0);
        if !more
            .map_err(|error| Failure::failed(format!("{}, from line {line}: {error}", self.name)))?
        {
            return Ok(None);
        }
        let line = self.record.position().map_or(line, csv::Position::line);
        Ok(Some(Record { line, fields: self.fields() }))
    }

    fn fields(&self) -> Result<Vec<Option<String>>, (String, Vec<String>)> {
        let lossy = || {
            self.record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect()
        };
        if !self.header.is_empty() && self.record.len() != self.header.len() {
            let reason =
                format!("{} fields where the header has {}", self.record.len(), self.header.len());
            return Err((reason, lossy()));
        }
        let texts: Result<Vec<&str>, _> = self.record.iter().map(std::str::from_utf8).collect();
        match texts {
            Ok(texts) => Ok(texts
                .into_iter()
                .map(|text| (text != self.null).then(|| text.to_owned()))
                .collect()),
            Err(_) => Err(("not valid UTF-8".into(), lossy())),
        }
    }
}

/// Refuses to read on when one record does not end.
struct Metered {
    input: Box<dyn Read>,
    since_record: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_record.get() > RECORD_BYTES_MAX {
            let problem = format!(
                "a record is longer than {} MiB; is a quote not closed?",
                RECORD_BYTES_MAX >> 20
            );
            return Err(io::Error::other(problem));
        }
        let read = self.input.read(buffer)?;
        self.since_record.set(self.since_record.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: impl Into<Vec<u8>>, header: bool) -> Source {
        let layout = Layout { delimiter: b',', header, null: String::new() };
        let input = Box::new(io::Cursor::new(text.into()));
        Source::read(input, layout, "a.csv".into())
            .unwrap_or_else(|failure| panic!("{}", failure.message))
    }

    fn records(mut source: Source) -> Vec<Record> {
        std::iter::from_fn(|| {
            source.next_record().unwrap_or_else(|failure| panic!("{}", failure.message))
        })
        .collect()
    }

    #[test]
    fn records_have_lines_and_nulls() {
        let source = read("\u{feff}id,name\n1,\"a\nb\"\n\n2,\n", true);
        assert_eq!(source.header(), ["id", "name"]);
        let fields =
            |id: &str, name: Option<&str>| Ok(vec![Some(id.to_owned()), name.map(str::to_owned)]);
        assert_eq!(
            records(source),
            [
                Record { line: 2, fields: fields("1", Some("a\nb")) },
                Record { line: 4, fields: fields("2", None) }
            ]
        );
    }

    #[test]
    fn rows_that_do_not_fit_keep_their_fields() {
        let records = records(read(b"a,b\n1\n2,3,4\n5,\xff\n".to_vec(), true));
        let reasons: Vec<&str> = records
            .iter()
            .map(|record| record.fields.as_ref().map_or_else(|(reason, _)| reason.as_str(), |_| ""))
            .collect();
        assert_eq!(
            reasons,
            [
                "1 fields where the header has 2",
                "3 fields where the header has 2",
                "not valid UTF-8"
            ]
        );
        assert_eq!(records[1].fields.as_ref().map_err(|(_, fields)| fields.len()), Err(3));
    }

    #[test]
    fn without_header_the_first_line_is_a_row() {
        assert_eq!(records(read("1,2\n", false)).len(), 1);
    }

    #[test]
    fn a_quote_that_is_never_closed_ends_the_import() {
        let mut text = b"a\n\"".to_vec();
        text.resize(RECORD_BYTES_MAX as usize + (1 << 20), b'x');
        let mut source = read(text, true);
        let failure = source.next_record().err().map(|failure| failure.message).unwrap_or_default();
        assert!(failure.contains("from line 2") && failure.contains("quote"), "{failure}");
    }
}
