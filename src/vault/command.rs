use std::path::Path;
use std::time::Duration as StdDuration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::text_of;
use super::program::output_of;
use super::{Error, Source};
use crate::value::{Cancel, PositiveDuration, Secret};

/// What a program prints, such as a password manager. One line end after it does not count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments, without a shell. It gets no input, and of the environment PATH, HOME, TZ, LANG and
    /// TMPDIR.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    run: Vec<String>,
    /// How long it may take; else 30s. It is killed then.
    timeout: Option<PositiveDuration>,
}

const TIMEOUT: StdDuration = StdDuration::from_secs(30);

impl Source for Command {
    fn place(&self) -> String {
        format!("what `{}` prints", self.run.first().map_or("", String::as_str))
    }

    fn read(&self, folder: &Path, cancel: &Cancel) -> Result<Secret, Error> {
        let printed = output_of(&self.run, folder, self.timeout.map_or(TIMEOUT, PositiveDuration::get), cancel)?;
        text_of(&printed, self.place())
    }
}
