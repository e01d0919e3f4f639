//! What each reporter makes of each event: one sheet for all of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};
use unicode_width::UnicodeWidthStr;

use super::*;
use crate::diagnostic::{Diagnostic, ExitCode, Location, codes};
use crate::event::{Counts, Did, Event, Outcome, Stream, What};
use crate::inspect::StageEntry;

/// What a hostile child writes.
const HOSTILE: &str = "]]> ::error::x \u{1b}[31m | `a` <b> ##[error]y \u{0}\u{fffe}\r";

fn place(line: usize) -> Location {
    Location { file: "orders.yaml".to_owned(), line, column: 3, length: 7, text: "  deliver:".to_owned() }
}

fn output(stage: &str, instance: Option<String>, stream: Stream, line: &str) -> What {
    What::StageOutput { stage: stage.to_owned(), instance, stream, line: line.to_owned() }
}

fn started(stage: &str, instance: Option<String>, kind: &str, attempt: u32) -> What {
    What::StageStarted { stage: stage.to_owned(), instance, kind: kind.to_owned(), attempt }
}

fn no_space() -> Diagnostic {
    Diagnostic::failure(codes::TL0634, "no space is left").at(place(12)).label("here").help("make room")
}

struct End<'a> {
    outcome: Outcome,
    outputs: Json,
    did: Did,
    reason: Option<&'a str>,
    error: Option<Diagnostic>,
}

impl End<'_> {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, outputs: json!({}), did: Did::default(), reason: None, error: None }
    }

    fn event(self, stage: &str, instance: Option<String>) -> What {
        What::StageEnded {
            stage: stage.to_owned(),
            instance,
            outcome: self.outcome,
            seconds: 1.25,
            outputs: self.outputs.as_object().cloned().unwrap_or_else(Map::new),
            did: self.did,
            reason: self.reason.map(str::to_owned),
            error: self.error,
            recalled: false,
        }
    }
}

/// One of each event at least, as a run would give them.
fn sheet() -> Vec<What> {
    let instance = |name: &str| Some(name.to_owned());
    let nas = || instance("nas");
    let warning = || Diagnostic::warning(codes::TL0613, "`a`: it shrank");
    let stages = ["collect", "deliver", "copy", "prove"].map(str::to_owned).to_vec();
    let collected = json!({ "files": 3, "bytes": 4096, "skipped": 1 });
    let uri = "/srv/backups/a folder/2026-11-24/01RUN.tar.zst.age".to_owned();
    let object = json!({ "object": { "uri": uri } });
    let read = Did { files: Some(3), bytes: Some(4096), skipped: Some(1), ..Did::default() };
    let delivered = Did { uri: Some(uri), ..Did::default() };
    vec![
        What::RunStarted { pipeline: "orders".to_owned(), file: "orders.yaml".to_owned(), stages, session: 1 },
        started("collect", None, "archive", 1),
        started("deliver", None, "upload", 1),
        What::StageProgress { stage: "deliver".to_owned(), instance: None, bytes: 5 << 20 },
        output("deliver", None, Stream::Stdout, HOSTILE),
        output("collect", None, Stream::Stderr, "::add-mask::x"),
        What::StageWarning { stage: "collect".to_owned(), instance: None, warning: warning() },
        What::StageWarning { stage: "collect".to_owned(), instance: None, warning: warning() },
        What::StageRetrying {
            stage: "deliver".to_owned(),
            instance: None,
            attempt: 1,
            delay_ms: 2_500,
            error: no_space(),
        },
        started("deliver", None, "upload", 2),
        End { outputs: collected, did: read, ..End::of(Outcome::Warning) }.event("collect", None),
        End { error: Some(no_space()), ..End::of(Outcome::Failure) }.event("deliver", None),
        started("copy", nas(), "upload", 1),
        started("copy", instance("a|b\n::c"), "upload", 1),
        output("copy", nas(), Stream::Stdout, "copied"),
        End { outputs: object, did: delivered, ..End::of(Outcome::Success) }.event("copy", nas()),
        End { error: Some(Diagnostic::failure(codes::TL0651, "it ended with 3 | `x`")), ..End::of(Outcome::Failure) }
            .event("copy", instance("a|b\n::c")),
        End { reason: Some("1 of 2 instances: failure"), ..End::of(Outcome::Failure) }.event("copy", None),
        End { reason: Some("`deliver` failed"), ..End::of(Outcome::Skipped) }.event("prove", None),
        What::Problem { error: Diagnostic::warning(codes::TL0708, "the work folder could not be removed") },
        What::Message {
            channel: "log".to_owned(),
            when: "failure".to_owned(),
            subject: "orders: failure".to_owned(),
            body: "two\n::lines::\n".to_owned(),
            delivered: Some("12 bytes appended".to_owned()),
            error: None,
        },
        What::Message {
            channel: "ops".to_owned(),
            when: "failure".to_owned(),
            subject: "orders: failure".to_owned(),
            body: String::new(),
            delivered: None,
            error: Some(Diagnostic::failure(codes::TL0670, "the message to `ops` was not delivered")),
        },
        What::Checkpoint { size: 12, root: "cm9vdA==".to_owned() },
        What::RunEnded {
            outcome: Outcome::Failure,
            exit_code: ExitCode::Failure,
            seconds: 61.0,
            left_out: Vec::new(),
            counts: Counts::default(),
            resumable: true,
            error: None,
        },
    ]
}

