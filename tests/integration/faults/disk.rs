//! Each write of a run fails, or is the last thing that it does. What comes of it is told, and mended by the next one.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use serde_json::Value as Json;
use timelocker::audit;

use super::{delivered, lay_out, output_of, preloaded, proven};
use crate::program::{Tl, events};

/// What becomes of a write.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Error { number: u32, forever: bool },
    Killed(&'static str),
}

const FAULTS: [Fault; 6] = [
    Fault::Error { number: EIO, forever: false },
    Fault::Error { number: EIO, forever: true },
    Fault::Error { number: ENOSPC, forever: false },
    Fault::Error { number: ENOSPC, forever: true },
    Fault::Killed("before"),
    Fault::Killed("after"),
];
const EIO: u32 = 5;
const ENOSPC: u32 = 28;

/// Where a run fails.
struct Case {
    fault: Fault,
    at: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at write {}", self.fault, self.at)
    }
}

/// What a run said, and how it ended.
struct Told {
    /// None where it was killed.
    code: Option<i32>,
    events: Vec<Json>,
    text: String,
    /// The call that failed.
    call: String,
}

fn run(tl: &Tl, case: &Case) -> Told {
    let mut command = tl.command(&["run", "p.yaml", "--reporter", "json"]);
    command
        .env("LD_PRELOAD", preloaded("disk"))
        .env("TL_FAULT_BELOW", tl.state())
        .env("TL_FAULT_LOG", tl.file("calls"));
    match case.fault {
        Fault::Error { number, forever } => {
            command.env("TL_FAULT_ERROR", number.to_string());
            if forever {
                command.env("TL_FAULT_FOREVER", "1");
            }
        }
        Fault::Killed(when) => drop(command.env("TL_FAULT_ERROR", when)),
    }
    command.env("TL_FAULT_AT", case.at.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output_of(command.spawn().unwrap());
    let stdout = String::from_utf8(output.stdout).unwrap();
    // What was told when it was killed may end in the middle of a line.
    let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
    let calls = tl.read("calls");
    Told {
        code: if output.status.signal().is_some() { None } else { output.status.code() },
        events: events(whole),
        text: format!("{stdout}{}", String::from_utf8(output.stderr).unwrap()),
        call: calls.lines().find_map(|line| line.strip_prefix(&format!("{} ", case.at))).unwrap_or_default().to_owned(),
    }
}

/// What is told of things that went wrong.
fn problems(told: &Told) -> impl Iterator<Item = &Json> {
    told.events.iter().map(|event| &event["error"]).filter(|error| error.is_object())
}

/// That what is told of a fault is enough to do something.
fn is_helpful(tl: &Tl, told: &Told) -> bool {
    let state = tl.state().display().to_string();
    told.text.contains(&state) && problems(told).any(|error| error["code"].is_string() && error["help"].is_string())
}

/// The outcome of a run in the journal.
fn outcome(tl: &Tl, run: &str) -> Option<String> {
    timelocker::state::StateDir::locate(Some(&tl.state())).unwrap().left(run).unwrap()?.outcome
}

fn is_on_record(tl: &Tl, run: &str, outcome: &str) -> bool {
    let filter =
        audit::Filter { kind: Some("run.finished".to_owned()), run: Some(run.to_owned()), ..audit::Filter::default() };
    let records = audit::read(&tl.state().join("audit"), filter).unwrap();
    records.filter_map(Result::ok).last().is_some_and(|record| record.data["outcome"] == outcome)
}

/// All that is wrong with what came of a fault.
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
        // The call did not come: fewer were made than in the run that was counted.
        (Some(0), Fault::Killed(_)) if told.call.is_empty() => return Ok(()),
        (_, Fault::Killed(_)) => return say("it was not killed"),
        (Some(0), _) => {
            let run = run.as_deref().unwrap();
            if let Err(found) = delivered(tl, run) {
                return say(&format!("a success that did not deliver: {found}"));
            }
            if !is_on_record(tl, run, "success") {
                return say("a success that is not on record");
            }
            if outcome(tl, run).as_deref() != Some("success") && !is_helpful(tl, &told) {
                return say("a success that the journal does not have, and nobody was told");
            }
            if !tl.file("log.jsonl").exists() {
                return say("a success that nobody was told of");
            }
        }
        (Some(20), _) => return say("a fault is not damage"),
        (Some(_), _) if !is_helpful(tl, &told) => return say("it is not said what to do"),
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
        && outcome(tl, known.as_deref().unwrap()).as_deref() == Some("success")
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
    if !verified.problems.is_empty() || outcome(tl, events[0]["run"].as_str().unwrap()).as_deref() != Some("success") {
        return say("the log or the journal is not whole");
    }
    Ok(())
}

/// `TL_FAULTS` says how many of all cases, or `all`.
#[test]
fn whatever_write_fails_or_is_the_last_one_the_run_goes_on_from_there() {
    const SEED: u64 = 1;
    let counted = lay_out();
    let none = Case { fault: Fault::Error { number: EIO, forever: false }, at: 0 };
    let whole = run(&counted, &none);
    assert_eq!(whole.code, Some(0), "{}", whole.text);
    let writes = counted.read("calls").lines().count();
    assert!(writes > 100, "{writes}");
    let mut cases: Vec<Case> = (1..=writes).flat_map(|at| FAULTS.map(|fault| Case { fault, at })).collect();
    fastrand::Rng::with_seed(SEED).shuffle(&mut cases);
    let most = std::env::var("TL_FAULTS").unwrap_or_else(|_| "48".to_owned());
    cases.truncate(most.parse().unwrap_or(usize::MAX));
    let found: Vec<String> = cases.iter().filter_map(|case| wrong(&lay_out(), case).err()).collect();
    println!("seed {SEED}: {} of {} cases, {writes} writes", cases.len(), writes * FAULTS.len());
    for one in &found {
        println!("{one}\n");
    }
    assert!(found.is_empty(), "{} of {} cases", found.len(), cases.len());
}
