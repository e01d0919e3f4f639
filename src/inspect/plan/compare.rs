//! Compares the contract of a plan with the file as it is now.

use serde_json::{Map, Value as Json};

use crate::diagnostic::Location;
use crate::open::Loaded;

/// One difference between a plan and the file.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The thing that differs, in words.
    pub what: String,
    /// Its place in the file as it is now.
    pub place: Location,
    /// The value in the plan; empty if it has none.
    pub planned: String,
    /// The value in the file; empty if it has none.
    pub present: String,
}

/// Every difference, by field, in the order of the plan.
pub(super) fn compare(planned: &Json, present: &Json, loaded: &Loaded) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(Some(planned), Some(present), "", loaded, &mut found);
    found
}

fn walk(planned: Option<&Json>, present: Option<&Json>, pointer: &str, loaded: &Loaded, found: &mut Vec<Difference>) {
    match (planned, present) {
        (planned, present) if planned == present => {}
        (Some(Json::Object(planned)), Some(Json::Object(present))) => {
            let new = present.keys().filter(|key| !planned.contains_key(*key));
            for key in planned.keys().chain(new) {
                let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                walk(planned.get(key), present.get(key), &pointer, loaded, found);
            }
        }
        _ => found.push(Difference {
            what: what(pointer),
            place: loaded.document.at_value(pointer),
            planned: text(planned),
            present: text(present),
        }),
    }
}

fn text(value: Option<&Json>) -> String {
    match value {
        None => String::new(),
        Some(Json::String(text)) => format!("{text}\n"),
        Some(Json::Object(map)) if map == &Map::new() => "{}\n".to_owned(),
        Some(other) => format!("{other:#}\n"),
    }
}

/// A pointer in words.
fn what(pointer: &str) -> String {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    match parts.as_slice() {
        ["stages" | "finally", stage] => format!("the graph (`{stage}`)"),
        ["stages" | "finally", stage, "with", "key", ..] => format!("the key of `{stage}`"),
        ["stages" | "finally", stage, "with", "store", ..] => format!("the store of `{stage}`"),
        ["stages" | "finally", stage, "with", "object-lock", ..] => format!("the lock of `{stage}`"),
        ["stages" | "finally", stage, "with", "overwrite"] => format!("what `{stage}` may remove"),
        ["stages" | "finally", stage, "recipients", ..]
        | ["stages" | "finally", stage, "with", "recipients" | "recipients-file", ..] => {
            format!("for whom `{stage}` seals")
        }
        ["stages" | "finally", stage, key @ ("needs" | "if" | "uses" | "run" | "instances" | "strategy"), ..] => {
            format!("the graph (`{key}` of `{stage}`)")
        }
        ["stages" | "finally", stage, "with", key, ..] | ["stages" | "finally", stage, key, ..] => {
            format!("`{key}` of `{stage}`")
        }
        ["stores", store, ..] => format!("the store `{store}`"),
        ["channels", channel, ..] => format!("the channel `{channel}`"),
        ["secrets", secret, ..] => format!("where the secret `{secret}` comes from"),
        [rule, ..] => format!("`{rule}`"),
        [] => "the plan".to_owned(),
    }
}