fn event(what: What) -> Event {
    Event { ts: "2026-11-24T03:04:05.678Z".to_owned(), run: "01RUN".to_owned(), what }
}

/// What a reporter writes of these events.
fn shown(events: Vec<What>, reporter: impl FnOnce(std::sync::mpsc::Sender<Vec<u8>>) -> Box<dyn Reporter>) -> String {
    let (sender, written) = std::sync::mpsc::channel();
    let mut reporter = reporter(sender);
    events.into_iter().for_each(|what| reporter.event(&event(what)));
    drop(reporter);
    String::from_utf8(written.into_iter().flatten().collect()).unwrap()
}

/// Where a reporter writes to.
struct Sent(std::sync::mpsc::Sender<Vec<u8>>);

impl std::io::Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn human(events: Vec<What>, columns: usize, style: Style) -> String {
    shown(events, |to| Box::new(Human::with(Sent(to), style, columns, None)))
}

fn entries() -> Vec<StageEntry> {
    let needs = |need: &str| vec![need.to_owned()];
    [("collect", vec![]), ("deliver", needs("collect")), ("copy", needs("collect")), ("prove", needs("deliver"))]
        .into_iter()
        .zip(10..)
        .map(|((name, needs), line)| StageEntry {
            name: name.to_owned(),
            kind: "upload".to_owned(),
            needs,
            place: place(line),
        })
        .collect()
}

fn actions(events: Vec<What>, summary: Option<PathBuf>) -> String {
    shown(events, |to| Box::new(Actions::new(Sent(to), summary, entries())))
}

fn junit(events: Vec<What>) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let open = std::fs::File::create(file.path()).unwrap();
    shown(events, |_| Box::new(Junit::new(file.path().to_owned(), open)));
    std::fs::read_to_string(file.path()).unwrap()
}

/// Which variant it is. A new one does not compile here until it has a number, and fails the test until it is in the sheet.
fn number(what: &What) -> usize {
    match what {
        What::RunStarted { .. } => 0,
        What::StageStarted { .. } => 1,
        What::StageProgress { .. } => 2,
        What::StageOutput { .. } => 3,
        What::StageWarning { .. } => 4,
        What::StageRetrying { .. } => 5,
        What::StageEnded { .. } => 6,
        What::Problem { .. } => 7,
        What::Checkpoint { .. } => 8,
        What::Message { .. } => 9,
        What::RunEnded { .. } => 10,
    }
}

#[test]
fn the_sheet_has_every_event() {
    let found: std::collections::BTreeSet<usize> = sheet().iter().map(number).collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), (0..=10).collect::<Vec<_>>());
}

#[test]
fn every_event_as_people_read_it() {
    let mut all = String::new();
    for columns in [40, 80] {
        let text = human(sheet(), columns, Style { unicode: true, ..Style::default() });
        all.push_str(&format!("--- {columns} columns\n{text}"));
    }
    all.push_str(&format!("--- no terminal\n{}", human(sheet(), usize::MAX, Style::default())));
    insta::assert_snapshot!(all);
}

#[test]
fn every_event_in_colour() {
    insta::assert_snapshot!(human(sheet(), 80, Style { colour: true, unicode: true }).replace('\u{1b}', "␛"));
}

#[test]
fn every_event_as_a_line() {
    insta::assert_snapshot!(shown(sheet(), |to| Box::new(Lines::new(Sent(to)))));
}

