use std::fmt;
use std::io::Read;
use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Dir, Error};
use crate::value::{Digest, Kind, ObjectKey, schema_of};

/// Every kind of store.
pub static KINDS: &[Kind<dyn Store>] = &[kind::<Dir>("dir")];

const fn kind<K: Store + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Store> {
    Kind { name, schema: schema_of::<K>, build: |settings| Ok(Box::new(serde_json::from_value::<K>(settings)?)) }
}

/// Bytes on their way into a store.
pub trait Body: Read {
    /// What their source says they were, once the end was read.
    fn digest(&self) -> Option<Digest>;
}

/// What a store says of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 that the store keeps for it.
    pub sha256: Option<[u8; 32]>,
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
    /// source says it gave. Returns what was written. An object that is already there stays unless `overwrite`.
    fn put(&self, key: &ObjectKey, body: &mut dyn Body, overwrite: bool) -> Result<Digest, Error>;

    /// What the store says of an object.
    fn stat(&self, key: &ObjectKey) -> Result<Option<Stat>, Error>;

    /// The bytes of an object, as they are stored now: not from a cache where that can be helped.
    fn get(&self, key: &ObjectKey) -> Result<Box<dyn Read + Send>, Error>;
}
