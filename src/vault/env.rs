use std::env::{self, VarError};
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, Source};
use crate::value::{Cancel, Secret};

/// An environment variable of tl itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Env {
    /// Its name.
    #[schemars(length(min = 1))]
    name: String,
}

impl Source for Env {
    fn place(&self) -> String {
        format!("the environment variable `{}`", self.name)
    }

    fn read(&self, _: &Path, _: &Cancel) -> Result<Secret, Error> {
        let place = self.place();
        match env::var(&self.name) {
            Ok(text) if text.trim().is_empty() => Err(Error::Empty { place }),
            Ok(text) => Ok(Secret::new(text)),
            Err(VarError::NotPresent) => Err(Error::Missing { place }),
            Err(VarError::NotUnicode(_)) => Err(Error::NotText { place }),
        }
    }
}
