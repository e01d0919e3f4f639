use std::io;
use std::path::Path;

use crate::diagnostic::{Diagnostic, codes};
use crate::event::Event;

/// Shows the events of a run.
pub trait Reporter: Send {
    /// Shows one event.
    fn event(&mut self, event: &Event);

    /// Called while nothing happens, some times a second.
    fn pause(&mut self) {}

    /// What could not be written of a report that goes to a file.
    fn lost(&self) -> Option<Diagnostic> {
        None
    }
}

/// Several reports of one run.
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
pub(super) fn unwritten(path: &Path, error: &io::Error) -> Diagnostic {
    let message = format!("the report `{}` cannot be written", path.display());
    Diagnostic::failure(codes::TL0712, message)
        .cause(error)
        .help("the run went to its end; only this report of it is missing")
}
