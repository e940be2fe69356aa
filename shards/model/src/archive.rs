//! How types are archived by rkyv when they travel to another node.
//!
//! The types of this crate that messages between nodes are made of derive rkyv's traits, so that the
//! archived form of a plan is that of its fields. What stands here are the fields that rkyv has no
//! form for, or one that does not fit, as `#[rkyv(with = ...)]`:
//!
//! | | archives | as |
//! |---|---|---|
//! | [`Text`] | `Arc<str>`, `Cow<'static, str>` | a string |
//! | [`Blob`] | `Arc<[u8]>`, [`Bytes`] | a vector of bytes |
//! | [`Whole`] | a `usize` that may be above 32 bits | a `u64` |
//! | [`Decimal`] | a [`Numeric`] | digits and scale, or which special value |
//! | [`SortedPairs`] | a hash map | a vector of pairs in the order of their keys |
//! | [`Unshared`] | an `Arc` that nothing else in the message refers to | what it holds, boxed |
//! | [`Grown`] | what may be nested deeply | as it is, on a stack that is long enough |
//!
//! An `Arc` without an attribute is archived once, however often a message refers to it: a table is in
//! each scan and change of it.
//!
//! What comes from another node is validated: besides rkyv's own checks, [`verify`] holds what these
//! types promise (a batch's columns are of one length). Whether a plan makes sense (its ordinals are
//! those of its table) is not looked at, no more than inside a node.
//!
//! [`write()`] and [`read()`] are the whole way there and back, for whoever makes messages.

pub(crate) mod verify;

mod message;

pub use message::{Archivable, ArchiveError, Restorable, read, write};

use crate::numeric::{Numeric, Special};
use bigdecimal::num_bigint::BigInt;
use bytes::Bytes;
use rkyv::boxed::{ArchivedBox, BoxResolver};
use rkyv::rancor::{Fallible, Source};
use rkyv::ser::{Allocator, Writer};
use rkyv::string::{ArchivedString, StringResolver};
use rkyv::tuple::ArchivedTuple2;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::with::{ArchiveWith, DeserializeWith, SerializeWith};
use rkyv::{
    Archive, ArchiveUnsized, Archived, Deserialize, DeserializeUnsized, Place, Resolver, Serialize,
    SerializeUnsized,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A stack with less than this left is followed by another one ...
const STACK_RED_ZONE: usize = 128 << 10;
/// ... of this length.
const STACK_GROWTH: usize = 2 << 20;

fn on_grown_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_RED_ZONE, STACK_GROWTH, work)
}

/// What may be nested deeply.
pub struct Grown;

impl<F: Archive> ArchiveWith<F> for Grown {
    type Archived = F::Archived;
    type Resolver = F::Resolver;

    fn resolve_with(field: &F, resolver: F::Resolver, out: Place<F::Archived>) {
        field.resolve(resolver, out);
    }
}

impl<F: Serialize<S>, S: Fallible + ?Sized> SerializeWith<F, S> for Grown {
    fn serialize_with(field: &F, serializer: &mut S) -> Result<F::Resolver, S::Error> {
        on_grown_stack(|| field.serialize(serializer))
    }
}

impl<F, D> DeserializeWith<Archived<F>, F, D> for Grown
where
    F: Archive,
    Archived<F>: Deserialize<F, D>,
    D: Fallible + ?Sized,
{
    fn deserialize_with(field: &Archived<F>, deserializer: &mut D) -> Result<F, D::Error> {
        on_grown_stack(|| field.deserialize(deserializer))
    }
}

/// An `Arc` that nothing else in the message refers to.
pub struct Unshared;

impl<T: ArchiveUnsized + ?Sized> ArchiveWith<Arc<T>> for Unshared {
    type Archived = ArchivedBox<T::Archived>;
    type Resolver = BoxResolver;

    fn resolve_with(field: &Arc<T>, resolver: BoxResolver, out: Place<Self::Archived>) {
        ArchivedBox::resolve_from_ref(&**field, resolver, out);
    }
}

impl<T, S> SerializeWith<Arc<T>, S> for Unshared
where
    T: SerializeUnsized<S> + ?Sized,
    S: Fallible + ?Sized,
{
    fn serialize_with(field: &Arc<T>, serializer: &mut S) -> Result<BoxResolver, S::Error> {
        on_grown_stack(|| ArchivedBox::serialize_from_ref(&**field, serializer))
    }
}

