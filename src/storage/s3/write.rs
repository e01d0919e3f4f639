use std::sync::atomic::Ordering;

use aws_sdk_s3::Client;
use bytes::Bytes;

use super::S3;
use super::checksum::Algorithm;
use super::connection::runtime;
use super::fault::{Class, Fault};
use super::part::Part;
use super::put::{Properties, echoed, judge, with_checksum, with_properties};
use super::recover::Target;
use super::retry::Backoff;
use super::settings::Sse;
use super::stat::{is_opaque, version};
use crate::storage::{Error, ObjectId, Precondition};
use crate::value::{Cancel, ObjectKey};

/// No object has this `ETag`, so a write under it must be refused.
const NO_ETAG: &str = "\"ffffffffffffffffffffffffffffffff-0\"";

/// A small object to write.
struct SmallWrite {
    target: Target,
    bucket: String,
    /// A random token in the object's metadata. It distinguishes our object from others with the same key.
    token: String,
    properties: Properties,
    part: Part,
    if_none_match: Option<&'static str>,
    if_match: Option<String>,
}

impl S3 {
    pub(super) fn write_small(
        &self,
        key: &ObjectKey,
        bytes: &[u8],
        when: &Precondition,
        cancel: &Cancel,
    ) -> Result<ObjectId, Error> {
        let target = self.target_of(key, cancel)?;
        let token = ulid::Ulid::new().to_string();
        let mut write = SmallWrite {
            bucket: self.bucket.clone(),
            properties: Properties::new(self, &token, None),
            token,
            part: Part::of(Bytes::copy_from_slice(bytes), target.connection.algorithm()),
            if_none_match: (*when == Precondition::Absent).then_some("*"),
            if_match: match when {
                Precondition::Unchanged(etag) => Some(etag.0.clone()),
                _ => None,
            },
            target,
        };
        runtime(&write.target.uri)?.block_on(async {
            let version = self.put_small(&write).await.map_err(|fault| refusal(fault, when, &write.target.uri))?;
            self.prove(&mut write, when).await?;
            Ok(ObjectId { key: key.clone(), version })
        })
    }

    /// Sends the object until the server has it, and returns its version.
    async fn put_small(&self, write: &SmallWrite) -> Result<Option<String>, Fault> {
        let Target { connection, cancel, .. } = &write.target;
        let mut backoff = Backoff::new(connection, cancel);
        loop {
            let fault = match self.put_once(write).await {
                Ok(Proven(version)) => return Ok(version),
                Err(fault) if fault.class == Class::Unsupported && connection.fall_back() => continue,
                Err(fault) => fault,
            };
            // The answer to an earlier try was lost, or proves nothing.
            if (fault.is_ambiguous() || fault.class == Class::Exists)
                && let Some(found) = self.find_by_token(&write.target, &write.token).await?
                && found.size == write.part.size
            {
                return Ok(found.version);
            }
            // Two conditional writes at once: S3 refuses one of them and asks to try again.
            let fault = if fault.class == Class::Conflict { fault.seen_as(Class::Transient) } else { fault };
            backoff.after(fault).await?;
        }
    }

    async fn put_once(&self, write: &SmallWrite) -> Result<Proven, Fault> {
        let SmallWrite { target, part, .. } = write;
        let sum = part.sum(target.connection.algorithm())?;
        let stream = part.stream().await?;
        let send = |client: Client| {
            let request = with_properties!(client.put_object(), write)
                .set_if_none_match(write.if_none_match.map(str::to_owned))
                .set_if_match(write.if_match.clone())
                .content_length(i64::try_from(part.size).unwrap_or(i64::MAX))
                .body(stream);
            // The checksum is in a signed header, so the signature covers the bytes all the same.
            with_checksum!(request, &sum).customize().disable_payload_signing().send()
        };
        let answer = target.connection.once(part.size, &target.cancel, send).await?;
        let opaque = is_opaque(answer.server_side_encryption()) || self.sse == Some(Sse::Kms);
        let version = version(answer.version_id());
        match judge(part, &sum, echoed!(answer, sum.algorithm), answer.e_tag(), opaque) {
            Ok(true) => Ok(Proven(version)),
            Ok(false) => Err(Fault::new(Class::Unclear, "the answer does not prove which bytes are stored")),
            Err(fault) => {
                if fault.class == Class::Damaged {
                    self.discard(target, version).await;
                }
                Err(fault)
            }
        }
    }

    /// Proves once per process that the server honours preconditions: writes the same bytes again under one that cannot
    /// hold. Many servers silently ignore these headers, and a lock that two writers hold is worse than none.
    async fn prove(&self, write: &mut SmallWrite, when: &Precondition) -> Result<(), Error> {
        let proven = match when {
            Precondition::None => return Ok(()),
            Precondition::Absent => &write.target.connection.keeps_absent,
            Precondition::Unchanged(_) => {
                write.if_match = Some(NO_ETAG.to_owned());
                &write.target.connection.keeps_unchanged
            }
        };
        if proven.load(Ordering::SeqCst) {
            return Ok(());
        }
        let Target { connection, cancel, uri, .. } = &write.target;
        let mut backoff = Backoff::new(connection, cancel);
        loop {
            match self.put_once(write).await {
                Ok(Proven(version)) => {
                    if version.is_some() {
                        self.discard(&write.target, version).await;
                    }
                    let why = "its server ignores the condition and has written the object all the same".to_owned();
                    return Err(Error::NoPrecondition { uri: uri.clone(), why });
                }
                Err(fault) if matches!(fault.class, Class::Exists | Class::NoObject) => {
                    proven.store(true, Ordering::SeqCst);
                    return Ok(());
                }
                Err(fault) => {
                    let failed = |fault: Fault| fault.into_error("the proof of a condition", uri);
                    backoff.after(fault).await.map_err(failed)?;
                }
            }
        }
    }
}

/// The version of an object whose bytes an answer has proven.
struct Proven(Option<String>);

/// The error of a write that failed.
fn refusal(fault: Fault, when: &Precondition, uri: &str) -> Error {
    let uri = uri.to_owned();
    match (when, fault.class) {
        (Precondition::Unchanged(_), Class::Exists | Class::NoObject) => Error::Changed { uri },
        (Precondition::Absent | Precondition::Unchanged(_), Class::Unsupported) => {
            Error::NoPrecondition { why: format!("its server refuses the condition: {fault}"), uri }
        }
        _ => fault.into_error("the write", &uri),
    }
}
