//! Programs that print a secret.

use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Error;
use super::file::LARGEST;
use crate::process::{Failure, Program};
use crate::value::Cancel;

/// Runs a program in `folder` and returns what it printed. Kills what is left of its process group afterwards.
pub(super) fn output_of(
    argv: &[String],
    folder: &Path,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (name, arguments) = argv.split_first().map_or(("", &[][..]), |(name, arguments)| (name, arguments));
    let program = name.to_owned();
    let ended = Program::new(name, arguments).folder(folder).limit(limit).kill_rest().capture(LARGEST, cancel);
    match ended {
        Err(Failure::Start(source) | Failure::Wait(source)) => Err(Error::Start { program, source }),
        Err(Failure::Late) => Err(Error::Late { program, limit }),
        Err(Failure::Cancelled(reason)) => Err(Error::Cancelled { program, reason }),
        // Before the status: a program whose output is closed seldom ends well.
        Ok(ended) if ended.is_cut => Err(Error::TooMuch { program }),
        Ok(ended) if ended.status.success() => Ok(ended.stdout),
        Ok(ended) => {
            let said = ended.last_errors().map_or_else(String::new, |lines| format!(": {lines}"));
            Err(Error::Ended { program, status: ended.ending(), said })
        }
    }
}
