use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Dir, Error, S3};
use crate::value::{Digest, Kind, ObjectKey, kept_schema_of};

/// Every kind of store.
pub static KINDS: &[Kind<dyn Store>] = &[kind::<Dir>("dir"), kind::<S3>("s3")];

const fn kind<K: Store + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Store> {
    Kind {
        name,
        schema: kept_schema_of::<K>,
        build: |settings| {
            let store = serde_json::from_value::<K>(settings)?;
            store.check().map_err(serde_json::Error::custom)?;
            Ok(Box::new(store))
        },
    }
}

/// Bytes on their way into a store.
pub trait Body: Read {
    /// What their source says they were, once the end was read.
    fn digest(&self) -> Option<Digest>;

    /// How many they will be, where that is known before.
    fn size(&self) -> Option<u64> {
        None
    }
}

/// Says whether whoever called has lost interest: calls that wait ask now and then.
pub type Stopped = Arc<dyn Fn() -> bool + Send + Sync>;

/// Values that are computed from an object's bytes, by the name of how: `sha256` (hexadecimal), `crc64nvme`, `crc32c`
/// (base64), `md5` (hexadecimal), and the last two words of S3 for objects in parts, `sha256-parts` and `md5-parts`.
pub type Checksums = BTreeMap<String, String>;

/// Puts on record what becomes of an object while it is stored, so that a later process can tell. Each call is durable
/// when it returns; where it fails, the object does not appear.
pub trait Witness: Send + Sync {
    /// From now on something of the object may be left behind: parts, or a file that is not whole.
    fn begun(&self) -> Result<(), Error>;

    /// This upload is open, and no part of it is sent yet. Of orders alone that may go on.
    fn opened(&self, upload: &OpenUpload) -> Result<(), Error>;

    /// The store has a part of so many bytes from an earlier attempt, and it is what would be sent now.
    fn kept(&self, bytes: u64);

    /// All bytes are where the object will be, and it is about to appear.
    fn coming(&self, coming: &Coming) -> Result<(), Error>;
}

/// What tells an object that was about to appear from any other of its key, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Coming {
    /// What is written into its properties, where the store keeps any.
    pub token: Option<String>,
    /// What is written.
    pub digest: Digest,
    /// What the store must say of it from then on, computed here.
    pub checksums: Checksums,
    /// How it is protected from removal.
    pub lock: Option<Lock>,
    /// When it was ordered.
    pub ordered: Timestamp,
}

/// How an object is to be stored.
pub struct Order<'a> {
    /// Replace an object that is there.
    pub overwrite: bool,
    /// Protect it from removal.
    pub lock: Option<Lock>,
    /// When it was ordered.
    pub ordered: Timestamp,
    /// For an order that may be given again: what was sent then stays when this attempt fails, and is not sent again.
    pub resume: Option<Resume>,
    /// A folder for what is too large for memory.
    pub scratch: &'a Path,
    /// Whether to stop.
    pub stopped: Stopped,
    /// Is told what becomes of it.
    pub witness: &'a dyn Witness,
}

/// An order that goes on where an earlier attempt stopped, and that a later one can go on with. A store that sends nothing
/// in parts knows no such thing, and starts over.
#[derive(Clone, Debug)]
pub struct Resume {
    /// What will be stored.
    pub digest: Digest,
    /// What an earlier attempt left.
    pub left: Option<Reopened>,
}

/// An upload in parts that is open at a store: all that it takes to go on with it in another process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OpenUpload {
    /// What the store calls it.
    pub id: String,
    /// What will be in the properties of the object.
    pub token: String,
    /// Which checksum goes with each part.
    pub algorithm: String,
    /// Whether nothing but that checksum says what a part holds.
    pub opaque: bool,
    /// The size of its parts, from which they grow.
    pub part_size: u64,
    /// What the store was set to, as far as its begin has fixed that.
    pub settings: Json,
    /// What it will hold.
    pub digest: Digest,
    /// How the object will be protected from removal.
    pub lock: Option<Lock>,
    /// When it was ordered.
    pub ordered: Timestamp,
}

