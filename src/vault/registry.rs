use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Command, Env, Sealed, SecretFile, Source, SystemdCreds};
use crate::value::{Kind, kept_schema_of};

/// Every source of secrets.
pub static SOURCES: &[Kind<dyn Source>] = &[
    source::<Env>("env"),
    source::<SecretFile>("file"),
    Kind { program: Some("run"), ..source::<Command>("command") },
    source::<SystemdCreds>("systemd-creds"),
    source::<Sealed>("sealed"),
];

const fn source<K: Source + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Source> {
    Kind { name, schema: kept_schema_of::<K>, program: None, build: |settings| Ok(Box::new(K::deserialize(settings)?)) }
}
