//! Uploads without a run: a journal that can fail or end the writer at a chosen step.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use timelocker::storage::{
    Body, Delivered, Error, KINDS, OpenUpload, PendingObject, Store, UploadJournal, UploadOptions,
};
use timelocker::value::{Cancel, Digest, Kind, ObjectKey};

use super::s3::KEYS;

pub fn s3(bucket: &str, endpoint: &str) -> Arc<dyn Store> {
    let settings = json!({
        "bucket": bucket, "prefix": "some/where", "endpoint": endpoint, "path-style": true, "allow-private": true, "region":
        "us-east-1", "part-size": "5MiB", "request-timeout": "20s", "retry-for": "2s", "access-key-id": KEYS.0,
        "secret-access-key": KEYS.1,
    });
    (Kind::find(KINDS, "s3").unwrap().build)(settings.into()).unwrap().into()
}

/// A journal in memory, which can refuse a step or let a test look at each.
#[derive(Default)]
pub struct StepJournal<'a> {
    /// The steps, in their order.
    pub steps: Mutex<Vec<&'static str>>,
    /// The object that was announced last.
    pub pending: Mutex<Option<PendingObject>>,
    /// The step that cannot be put on record.
    pub refused: Option<&'static str>,
    /// Called at each step, before the store does what it announced.
    pub look: Option<&'a (dyn Fn(&str) + Sync)>,
}

impl StepJournal<'_> {
    fn step(&self, step: &'static str) -> Result<(), Error> {
        self.steps.lock().unwrap().push(step);
        if let Some(look) = self.look {
            look(step);
        }
        let source = "the disk is full".into();
        if self.refused == Some(step) { Err(Error::Unrecorded { uri: "object".to_owned(), source }) } else { Ok(()) }
    }
}

impl UploadJournal for StepJournal<'_> {
    fn begun(&self) -> Result<(), Error> {
        self.step("begun")
    }

    fn opened(&self, _upload: &OpenUpload) -> Result<(), Error> {
        self.step("opened")
    }

    fn reused(&self, _bytes: u64) {}

    fn pending(&self, object: &PendingObject) -> Result<(), Error> {
        *self.pending.lock().unwrap() = Some(object.clone());
        self.step("coming")
    }
}

/// Bytes in memory, of a known digest.
pub struct Bytes<'a>(&'a [u8], Digest);

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes, digest(bytes))
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Body for Bytes<'_> {
    fn digest(&self) -> Option<Digest> {
        Some(self.1)
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest { sha256: Sha256::digest(bytes).into(), size: bytes.len() as u64 }
}

pub fn never() -> Cancel {
    Cancel::default()
}

pub fn key() -> ObjectKey {
    "object".parse().unwrap()
}

pub fn options(overwrite: bool) -> UploadOptions<'static> {
    UploadOptions { overwrite, lock: None, ordered: Timestamp::now(), resume: None, scratch: Path::new("/nowhere") }
}

pub fn put(store: &dyn Store, bytes: &[u8], journal: &dyn UploadJournal) -> Result<Delivered, Error> {
    store.upload(&key(), &mut Bytes::new(bytes), &options(true), journal, &never())
}

/// Ends the writer at this step, without any tidying; the object that it announced.
pub fn killed_at(store: &dyn Store, bytes: &[u8], step: &'static str) -> Option<PendingObject> {
    let die = |at: &str| assert_ne!(at, step, "killed");
    let journal = StepJournal { look: Some(&die), ..StepJournal::default() };
    let died = catch_unwind(AssertUnwindSafe(|| put(store, bytes, &journal)));
    assert!(died.is_err(), "it was not killed");
    journal.pending.into_inner().unwrap_or_else(PoisonError::into_inner)
}
