//! The texts of a pipeline file over time.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Result, codes};
use crate::open::{Loaded, database_error, place_of};
use crate::pipeline::hide_identities;
use crate::state::{StateDir, Text, Version};

/// The kept versions of one pipeline file.
pub struct History {
    state: StateDir,
    /// The path under which the state folder keeps the texts.
    path: PathBuf,
    versions: Vec<Version>,
}

impl History {
    /// Reads the kept versions of a file. The file need not exist.
    pub fn read(state: StateDir, file: &Path) -> Result<Self> {
        let path = place_of(file);
        let kept = state.peek_versions().map_err(|error| database_error(&error))?;
        let versions = kept.map_or_else(|| Ok(Vec::new()), |kept| kept.list(&path));
        Ok(Self { versions: versions.map_err(|error| database_error(&error))?, state, path })
    }

    /// All versions, oldest first.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The text of a version.
    pub fn text(&self, number: u32) -> Result<Vec<u8>> {
        let kept = self.state.peek_versions().map_err(|error| database_error(&error))?;
        let texts = kept.map_or_else(|| Ok(Vec::new()), |kept| kept.texts(&self.path, number));
        let first = texts.map_err(|error| database_error(&error))?.into_iter().next();
        first.map(|text| text.content).ok_or_else(|| {
            let message = format!("there is no version {number} of `{}`", self.path.display());
            let help = match self.versions.last() {
                Some(last) => format!("there are 1 to {}: `tl versions FILE` lists them", last.number),
                None => "no run of this file has kept its text in this state folder: see `--state`".to_owned(),
            };
            Diagnostic::usage(codes::TL0743, message).help(help)
        })
    }

    /// Keeps a text that is about to be replaced and returns its number. Fails if it holds an identity: identities are never
    /// kept, so this one would be lost.
    pub fn keep_present(&self, content: &[u8]) -> Result<u32> {
        if storable(content) != content {
            let message = format!("`{}` holds an age identity, which is never kept", self.path.display());
            return Err(
                Diagnostic::failure(codes::TL0745, message).help("move the identity to a file of its own first")
            );
        }
        let pipeline = self.versions.last().map_or("", |last| &last.pipeline);
        let text = Text { path: self.path.clone(), content: content.to_vec() };
        let kept = self.state.versions().and_then(|mut versions| versions.keep(pipeline, &text, &[], false));
        kept.map_err(|error| database_error(&error))
    }
}

/// The text that a run starts with, in the form that is kept.
pub(crate) fn text_of(loaded: &Loaded) -> Text {
    Text { path: place_of(&loaded.path), content: storable(&loaded.document.source()) }
}

/// A text without identities that somebody left in it: secrets must not get into the database.
fn storable(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let clean = hide_identities(&text);
    if clean == text { content.to_vec() } else { clean.into_bytes() }
}

/// Adds to the findings of a file where its last good text is, if one is kept.
pub fn with_last_good(mut problems: Vec<Diagnostic>, state: Option<&Path>, file: &Path) -> Vec<Diagnostic> {
    // Without a readable state folder there is no hint. That is no error here.
    let history = StateDir::locate(state).ok().and_then(|state| History::read(state, file).ok());
    let was_good = history.is_some_and(|history| history.versions.iter().any(|version| version.first_used.is_some()));
    if let Some(last) = problems.last_mut().filter(|_| was_good) {
        let hint = format!("`tl versions {}` has the last good text", file.display());
        last.help = Some(match last.help.take() {
            Some(help) => format!("{help}\n{hint}"),
            None => hint,
        });
    }
    problems
}
