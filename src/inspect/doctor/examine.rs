use std::collections::BTreeSet;

use jiff::Zoned;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::stages::stages;
use super::state::state as state_item;
use crate::diagnostic::{Diagnostic, codes};
use crate::open::{Contexts, Loaded, Secrets, open_channel, open_store, read_secret, run_values, secrets_in};
use crate::state::StateDir;
use crate::storage::{Check, CheckResult};
use crate::value::Cancel;

/// One thing that a pipeline needs, with the results of its probe.
#[derive(Debug, Serialize)]
pub struct DoctorItem {
    /// `state`, `secret`, `store`, `channel` or `stage`.
    pub what: &'static str,
    /// Its name in the file; the path of the state folder.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The checks, in order.
    pub trials: Vec<Check>,
}

impl DoctorItem {
    /// Whether no check failed.
    pub fn is_well(&self) -> bool {
        self.trials.iter().all(|trial| trial.result != CheckResult::Failed)
    }
}

/// Reads every secret, probes every store and channel, and looks for what stages name. Leaves nothing behind and sends no message.
pub fn doctor(loaded: &Loaded, state: &StateDir) -> Vec<DoctorItem> {
    let mut found = vec![state_item(state)];
    let (mut secrets, mut unread) = (Vec::new(), BTreeSet::new());
    for (name, declared) in &loaded.pipeline.secrets {
        let read = read_secret(&loaded.document, name.as_str(), declared, &Cancel::default());
        let trial = tried("read", read.as_ref().map(|_| "it is there".to_owned()).map_err(Clone::clone));
        found.push(item("secret", name.as_str(), &declared.from, vec![trial]));
        match read {
            Ok(secret) => secrets.push((name.to_string(), secret)),
            Err(_) => drop(unread.insert(name.to_string())),
        }
    }
    let without_secret = |with: &Map<String, Json>| {
        let lacking = secrets_in(with.values()).into_iter().filter(|name| unread.contains(name));
        let lacking: Vec<String> = lacking.map(|name| format!("`{name}`")).collect();
        let detail = match lacking.as_slice() {
            [] => return None,
            [name] => format!("its secret {name} could not be read"),
            names => format!("its secrets {} could not be read", names.join(", ")),
        };
        Some(Check { what: "settings", result: CheckResult::Failed, detail })
    };
    let secrets = Secrets::new(secrets, Vec::new(), Vec::new());
    let pipeline = loaded.pipeline.name.to_string();
    let contexts = Contexts::new(loaded, &secrets.known, run_values(&pipeline, "doctor", &Zoned::now()));
    for (name, place) in &loaded.pipeline.stores {
        let trials = match without_secret(&place.with) {
            Some(trial) => vec![trial],
            None => match open_store(loaded, &contexts, name.as_str(), place, None) {
                Ok(store) => store.probe(),
                Err(error) => vec![tried("settings", Err(error))],
            },
        };
        found.push(item("store", name.as_str(), &place.uses, trials));
    }
    for (name, place) in &loaded.pipeline.channels {
        let unusable = |error| Diagnostic::failure(codes::TL0670, "it cannot be used").cause(&error);
        let trial =
            without_secret(&place.with).unwrap_or_else(|| match open_channel(loaded, &contexts, name.as_str(), None) {
                Ok(channel) => tried("reach", channel.probe().map_err(unusable)),
                Err(error) => tried("settings", Err(error)),
            });
        found.push(item("channel", name.as_str(), &place.uses, vec![trial]));
    }
    found.extend(stages(loaded));
    // A server's answer may contain a secret that it was sent.
    for trial in found.iter_mut().flat_map(|examined| &mut examined.trials) {
        trial.detail = secrets.masker().mask(&trial.detail);
    }
    found
}

pub(super) fn item(what: &'static str, name: &str, kind: &str, trials: Vec<Check>) -> DoctorItem {
    DoctorItem { what, name: name.to_owned(), kind: kind.to_owned(), trials }
}

pub(super) fn tried(what: &'static str, result: Result<String, Diagnostic>) -> Check {
    match result {
        Ok(detail) => Check { what, result: CheckResult::Yes, detail },
        Err(error) => Check { what, result: CheckResult::Failed, detail: error.one_line() },
    }
}