#[test]
fn every_event_as_machines_read_it() {
    insta::assert_snapshot!(shown(sheet(), |to| Box::new(JsonLines::new(Sent(to)))));
}

#[test]
fn every_event_in_the_log_of_github() {
    let summary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(summary.path(), "what was there\n").unwrap();
    let log = actions(sheet(), Some(summary.path().to_owned()));
    insta::assert_snapshot!(log);
    let summary = std::fs::read_to_string(summary.path()).unwrap();
    insta::assert_snapshot!("step_summary", summary);
}

#[test]
fn every_event_as_junit() {
    insta::assert_snapshot!(junit(sheet()));
}

#[test]
fn only_what_is_meant_is_a_command_of_github() {
    let log = actions(sheet(), None);
    let commands: Vec<&str> = log.lines().filter(|line| line.trim_start().starts_with("::")).collect();
    let known = ["::group::", "::endgroup::", "::error ", "::warning "];
    assert!(commands.iter().all(|line| known.iter().any(|known| line.starts_with(known))), "{commands:#?}");
    assert!(!log.contains("##["), "{log}");
    // Each group is closed before the next one begins.
    let mut open = 0;
    for line in log.lines() {
        open += i32::from(line.starts_with("::group::")) - i32::from(line.starts_with("::endgroup::"));
        assert!((0..=1).contains(&open));
    }
    assert_eq!(open, 0);
}

#[test]
fn nothing_steers_a_terminal() {
    for text in [
        human(sheet(), 80, Style::default()),
        shown(sheet(), |to| Box::new(Lines::new(Sent(to)))),
        actions(sheet(), None),
    ] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    }
}

#[test]
fn progress_is_told_once_in_ten_seconds() {
    let (sender, written) = std::sync::mpsc::channel();
    let mut lines = Lines::new(Sent(sender));
    for second in 0..60_u64 {
        let what = What::StageProgress { stage: "a".to_owned(), instance: None, bytes: second };
        lines.event(&Event { ts: format!("2026-11-24T03:04:{second:02}.678Z"), run: String::new(), what });
    }
    drop(lines);
    let text = String::from_utf8(written.into_iter().flatten().collect()).unwrap();
    assert_eq!(text.lines().count(), 6, "{text}");
}

/// How runs end, and with which code.
fn ends() -> BTreeMap<&'static str, Vec<What>> {
    use crate::diagnostic::Kind;
    let run = |outcome, exit_code, error: Option<Diagnostic>| {
        let (left_out, resumable) = (Vec::new(), outcome != Outcome::Blocked);
        let counts = Counts::default();
        What::RunEnded { outcome, exit_code, seconds: 61.0, left_out, counts, resumable, error }
    };
    let begun = || What::RunStarted {
        pipeline: "orders".to_owned(),
        file: "my orders.yaml".to_owned(),
        stages: vec!["deliver".to_owned()],
        session: 1,
    };
    let recorded = || What::Checkpoint { size: 1, root: String::new() };
    let failed = |code, kind: Kind| {
        let error = Diagnostic::new(code, kind, "why");
        let end = End { error: Some(error), ..End::of(Outcome::Failure) }.event("deliver", None);
        vec![begun(), end, recorded(), run(Outcome::Failure, kind.exit_code(), None)]
    };
    let whole = |outcome, code, kind: Kind, exit_code| {
        vec![begun(), run(outcome, exit_code, Some(Diagnostic::new(code, kind, "why")))]
    };
    let warning = What::StageWarning {
        stage: "deliver".to_owned(),
        instance: None,
        warning: Diagnostic::warning(codes::TL0613, "it shrank"),
    };
    let ended = |outcome| End::of(outcome).event("deliver", None);
    let left_out = vec!["prove".to_owned()];
    let in_part = What::RunEnded {
        outcome: Outcome::Success,
        exit_code: ExitCode::Success,
        seconds: 61.0,
        left_out,
        counts: Counts::default(),
        resumable: true,
        error: None,
    };
    let error = Some(Diagnostic::new(codes::TL0651, Kind::Failure, "why"));
    let forgiven = End { error, ..End::of(Outcome::Warning) }.event("deliver", None);
    BTreeMap::from([
        ("success", vec![begun(), ended(Outcome::Success), recorded(), run(Outcome::Success, ExitCode::Success, None)]),
        (
            "warning",
            vec![
                begun(),
                warning,
                ended(Outcome::Warning),
                recorded(),
                run(Outcome::Warning, ExitCode::Warnings, None),
            ],
        ),
        ("failure", failed(codes::TL0651, Kind::Failure)),
        ("not proven", failed(codes::TL0640, Kind::Verification)),
        ("destination", failed(codes::TL0630, Kind::Destination)),
        ("busy", failed(codes::TL0771, Kind::Busy)),
        ("key", failed(codes::TL0638, Kind::Key)),
        ("audit", whole(Outcome::Failure, codes::TL0701, Kind::Audit, ExitCode::Audit)),
        ("timed out", whole(Outcome::Failure, codes::TL0607, Kind::TimedOut, ExitCode::TimedOut)),
        ("cancelled", whole(Outcome::Cancelled, codes::TL0606, Kind::Cancelled, ExitCode::Cancelled)),
        ("in part", vec![begun(), ended(Outcome::Success), recorded(), in_part]),
        ("forgiven", vec![begun(), forgiven, recorded(), run(Outcome::Warning, ExitCode::Warnings, None)]),
        (
            "skipped",
            vec![begun(), ended(Outcome::Skipped), recorded(), run(Outcome::Skipped, ExitCode::NothingDone, None)],
        ),
        ("busy and skipped", whole(Outcome::Skipped, codes::TL0771, Kind::Busy, ExitCode::NothingDone)),
        ("blocked", whole(Outcome::Blocked, codes::TL0510, Kind::Key, ExitCode::Key)),
        ("blocked by its file", whole(Outcome::Blocked, codes::TL0404, Kind::Usage, ExitCode::Usage)),
    ])
}

