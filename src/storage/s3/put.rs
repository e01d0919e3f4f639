use std::collections::HashMap;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption, StorageClass};
use jiff::Timestamp;
use url::form_urlencoded;

use super::S3;
use super::checksum::{Algorithm, Sum};
use super::connection::runtime;
use super::fault::{Class, Fault};
use super::multipart::{Open, PartUploads};
use super::part::{Part, Parts, part_size};
use super::recover::{AcceptedUpload, Target};
use super::retry::Backoff;
use super::settings::Sse;
use super::stat::{TOKEN, is_of, is_opaque, md5_of, version};
use crate::storage::{Body, Checksums, Delivered, Error, Lock, LockMode, PendingObject, UploadJournal, UploadOptions};
use crate::value::{Cancel, Digest, ObjectKey};

/// Sets the checksum of a request.
macro_rules! with_checksum {
    ($request:expr, $sum:expr) => {{
        let (request, sum) = ($request, $sum);
        match sum.algorithm {
            Algorithm::Crc64Nvme => request.checksum_crc64_nvme(sum.base64()),
            Algorithm::Crc32c => request.checksum_crc32_c(sum.base64()),
            Algorithm::Sha256 => request.checksum_sha256(sum.base64()),
            Algorithm::Md5 => request.content_md5(sum.base64()),
        }
    }};
}

/// The checksum in an answer.
macro_rules! echoed {
    ($answer:expr, $algorithm:expr) => {
        match $algorithm {
            Algorithm::Crc64Nvme => $answer.checksum_crc64_nvme(),
            Algorithm::Crc32c => $answer.checksum_crc32_c(),
            Algorithm::Sha256 => $answer.checksum_sha256(),
            Algorithm::Md5 => None,
        }
    };
}

/// Sets the key and properties of a new object.
macro_rules! with_properties {
    ($request:expr, $write:expr) => {{
        let (write, properties) = ($write, $write.properties.clone());
        $request
            .bucket(&write.bucket)
            .key(&write.target.key)
            .set_metadata(Some(properties.metadata))
            .set_storage_class(properties.storage_class)
            .set_server_side_encryption(properties.sse)
            .set_ssekms_key_id(properties.kms_key_id)
            .set_tagging(properties.tagging)
            .set_object_lock_mode(properties.lock_mode)
            .set_object_lock_retain_until_date(properties.lock_until)
            .set_object_lock_legal_hold_status(properties.legal_hold)
    }};
}

pub(super) use {echoed, with_checksum, with_properties};

/// One upload.
pub(super) struct Write<'a> {
    pub(super) target: Target,
    pub(super) bucket: String,
    /// A random token in the object's metadata. It distinguishes our object from others with the same key.
    pub(super) token: String,
    pub(super) properties: Properties,
    pub(super) lock: Option<Lock>,
    pub(super) ordered: Timestamp,
    pub(super) options: &'a UploadOptions<'a>,
    pub(super) journal: &'a dyn UploadJournal,
}

/// The properties of a new object.
#[derive(Clone)]
pub(super) struct Properties {
    pub(super) metadata: HashMap<String, String>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) sse: Option<ServerSideEncryption>,
    pub(super) kms_key_id: Option<String>,
    pub(super) tagging: Option<String>,
    pub(super) lock_mode: Option<ObjectLockMode>,
    pub(super) lock_until: Option<DateTime>,
    pub(super) legal_hold: Option<ObjectLockLegalHoldStatus>,
}

impl Write<'_> {
    /// The object about to appear.
    pub(super) fn pending(&self, digest: Digest, mut checksums: Checksums) -> PendingObject {
        checksums.insert("sha256".to_owned(), digest.hex());
        PendingObject { token: Some(self.token.clone()), digest, checksums, lock: self.lock, ordered: self.ordered }
    }
}

impl Properties {
    pub(super) fn new(s3: &S3, token: &str, lock: Option<Lock>) -> Self {
        let retention = lock.and_then(|lock| lock.retention);
        let mut tags = form_urlencoded::Serializer::new(String::new());
        tags.extend_pairs(&s3.tags);
        Self {
            metadata: HashMap::from([(TOKEN.to_owned(), token.to_owned())]),
            storage_class: s3.storage_class.as_deref().map(StorageClass::from),
            sse: s3.sse.map(|sse| match sse {
                Sse::S3 => ServerSideEncryption::Aes256,
                Sse::Kms => ServerSideEncryption::AwsKms,
            }),
            kms_key_id: s3.kms_key_id.clone(),
            tagging: Some(tags.finish()).filter(|text| !text.is_empty()),
            lock_mode: retention.map(|(mode, _)| match mode {
                LockMode::Governance => ObjectLockMode::Governance,
                LockMode::Compliance => ObjectLockMode::Compliance,
            }),
            lock_until: retention.map(|(_, until)| DateTime::from_secs(until.as_second())),
            legal_hold: lock.filter(|lock| lock.legal_hold).map(|_| ObjectLockLegalHoldStatus::On),
        }
    }
}

