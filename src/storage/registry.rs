use serde::Deserialize as _;
use serde::de::Error as _;

use super::{Dir, S3, Store};
use crate::value::{Kind, kept_schema_of};

/// Every kind of store.
pub static KINDS: &[Kind<dyn Store>] = &[
    Kind { name: "dir", schema: kept_schema_of::<Dir>, build: |settings| Ok(Box::new(Dir::deserialize(settings)?)) },
    Kind {
        name: "s3",
        schema: kept_schema_of::<S3>,
        build: |settings| {
            let store = S3::deserialize(settings)?;
            // What a schema cannot say. The message holds no secret.
            store.check_settings().map_err(serde_json::Error::custom)?;
            Ok(Box::new(store))
        },
    },
];
