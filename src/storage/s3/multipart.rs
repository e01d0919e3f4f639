use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::S3;
use super::abort::ABORT;
use super::checksum::{Algorithm, Sum};
use super::connection::runtime;
use super::fault::{Class, Fault};
use super::part::{Part, Parts, part_size};
use super::put::{Write, echoed, judge, note, with_checksum, with_properties};
use super::recover::AcceptedUpload;
use super::resume::{WAITS, can_resume_after, is_kept};
use super::retry::Backoff;
use super::settings::Sse;
use super::stat::{is_opaque, version};
use crate::storage::{Checksums, Error, PendingObject};
use crate::value::Cancel;

/// Parts that are sent at once.
const IN_FLIGHT: usize = 2;
/// `CompleteMultipartUpload` gets this many times the normal timeout: a server may take long to join many parts.
const COMPLETION: u32 = 20;

/// A multipart upload that is open.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    /// Whether the server's `ETag`s say nothing about the bytes.
    pub(super) opaque: bool,
}

/// A part that the server has.
pub(super) struct Sent {
    completed: CompletedPart,
    sum: Sum,
    md5: Option<Sum>,
}

impl S3 {
    /// Sends an object in parts. The first was read already.
    pub(super) fn put_parts(
        &self,
        write: &Write<'_>,
        first: Part,
        mut parts: Parts<'_>,
        uploads: &mut PartUploads,
    ) -> Result<(PendingObject, AcceptedUpload), Error> {
        let uri = &write.target.uri;
        let runtime = runtime(uri)?;
        let open = if let Some(open) = uploads.open.clone() {
            open
        } else {
            write.journal.begun()?;
            let created = runtime.block_on(self.create(write));
            let open = created.map_err(|fault| fault.into_error("the begin of the multipart upload", uri))?;
            // From here on a failure aborts it.
            uploads.open = Some(open.clone());
            if let Some(resume) = &write.options.resume {
                write.journal.opened(&self.record_of(write, &open, resume.digest))?;
            }
            open
        };
        self.send_parts(write, &open, first, &mut parts, uploads)?;
        // Completed only if the source has no more bytes.
        let digest = parts.finish()?;
        let pending = write.pending(digest, checksums(&open, &uploads.sent));
        write.journal.pending(&pending)?;
        let completed = runtime.block_on(self.complete(write, &open, &uploads.sent, digest.size));
        Ok((pending, completed.map_err(|fault| fault.into_error("the completion of the multipart upload", uri))?))
    }

    /// Aborts the upload, or leaves it open for the next attempt. Returns the error, with what is left.
    pub(super) async fn give_up(&self, write: &Write<'_>, mut uploads: PartUploads, error: Error) -> Error {
        uploads.end().await;
        let Some(open) = uploads.open else { return error };
        // A cancelled body fails with an error of its own, which must not decide whether the parts stay.
        let is_cancelled = write.options.resume.is_some() && write.target.cancel.is_cancelled();
        let error = if is_cancelled { Error::Cancelled { uri: write.target.uri.clone() } } else { error };
        let why = if write.options.resume.is_some() && can_resume_after(&error) {
            WAITS.to_owned()
        } else {
            match self.abort(&write.target, &open.id).await {
                Ok(()) => return error,
                Err(fault) => fault.to_string(),
            }
        };
        Error::LeftOpen { error: Box::new(error), upload: open.id, why }
    }

    async fn create(&self, write: &Write<'_>) -> Result<Open, Fault> {
        let began = Timestamp::now();
        let mut backoff = Backoff::new(&write.target.connection, &write.target.cancel);
        let mut may_be_left = false;
        let never = Cancel::default();
        loop {
            let algorithm = write.target.connection.algorithm();
            let (named, kind) = match algorithm {
                Algorithm::Crc64Nvme => (Some(ChecksumAlgorithm::Crc64Nvme), Some(ChecksumType::FullObject)),
                Algorithm::Crc32c => (Some(ChecksumAlgorithm::Crc32C), Some(ChecksumType::FullObject)),
                Algorithm::Sha256 => (Some(ChecksumAlgorithm::Sha256), Some(ChecksumType::Composite)),
                Algorithm::Md5 => (None, None),
            };
            let send = |client: Client| {
                with_properties!(client.create_multipart_upload(), write)
                    .set_checksum_algorithm(named.clone())
                    .set_checksum_type(kind.clone())
                    .send()
            };
            match with_grace(write.target.connection.once(0, &never, send), &write.target.cancel).await {
                Ok(answer) => {
                    let opaque = is_opaque(answer.server_side_encryption()) || self.sse == Some(Sse::Kms);
                    let id = answer.upload_id().filter(|id| !id.is_empty()).map(str::to_owned);
                    if let Some(id) = id {
                        let open = Open { id, algorithm, opaque };
                        if may_be_left {
                            // Our own earlier requests may have begun uploads whose answers were lost. They cannot be
                            // told from uploads that another writer of the same key began at that time. Aborting makes
                            // that writer fail, and it may retry. Without the abort, each lost answer would leave
                            // invisible parts. A failure here costs only space.
                            let _aborted = self.abort_begun(&write.target, began, Some(&open.id)).await;
                        }
                        return Ok(open);
                    }
                    backoff.after(Fault::new(Class::Unclear, "the answer has no upload id")).await?;
                }
                Err(fault) if fault.class == Class::Unsupported && write.target.connection.fall_back() => {}
                Err(fault) => {
                    may_be_left |= fault.is_ambiguous();
                    backoff.after(fault).await?;
                }
            }
        }
    }

