//! Builds what a file declares, by the kind that it names.

use std::cell::Cell;

use serde_json::Value as Json;

use super::contexts::Contexts;
use super::error::unresolved;
use super::loaded::Loaded;
use crate::audit::{Record, SecretUser};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::pipeline::{StoreOrChannel, resolve};
use crate::stages::Recorder;
use crate::value::{Kind, Settings};
use crate::vault::Uses;

/// The section of a file that declares it.
#[derive(Clone, Copy)]
pub(super) enum Section {
    Stores,
    Channels,
}

impl Section {
    fn key(self) -> &'static str {
        match self {
            Self::Stores => "stores",
            Self::Channels => "channels",
        }
    }

    /// What its secrets are used for.
    fn purpose(self) -> &'static str {
        match self {
            Self::Stores => "store",
            Self::Channels => "channel",
        }
    }
}

/// A store or channel to open.
pub(super) struct Opening<'a> {
    pub(super) section: Section,
    pub(super) name: &'a str,
    pub(super) declared: &'a StoreOrChannel,
    /// Puts the secrets that it uses on record.
    pub(super) recorder: Option<&'a dyn Recorder>,
}

/// Resolves the settings of a store or channel and builds it.
pub(super) fn open<T: ?Sized>(
    loaded: &Loaded,
    contexts: &Contexts,
    opening: &Opening<'_>,
    kinds: &'static [Kind<T>],
) -> Result<Box<T>> {
    let Opening { section, name, declared, recorder } = opening;
    let pointer = format!("/{}/{name}/with", section.key());
    let document = &loaded.document;
    let unfit = || unfit(loaded, section.key(), name);
    let kind = Kind::find(kinds, &declared.uses).ok_or_else(unfit)?;
    let settings = Json::Object(declared.with.clone());
    let settings = resolve(&settings, (kind.schema)(), &contexts.values(1), document, &pointer)
        .map_err(|failure| unresolved(document, &pointer, failure))?;
    let (uses, refused) = (Uses::default(), Cell::new(None));
    let record = |secret: &str| match recorder {
        Some(recorder) => {
            let by = match section {
                Section::Stores => SecretUser::Store { store: (*name).to_owned() },
                Section::Channels => SecretUser::Channel { channel: (*name).to_owned() },
            };
            recorder.record(Record::SecretUsed { secret: secret.to_owned(), purpose: section.purpose().to_owned(), by })
        }
        None => Ok(()),
    };
    let reveal = |text: &str| {
        let revealed = contexts.secrets.reveal(text, section.purpose(), &uses, &mut |secret| record(secret));
        revealed.map_err(|error| refused.set(Some(Diagnostic::from(error)))).ok()
    };
    let built = (kind.build)(Settings::revealed(settings, &reveal));
    built.map_err(|error| refused.take().unwrap_or_else(|| unfit().cause(&error)))
}

/// The settings of a store or channel cannot be used.
pub(super) fn unfit(loaded: &Loaded, section: &str, name: &str) -> Diagnostic {
    let at = loaded.document.at_value(&format!("/{section}/{name}/with"));
    Diagnostic::usage(codes::TL0606, format!("the settings of `{name}` do not fit")).at(at)
}
