use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// The exit code of a process. A number never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum ExitCode {
    /// Everything was done.
    Success = 0,
    /// A stage or a command failed.
    Failure = 1,
    /// The file or the command line is wrong; nothing ran.
    Usage = 2,
    /// The run finished with warnings.
    Warnings = 3,
    /// Delivered, but not proven: only a verification failed.
    Unproven = 4,
    /// A destination is missing or cannot be reached.
    Destination = 10,
    /// Another process holds a lock.
    Busy = 11,
    /// A wrong key or refused credentials.
    Key = 12,
    /// The audit log is damaged or rolled back.
    Audit = 20,
    /// There was nothing to do. The number is `EX_TEMPFAIL` of `sysexits.h`.
    NothingDone = 75,
    /// A time limit passed. The number is that of `timeout` in GNU coreutils.
    TimedOut = 124,
    /// A user cancelled. The number is 128 + SIGINT, as a shell reports it.
    Cancelled = 130,
}

impl ExitCode {
    const ALL: [Self; 12] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Warnings,
        Self::Unproven,
        Self::Destination,
        Self::Busy,
        Self::Key,
        Self::Audit,
        Self::NothingDone,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// `Failure` if it failed, else `Success`.
    pub fn failed_if(failed: bool) -> Self {
        if failed { Self::Failure } else { Self::Success }
    }

    /// The same code, but `Failure` instead of `Success`.
    #[must_use]
    pub fn or_failure(self) -> Self {
        if self == Self::Success { Self::Failure } else { self }
    }
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        code as Self
    }
}

/// A number that is no exit code of `tl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no exit code of tl")]
pub struct ExitCodeError(u8);

impl TryFrom<u8> for ExitCode {
    type Error = ExitCodeError;

    fn try_from(number: u8) -> Result<Self, ExitCodeError> {
        Self::ALL.into_iter().find(|code| u8::from(*code) == number).ok_or(ExitCodeError(number))
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u8::from(*self).fmt(f)
    }
}

impl JsonSchema for ExitCode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ExitCode".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        u8::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_back_and_no_other() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|number| ExitCode::try_from(*number).is_ok()).collect();
        assert_eq!(known, [0, 1, 2, 3, 4, 10, 11, 12, 20, 75, 124, 130]);
        for code in ExitCode::ALL {
            let text = serde_json::to_string(&code).unwrap();
            assert_eq!(text, code.to_string());
            assert_eq!(serde_json::from_str::<ExitCode>(&text).unwrap(), code);
        }
        assert!(serde_json::from_str::<ExitCode>("5").is_err());
    }
}
