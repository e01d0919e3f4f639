use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration as Std;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use crate::value::{Duration, FilePath, Secret, Size};

/// A bucket of Amazon S3, or of a server that speaks its protocol. Credentials come from the file, else from `profile`,
/// else from the environment (`AWS_ACCESS_KEY_ID` and its like), else from where the AWS tools look for them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct S3 {
    /// The bucket. It must exist.
    #[schemars(length(min = 1))]
    pub(super) bucket: String,
    /// Goes before each key, with a `/` between.
    #[serde(default)]
    pub(super) prefix: String,
    /// The region; else that of the environment or profile, else `us-east-1`. That of the bucket is found out.
    pub(super) region: Option<String>,
    /// The server, such as `https://s3.example.org`; Amazon's without one.
    #[schemars(regex(pattern = r"^https?://"))]
    pub(super) endpoint: Option<String>,
    /// Put the bucket into the path, not into the host name. Most servers but Amazon's want it.
    #[serde(default)]
    pub(super) path_style: bool,
    /// The id of the access key.
    pub(super) access_key_id: Option<Secret>,
    /// The secret of the access key.
    pub(super) secret_access_key: Option<Secret>,
    /// The token of temporary credentials.
    pub(super) session_token: Option<Secret>,
    /// A profile of the AWS configuration files, for credentials and region.
    pub(super) profile: Option<String>,
    /// The storage class, such as `STANDARD_IA`.
    #[schemars(length(min = 1))]
    pub(super) storage_class: Option<String>,
    /// Encryption by the server, beside your own.
    pub(super) sse: Option<Sse>,
    /// The key for `sse: kms`; the account's own without one.
    pub(super) kms_key_id: Option<String>,
    /// Tags of each object.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    /// A PEM file with the certificates to trust, and no others.
    pub(super) ca_certificate: Option<FilePath>,
    /// Which checksum goes with the bytes.
    #[serde(default)]
    pub(super) checksum: Choice,
    /// The endpoint may have a private or loopback address, and be plain `http://`.
    #[serde(default)]
    pub(super) allow_private: bool,
    /// The size of the parts of a large object. Three of 8 MiB are in memory at once; parts above 16 MiB wait in a file.
    #[serde(default = "part_size")]
    pub(super) part_size: Size,
    /// After this a request without an answer is given up; what it carries gets more time, by `minimum-speed`.
    #[serde(default = "request_timeout")]
    pub(super) request_timeout: Duration,
    /// The slowest transfer, in bytes a second, that is worth waiting for.
    #[serde(default = "minimum_speed")]
    pub(super) minimum_speed: Size,
    /// How long a request is tried again before the stage fails.
    #[serde(default = "retry_for")]
    pub(super) retry_for: Duration,
    #[serde(skip)]
    #[schemars(skip)]
    pub(super) connection: OnceLock<Arc<Connection>>,
}

/// Encryption by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Sse {
    /// With keys of S3.
    S3,
    /// With a key of the key management service.
    Kms,
}

/// Which checksum goes with the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Choice {
    /// CRC64NVME, and MD5 where the server refuses that.
    #[default]
    Auto,
    /// CRC-64/NVME of the whole object.
    Crc64nvme,
    /// CRC-32C of the whole object.
    Crc32c,
    /// SHA-256 of each part.
    Sha256,
    /// Content-MD5 of each part, which every server knows.
    Md5,
}

const MIB: u64 = 1 << 20;
/// The limits of S3: no part is larger, and only the last one of an object may be smaller.
pub(super) const LARGEST_PART: u64 = 5 << 30;
pub(super) const SMALLEST_PART: u64 = 5 * MIB;

fn part_size() -> Size {
    Size::new(8 * MIB)
}

fn minimum_speed() -> Size {
    Size::new(256 << 10)
}

fn request_timeout() -> Duration {
    Duration::new(Std::from_secs(30))
}

fn retry_for() -> Duration {
    Duration::new(Std::from_mins(2))
}
