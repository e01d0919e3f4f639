use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::machine::{render_json, render_json_line};
use super::style::{Style, Terminal};
use super::terminal::render_diagnostic;
use super::text::plain;
use crate::diagnostic::{Diagnostic, codes};

/// Where what is printed goes. Who prints goes on whatever becomes of it; what could not be written is remembered here.
#[derive(Clone)]
pub struct Stream {
    to: Arc<Mutex<Box<dyn Write + Send>>>,
    lost: Arc<Mutex<Option<io::Error>>>,
    /// Whether anything was not taken.
    gone: Arc<AtomicBool>,
}

impl Stream {
    fn new(to: impl Write + Send + 'static) -> Self {
        Self { to: Arc::new(Mutex::new(Box::new(to))), lost: Arc::default(), gone: Arc::default() }
    }

    /// Remembers the first error. That who reads has gone, as `head` does, is none.
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

/// The only place that writes to the terminal, a pipe or a file of the shell's.
pub struct Output {
    out: Stream,
    err: Box<dyn Write + Send>,
    out_style: Style,
    err_style: Style,
    /// Whether there is a terminal to ask on.
    asks: bool,
}

impl Output {
    /// Standard output and standard error. Colours on a terminal that has some, unless `NO_COLOR` is set.
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

    /// Nowhere, and with nobody to ask.
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

    /// Standard output, for who writes to it on a thread of its own.
    pub fn stream(&self) -> Stream {
        self.out.clone()
    }

    /// Writes a text to standard output.
    pub fn text(&mut self, text: &str) {
        // The stream remembers.
        let _lost = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    /// Writes one line to standard output, whatever names are in it.
    pub fn line(&mut self, line: &str) {
        self.text(&format!("{}\n", plain(line)));
    }

    /// Whether standard output takes nothing any more.
    pub fn is_gone(&self) -> bool {
        self.out.gone.load(Ordering::SeqCst)
    }

    /// That something which was to be on standard output is not there. A command that printed is no success then.
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

    /// Asks on the terminal, and gives the line that was typed. `None` where there is no terminal, or it was closed.
    pub fn ask(&mut self, question: &str) -> Option<String> {
        if !self.asks {
            return None;
        }
        self.prompt(&format!("{question} "));
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0);
        read.then(|| line.trim().to_owned())
    }

    /// Writes a question to standard error, where the answer will stand behind it.
    pub fn prompt(&mut self, question: &str) {
        let _gone = self.err.write_all(plain(question).as_bytes()).and_then(|()| self.err.flush());
    }

    /// Writes a line for people to standard error.
    pub fn hint(&mut self, line: &str) {
        let _gone = writeln!(self.err, "{}", plain(line));
    }
}

/// What is said when tl itself made a mistake: where, and not with which data.
pub fn on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let _gone = writeln!(io::stderr(), "tl made a mistake at {place} (its message is withheld: it may hold data)");
    }));
}
