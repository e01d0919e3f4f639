use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use serde_json::{Value as Json, json};

use super::S3;
use super::checksum::Algorithm;
use super::connection::{Connection, runtime};
use super::fault::{Class, Fault};
use super::multipart::Open;
use super::part::Part;
use super::put::{Write, echoed, judge};
use super::recover::Target;
use crate::storage::{Error, OpenUpload, ResumedUpload, SentPart};
use crate::value::{Cancel, Digest, ObjectKey};

/// Why an upload was not aborted.
pub(super) const WAITS: &str = "its parts wait for the next attempt, or for `tl run --resume`";

impl S3 {
    /// Everything that another process needs to resume an upload.
    pub(super) fn record_of(&self, write: &Write<'_>, open: &Open, digest: Digest) -> OpenUpload {
        OpenUpload {
            id: open.id.clone(),
            token: write.token.clone(),
            algorithm: open.algorithm.name().to_owned(),
            opaque: open.opaque,
            part_size: self.part_size.get(),
            settings: self.fixed_settings(),
            digest,
            lock: write.lock,
            ordered: write.ordered,
        }
    }

    /// The settings, beside the lock, that are fixed when an upload begins.
    fn fixed_settings(&self) -> Json {
        json!({
            "storage-class": self.storage_class,
            "sse": self.sse,
            "kms-key-id": self.kms_key_id,
            "tags": self.tags,
        })
    }

    /// Looks up the parts of an upload that an earlier attempt left open.
    pub(super) fn resume_upload(
        &self,
        key: &ObjectKey,
        upload: &OpenUpload,
        cancel: &Cancel,
    ) -> Result<Option<ResumedUpload>, Error> {
        let target = self.target_of(key, cancel)?;
        let open = Open::of(upload).filter(|open| self.would_begin(upload, open, &target.connection));
        let Some(open) = open else { return Ok(None) };
        match runtime(&target.uri)?.block_on(self.list_parts(&target, &open)) {
            Ok(parts) => Ok(Some(ResumedUpload { upload: upload.clone(), parts })),
            Err(fault) if fault.is_retryable_later() => {
                Err(fault.into_error("the list of the parts sent so far", &target.uri))
            }
            // The upload is gone, or we may not look.
            Err(_) => Ok(None),
        }
    }

    /// Whether an upload that begins now would have the same settings.
    fn would_begin(&self, upload: &OpenUpload, open: &Open, connection: &Connection) -> bool {
        connection.takes(open.algorithm)
            && upload.part_size == self.part_size.get()
            && upload.settings == self.fixed_settings()
    }

    async fn list_parts(&self, target: &Target, open: &Open) -> Result<BTreeMap<i32, SentPart>, Fault> {
        let mut parts = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let send = |client: Client| {
                let list = client.list_parts().bucket(&self.bucket).key(&target.key).upload_id(&open.id);
                list.set_part_number_marker(after.clone()).send()
            };
            let page = target.connection.call(0, &target.cancel, send).await?;
            for part in page.parts() {
                let size = part.size().and_then(|size| u64::try_from(size).ok());
                let (Some(number), Some(size)) = (part.part_number(), size) else { continue };
                let checksum = echoed!(part, open.algorithm).map(str::to_owned);
                parts.insert(number, SentPart { size, etag: part.e_tag().map(str::to_owned), checksum });
            }
            if page.is_truncated() != Some(true) {
                return Ok(parts);
            }
            let next = page.next_part_number_marker().map(str::to_owned);
            if next.is_none() || next == after {
                return Err(Fault::new(Class::Unclear, "a page of the list does not say where the next one begins"));
            }
            after = next;
        }
    }
}

impl Open {
    /// The upload as the journal stores it.
    pub(super) fn of(upload: &OpenUpload) -> Option<Self> {
        let algorithm = Algorithm::named(&upload.algorithm)?;
        Some(Self { id: upload.id.clone(), algorithm, opaque: upload.opaque })
    }
}

/// Whether the server has exactly these bytes. A part counts only if its length and its checksum, or else its MD5,
/// match the bytes that are read now: the journal stores the upload, not its parts.
pub(super) fn is_kept(open: &Open, sent: &SentPart, part: &Part) -> Result<bool, Fault> {
    let sum = part.sum(open.algorithm)?;
    let shown = judge(part, &sum, sent.checksum.as_deref(), sent.etag.as_deref(), open.opaque);
    Ok(sent.size == part.size && shown.is_ok_and(|proven| proven))
}

/// Whether the uploaded parts are worth keeping after this error.
pub(super) fn can_resume_after(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Cancelled { .. } => true,
        Error::Answer { source, .. } | Error::Refused { source, .. } => {
            // A completion without a clear answer may have succeeded.
            source
                .downcast_ref::<Fault>()
                .is_some_and(|fault| fault.is_retryable_later() || fault.class == Class::Unclear)
        }
        _ => false,
    }
}
