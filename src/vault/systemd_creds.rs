use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{read_file, text_of};
use super::program::output_of;
use super::{Error, Source};
use crate::value::{Cancel, FilePath, Secret};

/// A credential of systemd: one that the service manager gave to tl, or an encrypted one in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemdCreds {
    /// Its name, as in `LoadCredentialEncrypted=NAME`.
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    name: String,
    /// The encrypted credential, for when tl is not started by the service manager: `systemd-creds decrypt` opens it.
    path: Option<FilePath>,
}

/// A TPM may take many seconds.
const TIMEOUT: Duration = Duration::from_mins(1);

impl SystemdCreds {
    /// The file in which the service manager gives it to tl.
    fn given(&self) -> Option<PathBuf> {
        env::var_os("CREDENTIALS_DIRECTORY")
            .filter(|folder| !folder.is_empty())
            .map(|folder| Path::new(&folder).join(&self.name))
    }
}

impl Source for SystemdCreds {
    fn place(&self) -> String {
        match (self.given(), &self.path) {
            (Some(given), None) => format!("the credential `{}`", given.display()),
            (Some(given), Some(_)) if given.exists() => format!("the credential `{}`", given.display()),
            (_, Some(path)) => format!("the encrypted credential `{}`", path.as_path().display()),
            (None, None) => format!("the credential `{}`", self.name),
        }
    }

    fn read(&self, folder: &Path, cancel: &Cancel) -> Result<Secret, Error> {
        let place = self.place();
        match (self.given(), &self.path) {
            (Some(given), None) => read_file(&given, place),
            (Some(given), Some(_)) if given.exists() => read_file(&given, place),
            (_, Some(path)) => {
                let path = path.as_path();
                // Before the program reports it in its own words.
                if !path.exists() {
                    return Err(Error::Missing { place });
                }
                let name = format!("--name={}", self.name);
                let argv = ["systemd-creds", "decrypt", &name, &path.to_string_lossy(), "-"].map(ToOwned::to_owned);
                text_of(&output_of(&argv, folder, TIMEOUT, cancel)?, place)
            }
            (None, None) => Err(Error::NoCredentials { place }),
        }
    }
}
