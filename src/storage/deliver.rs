use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Checksums, Error, Lock};
use crate::value::{Cancel, Digest, ObjectKey};

/// Deliveries of large objects. Each step is in the journal before it is done, so that after a kill another process can tell
/// what became of the object.
///
/// A completion that was on its way when its writer was killed may still make the object appear. So a later attempt asks in
/// this order: [`Deliver::resume`] or [`Deliver::abort`] and [`Deliver::discard_unfinished`] first, then [`Deliver::recover`].
/// After the first step the completion has either won, and the object is found, or cannot happen any more.
pub trait Deliver {
    /// Stores all of `body`, or nothing: the object appears only when the bytes that were written are those that the source
    /// says it gave. An object that is there stays unless the options say otherwise.
    fn upload(
        &self,
        key: &ObjectKey,
        body: &mut dyn Body,
        options: &UploadOptions<'_>,
        journal: &dyn UploadJournal,
        cancel: &Cancel,
    ) -> Result<Delivered, Error>;

    /// The object of this key, if it is the one that was about to appear when its writer ended, proven by what the store says
    /// of it. Finishes what the writer would have done next. `None` where there is no object, where it is another writer's, and
    /// where we may not look. An error where it is ours, but not as it was ordered.
    fn recover(&self, key: &ObjectKey, pending: &PendingObject, cancel: &Cancel) -> Result<Option<Delivered>, Error>;

    /// Whether the object of this key is the one that was about to appear, whatever became of its bytes. `false` where there is no
    /// object, where it is another writer's, and where nobody can tell.
    fn is_own(&self, key: &ObjectKey, pending: &PendingObject, cancel: &Cancel) -> Result<bool, Error>;

    /// Looks up the parts of an open upload. `None` where it cannot be resumed: it is gone, the store is set otherwise by now,
    /// or does not tell. An error where it may be told a little later. By default, uploads have no parts.
    fn resume(&self, _key: &ObjectKey, _upload: &OpenUpload, _cancel: &Cancel) -> Result<Option<ResumedUpload>, Error> {
        Ok(None)
    }

    /// Aborts an open upload and frees its parts. One that is gone is no error.
    fn abort(&self, _key: &ObjectKey, _upload: &OpenUpload) -> Result<(), Error> {
        Ok(())
    }

    /// Removes what dead writers of this key left behind: parts, unfinished files. Where the store cannot tell who is dead, it
    /// removes all that began at `since` or later, so no other may be writing this key. Returns how many there were. An error
    /// costs space, but no data.
    fn discard_unfinished(&self, key: &ObjectKey, since: Timestamp, cancel: &Cancel) -> Result<usize, Error>;
}

/// The bytes of an upload.
pub trait Body: Read {
    /// The digest that the source computed, once the end was read.
    fn digest(&self) -> Option<Digest>;

    /// The length in bytes, where it is known before.
    fn size(&self) -> Option<u64> {
        None
    }
}

/// The durable trail of one upload. Each call is durable when it returns; where one fails, the object does not appear.
pub trait UploadJournal: Send + Sync {
    /// Called before the first byte is sent: from now on parts or an unfinished file may be left behind.
    fn begun(&self) -> Result<(), Error>;

    /// Called before the first part of a resumable upload is sent.
    fn opened(&self, upload: &OpenUpload) -> Result<(), Error>;

    /// Called for each part of an earlier attempt that is not sent again.
    fn reused(&self, bytes: u64);

    /// Called when all bytes are at the store, just before the object appears.
    fn pending(&self, object: &PendingObject) -> Result<(), Error>;
}

/// An object about to appear: what tells it from any other of its key, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PendingObject {
    /// A random token in its metadata, where the store keeps metadata.
    pub token: Option<String>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What the store must say of it from then on, computed here.
    pub checksums: Checksums,
    /// How it is protected from removal.
    pub lock: Option<Lock>,
    /// When its first attempt was ordered: the time of its lock counts from here.
    pub ordered: Timestamp,
}

/// The options of one upload.
pub struct UploadOptions<'a> {
    /// Replace an object that is there.
    pub overwrite: bool,
    /// Protect the object from removal.
    pub lock: Option<Lock>,
    /// When it was ordered.
    pub ordered: Timestamp,
    /// Makes the upload resumable: its parts stay when this attempt fails, and are not sent again by the next one.
    pub resume: Option<Resume>,
    /// A folder for parts that are too large for memory.
    pub scratch: &'a Path,
}

/// Makes an upload resumable. A store that sends no parts ignores it and starts over.
#[derive(Clone, Debug)]
pub struct Resume {
    /// What will be stored.
    pub digest: Digest,
    /// The upload of an earlier attempt.
    pub earlier: Option<ResumedUpload>,
}

/// An unfinished multipart upload: all that another process needs to resume it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OpenUpload {
    /// The upload id that the store gave.
    pub id: String,
    /// The token in the object's metadata.
    pub token: String,
    /// The algorithm of the parts' checksums.
    pub algorithm: String,
    /// Whether the checksum is the only proof of a part's bytes: the store's `ETag` says nothing about them.
    pub opaque: bool,
    /// The size of its first parts, from which they grow.
    pub part_size: u64,
    /// The settings of the store that were fixed when it began.
    pub settings: Json,
    /// The digest of the whole object.
    pub digest: Digest,
    /// How the object will be protected from removal.
    pub lock: Option<Lock>,
    /// When it was ordered.
    pub ordered: Timestamp,
}

/// An open upload with the parts that its store says it has, by number.
#[derive(Clone, Debug)]
pub struct ResumedUpload {
    /// The upload.
    pub upload: OpenUpload,
    /// Its parts. None of them counts before it was compared with the bytes that are read now.
    pub parts: BTreeMap<i32, SentPart>,
}

/// What a store says of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentPart {
    /// Its length in bytes.
    pub size: u64,
    /// Its `ETag`.
    pub etag: Option<String>,
    /// Its checksum, where the store keeps it.
    pub checksum: Option<String>,
}

/// The result of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The digest of what was written.
    pub digest: Digest,
    /// What the store must say of it from now on, computed here.
    pub checksums: Checksums,
    /// The version, where the store keeps versions.
    pub version: Option<String>,
    /// How it is protected, as read back.
    pub lock: Option<Lock>,
}
