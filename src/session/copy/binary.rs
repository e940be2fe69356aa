//! The binary format: a signature, rows of lengths and values, and a mark of the end.

use super::lines::{ROW_BYTES_MAX, too_long};
use model::error::{SqlError, SqlState};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of what extends them.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// The flags that a reader must understand; none are known but that of object ids, which were.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// Instead of a number of values: the end.
const END: i16 = -1;

/// The file's beginning.
pub(super) fn header() -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&[0; 8]);
    header
}

/// The file's end.
pub(super) const TRAILER: [u8; 2] = END.to_be_bytes();

/// Cuts chunks into rows.
#[derive(Default)]
pub(super) struct Rows {
    buffer: Vec<u8>,
    start: usize,
    begun: bool,
    ended: bool,
    finished: bool,
    /// Number of the row that was read last, from 1.
    pub(super) number: u64,
}

/// One row: its values, in the bytes that it lies in.
pub(super) struct Row<'a> {
    bytes: &'a [u8],
    /// Values it has.
    pub(super) count: usize,
}

impl<'a> Row<'a> {
    /// The values; `None` for `NULL`.
    pub(super) fn values(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map(move |_| {
            let (length, behind) = rest.split_first_chunk()?;
            let length = usize::try_from(i32::from_be_bytes(*length));
            let (value, behind) = match length {
                Ok(length) => {
                    let (value, behind) = behind.split_at(length);
                    (Some(value), behind)
                }
                Err(_null) => (None, behind),
            };
            rest = behind;
            value
        })
    }
}

impl Rows {
    pub(super) fn feed(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// The next row; `None` where more is needed, or there is no more.
    ///
    /// # Errors
    /// 22P04 for bytes that are no such file, 54000 for a row that is too long.
    pub(super) fn next(&mut self, columns: usize) -> Result<Option<Row<'_>>, SqlError> {
        if !self.begun && !self.begin()? {
            return Ok(None);
        }
        if self.ended {
            return match self.buffer.len() > self.start {
                true => Err(bad("received copy data after EOF marker")),
                false => Ok(None),
            };
        }
        let rest = &self.buffer[self.start..];
        let Some((count, values)) = rest.split_first_chunk() else {
            return self.wait(!rest.is_empty());
        };
        let count = i16::from_be_bytes(*count);
        self.number += 1;
        if count == END {
            self.ended = true;
            self.start += TRAILER.len();
            return self.next(columns);
        }
        if usize::try_from(count) != Ok(columns) {
            return Err(bad(format!("row field count is {count}, expected {columns}")));
        }
        let Some(length) = length_of(values, columns)? else {
            self.number -= 1;
            if rest.len() > ROW_BYTES_MAX {
                return Err(too_long());
            }
            return self.wait(true);
        };
        let begin = self.start + TRAILER.len();
        self.start = begin + length;
        Ok(Some(Row { bytes: &self.buffer[begin..begin + length], count: columns }))
    }

    /// More is needed. `inside`: of something that has begun.
    fn wait(&self, inside: bool) -> Result<Option<Row<'_>>, SqlError> {
        match inside && self.finished {
            true => Err(bad("unexpected EOF in COPY data")),
            false => Ok(None),
        }
    }

    /// Reads the header; whether it was there.
    fn begin(&mut self) -> Result<bool, SqlError> {
        let bytes = &self.buffer[self.start..];
        let known = bytes.len().min(SIGNATURE.len());
        if bytes[..known] != SIGNATURE[..known] || (self.finished && known < SIGNATURE.len()) {
            return Err(bad("COPY file signature not recognized"));
        }
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_be_bytes(bytes))
        };
        let Some(flags) = number(SIGNATURE.len()) else {
            return self.unless_finished("invalid COPY file header (missing flags)");
        };
        if flags & CRITICAL_FLAGS != 0 {
            return Err(bad("unrecognized critical flags in COPY file header"));
        }
        let Some(extension) = number(SIGNATURE.len() + 4) else {
            return self.unless_finished("invalid COPY file header (missing length)");
        };
        let extension = usize::try_from(extension).unwrap_or(usize::MAX);
        if extension > ROW_BYTES_MAX {
            return Err(bad("invalid COPY file header (wrong length)"));
        }
        if bytes.len() < HEADER_BYTES + extension {
            return self.unless_finished("invalid COPY file header (wrong length)");
        }
        self.start += HEADER_BYTES + extension;
        self.begun = true;
        Ok(true)
    }

    fn unless_finished(&self, message: &'static str) -> Result<bool, SqlError> {
        if self.finished { Err(bad(message)) } else { Ok(false) }
    }
}

/// Bytes that the values take, once they are all there.
fn length_of(values: &[u8], columns: usize) -> Result<Option<usize>, SqlError> {
    let mut at = 0_usize;
    for _ in 0..columns {
        let Some(length) = values.get(at..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        at += length.len();
        match i32::from_be_bytes(*length) {
            -1 => {}
            length => match usize::try_from(length) {
                Ok(length) if length > ROW_BYTES_MAX => return Err(too_long()),
                Ok(length) => at += length,
                Err(_negative) => return Err(bad("invalid field size")),
            },
        }
    }
    Ok((at <= values.len()).then_some(at))
}

fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> SqlError {
    SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of two values, whatever the size of the chunks.
    fn rows(data: &[u8]) -> Result<Vec<Vec<Option<Vec<u8>>>>, String> {
        let mut all = Vec::new();
        for size in 1..=data.len() {
            let (mut rows, mut read, mut failed) = (Rows::default(), Vec::new(), None);
            for chunk in data.chunks(size).map(Some).chain([None]) {
                match chunk {
                    Some(chunk) => rows.feed(chunk),
                    None => rows.finish(),
                }
                while failed.is_none() {
                    match rows.next(2) {
                        Ok(Some(row)) => {
                            read.push(row.values().map(|v| v.map(<[u8]>::to_vec)).collect())
                        }
                        Ok(None) => break,
                        Err(error) => failed = Some(error.fields().message.to_string()),
                    }
                }
            }
            all.push(failed.map_or(Ok(read), Err));
        }
        let first = all.swap_remove(0);
        assert!(all.iter().all(|other| *other == first), "the chunks' size matters");
        first
    }

    fn file(rows: &[u8]) -> Vec<u8> {
        [&header(), rows].concat()
    }

    #[test]
    fn rows_are_read_in_pieces() {
        let row = [0, 2, 0, 0, 0, 1, 7, 0xff, 0xff, 0xff, 0xff];
        let expected = vec![Some(vec![7]), None];
        let whole = file(&[&row[..], &row, &TRAILER].concat());
        assert_eq!(rows(&whole).unwrap(), [expected.clone(), expected.clone()]);
        assert_eq!(rows(&file(&row)).unwrap(), [expected]);
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let table: [(Vec<u8>, &str); 7] = [
            (b"1\t2\n".to_vec(), "COPY file signature not recognized"),
            (header()[..13].to_vec(), "invalid COPY file header (missing flags)"),
            (header()[..17].to_vec(), "invalid COPY file header (missing length)"),
            (file(&[0, 3]), "row field count is 3, expected 2"),
            (file(&[0, 2, 0, 0, 0, 9, 1]), "unexpected EOF in COPY data"),
            (file(&[0, 2, 0xff, 0xff, 0xff, 0xfe]), "invalid field size"),
            (file(&[0xff, 0xff, 0]), "received copy data after EOF marker"),
        ];
        for (data, message) in table {
            assert_eq!(rows(&data).unwrap_err(), message);
        }
    }
}
