use crate::diagnostic::Diagnostic;
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
