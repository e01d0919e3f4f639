use clap::Args;

use crate::audit::entry_schema;
use crate::cli::done::Done;
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::event::Event;
use crate::expression::did_you_mean;
use crate::pipeline::{pipeline_schema, stage_schema};
use crate::report::Output;
use crate::stages;
use crate::value::written_schema_of;

#[derive(Debug, Args)]
pub(in crate::cli) struct Schema {
    /// Only the settings and outputs of this kind of stage.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["event", "audit"])]
    pub(in crate::cli) stage: Option<String>,
    /// The events of `tl run --reporter json` instead.
    #[arg(long, conflicts_with = "audit")]
    pub(in crate::cli) event: bool,
    /// The lines of the audit log instead.
    #[arg(long)]
    pub(in crate::cli) audit: bool,
}

pub(in crate::cli) fn schema(command: &Schema, output: &mut Output) -> Done {
    let schema = match &command.stage {
        _ if command.audit => entry_schema(),
        _ if command.event => written_schema_of::<Event>(),
        None => pipeline_schema(),
        Some(name) => match stages::find(name) {
            Some(kind) => stage_schema(kind),
            None => {
                let known: Vec<&str> = stages::KINDS.iter().map(|kind| kind.name).collect();
                let help = did_you_mean(name, known.iter().copied()).map_or_else(
                    || format!("there are {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(vec![
                    Diagnostic::usage(codes::TL0208, format!("there is no kind `{name}` of stage")).help(help),
                ]);
            }
        },
    };
    output.json(&schema)?;
    Ok(ExitCode::Success)
}
