use std::thread;

use super::Error;

/// Delivers on a thread of its own: the caller's may belong to a runtime, inside which no other one can wait.
pub(super) fn on_own_thread(deliver: impl FnOnce() -> Result<String, Error> + Send) -> Result<String, Error> {
    thread::scope(|scope| {
        let running = thread::Builder::new().name("channel".to_owned()).spawn_scoped(scope, deliver);
        let running = running.map_err(|error| Error::Unfit { reason: error.to_string() })?;
        running.join().unwrap_or_else(|_| Err(Error::Unfit { reason: "the channel panicked".to_owned() }))
    })
}
