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
use super::recover::Target;
use crate::storage::Error;
use crate::value::{Cancel, ObjectKey};

/// How long `tl` tries to abort what it cannot complete.
pub(super) const ABORT: Duration = Duration::from_secs(20);
/// The server reports its clock, and the begin of an upload, in whole seconds.
const SLACK: i64 = 2;

impl S3 {
    /// Aborts the uploads that a writer left open.
    pub(super) fn abort_unfinished(&self, key: &ObjectKey, since: Timestamp, cancel: &Cancel) -> Result<usize, Error> {
        let target = self.target_of(key, cancel)?;
        let aborted = runtime(&target.uri)?.block_on(self.abort_begun(&target, since, None));
        aborted.map_err(|fault| fault.into_error("taking back the open multipart uploads", &target.uri))
    }

    /// Aborts the uploads of this key that began at `since` or later, except one. Returns their number. If the server
    /// refuses to list them, only the bucket's lifecycle rules can remove them.
    ///
    /// `since` is corrected by the difference to the server's clock, which its answer shows.
    pub(super) async fn abort_begun(
        &self,
        target: &Target,
        since: Timestamp,
        except: Option<&str>,
    ) -> Result<usize, Fault> {
        let clock = ServerClock::default();
        let send = |client: Client| {
            let list = client.list_multipart_uploads().bucket(&self.bucket).prefix(&target.key);
            list.customize().interceptor(clock.clone()).send()
        };
        let answer = target.connection.call(0, &target.cancel, send).await?;
        let since = since.as_second() + clock.ahead() - SLACK;
        let same_key = answer.uploads().iter().filter(|upload| upload.key() == Some(&target.key));
        let begun = same_key.filter(|upload| upload.initiated().map(DateTime::secs).is_some_and(|time| time >= since));
        let (mut aborted, mut failed) = (0, None);
        for id in begun.filter_map(|upload| upload.upload_id()).filter(|id| Some(*id) != except) {
            match self.abort(target, id).await {
                Ok(()) => aborted += 1,
                Err(fault) => failed = Some(fault),
            }
        }
        failed.map_or(Ok(aborted), Err)
    }

    /// Aborts an upload by its id.
    pub(super) fn abort_upload(&self, key: &ObjectKey, id: &str) -> Result<(), Error> {
        // Also when the run is cancelled: the parts cost money. `ABORT` limits it.
        let target = self.target_of(key, &Cancel::default())?;
        let aborted = runtime(&target.uri)?.block_on(self.abort(&target, id));
        aborted.map_err(|fault| fault.into_error(&format!("taking back the multipart upload {id}"), &target.uri))
    }

    /// Aborts an upload, with all parts that the server has.
    pub(super) async fn abort(&self, target: &Target, id: &str) -> Result<(), Fault> {
        let aborted = tokio::time::timeout(ABORT, self.abort_fully(target, id)).await;
        aborted.unwrap_or_else(|_| Err(Fault::new(Class::Transient, "no answer")))
    }

    async fn abort_fully(&self, target: &Target, id: &str) -> Result<(), Fault> {
        let Target { connection, key, .. } = target;
        // Also when the run is cancelled.
        let never = Cancel::default();
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
                // Gone, or we may not look.
                _ => return Ok(()),
            }
        }
    }
}

/// Reads from an answer how many seconds the server's clock is ahead of this machine's.
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
