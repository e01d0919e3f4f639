use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockEnabled};

use super::S3;
use super::checksum::Algorithm;
use super::connection::{Connection, runtime};
use super::fault::{Class, Fault};
use super::get::{Source, window};
use super::stat::{md5_of, stat, version};
use crate::storage::error::with_causes;
use crate::storage::{Check, CheckResult, Error};
use crate::value::Cancel;

const BYTES: &[u8] = b"tl doctor was here, and takes this away again\n";

/// The checks so far.
struct Checks<'a> {
    s3: &'a S3,
    connection: Arc<Connection>,
    never: Cancel,
    key: String,
    found: Vec<Check>,
}

impl S3 {
    pub(super) fn checks(&self) -> Vec<Check> {
        let uri = self.bucket_name();
        let failed = |error: Error| {
            let detail = with_causes(&error);
            vec![Check { what: "reach", result: CheckResult::Failed, detail }]
        };
        let never = Cancel::default();
        let connection = match self.connect(&never) {
            Ok(connection) => connection,
            Err(error) => return failed(error),
        };
        let key = self.full_key(&format!(".tl-doctor-{}", ulid::Ulid::new()));
        let mut checks = Checks { s3: self, connection, never, key, found: Vec::new() };
        match runtime(&uri) {
            Ok(runtime) => runtime.block_on(checks.all()),
            Err(error) => return failed(error),
        }
        checks.found
    }
}

