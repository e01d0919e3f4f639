use std::env;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::text_of;
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
        let Some(text) = env::var_os(&self.name) else { return Err(Error::Missing { place }) };
        text_of(text.as_bytes(), place)
    }
}
