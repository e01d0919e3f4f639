use std::sync::{Arc, Mutex, PoisonError};

/// What a run that is ended at once still writes: its end, in the audit log and in its journal. A run that could not begin, or that
/// is ending by itself, writes nothing.
#[derive(Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<Option<Write>>>);

type Write = Box<dyn FnOnce() + Send>;

impl LastWords {
    /// From now on, the run writes this if it is ended at once.
    pub(super) fn set(&self, write: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(write));
    }

    /// The run ends by itself.
    pub(super) fn clear(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Writes the end of the run.
    pub(crate) fn write(&self) {
        let write = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(write) = write {
            write();
        }
    }
}
