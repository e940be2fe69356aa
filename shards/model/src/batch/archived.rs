//! What a batch that comes from another node must be, since everybody indexes its columns by row.

use super::{ArchivedBatch, ArchivedColumn, ArchivedData, ArchivedIntKind};
use crate::archive::verify::check;
use rkyv::bytecheck::Verify;
use rkyv::rancor::{Fallible, Source};

/// Rows of a batch without columns, which has no bytes that pay for them. Operators make batches of
/// thousands.
const BARE_ROWS_MAX: usize = 1 << 24;

impl ArchivedColumn {
    fn len(&self) -> usize {
        match &self.data {
            ArchivedData::Ints(_, values) => values.len(),
            ArchivedData::Floats(values) => values.len(),
            ArchivedData::Bools(values) => values.len(),
            ArchivedData::Texts(_, ends) => ends.len(),
            ArchivedData::Values(values) => values.len(),
        }
    }
}

// SAFETY: returns an error unless the mask is absent or as long as the column, dates fit their
// type, and each string of a column of strings lies in its buffer, in order and between
// characters.
unsafe impl<C> Verify<C> for ArchivedColumn
where
    C: Fallible + ?Sized,
    C::Error: Source,
{
    fn verify(&self, _: &mut C) -> Result<(), C::Error> {
        let masked = match &self.data {
            ArchivedData::Values(_) => self.nulls.is_empty(),
            _ => self.nulls.is_empty() || self.nulls.len() == self.len(),
        };
        check(masked, "the mask of a column's nulls")?;
        match &self.data {
            ArchivedData::Ints(ArchivedIntKind::Date, days) => {
                let fit = days.iter().all(|day| i32::try_from(day.to_native()).is_ok());
                check(fit, "a column of dates")
            }
            ArchivedData::Texts(text, ends) => {
                let mut start = 0;
                let in_order = ends.iter().all(|end| {
                    let end = end.to_native() as usize;
                    let follows = end >= start && text.is_char_boundary(end);
                    start = end;
                    follows
                });
                check(in_order && start == text.len(), "a column of strings")
            }
            _ => Ok(()),
        }
    }
}

// SAFETY: returns an error unless every column has as many values as the batch has rows, or there are
// few rows and no column.
unsafe impl<C> Verify<C> for ArchivedBatch
where
    C: Fallible + ?Sized,
    C::Error: Source,
{
    fn verify(&self, _: &mut C) -> Result<(), C::Error> {
        let rows = self.rows.to_native() as usize;
        let bounded = !self.columns.is_empty() || rows <= BARE_ROWS_MAX;
        check(bounded && self.columns.iter().all(|column| column.len() == rows), "a batch")
    }
}
