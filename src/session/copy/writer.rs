//! From rows of values to `COPY` data.

use super::binary;
use super::fields::{push_csv, push_text};
use crate::pg;
use crate::router::RowSink;
use crate::session::Client;
use crate::sql::{CopyFormat, CopyOptions, CopyOut, Header, OutputColumn};
use bytes::{Bytes, BytesMut};
use futures::future::LocalBoxFuture;
use model::batch::Batch;
use model::error::SqlError;
use model::text;
use model::value::ValueRef;

/// Takes the rows of a `COPY ... TO STDOUT` and gives their form to the client.
pub(super) struct Writer<'a> {
    options: &'a CopyOptions,
    columns: &'a [OutputColumn],
    client: &'a mut dyn Client,
    /// The header of the binary form: clients expect it in one piece with what follows.
    header: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(copy: &'a CopyOut, client: &'a mut dyn Client) -> Writer<'a> {
        let columns = &copy.inner.columns;
        Writer { options: &copy.options, columns, client, header: Vec::new() }
    }

    /// What stands before the rows.
    pub(super) async fn begin(&mut self) -> Result<(), SqlError> {
        let header = match self.options.format {
            CopyFormat::Binary => {
                self.header = binary::header();
                return Ok(());
            }
            _ if self.options.header == Header::None => return Ok(()),
            _ => {
                let columns = self.columns.iter();
                let names = columns.map(|column| (Some(column.name.as_str()), false));
                line(self.options, names)
            }
        };
        self.client.copy_data(header.into()).await
    }

    /// What stands behind the rows.
    pub(super) async fn end(&mut self) -> Result<(), SqlError> {
        match self.options.format {
            CopyFormat::Binary => {
                let trailer = self.behind_header(Bytes::from_static(&binary::TRAILER));
                self.client.copy_data(trailer).await
            }
            _ => Ok(()),
        }
    }

    /// The data, behind a header that has not been sent.
    fn behind_header(&mut self, data: Bytes) -> Bytes {
        if self.header.is_empty() {
            return data;
        }
        let mut joined = std::mem::take(&mut self.header);
        joined.extend_from_slice(&data);
        joined.into()
    }

    /// Each row by itself, as clients expect them.
    fn row(&self, batch: &Batch, row: usize) -> Bytes {
        let values = batch.columns().iter().map(|column| column.get(row));
        if self.options.format == CopyFormat::Binary {
            return binary_row(self.columns, values);
        }
        let texts: Vec<Option<String>> = values
            .zip(self.columns)
            .map(|(value, column)| text::to_text(&value, column.data_type))
            .collect();
        let texts = texts.iter().zip(&self.options.force_quote);
        line(self.options, texts.map(|(text, force)| (text.as_deref(), *force))).into()
    }
}

impl RowSink for Writer<'_> {
    fn rows(&mut self, batch: Batch) -> LocalBoxFuture<'_, Result<(), SqlError>> {
        Box::pin(async move {
            for row in 0..batch.rows() {
                let data = self.row(&batch, row);
                let data = self.behind_header(data);
                self.client.copy_data(data).await?;
            }
            Ok(())
        })
    }
}

/// A line of values, each with whether it is to be quoted.
fn line<'v>(
    options: &CopyOptions,
    values: impl ExactSizeIterator<Item = (Option<&'v str>, bool)>,
) -> Vec<u8> {
    let single = values.len() == 1;
    let mut out = Vec::new();
    for (position, (value, force)) in values.enumerate() {
        if position > 0 {
            out.push(options.delimiter);
        }
        match (value, options.format) {
            (None, _) => out.extend_from_slice(options.null.as_bytes()),
            (Some(value), CopyFormat::Csv) => push_csv(&mut out, value, options, force, single),
            (Some(value), _) => push_text(&mut out, value, options.delimiter),
        }
    }
    out.push(b'\n');
    out
}

fn binary_row<'v>(columns: &[OutputColumn], values: impl Iterator<Item = ValueRef<'v>>) -> Bytes {
    let mut out = BytesMut::new();
    // The bound on columns is far below.
    out.extend_from_slice(&(columns.len() as i16).to_be_bytes());
    for (value, column) in values.zip(columns) {
        let at = out.len();
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        if !matches!(value, ValueRef::Null) {
            pg::binary::encode(&mut out, &value, column.data_type);
            let length = (out.len() - at - size_of::<i32>()) as i32;
            out[at..at + size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
        }
    }
    out.freeze()
}
