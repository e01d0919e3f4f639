use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exclude::{Candidate, Excludes, validate_excludes};
use super::survey::survey;
use super::{Error, Observer, Options, Summary, Survey};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Did;
use crate::stages::artifact::{ArtifactRef, ArtifactWriter};
use crate::stages::kind::MAKE_ROOM;
use crate::stages::{Context, Effect, Findings, Flow, Known, Reading, Stage, StageError};

/// Settings of `archive`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Archive {
    /// Files and directories. Relative ones are meant from the folder of the pipeline file, and keep their name.
    #[schemars(length(min = 1))]
    sources: Vec<PathBuf>,
    /// What to leave out: `*.tmp` by name, `srv/*/cache` by path in the archive, `/srv/*/cache` by absolute path; `**`
    /// crosses folders, a trailing `/` means folders only.
    #[serde(default)]
    exclude: Vec<String>,
    /// How to compress the stream.
    #[serde(default)]
    compress: Compress,
    /// How hard to compress, from 1 to 19.
    #[serde(default = "default_level")]
    #[schemars(range(min = 1, max = 19))]
    level: i32,
    /// Stay on the file system of each source.
    #[serde(default)]
    one_file_system: bool,
}

/// How to compress the stream.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Compress {
    /// Not at all.
    #[default]
    None,
    /// Zstandard, with a checksum.
    Zstd,
}

/// Outputs of `archive`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct Outputs {
    /// A tar stream.
    artifact: ArtifactRef,
    /// How many files it holds.
    files: u64,
    /// How many bytes of files it holds.
    bytes: u64,
    /// How many files could not be read.
    skipped: u64,
}

fn default_level() -> i32 {
    zstd::DEFAULT_COMPRESSION_LEVEL
}

impl Stage for Archive {
    const NAME: &'static str = "archive";
    const ABOUT: &'static str = "collects files into one tar stream";
    const FLOW: Flow = Flow::Source;
    const EFFECTS: &'static [Effect] =
        &[Effect::Reads(Reading { paths: "sources", one_device: Some("one-file-system") })];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let mut options = Options {
            sources: self.sources,
            base: context.base.clone(),
            exclude: self.exclude,
            one_file_system: self.one_file_system,
        };
        warn_of_stores_inside(context, &options)?;
        options.exclude.push(globset::escape(&context.shared.state.to_string_lossy()));
        let (artifact, output) = context.create()?;
        let observer = Watcher { context, told: Cell::new(0) };
        let summary = match self.compress {
            Compress::None => collect(&options, output, &observer, Ok),
            Compress::Zstd => {
                let mut encoder = zstd::Encoder::new(output, self.level).map_err(Error::Write).map_err(failed)?;
                encoder.include_checksum(true).map_err(Error::Write).map_err(failed)?;
                collect(&options, encoder, &observer, zstd::Encoder::finish)
            }
        };
        let summary = summary.map_err(|error| context.cancelled().unwrap_or_else(|| failed(error)))?;
        observer.say_what_was_not_told();
        Ok(Outputs { artifact, files: summary.files, bytes: summary.bytes, skipped: summary.skipped })
    }

    fn check(with: &Known<'_>, found: &mut Findings) {
        for pattern in with.get("exclude").iter().flat_map(Known::items) {
            let text = pattern.text().map(str::to_owned);
            if let Err((_, reason)) = validate_excludes(text.as_slice()) {
                found.at_value(&pattern, Diagnostic::usage(codes::TL0205, format!("this pattern {reason}")));
            }
        }
    }

    /// The survey is limited to a few seconds.
    fn preview(self, base: &Path) -> Result<Option<Survey>> {
        let options = Options {
            sources: self.sources,
            base: base.to_owned(),
            exclude: self.exclude,
            one_file_system: self.one_file_system,
        };
        survey(&options).map(Some).map_err(failed)
    }

    fn summary(outputs: &Outputs) -> Did {
        let Outputs { files, bytes, skipped, .. } = *outputs;
        Did { files: Some(files), bytes: Some(bytes), skipped: Some(skipped), ..Did::default() }
    }
}

/// Warns of stores inside a source: each archive would contain all earlier ones.
fn warn_of_stores_inside(context: &Context, options: &Options) -> Result<()> {
    let excludes = Excludes::new(&options.exclude)
        .map_err(|(index, reason)| failed(Error::Pattern { pattern: options.exclude[index].clone(), reason }))?;
    for (name, store) in &context.shared.places.stores {
        let Some(folder) = store.local_folder() else { continue };
        for source in options.sources.iter().map(|source| options.base.join(source)) {
            let inside = folder.ancestors().take_while(|path| path.starts_with(&source));
            let is_left_out = |path: &Path| {
                let archived = path.strip_prefix("/").unwrap_or(path);
                let archived = path.strip_prefix(&options.base).unwrap_or(archived);
                let name = path.file_name().map(Path::new);
                excludes.matches(Candidate { name, archived, absolute: path, directory: true })
            };
            if folder.starts_with(&source) && !inside.into_iter().any(is_left_out) {
                let message = format!("the store `{name}` lies inside the source `{}`", source.display());
                let warning = Diagnostic::warning(codes::TL0614, message);
                context.warn(warning.help("leave it out by `exclude`, or each archive holds all the ones before"));
            }
        }
    }
    Ok(())
}

/// Writes the archive and finishes the artifact.
fn collect<W: Write>(
    options: &Options,
    mut to: W,
    observer: &Watcher<'_>,
    finish: impl FnOnce(W) -> std::io::Result<ArtifactWriter>,
) -> std::result::Result<Summary, Error> {
    let summary = super::write(options, &mut to, observer)?;
    finish(to).and_then(ArtifactWriter::finish).map_err(Error::Write)?;
    Ok(summary)
}

fn failed(error: Error) -> Diagnostic {
    let code = match error {
        Error::MissingSource(_) => codes::TL0610,
        Error::BadSource { .. } | Error::Pattern { .. } => codes::TL0611,
        Error::UnreadableSource { .. } => codes::TL0612,
        Error::Cancelled => codes::TL0601,
        Error::Write(_) => codes::TL0607,
    };
    let mut diagnostic = Diagnostic::failure(code, error.to_string());
    if matches!(error, Error::Write(_)) {
        diagnostic = diagnostic.help(MAKE_ROOM);
    }
    match std::error::Error::source(&error) {
        Some(source) => diagnostic.cause(source),
        None => diagnostic,
    }
}

struct Watcher<'a> {
    context: &'a Context,
    told: Cell<u64>,
}

/// Limits the warnings: a million unreadable files are one problem, not a million.
const MOST_WARNINGS: u64 = 100;

impl Watcher<'_> {
    fn say_what_was_not_told(&self) {
        if let more @ 1.. = self.told.get().saturating_sub(MOST_WARNINGS) {
            self.context.warn(Diagnostic::warning(codes::TL0613, format!("and {more} more files like these")));
        }
    }
}

impl Observer for Watcher<'_> {
    fn progress(&self, bytes: u64) {
        self.context.meter.add_bytes(bytes);
    }

    fn warn(&self, path: &Path, reason: String) {
        self.told.set(self.told.get() + 1);
        if self.told.get() <= MOST_WARNINGS {
            let message = format!("`{}`: {reason}", path.display());
            self.context.warn(Diagnostic::warning(codes::TL0613, message));
        }
    }

    fn cancelled(&self) -> bool {
        self.context.cancel.is_cancelled()
    }
}
