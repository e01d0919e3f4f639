//! What `tl doctor` found, for people.

use crate::inspect::DoctorItem;
use crate::report::style::Style;
use crate::report::text::plain_lines;
use crate::storage::CheckResult;

/// One line for each thing that was tried, below the name of what it was tried with.
pub fn render_examined(found: &[DoctorItem], style: Style) -> String {
    let mut text = String::new();
    for DoctorItem { what, name, kind, trials } in found {
        text.push_str(&format!("{what} {name} ({kind})\n"));
        for trial in trials {
            let word = match trial.result {
                CheckResult::Yes => style.green("yes    "),
                CheckResult::No => "no     ".to_owned(),
                CheckResult::Failed => style.red("FAILED "),
                CheckResult::Unknown => "unknown".to_owned(),
            };
            let detail = plain_lines(&trial.detail).replace('\n', " ");
            text.push_str(&format!("  {word}  {:<18}{}\n", trial.what, detail.trim_end()));
        }
    }
    text
}