impl<T, D> DeserializeWith<ArchivedBox<T::Archived>, Arc<T>, D> for Unshared
where
    T: ArchiveUnsized + ?Sized,
    T::Archived: DeserializeUnsized<T, D>,
    ArchivedBox<T::Archived>: Deserialize<Box<T>, D>,
    D: Fallible + ?Sized,
{
    fn deserialize_with(
        field: &ArchivedBox<T::Archived>,
        deserializer: &mut D,
    ) -> Result<Arc<T>, D::Error> {
        on_grown_stack(|| field.deserialize(deserializer)).map(Arc::from)
    }
}

/// A string that is shared or borrowed.
pub struct Text;

impl<F: AsRef<str>> ArchiveWith<F> for Text {
    type Archived = ArchivedString;
    type Resolver = StringResolver;

    fn resolve_with(field: &F, resolver: StringResolver, out: Place<ArchivedString>) {
        ArchivedString::resolve_from_str(field.as_ref(), resolver, out);
    }
}

impl<F, S> SerializeWith<F, S> for Text
where
    F: AsRef<str>,
    S: Fallible + Writer + ?Sized,
    S::Error: Source,
{
    fn serialize_with(field: &F, serializer: &mut S) -> Result<StringResolver, S::Error> {
        ArchivedString::serialize_from_str(field.as_ref(), serializer)
    }
}

impl<D: Fallible + ?Sized> DeserializeWith<ArchivedString, Arc<str>, D> for Text {
    fn deserialize_with(field: &ArchivedString, _: &mut D) -> Result<Arc<str>, D::Error> {
        Ok(Arc::from(field.as_str()))
    }
}

impl<D: Fallible + ?Sized> DeserializeWith<ArchivedString, Cow<'static, str>, D> for Text {
    fn deserialize_with(field: &ArchivedString, _: &mut D) -> Result<Cow<'static, str>, D::Error> {
        Ok(Cow::Owned(field.as_str().to_owned()))
    }
}

/// Bytes that are shared.
pub struct Blob;

impl<F: AsRef<[u8]>> ArchiveWith<F> for Blob {
    type Archived = ArchivedVec<u8>;
    type Resolver = VecResolver;

    fn resolve_with(field: &F, resolver: VecResolver, out: Place<ArchivedVec<u8>>) {
        ArchivedVec::resolve_from_slice(field.as_ref(), resolver, out);
    }
}

impl<F, S> SerializeWith<F, S> for Blob
where
    F: AsRef<[u8]>,
    S: Fallible + Allocator + Writer + ?Sized,
{
    fn serialize_with(field: &F, serializer: &mut S) -> Result<VecResolver, S::Error> {
        ArchivedVec::serialize_from_slice(field.as_ref(), serializer)
    }
}

impl<D: Fallible + ?Sized> DeserializeWith<ArchivedVec<u8>, Arc<[u8]>, D> for Blob {
    fn deserialize_with(field: &ArchivedVec<u8>, _: &mut D) -> Result<Arc<[u8]>, D::Error> {
        Ok(Arc::from(field.as_slice()))
    }
}

impl<D: Fallible + ?Sized> DeserializeWith<ArchivedVec<u8>, Bytes, D> for Blob {
    fn deserialize_with(field: &ArchivedVec<u8>, _: &mut D) -> Result<Bytes, D::Error> {
        Ok(Bytes::copy_from_slice(field.as_slice()))
    }
}

/// A number of things that may be above 32 bits, where rkyv would cut it off.
pub struct Whole;

impl ArchiveWith<usize> for Whole {
    type Archived = Archived<u64>;
    type Resolver = ();

    fn resolve_with(field: &usize, resolver: (), out: Place<Archived<u64>>) {
        (*field as u64).resolve(resolver, out);
    }
}

impl<S: Fallible + ?Sized> SerializeWith<usize, S> for Whole {
    fn serialize_with(_: &usize, _: &mut S) -> Result<(), S::Error> {
        Ok(())
    }
}

impl<D> DeserializeWith<Archived<u64>, usize, D> for Whole
where
    D: Fallible + ?Sized,
    D::Error: Source,
{
    fn deserialize_with(field: &Archived<u64>, _: &mut D) -> Result<usize, D::Error> {
        usize::try_from(field.to_native()).map_err(D::Error::new)
    }
}

/// A `numeric`.
pub struct Decimal;

