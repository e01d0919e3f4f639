use std::io::{self, IsTerminal, Write};

use serde_json::Value as Json;

use super::{plain, render_diagnostic};
use crate::diagnostic::Diagnostic;

/// How text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
}

impl Style {
    /// A text in bold red, where there are colours.
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// In bold yellow.
    pub fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// In bold green.
    pub fn green(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    /// In blue.
    pub fn blue(self, text: &str) -> String {
        self.paint("1;34", text)
    }

    /// Faint.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The only place that writes to the terminal, a pipe or a file of the shell's.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    out_style: Style,
    err_style: Style,
    /// Whether there is a terminal to ask on.
    asks: bool,
    failed: Option<io::Error>,
}

impl Output {
    /// Standard output and standard error. Colours on a terminal, unless `NO_COLOR` is set.
    pub fn standard() -> Self {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            out_style: Style { colour: colours && io::stdout().is_terminal() },
            err_style: Style { colour: colours && io::stderr().is_terminal() },
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            asks: io::stdin().is_terminal() && io::stderr().is_terminal(),
            failed: None,
        }
    }

    /// Nowhere, and with nobody to ask.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        let nowhere = || Box::new(io::sink());
        let style = Style::default();
        Self { out: nowhere(), err: nowhere(), out_style: style, err_style: style, asks: false, failed: None }
    }

    /// How text on standard output may look.
    pub fn style(&self) -> Style {
        self.out_style
    }

    /// Writes a text to standard output.
    pub fn text(&mut self, text: &str) {
        if let Err(error) = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            self.failed.get_or_insert(error);
        }
    }

    /// Writes one line to standard output, whatever names are in it.
    pub fn line(&mut self, line: &str) {
        self.text(&format!("{}\n", plain(line)));
    }

    /// Whether standard output takes nothing any more.
    pub fn is_gone(&self) -> bool {
        self.failed.is_some()
    }

    /// The first error of standard output. That who reads has gone, as `head` does, is none.
    pub fn failure(&mut self) -> Option<io::Error> {
        self.failed.take().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    /// Writes a value to standard output, readable and with a line end.
    pub fn json(&mut self, value: &Json) {
        self.text(&format!("{value:#}\n"));
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