impl S3 {
    pub(super) fn upload_object(
        &self,
        key: &ObjectKey,
        body: &mut dyn Body,
        options: &UploadOptions<'_>,
        journal: &dyn UploadJournal,
        cancel: &Cancel,
    ) -> Result<Delivered, Error> {
        let target = self.target_of(key, cancel)?;
        let runtime = runtime(&target.uri)?;
        let open = options.resume.as_ref().and_then(|resume| resume.earlier.as_ref()).map(|earlier| &earlier.upload);
        let token = open.map_or_else(|| ulid::Ulid::new().to_string(), |open| open.token.clone());
        let (lock, ordered) = open.map_or((options.lock, options.ordered), |open| (open.lock, open.ordered));
        let write = Write {
            target,
            bucket: self.bucket.clone(),
            properties: Properties::new(self, &token, lock),
            token,
            lock,
            ordered,
            options,
            journal,
        };
        let mut uploads = PartUploads::new(open.and_then(Open::of));
        let (pending, accepted) = match self.send(&write, body, &mut uploads) {
            Ok(sent) => sent,
            Err(error) => return Err(runtime.block_on(self.give_up(&write, uploads, error))),
        };
        runtime.block_on(self.confirm(&write.target, &pending, accepted))
    }

    /// Sends all of a body, in one request or in parts.
    fn send(
        &self,
        write: &Write<'_>,
        body: &mut dyn Body,
        uploads: &mut PartUploads,
    ) -> Result<(PendingObject, AcceptedUpload), Error> {
        let Target { uri, connection, .. } = &write.target;
        let runtime = runtime(uri)?;
        if !write.options.overwrite {
            runtime.block_on(self.check_absence(write))?;
        }
        if write.lock.is_some() {
            runtime.block_on(self.check_lock(write))?;
        }
        let mut parts = Parts::new(body, write.options.scratch, uri);
        let algorithm = uploads.open.as_ref().map_or_else(|| connection.algorithm(), |open| open.algorithm);
        let first = parts.next(part_size(1, parts.total(), self.part_size.get()), algorithm)?;
        if parts.at_end()? {
            let digest = parts.finish()?;
            self.put_whole(write, &first, digest)
        } else {
            self.put_parts(write, first, parts, uploads)
        }
    }

    /// Checks that no object would be replaced before anything is sent: some servers ignore `If-None-Match`.
    async fn check_absence(&self, write: &Write<'_>) -> Result<(), Error> {
        let Target { uri, connection, key, cancel } = &write.target;
        match self.head(connection, key, None, cancel).await {
            // The completion that an earlier attempt sent has just taken effect.
            Ok(Some(head)) if is_of(&head, &write.token) => Ok(()),
            Ok(Some(_)) => Err(Error::Exists { uri: uri.clone() }),
            Ok(None) => Ok(()),
            // Write-only credentials are fine.
            Err(fault) if fault.class == Class::Denied => Ok(()),
            Err(fault) => Err(fault.into_error("a look at the properties", uri)),
        }
    }

    /// Refuses a lock before anything is sent if the bucket has no object lock.
    async fn check_lock(&self, write: &Write<'_>) -> Result<(), Error> {
        let send = |client: aws_sdk_s3::Client| client.get_object_lock_configuration().bucket(&self.bucket).send();
        let (uri, connection) = (&write.target.uri, &write.target.connection);
        match connection.call(0, &write.target.cancel, send).await {
            Err(fault) if matches!(fault.class, Class::NoObject | Class::Unsupported) => {
                Err(Error::NoLock { uri: uri.clone(), why: format!("its bucket has no object lock ({fault})") })
            }
            // Access denied. The check after the upload decides instead.
            Err(fault) if fault.class != Class::Denied => Err(fault.into_error("a look at the object lock", uri)),
            _ => Ok(()),
        }
    }