    fn send_parts(
        &self,
        write: &Write<'_>,
        open: &Open,
        first: Part,
        parts: &mut Parts<'_>,
        uploads: &mut PartUploads,
    ) -> Result<(), Error> {
        let runtime = runtime(&write.target.uri)?;
        let (total, target) = (parts.total(), self.part_size.get());
        let mut next = Some(first);
        for number in 1.. {
            let part = match next.take() {
                Some(part) => part,
                None if parts.at_end()? => break,
                None => parts.next(part_size(number, total, target), open.algorithm)?,
            };
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            if let Some(kept) = kept(write, open, number, &part)? {
                uploads.sent.insert(number, kept);
                continue;
            }
            if uploads.waiting.len() == IN_FLIGHT {
                runtime
                    .block_on(uploads.next_done())
                    .map_err(|(what, fault)| fault.into_error(&what, &write.target.uri))?;
            }
            let task = self.part_task(write, open, number, part).in_current_span();
            uploads.waiting.push_back((number, runtime.spawn(task)));
        }
        while !uploads.waiting.is_empty() {
            runtime
                .block_on(uploads.next_done())
                .map_err(|(what, fault)| fault.into_error(&what, &write.target.uri))?;
        }
        Ok(())
    }

    /// Sends one part until the server has it.
    fn part_task(
        &self,
        write: &Write<'_>,
        open: &Open,
        number: i32,
        part: Part,
    ) -> impl Future<Output = Result<Sent, Fault>> + Send + 'static {
        let (connection, cancel) = (Arc::clone(&write.target.connection), write.target.cancel.clone());
        let (bucket, key) = (self.bucket.clone(), write.target.key.clone());
        let (id, algorithm, opaque) = (open.id.clone(), open.algorithm, open.opaque);
        async move {
            let mut backoff = Backoff::new(&connection, &cancel);
            loop {
                let sum = part.sum(algorithm)?;
                let stream = part.stream().await?;
                let send = |client: Client| {
                    let request = client.upload_part().bucket(&bucket).key(&key).upload_id(&id).part_number(number);
                    let request = request.content_length(i64::try_from(part.size).unwrap_or(i64::MAX)).body(stream);
                    with_checksum!(request, &sum).customize().disable_payload_signing().send()
                };
                let fault = match connection.once(part.size, &cancel, send).await {
                    Ok(answer) => match judge(&part, &sum, echoed!(answer, algorithm), answer.e_tag(), opaque) {
                        Ok(_) => {
                            return Ok(Sent::new(number, answer.e_tag, sum, &part));
                        }
                        Err(fault) => fault,
                    },
                    Err(fault) => fault,
                };
                backoff.after(fault).await?;
            }
        }
    }

    async fn complete(
        &self,
        write: &Write<'_>,
        open: &Open,
        arrived: &Arrived,
        size: u64,
    ) -> Result<AcceptedUpload, Fault> {
        let whole = whole(open, arrived);
        let list: Vec<CompletedPart> = arrived.values().map(|part| part.completed.clone()).collect();
        let list = CompletedMultipartUpload::builder().set_parts(Some(list)).build();
        let cancel = &write.target.cancel;
        let mut backoff = Backoff::new(&write.target.connection, cancel);
        loop {
            let send = |client: Client| {
                let request = client
                    .complete_multipart_upload()
                    .bucket(&self.bucket)
                    .key(&write.target.key)
                    .upload_id(&open.id)
                    .multipart_upload(list.clone())
                    .mpu_object_size(i64::try_from(size).unwrap_or(i64::MAX))
                    .set_if_none_match((!write.options.overwrite).then(|| "*".to_owned()));
                match (&whole, open.algorithm) {
                    (Some(whole), Algorithm::Crc64Nvme) => request.checksum_crc64_nvme(whole.base64()),
                    (Some(whole), Algorithm::Crc32c) => request.checksum_crc32_c(whole.base64()),
                    _ => request,
                }
                .send()
            };
            let limit = write.target.connection.policy.request_timeout * COMPLETION;
            let fault = match write.target.connection.within(limit, cancel, send).await {
                Ok(answer) if answer.e_tag().is_some_and(|etag| !etag.is_empty()) => {
                    let etag = answer.e_tag().map(str::to_owned);
                    return Ok(AcceptedUpload { etag, version: version(answer.version_id()), proven: true });
                }
                Ok(_) => Fault::new(Class::Unclear, "the answer has no ETag"),
                Err(fault) => fault,
            };
            let may_be_done = fault.is_ambiguous() || matches!(fault.class, Class::NoUpload | Class::Exists);
            if may_be_done && let Some(found) = self.find_by_token(&write.target, &write.token).await? {
                return Ok(AcceptedUpload { etag: None, version: found.version, proven: false });
            }
            backoff.after(fault).await?;
        }
    }
}

