//! The text of one file, and the places in it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::align::Quotes;
use super::limits::{MAX_FILE_BYTES, MAX_LINE_CHARS};
use crate::diagnostic::{Diagnostic, Location, codes};

pub(super) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A range of a text, in characters from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Span {
    pub(in crate::pipeline) start: usize,
    /// The position after its last character.
    pub(in crate::pipeline) end: usize,
}

/// The place of one value, and of its key if it has one.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pipeline) struct Node {
    /// The index of the file in [`Document`](super::document::Document).
    pub(in crate::pipeline) source: usize,
    pub(in crate::pipeline) key: Option<Span>,
    pub(in crate::pipeline) value: Span,
    pub(in crate::pipeline) quotes: Quotes,
}

/// One text with the positions of its lines.
#[derive(Debug)]
pub(super) struct Source {
    /// The file as the user named it.
    pub(super) name: String,
    /// Relative paths in the text are relative to this folder.
    pub(super) folder: PathBuf,
    pub(super) text: String,
    /// Whether the file begins with a byte order mark. The mark is not part of `text`.
    pub(super) has_byte_order_mark: bool,
    pub(super) characters: Vec<char>,
    /// The position of the first character of each line.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: String, folder: PathBuf, text: String) -> Self {
        let (has_byte_order_mark, text) = match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => (true, rest.to_owned()),
            None => (false, text),
        };
        let characters: Vec<char> = text.chars().collect();
        let behind = |(at, c): (usize, &char)| (*c == '\n').then_some(at + 1);
        let lines = std::iter::once(0).chain(characters.iter().enumerate().filter_map(behind)).collect();
        Self { name, folder, text, has_byte_order_mark, characters, lines }
    }

    /// Reads the file `name`. It may be a pipe: whoever names a pipe knows that something writes to it.
    pub(super) fn read(path: &Path, name: String) -> Result<Self, Diagnostic> {
        let bytes = bytes_of(File::open(path), &name)?;
        Self::of_bytes(path, name, bytes)
    }

    /// Reads the regular file `name`.
    pub(super) fn read_regular(path: &Path, name: String) -> Result<Self, Diagnostic> {
        let bytes = read_regular(path, &name)?;
        Self::of_bytes(path, name, bytes)
    }

    pub(super) fn of_bytes(path: &Path, name: String, bytes: Vec<u8>) -> Result<Self, Diagnostic> {
        let text = match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text,
            Ok(text) => return Err(not_a_text(name, text.as_bytes(), text.len())),
            Err(error) => return Err(not_a_text(name, error.as_bytes(), error.utf8_error().valid_up_to())),
        };
        let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
        Ok(Self::new(name, folder.unwrap_or_default(), text))
    }

    pub(super) fn byte_order_mark(&self) -> &'static str {
        if self.has_byte_order_mark { BYTE_ORDER_MARK } else { "" }
    }

    /// The bytes as they were read.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.byte_order_mark(), &self.text].concat().into_bytes()
    }

    pub(super) fn place(&self, span: Span) -> Location {
        let all = self.characters.as_slice();
        // After the last character there is no line to show, so the end of the text is shown as its last character.
        let start = span.start.min(all.len().saturating_sub(1));
        let line = self.lines.partition_point(|begin| *begin <= start);
        let line_start = self.lines[line - 1];
        let line_end = self.lines.get(line).map_or(all.len(), |next| next - 1);
        let shown = (line_end - line_start).min(MAX_LINE_CHARS);
        let text: String = all[line_start..line_start + shown].iter().collect();
        let text = text.strip_suffix('\r').unwrap_or(&text);
        // A span over several lines is shown to the end of its first line.
        let end = match span.end {
            end if end <= line_end => end,
            _ => {
                line_start
                    + all[line_start..line_end].iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| last + 1)
            }
        };
        Location {
            file: self.name.clone(),
            line,
            column: start - line_start + 1,
            length: end.saturating_sub(start).max(1),
            text: hide_identities(text),
        }
    }
}

/// The bytes of the regular file `name`, up to the size limit of pipelines. Refuses pipes and devices: reading from one
/// may never end. Use this for files that are found in a folder or rewritten.
pub fn read_regular(path: &Path, name: &str) -> Result<Vec<u8>, Diagnostic> {
    // Without NONBLOCK, opening a pipe waits for a writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path);
    if file.as_ref().is_ok_and(|file| file.metadata().is_ok_and(|about| !about.is_file())) {
        return Err(Diagnostic::usage(codes::TL0001, format!("`{name}` is no regular file")));
    }
    bytes_of(file, name)
}

fn bytes_of(file: io::Result<File>, name: &str) -> Result<Vec<u8>, Diagnostic> {
    let mut bytes = Vec::new();
    if let Err(error) = file.and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)) {
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file `{name}`"),
            _ => format!("the file `{name}` cannot be read"),
        };
        return Err(Diagnostic::usage(codes::TL0001, message).cause(&error));
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Diagnostic::usage(codes::TL0004, format!("`{name}` is larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    Ok(bytes)
}

/// The error for a file that is not text. Points at the first byte that cannot be text: a NUL, or the first byte that is
/// not UTF-8.
fn not_a_text(file: String, bytes: &[u8], valid: usize) -> Diagnostic {
    let (bytes, valid) = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) if valid >= 3 => (rest, valid - 3),
        _ => (bytes, valid),
    };
    let at = bytes[..valid].iter().position(|byte| *byte == 0).unwrap_or(valid);
    let before = String::from_utf8_lossy(&bytes[..at]);
    let begun = before.rsplit('\n').next().unwrap_or_default();
    let line_end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| at + newline);
    let rest = String::from_utf8_lossy(&bytes[at..line_end]);
    let rest = rest.strip_suffix('\r').unwrap_or(&rest);
    let place = Location {
        line: before.matches('\n').count() + 1,
        column: begun.chars().count() + 1,
        length: 1,
        text: hide_identities(&format!("{begun}{}", rest.replace('\0', "\u{fffd}"))),
        file,
    };
    Diagnostic::usage(codes::TL0002, format!("the byte 0x{:02x} is not text in UTF-8", bytes[at]))
        .at(place)
        .help("save the file as UTF-8")
}

/// The text with age identities replaced by `*`. An identity pasted into a file by mistake must not reach terminals and
/// logs with the line that an error shows.
pub fn hide_identities(text: &str) -> String {
    const IDENTITY: &str = "AGE-SECRET-KEY-";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.to_ascii_uppercase().find(IDENTITY) {
        let (before, identity) = rest.split_at(start + IDENTITY.len());
        let end = identity.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(identity.len());
        shown.push_str(before);
        shown.push_str(&"*".repeat(end));
        rest = &identity[end..];
    }
    shown + rest
}
