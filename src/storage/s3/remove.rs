use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use jiff::Timestamp;

use super::S3;
use super::connection::runtime;
use super::fault::{Class, Fault};
use super::recover::Target;
use super::stat::stat;
use crate::storage::{Error, ObjectId, Removed};
use crate::value::Cancel;

impl S3 {
    pub(super) fn remove_object(&self, object: &ObjectId, cancel: &Cancel) -> Result<Removed, Error> {
        let target = self.target_of(&object.key, cancel)?;
        let removed = runtime(&target.uri)?.block_on(self.delete(&target, object.version.as_deref()));
        removed.map_err(|fault| fault.into_error("the removal", &target.uri))
    }

    /// Looks before it deletes. S3 answers the same for a removed object and for one that never existed. A delete
    /// without a version silently hides a locked object.
    async fn delete(&self, target: &Target, version: Option<&str>) -> Result<Removed, Fault> {
        let found = match self.find(target, version).await {
            Ok(None) => return Ok(Removed::WasGone),
            Ok(found) => found,
            // Credentials without read permission may still remove.
            Err(fault) if fault.class == Class::Denied => None,
            Err(fault) => return Err(fault),
        };
        if let Some(locked) = found.as_ref().and_then(|head| locked(head, Timestamp::now())) {
            return Ok(locked);
        }
        let send = |client: Client| {
            let request = client.delete_object().bucket(&self.bucket).key(&target.key);
            request.set_version_id(version.map(str::to_owned)).send()
        };
        match target.connection.call(0, &target.cancel, send).await {
            Ok(_) => Ok(Removed::Removed),
            Err(fault) if fault.class == Class::NoObject => Ok(Removed::WasGone),
            // The lock may last a little longer by the server's clock, or was set in between.
            Err(fault) if fault.class == Class::Denied => {
                let head = self.find(target, version).await.ok().flatten();
                head.and_then(|head| locked(&head, Timestamp::MIN)).ok_or(fault)
            }
            Err(fault) => Err(fault),
        }
    }
}

/// The answer for an object that is locked after this time.
fn locked(head: &HeadObjectOutput, now: Timestamp) -> Option<Removed> {
    let lock = stat(head).lock?;
    let until = lock.retention.map(|(_, until)| until).filter(|until| *until > now);
    (until.is_some() || lock.legal_hold).then_some(Removed::Locked(until))
}
