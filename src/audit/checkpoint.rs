//! C2SP checkpoints (<https://c2sp.org/tlog-checkpoint>): the size and the root of the tree, signed.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::files::{self, Layout};
use super::merkle::as_base64;
use super::note::{Signer, Verifier};
use super::{Error, Hash, Problem};

/// A signed statement that the log of this origin had this root at this size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// The name of the log: `tl/<host>/<log id>`.
    pub origin: String,
    /// The number of records.
    pub size: u64,
    /// The root of the Merkle tree over them.
    #[serde(serialize_with = "as_base64")]
    pub root: Hash,
    /// The signed note: three lines, an empty one, and signatures.
    pub note: String,
}

impl Checkpoint {
    /// Signs. The caller has proven that it contradicts no earlier checkpoint.
    pub(super) fn sign(signer: &Signer, size: u64, root: Hash) -> Self {
        let origin = signer.verifier().name().to_owned();
        let note = signer.sign(&format!("{origin}\n{size}\n{}\n", STANDARD.encode(root)));
        Self { origin, size, root, note }
    }

    /// Reads a note that this key signed.
    pub fn open(note: &str, verifier: &Verifier) -> Result<Self, &'static str> {
        let checkpoint = Self::parse(verifier.open(note)?, note).ok_or("its text is not that of a checkpoint")?;
        if checkpoint.origin == verifier.name() { Ok(checkpoint) } else { Err("it is of another log") }
    }

    /// Reads the text of a note. This log writes no extension lines and accepts none.
    fn parse(text: &str, note: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let number: u64 = size.parse().ok()?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let strict = lines.next().is_none() && number.to_string() == size && !origin.is_empty();
        strict.then(|| Self { origin: origin.to_owned(), size: number, root, note: note.to_owned() })
    }
}

/// The sizes of the checkpoint files, ascending.
pub(super) fn sizes(layout: &Layout) -> Result<Vec<u64>, Error> {
    Ok(files::names(&layout.checkpoints())?.iter().filter_map(|name| files::number(name, ".ckpt")).collect())
}

/// Reads and checks one file of `ckpt/`.
pub(super) fn read(layout: &Layout, verifier: &Verifier, size: u64) -> Result<Result<Checkpoint, Problem>, Error> {
    let file = format!("ckpt/{}", files::checkpoint_name(size));
    let Some(note) = files::read_text(&layout.signed(size))? else {
        return Ok(Err(Problem::MissingCheckpoint { size }));
    };
    Ok(match Checkpoint::open(&note, verifier) {
        Ok(checkpoint) if checkpoint.size == size => Ok(checkpoint),
        Ok(checkpoint) => {
            Err(Problem::BadCheckpoint { file, reason: format!("it is that of size {}", checkpoint.size) })
        }
        Err(reason) => Err(Problem::BadSignature { file, reason: reason.to_owned() }),
    })
}

/// Reads and checks the file `checkpoint`.
pub(super) fn latest(layout: &Layout, verifier: &Verifier) -> Result<Option<Result<Checkpoint, Problem>>, Error> {
    let note = files::read_text(&layout.checkpoint())?;
    Ok(note.map(|note| {
        Checkpoint::open(&note, verifier)
            .map_err(|reason| Problem::BadSignature { file: "checkpoint".to_owned(), reason: reason.to_owned() })
    }))
}

/// The newest checkpoint of a healthy log. It is that of `ckpt/`: after a crash the file `checkpoint` may be older, never
/// newer.
pub(super) fn newest(layout: &Layout, verifier: &Verifier) -> Result<Checkpoint, Error> {
    let latest = latest(layout, verifier)?.transpose()?;
    let claimed = latest.as_ref().map_or(0, |latest| latest.size);
    let size = sizes(layout)?.pop().filter(|size| *size >= claimed);
    let newest = read(layout, verifier, size.ok_or(Problem::MissingCheckpoint { size: claimed })?)??;
    match latest {
        Some(latest) if latest.size == newest.size && latest.root != newest.root => Err(forked().into()),
        _ => Ok(newest),
    }
}

/// Writes the file `checkpoint` after a writer died between the two files.
pub(super) fn publish(layout: &Layout, newest: &Checkpoint, verifier: &Verifier) -> Result<(), Error> {
    match latest(layout, verifier)?.transpose()? {
        Some(latest) if latest.size >= newest.size => Ok(()),
        _ => files::replace(&layout.checkpoint(), newest.note.as_bytes()),
    }
}

/// Writes a checkpoint to `ckpt/`, where it stays, and then to the file `checkpoint`. After a crash between the two,
/// [`publish`] repairs that.
pub(super) fn store(layout: &Layout, checkpoint: &Checkpoint, verifier: &Verifier) -> Result<(), Error> {
    if !files::create_once(&layout.signed(checkpoint.size), checkpoint.note.as_bytes())? {
        // Ed25519 is deterministic: a writer that died here left the same bytes. Witnesses may have added lines.
        let existing = read(layout, verifier, checkpoint.size)??;
        if existing.root != checkpoint.root {
            return Err(forked().into());
        }
    }
    files::replace(&layout.checkpoint(), checkpoint.note.as_bytes())
}

/// Two signed roots for one size.
pub(super) fn forked() -> Problem {
    let reason = "another root was signed for the same size".to_owned();
    Problem::BadCheckpoint { file: "checkpoint".to_owned(), reason }
}
