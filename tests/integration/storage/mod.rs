//! Archives, deliveries and their verification, in directories and in S3.

mod archive;
mod deliveries;
pub mod objects;
#[cfg(feature = "peers")]
mod peers;
pub mod s3;
mod sources;
mod verify;
