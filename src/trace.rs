//! The program's debug log: the spans and events of `tracing`, one per line.
//!
//! `TL_LOG` says how much: a level (`error`, `warn`, `info`, `debug`, `trace`), or filters such as
//! `timelocker=debug,aws_sdk_s3=info`. `TL_LOG_FILE` names a file that lines are appended to, instead of standard error;
//! `TL_LOG_FORMAT=json` makes each an object. A run has the span `run`, an attempt at a stage in it the span `stage`.
//! Whatever is logged loses the secrets that are known by then, and nothing is logged of them before.
//!
//! Variables turn the log on, not options: a timer or a systemd unit then logs without another command line.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use rustix::fs::OFlags;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use crate::diagnostic::{Diagnostic, Result, codes};
use crate::value::Masker;

/// One masker for each run, and for each pipeline that sends messages.
static MASKERS: RwLock<Vec<Masker>> = RwLock::new(Vec::new());
static IS_ON_TERMINAL: AtomicBool = AtomicBool::new(false);
/// Why the first missing line could not be written.
static LOST: OnceLock<String> = OnceLock::new();

/// Starts logging if the environment asks for it. Fails if `TL_LOG` and its companions are invalid, and if the log would be in this
/// folder, whose files are the program's own.
pub(crate) fn start(own: Option<&Path>) -> Result<()> {
    let Some(filter) = asked("TL_LOG")? else { return Ok(()) };
    let filter = targets(&filter)?;
    let is_json = match asked("TL_LOG_FORMAT")?.as_deref() {
        None | Some("human") => false,
        Some("json") => true,
        Some(other) => {
            let message = format!("`TL_LOG_FORMAT` is `{}`", other.escape_debug());
            return Err(Diagnostic::usage(codes::TL0790, message).help("write `human` or `json`"));
        }
    };
    let to = match env::var_os("TL_LOG_FILE").filter(|path| !path.is_empty()) {
        Some(path) => Lines::to(open(Path::new(&path), own)?),
        None => {
            IS_ON_TERMINAL.store(io::stderr().is_terminal(), Ordering::Relaxed);
            Lines::to(io::stderr())
        }
    };
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(to);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = if is_json { Box::new(layer.json()) } else { Box::new(layer) };
    // Only a test may have set a subscriber before.
    let _already = tracing::subscriber::set_global_default(Registry::default().with(layer.with_filter(filter)));
    Ok(())
}

/// Masks these secrets in all later lines.
pub(crate) fn hide(masker: &Masker) {
    MASKERS.write().unwrap_or_else(PoisonError::into_inner).push(masker.clone());
}

/// A warning that lines are missing from the log, if some are.
pub(crate) fn lost() -> Option<Diagnostic> {
    let mut lost = Diagnostic::warning(codes::TL0790, "the log that `TL_LOG` asks for has not all lines");
    lost.causes.push(LOST.get()?.clone());
    Some(lost.help("make room, or name another file by `TL_LOG_FILE`"))
}

/// Whether lines go to a terminal. Then nothing else may draw there in place.
pub(crate) fn is_on_terminal() -> bool {
    IS_ON_TERMINAL.load(Ordering::Relaxed)
}

fn asked(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Diagnostic::usage(codes::TL0790, format!("`{name}` is no text"))),
    }
}

/// A bare level applies to tl alone: the libraries log too much.
fn targets(filter: &str) -> Result<Targets> {
    if let Ok(level) = filter.parse::<LevelFilter>() {
        return Ok(Targets::new().with_target(env!("CARGO_PKG_NAME"), level));
    }
    // `tracing` would read a word that is no level as a target, and log nothing.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let is_clear = filter.split(',').all(|part| match part.split_once('=') {
        Some((target, level)) => !target.is_empty() && !target.contains('[') && is_level(level),
        None => is_level(part),
    });
    filter.parse().ok().filter(|_| is_clear).ok_or_else(|| {
        Diagnostic::usage(codes::TL0790, format!("`TL_LOG` is `{}`", filter.escape_debug()))
            .help("write a level, such as `debug`, or filters, such as `timelocker=debug,aws_sdk_s3=info`")
    })
}

fn open(path: &Path, own: Option<&Path>) -> Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_within = |own: &Path| Some(folder.canonicalize().ok()?.starts_with(own.canonicalize().ok()?));
    if own.and_then(is_within) == Some(true) {
        let message = format!("the log `{}` would be in the state folder", path.display());
        return Err(Diagnostic::usage(codes::TL0790, message).help("name a file elsewhere by `TL_LOG_FILE`"));
    }
    // With `O_NONBLOCK`, opening a FIFO without a reader fails instead of waiting.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    file.map_err(|error| {
        Diagnostic::usage(codes::TL0790, format!("the log `{}` cannot be written", path.display()))
            .cause(&error)
            .help("name a file in a folder that is there, by `TL_LOG_FILE`")
    })
}

/// The destination of log lines. Each line is written whole.
#[derive(Clone)]
struct Lines(Arc<Mutex<Box<dyn Write + Send>>>);

impl Lines {
    fn to(to: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(to))))
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// `tracing` passes each line in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = String::from_utf8_lossy(line).into_owned();
        for masker in MASKERS.read().unwrap_or_else(PoisonError::into_inner).iter() {
            text = masker.mask(&text);
        }
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
        if let Err(error) = &written {
            LOST.get_or_init(|| error.to_string());
        }
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}
