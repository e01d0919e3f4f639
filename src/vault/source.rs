use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Command, Env, Error, Sealed, SecretFile, SystemdCreds};
use crate::value::{Kind, Secret, kept_schema_of};

/// Every source of secrets.
pub static SOURCES: &[Kind<dyn Source>] = &[
    source::<Env>("env"),
    source::<SecretFile>("file"),
    source::<Command>("command"),
    source::<SystemdCreds>("systemd-creds"),
    source::<Sealed>("sealed"),
];

const fn source<K: Source + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Source> {
    Kind { name, schema: kept_schema_of::<K>, build: |settings| Ok(Box::new(serde_json::from_value::<K>(settings)?)) }
}

/// A setting that can be seen to be wrong without reading the secret.
#[derive(Debug)]
pub struct Unfit {
    /// Which setting.
    pub setting: &'static str,
    /// Why.
    pub error: Error,
}

/// A place that a secret comes from.
pub trait Source: Send + Sync {
    /// Where that is, in words.
    fn place(&self) -> String;

    /// Reads it now. Blocks. Programs are started in `folder`, which is that of the pipeline file.
    /// `stopped` is asked while it waits, and ends that.
    fn read(&self, folder: &Path, stopped: &dyn Fn() -> bool) -> Result<Secret, Error>;

    /// Judges what its schema cannot, without reading anything.
    fn check(&self) -> Result<(), Unfit> {
        Ok(())
    }
}
