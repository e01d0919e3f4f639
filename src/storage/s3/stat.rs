use std::sync::Arc;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::S3;
use super::connection::Connection;
use super::fault::{Class, Fault};
use super::recover::Target;
use crate::storage::{Checksums, ETag, Lock, LockMode, Stat};
use crate::value::{Cancel, hex};

/// The metadata key of the write token.
pub(super) const TOKEN: &str = "tl-token";

impl S3 {
    /// What the server reports about an object.
    pub(super) async fn head(
        &self,
        connection: &Arc<Connection>,
        key: &str,
        version: Option<&str>,
        cancel: &Cancel,
    ) -> Result<Option<HeadObjectOutput>, Fault> {
        let send = |client: aws_sdk_s3::Client| {
            let request = client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
            request.set_version_id(version.map(str::to_owned)).send()
        };
        match connection.call(0, cancel, send).await {
            Ok(head) => Ok(Some(head)),
            Err(fault) if fault.class == Class::NoObject => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The properties of an object. Distinguishes a missing object (`None`) from a missing bucket (a fault).
    pub(super) async fn find(&self, target: &Target, version: Option<&str>) -> Result<Option<HeadObjectOutput>, Fault> {
        let Target { connection, key, cancel, .. } = target;
        match self.head(connection, key, version, cancel).await? {
            None => self.head_bucket(connection, cancel).await.map(|()| None).or_else(|fault| match fault.class {
                // Credentials without access to the bucket may still read its objects.
                Class::Denied => Ok(None),
                _ => Err(fault),
            }),
            found => Ok(found),
        }
    }

    /// Fails if the bucket does not exist. HEAD of an object answers the same for a missing object and a missing
    /// bucket.
    pub(super) async fn head_bucket(&self, connection: &Arc<Connection>, cancel: &Cancel) -> Result<(), Fault> {
        let sent = connection.call(0, cancel, |client| client.head_bucket().bucket(&self.bucket).send()).await;
        sent.map(drop).map_err(|fault| match fault.class {
            Class::NoObject => Fault::new(Class::NoBucket, "there is no such bucket"),
            _ => fault,
        })
    }
}

/// Whether an object carries this token.
pub(super) fn is_of(head: &HeadObjectOutput, token: &str) -> bool {
    head.metadata().and_then(|metadata| metadata.get(TOKEN)).is_some_and(|own| own == token)
}

/// Whether an `ETag` says nothing about the bytes.
pub(super) fn is_opaque(sse: Option<&ServerSideEncryption>) -> bool {
    !matches!(sse, None | Some(ServerSideEncryption::Aes256))
}

/// The `ETag` without its quotes.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// What an `ETag` says about the bytes: an MD5, or one of the MD5s of parts.
pub(super) fn md5_of(etag: &str) -> Option<(&'static str, String)> {
    let etag = bare(etag);
    let (hash, parts) = etag.split_once('-').map_or((etag, None), |(hash, parts)| (hash, Some(parts)));
    let is_hash = hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    match parts {
        None if is_hash => Some(("md5", hash.to_ascii_lowercase())),
        Some(parts) if is_hash && parts.parse::<u16>().is_ok() => Some(("md5-parts", etag.to_ascii_lowercase())),
        _ => None,
    }
}

/// The version, if the bucket keeps versions.
pub(super) fn version(id: Option<&str>) -> Option<String> {
    id.filter(|id| *id != "null" && !id.is_empty()).map(str::to_owned)
}

pub(super) fn stat(head: &HeadObjectOutput) -> Stat {
    Stat {
        size: head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        checksums: checksums(head),
        version: version(head.version_id()),
        lock: lock(head),
        etag: head.e_tag().filter(|etag| !etag.is_empty()).map(|etag| ETag(etag.to_owned())),
    }
}

fn checksums(head: &HeadObjectOutput) -> Checksums {
    let mut kept = Checksums::new();
    let mut keep = |name: &str, value: Option<&str>| {
        let Some(value) = value else { return };
        let composite = head.checksum_type() == Some(&ChecksumType::Composite) || value.contains('-');
        match (name, composite) {
            ("sha256", false) => {
                if let Ok(bytes) = STANDARD.decode(value) {
                    kept.insert(name.to_owned(), hex(&bytes));
                }
            }
            ("sha256", true) => drop(kept.insert("sha256-parts".to_owned(), value.to_owned())),
            (_, false) => drop(kept.insert(name.to_owned(), value.to_owned())),
            // A checksum of checksums, which `tl` never asks for.
            (_, true) => {}
        }
    };
    keep("crc64nvme", head.checksum_crc64_nvme());
    keep("crc32c", head.checksum_crc32_c());
    keep("sha256", head.checksum_sha256());
    if let Some((name, value)) = head.e_tag().filter(|_| !is_opaque(head.server_side_encryption())).and_then(md5_of) {
        kept.insert(name.to_owned(), value);
    }
    kept
}

fn lock(head: &HeadObjectOutput) -> Option<Lock> {
    let mode = match head.object_lock_mode() {
        Some(ObjectLockMode::Governance) => Some(LockMode::Governance),
        Some(ObjectLockMode::Compliance) => Some(LockMode::Compliance),
        _ => None,
    };
    let until = head.object_lock_retain_until_date().and_then(|until| Timestamp::from_second(until.secs()).ok());
    let legal_hold = head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On);
    let lock = Lock { retention: mode.zip(until), legal_hold };
    (lock.retention.is_some() || legal_hold).then_some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_read_for_what_it_says() {
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        assert_eq!(md5_of(&format!("\"{md5}\"")), Some(("md5", md5.to_owned())));
        assert_eq!(md5_of(&format!("{md5}-12")), Some(("md5-parts", format!("{md5}-12"))));
        for other in ["", "\"\"", "abc", "900150983cd24fb0d6963f7d28e17f7z", "900150983cd24fb0d6963f7d28e17f72-x"] {
            assert_eq!(md5_of(other), None, "{other}");
        }
    }

    #[test]
    fn checksums_of_parts_are_not_taken_for_those_of_the_whole() {
        let head = HeadObjectOutput::builder()
            .checksum_sha256("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=-2")
            .checksum_crc32_c("AAAAAA==-2")
            .checksum_type(ChecksumType::Composite)
            .e_tag("\"900150983cd24fb0d6963f7d28e17f72-2\"")
            .build();
        let names: Vec<String> = checksums(&head).into_keys().collect();
        assert_eq!(names, ["md5-parts", "sha256-parts"]);
        let head = HeadObjectOutput::builder()
            .checksum_crc64_nvme("rosUhgp5mIg=")
            .checksum_type(ChecksumType::FullObject)
            .e_tag("\"900150983cd24fb0d6963f7d28e17f72\"")
            .server_side_encryption(ServerSideEncryption::AwsKms)
            .build();
        assert_eq!(checksums(&head), Checksums::from([("crc64nvme".to_owned(), "rosUhgp5mIg=".to_owned())]));
    }
}
