use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

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
use super::recover::Taken;
use super::resume::{WAITS, is_kept, may_go_on};
use super::retry::Pace;
use super::settings::Sse;
use super::stat::{is_opaque, version};
use crate::storage::{Checksums, Coming, Error, Stopped};

/// Parts on their way at once.
const IN_FLIGHT: usize = 2;
/// A server may take long to put many parts together: so many times the time for a small request.
const COMPLETION: u32 = 20;

/// A multipart upload that is open.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    /// The `ETag`s of the server say nothing about the bytes.
    pub(super) opaque: bool,
}

/// A part that the server has.
pub(super) struct Sent {
    completed: CompletedPart,
    sum: Sum,
    md5: Option<Sum>,
}

impl S3 {
    /// Sends an object in parts, of which the first was read already.
    pub(super) fn put_parts(
        &self,
        write: &Write<'_>,
        first: Part,
        mut parts: Parts<'_>,
        flight: &mut Flight,
    ) -> Result<(Coming, Taken), Error> {
        let uri = &write.place.uri;
        let runtime = runtime(uri)?;
        let open = if let Some(open) = flight.open.clone() {
            open
        } else {
            write.order.witness.begun()?;
            let created = runtime.block_on(self.create(write));
            let open = created.map_err(|fault| fault.into_error("the begin of the multipart upload", uri))?;
            // From here on it is taken back where something fails.
            flight.open = Some(open.clone());
            if let Some(resume) = &write.order.resume {
                write.order.witness.opened(&self.record_of(write, &open, resume.digest))?;
            }
            open
        };
        self.send_parts(write, &open, first, &mut parts, flight)?;
        // Not completed unless it is all that the source gave.
        let digest = parts.finish()?;
        let coming = write.coming(digest, checksums(&open, &flight.sent));
        write.order.witness.coming(&coming)?;
        let completed = runtime.block_on(self.complete(write, &open, &flight.sent, digest.size));
        Ok((coming, completed.map_err(|fault| fault.into_error("the completion of the multipart upload", uri))?))
    }

    /// Takes back what was sent, or leaves it to the next attempt; the error, with what is left.
    pub(super) async fn give_up(&self, write: &Write<'_>, mut flight: Flight, error: Error) -> Error {
        flight.end().await;
        let Some(open) = flight.open else { return error };
        // Whatever somebody who is stopped fails with.
        let is_stopped = write.order.resume.is_some() && (write.order.stopped)();
        let error = if is_stopped { Error::Stopped { uri: write.place.uri.clone() } } else { error };
        let why = if write.order.resume.is_some() && may_go_on(&error) {
            WAITS.to_owned()
        } else {
            match self.abort(&write.place, &open.id).await {
                Ok(()) => return error,
                Err(fault) => fault.to_string(),
            }
        };
        Error::LeftOpen { error: Box::new(error), upload: open.id, why }
    }

