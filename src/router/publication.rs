//! A catalog as one router tells another of it.

use crate::catalog::Catalog;
use model::id::CatalogVersion;
use rkyv::rancor::Fallible;
use rkyv::with::{ArchiveWith, DeserializeWith, SerializeWith};
use rkyv::{Archive, Archived, Deserialize, Place};
use std::sync::Arc;

/// A catalog that routers are to use from now on. It is stored, since it is published when the
/// transaction that has changed the schema is committed.
#[derive(Debug, Clone)]
pub enum Publication {
    /// Itself: to the cores of this node, which share it.
    Catalog(Arc<Catalog>),
    /// Its version: to other nodes, which read the rows of the system partition for themselves. They
    /// may find a later one, never an earlier one: what carries this brings the sender's clock, which
    /// is past the commit.
    Stored(CatalogVersion),
}

impl Publication {
    /// The catalog's version.
    pub fn version(&self) -> CatalogVersion {
        match self {
            Publication::Catalog(catalog) => catalog.version,
            Publication::Stored(version) => *version,
        }
    }
}

/// Archives a [`Publication`] as its version: no catalog travels between nodes.
pub struct VersionOnly;

impl ArchiveWith<Publication> for VersionOnly {
    type Archived = Archived<CatalogVersion>;
    type Resolver = <CatalogVersion as Archive>::Resolver;

    fn resolve_with(field: &Publication, resolver: Self::Resolver, out: Place<Self::Archived>) {
        field.version().resolve(resolver, out);
    }
}

impl<S> SerializeWith<Publication, S> for VersionOnly
where
    S: Fallible + ?Sized,
    CatalogVersion: rkyv::Serialize<S>,
{
    fn serialize_with(field: &Publication, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        rkyv::Serialize::serialize(&field.version(), serializer)
    }
}

impl<D> DeserializeWith<Archived<CatalogVersion>, Publication, D> for VersionOnly
where
    D: Fallible + ?Sized,
    Archived<CatalogVersion>: Deserialize<CatalogVersion, D>,
{
    fn deserialize_with(
        field: &Archived<CatalogVersion>,
        deserializer: &mut D,
    ) -> Result<Publication, D::Error> {
        field.deserialize(deserializer).map(Publication::Stored)
    }
}
