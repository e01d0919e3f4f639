use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exclude::validate_excludes;
use super::survey::survey;
use super::{Error, Observer, Options, Summary, Survey};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Did;
use crate::stages::artifact::{ArtifactRef, ArtifactWriter};
use crate::stages::kind::MAKE_ROOM;
use crate::stages::{Context, Effect, Findings, Flow, Known, Reading, Stage, StageError};
use crate::value::Size;

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
    /// Whether an archive without a file is one. Otherwise the stage fails: an empty folder is mostly a disk that is not mounted.
    #[serde(default)]
    allow_empty: bool,
    /// The fewest files; with less the stage fails.
    #[serde(default)]
    min_files: u64,
    /// The fewest bytes of content; with less the stage fails.
    min_bytes: Option<Size>,
    /// Whether each source must be the root of a mounted file system.
    #[serde(default)]
    require_mount: bool,
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
        let own = context.shared.places.stores.values().filter_map(|store| store.local_folder());
        let own = own.chain([context.shared.state.as_path(), context.work.as_path()]);
        let never = own.filter_map(|path| fs::metadata(path).ok()).map(|about| (about.dev(), about.ino())).collect();
        let options = Options { never, ..self.options(&context.base) };
        if self.require_mount {
            are_mounted(&options)?;
        }
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
        for source in with.get("sources").iter().flat_map(Known::items) {
            let is_above = |path: &str| Path::new(path).components().any(|part| part == Component::ParentDir);
            if source.text().is_some_and(is_above) {
                let message = "this path has a `..`, which would lead out of the archive";
                let help = "write the path from `/`: it is kept without the leading `/`";
                found.at_value(&source, Diagnostic::usage(codes::TL0611, message).help(help));
            }
            if source.text().is_some_and(|path| path.starts_with('~')) {
                let message = "this path begins with `~`, which is no folder here";
                let help = "write the whole path, or `./~` for a name that begins so";
                found.at_value(&source, Diagnostic::usage(codes::TL0205, message).help(help));
            }
        }
        for pattern in with.get("exclude").iter().flat_map(Known::items) {
            let text = pattern.text().map(str::to_owned);
            if let Err((_, reason)) = validate_excludes(text.as_slice()) {
                found.at_value(&pattern, Diagnostic::usage(codes::TL0205, format!("this pattern {reason}")));
            }
        }
    }

    /// The survey is limited to a few seconds.
    fn preview(self, base: &Path) -> Result<Option<Survey>> {
        let options = self.options(base);
        survey(&options).map(Some).map_err(failed)
    }

    fn summary(outputs: &Outputs) -> Did {
        let Outputs { files, bytes, skipped, .. } = *outputs;
        Did { files: Some(files), bytes: Some(bytes), skipped: Some(skipped), ..Did::default() }
    }
}

impl Archive {
    fn options(&self, base: &Path) -> Options {
        Options {
            sources: self.sources.clone(),
            base: base.to_owned(),
            exclude: self.exclude.clone(),
            one_file_system: self.one_file_system,
            never: Vec::new(),
            allow_empty: self.allow_empty,
            min_files: self.min_files,
            min_bytes: self.min_bytes.map_or(0, Size::get),
        }
    }
}

/// Fails unless each source is the root of a mounted file system.
fn are_mounted(options: &Options) -> Result<()> {
    for source in &options.sources {
        let path = options.base.join(source);
        let about = statx(CWD, &path, AtFlags::empty(), StatxFlags::BASIC_STATS);
        if !about.is_ok_and(|about| about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
            let message = format!("the source `{}` is not the root of a mounted file system", source.display());
            return Err(Diagnostic::failure(codes::TL0616, message).help("mount it, or leave out `require-mount`"));
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
        Error::TooLittle(_) => codes::TL0615,
        Error::Cancelled => codes::TL0601,
        Error::Write(_) => codes::TL0607,
    };
    let mut diagnostic = Diagnostic::failure(code, error.to_string());
    diagnostic = match error {
        Error::Write(_) => diagnostic.help(MAKE_ROOM),
        Error::TooLittle(_) => {
            diagnostic.help("is the disk mounted, and was the dump written? `allow-empty: true` allows nothing")
        }
        _ => diagnostic,
    };
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
