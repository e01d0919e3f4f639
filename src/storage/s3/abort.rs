use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::DateTime;
use jiff::Timestamp;

use super::S3;
use super::connection::runtime;
use super::fault::{Class, Fault, seconds};
use super::recover::Place;
use crate::storage::{Error, Stopped};
use crate::value::ObjectKey;

/// How long tl tries to take back what it cannot complete.
pub(super) const ABORT: Duration = Duration::from_secs(20);
/// Clocks are told in whole seconds: that of the server, and that of the begin of an upload.
const SLACK: i64 = 2;

impl S3 {
    /// Takes back the uploads that a writer left open.
    pub(super) fn abort_left(&self, key: &ObjectKey, since: Timestamp, stopped: &Stopped) -> Result<usize, Error> {
        let place = self.place_of(key, stopped)?;
        let aborted = runtime(&place.uri)?.block_on(self.abort_begun(&place, since, None));
        aborted.map_err(|fault| fault.into_error("taking back the open multipart uploads", &place.uri))
    }

    /// Takes back the uploads of this key that began at this time or later, but one. Where they cannot be listed, only the
    /// rules of the bucket can remove them. Returns how many there were.
    pub(super) async fn abort_begun(
        &self,
        place: &Place,
        since: Timestamp,
        except: Option<&str>,
    ) -> Result<usize, Fault> {
        let clock = ServerClock::default();
        let send = |client: Client| {
            let list = client.list_multipart_uploads().bucket(&self.bucket).prefix(&place.key);
            list.customize().interceptor(clock.clone()).send()
        };
        let answer = place.connection.call(0, &place.stopped, send).await?;
        let since = since.as_second() + clock.ahead() - SLACK;
        let same_key = answer.uploads().iter().filter(|upload| upload.key() == Some(&place.key));
        let begun = same_key.filter(|upload| upload.initiated().map(DateTime::secs).is_some_and(|time| time >= since));
        let (mut aborted, mut failed) = (0, None);
        for id in begun.filter_map(|upload| upload.upload_id()).filter(|id| Some(*id) != except) {
            match self.abort(place, id).await {
                Ok(()) => aborted += 1,
                Err(fault) => failed = Some(fault),
            }
        }
        failed.map_or(Ok(aborted), Err)
    }

    /// Takes back an upload of which the id is known.
    pub(super) fn close_upload(&self, key: &ObjectKey, id: &str) -> Result<(), Error> {
        // Also when the run was stopped.
        let place = self.place_of(key, &(Arc::new(|| false) as Stopped))?;
        let aborted = runtime(&place.uri)?.block_on(self.abort(&place, id));
        aborted.map_err(|fault| fault.into_error(&format!("taking back the multipart upload {id}"), &place.uri))
    }

    /// Takes an upload back, with all parts that the server has.
    pub(super) async fn abort(&self, place: &Place, id: &str) -> Result<(), Fault> {
        let aborted = tokio::time::timeout(ABORT, self.abort_patiently(place, id)).await;
        aborted.unwrap_or_else(|_| Err(Fault::new(Class::Transient, "no answer")))
    }

    async fn abort_patiently(&self, place: &Place, id: &str) -> Result<(), Fault> {
        let Place { connection, key, .. } = place;
        // Also when the run was stopped.
        let never: Stopped = Arc::new(|| false);
        loop {
            let send =
                |client: Client| client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(id).send();
            match connection.call(0, &never, send).await {
                Ok(_) => {}
                Err(fault) if matches!(fault.class, Class::NoUpload | Class::NoObject) => return Ok(()),
                Err(fault) => return Err(fault),
            }
            // A part that was on its way may have arrived after the abort.
            let send = |client: Client| client.list_parts().bucket(&self.bucket).key(key).upload_id(id).send();
            match connection.call(0, &never, send).await {
                Ok(answer) if !answer.parts().is_empty() => tokio::time::sleep(Duration::from_millis(200)).await,
                // Gone, or nobody may look.
                _ => return Ok(()),
            }
        }
    }
}

/// Reads from an answer how far the server's clock is ahead of this machine's, in seconds: the begin of an upload is told
/// in its time.
#[derive(Clone, Debug, Default)]
struct ServerClock(Arc<AtomicI64>);

impl ServerClock {
    fn ahead(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(server) = context.response().headers().get("date").and_then(seconds) {
            self.0.store(server - Timestamp::now().as_second(), Ordering::SeqCst);
        }
        Ok(())
    }
}
