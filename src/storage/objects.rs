use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Deliver, Error};
use crate::value::{Cancel, ObjectKey, Unfit};

/// The most entries that one page of a list holds.
pub const PAGE: usize = 1_000;
/// The longest range that [`Objects::read`] gives, since its bytes are in memory.
pub const LARGEST_READ: u64 = 64 << 20;

/// A store: small calls on objects, and deliveries that survive a kill.
pub trait Store: Objects + Deliver {}

impl<T: Objects + Deliver> Store for T {}

/// Small, stateless calls on objects. Every call blocks, ends within a time limit of its store, and returns
/// [`Error::Cancelled`] within 200 ms of `cancel`. A write or removal that was cancelled may still have been done.
pub trait Objects: fmt::Debug + Send + Sync {
    /// Names the object for people and tools.
    fn uri(&self, key: &ObjectKey) -> String;

    /// The folder on this machine that holds the objects, if one does.
    fn local_folder(&self) -> Option<&Path> {
        None
    }

    /// Whether stores of this kind know object locks.
    fn has_locks(&self) -> bool {
        true
    }

    /// Checks what the schema cannot, from the settings alone. No reason holds a secret.
    fn check(&self) -> Vec<Unfit<String>> {
        Vec::new()
    }

    /// What the store says of an object without reading it; `None` where there is no such object.
    fn stat(&self, object: &ObjectId, cancel: &Cancel) -> Result<Option<Stat>, Error>;

    /// The bytes of a range, of at most [`LARGEST_READ`]. Fewer come back only where the object ends within the range; none
    /// where it ends before it.
    fn read(&self, object: &ObjectId, range: Range<u64>, cancel: &Cancel) -> Result<Bytes, Error>;

    /// A reader of the whole object, not from a cache where that can be helped. Where the store keeps a checksum of the whole,
    /// the reader fails at the end ([`std::io::ErrorKind::InvalidData`]) if the bytes have another.
    fn open(&self, object: &ObjectId, cancel: &Cancel) -> Result<Box<dyn Read + Send>, Error>;

    /// Writes a small object whole, if the precondition holds, and returns the version that it became.
    ///
    /// [`Error::Exists`] and [`Error::Changed`] say that it did not hold and that nothing was written.
    /// [`Error::NoPrecondition`] says that the store does not keep such a promise.
    fn write(&self, key: &ObjectKey, bytes: &[u8], when: &Precondition, cancel: &Cancel) -> Result<ObjectId, Error>;

    /// Objects whose keys begin with `prefix`, in the order of the store, which is the order of their bytes in a directory and
    /// in S3's general-purpose buckets. At most [`PAGE`]; `after` is the cursor of the page before. What changes meanwhile may
    /// be listed or not; every other object is listed once.
    fn list(&self, prefix: &str, after: Option<&Cursor>, cancel: &Cancel) -> Result<Page, Error>;

    /// Removes an object. A version that is named is gone for good; without one, a store that keeps versions hides the object
    /// and keeps them. A locked object is neither removed nor hidden.
    fn remove(&self, object: &ObjectId, cancel: &Cancel) -> Result<Removed, Error>;

    /// Tries what can be done here, and leaves nothing behind.
    fn probe(&self) -> Vec<Check>;
}

/// An object, or one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectId {
    /// Its key.
    pub key: ObjectKey,
    /// The version; the latest without one. Stores without versions ignore it.
    pub version: Option<String>,
}

impl ObjectId {
    /// The latest version.
    pub fn latest(key: ObjectKey) -> Self {
        Self { key, version: None }
    }
}

/// Identifies the content of an object, as its store spells it: another content has another one. Opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(pub(super) String);

/// What must hold for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// There is no object of this key.
    Absent,
    /// The object is the one that [`Objects::stat`] gave this `ETag` of.
    Unchanged(ETag),
}

/// What became of an object that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was removed.
    Removed,
    /// There was none.
    WasGone,
    /// It is locked, until then or until somebody lifts a legal hold, and is still there.
    Locked(Option<Timestamp>),
}

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub entries: Vec<Entry>,
    /// How many names were left out: those that are no [`ObjectKey`], so that no call could take them, and links, devices and
    /// other things in a directory that are no objects. Names that `tl` keeps for itself (`.tl-…`) are not counted.
    pub skipped: u64,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// One object of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key, as the other calls take it.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
}

/// Where a page of a list ends. Opaque; good for the same store and prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(super) String);

/// Values computed from an object's bytes, by the name of the algorithm: `sha256` (hexadecimal), `crc64nvme`, `crc32c`
/// (base64), `md5` (hexadecimal), and for objects that S3 got in parts `sha256-parts` and `md5-parts`.
pub type Checksums = BTreeMap<String, String>;

/// What a store says of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its length in bytes.
    pub size: u64,
    /// Its checksums, as far as the store keeps any.
    pub checksums: Checksums,
    /// The version, where the store keeps versions.
    pub version: Option<String>,
    /// How it is protected from removal.
    pub lock: Option<Lock>,
    /// For [`Precondition::Unchanged`]; `None` where the store gives none.
    pub etag: Option<ETag>,
}

/// How an object is protected from removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Lock {
    /// Until when, and who may still remove it.
    pub retention: Option<(LockMode, Timestamp)>,
    /// Until somebody lifts it.
    pub legal_hold: bool,
}

/// Whether a locked object can be removed before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Whoever has a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

/// One ability of a store that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was tried, in a few words.
    pub what: &'static str,
    /// The result.
    pub result: CheckResult,
    /// In words.
    pub detail: String,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// It works.
    Yes,
    /// It does not, and need not.
    No,
    /// It must work, and does not.
    Failed,
    /// It could not be found out.
    Unknown,
}