impl Sent {
    fn new(number: i32, etag: Option<String>, sum: Sum, part: &Part) -> Self {
        let completed = CompletedPart::builder().part_number(number).set_e_tag(etag);
        let completed = match sum.algorithm {
            Algorithm::Crc64Nvme => completed.checksum_crc64_nvme(sum.base64()),
            Algorithm::Crc32c => completed.checksum_crc32_c(sum.base64()),
            Algorithm::Sha256 => completed.checksum_sha256(sum.base64()),
            Algorithm::Md5 => completed,
        };
        Self { completed: completed.build(), sum, md5: part.known_md5().cloned() }
    }
}

/// The part, if the server has it from an earlier attempt with the bytes that are read now.
fn kept(write: &Write<'_>, open: &Open, number: i32, part: &Part) -> Result<Option<Sent>, Error> {
    let earlier = write.options.resume.as_ref().and_then(|resume| resume.earlier.as_ref());
    let Some(sent) = earlier.and_then(|earlier| earlier.parts.get(&number)) else { return Ok(None) };
    let failed = |fault: Fault| fault.into_error(&format!("part {number} of the upload"), &write.target.uri);
    if !is_kept(open, sent, part).map_err(failed)? {
        return Ok(None);
    }
    write.journal.reused(part.size);
    let sum = part.sum(open.algorithm).map_err(failed)?;
    Ok(Some(Sent::new(number, sent.etag.clone(), sum, part)))
}

/// The checksum of the whole object, if the algorithm can combine it from those of the parts.
fn whole(open: &Open, arrived: &Arrived) -> Option<Sum> {
    arrived.values().try_fold(open.algorithm.of_nothing(), |whole, part| whole.followed_by(&part.sum))
}

/// What the server must report about the object once it is complete.
fn checksums(open: &Open, arrived: &Arrived) -> Checksums {
    let mut checksums = Checksums::new();
    match whole(open, arrived) {
        Some(whole) => note(&mut checksums, &whole),
        None => {
            let sums: Vec<Sum> = arrived.values().map(|part| part.sum.clone()).collect();
            let name = format!("{}-parts", open.algorithm.name());
            checksums.extend(Sum::of_parts(&sums).map(|value| (name, value)));
        }
    }
    let md5s: Option<Vec<Sum>> = arrived.values().map(|part| part.md5.clone()).collect();
    checksums.extend(md5s.and_then(|md5s| Sum::of_parts(&md5s)).map(|value| ("md5-parts".to_owned(), value)));
    checksums
}

/// After a cancel, waits a little longer for the answer of `CreateMultipartUpload`: without its upload id we cannot abort it.
async fn with_grace<T>(answer: impl Future<Output = Result<T, Fault>>, cancel: &Cancel) -> Result<T, Fault> {
    let grace = async {
        cancel.cancelled().await;
        tokio::time::sleep(ABORT).await;
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        () = grace => Err(Fault::new(Class::Cancelled, "cancelled")),
    }
}

/// Parts that the server has, by number.
type Arrived = BTreeMap<i32, Sent>;

/// The parts of one upload: sent, and being sent.
pub(super) struct PartUploads {
    pub(super) open: Option<Open>,
    /// Parts that are being sent, in order.
    waiting: VecDeque<(i32, JoinHandle<Result<Sent, Fault>>)>,
    sent: Arrived,
}

impl PartUploads {
    /// Nothing is being sent; `open` is the upload of an earlier attempt.
    pub(super) fn new(open: Option<Open>) -> Self {
        Self { open, waiting: VecDeque::new(), sent: Arrived::new() }
    }

    /// Waits until the first part in flight is done.
    async fn next_done(&mut self) -> Result<(), (String, Fault)> {
        let Some((number, task)) = self.waiting.front_mut() else { return Ok(()) };
        let (number, what) = (*number, format!("part {number} of the upload"));
        let ended = task.await;
        self.waiting.pop_front();
        match ended {
            Ok(Ok(sent)) => {
                self.sent.insert(number, sent);
                Ok(())
            }
            Ok(Err(fault)) => Err((what, fault)),
            Err(panicked) => Err((what, Fault::new(Class::Wrong, panicked.to_string()))),
        }
    }

    /// Cancels all parts in flight, and waits until they have ended.
    async fn end(&mut self) {
        for (_, task) in &self.waiting {
            task.abort();
        }
        while let Some((_, task)) = self.waiting.pop_front() {
            // The result does not matter: the upload failed.
            let _ended = task.await;
        }
    }
}
