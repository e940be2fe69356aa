//! Arrays, as PostgreSQL has them: up to six dimensions, each with a lower bound of its own, over
//! elements that may be `NULL`. An array without elements has no dimensions.

use crate::archive::Grown;
use crate::value::Value;
use rkyv::de::Pooling;
use rkyv::rancor::Source;
use rkyv::ser::{Allocator, Sharing, Writer};
use rkyv::validation::{ArchiveContext, SharedContext};
use rkyv::{Archive, Deserialize, Serialize};
use std::cmp::Ordering;

/// Most dimensions (`MAXDIM`).
pub const DIMENSIONS_MAX: usize = 6;

/// Most elements (`MaxArraySize`).
pub const ELEMENTS_MAX: usize = 134_217_727;

/// One dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Dimension {
    /// How many elements, 1 or more.
    pub length: u32,
    /// Subscript of the first; `lower + length` does not overflow.
    pub lower: i32,
}

impl Dimension {
    /// Subscript of the last element.
    pub fn upper(self) -> i32 {
        (i64::from(self.lower) + i64::from(self.length) - 1) as i32
    }

    /// Offset of a subscript from the first; `None` outside.
    fn offset(self, subscript: i64) -> Option<usize> {
        let offset = subscript.checked_sub(i64::from(self.lower))?;
        usize::try_from(offset).ok().filter(|offset| *offset < self.length as usize)
    }
}

/// An array's shape and elements; the elements' type is the plan's to know.
#[derive(Debug, Clone, Default, Archive, Serialize, Deserialize)]
#[rkyv(
    serialize_bounds(__S: Writer + Allocator + Sharing, __S::Error: Source),
    deserialize_bounds(__D: Pooling, __D::Error: Source),
    bytecheck(verify, bounds(__C: ArchiveContext + SharedContext, __C::Error: Source))
)]
pub struct Array {
    dimensions: Vec<Dimension>,
    #[rkyv(omit_bounds, with = Grown)]
    elements: Vec<Value>,
}

impl Array {
    /// An array of one dimension that starts at 1.
    pub fn vector(elements: Vec<Value>) -> Array {
        Array::starting_at(1, elements)
    }

    /// An array of one dimension that starts at `lower`.
    pub fn starting_at(lower: i32, elements: Vec<Value>) -> Array {
        if elements.is_empty() {
            return Array::default();
        }
        Array { dimensions: vec![Dimension { length: elements.len() as u32, lower }], elements }
    }

    /// An array of these dimensions, its elements in row-major order. `None` where there are too
    /// many, a subscript overflows, or the lengths do not multiply to the number of elements.
    pub fn new(dimensions: Vec<Dimension>, elements: Vec<Value>) -> Option<Array> {
        if elements.is_empty() {
            return dimensions.is_empty().then(Array::default);
        }
        let count = Array::count(&dimensions)?;
        (count == elements.len()).then_some(Array { dimensions, elements })
    }

    /// How many elements these dimensions hold; `None` where they break a bound.
    pub fn count(dimensions: &[Dimension]) -> Option<usize> {
        if dimensions.is_empty() || dimensions.len() > DIMENSIONS_MAX {
            return None;
        }
        let fits = |d: &Dimension| {
            d.length > 0 && i64::from(d.lower) + i64::from(d.length) <= i64::from(i32::MAX)
        };
        let lengths = dimensions.iter().map(|d| fits(d).then_some(d.length as usize));
        let count = lengths.into_iter().try_fold(1_usize, |count, length| {
            count.checked_mul(length?).filter(|count| *count <= ELEMENTS_MAX)
        })?;
        Some(count)
    }

    /// The dimensions, outermost first; none of an empty array.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The elements in row-major order.
    pub fn elements(&self) -> &[Value] {
        &self.elements
    }

    /// Takes the array apart.
    pub fn into_parts(self) -> (Vec<Dimension>, Vec<Value>) {
        (self.dimensions, self.elements)
    }

    /// The element at these subscripts; `None` outside, and where there are fewer or more
    /// subscripts than dimensions.
    pub fn get(&self, subscripts: &[i64]) -> Option<&Value> {
        if subscripts.len() != self.dimensions.len() || subscripts.is_empty() {
            return None;
        }
        let mut position = 0;
        for (dimension, subscript) in self.dimensions.iter().zip(subscripts) {
            position = position * dimension.length as usize + dimension.offset(*subscript)?;
        }
        self.elements.get(position)
    }