/// An upload that is still open, and the parts that its store says it has, by their numbers.
#[derive(Clone, Debug)]
pub struct Reopened {
    /// Which.
    pub upload: OpenUpload,
    /// None of them counts before it was compared.
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

/// How an object is protected from removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Lock {
    /// Until when, and who may still remove it.
    pub retention: Option<(LockMode, Timestamp)>,
    /// Until somebody lifts it.
    pub legal_hold: bool,
}

/// Who may remove a locked object before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Whoever has a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What was written.
    pub digest: Digest,
    /// What the store must say of it from now on, computed here.
    pub checksums: Checksums,
    /// The version, where the store keeps versions.
    pub version: Option<String>,
    /// How it is protected, as read back.
    pub lock: Option<Lock>,
}

/// What a store says of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its length in bytes.
    pub size: u64,
    /// What the store keeps for it.
    pub checksums: Checksums,
    /// The version, where the store keeps versions.
    pub version: Option<String>,
    /// How it is protected.
    pub lock: Option<Lock>,
}

/// One thing that was tried with a store, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// What was tried, in a few words.
    pub what: &'static str,
    /// What came of it.
    pub result: TrialResult,
    /// In words.
    pub detail: String,
}

/// What came of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialResult {
    /// It works.
    Yes,
    /// It does not, and need not.
    No,
    /// It must work, and does not.
    Failed,
    /// It could not be found out.
    Unknown,
}

/// A place that holds objects. Its calls block.
pub trait Store: fmt::Debug + Send + Sync {
    /// A text that names the object for people and tools.
    fn uri(&self, key: &ObjectKey) -> String;

    /// The folder that it is, if it is one on this machine.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Stores all of `body`, or nothing: the object appears only when the bytes that were written are those that the
    /// source says it gave. An object that is already there stays unless the order says otherwise.
    fn put(&self, key: &ObjectKey, body: &mut dyn Body, order: &Order<'_>) -> Result<Stored, Error>;

    /// What the store says of an object, or of one version of it.
    fn stat(&self, key: &ObjectKey, version: Option<&str>, stopped: &Stopped) -> Result<Option<Stat>, Error>;

    /// The bytes of an object, as they are stored now: not from a cache where that can be helped. Where the store keeps
    /// a checksum of the whole, the reader fails at the end ([`std::io::ErrorKind::InvalidData`]) if it is another.
    fn get(&self, key: &ObjectKey, version: Option<&str>, stopped: &Stopped) -> Result<Box<dyn Read + Send>, Error>;

    /// The object of this key, if it is the one that was about to appear when its writer ended, proven by what the store
    /// says of it; what an undisturbed writer would have done after that is done. `None` where there is no object, where
    /// it is another's, and where nobody may look. An error where it is ours, but not as it was ordered.
    fn own(&self, key: &ObjectKey, coming: &Coming, stopped: &Stopped) -> Result<Option<Stored>, Error>;

    /// Takes back what writers of this key that are gone left behind: parts, files that are not whole. Where the store
    /// cannot tell who is gone, that is all that began at `since` or later, so no other may be writing this key. After
    /// it, no object appears that was not asked for anew. Returns how many there were; an error costs space, but no data.
    fn clear(&self, key: &ObjectKey, since: Timestamp, stopped: &Stopped) -> Result<usize, Error>;

    /// Asks for the parts of an upload that an earlier attempt left open. `None` where it cannot go on: it is gone, the store
    /// is set otherwise by now, or does not tell. An error where it may be told a little later.
    fn reopen(&self, _key: &ObjectKey, _upload: &OpenUpload, _stopped: &Stopped) -> Result<Option<Reopened>, Error> {
        Ok(None)
    }

    /// Takes an open upload back, with all its parts. One that is gone is no error.
    fn close(&self, _key: &ObjectKey, _upload: &OpenUpload) -> Result<(), Error> {
        Ok(())
    }

    /// What is wrong with the settings, beyond their schema. The answer holds no secret.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Finds out what can be done here, by trying, and leaves nothing behind.
    fn probe(&self) -> Vec<Trial>;
}
