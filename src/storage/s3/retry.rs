use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use tracing::debug;

use super::connection::Connection;
use super::fault::{Class, Fault};
use crate::value::Cancel;

/// The first wait, and the longest one without a `Retry-After`.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(20);
/// If bytes arrive damaged this often, memory or a cable is broken. More tries do not help.
const MOST_DAMAGED: u32 = 2;
/// An answer that is shorter than the object is asked for again this often. The object itself is truncated then.
const MOST_SHORT: u32 = 1;

/// Decides when a request is retried, if at all.
pub(super) struct Backoff<'a> {
    connection: &'a Connection,
    cancel: &'a Cancel,
    began: Instant,
    wait: Duration,
    damaged: u32,
    short: u32,
    adjusted: u32,
}

impl<'a> Backoff<'a> {
    pub(super) fn new(connection: &'a Connection, cancel: &'a Cancel) -> Self {
        Self { connection, cancel, began: Instant::now(), wait: FIRST, damaged: 0, short: 0, adjusted: 0 }
    }

    /// Waits before the next try. Returns the fault if another try makes no sense.
    pub(super) async fn after(&mut self, fault: Fault) -> Result<(), Fault> {
        match fault.class {
            Class::Throttled | Class::Transient | Class::Unreachable | Class::Unclear => {}
            Class::Damaged if self.damaged < MOST_DAMAGED => self.damaged += 1,
            Class::Short if self.short < MOST_SHORT => self.short += 1,
            // Each can be corrected once: the region, the credentials, the clock.
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
        until_cancelled(tokio::time::sleep(wait), self.cancel).await
    }
}

impl Connection {
    /// Makes a request once. Its time limit grows with the bytes that it carries.
    pub(super) async fn once<T, F, E>(
        self: &Arc<Self>,
        bytes: u64,
        cancel: &Cancel,
        send: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, E>>,
        Fault: From<E>,
    {
        self.within(self.policy.limit(bytes), cancel, send).await
    }

    /// Makes a request once, with a time limit.
    pub(super) async fn within<T, F, E>(
        self: &Arc<Self>,
        limit: Duration,
        cancel: &Cancel,
        send: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, E>>,
        Fault: From<E>,
    {
        let begun = Instant::now();
        // Boxed: the future of a request is large, and futures hold futures.
        let answer = until_cancelled(tokio::time::timeout(limit, Box::pin(send(self.client()))), cancel).await?;
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

    /// Makes a request until it succeeds or another try makes no sense.
    pub(super) async fn call<T, F, E>(
        self: &Arc<Self>,
        bytes: u64,
        cancel: &Cancel,
        send: impl Fn(Client) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, E>>,
        Fault: From<E>,
    {
        let mut backoff = Backoff::new(self, cancel);
        loop {
            match self.once(bytes, cancel, &send).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => backoff.after(fault).await?,
            }
        }
    }
}

/// Waits for `what`, or for a cancel.
pub(super) async fn until_cancelled<T>(what: impl Future<Output = T>, cancel: &Cancel) -> Result<T, Fault> {
    tokio::select! {
        biased;
        _ = cancel.cancelled() => Err(Fault::new(Class::Cancelled, "cancelled")),
        done = what => Ok(done),
    }
}
