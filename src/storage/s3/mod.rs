//! The store kind `s3`: Amazon S3, and what speaks its protocol.
//!
//! In: calls of the traits, on threads that may block. Out: signed requests, and objects whose bytes an answer has proven. The
//! SDK makes and signs requests; everything else is decided here.
//!
//! - The SDK's retries, timeouts, stalled-stream guard and default checksums are off. Its retry budget is one for the process
//!   and ends all retrying in a storm. Its default file body is stored with its framing by some servers. It has no limit for an
//!   answer that never comes. `retry` and `fault` decide by class of fault instead.
//! - Bodies are in memory with the checksum in a signed header, never chunked with a trailer. They are sent without a signature
//!   over their bytes: the signed checksum binds them.
//! - A success is believed only with proof: a HEAD after an upload, the echoed checksum or `ETag` after a small write.
//! - A random token in the metadata tells our object from another one of its key, since an answer may be lost after the work was
//!   done.
//! - `checksum: auto` falls back to MD5 when a server refuses CRC64NVME. Where S3 reports a checksum, `verify` compares it with
//!   what was computed at the source, by whichever algorithm both know.
//! - Parts of unknown length double every 850 parts from 8 MiB, so 10,000 parts hold 10 TB. Parts above 16 MiB wait in a file of
//!   the work folder, so memory stays the same.
//! - A precondition of a small write is trusted once this server has refused one that could not hold. That proves that the
//!   server looks at it, not that it is free of races: Swift and s3s let several of eight racing writers win.
//! - There is no `insecure`, since a switch that turns checks off stays on. A server that signs its own certificate is trusted
//!   by `ca-certificate`, which names it.
//! - `doctor` tries a store, and `validate` and `plan` never do: trying it writes.

mod abort;
mod checksum;
mod connection;
mod fault;
mod get;
mod list;
mod multipart;
mod objects;
mod part;
mod probe;
mod put;
mod read;
mod recover;
mod remove;
mod resume;
mod retry;
mod settings;
mod stat;
mod write;

pub use settings::S3;
