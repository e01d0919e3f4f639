use std::cell::Cell;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, access, statx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Observer, Options, Summary};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::{Did, Stream};
use crate::source::{self, Group, Pattern, Selection, moved, read_list, read_patterns, survey};
use crate::stages::artifact::{ArtifactRef, ArtifactWriter};
use crate::stages::kind::MAKE_ROOM;
use crate::stages::{Context, Effect, Findings, Flow, Known, Reading, Stage, StageError, StageNotice};
use crate::value::{FilePath, Size};

/// Settings of `archive`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each stands for a key of a file")]
pub struct Archive {
    /// Files and directories. Relative ones are meant from the folder of the pipeline file, and keep their name.
    #[serde(default)]
    #[schemars(length(min = 1))]
    sources: Vec<PathBuf>,
    /// A file with more sources, each ended by a NUL byte, as `find -print0` writes them.
    sources_file: Option<FilePath>,
    /// If given, only files that a pattern fits are taken, and what is in folders that one fits. Patterns are those of
    /// `exclude`.
    #[serde(default)]
    include: Vec<String>,
    /// The same, by named groups of patterns.
    #[serde(default)]
    include_groups: Vec<Group>,
    /// What to leave out, also of what is included, by patterns as a `.gitignore` has them, relative to each source: `*.tmp` by
    /// name, `/cache` by path, `cache/` folders only, `a/**/b` across folders, `!keep.tmp` not this one. A pattern may also begin
    /// with the absolute path of a source.
    #[serde(default)]
    exclude: Vec<String>,
    /// The same, by named groups of patterns.
    #[serde(default)]
    exclude_groups: Vec<Group>,
    /// A file with patterns to leave out, one a line; `#` begins a comment. Those of `exclude` come after them.
    exclude_file: Option<FilePath>,
    /// A folder with an entry of such a name is taken without its other content.
    #[serde(default)]
    exclude_if_present: Vec<String>,
    /// A folder that a `CACHEDIR.TAG` marks as a cache is taken without its other content.
    #[serde(default)]
    exclude_caches: bool,
    /// Larger files are left out.
    exclude_larger_than: Option<Size>,
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
        let selection = self.selected(&context.base)?.without(own);
        if self.require_mount {
            are_mounted(&selection)?;
        }
        let options = Options {
            selection,
            allow_empty: self.allow_empty,
            min_files: self.min_files,
            min_bytes: self.min_bytes.map_or(0, Size::get),
        };
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
        for setting in [INCLUDE, EXCLUDE] {
            for pattern in with.get(setting).iter().flat_map(Known::items) {
                if let Some(reason) = pattern.text().and_then(|text| Pattern::of(text, setting).problem()) {
                    found.at_value(&pattern, Diagnostic::usage(codes::TL0205, format!("this pattern {reason}")));
                }
            }
        }
        for name in with.get("exclude-if-present").iter().flat_map(Known::items) {
            if name.text().is_some_and(|name| matches!(name, "" | "." | "..") || name.contains(['/', '*', '?'])) {
                let message = "this is no name of an entry in a folder";
                found.at_value(
                    &name,
                    Diagnostic::usage(codes::TL0205, message)
                        .help("a name without `/` and wildcards, such as `.nobackup`"),
                );
            }
        }
        let is_given = |setting| with.get(setting).is_some();
        if with.keys().is_some() && !is_given("sources") && !is_given("sources-file") {
            let message = "nothing says what to collect: `sources` is missing";
            found.at_key(
                with,
                Diagnostic::usage(codes::TL0202, message).help("name files and folders, or a list in `sources-file`"),
            );
        }
    }

    fn check_files(with: &Known<'_>, found: &mut Findings) {
        if let Some(setting) = with.get("exclude-file")
            && let Some(path) = setting.file()
        {
            match read_patterns(&path) {
                Err(error) => found.at_value(&setting, error.into()),
                Ok(patterns) => {
                    // Its text stays unsaid: a link may lead to any file.
                    for (pattern, reason) in patterns.iter().filter_map(|pattern| Some((pattern, pattern.problem()?))) {
                        let message = format!("the pattern in {} {reason}", pattern.origin);
                        found.at_value(&setting, Diagnostic::usage(codes::TL0611, message));
                    }
                }
            }
        }
        if let Some(setting) = with.get("sources-file")
            && let Some(Err(error)) = setting.file_of_machine().map(|path| read_list(&path))
        {
            found.at_value(&setting, error.into());
        }
        let of_machine = with.on_this_machine().and_then(|(with, base)| Some((Self::deserialize(with).ok()?, base)));
        if let Some(Err(error)) = of_machine.map(|(archive, base)| archive.has_enough(base)) {
            found.at_key(with, error);
        }
        for source in with.get("sources").iter().flat_map(Known::items) {
            let Some(path) = source.source() else { continue };
            let given = Path::new(source.text().unwrap_or_default());
            if let Err(error) = is_readable(&path) {
                found.at_value(&source, source::unreadable(given, error).into());
            } else if with.get("require-mount").is_some_and(|setting| setting.is_true()) && !is_mounted(&path) {
                found.at_value(&source, not_mounted(given));
            }
        }
    }

    fn warn(with: &Known<'_>, found: &mut Findings) {
        let sources: Vec<PathBuf> = with
            .get("sources")
            .iter()
            .flat_map(Known::items)
            .filter_map(|source| source.text().map(PathBuf::from))
            .collect();
        for setting in [INCLUDE, EXCLUDE] {
            for pattern in with.get(setting).iter().flat_map(Known::items) {
                if let Some(help) = pattern.text().and_then(|text| moved(text, &sources)) {
                    let message =
                        "this pattern is meant from each source, and not from the root of the archive or the machine";
                    found.at_value(&pattern, Diagnostic::warning(codes::TL0809, message).help(help));
                }
            }
        }
    }

    fn selection(self, base: &Path) -> Result<Option<Selection>> {
        self.selected(base).map(Some)
    }

    fn summary(outputs: &Outputs) -> Did {
        let Outputs { files, bytes, skipped, .. } = *outputs;
        Did { files: Some(files), bytes: Some(bytes), skipped: Some(skipped), ..Did::default() }
    }
}

