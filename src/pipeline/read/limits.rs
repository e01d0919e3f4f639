//! The limits on what is read: far above any real pipeline, and low enough that no file can exhaust the machine.

/// The largest file, in bytes. Pipelines are written by people.
pub(super) const MAX_FILE_BYTES: u64 = 4 << 20;

/// How much of a line a finding holds, in characters. A file may be one long line with a thousand findings in it.
pub(super) const MAX_LINE_CHARS: usize = 64 << 10;

/// How deep maps and lists may nest.
pub(super) const MAX_DEPTH: usize = 32;

/// How many values a file may have, aliases unfolded.
pub(super) const MAX_NODES: usize = 500_000;

/// How many aliases a file may have.
pub(super) const MAX_ALIASES: usize = 1_000;

/// The total length of all keys, texts and pointers, in bytes, aliases unfolded. A count of values alone does not bound
/// memory: a value may be long, may stand below long keys, and may be copied by aliases.
pub(super) const MAX_TEXT_BYTES: usize = 64 << 20;

/// How many files may extend each other.
pub(super) const MAX_EXTENDS: usize = 8;

/// How many findings one file can have. Each finding holds its line, so an unbounded list could exhaust memory. Whoever
/// fixes these validates again.
pub(in crate::pipeline) const MAX_FINDINGS: usize = 1_000;
