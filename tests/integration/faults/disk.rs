//! Each write of a run fails, or is its last act. The run reports the fault, and the next one recovers.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use serde_json::Value as Json;
use timelocker::audit;
use timelocker::event::Outcome;
use timelocker::state::StateDir;

use super::sample::{delivered, lay_out, output_of, proven};
use crate::support::writes::{Case, FAULTS, Fault, most};
use crate::support::{Tl, events};

/// The output of a run, and how it ended.
struct Told {
    /// `None` if it was killed.
    code: Option<i32>,
    events: Vec<Json>,
    text: String,
    /// The call that failed.
    call: String,
}

fn run(tl: &Tl, case: &Case) -> Told {
    let mut command = tl.command(&["run", "p.yaml", "--reporter", "json"]);
    case.arm(tl, &mut command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output_of(command.spawn().unwrap());
    let stdout = String::from_utf8(output.stdout).unwrap();
    // The output of a killed run may end in the middle of a line.
    let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
    let calls = tl.read("calls");
    Told {
        code: if output.status.signal().is_some() { None } else { output.status.code() },
        events: events(whole),
        text: format!("{stdout}{}", String::from_utf8(output.stderr).unwrap()),
        call: calls.lines().find_map(|line| line.strip_prefix(&format!("{} ", case.at))).unwrap_or_default().to_owned(),
    }
}

/// The reported errors.
fn problems(told: &Told) -> impl Iterator<Item = &Json> {
    told.events.iter().map(|event| &event["error"]).filter(|error| error.is_object())
}

/// Whether the report of a fault tells the user enough to act.
fn is_helpful(tl: &Tl, told: &Told) -> bool {
    let state = tl.state().display().to_string();
    told.text.contains(&state) && problems(told).any(|error| error["code"].is_string() && error["help"].is_string())
}

/// The outcome of a run, according to the journal.
fn outcome(tl: &Tl, run: &str) -> Option<Outcome> {
    StateDir::locate(Some(&tl.state())).unwrap().prior_run(run).unwrap()?.end.map(|end| end.outcome)
}

/// Whether the journal has every stage of a run, each with its outcome.
fn is_whole(tl: &Tl, run: &str) -> bool {
    let runs = StateDir::locate(Some(&tl.state())).unwrap().runs().unwrap().unwrap();
    let stages = runs.stages(run).unwrap();
    stages.len() == 10 && stages.iter().all(|stage| stage.outcome == Some(Outcome::Success))
}

fn records(tl: &Tl, run: &str, kind: &str) -> Vec<audit::LogEntry> {
    let (kind, run) = (Some(kind.to_owned()), Some(run.to_owned()));
    let filter = audit::Filter { kind, run, ..audit::Filter::default() };
    audit::read(&tl.state().join("audit"), filter).unwrap().map(Result::unwrap).collect()
}

/// Finds anything wrong with the consequences of a fault.
fn wrong(tl: &Tl, case: &Case) -> Result<(), String> {
    let told = run(tl, case);
    let say = |what: &str| Err(format!("{case} ({}): {what}\n{}", told.call, told.text));
    if told.text.contains("panicked") || told.text.contains("TL09") {
        return say("a mistake of tl");
    }
    let run = told.events.first().and_then(|event| event["run"].as_str()).map(str::to_owned);
    match (told.code, case.fault) {
        (None, Fault::Killed(_)) => {}
        (None, Fault::Error { .. }) => return say("it was killed"),
        // The run made fewer calls than the counted one, so the fault never happened.
        (Some(0), Fault::Killed(_)) if told.call.is_empty() => return Ok(()),
        (_, Fault::Killed(_)) => return say("it was not killed"),
        (Some(0), _) => {
            let run = run.as_deref().unwrap();
            if let Err(found) = delivered(tl, run) {
                return say(&format!("a success that did not deliver: {found}"));
            }
            if records(tl, run, "run.finished").last().is_none_or(|record| record.data["outcome"] != "success") {
                return say("a success that is not on record");
            }
            let is_in_journal = outcome(tl, run) == Some(Outcome::Success) && is_whole(tl, run);
            if !is_in_journal && !is_helpful(tl, &told) {
                return say("a success that the journal does not have, and nobody was told");
            }
            if !tl.file("log.jsonl").exists() {
                return say("a success that nobody was told of");
            }
        }
        (Some(20), _) => return say("a fault is not damage"),
        (Some(_), _) if !is_helpful(tl, &told) => return say("it is not said what to do"),
        (Some(_), Fault::Error { .. }) if !tl.file("log.jsonl").exists() => {
            return say("a failure that nobody was told of");
        }
        _ => {}
    }
    let before = run.as_deref().and_then(|run| proven(tl, run));
    let (arguments, known) = match (run, &before) {
        (Some(run), Some(_)) => (vec!["--resume".to_owned(), run.clone()], Some(run)),
        _ => (vec!["p.yaml".to_owned()], None),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let next = tl.run(&[&["run", "--reporter", "json"][..], &arguments].concat());
    if next.code == 2
        && next.stderr.contains("TL0781")
        && outcome(tl, known.as_deref().unwrap()) == Some(Outcome::Success)
    {
        return delivered(tl, &known.unwrap()).or_else(|found| say(&format!("it ended without {found}")));
    }
    if next.code != 0 {
        return say(&format!("and then it could not go on: {next:?}"));
    }
    let events = events(&next.stdout);
    if let Err(found) = delivered(tl, events[0]["run"].as_str().unwrap()) {
        return say(&format!("and then: {found}"));
    }
    let number = |event: &Json| ["a", "b"].iter().position(|name| event["instance"] == **name);
    let again = events
        .iter()
        .filter(|event| event["event"] == "stage-ended" && event["recalled"] != true)
        .map(|event| (event["stage"].as_str().unwrap().to_owned(), number(event)))
        .find(|done| before.as_ref().is_some_and(|before| before.contains(done)));
    if let Some(again) = again {
        return say(&format!("{again:?} was done twice"));
    }
    let verified = audit::verify(&tl.state().join("audit")).unwrap();
    let run = events[0]["run"].as_str().unwrap();
    if !verified.problems.is_empty() || outcome(tl, run) != Some(Outcome::Success) || !is_whole(tl, run) {
        return say("the log or the journal is not whole");
    }
    if records(tl, run, "run.started").len() != 1 {
        return say("it did not start once");
    }
    Ok(())
}

#[test]
fn whatever_write_fails_or_is_the_last_one_the_run_goes_on_from_there() {
    const SEED: u64 = 1;
    let counted = lay_out();
    let none = Case { fault: Fault::Error { number: 0, forever: false }, at: 0 };
    let whole = run(&counted, &none);
    assert_eq!(whole.code, Some(0), "{}", whole.text);
    let calls = counted.read("calls").replace(whole.events[0]["run"].as_str().unwrap(), "RUN");
    let writes = calls.lines().count();
    assert!(writes > 100, "{writes}");
    let mut all: Vec<Case> = (1..=writes).flat_map(|at| FAULTS.map(|fault| Case { fault, at })).collect();
    fastrand::Rng::with_seed(SEED).shuffle(&mut all);
    // Start with the last call of each kind, as far as the calls come in the same order again.
    let kinds: BTreeMap<&str, usize> =
        calls.lines().enumerate().map(|(at, line)| (&line[line.find(' ').unwrap()..], at + 1)).collect();
    let last = kinds.into_values().map(|at| Case { fault: FAULTS[0], at });
    let mut cases: Vec<Case> = last.chain(all).collect();
    cases.truncate(most().saturating_mul(2));
    let found: Vec<String> = cases.iter().filter_map(|case| wrong(&lay_out(), case).err()).collect();
    println!("seed {SEED}: {} of {} cases, {writes} writes", cases.len(), writes * FAULTS.len());
    for one in &found {
        println!("{one}\n");
    }
    assert!(found.is_empty(), "{} of {} cases", found.len(), cases.len());
}