/// The settings with patterns.
const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";

impl Archive {
    /// Fails if the sources that are there hold too little now.
    fn has_enough(&self, base: &Path) -> Result<()> {
        let found = match self.selected(base).and_then(|selection| Ok(survey(&selection)?)) {
            Ok(found) => found,
            // Other errors have a place of their own.
            Err(error) => return if error.code == codes::TL0611 { Err(error) } else { Ok(()) },
        };
        let too_few = found.files < self.min_files || found.files == 0 && !self.allow_empty;
        let too_small = self.min_bytes.is_some_and(|least| found.bytes < least.get());
        if found.cut_short || !found.missing.is_empty() || !(too_few || too_small) {
            return Ok(());
        }
        let message =
            format!("the sources hold {} files and {} bytes now: too little to archive", found.files, found.bytes);
        Err(Diagnostic::failure(codes::TL0615, message)
            .help("see whether a disk is not mounted, or a pattern leaves out too much"))
    }

    /// What it takes. Reads the lists that its settings name.
    fn selected(&self, base: &Path) -> Result<Selection> {
        let failed = |error: source::Error| Diagnostic::from(error);
        // A list may name a link for itself. A slash at the end of a path would lead to its target.
        let is_link = |path: &&PathBuf| base.join(path.components().as_path()).is_symlink() && base.join(path).is_dir();
        if let Some(path) = self.sources.iter().find(is_link) {
            let reason = "is a link to a folder, and only the link would be kept: name the folder".to_owned();
            return Err(failed(source::Error::Bad { path: path.clone(), reason }));
        }
        let mut sources = self.sources.clone();
        if let Some(list) = &self.sources_file {
            sources.extend(read_list(&base.join(list.as_path())).map_err(failed)?);
        }
        let named =
            |patterns: &[String], setting| patterns.iter().map(|text| Pattern::of(text, setting)).collect::<Vec<_>>();
        let grouped = |groups: &[Group]| {
            let of =
                |group: &Group| group.patterns().iter().map(|text| Pattern::of(text, group.name())).collect::<Vec<_>>();
            groups.iter().flat_map(of).collect::<Vec<_>>()
        };
        let mut include = grouped(&self.include_groups);
        include.extend(named(&self.include, INCLUDE));
        // The last pattern that fits decides: those in the pipeline file are the nearest.
        let mut exclude = grouped(&self.exclude_groups);
        if let Some(file) = &self.exclude_file {
            exclude.extend(read_patterns(&base.join(file.as_path())).map_err(failed)?);
        }
        exclude.extend(named(&self.exclude, EXCLUDE));
        Ok(Selection {
            sources,
            base: base.to_owned(),
            include,
            exclude,
            exclude_if_present: self.exclude_if_present.clone(),
            exclude_caches: self.exclude_caches,
            larger_than: self.exclude_larger_than.map(Size::get),
            one_file_system: self.one_file_system,
            never: Vec::new(),
        })
    }
}

/// Fails unless each source is the root of a mounted file system.
fn are_mounted(selection: &Selection) -> Result<()> {
    let other = selection.sources.iter().find(|source| !is_mounted(&selection.base.join(source)));
    other.map_or(Ok(()), |source| Err(not_mounted(source)))
}

fn is_mounted(path: &Path) -> bool {
    let about = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS);
    about.is_ok_and(|about| about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn not_mounted(source: &Path) -> Diagnostic {
    let message = format!("the source `{}` is not the root of a mounted file system", source.display());
    Diagnostic::failure(codes::TL0616, message).help("mount it, or leave out `require-mount`")
}

/// Whether a source is there and may be read. A link is archived as a link.
fn is_readable(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_symlink() { Ok(()) } else { Ok(access(path, Access::READ_OK)?) }
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
        Error::Source(error) => return error.into(),
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

    fn note(&self, text: String) {
        (self.context.emit)(StageNotice::Line(Stream::Stdout, text));
    }

    fn cancelled(&self) -> bool {
        self.context.cancel.is_cancelled()
    }
}
