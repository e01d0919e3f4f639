use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::machine::{render_json, render_json_line};
use super::style::{Style, Terminal};
use super::terminal::render_diagnostic;
use super::text::plain;
use crate::diagnostic::{Diagnostic, codes};

/// Standard output, shared by everything that prints. A write that fails stops nothing: a backup does not end because its
/// report cannot be written. The first error is kept, and a command that would have succeeded then exits with 1.
#[derive(Clone)]
pub struct Stream {
    to: Arc<Mutex<Box<dyn Write + Send>>>,
    lost: Arc<Mutex<Option<io::Error>>>,
    /// Whether a write failed, for whatever reason.
    gone: Arc<AtomicBool>,
}

impl Stream {
    fn new(to: impl Write + Send + 'static) -> Self {
        Self { to: Arc::new(Mutex::new(Box::new(to))), lost: Arc::default(), gone: Arc::default() }
    }

    /// Keeps the first error. A closed pipe is none: a reader such as `head` stops when it has enough.
    fn noting<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            self.gone.fetch_or(error.kind() != io::ErrorKind::Interrupted, Ordering::SeqCst);
            if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::Interrupted) {
                let same = || match error.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(error.kind(), error.to_string()),
                };
                self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(same);
            }
        })
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
        self.noting(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.to.lock().unwrap_or_else(PoisonError::into_inner).flush();
        self.noting(flushed)
    }
}

/// Standard output and standard error. Nothing else writes to them.
pub struct Output {
    out: Stream,
    err: Box<dyn Write + Send>,
    out_style: Style,
    err_style: Style,
    /// Whether there is a terminal to ask on.
    asks: bool,
}

impl Output {
    /// The streams of this process, with colours on a terminal that has them, unless `NO_COLOR` is set.
    pub fn standard() -> Self {
        let terminal = Terminal::of(|name| std::env::var(name).ok());
        let style = |is_terminal| Style { colour: terminal.colour && is_terminal, unicode: terminal.unicode };
        Self {
            out_style: style(io::stdout().is_terminal()),
            err_style: style(io::stderr().is_terminal()),
            out: Stream::new(io::stdout()),
            err: Box::new(io::stderr()),
            asks: io::stdin().is_terminal() && io::stderr().is_terminal(),
        }
    }

    /// An output that discards everything and cannot ask.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        let style = Style::default();
        let (out, err) = (Stream::new(io::sink()), Box::new(io::sink()));
        Self { out, err, out_style: style, err_style: style, asks: false }
    }

    /// How text on standard output may look.
    pub fn style(&self) -> Style {
        self.out_style
    }

    /// Standard output, for a writer on another thread.
    pub fn stream(&self) -> Stream {
        self.out.clone()
    }

    /// Writes a text to standard output.
    pub fn text(&mut self, text: &str) {
        // The stream keeps the error.
        let _lost = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    /// Writes one line to standard output. Names from outside are made safe.
    pub fn line(&mut self, line: &str) {
        self.text(&format!("{}\n", plain(line)));
    }

    /// Whether standard output is closed or full.
    pub fn is_gone(&self) -> bool {
        self.out.gone.load(Ordering::SeqCst)
    }

    /// The first error of standard output. A command with one is no success.
    pub fn lost(&self) -> Option<Diagnostic> {
        let lost = self.out.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.as_ref()
            .map(|error| Diagnostic::failure(codes::TL0716, "what was to be printed could not be written").cause(error))
    }

    /// Writes a value to standard output, as JSON on several lines.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Vec<Diagnostic>> {
        self.text(&render_json(value)?);
        Ok(())
    }

    /// Writes a value to standard output, as JSON on one line.
    pub fn json_line(&mut self, value: &impl Serialize) -> Result<(), Vec<Diagnostic>> {
        self.text(&render_json_line(value)?);
        Ok(())
    }

    /// Writes a problem to standard error.
    pub fn problem(&mut self, problem: &Diagnostic) {
        let text = render_diagnostic(problem, self.err_style);
        let _gone = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }

    /// Whether there is a terminal to ask on.
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// Asks on the terminal and returns the typed line. `None` if there is no terminal, or its input ends.
    pub fn ask(&mut self, question: &str) -> Option<String> {
        if !self.asks {
            return None;
        }
        self.prompt(&format!("{question} "));
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0);
        read.then(|| line.trim().to_owned())
    }

    /// Writes a question to standard error, without a line end.
    pub fn prompt(&mut self, question: &str) {
        let _gone = self.err.write_all(plain(question).as_bytes()).and_then(|()| self.err.flush());
    }

    /// Writes a line for people to standard error.
    pub fn hint(&mut self, line: &str) {
        let _gone = writeln!(self.err, "{}", plain(line));
    }
}

/// Reports a panic by its place. Its message is withheld, since it may hold data.
pub fn on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let _gone = writeln!(io::stderr(), "tl made a mistake at {place} (its message is withheld: it may hold data)");
    }));
}