/// What is archived of a [`Numeric`].
#[derive(Archive, Serialize, Deserialize)]
pub enum DecimalParts {
    /// `digits * 10^-scale`; the digits in two's complement, little-endian, in the shortest form.
    Finite(Vec<u8>, DecimalScale),
    /// A value without digits.
    Special(SpecialCode),
}

/// The scale of a [`Numeric`], within what arithmetic leaves.
#[derive(Archive, Serialize, Deserialize)]
#[rkyv(bytecheck(verify))]
pub struct DecimalScale(i64);

/// [`Special::code`]
#[derive(Archive, Serialize, Deserialize)]
#[rkyv(bytecheck(verify))]
pub struct SpecialCode(u16);

fn parts(numeric: &Numeric) -> DecimalParts {
    match numeric {
        Numeric::Finite(decimal) => {
            let (digits, scale) = decimal.as_bigint_and_exponent();
            DecimalParts::Finite(digits.to_signed_bytes_le(), DecimalScale(scale))
        }
        Numeric::Special(special) => DecimalParts::Special(SpecialCode(special.code())),
    }
}

impl ArchiveWith<Numeric> for Decimal {
    type Archived = ArchivedDecimalParts;
    type Resolver = (DecimalParts, Resolver<DecimalParts>);

    fn resolve_with(
        _: &Numeric,
        (parts, resolver): Self::Resolver,
        out: Place<ArchivedDecimalParts>,
    ) {
        parts.resolve(resolver, out);
    }
}

impl<S> SerializeWith<Numeric, S> for Decimal
where
    S: Fallible + ?Sized,
    DecimalParts: Serialize<S>,
{
    fn serialize_with(field: &Numeric, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        let parts = parts(field);
        let resolver = parts.serialize(serializer)?;
        Ok((parts, resolver))
    }
}

impl<D> DeserializeWith<ArchivedDecimalParts, Numeric, D> for Decimal
where
    D: Fallible + ?Sized,
    D::Error: Source,
{
    fn deserialize_with(field: &ArchivedDecimalParts, _: &mut D) -> Result<Numeric, D::Error> {
        match field {
            ArchivedDecimalParts::Finite(digits, scale) => {
                Ok(Numeric::new(BigInt::from_signed_bytes_le(digits), scale.0.to_native()))
            }
            ArchivedDecimalParts::Special(code) => Special::from_code(code.0.to_native())
                .map(Numeric::Special)
                .ok_or_else(|| D::Error::new(verify::Broken("the code of a special numeric"))),
        }
    }
}

/// A hash map, in an order that does not depend on how it hashes.
pub struct SortedPairs;

type Pair<V> = (Box<[u8]>, V);
type ArchivedPair<V> = ArchivedTuple2<ArchivedBox<[u8]>, Archived<V>>;

impl<V: Archive> ArchiveWith<HashMap<Box<[u8]>, V>> for SortedPairs {
    type Archived = ArchivedVec<ArchivedPair<V>>;
    type Resolver = VecResolver;

    fn resolve_with(
        field: &HashMap<Box<[u8]>, V>,
        resolver: VecResolver,
        out: Place<Self::Archived>,
    ) {
        ArchivedVec::resolve_from_len(field.len(), resolver, out);
    }
}

impl<V, S> SerializeWith<HashMap<Box<[u8]>, V>, S> for SortedPairs
where
    V: Serialize<S> + Clone,
    Box<[u8]>: Serialize<S, Archived = ArchivedBox<[u8]>>,
    S: Fallible + Allocator + Writer + ?Sized,
{
    fn serialize_with(
        field: &HashMap<Box<[u8]>, V>,
        serializer: &mut S,
    ) -> Result<VecResolver, S::Error> {
        let pairs = field.iter().map(|(key, value)| (key.clone(), value.clone()));
        let mut pairs: Vec<Pair<V>> = pairs.collect();
        pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        ArchivedVec::<ArchivedPair<V>>::serialize_from_slice(&pairs, serializer)
    }
}

impl<V, D> DeserializeWith<ArchivedVec<ArchivedPair<V>>, HashMap<Box<[u8]>, V>, D> for SortedPairs
where
    V: Archive,
    ArchivedPair<V>: Deserialize<Pair<V>, D>,
    D: Fallible + ?Sized,
{
    fn deserialize_with(
        field: &ArchivedVec<ArchivedPair<V>>,
        deserializer: &mut D,
    ) -> Result<HashMap<Box<[u8]>, V>, D::Error> {
        field.iter().map(|pair| pair.deserialize(deserializer)).collect()
    }
}
