use std::fmt;
use std::thread;
use std::time::Instant;

use tokio::runtime;

use super::attempt::{attempt, reach};
use super::retry::{LIMIT, pause};
use super::target::Target;
use super::{Connection, Request};
use crate::channels::thread::on_own_thread;
use crate::channels::{Channel, Error, Message};
use crate::value::{Secret, Unfit};

/// A receiver of messages over HTTP. Every receiver is a channel.
pub(in crate::channels) trait Service: fmt::Debug + Send + Sync {
    /// The connection settings.
    fn connection(&self) -> Connection<'_>;

    /// The name of the setting with the receiver's URL, and its value.
    fn address(&self) -> (&'static str, Secret);

    /// The request that carries a message. The time is in seconds since 1970.
    fn request(&self, message: &Message, now: i64) -> Result<Request, Error>;

    /// Whether a 2xx answer with this body means that the message was not taken. Some services lie about their status.
    fn refuses(&self, answer: &str) -> bool {
        let _ = answer;
        false
    }

    /// Checks the settings that only this receiver has. The caller checks the URL and the request.
    fn check_own(&self) -> Vec<Unfit<String>> {
        Vec::new()
    }
}

impl<S: Service> Channel for S {
    fn deliver(&self, message: &Message) -> Result<String, Error> {
        on_own_thread(|| send(self, message))
    }

    /// Looks the host up and connects. It sends no request: some receivers take any request as a message.
    fn probe(&self) -> Result<String, Error> {
        let connection = self.connection();
        reach(&self.request(&sample(), 0)?, &connection)
    }

    fn check(&self) -> Vec<Unfit<String>> {
        let (setting, address) = self.address();
        let mut found = self.check_own();
        if let Err(error) = Target::new(&address, self.connection().allow_private) {
            found.push(Unfit { setting: setting.to_owned(), error });
        }
        if found.is_empty() {
            // The settings are valid one by one. The request of a sample message reveals the rest.
            match self.request(&sample(), 0) {
                Ok(request) => found = request.check(&self.connection(), setting),
                Err(error) => found.push(Unfit { setting: setting.to_owned(), error: error.to_string() }),
            }
        }
        found
    }
}

fn send<S: Service>(service: &S, message: &Message) -> Result<String, Error> {
    let unfit = |error: std::io::Error| Error::Unfit { reason: error.to_string() };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(unfit)?;
    let result = attempts(service, message, &runtime);
    // Otherwise dropping the runtime would wait for a running DNS lookup.
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
        let error = match runtime.block_on(attempt(&request, &connection, left, &|answer| service.refuses(answer))) {
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

/// A message for checking settings.
pub(in crate::channels) fn sample() -> Message {
    Message {
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV.failure.0".to_owned(),
        time: "2026-01-01T00:00:00Z".to_owned(),
        when: "failure".to_owned(),
        pipeline: "pipeline".to_owned(),
        run: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        host: "host".to_owned(),
        counts: false,
        subject: "subject".to_owned(),
        body: "body\n".to_owned(),
        html: None,
        folder: std::path::PathBuf::new(),
    }
}
