use std::sync::Arc;

use super::S3;
use super::connection::{Connection, runtime};
use super::fault::{Class, Fault};
use super::stat::{TOKEN, bare, is_of, stat};
use crate::storage::{Coming, Error, Lock, Stat, Stopped, Store as _, Stored};
use crate::value::ObjectKey;

/// Where an object is, and how it is reached.
pub(super) struct Place {
    pub(super) connection: Arc<Connection>,
    /// In the bucket.
    pub(super) key: String,
    pub(super) uri: String,
    pub(super) stopped: Stopped,
}

/// An object that the server says it took.
pub(super) struct Taken {
    pub(super) etag: Option<String>,
    pub(super) version: Option<String>,
    /// An answer has shown that the server has the bytes that were sent.
    pub(super) proven: bool,
}

impl S3 {
    pub(super) fn place_of(&self, key: &ObjectKey, stopped: &Stopped) -> Result<Place, Error> {
        let stopped = Arc::clone(stopped);
        Ok(Place { connection: self.connect()?, key: self.full_key(key), uri: self.uri(key), stopped })
    }

    /// The object that was about to appear when its writer ended, confirmed as that writer would have done.
    pub(super) fn find_coming(
        &self,
        key: &ObjectKey,
        coming: &Coming,
        stopped: &Stopped,
    ) -> Result<Option<Stored>, Error> {
        let Some(token) = &coming.token else { return Ok(None) };
        let place = self.place_of(key, stopped)?;
        runtime(&place.uri)?.block_on(async {
            let found = self.find_own(&place, token).await;
            match found.map_err(|fault| fault.into_error("a look at the properties", &place.uri))? {
                None => Ok(None),
                Some(found) => {
                    let accepted = Taken { etag: None, version: found.version, proven: false };
                    self.confirm(&place, coming, accepted).await.map(Some)
                }
            }
        })
    }

    /// The object, if it is the one with this token: an answer may be lost after the work was done.
    pub(super) async fn find_own(&self, place: &Place, token: &str) -> Result<Option<Stat>, Fault> {
        match self.head(&place.connection, &place.key, None, &place.stopped).await {
            Ok(head) => Ok(head.filter(|head| is_of(head, token)).as_ref().map(stat)),
            // Who may not look cannot know.
            Err(fault) if fault.class == Class::Denied => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Looks at what the store has: only then is it delivered.
    pub(super) async fn confirm(&self, place: &Place, coming: &Coming, accepted: Taken) -> Result<Stored, Error> {
        let Coming { token, digest, checksums, lock, .. } = coming;
        let uri = &place.uri;
        let head = self.head(&place.connection, &place.key, accepted.version.as_deref(), &place.stopped).await;
        let unproven = |why: String| Error::Unproven { uri: uri.clone(), why };
        let stored = |version, lock| Stored { digest: *digest, checksums: checksums.clone(), version, lock };
        let head = match head {
            Ok(Some(head)) => head,
            Ok(None) => return Err(unproven("the store says that it is not there".to_owned())),
            Err(fault) if fault.class == Class::Denied && accepted.proven && lock.is_none() => {
                // Credentials that can only write are a good idea.
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
            let removed = self.discard(place, found.version).await;
            let kept = if removed { "it was removed" } else { "it could not be removed" };
            let said = format!("the store has {differs}; {kept}");
            return Err(Fault::new(Class::Damaged, said).into_error("the upload", uri));
        }
        confirm_lock(*lock, found.lock).map_err(unproven)?;
        Ok(stored(found.version.or(accepted.version), found.lock))
    }

    /// Removes what is not as it was sent. Returns whether it is gone.
    pub(super) async fn discard(&self, place: &Place, version: Option<String>) -> bool {
        let send = |client: aws_sdk_s3::Client| {
            client.delete_object().bucket(&self.bucket).key(&place.key).set_version_id(version.clone()).send()
        };
        place.connection.call(0, &place.stopped, send).await.is_ok()
    }
}

/// Whether an object is locked as was asked for, or longer.
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
