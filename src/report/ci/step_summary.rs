use std::collections::BTreeMap;

use crate::event::Outcome;
use crate::inspect::StageEntry;
use crate::report::drawing::{GraphReport, render_outcomes};
use crate::report::next::next;
use crate::report::tally::{Tally, Verdict};
use crate::report::text::{cut, plain};
use crate::value::human_duration;

/// How many rows the table has. GitHub takes a megabyte, and nobody reads a longer table.
const MOST_ROWS: usize = 200;
/// How many errors are shown in full.
const MOST_ERRORS: usize = 50;
/// How many columns of an error are shown.
const MOST_OF_AN_ERROR: usize = 2_000;
/// How many stages a picture can show legibly.
const MOST_DRAWN: usize = 60;

/// What became of a run, in Markdown.
pub(super) fn render_step_summary(tally: &Tally, verdict: Verdict, entries: &[StageEntry]) -> String {
    let mut text = format!(
        "## {} {}: {}\n\n{} in {}, exit code {}, run {}, file {}\n\n",
        sign(verdict.outcome),
        escaped(&tally.pipeline),
        verdict.outcome.word(),
        tally.counts(),
        human_duration(verdict.seconds),
        verdict.exit_code,
        escaped(&tally.run),
        escaped(&tally.file),
    );
    text.push_str(&table(tally));
    if !verdict.left_out.is_empty() {
        text.push_str(&format!("Left out: {}\n\n", verdict.left_out.join(", ")));
    }
    text.push_str(&errors(tally, verdict));
    let next = next(tally, verdict);
    text.push_str(&format!("**Next:** {}\n\n", escaped(&next.advice)));
    if !next.commands.is_empty() {
        let commands: String = next.commands.iter().map(|command| format!("    {command}\n")).collect();
        text.push_str(&format!("{commands}\n"));
    }
    if (1..=MOST_DRAWN).contains(&entries.len()) {
        text.push_str(&format!("```mermaid\n{}```\n\n", picture(tally, entries)));
    }
    text
}

fn table(tally: &Tally) -> String {
    let rows: Vec<_> = tally.ended.iter().filter(|ended| !tally.is_sum(ended)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "| stage | outcome | time | details |\n| --- | --- | --- | --- |\n".to_owned();
    for ended in rows.iter().take(MOST_ROWS) {
        text.push_str(&format!(
            "| {} | {} {} | {} | {} |\n",
            escaped(&ended.name),
            sign(ended.outcome),
            ended.outcome.word(),
            human_duration(ended.seconds),
            shortened(&ended.why()),
        ));
    }
    if let Some(more @ 1..) = rows.len().checked_sub(MOST_ROWS) {
        text.push_str(&format!("\nand {more} more\n"));
    }
    format!("{text}\n")
}

/// Errors in full: those of the run, then those of its stages.
fn errors(tally: &Tally, verdict: Verdict) -> String {
    let of_run = tally.problems.iter().chain(verdict.error).map(|error| ("the run", error));
    let remarkable = tally.remarkable();
    let of_stages = remarkable.iter().filter_map(|ended| Some((ended.name.as_str(), ended.error.as_ref()?)));
    let all: Vec<String> = of_run
        .chain(of_stages)
        .map(|(name, error)| {
            let place = error.place.as_ref();
            let place = place.map(|place| format!(" at {}:{}", place.file, place.line)).unwrap_or_default();
            let help = error.help.as_ref().map(|help| format!("\n  - {}", shortened(help))).unwrap_or_default();
            format!("- **{}**: {}{}{help}\n", escaped(name), shortened(&error.one_line()), escaped(&place))
        })
        .collect();
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!("### Problems\n\n{}", all.iter().take(MOST_ERRORS).map(String::as_str).collect::<String>());
    if let Some(more @ 1..) = all.len().checked_sub(MOST_ERRORS) {
        text.push_str(&format!("- and {more} more\n"));
    }
    format!("{text}\n")
}

/// The graph, each stage in the colour of its outcome.
fn picture(tally: &Tally, entries: &[StageEntry]) -> String {
    let graph = GraphReport::of_entries(&tally.pipeline, entries);
    let own = tally.ended.iter().filter(|ended| !ended.is_instance);
    let outcomes: BTreeMap<&str, Outcome> = own.map(|ended| (ended.stage.as_str(), ended.outcome)).collect();
    render_outcomes(&graph, &outcomes)
}

fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "✅",
        Outcome::Warning => "⚠️",
        Outcome::Failure => "❌",
        Outcome::Blocked => "⛔",
        Outcome::Skipped => "⏭️",
        Outcome::Cancelled => "🚫",
    }
}

fn shortened(text: &str) -> String {
    escaped(&cut(text, MOST_OF_AN_ERROR, "…"))
}

/// Escapes a text for Markdown and HTML, on one line. A backslash may precede any ASCII punctuation (section 2.4 of
/// `CommonMark`).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plain(&text.replace('\n', " ")).chars() {
        if c.is_ascii_punctuation() && !matches!(c, ',' | '.' | '/' | '-' | '%') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markdown() {
        assert_eq!(
            escaped("a | b\n`c` <b> &lt; [x](y) *z* # ~ \\|"),
            "a \\| b \\`c\\` \\<b\\> \\&lt\\; \\[x\\]\\(y\\) \\*z\\* \\# \\~ \\\\\\|"
        );
        assert_eq!(escaped("/var/backups/2026-11-24.tar, 5%"), "/var/backups/2026-11-24.tar, 5%");
        assert_eq!(escaped("https://x"), "https\\://x");
    }
}
