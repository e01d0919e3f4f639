use std::num::NonZeroUsize;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::file::text_of;
use super::{Error, Source};
use crate::crypto::{self, Key};
use crate::value::{Cancel, FilePath, Secret, Unfit};

/// A value that stands in the pipeline file itself, sealed: whoever has the identity can open it, and nobody else.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The sealed value, as `tl secret seal` and `age --armor` print it.
    #[schemars(length(min = 1))]
    value: String,
    /// A file of identities that opens it.
    identity: FilePath,
}

impl Source for Sealed {
    fn place(&self) -> String {
        format!("its `value`, opened with `{}`", self.identity.as_path().display())
    }

    fn read(&self, _: &Path, _: &Cancel) -> Result<Secret, Error> {
        let sealed = crypto::dearmor(&self.value).map_err(Error::Damaged)?;
        let identities = crypto::read_identities(self.identity.as_path()).map_err(Error::Identity)?;
        let keys: Vec<Key> = identities.into_iter().map(Key::X25519).collect();
        // The plaintext is shorter than the sealed bytes, so the vector never grows and leaves no copy behind.
        let mut opened = Zeroizing::new(Vec::with_capacity(sealed.len()));
        crypto::open(&keys, &mut sealed.as_slice(), &mut *opened, NonZeroUsize::MIN).map_err(|source| {
            if source.is_wrong_key() {
                Error::WrongIdentity { identity: self.identity.as_path().display().to_string(), source }
            } else {
                Error::Damaged(source)
            }
        })?;
        text_of(&opened, "its `value`".to_owned())
    }

    fn check(&self) -> Vec<Unfit<Error>> {
        let checked = crypto::dearmor(&self.value).and_then(|sealed| crypto::check(&sealed));
        checked
            .err()
            .map(|error| Unfit { setting: "value".to_owned(), error: Error::Damaged(error) })
            .into_iter()
            .collect()
    }
}
