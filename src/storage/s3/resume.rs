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
use super::recover::Place;
use crate::storage::{Error, OpenUpload, Reopened, SentPart, Stopped};
use crate::value::{Digest, ObjectKey};

/// Why an upload was not taken back.
pub(super) const WAITS: &str = "its parts wait for the next attempt, or for `tl run --resume`";

impl S3 {
    /// All that it takes to go on with an upload.
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

    /// What the begin of an upload fixes for the object, beside its lock.
    fn fixed_settings(&self) -> Json {
        json!({
            "storage-class": self.storage_class,
            "sse": self.sse,
            "kms-key-id": self.kms_key_id,
            "tags": self.tags,
        })
    }

    /// Asks for the parts of an upload that an earlier attempt left open.
    pub(super) fn reopen_upload(
        &self,
        key: &ObjectKey,
        upload: &OpenUpload,
        stopped: &Stopped,
    ) -> Result<Option<Reopened>, Error> {
        let place = self.place_of(key, stopped)?;
        let open = Open::of(upload).filter(|open| self.would_begin(upload, open, &place.connection));
        let Some(open) = open else { return Ok(None) };
        match runtime(&place.uri)?.block_on(self.list_parts(&place, &open)) {
            Ok(parts) => Ok(Some(Reopened { upload: upload.clone(), parts })),
            Err(fault) if fault.may_pass() => Err(fault.into_error("the list of the parts sent so far", &place.uri)),
            // It is gone, or nobody may know what it holds.
            Err(_) => Ok(None),
        }
    }

    /// Whether an upload that begins now would be the same.
    fn would_begin(&self, upload: &OpenUpload, open: &Open, connection: &Connection) -> bool {
        connection.takes(open.algorithm)
            && upload.part_size == self.part_size.get()
            && upload.settings == self.fixed_settings()
    }

    async fn list_parts(&self, place: &Place, open: &Open) -> Result<BTreeMap<i32, SentPart>, Fault> {
        let mut parts = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let send = |client: Client| {
                let list = client.list_parts().bucket(&self.bucket).key(&place.key).upload_id(&open.id);
                list.set_part_number_marker(after.clone()).send()
            };
            let page = place.connection.call(0, &place.stopped, send).await?;
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
    /// The upload that is on record.
    pub(super) fn of(upload: &OpenUpload) -> Option<Self> {
        let algorithm = Algorithm::named(&upload.algorithm)?;
        Some(Self { id: upload.id.clone(), algorithm, opaque: upload.opaque })
    }
}

/// Whether the server has these very bytes, as far as it can show that.
pub(super) fn is_kept(open: &Open, sent: &SentPart, part: &Part) -> Result<bool, Fault> {
    let sum = part.sum(open.algorithm)?;
    let shown = judge(part, &sum, sent.checksum.as_deref(), sent.etag.as_deref(), open.opaque);
    Ok(sent.size == part.size && shown.is_ok_and(|proven| proven))
}

/// Whether what was sent is worth going on with after this error.
pub(super) fn may_go_on(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Stopped { .. } => true,
        Error::Answer { source, .. } | Error::Refused { source, .. } => {
            // An answer that says nothing may be a completion.
            source.downcast_ref::<Fault>().is_some_and(|fault| fault.may_pass() || fault.class == Class::Unclear)
        }
        _ => false,
    }
}
