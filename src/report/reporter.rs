use std::io;
use std::path::Path;

use crate::diagnostic::{Diagnostic, codes};
use crate::event::Event;

/// Shows the events of a run.
pub trait Reporter: Send {
    /// Shows one event.
    fn event(&mut self, event: &Event);

    /// Called several times a second while no event comes.
    fn pause(&mut self) {}

    /// The error of a report that goes to a file and could not be written.
    fn lost(&self) -> Option<Diagnostic> {
        None
    }
}

/// Several reporters show each event, one after the other.
impl Reporter for Vec<Box<dyn Reporter>> {
    fn event(&mut self, event: &Event) {
        self.iter_mut().for_each(|reporter| reporter.event(event));
    }

    fn pause(&mut self) {
        self.iter_mut().for_each(|reporter| reporter.pause());
    }

    fn lost(&self) -> Option<Diagnostic> {
        self.iter().find_map(|reporter| reporter.lost())
    }
}

/// The error of a report that goes to a file and could not be written.
pub(super) fn not_written(path: &Path, error: &io::Error) -> Diagnostic {
    let message = format!("the report `{}` cannot be written", path.display());
    Diagnostic::failure(codes::TL0712, message)
        .cause(error)
        .help("the run went to its end; only this report of it is missing")
}
