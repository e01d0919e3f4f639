//! The versions of a pipeline file: its texts, and those of the files that it extends, as runs read them.
//!
//! Texts identify a version, not times: three changes within a second are three versions, and a text that comes back has
//! its old number. A text that cannot be kept does not stop a run.

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

    /// The texts of a version: the pipeline file, then the files that it extends.
    pub fn texts(&self, number: u32) -> Result<Vec<Text>> {
        let kept = self.state.peek_versions().map_err(|error| database_error(&error))?;
        let texts = kept.map_or_else(|| Ok(Vec::new()), |kept| kept.texts(&self.path, number));
        let texts = texts.map_err(|error| database_error(&error))?;
        if !texts.is_empty() {
            return Ok(texts);
        }
        let message = format!("there is no version {number} of `{}`", self.path.display());
        let help = match self.versions.last() {
            Some(last) => format!("there are 1 to {}: `tl versions FILE` lists them", last.number),
            None => "no run of this file has kept its text in this state folder: see `--state`".to_owned(),
        };
        Err(Diagnostic::usage(codes::TL0743, message).help(help))
    }

    /// Keeps texts that are about to be replaced, the pipeline file first; returns their number. Fails if one of them holds an
    /// identity: identities are never kept, so the text would be lost.
    pub fn keep_present(&self, texts: &[Text]) -> Result<u32> {
        for text in texts {
            if storable(&text.content) != text.content {
                let message = format!("`{}` holds an age identity, which is never kept", text.path.display());
                return Err(
                    Diagnostic::failure(codes::TL0745, message).help("move the identity to a file of its own first")
                );
            }
        }
        let pipeline = self.versions.last().map_or("", |last| &last.pipeline);
        let (own, bases) = texts.split_first().expect("a version holds the pipeline file");
        let kept = self.state.versions().and_then(|mut versions| versions.keep(pipeline, own, bases, false));
        kept.map_err(|error| database_error(&error))
    }

    /// The path under which the texts are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The texts that a run starts with, as they are kept: the pipeline file, then the files that it extends.
pub(crate) fn texts_of(loaded: &Loaded) -> Vec<Text> {
    let bases = loaded.document.contents().skip(1).map(|(name, content)| (place_of(Path::new(name)), content));
    let own = (place_of(&loaded.path), loaded.document.source());
    std::iter::once(own).chain(bases).map(|(path, content)| Text { path, content: storable(&content) }).collect()
}

/// A text without age identities: one that is in a pipeline file by mistake must not get into the database.
fn storable(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(content);
    let clean = hide_identities(&text);
    if clean == text { content.to_vec() } else { clean.into_bytes() }
}

/// Adds a hint to the findings of a file that its last good text is kept, if it is.
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
