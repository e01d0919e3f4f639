//! Finds the place of each part of a YAML text, and what the language forbids in it, from parser events.
//!
//! Counts nodes and bytes while it reads, with aliases unfolded, and stops at a limit. So no text, such as an "alias
//! bomb", can exhaust memory in the second parser, which does unfold them.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as ParserSpan, StrInput};

use super::align::Quotes;
use super::limits::{MAX_ALIASES, MAX_DEPTH, MAX_FINDINGS, MAX_NODES, MAX_TEXT_BYTES};
use super::pointer::escape;
use super::source::{Node, Span};
use super::syntax::{self, Forbidden};
use crate::diagnostic::{Code, codes};

/// What the events of a text give.
#[derive(Default)]
pub(super) struct Index {
    /// The node at each JSON pointer.
    pub(super) nodes: HashMap<String, Node>,
    /// The pointer of each alias, and the pointer that it stands for.
    pub(super) aliases: HashMap<String, String>,
    pub(super) forbidden: Vec<Forbidden>,
    /// Whether the text holds anything except comments.
    pub(super) found: bool,
}

enum Frame {
    Map { pointer: String, key: Option<(String, Span)>, seen: HashMap<String, Span>, anchor: usize, before: Size },
    List { pointer: String, next: usize, anchor: usize, before: Size },
}

/// How much was read, with aliases unfolded.
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
    /// The pointer and size of each anchor.
    anchors: HashMap<usize, (String, Size)>,
}

/// Walks the events of a text. `characters` are the characters of `text`.
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
            Ok((event, span)) => walk.event(event, span_of(span)),
            Err(error) => walk.syntax(&error),
        }
        if walk.index.forbidden.iter().any(|found| found.fatal) {
            break;
        }
    }
    walk.index
}

fn span_of(span: ParserSpan) -> Span {
    Span { start: span.start.index(), end: span.end.index() }
}