    /// The part between bounds, one pair a dimension (`None`: the dimension's own bound; missing
    /// pairs take all); its dimensions start at 1. Empty where the bounds meet nothing, or name
    /// more dimensions than there are.
    pub fn slice(&self, bounds: &[(Option<i64>, Option<i64>)]) -> Array {
        if bounds.len() > self.dimensions.len() {
            return Array::default();
        }
        let mut ranges = Vec::with_capacity(self.dimensions.len());
        for (at, dimension) in self.dimensions.iter().enumerate() {
            let (low, high) = bounds.get(at).copied().unwrap_or_default();
            let (lower, upper) = (i64::from(dimension.lower), i64::from(dimension.upper()));
            let (low, high) = (low.unwrap_or(lower).max(lower), high.unwrap_or(upper).min(upper));
            if low > high {
                return Array::default();
            }
            ranges.push(((low - lower) as usize, (high - low + 1) as usize));
        }
        let mut elements = Vec::new();
        self.collect(&ranges, 0, &mut elements);
        let dimensions =
            ranges.iter().map(|(_, length)| Dimension { length: *length as u32, lower: 1 });
        Array { dimensions: dimensions.collect(), elements }
    }

    fn collect(&self, ranges: &[(usize, usize)], position: usize, out: &mut Vec<Value>) {
        let at = self.dimensions.len() - ranges.len();
        let position = position * self.dimensions[at].length as usize;
        match ranges {
            [(start, length)] => {
                let start = position + start;
                out.extend_from_slice(&self.elements[start..start + length]);
            }
            [(start, length), rest @ ..] => {
                (0..*length).for_each(|step| self.collect(rest, position + start + step, out));
            }
            [] => {}
        }
    }

    /// PostgreSQL's order of arrays: element by element, `NULL` last; then by the number of
    /// elements, of dimensions, the lengths and the lower bounds.
    pub fn sort_order(&self, other: &Array) -> Ordering {
        let pairs = self.elements.iter().zip(&other.elements);
        let lengths = |array: &Array| -> Vec<u32> {
            array.dimensions.iter().map(|dimension| dimension.length).collect()
        };
        let lowers = |array: &Array| -> Vec<i32> {
            array.dimensions.iter().map(|dimension| dimension.lower).collect()
        };
        pairs
            .map(|(a, b)| a.sort_order(b))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
            .then_with(|| self.elements.len().cmp(&other.elements.len()))
            .then_with(|| self.dimensions.len().cmp(&other.dimensions.len()))
            .then_with(|| lengths(self).cmp(&lengths(other)))
            .then_with(|| lowers(self).cmp(&lowers(other)))
    }

    /// About how many bytes of memory the array takes.
    pub fn memory_bytes(&self) -> usize {
        let elements: usize = self.elements.iter().map(Value::memory_bytes).sum();
        size_of::<Array>() + self.dimensions.len() * size_of::<Dimension>() + elements
    }
}

impl ArchivedArray {
    /// Its dimensions, and how many elements it has.
    pub(crate) fn shape(&self) -> (&[ArchivedDimension], usize) {
        (&self.dimensions, self.elements.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(numbers: std::ops::Range<i64>) -> Vec<Value> {
        numbers.map(Value::Int).collect()
    }

    fn matrix() -> Array {
        let dimension = |length, lower| Dimension { length, lower };
        Array::new(vec![dimension(2, 1), dimension(3, -1)], ints(0..6)).unwrap()
    }

    #[test]
    fn subscripts_find_elements_and_nothing_outside() {
        assert_eq!(matrix().get(&[2, -1]), Some(&Value::Int(3)));
        assert_eq!(matrix().get(&[2, 2]), None);
        assert_eq!(matrix().get(&[2]), None);
        assert_eq!(matrix().get(&[i64::MIN, i64::MAX]), None);
    }

    #[test]
    fn slices_start_at_one() {
        let slice = matrix().slice(&[(Some(2), Some(9)), (None, Some(0))]);
        assert_eq!(slice.elements(), ints(3..5));
        assert!(slice.dimensions().iter().all(|dimension| dimension.lower == 1));
        assert!(matrix().slice(&[(Some(3), None)]).elements().is_empty());
        assert_eq!(matrix().slice(&[(Some(1), Some(1))]).elements(), ints(0..3));
    }

    #[test]
    fn shapes_that_do_not_hold_their_elements_are_refused() {
        let dimension = |length, lower| Dimension { length, lower };
        assert!(Array::new(vec![dimension(2, 1)], ints(0..3)).is_none());
        assert!(Array::new(vec![dimension(1, 1); 7], ints(0..1)).is_none());
        assert!(Array::new(vec![dimension(1, i32::MAX)], ints(0..1)).is_none());
        assert!(Array::count(&[dimension(u32::MAX, 0); 3]).is_none());
    }

    #[test]
    fn order_is_by_elements_then_shape() {
        let vector = |numbers| Array::vector(ints(numbers));
        assert!(vector(0..2).sort_order(&vector(0..3)).is_lt());
        assert!(vector(1..2).sort_order(&vector(0..3)).is_gt());
        assert!(Array::vector(vec![Value::Null]).sort_order(&vector(9..10)).is_gt());
        assert!(Array::starting_at(0, ints(0..2)).sort_order(&vector(0..2)).is_lt());
    }
}
