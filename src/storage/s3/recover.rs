use std::sync::Arc;

use super::S3;
use super::connection::{Connection, runtime};
use super::fault::{Class, Fault};
use super::stat::{TOKEN, bare, is_of, stat};
use crate::storage::{Delivered, Error, Lock, Objects as _, PendingObject, Stat};
use crate::value::{Cancel, ObjectKey};

/// The object of one call.
pub(super) struct Target {
    pub(super) connection: Arc<Connection>,
    /// Its key in the bucket.
    pub(super) key: String,
    pub(super) uri: String,
    pub(super) cancel: Cancel,
}

/// An object that the server reports as stored.
pub(super) struct AcceptedUpload {
    pub(super) etag: Option<String>,
    pub(super) version: Option<String>,
    /// Whether an answer proved that the server has the bytes that were sent.
    pub(super) proven: bool,
}

impl S3 {
    pub(super) fn target_of(&self, key: &ObjectKey, cancel: &Cancel) -> Result<Target, Error> {
        let cancel = cancel.clone();
        Ok(Target { connection: self.connect(&cancel)?, key: self.full_key(key), uri: self.uri(key), cancel })
    }

    /// Finds an object that was about to appear when its writer died, and checks it as the writer would have done.
    pub(super) fn recover_object(
        &self,
        key: &ObjectKey,
        pending: &PendingObject,
        cancel: &Cancel,
    ) -> Result<Option<Delivered>, Error> {
        let Some(token) = &pending.token else { return Ok(None) };
        let target = self.target_of(key, cancel)?;
        runtime(&target.uri)?.block_on(async {
            let found = self.find_by_token(&target, token).await;
            match found.map_err(|fault| fault.into_error("a look at the properties", &target.uri))? {
                None => Ok(None),
                Some(found) => {
                    let accepted = AcceptedUpload { etag: None, version: found.version, proven: false };
                    self.confirm(&target, pending, accepted).await.map(Some)
                }
            }
        })
    }

    /// Whether the object of this key carries the token of a pending one.
    pub(super) fn has_token(&self, key: &ObjectKey, pending: &PendingObject, cancel: &Cancel) -> Result<bool, Error> {
        let Some(token) = &pending.token else { return Ok(false) };
        let target = self.target_of(key, cancel)?;
        let found = runtime(&target.uri)?.block_on(self.find_by_token(&target, token));
        found.map(|found| found.is_some()).map_err(|fault| fault.into_error("a look at the properties", &target.uri))
    }

    /// The object, if it carries this token. After a lost answer, the existence of an object alone would not tell ours
    /// from another one.
    pub(super) async fn find_by_token(&self, target: &Target, token: &str) -> Result<Option<Stat>, Fault> {
        match self.head(&target.connection, &target.key, None, &target.cancel).await {
            Ok(head) => Ok(head.filter(|head| is_of(head, token)).as_ref().map(stat)),
            // Access denied: treat as unknown.
            Err(fault) if fault.class == Class::Denied => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Compares the stored object with what was sent. A successful upload alone proves nothing: servers have reported
    /// success after storing other bytes, without an `ETag`, or with half an answer. With write-only credentials, the
    /// upload's own answer must be the proof.
    pub(super) async fn confirm(
        &self,
        target: &Target,
        pending: &PendingObject,
        accepted: AcceptedUpload,
    ) -> Result<Delivered, Error> {
        let PendingObject { token, digest, checksums, lock, .. } = pending;
        let uri = &target.uri;
        let head = self.head(&target.connection, &target.key, accepted.version.as_deref(), &target.cancel).await;
        let unproven = |why: String| Error::Unproven { uri: uri.clone(), why };
        let stored = |version, lock| Delivered { digest: *digest, checksums: checksums.clone(), version, lock };
        let head = match head {
            Ok(Some(head)) => head,
            Ok(None) => return Err(unproven("the store says that it is not there".to_owned())),
            Err(fault) if fault.class == Class::Denied && accepted.proven && lock.is_none() => {
                return Ok(stored(accepted.version, None));
            }
            Err(fault) => return Err(unproven(format!("it cannot be looked at: {fault}"))),
        };
        let writer = head.metadata().and_then(|metadata| metadata.get(TOKEN));
        if writer.is_some() && writer != token.as_ref() {
            return Err(unproven("somebody else has replaced it".to_owned()));
        }
        let found = stat(&head);
        let etags = accepted.etag.as_deref().zip(head.e_tag());
        let differs = if found.size != digest.size {
            Some(format!("{} bytes where {} were sent", found.size, digest.size))
        } else if let Some((name, value)) =
            found.checksums.iter().find(|(name, value)| checksums.get(*name).is_some_and(|own| own != *value))
        {
            Some(format!("{name} {value} where {} was sent", checksums[name]))
        } else {
            etags
                .filter(|(put, head)| bare(put) != bare(head))
                .map(|(put, head)| format!("ETag {head} where {put} was answered"))
        };
        if let Some(differs) = differs {
            let removed = self.discard(target, found.version).await;
            let kept = if removed { "it was removed" } else { "it could not be removed" };
            let said = format!("the store has {differs}; {kept}");
            return Err(Fault::new(Class::Damaged, said).into_error("the upload", uri));
        }
        confirm_lock(*lock, found.lock).map_err(unproven)?;
        Ok(stored(found.version.or(accepted.version), found.lock))
    }

    /// Removes an object whose bytes are not those that were sent. Returns whether that worked.
    pub(super) async fn discard(&self, target: &Target, version: Option<String>) -> bool {
        let send = |client: aws_sdk_s3::Client| {
            client.delete_object().bucket(&self.bucket).key(&target.key).set_version_id(version.clone()).send()
        };
        target.connection.call(0, &target.cancel, send).await.is_ok()
    }
}

/// Checks that an object is locked as requested, or longer.
fn confirm_lock(asked: Option<Lock>, found: Option<Lock>) -> Result<(), String> {
    let Some(asked) = asked else { return Ok(()) };
    let got = found.unwrap_or(Lock { retention: None, legal_hold: false });
    match (asked.retention, got.retention) {
        (Some((mode, until)), Some((got_mode, got_until)))
            if mode != got_mode || got_until.as_second() < until.as_second() =>
        {
            Err(format!("its lock is {got_mode:?} until {got_until} where {mode:?} until {until} was asked for"))
        }
        (Some(_), None) => Err("the store does not say that it is locked".to_owned()),
        _ if asked.legal_hold && !got.legal_hold => Err("the store does not say that a legal hold is on it".to_owned()),
        _ => Ok(()),
    }
}
