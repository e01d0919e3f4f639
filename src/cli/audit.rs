use std::collections::VecDeque;
use std::path::Path;

use serde_json::Value as Json;

use super::Done;
use super::arguments::Audit;
use crate::audit::{self, Filter, LogEntry};
use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::report::{Output, render_record, render_report};
use crate::run::audit_error;
use crate::state::StateDir;

pub(super) fn audit(command: &Audit, state: Option<&Path>, output: &mut Output) -> Done {
    let state = StateDir::locate(state).map_err(|error| vec![Diagnostic::usage(codes::TL0707, error.to_string())])?;
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
        output.json(&serde_json::to_value(&report).unwrap_or(Json::Null));
    } else {
        output.text(&render_report(&report, output.style()));
    }
    Ok(if report.is_damaged() { Kind::Audit.exit_code() } else { 0 })
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
            (Ok(record), None) => print(&record, json, output),
            (Err(error), _) => problems.push(audit_error(&error)),
        }
    }
    kept.iter().for_each(|record| print(record, json, output));
    if !any && problems.is_empty() {
        output.hint("no record fits");
    }
    if problems.is_empty() { Ok(0) } else { Err(problems) }
}

fn print(record: &LogEntry, json: bool, output: &mut Output) {
    if json {
        output.text(&format!("{}\n", serde_json::to_string(record).unwrap_or_default()));
    } else {
        output.text(&render_record(record, output.style()));
    }
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
    Ok(0)
}
