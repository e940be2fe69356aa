//! A locality as text, for serde.

use model::locality::Locality;
use serde::{Deserialize, Deserializer, Serializer, de};

pub(super) fn serialize<S: Serializer>(
    locality: &Locality,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(locality)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Locality, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}
