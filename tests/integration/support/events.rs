//! Reads what `--reporter json` writes. Each line must fit the published schema and read back as the event it was.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value as Json;

pub use timelocker::event::{Event, Outcome, What};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../../schemas/event.v1.schema.json")).unwrap();
    jsonschema::validator_for(&schema).unwrap()
});

/// The events that a run wrote to standard output.
pub fn read_events(stdout: &str) -> Vec<Event> {
    stdout.lines().map(read_event).collect()
}

/// The same events as plain JSON, for tests of single fields.
pub fn read_json_events(stdout: &str) -> Vec<Json> {
    stdout.lines().map(read_json_event).collect()
}

/// One event as plain JSON.
pub fn read_json_event(line: &str) -> Json {
    serde_json::to_value(read_event(line)).unwrap()
}

fn read_event(line: &str) -> Event {
    let json: Json = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    let problems: Vec<String> = SCHEMA.iter_errors(&json).map(|problem| problem.to_string()).collect();
    assert!(problems.is_empty(), "against the schema: {problems:?} in {line}");
    let event: Event = serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(serde_json::to_value(&event).unwrap(), json, "changed when it was read back: {line}");
    event
}
