//! The lines of `COPY` data, out of chunks of any size.

use model::error::{SqlError, SqlState};

/// Longest line, or binary row, in bytes.
pub(super) const ROW_BYTES_MAX: usize = 32 << 20;

/// How a line ends. The first one decides for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Newline,
    Return,
    ReturnNewline,
}

/// Inside of what quotes a line does not end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoting {
    pub(super) quote: u8,
    pub(super) escape: u8,
}

/// Where the line at the front ends, as far as it has been looked at.
#[derive(Default)]
struct Scan {
    /// Bytes of the line that have been looked at.
    looked: usize,
    in_quotes: bool,
    after_escape: bool,
}

/// Cuts chunks into lines. No byte is looked at twice.
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    scan: Scan,
    /// `None`: the text format, where a backslash takes the next byte with it.
    quoting: Option<Quoting>,
    ending: Option<Ending>,
    /// The client has sent all it has.
    finished: bool,
    /// An end mark was read: what follows means nothing.
    marked: bool,
    /// Number of the line that was read last, from 1.
    pub(super) number: u64,
}

/// What a look at a byte found.
enum Found {
    /// Nothing: go on after so many bytes.
    Nothing(usize),
    /// The end of the line, so many bytes long.
    End(usize),
    /// The mark of the end of the data.
    Mark,
    /// The next byte decides, and is not there yet.
    Unclear,
}

impl Lines {
    pub(super) fn new(quoting: Option<Quoting>) -> Lines {
        Lines {
            buffer: Vec::new(),
            start: 0,
            scan: Scan::default(),
            quoting,
            ending: None,
            finished: false,
            marked: false,
            number: 0,
        }
    }

    /// Takes the next chunk.
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        if !self.marked {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// There are no more chunks.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// The next line without its end; `None` where more is needed, or there is no more.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, SqlError> {
        if self.marked {
            return Ok(None);
        }
        let (length, end) = loop {
            let looked = self.scan.looked;
            if looked > ROW_BYTES_MAX {
                self.number += 1;
                return Err(too_long());
            }
            if self.start + looked >= self.buffer.len() {
                match self.finished && looked > 0 {
                    true => break (looked, 0),
                    false => return Ok(None),
                }
            }
            match self.look() {
                Ok(Found::Nothing(bytes)) => self.scan.looked += bytes,
                Ok(Found::End(bytes)) => break (looked, bytes),
                Ok(Found::Unclear) => return Ok(None),
                Ok(Found::Mark) => {
                    self.marked = true;
                    match looked > 0 {
                        true => break (looked, 0),
                        false => return Ok(None),
                    }
                }
                Err(error) => {
                    self.number += 1;
                    return Err(error);
                }
            }
        };
        self.number += 1;
        self.scan = Scan::default();
        let begin = self.start;
        self.start = begin + length + end;
        Ok(Some(&self.buffer[begin..begin + length]))
    }

    /// The byte so far behind the one that is looked at; `Err` where it is not known yet, and
    /// `None` behind the last one.
    fn peek(&self, ahead: usize) -> Result<Option<u8>, ()> {
        match self.buffer.get(self.start + self.scan.looked + ahead) {
            Some(byte) => Ok(Some(*byte)),
            None if self.finished => Ok(None),
            None => Err(()),
        }
    }

    fn look(&mut self) -> Result<Found, SqlError> {
        let byte = self.buffer[self.start + self.scan.looked];
        if let Some(Quoting { quote, escape }) = self.quoting {
            let scan = &mut self.scan;
            let escape = (escape != quote).then_some(escape);
            if scan.in_quotes && Some(byte) == escape {
                scan.after_escape = !scan.after_escape;
            }
            if byte == quote && !scan.after_escape {
                scan.in_quotes = !scan.in_quotes;
            }
            if Some(byte) != escape {
                scan.after_escape = false;
            }
        }
        match byte {
            b'\r' if !self.scan.in_quotes => self.carriage_return(),
            b'\n' if !self.scan.in_quotes => match self.ending {
                None | Some(Ending::Newline) => {
                    self.ending = Some(Ending::Newline);
                    Ok(Found::End(1))
                }
                Some(_) => Err(self.stray("newline", "\\n")),
            },
            b'\\' if self.quoting.is_none() || self.scan.looked == 0 => self.backslash(),
            _ => Ok(Found::Nothing(1)),
        }
    }

    fn carriage_return(&mut self) -> Result<Found, SqlError> {
        match self.ending {
            Some(Ending::Newline) => Err(self.stray("carriage return", "\\r")),
            Some(Ending::Return) => Ok(Found::End(1)),
            None | Some(Ending::ReturnNewline) => match self.peek(1) {
                Err(()) => Ok(Found::Unclear),
                Ok(Some(b'\n')) => {
                    self.ending = Some(Ending::ReturnNewline);
                    Ok(Found::End(2))
                }
                Ok(_) if self.ending.is_some() => Err(self.stray("carriage return", "\\r")),
                Ok(_) => {
                    self.ending = Some(Ending::Return);
                    Ok(Found::End(1))
                }
            },
        }
    }

