//! The store kind `s3`: Amazon S3 and compatible servers.
//!
//! Trait calls flow in, on threads that may block. Signed requests flow out, and objects whose bytes an answer has
//! proven. The SDK builds and signs requests; everything else is decided here.
//!
//! - The SDK's retries, timeouts, stalled-stream guard and default checksums are off. Its retry budget is shared by the
//!   whole process, so a storm of errors ends all retries. Some servers store its default file body together with the
//!   chunk framing. It has no limit for an answer that never comes. Instead, `retry` and `fault` decide by class of
//!   fault.
//! - Bodies are in memory with the checksum in a signed header, never chunked with a trailer. The signature does not
//!   cover the body itself: the signed checksum does.
//! - A success needs proof: a HEAD after an upload, the echoed checksum or `ETag` after a small write.
//! - A random token in the metadata tells our object from another one with the same key. Without it we could not tell
//!   whose object we find after a lost answer.
//! - `checksum: auto` falls back to MD5 when a server refuses CRC64NVME. If S3 reports a checksum, `verify` compares it
//!   with the one computed at the source, using an algorithm that both know.
//! - Parts of unknown length start at 8 MiB and double every 850 parts, so 10,000 parts hold 10 TB. Parts above 16 MiB
//!   go to a file in the work folder, so memory use stays constant.
//! - A precondition of a small write counts only once this server has refused one that could not hold. That proves that
//!   the server checks preconditions, not that it is free of races: Swift and s3s let several of eight racing writers
//!   win.
//! - There is no `insecure` setting. `ca-certificate` names a self-signed certificate to trust.
//! - Only `doctor` probes a store. `validate` and `plan` never do, because a probe writes.

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
