//! What the program does, for who looks for a mistake in it: the spans and events of `tracing`, a line each.
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

/// One for each run, and for each pipeline that messages are sent for.
static MASKERS: RwLock<Vec<Masker>> = RwLock::new(Vec::new());
static IS_ON_TERMINAL: AtomicBool = AtomicBool::new(false);
/// Why the first line that is missing could not be written.
static LOST: OnceLock<String> = OnceLock::new();

/// Logs from now on as the environment asks, if it does. Fails where what it asks for makes no sense.
pub fn start() -> Result<()> {
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
        Some(path) => Lines::to(open(Path::new(&path))?),
        None => {
            IS_ON_TERMINAL.store(io::stderr().is_terminal(), Ordering::Relaxed);
            Lines::to(io::stderr())
        }
    };
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(to);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = if is_json { Box::new(layer.json()) } else { Box::new(layer) };
    // There is one already only where a test started it.
    let _already = tracing::subscriber::set_global_default(Registry::default().with(layer.with_filter(filter)));
    Ok(())
}

/// Whatever is logged from now on loses what this hides.
pub fn hide(masker: &Masker) {
    MASKERS.write().unwrap_or_else(PoisonError::into_inner).push(masker.clone());
}

/// That lines are missing from the log, if some are.
pub fn lost() -> Option<Diagnostic> {
    let mut lost = Diagnostic::warning(codes::TL0790, "the log that `TL_LOG` asks for has not all lines");
    lost.causes.push(LOST.get()?.clone());
    Some(lost.help("make room, or name another file by `TL_LOG_FILE`"))
}

/// Whether lines go to a terminal, where nothing else may be drawn in place then.
pub fn is_on_terminal() -> bool {
    IS_ON_TERMINAL.load(Ordering::Relaxed)
}

fn asked(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Diagnostic::usage(codes::TL0790, format!("`{name}` is no text"))),
    }
}

/// A level alone is meant of tl: the libraries below it say much.
fn targets(filter: &str) -> Result<Targets> {
    if let Ok(level) = filter.parse::<LevelFilter>() {
        return Ok(Targets::new().with_target(env!("CARGO_PKG_NAME"), level));
    }
    // The library takes a word that is no level for a target, and so would log nothing.
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

fn open(path: &Path) -> Result<File> {
    // A pipe that nobody reads is refused, and not waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    file.map_err(|error| {
        Diagnostic::usage(codes::TL0790, format!("the log `{}` cannot be written", path.display()))
            .cause(&error)
            .help("name a file in a folder that is there, by `TL_LOG_FILE`")
    })
}

/// Where lines go, each as a whole.
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
    /// A line comes in one piece.
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