    /// A backslash: the mark of the end, or, of the text format, the next byte's shield.
    fn backslash(&mut self) -> Result<Found, SqlError> {
        let is_text = self.quoting.is_none();
        match self.peek(1) {
            Err(()) => return Ok(Found::Unclear),
            Ok(Some(b'.')) => {}
            Ok(Some(_)) if is_text => return Ok(Found::Nothing(2)),
            Ok(_) => return Ok(Found::Nothing(1)),
        }
        let no_mark = |message: &'static str| match is_text {
            true => Err(SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message)),
            false => Ok(Found::Nothing(1)),
        };
        let Ok(next) = self.peek(2) else { return Ok(Found::Unclear) };
        let fits = match (next, self.ending) {
            (Some(b'\n'), None | Some(Ending::Newline)) => true,
            (Some(b'\r'), None | Some(Ending::Return | Ending::ReturnNewline)) => true,
            (Some(b'\n' | b'\r'), _) => false,
            _ => return no_mark("end-of-copy marker corrupt"),
        };
        match fits {
            true => Ok(Found::Mark),
            false => no_mark("end-of-copy marker does not match previous newline style"),
        }
    }

    fn stray(&self, what: &str, escape: &str) -> SqlError {
        let (kind, hint) = match self.quoting {
            None => ("literal", format!("Use \"{escape}\" to represent {what}.")),
            Some(_) => ("unquoted", format!("Use quoted CSV field to represent {what}.")),
        };
        let message = format!("{kind} {what} found in data");
        SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message).hint(hint)
    }
}

pub(super) fn too_long() -> SqlError {
    SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a row of the COPY data is too long")
        .detail(format!("At most {ROW_BYTES_MAX} bytes are allowed."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Option<Quoting> = Some(Quoting { quote: b'"', escape: b'"' });

    /// The lines, whatever the size of the chunks.
    fn lines(data: &str, quoting: Option<Quoting>) -> Result<Vec<String>, SqlError> {
        let mut all = Vec::new();
        for size in 1..=data.len().max(1) {
            let mut lines = Lines::new(quoting);
            let mut read = Vec::new();
            let mut failed = None;
            for chunk in data.as_bytes().chunks(size).map(Some).chain([None]) {
                match chunk {
                    Some(chunk) => lines.feed(chunk),
                    None => lines.finish(),
                }
                while failed.is_none() {
                    match lines.next() {
                        Ok(Some(line)) => read.push(String::from_utf8(line.to_vec()).unwrap()),
                        Ok(None) => break,
                        Err(error) => failed = Some(error),
                    }
                }
            }
            all.push(failed.map_or(Ok(read), Err));
        }
        let first = all.swap_remove(0);
        assert!(all.iter().all(|other| *other == first), "the chunks' size matters: {data:?}");
        first
    }

    fn refusal(data: &str, quoting: Option<Quoting>) -> String {
        lines(data, quoting).unwrap_err().fields().message.to_string()
    }

    #[test]
    fn the_first_end_of_a_line_decides_for_all() {
        assert_eq!(lines("a\nb\n\nc", None).unwrap(), ["a", "b", "", "c"]);
        assert_eq!(lines("a\r\nb\r\n", None).unwrap(), ["a", "b"]);
        assert_eq!(lines("a\rb\r", None).unwrap(), ["a", "b"]);
        assert_eq!(refusal("a\nb\rc\n", None), "literal carriage return found in data");
        assert_eq!(refusal("a\r\nb\nc", None), "literal newline found in data");
        assert_eq!(refusal("a\nb\rc\n", CSV), "unquoted carriage return found in data");
    }

    #[test]
    fn shielded_and_quoted_ends_are_data() {
        assert_eq!(lines("a\\\nb\nc\\\\\nd", None).unwrap(), ["a\\\nb", "c\\\\", "d"]);
        assert_eq!(lines("\"a\nb\",c\n\"d\"\"\n\"\n", CSV).unwrap(), ["\"a\nb\",c", "\"d\"\"\n\""]);
        let escaped = Some(Quoting { quote: b'"', escape: b'\\' });
        assert_eq!(lines("\"a\\\"\nb\"\nc\n", escaped).unwrap(), ["\"a\\\"\nb\"", "c"]);
    }

    #[test]
    fn a_mark_ends_the_data() {
        assert_eq!(lines("a\n\\.\nb\n", None).unwrap(), ["a"]);
        assert_eq!(lines("a\n\\.\nb\n", CSV).unwrap(), ["a"]);
        assert_eq!(lines("a,\\.\n\\.b\n", CSV).unwrap(), ["a,\\.", "\\.b"]);
        assert_eq!(refusal("a\n\\.b\n", None), "end-of-copy marker corrupt");
        let style = "end-of-copy marker does not match previous newline style";
        assert_eq!(refusal("a\r\n\\.\n", None), style);
    }
}
