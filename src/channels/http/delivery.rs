use std::fmt;
use std::thread;
use std::time::Instant;

use tokio::runtime;

use super::attempt::{attempt, reach};
use super::retry::{LIMIT, pause};
use super::{Connection, Request};
use crate::channels::{Channel, Error, Message};

/// A receiver of messages over HTTP: what it wants to read, and how to reach it. That makes it a channel.
pub(in crate::channels) trait Service: fmt::Debug + Send + Sync {
    /// How to connect.
    fn connection(&self) -> Connection<'_>;

    /// The message as this receiver wants it, at a time in seconds since 1970.
    fn request(&self, message: &Message, now: i64) -> Result<Request, Error>;
}

impl<S: Service> Channel for S {
    fn deliver(&self, message: &Message) -> Result<String, Error> {
        // A thread of its own: the caller's may belong to a runtime, inside which no other one can wait.
        thread::scope(|scope| {
            let told = thread::Builder::new().name("channel".to_owned()).spawn_scoped(scope, || tell(self, message));
            let told = told.map_err(|error| Error::Unfit { reason: error.to_string() })?;
            told.join().unwrap_or_else(|_| Err(Error::Unfit { reason: "the channel panicked".to_owned() }))
        })
    }

    /// Looks the host up and connects: any request at all would be a message to some of them.
    fn probe(&self) -> Result<String, Error> {
        self.check().map_err(|reason| Error::Unfit { reason })?;
        let connection = self.connection();
        reach(&self.request(&sample(), 0)?, &connection)
    }

    /// Makes a request of a sample: its template, keys, headers and URL are then known to be fit.
    fn check(&self) -> Result<(), String> {
        let request = self.request(&sample(), 0).map_err(|error| error.to_string())?;
        request.check(&self.connection())
    }
}

fn tell<S: Service>(service: &S, message: &Message) -> Result<String, Error> {
    let unfit = |error: std::io::Error| Error::Unfit { reason: error.to_string() };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(unfit)?;
    let result = attempts(service, message, &runtime);
    // A name that is still being looked up would be waited for.
    runtime.shutdown_background();
    result
}

fn attempts<S: Service>(service: &S, message: &Message, runtime: &runtime::Runtime) -> Result<String, Error> {
    let end = Instant::now() + LIMIT;
    let connection = service.connection();
    let mut number = 1;
    loop {
        let request = service.request(message, jiff::Timestamp::now().as_second())?;
        let left = end.saturating_duration_since(Instant::now());
        let error = match runtime.block_on(attempt(&request, &connection, left)) {
            Ok(how) => return Ok(how),
            Err(error) => error,
        };
        match pause(&error, number, end.saturating_duration_since(Instant::now())) {
            Some(pause) => thread::sleep(pause),
            None => return Err(error),
        }
        number += 1;
    }
}

fn sample() -> Message {
    Message {
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV.failure.0".to_owned(),
        time: "2026-01-01T00:00:00Z".to_owned(),
        when: "failure".to_owned(),
        pipeline: "pipeline".to_owned(),
        run: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        subject: "subject".to_owned(),
        body: "body\n".to_owned(),
        html: None,
        folder: std::path::PathBuf::new(),
    }
}