impl Walk<'_> {
    fn forbid(&mut self, code: Code, span: Span, message: impl Into<String>, help: Option<&str>, fatal: bool) {
        // Each finding holds its line, so their number is bounded.
        let fatal = fatal || self.index.forbidden.len() >= MAX_FINDINGS;
        let help = help.map(str::to_owned);
        self.index.forbidden.push(Forbidden { code, span, message: message.into(), help, fatal });
    }

    /// Refuses characters that end a line for some YAML versions and editors, but not for others. The two parsers here
    /// differ on them as well, so such a text has no single meaning.
    fn line_ends(&mut self) {
        let odd = |(at, c): (usize, &char)| match c {
            '\r' => self.text.get(at + 1) != Some(&'\n'),
            _ => matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}'),
        };
        if let Some(at) = self.text.iter().enumerate().position(odd) {
            let code = u32::from(self.text[at]);
            let message = format!("the character U+{code:04X} ends a line for some programs and for others does not");
            let help = format!("remove it; in double quotes it may be written `\\u{code:04X}`");
            self.forbid(codes::TL0005, Span { start: at, end: at + 1 }, message, Some(&help), true);
        }
    }

    fn syntax(&mut self, error: &ScanError) {
        // The parser reads ahead in brackets and reaches its own limit before ours.
        if error.info() == "recursion limit exceeded" {
            let start = error.marker().index();
            return self.forbid(codes::TL0004, Span { start, end: start + 1 }, too_deep(), None, true);
        }
        let found = syntax::explain(self.text, error.marker().index(), error.info());
        self.index.forbidden.push(found);
    }

    fn event(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.forbid(
                        codes::TL0009,
                        span,
                        "a second document in one file",
                        Some("one file, one pipeline"),
                        true,
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                // A file that holds only comments gives one empty plain scalar.
                self.index.found |= !(text.is_empty() && style == ScalarStyle::Plain && self.frames.is_empty());
                self.tag(tag.is_some(), span);
                let span = if anchor > 0 { self.behind_anchor(span, style) } else { span };
                self.scalar(&text, style, anchor, span);
            }
            Event::MappingStart(anchor, tag) => {
                self.index.found = true;
                self.tag(tag.is_some(), span);
                let before = self.size;
                if let Some(pointer) = self.enter(span) {
                    self.frames.push(Frame::Map { pointer, key: None, seen: HashMap::new(), anchor, before });
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.index.found = true;
                self.tag(tag.is_some(), span);
                let before = self.size;
                if let Some(pointer) = self.enter(span) {
                    self.frames.push(Frame::List { pointer, next: 0, anchor, before });
                }
            }
            Event::MappingEnd | Event::SequenceEnd => {
                if let Some(Frame::Map { pointer, anchor, before, .. } | Frame::List { pointer, anchor, before, .. }) =
                    self.frames.pop()
                {
                    if let Some(node) = self.index.nodes.get_mut(&pointer) {
                        // The start event spans only the opening bracket, or nothing.
                        node.value.end = span.end;
                    }
                    let Size { nodes, bytes } = self.size;
                    let size = Size { nodes: nodes - before.nodes, bytes: bytes - before.bytes };
                    self.anchors.insert(anchor, (pointer, size));
                }
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }

    fn tag(&mut self, tagged: bool, span: Span) {
        if tagged {
            let tag = self.text.iter().skip(span.start).take_while(|c| !c.is_whitespace()).count();
            let span = Span { start: span.start, end: span.start + tag };
            self.forbid(
                codes::TL0008,
                span,
                "tags such as `!this` have no meaning here",
                Some("remove the tag"),
                false,
            );
        }
    }

    /// The span of a scalar without its anchor, and of a block without its header. The parser includes the header in the
    /// span only if there is an anchor.
    fn behind_anchor(&self, span: Span, style: ScalarStyle) -> Span {
        let text = &self.text[span.start.min(self.text.len())..span.end.min(self.text.len())];
        if text.first() != Some(&'&') {
            return span;
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
        Span { start: span.start + anchor + blanks + header, ..span }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, span: Span) {
        if let Some(Frame::Map { key: key @ None, seen, .. }) = self.frames.last_mut() {
            *key = Some((text.to_owned(), span));
            let first = seen.insert(text.to_owned(), span);
            self.key(text, style, span, first);
            return;
        }
        self.size.nodes += 1;
        self.size.bytes += text.len();
        let pointer = self.value(span);
        self.limit(span);
        if let Some(pointer) = pointer {
            if let Some(node) = self.index.nodes.get_mut(&pointer) {
                node.quotes = match style {
                    ScalarStyle::SingleQuoted => Quotes::Single,
                    ScalarStyle::DoubleQuoted => Quotes::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Quotes::Block,
                    ScalarStyle::Plain => Quotes::Plain,
                };
                if let (Some(key), true, ScalarStyle::Plain) = (node.key, span.start == span.end, style) {
                    // A value that is left out is reported at its key.
                    node.value = key;
                }
            }
            let size = Size { nodes: 1, bytes: pointer.len() + text.len() };
            self.anchors.insert(anchor, (pointer, size));
        }
    }

    fn key(&mut self, text: &str, style: ScalarStyle, span: Span, first: Option<Span>) {
        if let Some(first) = first {
            let line = 1 + self.text[..first.start].iter().filter(|c| **c == '\n').count();
            let message = format!("the key `{}` stands here twice, first on line {line}", text.escape_debug());
            self.forbid(codes::TL0006, span, message, Some("remove one of them"), false);
        }
        if style != ScalarStyle::Plain {
            if text == "<<" {
                let help = "write `<<` without quotes to merge; no key of a pipeline is called so";
                self.forbid(codes::TL0010, span, "a merge key has no quotes", Some(help), false);
            }
            return;
        }
        if span.start == span.end {
            self.forbid(codes::TL0010, span, "a key is missing", None, false);
        } else if !syntax::is_text(text) {
            self.forbid(
                codes::TL0010,
                span,
                format!("the key `{text}` is not a text"),
                Some("put it in quotes"),
                false,
            );
        }
    }

    /// Starts a map or a list. Returns its pointer, or `None` if it stands where a key belongs.
    fn enter(&mut self, span: Span) -> Option<String> {
        if let Some(Frame::Map { key: None, .. }) = self.frames.last() {
            self.forbid(codes::TL0010, span, "a key must be a plain text", Some("write its name"), true);
            return None;
        }
        self.size.nodes += 1;
        if self.frames.len() >= MAX_DEPTH {
            self.forbid(codes::TL0004, span, too_deep(), None, true);
            return None;
        }
        let pointer = self.value(span);
        self.limit(span);
        pointer
    }

    fn limit(&mut self, span: Span) {
        if self.size.nodes > MAX_NODES {
            self.forbid(codes::TL0004, span, format!("more than {MAX_NODES} values, aliases unfolded"), None, true);
        } else if self.size.bytes > MAX_TEXT_BYTES {
            let message = format!("more than {} MiB of names and texts, aliases unfolded", MAX_TEXT_BYTES >> 20);
            self.forbid(codes::TL0004, span, message, Some("repeat less, or use shorter names"), true);
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) {
        self.aliases += 1;
        if self.aliases > MAX_ALIASES {
            self.forbid(codes::TL0004, span, format!("more than {MAX_ALIASES} aliases"), None, true);
            return;
        }
        if let Some(Frame::Map { key: None, .. }) = self.frames.last() {
            self.forbid(codes::TL0010, span, "a key must be a plain text, not an alias", Some("write its name"), true);
            return;
        }
        let Some((target, size)) = self.anchors.get(&anchor).cloned() else {
            // The anchored value is still open, so it would contain itself.
            self.forbid(codes::TL0005, span, "this alias stands inside what it names", None, true);
            return;
        };
        self.size.nodes = self.size.nodes.saturating_add(size.nodes);
        self.size.bytes = self.size.bytes.saturating_add(size.bytes);
        if let Some(pointer) = self.value(span) {
            // Each value of the copy has a pointer with this prefix.
            self.size.bytes = self.size.bytes.saturating_add(size.nodes.saturating_mul(pointer.len()));
            self.limit(span);
            self.index.aliases.insert(pointer, target);
        }
    }

    /// Starts a value: records its node and returns its pointer.
    fn value(&mut self, span: Span) -> Option<String> {
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
        self.index.nodes.insert(pointer.clone(), Node { source: 0, key, value: span, quotes: Quotes::Plain });
        Some(pointer)
    }
}

fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH} levels")
}
