use std::error::Error as StdError;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Code, ExitCode};

/// The class of a problem. It decides the exit code of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The file or the command line is wrong; nothing ran.
    Usage,
    /// A stage failed for a reason of its own.
    #[default]
    Failure,
    /// Delivered, but not proven.
    Verification,
    /// A destination is missing or cannot be reached.
    Destination,
    /// Another process holds the lock.
    Busy,
    /// A wrong key or refused credentials.
    Key,
    /// The audit log is damaged or rolled back.
    Audit,
    /// A time limit passed.
    TimedOut,
    /// A user cancelled.
    Cancelled,
}

impl Kind {
    /// The exit code of a process whose only problem is this one.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Failure => ExitCode::Failure,
            Self::Usage => ExitCode::Usage,
            Self::Verification => ExitCode::Unproven,
            Self::Destination => ExitCode::Destination,
            Self::Busy => ExitCode::Busy,
            Self::Key => ExitCode::Key,
            Self::Audit => ExitCode::Audit,
            Self::TimedOut => ExitCode::TimedOut,
            Self::Cancelled => ExitCode::Cancelled,
        }
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The work continues.
    Warning,
    /// Something was refused or failed.
    #[default]
    Error,
}

/// A place in a text file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Place")]
pub struct Location {
    /// The path as the user gave it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// How many characters are marked, at least 1.
    pub length: usize,
    /// The text of that line, cut after 65536 characters.
    pub text: String,
}

/// One problem: an error or a warning. Only `code` and `message` are needed to read one back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// Error or warning.
    #[serde(default)]
    pub severity: Severity,
    /// Decides the exit code.
    #[serde(default)]
    pub kind: Kind,
    /// One sentence: what is wrong. Names in backticks.
    pub message: String,
    /// Where, if it is about a text.
    #[serde(default)]
    pub place: Option<Location>,
    /// Short words under the marked text.
    #[serde(default)]
    pub label: Option<String>,
    /// The errors beneath, outermost first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// What to do.
    #[serde(default)]
    pub help: Option<String>,
    /// Whether the same action may succeed a little later. Such a failure is retried.
    #[serde(default)]
    pub transient: bool,
}

/// A result whose error is a diagnostic.
pub type Result<T, E = Diagnostic> = std::result::Result<T, E>;

impl Diagnostic {
    /// An error with a code, a kind and one sentence.
    pub fn new(code: Code, kind: Kind, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            kind,
            message: message.into(),
            place: None,
            label: None,
            causes: Vec::new(),
            help: None,
            transient: false,
        }
    }

    /// A wrong file or command line.
    pub fn usage(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, Kind::Usage, message)
    }

    /// A failure of a stage.
    pub fn failure(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, Kind::Failure, message)
    }

    /// A warning: the work goes on.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(code, Kind::Failure, message) }
    }

    /// The same problem as a warning.
    #[must_use]
    pub fn as_warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, place: Location) -> Self {
        self.place = Some(place);
        self
    }

    /// Adds short words under the marked text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds an error and its chain of sources.
    #[must_use]
    pub fn cause(mut self, error: &dyn StdError) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Marks it as worth another try.
    #[must_use]
    pub fn transient(mut self, transient: bool) -> Self {
        self.transient = transient;
        self
    }

    /// Masks every text in it.
    pub fn mask(&mut self, mask: &dyn Fn(&str) -> String) {
        let texts = [&mut self.label, &mut self.help].into_iter().flatten();
        let place = self.place.as_mut().map(|place| &mut place.text);
        for text in texts.chain(&mut self.causes).chain(place).chain([&mut self.message]) {
            *text = mask(text);
        }
    }

    /// The message with its causes, on one line: for records and messages, not for terminals.
    pub fn one_line(&self) -> String {
        let mut line = format!("{}: {}", self.code, self.message);
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line.replace(['\n', '\r'], " ")
    }
}
