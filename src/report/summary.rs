use super::next::next;
use super::style::Style;
use super::tally::{Tally, Verdict};
use super::text::{cut, plain, wrap};
use crate::diagnostic::ExitCode;
use crate::event::Outcome;
use crate::value::human_duration;

/// How many stages are named: a summary fits a screen of 24 lines.
const MOST_NAMED: usize = 10;

/// The end of a report for people: failures and warnings, counts, and what to do next.
pub(super) fn render_summary(tally: &Tally, verdict: Verdict, style: Style, columns: usize) -> String {
    let mut text = String::new();
    let remarkable = tally.remarkable();
    if !remarkable.is_empty() {
        text.push('\n');
    }
    for ended in remarkable.iter().take(MOST_NAMED) {
        let line = format!("{}  {}", plain(&ended.name), ended.why());
        let line = cut(&line, columns.saturating_sub(12), style.signs().dots);
        text.push_str(&format!("  {} {line}\n", coloured(ended.outcome, 9, style)));
    }
    if let Some(more @ 1..) = remarkable.len().checked_sub(MOST_NAMED) {
        text.push_str(&format!("  and {more} more\n"));
    }
    let said = format!("in {}: {}", human_duration(verdict.seconds), tally.counts());
    let word = verdict.outcome.word();
    let said = wrap(&said, word.len() + 1, 2, columns);
    text.push_str(&format!("{} {said}\n", coloured(verdict.outcome, 0, style)));
    if verdict.exit_code != ExitCode::Success {
        text.push_str(&format!("exit code {}\n", verdict.exit_code));
    }
    if !verdict.left_out.is_empty() {
        let undone = format!("left out: {}", verdict.left_out.join(", "));
        text.push_str(&format!("{}\n", cut(&undone, columns, style.signs().dots)));
    }
    if let Some(why) = verdict.uncounted {
        let said = format!("not counted as a success: {}", plain(why));
        text.push_str(&format!("{}\n", cut(&said, columns, style.signs().dots)));
    }
    let next = next(tally, verdict);
    text.push_str(&format!("next: {}\n", wrap(&next.advice, 6, 6, columns)));
    // A command stays on one line, so that people can copy it.
    text.extend(next.commands.iter().map(|command| format!("  {command}\n")));
    text
}

/// The word for an outcome, in its colour, padded to `columns`.
pub(super) fn coloured(outcome: Outcome, columns: usize, style: Style) -> String {
    let word = format!("{:columns$}", outcome.word());
    match outcome {
        Outcome::Success => style.green(&word),
        Outcome::Warning => style.yellow(&word),
        Outcome::Failure | Outcome::Blocked => style.red(&word),
        Outcome::Skipped | Outcome::Cancelled => style.faint(&word),
    }
}
