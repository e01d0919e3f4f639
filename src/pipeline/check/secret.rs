//! The codes of errors of `vault/`, which knows no codes itself. Here, because `validate` reports such errors too.

use crate::diagnostic::{Code, codes};
use crate::vault;

/// The code of an error of a source of secrets.
pub(crate) fn secret_code(error: &vault::Error) -> Code {
    use vault::Error;
    match error {
        Error::Missing { .. } | Error::NotText { .. } | Error::Empty { .. } | Error::Io { .. } => codes::TL0510,
        Error::Start { .. } | Error::Ended { .. } | Error::Late { .. } | Error::TooMuch { .. } => codes::TL0512,
        Error::Stopped { .. } => codes::TL0601,
        Error::Damaged(_) => codes::TL0513,
        Error::WrongIdentity { .. } => codes::TL0514,
        Error::NoCredentials { .. } => codes::TL0515,
        Error::Nul { .. } => codes::TL0516,
        Error::Identity(_) => codes::TL0621,
    }
}
