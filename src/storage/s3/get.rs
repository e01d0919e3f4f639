use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use super::S3;
use super::checksum::{Algorithm, Running};
use super::connection::{Connection, runtime};
use super::fault::{Class, Fault};
use super::part::Buffer;
use super::stat::stat;
use crate::storage::{Error, ObjectId, Objects as _};
use crate::value::Cancel;

/// The bytes of one request. A cut answer repeats this much.
const WINDOW: u64 = 4 << 20;
/// The most windows that all readers of the process fetch ahead. Each reader has one more in any case.
static AHEAD: Semaphore = Semaphore::const_new(2);

/// Reads an object window by window and compares its checksum at the end.
struct Reader {
    connection: Arc<Connection>,
    source: Arc<Source>,
    uri: String,
    size: u64,
    /// The offset of the next window.
    next: u64,
    fetching: VecDeque<Window>,
    current: Bytes,
    checks: Vec<(&'static str, String, Running)>,
    cancel: Cancel,
    ended: bool,
}

struct Window {
    task: JoinHandle<Result<Bytes, Fault>>,
    _share: Option<SemaphorePermit<'static>>,
}

/// The object to read. The `ETag` ensures that all windows are of the same object, even without versions.
pub(super) struct Source {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) version: Option<String>,
    pub(super) etag: Option<String>,
}

impl S3 {
    pub(super) fn download(
        &self,
        ObjectId { key, version }: &ObjectId,
        cancel: &Cancel,
    ) -> Result<Box<dyn Read + Send>, Error> {
        let uri = self.uri(key);
        let connection = self.connect(cancel)?;
        let key = self.full_key(key);
        let head = runtime(&uri)?
            .block_on(self.head(&connection, &key, version.as_deref(), cancel))
            .map_err(|fault| fault.into_error("a look at the properties", &uri))?
            .ok_or_else(|| Error::NoObject { uri: uri.clone() })?;
        let found = stat(&head);
        let checks = [Algorithm::Crc64Nvme, Algorithm::Crc32c, Algorithm::Sha256, Algorithm::Md5];
        // One checksum is enough. Take the fastest.
        let check = checks.into_iter().find_map(|check| Some((check, found.checksums.get(check.name())?.clone())));
        let source = Source {
            bucket: self.bucket.clone(),
            key,
            version: version.clone().or(found.version),
            etag: head.e_tag().map(str::to_owned),
        };
        Ok(Box::new(Reader {
            connection,
            source: Arc::new(source),
            uri,
            size: found.size,
            next: 0,
            fetching: VecDeque::new(),
            current: Bytes::new(),
            checks: check.into_iter().map(|(check, value)| (check.name(), value, check.start())).collect(),
            cancel: cancel.clone(),
            ended: false,
        }))
    }
}

impl Reader {
    /// Starts requests: at least one, and more while there is room.
    fn fetch(&mut self) -> Result<(), Error> {
        while self.next < self.size {
            let share = AHEAD.try_acquire().ok();
            if share.is_none() && !self.fetching.is_empty() {
                break;
            }
            let length = WINDOW.min(self.size - self.next);
            let (connection, source) = (Arc::clone(&self.connection), Arc::clone(&self.source));
            let (from, whole, cancel) = (self.next, self.size, self.cancel.clone());
            let task = runtime(&self.uri)?.spawn(async move {
                connection
                    .call(length, &cancel, |client| window(client, Arc::clone(&source), from, length, whole))
                    .await
            });
            self.fetching.push_back(Window { task, _share: share });
            self.next += length;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Error> {
        self.fetch()?;
        let Some(window) = self.fetching.pop_front() else {
            self.ended = true;
            return self.compare();
        };
        let failed = |fault: Fault| fault.into_error("reading", &self.uri);
        let panicked = |error: tokio::task::JoinError| Fault::new(Class::Wrong, error.to_string());
        let got = runtime(&self.uri)?.block_on(window.task).map_err(panicked).and_then(|got| got);
        self.current = got.map_err(failed)?;
        self.checks.iter_mut().for_each(|(.., running)| running.update(&self.current));
        Ok(())
    }

    fn compare(&mut self) -> Result<(), Error> {
        for (name, kept, running) in self.checks.drain(..) {
            let sum = running.finish(self.size);
            let found = if matches!(name, "sha256" | "md5") { sum.hex() } else { sum.base64() };
            if found != kept {
                return Err(Error::Corrupt { uri: self.uri.clone(), checksum: format!("{name} {kept}") });
            }
        }
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            self.turn().map_err(io::Error::other)?;
        }
        let taken = buffer.len().min(self.current.len());
        buffer[..taken].copy_from_slice(&self.current.split_to(taken));
        Ok(taken)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fetching.iter().for_each(|window| window.task.abort());
    }
}

/// Requests one window. Fails unless all its bytes arrive.
pub(super) async fn window(
    client: Client,
    source: Arc<Source>,
    from: u64,
    length: u64,
    whole: u64,
) -> Result<Bytes, Fault> {
    let request = client.get_object().bucket(&source.bucket).key(&source.key).set_version_id(source.version.clone());
    let request = request.set_if_match(source.etag.clone());
    // Some servers do not support ranges. Most objects fit into one window.
    let is_part = length < whole;
    let range = is_part.then(|| format!("bytes={from}-{}", from + length - 1));
    let answer = request.set_range(range).send().await.map_err(|error: SdkError<GetObjectError, HttpResponse>| {
        let fault = Fault::from(error);
        match fault.class {
            Class::Exists => Fault::new(Class::Wrong, format!("it was replaced while it was read: {fault}")),
            _ => fault,
        }
    })?;
    if is_part && answer.content_range().is_none() {
        return Err(Fault::new(Class::Wrong, "the server does not know ranges"));
    }
    Buffer::collect(answer.body, length).await
}