    /// Sends an object in one request.
    fn put_whole(
        &self,
        write: &Write<'_>,
        part: &Part,
        digest: Digest,
    ) -> Result<(PendingObject, AcceptedUpload), Error> {
        let Target { connection, uri, .. } = &write.target;
        let failed = |fault: Fault| fault.into_error("the upload", uri);
        loop {
            let sum = part.sum(connection.algorithm()).map_err(failed)?;
            let mut checksums = Checksums::new();
            note(&mut checksums, &sum);
            let mut pending = write.pending(digest, checksums);
            write.journal.pending(&pending)?;
            match runtime(uri)?.block_on(self.send_whole(write, part, &sum)) {
                Err(fault) if fault.class == Class::Unsupported && connection.fall_back() => {}
                sent => {
                    let accepted = sent.map_err(failed)?;
                    part.known_md5().into_iter().for_each(|md5| note(&mut pending.checksums, md5));
                    return Ok((pending, accepted));
                }
            }
        }
    }

    async fn send_whole(&self, write: &Write<'_>, part: &Part, sum: &Sum) -> Result<AcceptedUpload, Fault> {
        let Target { connection, cancel, .. } = &write.target;
        let mut backoff = Backoff::new(connection, cancel);
        loop {
            let stream = part.stream().await?;
            let send = |client: aws_sdk_s3::Client| {
                let request = with_properties!(client.put_object(), write)
                    .set_if_none_match((!write.options.overwrite).then(|| "*".to_owned()))
                    .content_length(i64::try_from(part.size).unwrap_or(i64::MAX))
                    .body(stream);
                // The checksum is in a signed header, so the signature covers the bytes all the same.
                with_checksum!(request, sum).customize().disable_payload_signing().send()
            };
            let fault = match connection.once(part.size, cancel, send).await {
                Ok(answer) => {
                    let echo = echoed!(answer, sum.algorithm);
                    let opaque = is_opaque(answer.server_side_encryption()) || self.sse == Some(Sse::Kms);
                    match judge(part, sum, echo, answer.e_tag(), opaque) {
                        Ok(proven) => {
                            let etag = answer.e_tag().map(str::to_owned);
                            return Ok(AcceptedUpload { etag, version: version(answer.version_id()), proven });
                        }
                        Err(fault) => {
                            if fault.class == Class::Damaged {
                                self.discard(&write.target, version(answer.version_id())).await;
                            }
                            fault
                        }
                    }
                }
                Err(fault) => fault,
            };
            if (fault.is_ambiguous() || fault.class == Class::Exists)
                && let Some(found) = self.find_by_token(&write.target, &write.token).await?
            {
                return Ok(AcceptedUpload { etag: None, version: found.version, proven: false });
            }
            // Another writer is at work on the same key. The next try finds its object, or none.
            let fault = if fault.class == Class::Conflict { fault.seen_as(Class::Transient) } else { fault };
            backoff.after(fault).await?;
        }
    }
}

/// Whether an answer proves that the server has the bytes that were sent. Fails if it proves that the server has
/// others.
pub(super) fn judge(
    part: &Part,
    sum: &Sum,
    echo: Option<&str>,
    etag: Option<&str>,
    opaque: bool,
) -> Result<bool, Fault> {
    let Some(etag) = etag else { return Err(Fault::new(Class::Unclear, "the answer has no ETag")) };
    if let Some(echo) = echo {
        return if echo == sum.base64() {
            Ok(true)
        } else {
            let own = sum.base64();
            Err(Fault::new(
                Class::Damaged,
                format!("the store answered {} {echo} where {own} was sent", sum.algorithm.name()),
            ))
        };
    }
    match md5_of(etag) {
        Some(("md5", md5)) if !opaque => {
            let own = part.sum(Algorithm::Md5)?.hex();
            if md5 == own {
                Ok(true)
            } else {
                Err(Fault::new(
                    Class::Damaged,
                    format!("the store answered ETag {md5} where {own} is the MD5 of what was sent"),
                ))
            }
        }
        _ => Ok(false),
    }
}

/// Adds a checksum of the whole object.
pub(super) fn note(checksums: &mut Checksums, sum: &Sum) {
    let value = match sum.algorithm {
        Algorithm::Crc64Nvme | Algorithm::Crc32c => sum.base64(),
        Algorithm::Sha256 | Algorithm::Md5 => sum.hex(),
    };
    checksums.insert(sum.algorithm.name().to_owned(), value);
}
