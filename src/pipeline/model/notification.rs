//! Whom to tell of what.

use schemars::JsonSchema;
use serde::Deserialize;

/// Whom to tell of what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Notification {
    /// Of what.
    #[schemars(length(min = 1))]
    pub when: Vec<When>,
    /// The channels, by the names they have in `channels`.
    #[schemars(length(min = 1))]
    pub to: Vec<String>,
    /// A file with a Handlebars template for the text.
    #[schemars(extend("x-tl-type" = "path"))]
    pub template: Option<String>,
    /// A file with a Handlebars template for the same as HTML, for channels that can show it.
    #[schemars(extend("x-tl-type" = "path"))]
    pub template_html: Option<String>,
}

/// The occasions of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// The run begins.
    Started,
    /// It ended in success.
    Success,
    /// It ended with warnings.
    Warning,
    /// It failed.
    Failure,
    /// There was nothing to do.
    Skipped,
    /// It was cancelled.
    Cancelled,
    /// It could not start.
    Blocked,
    /// It succeeded after it had failed the time before.
    Recovered,
    /// It did not succeed in time, as `expect` says: told by `tl stale --notify`.
    Stale,
}

impl When {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Blocked => "blocked",
            Self::Recovered => "recovered",
            Self::Stale => "stale",
        }
    }
}