#[test]
fn every_end_says_what_to_do_next() {
    let mut all = String::new();
    for (name, events) in ends() {
        let text = human(events, 80, Style::default());
        let next = text.find("next: ").unwrap_or_else(|| panic!("{name} has no next step"));
        all.push_str(&format!("--- {name}\n{}", &text[next..]));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_run_that_came_to_nothing_is_no_test_that_passed() {
    let events = ends().remove("blocked").unwrap();
    let text = junit(events);
    assert!(text.contains(r#"tests="1" failures="0" errors="1" time="61.000" skipped="0""#), "{text}");
    assert!(text.contains(r#"<error message="TL0510: why" type="TL0510">"#), "{text}");
}

#[test]
fn a_summary_fits_a_screen() {
    let stages: Vec<String> = (0..500).map(|number| format!("stage_{number}")).collect();
    let mut events = vec![What::RunStarted {
        pipeline: "many".to_owned(),
        file: "many.yaml".to_owned(),
        stages: stages.clone(),
        session: 1,
    }];
    let end =
        || End { error: Some(Diagnostic::failure(codes::TL0651, "no ".repeat(500))), ..End::of(Outcome::Failure) };
    events.extend(stages.iter().map(|stage| end().event(stage, None)));
    events.push(What::Checkpoint { size: 1, root: "last".to_owned() });
    events.push(What::RunEnded {
        outcome: Outcome::Failure,
        exit_code: ExitCode::Failure,
        seconds: 1.0,
        left_out: stages.clone(),
        counts: Counts::default(),
        resumable: true,
        error: None,
    });
    let text = human(events.clone(), 40, Style { unicode: true, ..Style::default() });
    let summary: Vec<&str> = text.split("root last\n").nth(1).unwrap().lines().collect();
    assert!(summary.len() <= 23, "{summary:#?}");
    assert!(summary.iter().any(|line| line.starts_with("left out: stage_0")), "{summary:#?}");
    assert!(summary.iter().all(|line| line.width() <= 40), "{summary:#?}");
    // And what GitHub is given stays below its limit.
    let file = tempfile::NamedTempFile::new().unwrap();
    actions(events, Some(file.path().to_owned()));
    assert!(file.path().metadata().unwrap().len() < 1 << 20);
}

#[test]
fn a_report_that_cannot_be_written_is_told() {
    let open = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut junit = Junit::new(PathBuf::from("/dev/full"), open);
    let mut log = Actions::new(std::io::sink(), Some(PathBuf::from("/dev/full")), entries());
    for what in sheet() {
        junit.event(&event(what.clone()));
        log.event(&event(what));
    }
    assert_eq!([junit.lost(), log.lost()].map(|lost| lost.unwrap().code), [codes::TL0712, codes::TL0712]);
}
