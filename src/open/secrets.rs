//! The secrets of a pipeline, read from their sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::needed::secrets_in;
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::expression::Values;
use crate::pipeline::{Document, Pipeline, SecretSource, resolve, secret_code};
use crate::trace;
use crate::value::{Cancel, Kind as PlaceKind, Masker, Secret};
use crate::vault;

/// The minimum length of a secret in bytes. A shorter text occurs by chance, and masking it would garble output.
pub(crate) const SHORTEST_SECRET: usize = 8;
/// Help for a secret that is too short.
pub(crate) const SHORT_SECRET: &str = "so short a text cannot be hidden in logs: use a longer secret";
/// Help for a secret that holds a NUL byte.
pub(crate) const NUL_SECRET: &str = vault::WITHOUT_NUL;

/// The secrets of a pipeline, and an error for each one that could not be read.
pub(crate) struct Secrets {
    pub(crate) known: Arc<vault::Secrets>,
    pub(crate) missing: Vec<Diagnostic>,
}

impl Secrets {
    /// `unread` are the names of secrets that nothing here needs.
    pub(crate) fn new(read: Vec<(String, Secret)>, unread: Vec<String>, mut missing: Vec<Diagnostic>) -> Self {
        let known = vault::Secrets::new(read, unread);
        trace::hide(known.masker());
        // The error output of one secret's program may repeat the secret of another.
        missing.iter_mut().for_each(|error| error.mask(&|text| known.masker().mask(text)));
        Self { known: Arc::new(known), missing }
    }

    /// Why something could not be opened: the secrets that are missing, else its own error. Without its secrets nothing can be
    /// opened, and their errors say why.
    pub(crate) fn missing_or(&self, error: Diagnostic) -> Vec<Diagnostic> {
        if self.missing.is_empty() { vec![error] } else { self.missing.clone() }
    }

    /// Masks the secrets that were read.
    pub(crate) fn masker(&self) -> &Masker {
        self.known.masker()
    }
}

/// Reads every secret.
pub(crate) fn read_secrets(document: &Document, pipeline: &Pipeline, cancel: &Cancel) -> Secrets {
    let all = pipeline.secrets.keys().map(ToString::to_string).collect();
    read_needed(document, pipeline, &all, cancel)
}

/// Reads the secrets of these names.
pub(crate) fn read_needed(
    document: &Document,
    pipeline: &Pipeline,
    needed: &BTreeSet<String>,
    cancel: &Cancel,
) -> Secrets {
    let mut secrets = Vec::new();
    let mut found = Vec::new();
    let (needed, unread): (Vec<_>, Vec<_>) =
        pipeline.secrets.iter().partition(|(name, _)| needed.contains(name.as_str()));
    for (name, declared) in needed {
        match read_secret(document, name.as_str(), declared, cancel) {
            Ok(secret) => secrets.push((name.to_string(), secret)),
            // After a cancel, missing secrets are not news.
            Err(error) if matches!(error.kind, Kind::Cancelled | Kind::TimedOut) => {
                found = vec![error];
                break;
            }
            Err(error) => found.push(error),
        }
    }
    Secrets::new(secrets, unread.into_iter().map(|(name, _)| name.to_string()).collect(), found)
}

/// Reads one secret.
pub(crate) fn read_secret(document: &Document, name: &str, declared: &SecretSource, cancel: &Cancel) -> Result<Secret> {
    let source = open_source(document, name, declared)?;
    let at = document.at_key(&format!("/secrets/{name}"));
    match source.read(document.folder(), cancel) {
        Ok(secret) if secret.expose().len() < SHORTEST_SECRET => {
            let message = format!("the secret `{name}` is shorter than {SHORTEST_SECRET} bytes");
            Err(Diagnostic::new(codes::TL0511, Kind::Key, message).at(at).help(SHORT_SECRET))
        }
        Ok(secret) => match one_line_user(document, name) {
            Some(user) if secret.expose().contains(char::is_control) => {
                let message = format!("the secret `{name}` holds a line break or another control character");
                let help =
                    format!("{user} puts it into a header, an address or a login: keep one line, without its end");
                Err(Diagnostic::new(codes::TL0517, Kind::Key, message).at(at).help(help))
            }
            _ => Ok(secret),
        },
        Err(vault::Error::Cancelled { reason, .. }) => Err(reason.into()),
        Err(error) => {
            let word = if secret_code(&error) == codes::TL0510 { "is missing" } else { "cannot be had" };
            let message = format!("the secret `{name}` {word}");
            let diagnostic = Diagnostic::new(secret_code(&error), Kind::Key, message).at(at).cause(&error);
            Err(match error.help() {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            })
        }
    }
}

/// The store or channel that uses a secret, if there is one. What these send it in takes one line.
fn one_line_user(document: &Document, name: &str) -> Option<String> {
    let of = |section: &'static str| {
        let word = section.trim_end_matches('s');
        let declared = document.value().get(section).and_then(Json::as_object).into_iter().flatten();
        declared.filter_map(move |(user, place)| {
            let with = place.get("with")?.as_object()?;
            secrets_in(with.values()).contains(name).then(|| format!("the {word} `{user}`"))
        })
    };
    of("stores").chain(of("channels")).next()
}

/// The source of a secret, before it is read.
pub(crate) fn open_source(document: &Document, name: &str, declared: &SecretSource) -> Result<Box<dyn vault::Source>> {
    let unfit = || {
        let message = "the settings of this secret do not fit: please report it";
        Diagnostic::usage(codes::TL0902, message).at(document.at_key(&format!("/secrets/{name}")))
    };
    let kind = PlaceKind::find(vault::SOURCES, &declared.from).ok_or_else(unfit)?;
    let settings = Json::Object(declared.settings.clone());
    let settings = resolve(&settings, (kind.schema)(), &Values::default(), document, &format!("/secrets/{name}"))
        .map_err(|_| unfit())?;
    (kind.build)(settings.into()).map_err(|_| unfit())
}
