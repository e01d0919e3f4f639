//! Where each part of a YAML text stands, and what the language forbids before it means anything: from parser events.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::align::Quotes;
use super::limits::{DEEPEST, MOST_ALIASES, MOST_BYTES, MOST_FINDINGS, MOST_NODES};
use super::pointer::escape;
use super::source::{Mark, Spot};
use super::syntax::{self, Forbidden};
use crate::diagnostic::{Code, codes};

/// What the events of a text say.
#[derive(Default)]
pub(super) struct Index {
    /// Key and value of each JSON pointer.
    pub(super) spots: HashMap<String, Spot>,
    /// Pointer of each alias, and of what it stands for.
    pub(super) aliases: HashMap<String, String>,
    pub(super) forbidden: Vec<Forbidden>,
    /// Whether there is anything but comments.
    pub(super) found: bool,
}

enum Frame {
    Map { pointer: String, key: Option<(String, Mark)>, seen: HashMap<String, Mark>, anchor: usize, before: Size },
    List { pointer: String, next: usize, anchor: usize, before: Size },
}

/// How much was read, aliases unfolded.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

struct Walk<'a> {
    text: &'a [char],
    index: Index,
    frames: Vec<Frame>,
    size: Size,
    aliases: usize,
    documents: usize,
    /// Pointer and size of each anchor.
    anchors: HashMap<usize, (String, Size)>,
}

/// Walks the events of a text, given whole and as its characters.
pub(super) fn index(text: &str, characters: &[char]) -> Index {
    let mut walk = Walk {
        text: characters,
        index: Index::default(),
        frames: Vec::new(),
        size: Size::default(),
        aliases: 0,
        documents: 0,
        anchors: HashMap::new(),
    };
    walk.line_ends();
    if !walk.index.forbidden.is_empty() {
        return walk.index;
    }
    for event in Parser::<StrInput>::new_from_str(text) {
        match event {
            Ok((event, span)) => walk.event(event, mark(span)),
            Err(error) => walk.syntax(&error),
        }
        if walk.index.forbidden.iter().any(|found| found.fatal) {
            break;
        }
    }
    walk.index
}

fn mark(span: Span) -> Mark {
    Mark { start: span.start.index(), end: span.end.index() }
}

