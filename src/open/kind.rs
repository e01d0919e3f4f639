//! Builds what a file declares, by the kind that it names.

use serde_json::Value as Json;

use super::contexts::Contexts;
use super::error::unresolved;
use super::loaded::Loaded;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::pipeline::{StoreOrChannel, resolve};
use crate::value::Kind;

/// Resolves the settings of a store or channel and builds it.
pub(super) fn open<T: ?Sized>(
    loaded: &Loaded,
    contexts: &Contexts,
    section: &str,
    name: &str,
    place: &StoreOrChannel,
    kinds: &'static [Kind<T>],
) -> Result<Box<T>> {
    let pointer = format!("/{section}/{name}/with");
    let document = &loaded.document;
    let unfit = || unfit(loaded, section, name);
    let kind = Kind::find(kinds, &place.uses).ok_or_else(unfit)?;
    let settings = Json::Object(place.with.clone());
    let settings = resolve(&settings, (kind.schema)(), &contexts.values(1), document, &pointer)
        .map_err(|failure| unresolved(document, &pointer, failure))?;
    (kind.build)(settings).map_err(|error| unfit().cause(&error))
}

/// The settings of a store or channel cannot be used.
pub(super) fn unfit(loaded: &Loaded, section: &str, name: &str) -> Diagnostic {
    let at = loaded.document.at_value(&format!("/{section}/{name}/with"));
    Diagnostic::usage(codes::TL0606, format!("the settings of `{name}` do not fit")).at(at)
}
