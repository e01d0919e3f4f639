//! Errors of `vault/`, `storage/` and `channels/`, which know no codes, as diagnostics.

use serde_json::{Map, Value as Json};

use super::checker::Checker;
use crate::diagnostic::{Code, Diagnostic, codes};
use crate::expression::Template;
use crate::pipeline::read::{escape, field_of};
use crate::stages::Delivery;
use crate::value::{Kind, MASK, Unfit};
use crate::{channels, storage, vault};

/// The code of an error of a source of secrets.
pub(crate) fn secret_code(error: &vault::Error) -> Code {
    use vault::Error;
    match error {
        Error::Missing { .. } | Error::NotText { .. } | Error::Empty { .. } | Error::Io { .. } => codes::TL0510,
        Error::Start { .. } | Error::Ended { .. } | Error::Late { .. } | Error::TooMuch { .. } => codes::TL0512,
        Error::Cancelled { .. } => codes::TL0601,
        Error::Damaged(_) => codes::TL0513,
        Error::WrongIdentity { .. } => codes::TL0514,
        Error::NoCredentials { .. } => codes::TL0515,
        Error::Nul { .. } => codes::TL0516,
        Error::Identity(_) => codes::TL0621,
    }
}

impl Checker<'_> {
    /// What a store can tell of its settings offline. A setting that holds an expression is checked when the run starts.
    pub(super) fn store(&mut self, name: &str, store: &Json) {
        let kind = store["uses"].as_str().and_then(|uses| Kind::find(storage::KINDS, uses));
        let with = settings_of(store);
        // The schema reports settings that do not fit it, and an expression may stand for a number or a choice.
        let Some((kind, built)) = kind.and_then(|kind| Some((kind, (kind.build)(with.clone().into()).ok()?))) else {
            return;
        };
        self.unfit(("store", name), &with, (kind.schema)(), built.check());
    }

    /// Reports a lock of an object in a store that knows none.
    pub(super) fn lock(&mut self, pointer: &str, with: &Json, delivery: &Delivery) {
        let Some(setting) = delivery.lock.filter(|setting| with.get(setting).is_some_and(|lock| !lock.is_null()))
        else {
            return;
        };
        let name = with[delivery.store].as_str().unwrap_or_default();
        let Some(store) = self.file["stores"].get(name) else { return };
        let kind = store["uses"].as_str().and_then(|uses| Kind::find(storage::KINDS, uses));
        let built = kind.and_then(|kind| (kind.build)(settings_of(store).into()).ok());
        if built.is_some_and(|store| !store.has_locks()) {
            let message = format!(
                "the store `{name}` is of the kind `{}`, which has no object locks",
                store["uses"].as_str().unwrap_or_default()
            );
            let at = self.document.at_key(&format!("{pointer}/{setting}"));
            self.report(
                Diagnostic::usage(codes::TL0649, message)
                    .at(at)
                    .help(format!("leave `{setting}` out, or deliver to a bucket")),
            );
        }
    }

    /// What a channel can tell of its settings offline, as a store can.
    pub(super) fn channel(&mut self, name: &str, channel: &Json) {
        let kind = channel["uses"].as_str().and_then(|uses| Kind::find(channels::KINDS, uses));
        let with = settings_of(channel);
        let Some((kind, built)) = kind.and_then(|kind| Some((kind, (kind.build)(with.clone().into()).ok()?))) else {
            return;
        };
        self.unfit(("channel", name), &with, (kind.schema)(), built.check());
    }

    fn unfit(&mut self, (what, name): (&str, &str), with: &Json, schema: &Json, unfit: Vec<Unfit<String>>) {
        for Unfit { setting, error } in unfit {
            // A run on this machine reports a kind that this build of tl lacks.
            let value = with.pointer(&format!("/{setting}"));
            let is_reported = value.and_then(Json::as_array).is_some_and(Vec::is_empty);
            let is_unknown = value.and_then(Json::as_str).is_some_and(Template::is_in);
            if setting.is_empty() || is_reported || is_unknown {
                continue;
            }
            let pointer = format!("/{what}s/{}", escape(name));
            let (at, message) = match value {
                Some(_) => {
                    let at = self.document.at_value(&format!("{pointer}/with/{setting}"));
                    (at, format!("`{}` of the {what} `{name}` cannot be used", field_of(&setting)))
                }
                // It is not in the file: a default, or about several settings at once.
                None => (self.document.at_key(&pointer), format!("the {what} `{name}` cannot be used")),
            };
            let mut found = Diagnostic::usage(codes::TL0606, message).at(at);
            found.causes.push(error);
            // A secret that stands in the file by mistake is not shown again.
            let field = setting.split('/').next().unwrap_or_default();
            let is_secret = schema["properties"][field].to_string().contains(r#""x-tl-type":"secret""#);
            if let Some(text) = value.and_then(Json::as_str).filter(|text| is_secret && !text.is_empty()) {
                found.mask(&|shown| shown.replace(text, MASK));
                if let Some(place) = &mut found.place {
                    place.length = (place.length + MASK.len()).saturating_sub(text.chars().count()).max(1);
                }
            }
            self.report(found);
        }
    }
}

fn settings_of(declared: &Json) -> Json {
    declared.get("with").cloned().unwrap_or_else(|| Json::Object(Map::new()))
}