impl Checks<'_> {
    async fn all(&mut self) {
        let bucket = self.s3.head_bucket(&self.connection, &self.never).await;
        match bucket {
            Ok(()) => self.say("reach", CheckResult::Yes, self.s3.bucket_name()),
            // Credentials without permission to list may still use the objects.
            Err(fault) if fault.class == Class::Denied => {
                self.say("reach", CheckResult::Unknown, format!("looking at the bucket is refused: {fault}"));
            }
            Err(fault) => return self.say("reach", CheckResult::Failed, fault.to_string()),
        }
        self.versioning().await;
        if self.lock().await {
            let why = "not tried: this bucket locks every new object, and nothing must be left".to_owned();
            return self.say("write", CheckResult::Unknown, why);
        }
        self.multipart().await;
        self.object().await;
    }

    fn say(&mut self, what: &'static str, result: CheckResult, detail: impl Into<String>) {
        self.found.push(Check { what, result, detail: detail.into() });
    }

    async fn versioning(&mut self) {
        let send = |client: Client| client.get_bucket_versioning().bucket(&self.s3.bucket).send();
        let (result, detail) = match self.connection.call(0, &self.never, send).await {
            Ok(answer) if answer.status() == Some(&BucketVersioningStatus::Enabled) => {
                (CheckResult::Yes, "old versions are kept".to_owned())
            }
            Ok(_) => (CheckResult::No, "what is overwritten or removed is gone".to_owned()),
            Err(fault) => (CheckResult::Unknown, fault.to_string()),
        };
        self.say("versioning", result, detail);
    }

    /// Whether the bucket would lock an object that is written now, so that the probe could not remove it.
    async fn lock(&mut self) -> bool {
        let send = |client: Client| client.get_object_lock_configuration().bucket(&self.s3.bucket).send();
        let answer = self.connection.call(0, &self.never, send).await;
        let configuration = answer.as_ref().ok().and_then(|answer| answer.object_lock_configuration());
        let enabled = configuration.and_then(|found| found.object_lock_enabled()) == Some(&ObjectLockEnabled::Enabled);
        let default = configuration.and_then(|found| found.rule()).and_then(|rule| rule.default_retention());
        let (result, detail) = match (&answer, enabled) {
            (Ok(_), true) => (
                CheckResult::Yes,
                default
                    .map_or("objects are locked where a stage says so", |_| "every new object is locked by default")
                    .to_owned(),
            ),
            (Err(fault), _) if matches!(fault.class, Class::Denied | Class::Unreachable | Class::Transient) => {
                (CheckResult::Unknown, fault.to_string())
            }
            _ => (CheckResult::No, "`object-lock` cannot be used with this bucket".to_owned()),
        };
        self.say("object lock", result, detail);
        default.is_some()
    }

    /// Begins a multipart upload and aborts it, which leaves nothing even where removal is not allowed.
    async fn multipart(&mut self) {
        let send = |client: Client| client.create_multipart_upload().bucket(&self.s3.bucket).key(&self.key).send();
        let (result, detail) = match self.connection.call(0, &self.never, send).await {
            Err(fault) => (CheckResult::Failed, fault.to_string()),
            Ok(answer) => {
                let id = answer.upload_id().unwrap_or_default().to_owned();
                let send = |client: Client| {
                    client.abort_multipart_upload().bucket(&self.s3.bucket).key(&self.key).upload_id(&id).send()
                };
                match self.connection.call(0, &self.never, send).await {
                    Ok(_) => (CheckResult::Yes, "begun and aborted".to_owned()),
                    Err(fault) => (CheckResult::Failed, format!("the upload {id} was left open: {fault}")),
                }
            }
        };
        self.say("multipart upload", result, detail);
    }

    async fn put(&self) -> Result<Option<String>, Fault> {
        let send = |client: Client| {
            let request = client.put_object().bucket(&self.s3.bucket).key(&self.key).if_none_match("*");
            request.checksum_crc64_nvme(crc()).body(BYTES.to_vec().into()).send()
        };
        self.connection.call(0, &self.never, send).await.map(|answer| version(answer.version_id()))
    }

    /// Writes, stats, reads and removes a small object.
    async fn object(&mut self) {
        let first = match self.put().await {
            Ok(version) => version,
            Err(fault) => return self.say("write", CheckResult::Failed, fault.to_string()),
        };
        self.say("write", CheckResult::Yes, format!("{} bytes", BYTES.len()));
        let mut versions = vec![first];
        match self.put().await {
            Err(fault) if matches!(fault.class, Class::Exists | Class::Conflict) => {
                self.say("conditional write", CheckResult::Yes, "a second object of the same name is refused");
            }
            Ok(version) => {
                versions.push(version);
                let detail = "`If-None-Match` is ignored: of two writers at once, one replaces the other";
                self.say("conditional write", CheckResult::No, detail);
            }
            Err(fault) => self.say("conditional write", CheckResult::Unknown, fault.to_string()),
        }
        match self.s3.head(&self.connection, &self.key, None, &self.never).await {
            Ok(Some(head)) => {
                let kept = stat(&head).checksums;
                let has_crc = kept.get("crc64nvme") == Some(&crc());
                let has_md5 = head.e_tag().and_then(md5_of).is_some();
                let (result, detail) = match (has_crc, has_md5) {
                    (true, _) => (CheckResult::Yes, "CRC64NVME is kept: `verify` with `level: checksum` reads no byte"),
                    (false, true) => (CheckResult::Yes, "only an MD5 in the ETag is kept"),
                    _ => (CheckResult::No, "none is kept: only `level: content` proves what is there"),
                };
                self.say("checksums", result, detail);
            }
            Ok(None) => self.say("checksums", CheckResult::Failed, "the object that was written is not there"),
            Err(fault) => self.say("checksums", CheckResult::Unknown, fault.to_string()),
        }
        let source = Source { bucket: self.s3.bucket.clone(), key: self.key.clone(), version: None, etag: None };
        let (source, length) = (Arc::new(source), BYTES.len() as u64);
        let read = |client: Client| window(client, Arc::clone(&source), 0, length, length);
        let read = match self.connection.call(length, &self.never, read).await {
            Ok(bytes) if bytes == BYTES => (CheckResult::Yes, "every byte came back".to_owned()),
            Ok(_) => (CheckResult::Failed, "other bytes came back".to_owned()),
            Err(fault) => (CheckResult::Failed, fault.to_string()),
        };
        self.say("read", read.0, read.1);
        let mut removed = Ok(());
        for version in versions {
            let send = |client: Client| {
                client.delete_object().bucket(&self.s3.bucket).key(&self.key).set_version_id(version.clone()).send()
            };
            removed = removed.and(self.connection.call(0, &self.never, send).await.map(drop));
        }
        match removed {
            Ok(()) => self.say("remove", CheckResult::Yes, "nothing was left"),
            Err(fault) => {
                let detail = format!("`{}` was left in the bucket: {fault}", self.key);
                self.say("remove", CheckResult::Failed, detail);
            }
        }
    }
}

fn crc() -> String {
    let mut running = Algorithm::Crc64Nvme.start();
    running.update(BYTES);
    running.finish(BYTES.len() as u64).base64()
}
