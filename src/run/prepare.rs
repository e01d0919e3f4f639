//! All that a run needs before it can start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::contexts::Contexts;
use super::message;
use super::surroundings::{Surroundings, start_values};
use crate::channels::{self, Channel};
use crate::diagnostic::{Diagnostic, Kind, Result, codes};
use crate::expression::Values;
use crate::pipeline::{
    self, Document, Failure, Outline, Pipeline, Place, SecretSource, resolve, resolve_inputs, secret_code,
};
use crate::stages::Places;
use crate::storage::{self, Store};
use crate::trace;
use crate::value::{Cancel, Kind as PlaceKind, Masker, Secret};
use crate::vault;

/// A file that was read and proven, with its inputs.
#[derive(Debug)]
pub struct Loaded {
    /// The text and its places.
    pub document: Document,
    /// What it means.
    pub pipeline: Pipeline,
    /// The value of each input.
    pub inputs: Map<String, Json>,
    /// The file, absolute.
    pub path: PathBuf,
    /// Where it was read.
    pub surroundings: Surroundings,
}

/// Reads a file and proves it, with the templates of its messages. Fails with all that is wrong.
pub fn check(path: &Path) -> Result<(Document, Outline), Vec<Diagnostic>> {
    let (document, pipeline) = pipeline::load(path)?;
    let found = message::check_templates(&document, &pipeline);
    if found.is_empty() { Ok((document, pipeline)) } else { Err(found) }
}

/// Reads a file, proves it, and settles its inputs. Fails with all that is wrong.
pub fn load(path: &Path, given: &BTreeMap<String, String>) -> Result<Loaded, Vec<Diagnostic>> {
    settle(check(path)?, path, given)
}

/// Settles the inputs of a file that was read and proven.
pub fn settle(
    checked: (Document, Outline),
    path: &Path,
    given: &BTreeMap<String, String>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let surroundings = Surroundings::of(&checked.0).map_err(|found| vec![found]);
    // A wrong input is told first: it is the nearer mistake.
    resolve_inputs(&checked.1.inputs, given)?;
    settle_with(checked, path, given, surroundings?)
}

/// Inputs that were settled before, as they are given.
pub(super) fn spelled(inputs: &Map<String, Json>) -> BTreeMap<String, String> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    inputs.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The same, in surroundings that are known.
pub(super) fn settle_with(
    (document, outline): (Document, Outline),
    path: &Path,
    given: &BTreeMap<String, String>,
    surroundings: Surroundings,
) -> Result<Loaded, Vec<Diagnostic>> {
    let inputs = resolve_inputs(&outline.inputs, given)?;
    let pipeline = outline.settle(&document, &start_values(&inputs, &surroundings))?;
    Ok(Loaded { document, pipeline, inputs, path: absolute(path), surroundings })
}

