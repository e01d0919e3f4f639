//! Bytes between stages: a stream of blocks in memory if the engine joined the stages, otherwise a file in the work
//! folder.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::storage::Body;
use crate::value::{Cancel, Digest};

/// Identifies the artifact of one stage. Expressions can only pass it on as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct ArtifactRef(String);

impl ArtifactRef {
    /// The artifact of a stage.
    pub fn of(stage: &str) -> Self {
        Self(format!("artifact:{stage}"))
    }
}

impl JsonSchema for ArtifactRef {
    fn schema_name() -> Cow<'static, str> {
        "Artifact".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-tl-type": "artifact" })
    }
}

/// The most blocks in flight. Together with the block size, this bounds the memory of a stream.
const BLOCKS: usize = 8;
const BLOCK: usize = 256 * 1024;

/// Shared by both ends of a stream: which end hung up.
#[derive(Debug, Default)]
pub struct StreamHangup {
    /// The consumer ended before the end of the data.
    pub by_reader: AtomicBool,
    /// The producer ended without finishing the artifact.
    pub by_writer: AtomicBool,
}

/// Where a stage's artifact goes.
#[derive(Debug)]
pub enum Sink {
    /// To the next stage, while it is produced.
    Stream(StreamSink),
    /// To a file that later stages open.
    File(Spool),
}

/// A file in the work folder, with its digest once it is finished.
#[derive(Clone, Debug)]
pub struct Spool {
    path: PathBuf,
    digest: Arc<OnceLock<Digest>>,
}

impl Spool {
    /// A file that does not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, digest: Arc::default() }
    }

    /// A file that an earlier session of the run finished.
    pub fn kept(path: PathBuf, digest: Digest) -> Self {
        Self { path, digest: Arc::new(OnceLock::from(digest)) }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of the file. `None` until it is finished.
    pub fn digest(&self) -> Option<Digest> {
        self.digest.get().copied()
    }
}

/// Where an artifact comes from.
#[derive(Debug)]
pub enum Source {
    /// From the previous stage, while it is produced.
    Stream(StreamSource),
    /// From a file that an earlier stage wrote.
    File(Spool),
}

enum Parcel {
    Block(Vec<u8>),
    End(Option<Digest>),
}

/// The producer's end of a stream.
pub struct StreamSink {
    blocks: SyncSender<Parcel>,
    empty: Receiver<Vec<u8>>,
    hangup: Arc<StreamHangup>,
    hashed: bool,
}

/// The consumer's end of a stream.
pub struct StreamSource {
    blocks: Receiver<Parcel>,
    empty: Sender<Vec<u8>>,
    hangup: Arc<StreamHangup>,
}

impl std::fmt::Debug for StreamSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamSink")
    }
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamSource")
    }
}

/// Makes a stream between two stages that run at the same time. `hashed` computes a digest for a consumer that compares
/// it with the digest of what it wrote; filters do not need one.
pub fn stream(hashed: bool) -> (Sink, Source, Arc<StreamHangup>) {
    let (blocks_in, blocks_out) = sync_channel(BLOCKS);
    let (empty_in, empty_out) = channel();
    let hangup = Arc::new(StreamHangup::default());
    (
        Sink::Stream(StreamSink { blocks: blocks_in, empty: empty_out, hangup: Arc::clone(&hangup), hashed }),
        Source::Stream(StreamSource { blocks: blocks_out, empty: empty_in, hangup: Arc::clone(&hangup) }),
        hangup,
    )
}

/// Makes a stage fail because it warned.
#[derive(Debug, Default)]
pub struct FailureGate {
    /// The stage has warned.
    pub has_warned: AtomicBool,
    /// For this reason, its artifact was not finished.
    pub has_refused: AtomicBool,
}

/// Writes an artifact. The artifact is valid only after [`ArtifactWriter::finish`].
pub struct ArtifactWriter {
    to: WriteTo,
    cancel: Cancel,
    gate: Arc<FailureGate>,
    hash: Option<Sha256>,
    size: u64,
}

enum WriteTo {
    Stream { sink: StreamSink, block: Vec<u8>, finished: bool },
    File(File, Spool),
}

