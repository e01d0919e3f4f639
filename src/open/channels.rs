//! Opens the channels of a pipeline.

use std::collections::BTreeMap;

use super::contexts::Contexts;
use super::error::no_channel;
use super::kind::{Opening, Section, open};
use super::loaded::Loaded;
use crate::channels::{self, Channel};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::stages::Recorder;

/// The channels of a pipeline by name, each open or with the reason why not.
pub(crate) type Channels = BTreeMap<String, Result<Box<dyn Channel>>>;

/// Opens every channel, except those that need a secret which this run did not read. One that fails does not stop the others,
/// which may carry the message about it.
pub(crate) fn open_channels(loaded: &Loaded, contexts: &Contexts, recorder: &dyn Recorder) -> Channels {
    let declared = loaded.pipeline.channels.iter().filter(|(_, channel)| contexts.can_open(channel));
    let open = |name: &str| open_channel(loaded, contexts, name, Some(recorder));
    declared.map(|(name, _)| (name.to_string(), open(name.as_str()))).collect()
}

/// Opens one channel. `recorder` puts the secrets that it uses on record; a probe or a test message has none.
pub(crate) fn open_channel(
    loaded: &Loaded,
    contexts: &Contexts,
    name: &str,
    recorder: Option<&dyn Recorder>,
) -> Result<Box<dyn Channel>> {
    let declared = loaded.pipeline.channels.iter().find(|(other, _)| other.as_str() == name);
    let (_, place) = declared.ok_or_else(|| no_channel(name))?;
    let opening = Opening { section: Section::Channels, name, declared: place, recorder };
    let channel = open(loaded, contexts, &opening, channels::KINDS)?;
    // `validate` has checked the literal settings; now those with expressions have values, too.
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
