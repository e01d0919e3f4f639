//! Seals and opens whole streams.

use std::io::{Read, Write};
use std::num::NonZeroUsize;

use sodiumoxide::crypto::aead::chacha20poly1305_ietf as aead;

use super::error::Error;
use super::header::{Header, MAX_STANZAS};
use super::keys::{Key, Recipient};
use super::pipeline::{self, BATCH, Batch, CHUNK, End, Flow, Outcome, SLOT, TAG, read_full};
use super::sodium::{init, random};
use super::stanza::{self, FileKey};

const NONCE: usize = 16;

/// The result of sealing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How many bytes were read.
    pub plaintext_bytes: u64,
    /// How many bytes were written: [`sealed_len`] of the plaintext.
    pub sealed_bytes: u64,
    /// SHA-256 of the header. It is unique, since the file key and the shares are used once.
    pub header_sha256: [u8; 32],
}

/// The result of opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// How many bytes were written.
    pub plaintext_bytes: u64,
    /// How many bytes were read.
    pub sealed_bytes: u64,
    /// SHA-256 of the header.
    pub header_sha256: [u8; 32],
}

/// Seals the input for all recipients. Each of them can open it alone.
///
/// The file key is made for this call. So sealing the same input again gives another file, and an interrupted sealing cannot
/// be resumed. Uses `threads` threads for the cipher and about `2 * threads + 4` MiB. After an error the output is a file
/// that nobody can open to its end.
///
/// If `output` fails, the work stops at once, except for a `read` that blocks.
pub fn seal(
    recipients: &[Recipient],
    input: &mut (dyn Read + Send),
    output: &mut (dyn Write + Send),
    threads: NonZeroUsize,
) -> Result<Sealed, Error> {
    init();
    seal_with(&FileKey::generate(), random(), recipients, input, output, threads)
}

/// Seals with a given file key and nonce. Using the same pair twice would reveal plaintext, so this is not public.
pub(super) fn seal_with(
    file_key: &FileKey,
    nonce: [u8; NONCE],
    recipients: &[Recipient],
    input: &mut (dyn Read + Send),
    output: &mut (dyn Write + Send),
    threads: NonZeroUsize,
) -> Result<Sealed, Error> {
    match recipients.len() {
        0 => return Err(Error::NoRecipients),
        count if count > MAX_STANZAS => return Err(Error::TooManyRecipients(count)),
        _ => {}
    }
    let stanzas = recipients.iter().map(|&to| stanza::wrap(to, file_key)).collect::<Result<_, _>>()?;
    let header = Header::seal(stanzas, file_key);
    output.write_all(header.as_bytes())?;
    output.write_all(&nonce)?;
    let flow = seal_payload(&file_key.payload_key(&nonce), input, output, threads)?;
    Ok(Sealed {
        plaintext_bytes: flow.read,
        sealed_bytes: (header.as_bytes().len() + NONCE) as u64 + flow.written,
        header_sha256: header.sha256(),
    })
}

pub(super) fn seal_payload(
    key: &aead::Key,
    input: &mut (dyn Read + Send),
    output: &mut (dyn Write + Send),
    threads: NonZeroUsize,
) -> Result<Flow, Error> {
    pipeline::run(input, output, threads, CHUNK, |batch: &mut Batch, _: &mut Vec<u8>| seal_batch(key, batch))
}

/// Opens a file with the first key that fits.
///
/// Writes only authentic chunks, in order. If the file is damaged, writes everything before the damage and returns an
/// error. Unless this returns `Ok`, the output is not the file that was sealed.
pub fn open(
    keys: &[Key],
    input: &mut (dyn Read + Send),
    output: &mut (dyn Write + Send),
    threads: NonZeroUsize,
) -> Result<Opened, Error> {
    init();
    let (header, rest) = Header::read(input)?;
    let file_key = stanza::unwrap(&header.stanzas, keys)?;
    header.verify(&file_key)?;

    let mut payload = rest.chain(input);
    let mut nonce = [0; NONCE];
    if read_full(&mut payload, &mut nonce)? < NONCE {
        return Err(Error::NotAge("it ends before its first chunk"));
    }
    let key = file_key.payload_key(&nonce);
    let flow = pipeline::run(&mut payload, output, threads, SLOT, |batch: &mut Batch, own: &mut Vec<u8>| {
        open_batch(&key, batch, own)
    })?;
    Ok(Opened {
        plaintext_bytes: flow.written,
        sealed_bytes: (header.as_bytes().len() + NONCE) as u64 + flow.read,
        header_sha256: header.sha256(),
    })
}

