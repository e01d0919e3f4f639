//! Stores: places that hold objects.
//!
//! In: a key and bytes. Out: an object that is there whole or not at all, and what its store says of it. [`Objects`] are
//! small calls that keep no state between them; [`Deliver`] sends large objects so that a killed writer can be followed up.
//! A kind of store is one folder and one entry in [`KINDS`]. Nothing here knows of stages, pipelines or sealing.

mod deliver;
mod dir;
mod error;
mod objects;
mod registry;
mod s3;

pub use deliver::{
    Body, Deliver, Delivered, OpenUpload, PendingObject, Resume, ResumedUpload, SentPart, UploadJournal, UploadOptions,
};
pub use dir::Dir;
pub use error::{BoxedError, Error};
pub use objects::{
    Check, CheckResult, Checksums, Cursor, ETag, Entry, LARGEST_READ, Lock, LockMode, ObjectId, Objects, PAGE, Page,
    Precondition, Removed, Stat, Store,
};
pub use registry::KINDS;
pub use s3::S3;
