use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Dir, S3, Store};
use crate::value::{Kind, kept_schema_of};

/// Every kind of store.
pub static KINDS: &[Kind<dyn Store>] = &[kind::<Dir>("dir"), kind::<S3>("s3")];

const fn kind<K: Store + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Store> {
    Kind { name, schema: kept_schema_of::<K>, program: None, build: |settings| Ok(Box::new(K::deserialize(settings)?)) }
}
