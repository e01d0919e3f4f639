//! Tries what a pipeline needs, without running it.

use jiff::Zoned;
use serde::Serialize;

use super::contexts::{Contexts, run_values};
use super::prepare::{Loaded, Secrets, open_channel, open_store, read_secret};
use crate::diagnostic::{Diagnostic, codes};
use crate::storage::{Trial, TrialResult};
use crate::value::Cancel;

/// What was tried with one secret, store or channel.
#[derive(Debug, Serialize)]
pub struct Examined {
    /// `secret`, `store` or `channel`.
    pub what: &'static str,
    /// Its name in the file.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What came of it, in order.
    pub trials: Vec<Trial>,
}

impl Examined {
    /// Whether all that must work does.
    pub fn is_well(&self) -> bool {
        self.trials.iter().all(|trial| trial.result != TrialResult::Failed)
    }
}

/// Reads every secret, and tries every store and channel. Nothing is left behind, and nobody gets a message.
pub fn doctor(loaded: &Loaded) -> Vec<Examined> {
    let mut found = Vec::new();
    let mut secrets = Vec::new();
    for (name, declared) in &loaded.pipeline.secrets {
        let read = read_secret(&loaded.document, name.as_str(), declared, &Cancel::default());
        let trial = tried("read", read.as_ref().map(|_| "it is there".to_owned()).map_err(Clone::clone));
        found.push(examined("secret", name.as_str(), &declared.from, vec![trial]));
        secrets.extend(read.ok().map(|secret| (name.to_string(), secret)));
    }
    let secrets = Secrets::new(&secrets, Vec::new());
    let pipeline = loaded.pipeline.name.to_string();
    let contexts = Contexts::new(loaded, secrets.values, run_values(&pipeline, "doctor", &Zoned::now()));
    for (name, place) in &loaded.pipeline.stores {
        let trials = match open_store(loaded, &contexts, name.as_str(), place) {
            Ok(store) => store.probe(),
            Err(error) => vec![tried("settings", Err(error))],
        };
        found.push(examined("store", name.as_str(), &place.uses, trials));
    }
    for (name, place) in &loaded.pipeline.channels {
        let trial = match open_channel(loaded, &contexts, name.as_str()) {
            Ok(channel) => tried(
                "reach",
                channel.probe().map_err(|error| Diagnostic::failure(codes::TL0670, "it cannot be used").cause(&error)),
            ),
            Err(error) => tried("settings", Err(error)),
        };
        found.push(examined("channel", name.as_str(), &place.uses, vec![trial]));
    }
    // What servers say may repeat what they were told.
    for trial in found.iter_mut().flat_map(|examined| &mut examined.trials) {
        trial.detail = secrets.masker.mask(&trial.detail);
    }
    found
}

fn examined(what: &'static str, name: &str, kind: &str, trials: Vec<Trial>) -> Examined {
    Examined { what, name: name.to_owned(), kind: kind.to_owned(), trials }
}

fn tried(what: &'static str, result: Result<String, Diagnostic>) -> Trial {
    match result {
        Ok(detail) => Trial { what, result: TrialResult::Yes, detail },
        Err(error) => Trial { what, result: TrialResult::Failed, detail: error.one_line() },
    }
}