impl Walk<'_> {
    fn forbid(&mut self, code: Code, mark: Mark, message: impl Into<String>, help: Option<&str>, fatal: bool) {
        // Each holds its line: enough to mend at once.
        let fatal = fatal || self.index.forbidden.len() >= MOST_FINDINGS;
        let help = help.map(str::to_owned);
        self.index.forbidden.push(Forbidden { code, mark, message: message.into(), help, fatal });
    }

    /// Characters that end a line in some versions of YAML and in some editors, and in others do not. The parsers that
    /// read this file differ, so nobody could say what it means.
    fn line_ends(&mut self) {
        let odd = |(at, c): (usize, &char)| match c {
            '\r' => self.text.get(at + 1) != Some(&'\n'),
            _ => matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}'),
        };
        if let Some(at) = self.text.iter().enumerate().position(odd) {
            let code = u32::from(self.text[at]);
            let message = format!("the character U+{code:04X} ends a line for some programs and for others does not");
            let help = format!("remove it; in double quotes it may be written `\\u{code:04X}`");
            self.forbid(codes::TL0005, Mark { start: at, end: at + 1 }, message, Some(&help), true);
        }
    }

    fn syntax(&mut self, error: &ScanError) {
        // The parser reads ahead in brackets, and meets its own limit before we count to ours.
        if error.info() == "recursion limit exceeded" {
            let start = error.marker().index();
            return self.forbid(codes::TL0004, Mark { start, end: start + 1 }, too_deep(), None, true);
        }
        let found = syntax::explain(self.text, error.marker().index(), error.info());
        self.index.forbidden.push(found);
    }

    fn event(&mut self, event: Event<'_>, mark: Mark) {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.forbid(
                        codes::TL0009,
                        mark,
                        "a second document in one file",
                        Some("one file, one pipeline"),
                        true,
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                // A file of nothing but comments is one empty plain scalar.
                self.index.found |= !(text.is_empty() && style == ScalarStyle::Plain && self.frames.is_empty());
                self.tag(tag.is_some(), mark);
                let mark = if anchor > 0 { self.behind_anchor(mark, style) } else { mark };
                self.scalar(&text, style, anchor, mark);
            }
            Event::MappingStart(anchor, tag) => {
                self.index.found = true;
                self.tag(tag.is_some(), mark);
                let before = self.size;
                if let Some(pointer) = self.enter(mark) {
                    self.frames.push(Frame::Map { pointer, key: None, seen: HashMap::new(), anchor, before });
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.index.found = true;
                self.tag(tag.is_some(), mark);
                let before = self.size;
                if let Some(pointer) = self.enter(mark) {
                    self.frames.push(Frame::List { pointer, next: 0, anchor, before });
                }
            }
            Event::MappingEnd | Event::SequenceEnd => {
                if let Some(Frame::Map { pointer, anchor, before, .. } | Frame::List { pointer, anchor, before, .. }) =
                    self.frames.pop()
                {
                    if let Some(spot) = self.index.spots.get_mut(&pointer) {
                        // Its first event marks the bracket alone, or nothing.
                        spot.value.end = mark.end;
                    }
                    let Size { nodes, bytes } = self.size;
                    let size = Size { nodes: nodes - before.nodes, bytes: bytes - before.bytes };
                    self.anchors.insert(anchor, (pointer, size));
                }
            }
            Event::Alias(anchor) => self.alias(anchor, mark),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }

    fn tag(&mut self, tagged: bool, mark: Mark) {
        if tagged {
            let tag = self.text.iter().skip(mark.start).take_while(|c| !c.is_whitespace()).count();
            let mark = Mark { start: mark.start, end: mark.start + tag };
            self.forbid(
                codes::TL0008,
                mark,
                "tags such as `!this` have no meaning here",
                Some("remove the tag"),
                false,
            );
        }
    }

    /// The mark of a scalar without its anchor, and of a block without its header, which it has only with an anchor.
    fn behind_anchor(&self, mark: Mark, style: ScalarStyle) -> Mark {
        let text = &self.text[mark.start.min(self.text.len())..mark.end.min(self.text.len())];
        if text.first() != Some(&'&') {
            return mark;
        }
        let is_blank = |c: &&char| c.is_whitespace();
        let anchor = text.iter().take_while(|c| !c.is_whitespace()).count();
        let blanks = text[anchor..].iter().take_while(is_blank).count();
        let header = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => {
                text[anchor + blanks..].iter().position(|c| *c == '\n').map_or(0, |newline| newline + 1)
            }
            _ => 0,
        };
        Mark { start: mark.start + anchor + blanks + header, ..mark }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, mark: Mark) {
        if let Some(Frame::Map { key: key @ None, seen, .. }) = self.frames.last_mut() {
            *key = Some((text.to_owned(), mark));
            let first = seen.insert(text.to_owned(), mark);
            self.key(text, style, mark, first);
            return;
        }
        self.size.nodes += 1;
        self.size.bytes += text.len();
        let pointer = self.value(mark);
        self.limit(mark);
        if let Some(pointer) = pointer {
            if let Some(spot) = self.index.spots.get_mut(&pointer) {
                spot.quotes = match style {
                    ScalarStyle::SingleQuoted => Quotes::Single,
                    ScalarStyle::DoubleQuoted => Quotes::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Quotes::Block,
                    ScalarStyle::Plain => Quotes::Plain,
                };
                if let (Some(key), true, ScalarStyle::Plain) = (spot.key, mark.start == mark.end, style) {
                    // A value that is left out is missed at its key.
                    spot.value = key;
                }
            }
            let size = Size { nodes: 1, bytes: pointer.len() + text.len() };
            self.anchors.insert(anchor, (pointer, size));
        }
    }

    fn key(&mut self, text: &str, style: ScalarStyle, mark: Mark, first: Option<Mark>) {
        if let Some(first) = first {
            let line = 1 + self.text[..first.start].iter().filter(|c| **c == '\n').count();
            let message = format!("the key `{}` stands here twice, first on line {line}", text.escape_debug());
            self.forbid(codes::TL0006, mark, message, Some("remove one of them"), false);
        }
        if style != ScalarStyle::Plain {
            if text == "<<" {
                let help = "write `<<` without quotes to merge; no key of a pipeline is called so";
                self.forbid(codes::TL0010, mark, "a merge key has no quotes", Some(help), false);
            }
            return;
        }
        if mark.start == mark.end {
            self.forbid(codes::TL0010, mark, "a key is missing", None, false);
        } else if !syntax::is_text(text) {
            self.forbid(
                codes::TL0010,
                mark,
                format!("the key `{text}` is not a text"),
                Some("put it in quotes"),
                false,
            );
        }
    }

    /// A map or a list begins: its pointer, unless it stands where a key belongs.
    fn enter(&mut self, mark: Mark) -> Option<String> {
        if let Some(Frame::Map { key: None, .. }) = self.frames.last() {
            self.forbid(codes::TL0010, mark, "a key must be a plain text", Some("write its name"), true);
            return None;
        }
        self.size.nodes += 1;
        if self.frames.len() >= DEEPEST {
            self.forbid(codes::TL0004, mark, too_deep(), None, true);
            return None;
        }
        let pointer = self.value(mark);
        self.limit(mark);
        pointer
    }

    fn limit(&mut self, mark: Mark) {
        if self.size.nodes > MOST_NODES {
            self.forbid(codes::TL0004, mark, format!("more than {MOST_NODES} values, aliases unfolded"), None, true);
        } else if self.size.bytes > MOST_BYTES {
            let message = format!("more than {} MiB of names and texts, aliases unfolded", MOST_BYTES >> 20);
            self.forbid(codes::TL0004, mark, message, Some("repeat less, or use shorter names"), true);
        }
    }

    fn alias(&mut self, anchor: usize, mark: Mark) {
        self.aliases += 1;
        if self.aliases > MOST_ALIASES {
            self.forbid(codes::TL0004, mark, format!("more than {MOST_ALIASES} aliases"), None, true);
            return;
        }
        if let Some(Frame::Map { key: None, .. }) = self.frames.last() {
            self.forbid(codes::TL0010, mark, "a key must be a plain text, not an alias", Some("write its name"), true);
            return;
        }
        let Some((target, size)) = self.anchors.get(&anchor).cloned() else {
            // The anchor of a value that is still open: it would contain itself.
            self.forbid(codes::TL0005, mark, "this alias stands inside what it names", None, true);
            return;
        };
        self.size.nodes = self.size.nodes.saturating_add(size.nodes);
        self.size.bytes = self.size.bytes.saturating_add(size.bytes);
        if let Some(pointer) = self.value(mark) {
            // Each value of the copy has a pointer that begins so.
            self.size.bytes = self.size.bytes.saturating_add(size.nodes.saturating_mul(pointer.len()));
            self.limit(mark);
            self.index.aliases.insert(pointer, target);
        }
    }

    /// A value begins: notes where it stands, and gives its pointer.
    fn value(&mut self, mark: Mark) -> Option<String> {
        let (pointer, key) = match self.frames.last_mut() {
            None => (String::new(), None),
            Some(Frame::Map { pointer, key, .. }) => {
                let (name, at) = key.take()?;
                (format!("{pointer}/{}", escape(&name)), Some(at))
            }
            Some(Frame::List { pointer, next, .. }) => {
                *next += 1;
                (format!("{pointer}/{}", *next - 1), None)
            }
        };
        self.size.bytes += pointer.len();
        self.index.spots.insert(pointer.clone(), Spot { source: 0, key, value: mark, quotes: Quotes::Plain });
        Some(pointer)
    }
}

fn too_deep() -> String {
    format!("nested deeper than {DEEPEST} levels")
}
