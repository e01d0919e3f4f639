use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Effect, Flow, Stage, StageError};
use crate::diagnostic::{Diagnostic, codes};

/// Settings of `assert`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Assert {
    /// What must be true, such as `${{ needs.collect.outputs.files > 0 }}`.
    that: bool,
    /// What to say when it is not.
    message: Option<String>,
    /// What to do when it is not.
    #[serde(default)]
    otherwise: Otherwise,
}

/// What follows from an untrue assertion.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Otherwise {
    /// The stage fails.
    #[default]
    Fail,
    /// The stage ends as a warning, and what needs it runs.
    Warn,
    /// The stage is skipped, and so is what needs it.
    Skip,
}

/// Outputs of `assert`: none.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Outputs {}

impl Stage for Assert {
    const NAME: &'static str = "assert";
    const ABOUT: &'static str = "fails, warns or skips unless an expression is true";
    const FLOW: Flow = Flow::None;
    const EFFECTS: &'static [Effect] = &[];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        if self.that {
            return Ok(Outputs {});
        }
        let message = self.message.unwrap_or_else(|| "the assertion is not true".to_owned());
        match self.otherwise {
            Otherwise::Fail => Err(Diagnostic::failure(codes::TL0660, message).into()),
            Otherwise::Warn => {
                context.warn(Diagnostic::warning(codes::TL0660, message));
                Ok(Outputs {})
            }
            Otherwise::Skip => Err(StageError::NothingToDo(message)),
        }
    }
}
