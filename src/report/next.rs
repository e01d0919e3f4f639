use super::plain;
use super::tally::{Tally, Verdict};
use crate::diagnostic::{Code, ExitCode};
use crate::event::Outcome;

/// What somebody is to do after a run.
#[derive(Debug)]
pub(super) struct Next {
    /// In a sentence; the commands follow it.
    pub(super) advice: String,
    /// As they are typed.
    pub(super) commands: Vec<String>,
}

/// The one place that chooses what to do next. Each command is one that `tl --help` lists.
pub(super) fn next(tally: &Tally, verdict: Verdict) -> Next {
    let code = deciding_code(tally, verdict);
    let explain = code.map(|code| format!("tl explain {code}"));
    let record = tally.is_recorded.then(|| format!("tl audit show --run {}", tally.run));
    let about_file = |command: &str| Some(format!("tl {command} {}", quoted(&tally.file)));
    let resume = tally.is_recorded.then(|| format!("tl run --resume {}", tally.run));
    let steps = |advice: &str, commands: [Option<String>; 2]| {
        let commands: Vec<String> = commands.into_iter().flatten().collect();
        let colon = if commands.is_empty() { "" } else { ":" };
        Next { advice: format!("{advice}{colon}"), commands }
    };
    match (verdict.outcome, verdict.exit_code) {
        (_, ExitCode::Audit) => steps(
            "find out what happened to the audit log before anything else runs",
            [Some("tl audit verify".into()), explain],
        ),
        (_, ExitCode::Cancelled) => steps("it was cancelled; let it go on when it may", [resume, record]),
        (_, ExitCode::TimedOut) => {
            steps("see where the time went, or raise `timeout`, then let it go on", [record, resume])
        }
        (Outcome::Skipped, _) if verdict.error.is_some() => {
            steps("another run of its group is at work; run it again when that has ended", [explain, None])
        }
        (Outcome::Skipped, _) => steps("nothing was to be done; see what decides that", [about_file("plan"), None]),
        (_, ExitCode::Unproven) => {
            steps("keep what was collected until it is proven; mend the cause and let it go on", [explain, resume])
        }
        (Outcome::Failure, ExitCode::Destination) => {
            steps("make the destination reachable, try it, then let the run go on", [about_file("doctor"), resume])
        }
        (_, ExitCode::Destination) => {
            steps("make the destination reachable, try it, then run it again", [explain, about_file("doctor")])
        }
        (_, ExitCode::Busy) => steps("wait until the other one has ended, then run it again", [explain, record]),
        (Outcome::Failure, ExitCode::Key) => {
            steps("mend the key or the credentials, try them, then let the run go on", [about_file("doctor"), resume])
        }
        (_, ExitCode::Key) => {
            steps("mend the key or the credentials, try them, then run it again", [explain, about_file("doctor")])
        }
        (Outcome::Blocked, _) => {
            steps("mend what is named above, try it, then run it again", [explain, about_file("doctor")])
        }
        (Outcome::Success | Outcome::Warning, _) if !verdict.left_out.is_empty() => {
            steps("what was left out is not done yet; do it when it may be", [resume, record])
        }
        (Outcome::Success, _) => steps("nothing has to be done; what was done is on record", [record, None]),
        (Outcome::Warning, _) if tally.remarkable().iter().any(|ended| ended.error.is_some()) => {
            let again = tally.is_recorded.then(|| format!("tl run --rerun-failed {}", tally.run));
            steps("see whether the failures above may stay, or mend their cause and do them again", [explain, again])
        }
        (Outcome::Warning, _) => steps("see whether the warnings above may stay", [explain, record]),
        (Outcome::Failure | Outcome::Cancelled, _) => steps("mend the cause, then let it go on", [explain, resume]),
    }
}

/// The code of what decided how the run ended.
fn deciding_code(tally: &Tally, verdict: Verdict<'_>) -> Option<Code> {
    let remarkable = tally.remarkable();
    let errors = || remarkable.iter().filter_map(|ended| ended.error.as_ref());
    let deciding = errors().find(|error| error.kind.exit_code() == verdict.exit_code);
    let warned = remarkable.iter().find_map(|ended| ended.warned.as_ref().map(|(first, _)| first));
    verdict.error.or(deciding).or(errors().next()).or(warned).map(|problem| problem.code)
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let word = plain(word);
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '+' | '@' | ':' | ',');
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        word
    } else {
        // What begins with `-` would be an option.
        let dot = if word.starts_with('-') { "./" } else { "" };
        format!("'{dot}{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_file_is_one_word() {
        for (word, shown) in [
            ("pipelines/orders.yaml", "pipelines/orders.yaml"),
            ("my file.yaml", "'my file.yaml'"),
            ("it's; rm -rf ~", r"'it'\''s; rm -rf ~'"),
            ("-x.yaml", "'./-x.yaml'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