/// Refuses to run what a file may say and this version cannot do.
pub fn runnable(loaded: &Loaded) -> Result<(), Vec<Diagnostic>> {
    let parts = [("stages", &loaded.pipeline.stages), ("finally", &loaded.pipeline.finally)];
    let elsewhere = parts.into_iter().flat_map(|(section, stages)| {
        stages
            .iter()
            .filter(|(_, stage)| stage.runs_on.is_some())
            .map(move |(name, _)| format!("/{section}/{name}/runs-on"))
    });
    let refuse = |pointer: String| {
        Diagnostic::usage(codes::TL0105, "`runs-on` chooses among several hosts, which are not built yet")
            .at(loaded.document.at_key(&pointer))
            .help("remove it, and run the file on the host that has the data")
    };
    let found: Vec<Diagnostic> = elsewhere.map(refuse).collect();
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// A secret shorter than this is in too many texts to be hidden.
pub const SHORTEST_SECRET: usize = 8;
/// What to do about a shorter one.
pub const SHORT_SECRET: &str = "so short a text cannot be hidden in logs: use a longer secret";
/// What to do about one that holds a NUL byte.
pub const NUL_SECRET: &str = vault::WITHOUT_NUL;

/// Where a file is, whatever the folder tl was started in.
pub(super) fn absolute(path: &Path) -> PathBuf {
    // Fails for an empty path alone, and none such was read.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads the file of a message that waits, without its templates: the message has its text.
pub(super) fn load_again(path: &Path, inputs: Map<String, Json>) -> Result<Loaded, Vec<Diagnostic>> {
    for_messages(pipeline::load(path)?, path, inputs)
}

/// A file that was read, for what needs its channels alone.
pub(super) fn for_messages(
    (document, outline): (Document, Outline),
    path: &Path,
    inputs: Map<String, Json>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let surroundings = Surroundings::of(&document).map_err(|found| vec![found])?;
    Ok(Loaded { document, pipeline: outline.for_messages(), inputs, path: absolute(path), surroundings })
}

/// The secrets of a pipeline, what hides them, and which are missing.
pub(super) struct Secrets {
    pub(super) values: Map<String, Json>,
    pub(super) masker: Masker,
    pub(super) missing: Vec<Diagnostic>,
}

impl Secrets {
    pub(super) fn new(secrets: &[(String, Secret)], mut missing: Vec<Diagnostic>) -> Self {
        let masker = Masker::new(secrets.iter().map(|(_, secret)| secret));
        trace::hide(&masker);
        // A program that fails may repeat what another one gave.
        missing.iter_mut().for_each(|error| error.mask(&|text| masker.mask(text)));
        let values = secrets.iter().map(|(name, secret)| (name.clone(), secret.expose().into())).collect();
        Self { values, masker, missing }
    }
}

/// Reads every secret that is there, until cancelled.
pub(super) fn read_secrets(document: &Document, pipeline: &Pipeline, cancel: &Cancel) -> Secrets {
    let mut secrets = Vec::new();
    let mut found = Vec::new();
    for (name, declared) in &pipeline.secrets {
        match read_secret(document, name.as_str(), declared, cancel) {
            Ok(secret) => secrets.push((name.to_string(), secret)),
            // A cancelled run reports the cancel and not what else was missing.
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
pub(super) fn read_secret(document: &Document, name: &str, declared: &SecretSource, cancel: &Cancel) -> Result<Secret> {
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
pub(super) fn open_source(document: &Document, name: &str, declared: &SecretSource) -> Result<Box<dyn vault::Source>> {
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

/// Opens every store.
pub(super) fn open_places(loaded: &Loaded, contexts: &Contexts) -> Result<Places> {
    let mut places = Places::default();
    for (name, place) in &loaded.pipeline.stores {
        places.stores.insert(name.to_string(), open_store(loaded, contexts, name.as_str(), place)?);
    }
    Ok(places)
}

/// Opens one store.
pub(super) fn open_store(loaded: &Loaded, contexts: &Contexts, name: &str, place: &Place) -> Result<Box<dyn Store>> {
    open(loaded, contexts, "stores", name, place, storage::KINDS)
}

/// Channels by name, as far as they could be opened.
pub(super) type Channels = BTreeMap<String, Result<Box<dyn Channel>>>;

/// Opens every channel. Those that cannot be opened do not keep the others from telling so.
pub(super) fn open_channels(loaded: &Loaded, contexts: &Contexts) -> Channels {
    let names = loaded.pipeline.channels.keys();
    names.map(|name| (name.to_string(), open_channel(loaded, contexts, name.as_str()))).collect()
}

/// Opens one channel.
pub(super) fn open_channel(loaded: &Loaded, contexts: &Contexts, name: &str) -> Result<Box<dyn Channel>> {
    let declared = loaded.pipeline.channels.iter().find(|(other, _)| other.as_str() == name);
    let (_, place) = declared.ok_or_else(|| no_channel(name))?;
    let channel = open(loaded, contexts, "channels", name, place, channels::KINDS)?;
    match channel.check().into_iter().next() {
        None => Ok(channel),
        Some(unfit) => {
            let at = loaded.document.at_value(&format!("/channels/{name}/with"));
            let mut found = Diagnostic::usage(codes::TL0606, format!("the settings of `{name}` do not fit")).at(at);
            found.causes.push(unfit.error);
            Err(found)
        }
    }
}

pub(super) fn no_channel(name: &str) -> Diagnostic {
    Diagnostic::usage(codes::TL0403, format!("there is no channel `{name}`"))
}

fn open<T: ?Sized>(
    loaded: &Loaded,
    contexts: &Contexts,
    section: &str,
    name: &str,
    place: &Place,
    kinds: &'static [PlaceKind<T>],
) -> Result<Box<T>> {
    let pointer = format!("/{section}/{name}/with");
    let document = &loaded.document;
    let unfit = || {
        Diagnostic::usage(codes::TL0606, format!("the settings of `{name}` do not fit")).at(document.at_value(&pointer))
    };
    let kind = PlaceKind::find(kinds, &place.uses).ok_or_else(unfit)?;
    let settings = Json::Object(place.with.clone());
    let settings = resolve(&settings, (kind.schema)(), &contexts.values(1), document, &pointer)
        .map_err(|failure| unresolved(document, &pointer, failure))?;
    (kind.build)(settings).map_err(|error| unfit().cause(&error))
}

/// An expression that has no value after all.
pub(super) fn unresolved(document: &Document, pointer: &str, failure: Failure) -> Diagnostic {
    let Failure { pointer: below, mistake } = failure;
    let place = document.inside(&format!("{pointer}{below}"), mistake.offset, mistake.length);
    let diagnostic = Diagnostic::failure(mistake.code, mistake.message).at(place);
    match mistake.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}