impl ArtifactWriter {
    /// Opens a sink for writing. Files are created with mode 0600.
    pub fn new(sink: Sink, cancel: Cancel) -> io::Result<Self> {
        let hashed = match &sink {
            Sink::Stream(sink) => sink.hashed,
            Sink::File(_) => true,
        };
        let to = match sink {
            Sink::Stream(sink) => WriteTo::Stream { sink, block: Vec::with_capacity(BLOCK), finished: false },
            Sink::File(spool) => WriteTo::File(create_private(&spool.path).map_err(at(&spool.path))?, spool),
        };
        Ok(Self { to, cancel, gate: Arc::default(), hash: hashed.then(Sha256::new), size: 0 })
    }

    /// Refuses to finish the artifact once the stage has warned and warnings are failures.
    #[must_use]
    pub fn unless(mut self, gate: Arc<FailureGate>) -> Self {
        self.gate = gate;
        self
    }

    /// Marks the artifact as complete and sets its digest.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        if self.gate.has_warned.load(Ordering::SeqCst) {
            self.gate.has_refused.store(true, Ordering::SeqCst);
            return Err(io::Error::other("the stage that gives it has failed"));
        }
        let digest = self.hash.take().map(|hash| Digest { sha256: hash.finalize().into(), size: self.size });
        match &mut self.to {
            WriteTo::Stream { sink, finished, .. } => {
                sink.blocks.send(Parcel::End(digest)).map_err(|_| sink.let_go())?;
                *finished = true;
            }
            // Not synced: a spool lives no longer than its run.
            WriteTo::File(_, spool) => {
                if let Some(digest) = digest {
                    spool.digest.set(digest).map_err(|_| io::Error::other("an artifact ends once"))?;
                }
            }
        }
        Ok(())
    }
}

impl StreamSink {
    fn let_go(&self) -> io::Error {
        self.hangup.by_reader.store(true, Ordering::SeqCst);
        io::Error::new(io::ErrorKind::BrokenPipe, "the stage that consumes the data ended")
    }

    fn send(&self, block: &mut Vec<u8>) -> io::Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK));
        let full = std::mem::replace(block, next);
        self.blocks.send(Parcel::Block(full)).map_err(|_| self.let_go())
    }
}

impl Write for ArtifactWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stopped(&self.cancel)?;
        let taken = match &mut self.to {
            WriteTo::Stream { sink, block, .. } => {
                let taken = bytes.len().min(BLOCK - block.len());
                block.extend_from_slice(&bytes[..taken]);
                if block.len() == BLOCK {
                    sink.send(block)?;
                }
                taken
            }
            WriteTo::File(file, spool) => file.write(bytes).map_err(at(&spool.path))?,
        };
        if let Some(hash) = &mut self.hash {
            hash.update(&bytes[..taken]);
        }
        self.size += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            WriteTo::Stream { block, .. } if block.is_empty() => Ok(()),
            WriteTo::Stream { sink, block, .. } => sink.send(block),
            WriteTo::File(file, _) => file.flush(),
        }
    }
}

impl Drop for ArtifactWriter {
    fn drop(&mut self) {
        if let WriteTo::Stream { sink, finished: false, .. } = &self.to {
            sink.hangup.by_writer.store(true, Ordering::SeqCst);
        }
    }
}

/// Reads an artifact. Returns end of file only if the producer finished it. A producer that failed is an error.
pub struct ArtifactReader {
    from: ReadFrom,
    cancel: Cancel,
    ended: bool,
    digest: Option<Digest>,
}

enum ReadFrom {
    Stream { source: StreamSource, block: Vec<u8>, at: usize },
    File { file: File, left: u64, digest: Digest },
}

impl ArtifactReader {
    /// Opens a source for reading.
    pub fn new(source: Source, cancel: Cancel) -> io::Result<Self> {
        let from = match source {
            Source::Stream(source) => ReadFrom::Stream { source, block: Vec::new(), at: 0 },
            Source::File(spool) => {
                let digest = *spool.digest.get().ok_or_else(|| io::Error::other("the artifact was never finished"))?;
                ReadFrom::File { file: File::open(spool.path)?, left: digest.size, digest }
            }
        };
        Ok(Self { from, cancel, ended: false, digest: None })
    }
}

