use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Env, SecretFile};
use crate::value::{Kind, Secret, schema_of};

/// Every source of secrets.
pub static SOURCES: &[Kind<dyn Source>] = &[source::<Env>("env"), source::<SecretFile>("file")];

const fn source<K: Source + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Source> {
    Kind { name, schema: schema_of::<K>, build: |settings| Ok(Box::new(serde_json::from_value::<K>(settings)?)) }
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("{place} is missing")]
    Missing {
        /// Where it was looked for.
        place: String,
    },
    /// Something is there that is no text.
    #[error("{place} does not hold a text")]
    NotText {
        /// Where it was looked for.
        place: String,
    },
    /// Nothing is in it.
    #[error("{place} is empty")]
    Empty {
        /// Where it was looked for.
        place: String,
    },
    /// It could not be read.
    #[error("{place} could not be read")]
    Io {
        /// Where it was looked for.
        place: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A place that a secret comes from.
pub trait Source: Send + Sync {
    /// Reads it now.
    fn read(&self) -> Result<Secret, Error>;
}
