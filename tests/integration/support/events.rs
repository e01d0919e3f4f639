//! What `--reporter json` prints. Every test reads events here, and nowhere else.
//!
//! Each line must fit the published schema and read back as the event that it was.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value as Json;
pub use timelocker::event::{Event, Outcome, What};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../../schemas/event.v1.schema.json")).unwrap();
    jsonschema::validator_for(&schema).unwrap()
});

/// The events that a run printed.
pub fn read_events(stdout: &str) -> Vec<Event> {
    stdout.lines().map(read_event).collect()
}

fn read_event(line: &str) -> Event {
    let json: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("not an event: {error}: {line}"));
    let problems: Vec<String> = SCHEMA.iter_errors(&json).map(|problem| problem.to_string()).collect();
    assert!(problems.is_empty(), "against the schema: {problems:?} in {line}");
    let event: Event = serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(serde_json::to_value(&event).unwrap(), json, "changed when it was read back: {line}");
    event
}

/// The events that a run printed as plain JSON, for tests of single fields.
pub fn events(stdout: &str) -> Vec<Json> {
    stdout.lines().map(event).collect()
}

/// The event of one line as plain JSON.
pub fn event(line: &str) -> Json {
    serde_json::to_value(read_event(line)).unwrap()
}

/// The event of a line that a kill may have cut short.
pub fn event_unless_cut(line: &str) -> Option<Json> {
    serde_json::from_str::<Json>(line).is_ok().then(|| event(line))
}

/// How each stage ended, by name.
pub fn outcomes(events: &[Json]) -> Vec<(String, String)> {
    let mut outcomes: Vec<(String, String)> = events
        .iter()
        .filter(|event| event["event"] == "stage-ended")
        .map(|event| (event["stage"].as_str().unwrap().to_owned(), event["outcome"].as_str().unwrap().to_owned()))
        .collect();
    outcomes.sort();
    outcomes
}

/// The error that a stage ended with.
pub fn error_of(events: &[Json], stage: &str) -> String {
    let ended = events.iter().find(|event| event["event"] == "stage-ended" && event["stage"] == stage).unwrap();
    ended["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// Names and outcomes as [`outcomes`] returns them.
pub fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}
