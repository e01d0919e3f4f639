use super::tally::{Tally, Verdict};
use super::text::shell_word;
use crate::diagnostic::{Code, ExitCode};
use crate::event::Outcome;

/// What to do after a run.
#[derive(Debug)]
pub(super) struct Next {
    /// One sentence; the commands follow it.
    pub(super) advice: String,
    /// Commands, as they are typed.
    pub(super) commands: Vec<String>,
}

/// Chooses what to do next, for every reporter. `tests/integration/reporters.rs` runs each command it names.
pub(super) fn next(tally: &Tally, verdict: Verdict) -> Next {
    let code = deciding_code(tally, verdict);
    let explain = code.map(|code| format!("tl explain {code}"));
    let record = tally.is_recorded.then(|| format!("tl audit show --run {}", tally.run));
    let about_file = |command: &str| Some(format!("tl {command} {}", shell_word(&tally.file)));
    let resume = verdict.is_resumable.then(|| format!("tl run --resume {}", tally.run));
    let again = if verdict.is_resumable { "resume the run" } else { "run it again" };
    let steps = |advice: &str, commands: [Option<String>; 2]| {
        let commands: Vec<String> = commands.into_iter().flatten().collect();
        let colon = if commands.is_empty() { "" } else { ":" };
        Next { advice: format!("{advice}{colon}"), commands }
    };
    match (verdict.outcome, verdict.exit_code) {
        (_, ExitCode::Audit) => {
            steps("check the audit log before anything else runs", [Some("tl audit verify".into()), explain])
        }
        (_, ExitCode::Cancelled) => steps(&format!("it was cancelled; {again} when ready"), [resume, record]),
        (_, ExitCode::TimedOut) => {
            steps(&format!("see where the time went, or raise `timeout`, then {again}"), [record, resume])
        }
        (Outcome::Skipped, _) if verdict.error.is_some() => {
            steps("another run of its group is active; run it again when that has ended", [explain, None])
        }
        (Outcome::Skipped, _) => steps("there was nothing to do; see why", [about_file("plan"), None]),
        (_, ExitCode::Unproven) => steps(
            &format!("keep the sources until the delivery is verified; fix the cause, then {again}"),
            [explain, resume],
        ),
        (Outcome::Failure, ExitCode::Destination) => {
            steps(&format!("make the destination reachable, check it, then {again}"), [about_file("doctor"), resume])
        }
        (_, ExitCode::Destination) => {
            steps("make the destination reachable, check it, then run it again", [explain, about_file("doctor")])
        }
        (_, ExitCode::Busy) => steps("wait until the other run has ended, then run it again", [explain, record]),
        (Outcome::Failure, ExitCode::Key) => {
            steps(&format!("fix the key or the credentials, check them, then {again}"), [about_file("doctor"), resume])
        }
        (_, ExitCode::Key) => {
            steps("fix the key or the credentials, check them, then run it again", [explain, about_file("doctor")])
        }
        (Outcome::Blocked, _) => {
            steps("fix the problem above, check it, then run it again", [explain, about_file("doctor")])
        }
        (Outcome::Success | Outcome::Warning, _) if !verdict.left_out.is_empty() => {
            steps("some stages were left out; run them when ready", [resume, record])
        }
        (Outcome::Success, _) => steps("nothing to do; see the record", [record, None]),
        (Outcome::Warning, _) if tally.remarkable().iter().any(|ended| ended.error.is_some()) => {
            let again = verdict.is_resumable.then(|| format!("tl run --rerun-failed {}", tally.run));
            steps(
                "check whether the failures above are acceptable, or fix their cause and repeat them",
                [explain, again],
            )
        }
        (Outcome::Warning, _) => steps("check whether the warnings above are acceptable", [explain, record]),
        (Outcome::Failure | Outcome::Cancelled, _) => steps(&format!("fix the cause, then {again}"), [explain, resume]),
    }
}

/// The code of the problem that decided the exit code, else of the first one.
fn deciding_code(tally: &Tally, verdict: Verdict<'_>) -> Option<Code> {
    let remarkable = tally.remarkable();
    let errors = || remarkable.iter().filter_map(|ended| ended.error.as_ref());
    let deciding = errors().find(|error| error.kind.exit_code() == verdict.exit_code);
    let warned = remarkable.iter().find_map(|ended| ended.warned.as_ref().map(|(first, _)| first));
    verdict.error.or(deciding).or(errors().next()).or(warned).map(|problem| problem.code)
}
