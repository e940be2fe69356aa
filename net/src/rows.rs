//! Rows on the wire, written and read in place.
//!
//! [`RowsWriter`] appends values to a frame as they come; [`RowBatch`] walks a received payload
//! and yields views into it. Neither makes an intermediate copy of a row.

use crate::codec::{Malformed, Reader, Wire};
use crate::frame::{self, Kind, StreamId, Unfinished};
use crate::value::{put_value, take_value};
use bytes::{BufMut, Bytes, BytesMut};
use model::value::{Value, ValueRef};

/// Bytes of counts in front of the values.
const COUNTS_BYTES: usize = 6;

/// Most rows of a frame whose rows have no columns.
pub const EMPTY_ROWS_MAX: u32 = 65_536;

/// A `Rows` frame being written at the end of a buffer.
#[derive(Debug)]
pub struct RowsWriter {
    frame: Unfinished,
    counts_at: usize,
    rows: u32,
}

impl RowsWriter {
    /// Starts a batch of rows of `columns` values each.
    pub fn begin(out: &mut BytesMut, stream: StreamId, columns: u16) -> RowsWriter {
        let frame = frame::begin(out, Kind::Rows, stream);
        let counts_at = out.len();
        out.put_u32_le(0);
        out.put_u16_le(columns);
        RowsWriter { frame, counts_at, rows: 0 }
    }

    /// Appends one row: as many values as `begin` was told.
    pub fn row<'v>(&mut self, out: &mut BytesMut, values: impl Iterator<Item = ValueRef<'v>>) {
        for value in values {
            put_value(out, &value);
        }
        self.rows += 1;
    }

    /// Rows written so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes of payload written so far.
    pub fn payload_bytes(&self, out: &BytesMut) -> usize {
        self.frame.payload_bytes(out)
    }

    /// Completes the frame; one without rows is removed. Returns the bytes of its payload.
    pub fn finish(self, out: &mut BytesMut) -> usize {
        if self.rows == 0 {
            self.frame.abandon(out);
            return 0;
        }
        out[self.counts_at..self.counts_at + 4].copy_from_slice(&self.rows.to_le_bytes());
        let bytes = self.frame.payload_bytes(out);
        self.frame.finish(out, false);
        bytes
    }

    /// Removes the frame.
    pub fn abandon(self, out: &mut BytesMut) {
        self.frame.abandon(out);
    }
}

/// Received rows. Cheap to clone; keeps the payload alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBatch {
    payload: Bytes,
    rows: u32,
    columns: u16,
}

impl RowBatch {
    /// Reads the counts of a `Rows` payload. The values are checked as they are read.
    pub fn new(payload: Bytes) -> Result<RowBatch, Malformed> {
        let mut input = Reader::new(&payload);
        let (rows, columns) = (u32::decode(&mut input)?, u16::decode(&mut input)?);
        // Each value takes a byte: a count cannot be larger than what is there. Rows without
        // columns take no bytes at all and have a limit of their own.
        let values = u64::from(rows) * u64::from(columns);
        if values > input.remaining() as u64 {
            return Err(Malformed::TooShort);
        }
        if columns == 0 && rows > EMPTY_ROWS_MAX {
            return Err(Malformed::OutOfRange("a count of rows without columns"));
        }
        Ok(RowBatch { payload, rows, columns })
    }

    /// How many rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// How many values a row.
    pub fn columns(&self) -> u16 {
        self.columns
    }

    /// The payload of the frame.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Reads the rows from the first one on.
    pub fn reader(&self) -> RowReader<'_> {
        RowReader {
            input: Reader::new(&self.payload[COUNTS_BYTES..]),
            rows: self.rows,
            columns: self.columns,
        }
    }

    /// Every row, owned.
    pub fn to_rows(&self) -> Result<Vec<Vec<Value>>, Malformed> {
        let mut reader = self.reader();
        let mut rows = Vec::new();
        let mut row = Vec::new();
        while reader.next_row(&mut row)? {
            rows.push(row.iter().map(ValueRef::to_value).collect());
        }
        Ok(rows)
    }
}

/// Walks the rows of a batch.
#[derive(Debug, Clone)]
pub struct RowReader<'a> {
    input: Reader<'a>,
    rows: u32,
    columns: u16,
}

impl<'a> RowReader<'a> {
    /// Replaces `row` with the next row; false when there is none left.
    pub fn next_row(&mut self, row: &mut Vec<ValueRef<'a>>) -> Result<bool, Malformed> {
        row.clear();
        if self.rows == 0 {
            self.input.clone().finish()?;
            return Ok(false);
        }
        self.rows -= 1;
        for _ in 0..self.columns {
            row.push(take_value(&mut self.input)?);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameDecoder;

    fn batch(rows: &[Vec<Value>]) -> RowBatch {
        let mut out = BytesMut::new();
        let columns = rows.first().map_or(0, Vec::len) as u16;
        let mut writer = RowsWriter::begin(&mut out, StreamId(1), columns);
        for row in rows {
            writer.row(&mut out, row.iter().map(Value::as_ref));
        }
        writer.finish(&mut out);
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.feed(out.freeze());
        RowBatch::new(decoder.next_frame().unwrap().unwrap().payload).unwrap()
    }

    #[test]
    fn rows_come_back() {
        let rows = vec![
            vec![Value::Int(1), Value::Null, Value::from("one")],
            vec![Value::Int(2), Value::Bool(true), Value::from("")],
        ];
        assert_eq!(batch(&rows).to_rows().unwrap(), rows);
    }

    #[test]
    fn rows_without_columns_are_counted() {
        assert_eq!(batch(&[vec![], vec![], vec![]]).to_rows().unwrap().len(), 3);
    }

    #[test]
    fn an_empty_batch_is_no_frame() {
        let mut out = BytesMut::new();
        assert_eq!(RowsWriter::begin(&mut out, StreamId(1), 3).finish(&mut out), 0);
        assert!(out.is_empty());
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        let payload = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]);
        assert_eq!(RowBatch::new(payload), Err(Malformed::TooShort));
        let trailing = Bytes::from_static(&[1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(RowBatch::new(trailing).unwrap().to_rows(), Err(Malformed::TooLong(1)));
    }
}
