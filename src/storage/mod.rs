//! Stores: places that hold objects.
//!
//! Bytes flow in under a key and out again; an object is there whole or not at all. Each kind is one file and one line
//! in [`KINDS`]. Nothing here knows of stages, pipelines or sealing.

mod deliver;
mod dir;
mod error;
mod s3;

pub use deliver::{
    Body, Checksums, Coming, KINDS, Lock, LockMode, OpenUpload, Order, Reopened, Resume, SentPart, Stat, Stopped,
    Store, Stored, Trial, TrialResult, Witness,
};
pub use dir::Dir;
pub use error::{BoxedError, Error};
pub use s3::S3;
