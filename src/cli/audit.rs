use std::collections::VecDeque;
use std::path::Path;

use clap::Subcommand;

use super::done::Done;
use super::state::state_dir;
use crate::audit::{self, Filter, LogEntry};
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::open::audit_error;
use crate::report::{Output, render_record, render_report};
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Read the whole log and check its signatures.
    Verify {
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print records.
    Show {
        /// Only records of this run.
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
        /// Only records of this type or below it: `run` includes `run.started`.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Show the last N.
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Print the records as the log holds them: one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// After damage: move the whole log aside, and begin a new one that records this.
    Accept {
        /// The reason, for the record.
        #[arg(long)]
        reason: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn audit(command: &Audit, state: Option<&Path>, output: &mut Output) -> Done {
    let state = state_dir(state)?;
    let folder = state.audit();
    match command {
        Audit::Verify { json } => verify(&folder, *json, output),
        Audit::Show { run, kind, last, json } => {
            let filter = Filter { run: run.clone(), kind: kind.clone(), ..Filter::default() };
            show(&folder, filter, *last, *json, output)
        }
        Audit::Accept { reason, yes } => accept(&folder, reason, *yes, output),
    }
}

fn verify(folder: &Path, json: bool, output: &mut Output) -> Done {
    let report = audit::verify(folder).map_err(|error| vec![audit_error(&error)])?;
    if json {
        output.json(&report)?;
    } else {
        output.text(&render_report(&report, output.style()));
    }
    Ok(if report.is_damaged() { ExitCode::Audit } else { ExitCode::Success })
}

fn show(folder: &Path, filter: Filter, last: Option<usize>, json: bool, output: &mut Output) -> Done {
    let mut kept = VecDeque::new();
    let mut problems = Vec::new();
    let mut any = false;
    for record in audit::read(folder, filter).map_err(|error| vec![audit_error(&error)])? {
        any |= record.is_ok();
        match (record, last) {
            (Ok(record), Some(last)) => {
                kept.push_back(record);
                if kept.len() > last {
                    kept.pop_front();
                }
            }
            (Ok(record), None) => print(&record, json, output)?,
            (Err(error), _) => problems.push(audit_error(&error)),
        }
    }
    kept.iter().try_for_each(|record| print(record, json, output))?;
    if !any && problems.is_empty() {
        output.hint("no record fits");
    }
    if problems.is_empty() { Ok(ExitCode::Success) } else { Err(problems) }
}

fn print(record: &LogEntry, json: bool, output: &mut Output) -> Result<(), Vec<Diagnostic>> {
    if json {
        return output.json_line(record);
    }
    output.text(&render_record(record, output.style()));
    Ok(())
}

fn accept(folder: &Path, reason: &str, yes: bool, output: &mut Output) -> Done {
    if !yes {
        return Err(vec![
            Diagnostic::usage(codes::TL0714, "this puts the whole log aside and begins a new one")
                .help("look at `tl audit verify` first; then add `--yes`"),
        ]);
    }
    let aside = audit::accept(folder, reason).map_err(|error| vec![audit_error(&error)])?;
    output.text(&format!("the old log lies in {}\na new one begins with this decision\n", aside.display()));
    Ok(ExitCode::Success)
}
