//! An audit log to attack.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use std::ops::Range;

use timelocker::audit::{Draft, Durability, Error, Log, Problem, Report, Severity, verify};

/// A log in a folder of its own.
pub struct Sample {
    _home: tempfile::TempDir,
    pub dir: PathBuf,
}

impl Sample {
    pub fn empty() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("audit");
        Self { _home: home, dir }
    }

    /// With as many records, and a checkpoint after each `step`.
    pub fn new(records: u64, step: usize) -> Self {
        let sample = Self::empty();
        let log = sample.open();
        let drafts: Vec<Draft> = (0..records).map(entry).collect();
        for batch in drafts.chunks(step) {
            log.put(batch).unwrap();
            log.checkpoint().unwrap();
        }
        sample
    }

    pub fn open(&self) -> Log {
        Log::open(&self.dir).unwrap()
    }

    pub fn segment(&self) -> PathBuf {
        self.dir.join("seg/00000000000000000000.jsonl")
    }

    pub fn signed(&self, size: u64) -> PathBuf {
        self.dir.join(format!("ckpt/{size:020}.ckpt"))
    }

    pub fn lines(&self) -> Vec<Vec<u8>> {
        let content = fs::read(self.segment()).unwrap();
        content.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
    }

    pub fn verify(&self) -> Report {
        verify(&self.dir).unwrap()
    }

    /// The same log in another folder.
    pub fn copy(&self) -> Self {
        let copy = Self::empty();
        for (path, content) in self.snapshot() {
            let path = copy.dir.join(path.strip_prefix(&self.dir).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        copy
    }

    /// All files with their content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.dir, &mut files);
        files
    }
}

fn collect(dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

/// Appends records of types that only tests have.
pub trait Put {
    fn put_with(&self, drafts: &[Draft], durability: Durability) -> Result<Range<u64>, Error>;

    fn put(&self, drafts: &[Draft]) -> Result<Range<u64>, Error> {
        self.put_with(drafts, Durability::Synced)
    }
}

impl Put for Log {
    fn put_with(&self, drafts: &[Draft], durability: Durability) -> Result<Range<u64>, Error> {
        let batch = drafts.iter().map(|draft| self.prepare(draft)).collect::<Result<Vec<_>, _>>()?;
        self.append(&batch, durability).map_err(|interrupted| interrupted.error)
    }
}

pub fn entry(number: u64) -> Draft {
    Draft::new("stage.done", Severity::Info).run(format!("run-{}", number / 10)).with("number", number)
}

/// The first and the last record that a problem may mean.
pub fn named(problem: &Problem) -> Option<(u64, u64)> {
    match *problem {
        Problem::BadRecord { seq, .. } | Problem::NotCanonical { seq, .. } => Some((seq, seq)),
        Problem::WrongSequence { expected, .. } => Some((expected, expected)),
        Problem::BrokenChain { first, last, .. } => Some((first, last)),
        Problem::RootMismatch { size, last_good } => Some((last_good, size - 1)),
        Problem::Truncated { signed, found } => Some((found, signed - 1)),
        _ => None,
    }
}
