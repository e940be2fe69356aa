//! A value of this crate to bytes, and back from bytes that nobody has vouched for.

use rkyv::api::access_with_context;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator, to_bytes_in};
use rkyv::bytecheck::CheckBytes;
use rkyv::de::Pool;
use rkyv::rancor::{Error, Strategy};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::validation::shared::SharedValidator;
use rkyv::{Archive, Archived, Deserialize, Portable, Serialize};
use std::num::NonZeroUsize;

/// A level of nesting takes at least so many bytes of an archive.
const LEVEL_BYTES_MIN: usize = 8;

/// A level of nesting takes at most so much stack to validate, unoptimised.
const LEVEL_STACK_MAX: usize = 2 << 10;

/// What validation takes of the stack besides.
const STACK_MIN: usize = 64 << 10;

/// Why a value cannot be archived, or why bytes are no archive of one.
pub type ArchiveError = Error;

/// What [`write()`] archives.
pub trait Archivable<'w>:
    for<'a> Serialize<HighSerializer<&'w mut Vec<u8>, ArenaHandle<'a>, ArchiveError>>
{
}

impl<'w, T> Archivable<'w> for T where
    T: for<'a> Serialize<HighSerializer<&'w mut Vec<u8>, ArenaHandle<'a>, ArchiveError>>
{
}

/// What [`read()`] restores.
pub trait Restorable:
    Archive<
        Archived: Portable
                      + for<'a> CheckBytes<HighValidator<'a, ArchiveError>>
                      + Deserialize<Self, HighDeserializer<ArchiveError>>,
    > + Sized
{
}

impl<T> Restorable for T
where
    T: Archive,
    T::Archived: Portable
        + for<'a> CheckBytes<HighValidator<'a, ArchiveError>>
        + Deserialize<T, HighDeserializer<ArchiveError>>,
{
}

/// Appends the archive of `value`. It may stand behind anything, since its references are relative
/// and its alignment is 1; its root is its end. Equal values have equal archives.
///
/// # Errors
/// Where something in it is longer than an archive can say: a string of a gibibyte. What was appended
/// by then is to be taken off.
pub fn write<'w, T: Archivable<'w>>(value: &T, out: &'w mut Vec<u8>) -> Result<(), ArchiveError> {
    to_bytes_in(value, out).map(drop)
}

/// Restores the value whose archive `bytes` is, all of them. They are validated, and may be anything:
/// what is allocated is at most a constant times their length, and references are followed no
/// deeper than `depth_max`.
///
/// # Errors
/// Where they are no archive of such a value.
pub fn read<T: Restorable>(bytes: &[u8], depth_max: NonZeroUsize) -> Result<T, ArchiveError> {
    let levels = depth_max.get().min(bytes.len() / LEVEL_BYTES_MIN);
    let stack = STACK_MIN + levels * LEVEL_STACK_MAX;
    let archived = stacker::maybe_grow(stack, stack + STACK_MIN, || {
        let bounds = ArchiveValidator::with_max_depth(bytes, Some(depth_max));
        let mut validator = Validator::new(bounds, SharedValidator::new());
        access_with_context::<Archived<T>, _, ArchiveError>(bytes, &mut validator)
    })?;
    archived.deserialize(Strategy::wrap(&mut Pool::new()))
}
