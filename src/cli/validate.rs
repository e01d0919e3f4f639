use serde_json::Value as Json;

use super::arguments::{Format, Validate};
use super::pipeline::given;
use crate::diagnostic::{ExitCode, Severity};
use crate::report::{Output, render_counts, render_github, render_sarif};
use std::path::Path;

use crate::run::{self, Thorough, Validation};

/// Its exit code: what is wrong is printed in the format that was asked for, and is no failure of the command.
pub(super) fn validate(command: &Validate, state: Option<&Path>, output: &mut Output) -> ExitCode {
    let validation = match given(&command.inputs) {
        Ok(inputs) => run::validate(&command.paths, &Thorough { inputs, secrets: command.secrets, state }),
        Err(problems) => Validation::refused(problems),
    };
    match validation.passed_over {
        0 => {}
        1 => output.hint("1 file was passed over: it is no pipeline"),
        more => output.hint(&format!("{more} files were passed over: they are no pipelines")),
    }
    match if command.json { Format::Json } else { command.format } {
        Format::Human => print(&validation, output),
        Format::Json => output.json(&serde_json::to_value(&validation).unwrap_or(Json::Null)),
        Format::Github => output.text(&render_github(&validation.findings)),
        Format::Sarif => output.json(&render_sarif(&validation.findings)),
    }
    let refused = validation.count(Severity::Error) > 0 || command.strict && !validation.findings.is_empty();
    if refused { ExitCode::Usage } else { ExitCode::Success }
}

fn print(validation: &Validation, output: &mut Output) {
    validation.sound().for_each(|file| output.line(&format!("{file}: fine")));
    validation.findings.iter().for_each(|finding| output.problem(&finding.problem));
    if !validation.findings.is_empty() {
        output.hint(&render_counts(validation));
    }
}
