//! Compares the contract of a plan with the file as it is now.

use serde_json::{Map, Value as Json};

use super::contract::RECIPIENTS;
use crate::diagnostic::Location;
use crate::open::Loaded;
use crate::stages::{self, Decides, StageKind};

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
    // A stage may have had another kind when it was planned.
    let kinds = |pointer: &str| {
        let named = [present, planned].into_iter().filter_map(|root| root.pointer(pointer)?["uses"].as_str());
        named.filter_map(stages::find).collect()
    };
    let mut found = Vec::new();
    walk(Some(planned), Some(present), "", &Compared { loaded, kinds: &kinds }, &mut found);
    found
}

/// What is needed to describe a difference.
struct Compared<'a> {
    loaded: &'a Loaded,
    /// The kinds of the stage at a pointer, now and in the plan.
    kinds: &'a dyn Fn(&str) -> Vec<&'static StageKind>,
}

fn walk(
    planned: Option<&Json>,
    present: Option<&Json>,
    pointer: &str,
    compared: &Compared<'_>,
    found: &mut Vec<Difference>,
) {
    match (planned, present) {
        (planned, present) if planned == present => {}
        (Some(Json::Object(planned)), Some(Json::Object(present))) => {
            let new = present.keys().filter(|key| !planned.contains_key(*key));
            for key in planned.keys().chain(new) {
                let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                walk(planned.get(key), present.get(key), &pointer, compared, found);
            }
        }
        _ => found.push(Difference {
            what: what(pointer, compared),
            place: compared.loaded.document.at_value(pointer),
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
fn what(pointer: &str, compared: &Compared<'_>) -> String {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    match parts.as_slice() {
        ["stages" | "finally", stage] => format!("the graph (`{stage}`)"),
        ["stages" | "finally", stage, RECIPIENTS, ..] => format!("for whom `{stage}` seals"),
        ["stages" | "finally", stage, key @ ("needs" | "if" | "uses" | "run" | "instances" | "strategy"), ..] => {
            format!("the graph (`{key}` of `{stage}`)")
        }
        [section @ ("stages" | "finally"), stage, "with", key, ..] => {
            let kinds = (compared.kinds)(&format!("/{section}/{stage}"));
            match kinds.iter().find_map(|kind| kind.decides(key)) {
                Some(Decides::Key) => format!("the key of `{stage}`"),
                Some(Decides::Store) => format!("the store of `{stage}`"),
                Some(Decides::Lock) => format!("the lock of `{stage}`"),
                Some(Decides::Overwrite) => format!("what `{stage}` may remove"),
                Some(Decides::Recipients) => format!("for whom `{stage}` seals"),
                None => format!("`{key}` of `{stage}`"),
            }
        }
        ["stages" | "finally", stage, key, ..] => format!("`{key}` of `{stage}`"),
        ["stores", store, ..] => format!("the store `{store}`"),
        ["channels", channel, ..] => format!("the channel `{channel}`"),
        ["secrets", secret, ..] => format!("where the secret `{secret}` comes from"),
        [rule, ..] => format!("`{rule}`"),
        [] => "the plan".to_owned(),
    }
}
