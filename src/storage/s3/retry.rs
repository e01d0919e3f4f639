use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use tracing::debug;

use super::connection::Connection;
use super::fault::{Class, Fault};
use crate::storage::Stopped;

/// The first wait, and the longest one that we choose ourselves.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(20);
/// Bytes that do not arrive as they were sent: memory or a cable is broken, and will be the next time.
const MOST_DAMAGED: u32 = 2;
/// How often `stopped` is asked.
const GLANCE: Duration = Duration::from_millis(100);

/// When a request is made again, if at all.
pub(super) struct Pace<'a> {
    connection: &'a Connection,
    stopped: &'a Stopped,
    began: Instant,
    wait: Duration,
    damaged: u32,
    adjusted: u32,
}

impl<'a> Pace<'a> {
    pub(super) fn new(connection: &'a Connection, stopped: &'a Stopped) -> Self {
        Self { connection, stopped, began: Instant::now(), wait: FIRST, damaged: 0, adjusted: 0 }
    }

    /// Waits as long as the fault asks for. Gives the fault back where another attempt makes no sense.
    pub(super) async fn after(&mut self, fault: Fault) -> Result<(), Fault> {
        match fault.class {
            Class::Throttled | Class::Transient | Class::Unreachable | Class::Unclear => {}
            Class::Damaged if self.damaged < MOST_DAMAGED => self.damaged += 1,
            // Each can be set right once: another region, fresh credentials, the server's clock.
            Class::Moved | Class::Expired | Class::Skewed if self.adjusted < 3 => {
                self.adjusted += 1;
                if !self.connection.adjust(&fault) {
                    return Err(fault);
                }
                return Ok(());
            }
            _ => return Err(fault),
        }
        let jittered = self.wait.mul_f64(0.5 + fastrand::f64() / 2.0);
        let wait = fault.retry_after.map_or(jittered, |asked| asked.max(jittered));
        if self.began.elapsed() + wait > self.connection.policy.retry_for {
            return Err(fault);
        }
        self.wait = (self.wait * 2).min(LONGEST);
        until_stopped(tokio::time::sleep(wait), self.stopped).await
    }
}

impl Connection {
    /// Makes a request once. `bytes` is what it carries, and gets time by its size.
    pub(super) async fn once<T, F, E>(
        self: &Arc<Self>,
        bytes: u64,
        stopped: &Stopped,
        send: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, E>>,
        Fault: From<E>,
    {
        self.within(self.policy.limit(bytes), stopped, send).await
    }

    /// Makes a request once, and waits so long for the answer.
    pub(super) async fn within<T, F, E>(
        self: &Arc<Self>,
        limit: Duration,
        stopped: &Stopped,
        send: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, E>>,
        Fault: From<E>,
    {
        let begun = Instant::now();
        // Boxed: the future of a request is large, and futures hold futures.
        let answer = until_stopped(tokio::time::timeout(limit, Box::pin(send(self.client()))), stopped).await?;
        let answer = match answer {
            Ok(answer) => answer.map_err(Fault::from),
            Err(_) => Err(Fault::new(Class::Transient, format!("no answer within {} s", limit.as_secs()))),
        };
        let millis = begun.elapsed().as_millis();
        match &answer {
            Ok(_) => debug!(millis, "request answered"),
            Err(fault) => debug!(millis, fault = %fault, "request failed"),
        }
        answer
    }

    /// Makes a request until it succeeds, or another attempt makes no sense.
    pub(super) async fn call<T, F, E>(
        self: &Arc<Self>,
        bytes: u64,
        stopped: &Stopped,
        send: impl Fn(Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, E>>,
        Fault: From<E>,
    {
        let mut pace = Pace::new(self, stopped);
        loop {
            match self.once(bytes, stopped, &send).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => pace.after(fault).await?,
            }
        }
    }
}

/// Waits for `what`, but not longer than somebody is interested.
async fn until_stopped<T>(what: impl Future<Output = T>, stopped: &Stopped) -> Result<T, Fault> {
    let mut what = std::pin::pin!(what);
    loop {
        if stopped() {
            return Err(Fault::new(Class::Stopped, "stopped"));
        }
        if let Ok(done) = tokio::time::timeout(GLANCE, &mut what).await {
            return Ok(done);
        }
    }
}
