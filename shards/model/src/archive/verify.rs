//! What archived types promise beyond their layout, checked where bytes from elsewhere are validated.
//!
//! The types themselves lean on it: a batch indexes its columns by row, a column of strings cuts its
//! buffer at the ends it holds.

use super::{ArchivedDecimalScale, ArchivedSpecialCode};
use crate::array::{ArchivedArray, Array, DIMENSIONS_MAX, Dimension};
use crate::numeric::Special;
use rkyv::bytecheck::Verify;
use rkyv::rancor::{Fallible, Source};

/// Farther from 0 no `numeric` has its scale: the digits that one may have before the point, and
/// behind it.
const SCALE_MAX: i64 = 131_072 + 16_383;

/// A promise that the bytes do not keep.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not what it can be")]
pub(crate) struct Broken(pub(crate) &'static str);

/// `Ok` where `kept`.
pub(crate) fn check<E: Source>(kept: bool, what: &'static str) -> Result<(), E> {
    if kept { Ok(()) } else { Err(E::new(Broken(what))) }
}

// SAFETY: returns an error unless the scale is one that a numeric can have.
unsafe impl<C> Verify<C> for ArchivedDecimalScale
where
    C: Fallible + ?Sized,
    C::Error: Source,
{
    fn verify(&self, _: &mut C) -> Result<(), C::Error> {
        check((-SCALE_MAX..=SCALE_MAX).contains(&self.0.to_native()), "the scale of a numeric")
    }
}

// SAFETY: returns an error unless the code is that of a special value.
unsafe impl<C> Verify<C> for ArchivedSpecialCode
where
    C: Fallible + ?Sized,
    C::Error: Source,
{
    fn verify(&self, _: &mut C) -> Result<(), C::Error> {
        let known = Special::from_code(self.0.to_native()).is_some();
        check(known, "the code of a special numeric")
    }
}

// SAFETY: returns an error unless the dimensions are what `Array::new` takes with these elements.
unsafe impl<C> Verify<C> for ArchivedArray
where
    C: Fallible + ?Sized,
    C::Error: Source,
{
    fn verify(&self, _: &mut C) -> Result<(), C::Error> {
        let (dimensions, elements) = self.shape();
        if dimensions.is_empty() {
            return check(elements == 0, "an array");
        }
        check(dimensions.len() <= DIMENSIONS_MAX, "an array")?;
        let mut shape = [Dimension { length: 0, lower: 0 }; DIMENSIONS_MAX];
        for (place, archived) in shape.iter_mut().zip(dimensions) {
            let (length, lower) = (archived.length.to_native(), archived.lower.to_native());
            *place = Dimension { length, lower };
        }
        let count = Array::count(&shape[..dimensions.len()]);
        check(count == Some(elements), "an array")
    }
}
