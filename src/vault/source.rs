use std::path::Path;

use super::Error;
use crate::value::{Cancel, Secret, Unfit};

/// A source of one secret.
pub trait Source: Send + Sync {
    /// The place that the secret comes from, in words.
    fn place(&self) -> String;

    /// Reads the secret now. Blocks. Programs start in `folder`, the folder of the pipeline file.
    fn read(&self, folder: &Path, cancel: &Cancel) -> Result<Secret, Error>;

    /// Checks what the schema cannot, from the settings alone.
    fn check(&self) -> Vec<Unfit<Error>> {
        Vec::new()
    }
}