    async fn create(&self, write: &Write<'_>) -> Result<Open, Fault> {
        let began = Timestamp::now();
        let mut pace = Pace::new(&write.place.connection, &write.place.stopped);
        let mut may_be_left = false;
        let patient = patient(&write.place.stopped);
        loop {
            let algorithm = write.place.connection.algorithm();
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
            match write.place.connection.once(0, &patient, send).await {
                Ok(answer) => {
                    let opaque = is_opaque(answer.server_side_encryption()) || self.sse == Some(Sse::Kms);
                    let id = answer.upload_id().filter(|id| !id.is_empty()).map(str::to_owned);
                    if let Some(id) = id {
                        let open = Open { id, algorithm, opaque };
                        if may_be_left {
                            // What requests began whose answers were lost. What cannot be removed now costs space, but no
                            // data.
                            let _aborted = self.abort_begun(&write.place, began, Some(&open.id)).await;
                        }
                        return Ok(open);
                    }
                    pace.after(Fault::new(Class::Unclear, "the answer has no upload id")).await?;
                }
                Err(fault) if fault.class == Class::Unsupported && write.place.connection.fall_back() => {}
                Err(fault) => {
                    may_be_left |= fault.is_ambiguous();
                    pace.after(fault).await?;
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
        flight: &mut Flight,
    ) -> Result<(), Error> {
        let runtime = runtime(&write.place.uri)?;
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
                flight.sent.insert(number, kept);
                continue;
            }
            if flight.waiting.len() == IN_FLIGHT {
                runtime.block_on(flight.land()).map_err(|(what, fault)| fault.into_error(&what, &write.place.uri))?;
            }
            let task = self.part_task(write, open, number, part).in_current_span();
            flight.waiting.push_back((number, runtime.spawn(task)));
        }
        while !flight.waiting.is_empty() {
            runtime.block_on(flight.land()).map_err(|(what, fault)| fault.into_error(&what, &write.place.uri))?;
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
        let (connection, stopped) = (Arc::clone(&write.place.connection), Arc::clone(&write.place.stopped));
        let (bucket, key) = (self.bucket.clone(), write.place.key.clone());
        let (id, algorithm, opaque) = (open.id.clone(), open.algorithm, open.opaque);
        async move {
            let mut pace = Pace::new(&connection, &stopped);
            loop {
                let sum = part.sum(algorithm)?;
                let stream = part.stream().await?;
                let send = |client: Client| {
                    let request = client.upload_part().bucket(&bucket).key(&key).upload_id(&id).part_number(number);
                    let request = request.content_length(i64::try_from(part.size).unwrap_or(i64::MAX)).body(stream);
                    with_checksum!(request, &sum).customize().disable_payload_signing().send()
                };
                let fault = match connection.once(part.size, &stopped, send).await {
                    Ok(answer) => match judge(&part, &sum, echoed!(answer, algorithm), answer.e_tag(), opaque) {
                        Ok(_) => {
                            return Ok(Sent::new(number, answer.e_tag, sum, &part));
                        }
                        Err(fault) => fault,
                    },
                    Err(fault) => fault,
                };
                pace.after(fault).await?;
            }
        }
    }

    async fn complete(&self, write: &Write<'_>, open: &Open, arrived: &Arrived, size: u64) -> Result<Taken, Fault> {
        let whole = whole(open, arrived);
        let list: Vec<CompletedPart> = arrived.values().map(|part| part.completed.clone()).collect();
        let list = CompletedMultipartUpload::builder().set_parts(Some(list)).build();
        let stopped = &write.place.stopped;
        let mut pace = Pace::new(&write.place.connection, stopped);
        loop {
            let send = |client: Client| {
                let request = client
                    .complete_multipart_upload()
                    .bucket(&self.bucket)
                    .key(&write.place.key)
                    .upload_id(&open.id)
                    .multipart_upload(list.clone())
                    .mpu_object_size(i64::try_from(size).unwrap_or(i64::MAX))
                    .set_if_none_match((!write.order.overwrite).then(|| "*".to_owned()));
                match (&whole, open.algorithm) {
                    (Some(whole), Algorithm::Crc64Nvme) => request.checksum_crc64_nvme(whole.base64()),
                    (Some(whole), Algorithm::Crc32c) => request.checksum_crc32_c(whole.base64()),
                    _ => request,
                }
                .send()
            };
            let limit = write.place.connection.policy.request_timeout * COMPLETION;
            let fault = match write.place.connection.within(limit, stopped, send).await {
                Ok(answer) if answer.e_tag().is_some_and(|etag| !etag.is_empty()) => {
                    let etag = answer.e_tag().map(str::to_owned);
                    return Ok(Taken { etag, version: version(answer.version_id()), proven: true });
                }
                Ok(_) => Fault::new(Class::Unclear, "the answer has no ETag"),
                Err(fault) => fault,
            };
            let may_be_done = fault.is_ambiguous() || matches!(fault.class, Class::NoUpload | Class::Exists);
            if may_be_done && let Some(found) = self.find_own(&write.place, &write.token).await? {
                return Ok(Taken { etag: None, version: found.version, proven: false });
            }
            pace.after(fault).await?;
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

/// The part, if the server has it from an earlier attempt: as it is read now.
fn kept(write: &Write<'_>, open: &Open, number: i32, part: &Part) -> Result<Option<Sent>, Error> {
    let left = write.order.resume.as_ref().and_then(|resume| resume.left.as_ref());
    let Some(sent) = left.and_then(|left| left.parts.get(&number)) else { return Ok(None) };
    let failed = |fault: Fault| fault.into_error(&format!("part {number} of the upload"), &write.place.uri);
    if !is_kept(open, sent, part).map_err(failed)? {
        return Ok(None);
    }
    write.order.witness.kept(part.size);
    let sum = part.sum(open.algorithm).map_err(failed)?;
    Ok(Some(Sent::new(number, sent.etag.clone(), sum, part)))
}

/// The checksum of the whole, where the algorithm can put it together from those of the parts.
fn whole(open: &Open, arrived: &Arrived) -> Option<Sum> {
    arrived.values().try_fold(open.algorithm.of_nothing(), |whole, part| whole.followed_by(&part.sum))
}

/// What the server must say of the object once it is complete.
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

/// Somebody who is stopped, and waits a little longer: an upload that was begun can only be taken back by its id, and
/// that is in the answer.
fn patient(stopped: &Stopped) -> Stopped {
    let (stopped, since) = (Arc::clone(stopped), Mutex::new(None::<Instant>));
    Arc::new(move || {
        let mut since = since.lock().unwrap_or_else(PoisonError::into_inner);
        stopped() && since.get_or_insert_with(Instant::now).elapsed() >= ABORT
    })
}

/// Parts that the server has, by their numbers.
type Arrived = BTreeMap<i32, Sent>;

/// An upload in parts, from when it is open.
pub(super) struct Flight {
    pub(super) open: Option<Open>,
    /// Parts on their way, in order.
    waiting: VecDeque<(i32, JoinHandle<Result<Sent, Fault>>)>,
    sent: Arrived,
}

impl Flight {
    /// Nothing is on its way; `open` is what an earlier attempt left.
    pub(super) fn new(open: Option<Open>) -> Self {
        Self { open, waiting: VecDeque::new(), sent: Arrived::new() }
    }

    /// Waits for the first of them.
    async fn land(&mut self) -> Result<(), (String, Fault)> {
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

    /// Calls all of them off, and waits until they are.
    async fn end(&mut self) {
        for (_, task) in &self.waiting {
            task.abort();
        }
        while let Some((_, task)) = self.waiting.pop_front() {
            // Whether it was done or not, nobody needs it.
            let _ended = task.await;
        }
    }
}
