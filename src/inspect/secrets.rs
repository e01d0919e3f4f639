//! Checks that the secrets of a pipeline can be read, without running it.

use std::path::Path;

use serde::Serialize;

use crate::diagnostic::Diagnostic;
use crate::open::{Secrets, check, open_source, read_secret};
use crate::value::Cancel;

/// The source of a secret and whether it could be read. Never its value.
#[derive(Debug, Serialize)]
pub struct SecretFound {
    /// Its name in the file.
    pub name: String,
    /// The kind of its source.
    pub from: String,
    /// Its source in words.
    pub place: String,
    /// Whether it could be read.
    pub found: bool,
    /// Why not.
    pub error: Option<Diagnostic>,
}

/// Reads every secret of a file. Fails when the file is wrong.
pub fn check_secrets(path: &Path) -> Result<Vec<SecretFound>, Vec<Diagnostic>> {
    let (document, pipeline) = check(path)?;
    let mut secrets = Vec::new();
    let mut found = Vec::new();
    for (name, declared) in &pipeline.secrets {
        let place = open_source(&document, name.as_str(), declared).map(|source| source.place());
        let error = match read_secret(&document, name.as_str(), declared, &Cancel::default()) {
            Ok(secret) => {
                secrets.push((name.to_string(), secret));
                None
            }
            Err(error) => Some(error),
        };
        found.push(SecretFound {
            name: name.to_string(),
            from: declared.from.clone(),
            place: place.unwrap_or_default(),
            found: error.is_none(),
            error,
        });
    }
    let secrets = Secrets::new(secrets, Vec::new(), Vec::new());
    let masker = secrets.masker();
    for found in &mut found {
        found.place = masker.mask(&found.place);
        if let Some(error) = &mut found.error {
            error.mask(&|text| masker.mask(text));
        }
    }
    Ok(found)
}
