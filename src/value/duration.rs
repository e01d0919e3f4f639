use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration as StdDuration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time as written in a file: `500ms 90s 30m 2h 7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(StdDuration);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: a whole number and one of ms, s, m, h, d, such as `90s`")]
pub struct ParseDurationError(String);

/// The longest duration, ten years. Longer ones are typing errors, and the limit keeps `Instant` arithmetic from overflow.
const LONGEST: StdDuration = StdDuration::from_hours(10 * 365 * 24);

impl Duration {
    /// From a length of time.
    pub const fn new(duration: StdDuration) -> Self {
        Self(duration)
    }

    /// As the standard library's type.
    pub const fn get(self) -> StdDuration {
        self.0
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| error())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(error()),
        };
        let millis = number.checked_mul(millis).ok_or_else(error)?;
        let duration = StdDuration::from_millis(millis);
        if duration > LONGEST { Err(error()) } else { Ok(Self(duration)) }
    }
}

impl TryFrom<String> for Duration {
    type Error = ParseDurationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for Duration {
    /// In the largest unit that is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (number, unit) = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
            .into_iter()
            .find(|(size, _)| millis > 0 && millis.is_multiple_of(*size))
            .map_or((millis, "ms"), |(size, unit)| (millis / size, unit));
        write!(f, "{number}{unit}")
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "description": "A length of time: 500ms, 90s, 30m, 2h, 7d.",
        })
    }
}

/// A length of time that is not zero: a limit, or a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PositiveDuration(Duration);

/// Why a text is not a length of time above zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePositiveDurationError {
    /// It is not a duration.
    #[error(transparent)]
    Form(#[from] ParseDurationError),
    /// It is zero.
    #[error("`{0}` is no time at all: it must be longer than zero")]
    Zero(String),
}

impl PositiveDuration {
    /// As the standard library's type.
    pub const fn get(self) -> StdDuration {
        self.0.get()
    }
}

impl TryFrom<String> for PositiveDuration {
    type Error = ParsePositiveDurationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let duration: Duration = text.parse()?;
        // A limit of zero can only be a mistake. A wait of zero is a choice, so a wait is a `Duration`.
        if duration.get().is_zero() { Err(ParsePositiveDurationError::Zero(text)) } else { Ok(Self(duration)) }
    }
}

impl fmt::Display for PositiveDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<PositiveDuration> for String {
    fn from(duration: PositiveDuration) -> Self {
        duration.0.to_string()
    }
}

impl JsonSchema for PositiveDuration {
    fn schema_name() -> Cow<'static, str> {
        "PositiveDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^0*[1-9][0-9]*(ms|s|m|h|d)$",
            "description": "A length of time above zero: 500ms, 90s, 30m, 2h, 7d.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_survive_the_round_trip() {
        for text in ["500ms", "90s", "30m", "2h", "7d", "0ms"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        assert_eq!("60s".parse::<Duration>().unwrap().to_string(), "1m");
    }

    #[test]
    fn a_limit_is_never_zero() {
        let read = |text: &str| PositiveDuration::try_from(text.to_owned()).map(String::from);
        assert_eq!(read("007s").unwrap(), "7s");
        for text in ["0ms", "000d"] {
            assert!(matches!(read(text), Err(ParsePositiveDurationError::Zero(_))), "{text}");
        }
        assert!(matches!(read("1"), Err(ParsePositiveDurationError::Form(_))));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "s", "-1s", "1.5h", "5 s", "5S", "99999999999999999999s", "4000d", "1h30m"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