impl Read for ArtifactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        stopped(&self.cancel)?;
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        match &mut self.from {
            ReadFrom::Stream { source, block, at } => {
                if *at == block.len() {
                    match source.blocks.recv() {
                        Ok(Parcel::Block(full)) => {
                            let mut used = std::mem::replace(block, full);
                            *at = 0;
                            if used.capacity() > 0 {
                                used.clear();
                                // The producer may have ended already and then needs no more empty blocks.
                                let _unneeded = source.empty.send(used);
                            }
                        }
                        Ok(Parcel::End(digest)) => {
                            (self.ended, self.digest) = (true, digest);
                            return Ok(0);
                        }
                        Err(_) => {
                            source.hangup.by_writer.store(true, Ordering::SeqCst);
                            return Err(io::Error::other("the stage that gives the data failed"));
                        }
                    }
                }
                let taken = buffer.len().min(block.len() - *at);
                buffer[..taken].copy_from_slice(&block[*at..*at + taken]);
                *at += taken;
                Ok(taken)
            }
            ReadFrom::File { file, left, digest } => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                let read = if most == 0 { 0 } else { file.read(&mut buffer[..most])? };
                *left -= read as u64;
                if read == 0 {
                    if *left > 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the spooled artifact was cut"));
                    }
                    (self.ended, self.digest) = (true, Some(*digest));
                }
                Ok(read)
            }
        }
    }
}

impl Body for ArtifactReader {
    fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn size(&self) -> Option<u64> {
        match &self.from {
            ReadFrom::Stream { .. } => None,
            ReadFrom::File { digest, .. } => Some(digest.size),
        }
    }
}

impl Drop for ArtifactReader {
    fn drop(&mut self) {
        // A consumer that ends early breaks the stream, even if the producer never notices.
        if let (ReadFrom::Stream { source, .. }, false) = (&self.from, self.ended)
            && !source.hangup.by_writer.load(Ordering::SeqCst)
        {
            source.hangup.by_reader.store(true, Ordering::SeqCst);
        }
    }
}

fn stopped(cancel: &Cancel) -> io::Result<()> {
    match cancel.reason() {
        Some(reason) => Err(io::Error::other(crate::diagnostic::Diagnostic::from(reason).message)),
        None => Ok(()),
    }
}

/// Adds the path to an I/O error: the system's message does not say which disk is meant.
fn at(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

/// Creates a file that only its owner can read.
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (ArtifactWriter, ArtifactReader, Arc<StreamHangup>) {
        let (sink, source, hangup) = stream(true);
        let cancel = Cancel::default();
        (ArtifactWriter::new(sink, cancel.clone()).unwrap(), ArtifactReader::new(source, cancel).unwrap(), hangup)
    }

    #[test]
    fn a_stream_gives_what_it_took_and_its_digest() {
        let (mut writer, mut reader, hangup) = ends();
        let bytes: Vec<u8> = (0..3 * BLOCK + 7).map(|i| i.to_le_bytes()[0]).collect();
        let sent = bytes.clone();
        let producer = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.finish().unwrap();
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).unwrap();
        assert_eq!(back, bytes);
        producer.join().unwrap();
        let digest = Digest { sha256: Sha256::digest(&bytes).into(), size: bytes.len() as u64 };
        assert_eq!(reader.digest(), Some(digest));
        drop(reader);
        assert!(!hangup.by_reader.load(Ordering::SeqCst) && !hangup.by_writer.load(Ordering::SeqCst));
    }

    #[test]
    fn a_producer_that_fails_is_no_end() {
        let (mut writer, mut reader, hangup) = ends();
        writer.write_all(b"half").unwrap();
        drop(writer);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        drop(reader);
        assert!(hangup.by_writer.load(Ordering::SeqCst) && !hangup.by_reader.load(Ordering::SeqCst));
    }

    #[test]
    fn a_consumer_that_goes_stops_the_producer() {
        let (mut writer, reader, hangup) = ends();
        drop(reader);
        let error = writer.write_all(&vec![0; 20 * BLOCK]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        drop(writer);
        assert!(hangup.by_reader.load(Ordering::SeqCst));
    }

    #[test]
    fn a_cut_spool_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("a"));
        let mut writer = ArtifactWriter::new(Sink::File(spool.clone()), Cancel::default()).unwrap();
        writer.write_all(b"12345").unwrap();
        assert!(ArtifactReader::new(Source::File(spool.clone()), Cancel::default()).is_err());
        writer.finish().unwrap();
        File::options().write(true).open(&spool.path).unwrap().set_len(3).unwrap();
        let mut reader = ArtifactReader::new(Source::File(spool), Cancel::default()).unwrap();
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }
}