/// The exact size of a sealed file, for this many bytes of plaintext and this many recipients.
pub fn sealed_len(plaintext: u64, recipients: usize) -> u64 {
    const VERSION_LINE: u64 = 22;
    const STANZA: u64 = 98;
    const MAC_LINE: u64 = 48;
    let chunks = plaintext.div_ceil(CHUNK as u64).max(1);
    let header = VERSION_LINE + STANZA * recipients as u64 + MAC_LINE + NONCE as u64;
    plaintext.saturating_add(header + chunks * TAG as u64)
}

/// Seals in place. The reader left room for a tag after each chunk, so the sealed batch has no gaps.
fn seal_batch(key: &aead::Key, batch: &mut Batch) -> Outcome {
    // An empty file is one empty chunk. No other file has an empty chunk.
    let chunks = batch.filled.div_ceil(CHUNK).max(1);
    let mut left = batch.filled;
    for (index, slot) in (batch.first_chunk()..).zip(batch.buffer.chunks_exact_mut(SLOT).take(chunks)) {
        let length = left.min(CHUNK);
        left -= length;
        let (plain, rest) = slot.split_at_mut(length);
        let tag = aead::seal_detached(plain, None, &chunk_nonce(index, batch.last && left == 0), key);
        rest[..TAG].copy_from_slice(&tag.0);
    }
    Outcome { written: batch.filled + chunks * TAG, end: if batch.last { End::Final } else { End::More } }
}

/// Opens into the worker's own buffer, without gaps between chunks, and swaps the buffers.
///
/// Not in place: libsodium wipes a chunk that is not authentic, and a full chunk may have to be tried twice.
fn open_batch(key: &aead::Key, batch: &mut Batch, plain: &mut Vec<u8>) -> Outcome {
    if plain.is_empty() {
        *plain = vec![0; BATCH];
    }
    let mut written = 0;
    let mut end = End::More;
    let sealed = &batch.buffer[..batch.filled];
    for (index, chunk) in (batch.first_chunk()..).zip(sealed.chunks(SLOT)) {
        if matches!(end, End::Final) {
            end = End::Failed(Error::TrailingData);
            break;
        }
        let Some(length) = chunk.len().checked_sub(TAG) else {
            end = End::Failed(Error::Truncated);
            break;
        };
        let place = &mut plain[written..written + length];
        // Only a full chunk can have a successor, and nearly always has. So try it as such first.
        if length == CHUNK && open_chunk(key, index, false, chunk, place) {
            written += length;
        } else if (length > 0 || index == 0) && open_chunk(key, index, true, chunk, place) {
            written += length;
            end = End::Final;
        } else {
            end = End::Failed(Error::Tampered { chunk: index });
            break;
        }
    }
    std::mem::swap(&mut batch.buffer, plain);
    Outcome { written, end }
}

fn open_chunk(key: &aead::Key, index: u64, last: bool, sealed: &[u8], plain: &mut [u8]) -> bool {
    let (body, tag) = sealed.split_at(plain.len());
    plain.copy_from_slice(body);
    let tag = aead::Tag::from_slice(tag).expect("a chunk ends in a whole tag");
    aead::open_detached(plain, None, &tag, &chunk_nonce(index, last), key).is_ok()
}

/// The number of the chunk in 11 bytes, big-endian, and whether it is the last.
fn chunk_nonce(index: u64, last: bool) -> aead::Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&index.to_be_bytes());
    nonce[11] = u8::from(last);
    aead::Nonce(nonce)
}
