use crate::report::style::Style;
use crate::report::text::plain_lines;
use crate::run::Examined;
use crate::storage::TrialResult;

/// The results of `tl doctor`: each secret, store and channel, and a line for each of its checks.
pub fn render_examined(found: &[Examined], style: Style) -> String {
    let mut text = String::new();
    for Examined { what, name, kind, trials } in found {
        text.push_str(&format!("{what} {name} ({kind})\n"));
        for trial in trials {
            let word = match trial.result {
                TrialResult::Yes => style.green("yes    "),
                TrialResult::No => "no     ".to_owned(),
                TrialResult::Failed => style.red("FAILED "),
                TrialResult::Unknown => "unknown".to_owned(),
            };
            let detail = plain_lines(&trial.detail).replace('\n', " ");
            text.push_str(&format!("  {word}  {:<18}{}\n", trial.what, detail.trim_end()));
        }
    }
    if found.is_empty() {
        text.push_str("the file names no secret, store or channel: there is nothing to try\n");
    }
    text
}
