use std::fmt;

use serde::Serialize;

/// A place in the segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct At {
    /// The name of the segment file.
    pub segment: String,
    /// The line, counted from 1.
    pub line: u64,
}

/// Something in the folder of a log that a writer did not leave so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// A line is not a record.
    BadRecord {
        /// The sequence number that belongs there.
        seq: u64,
        /// Where it stands.
        at: At,
        /// What the parser says.
        reason: String,
    },
    /// A line is a record, but not in the bytes that a writer writes.
    NotCanonical {
        /// The sequence number that belongs there.
        seq: u64,
        /// Where it stands.
        at: At,
    },
    /// Records are missing, doubled, or in another order.
    WrongSequence {
        /// The right number.
        expected: u64,
        /// The number in the line.
        found: u64,
        /// Where it stands.
        at: At,
    },
    /// A record's `prev` is not the hash of the record before it.
    BrokenChain {
        /// The first record that may be the changed one.
        first: u64,
        /// The last that may be; usually the same.
        last: u64,
        /// Where the first stands.
        at: At,
    },
    /// A segment has more or fewer records than it must have.
    SegmentLength {
        /// The name of the segment file.
        segment: String,
        /// The number of records it must have.
        expected: u64,
        /// The number of lines it has.
        found: u64,
    },
    /// A segment file is missing.
    MissingSegment {
        /// Its first sequence number.
        first: u64,
    },
    /// The records do not hash to a signed root: one of a range was changed.
    RootMismatch {
        /// The size of the first checkpoint that does not fit: the changed record is before it.
        size: u64,
        /// The size of the last checkpoint that fits: the changed record is not before it.
        last_good: u64,
    },
    /// A checkpoint was not signed by the key of this log.
    BadSignature {
        /// The file, below the folder of the log.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint is signed, but says something impossible.
    BadCheckpoint {
        /// The file, below the folder of the log.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint that must exist does not.
    MissingCheckpoint {
        /// Its size.
        size: u64,
    },
    /// The file `checkpoint` is older than the newest signed one, as after a crash between the two; the next writer
    /// repairs it.
    StaleCheckpoint {
        /// What it says, if it exists.
        named: Option<u64>,
        /// The newest.
        newest: u64,
    },
    /// A checkpoint covers more records than there are.
    Truncated {
        /// The size of the newest checkpoint.
        signed: u64,
        /// The number of records.
        found: u64,
    },
    /// Records that this process wrote or read are gone, or are others now. Somebody set the log back while it was in use.
    SetBack {
        /// The number of records that it knows.
        known: u64,
        /// The number of records.
        found: u64,
    },
    /// The last line is incomplete, as after a crash. The next writer moves it to `torn/` and records that.
    TornTail {
        /// The sequence number that it would have had.
        seq: u64,
        /// Its length.
        bytes: u64,
    },
    /// A file that no writer creates and no reader reads.
    ForeignFile {
        /// Its path, below the folder of the log.
        file: String,
    },
    /// A decision to put the log aside stands in a log that is sound: no writer makes one.
    ForgedDecision {
        /// The file, below the folder of the log.
        file: String,
    },
    /// The keys are missing, do not belong to each other, or are not the expected ones.
    WrongKey {
        /// What is wrong.
        reason: String,
    },
}

impl Problem {
    /// Whether somebody changed the log. What a crash leaves is not damage: no acknowledged record is lost, and the next
    /// writer repairs it. A file that nobody reads is not damage either.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::TornTail { .. } | Self::StaleCheckpoint { .. } | Self::ForeignFile { .. })
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seg/{} line {}", self.segment, self.line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRecord { seq, at, reason } => write!(f, "record {seq} ({at}) is not a record: {reason}"),
            Self::NotCanonical { seq, at } => write!(f, "record {seq} ({at}) is not in canonical form"),
            Self::WrongSequence { expected, found, at } => {
                write!(f, "record {found} stands where record {expected} belongs ({at})")
            }
            Self::BrokenChain { first, last, at } if first == last => write!(f, "record {first} ({at}) was changed"),
            Self::BrokenChain { first, last, at } => {
                write!(f, "one of the records {first} to {last} (from {at}) was changed")
            }
            Self::SegmentLength { segment, expected, found } => {
                write!(f, "seg/{segment} has {found} lines instead of {expected}")
            }
            Self::MissingSegment { first } => write!(f, "the segment from record {first} on is missing"),
            Self::RootMismatch { size, last_good } => {
                write!(f, "a record from {last_good} on and before {size} is not the one that was signed")
            }
            Self::BadSignature { file, reason } | Self::BadCheckpoint { file, reason } => {
                write!(f, "the checkpoint `{file}` cannot be trusted: {reason}")
            }
            Self::MissingCheckpoint { size } => write!(f, "the checkpoint of size {size} is missing"),
            Self::StaleCheckpoint { named: Some(named), newest } => {
                write!(f, "`checkpoint` names size {named}, the newest signed one is {newest}")
            }
            Self::StaleCheckpoint { named: None, newest } => {
                write!(f, "`checkpoint` is missing, the newest signed one is {newest}")
            }
            Self::Truncated { signed, found } => write!(f, "{signed} records were signed for, {found} are there"),
            Self::SetBack { known, found } => {
                write!(
                    f,
                    "the log was set back or exchanged while it was in use: of {known} records, not all are among the {found} that are there"
                )
            }
            Self::TornTail { seq, bytes } => write!(f, "{bytes} bytes of an unfinished record {seq} are at the end"),
            Self::ForeignFile { file } => write!(f, "`{file}` does not belong to an audit log"),
            Self::ForgedDecision { file } => {
                write!(f, "`{file}` says to put this log aside, and the log is sound: somebody else wrote that file")
            }
            Self::WrongKey { reason } => f.write_str(reason),
        }
    }
}
