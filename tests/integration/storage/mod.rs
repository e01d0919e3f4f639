//! Archives, deliveries and their verification, in directories and in S3.

mod archive;
mod deliveries;
#[cfg(feature = "peers")]
mod peers;
pub mod s3;
mod verify;
