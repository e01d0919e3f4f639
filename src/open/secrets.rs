//! The secrets of a pipeline, read from their sources.

use serde_json::{Map, Value as Json};

use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::expression::Values;
use crate::pipeline::{Document, Pipeline, SecretSource, resolve, secret_code};
use crate::trace;
use crate::value::{Cancel, Kind as PlaceKind, Masker, Secret};
use crate::vault;

/// The minimum length of a secret in bytes. A shorter text occurs by chance, and masking it would garble output.
pub const SHORTEST_SECRET: usize = 8;
/// Help for a secret that is too short.
pub const SHORT_SECRET: &str = "so short a text cannot be hidden in logs: use a longer secret";
/// Help for a secret that holds a NUL byte.
pub const NUL_SECRET: &str = vault::WITHOUT_NUL;

/// The secrets of a pipeline, the masker for them, and an error for each one that could not be read.
pub(crate) struct Secrets {
    pub(crate) values: Map<String, Json>,
    pub(crate) masker: Masker,
    pub(crate) missing: Vec<Diagnostic>,
}

impl Secrets {
    pub(crate) fn new(secrets: &[(String, Secret)], mut missing: Vec<Diagnostic>) -> Self {
        let masker = Masker::new(secrets.iter().map(|(_, secret)| secret));
        trace::hide(&masker);
        // The error output of one secret's program may repeat the secret of another.
        missing.iter_mut().for_each(|error| error.mask(&|text| masker.mask(text)));
        let values = secrets.iter().map(|(name, secret)| (name.clone(), secret.expose().into())).collect();
        Self { values, masker, missing }
    }
}

/// Reads every secret.
pub(crate) fn read_secrets(document: &Document, pipeline: &Pipeline, cancel: &Cancel) -> Secrets {
    let mut secrets = Vec::new();
    let mut found = Vec::new();
    for (name, declared) in &pipeline.secrets {
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
    Secrets::new(&secrets, found)
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
        Ok(secret) => Ok(secret),
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
    (kind.build)(settings).map_err(|_| unfit())
}
