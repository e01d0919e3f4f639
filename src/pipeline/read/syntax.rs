//! Explains what is wrong with a text that is not YAML, in the words of people who write it.

use super::source::Span;
use crate::diagnostic::{Code, codes};

/// Something in a text that the language forbids.
pub(super) struct Forbidden {
    pub(super) code: Code,
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Whether reading further would only repeat it.
    pub(super) fatal: bool,
}

/// Explains the parser error `info`. The parser stopped at character `at`.
pub(super) fn explain(text: &[char], at: usize, info: &str) -> Forbidden {
    let at = at.min(text.len());
    if let Some(tab) = tab(text, at) {
        let span = Span { start: tab, end: tab + 1 };
        return forbidden(codes::TL0007, span, "a tab in the indentation", Some("indent with spaces"));
    }
    // The most common cause is an expression in a flow map: in `{ key: ${{ … }} }` the braces are YAML's own.
    let rest = &text[at..];
    if at > 0 && text[at - 1] == '$' && rest.starts_with(&['{', '{']) {
        let length = rest.windows(2).take_while(|pair| pair[0] != '\n').position(|pair| pair == ['}', '}']);
        let span = Span { start: at - 1, end: at + length.map_or(2, |length| length + 2) };
        let message = "an expression between `{ }` or `[ ]` needs quotes";
        return forbidden(codes::TL0005, span, message, Some("write it as \"${{ … }}\""));
    }
    let span = Span { start: at, end: at + word(rest).max(1) };
    let (message, help) = match info {
        "while parsing node, found unknown anchor" => {
            let alias: String = text[span.start..span.end.min(text.len())].iter().collect();
            let help = format!("an anchor `{}` must stand before it", alias.replace('*', "&"));
            return Forbidden { help: Some(help), ..forbidden(codes::TL0005, span, &unknown_alias(&alias), None) };
        }
        "mapping values are not allowed in this context" if in_expression(&text[..at]) => {
            ("an expression with a `: ` in it needs quotes", Some("write it as \"${{ … }}\""))
        }
        "mapping values are not allowed in this context" => {
            ("a `: ` in the middle of a value", Some("put the value in quotes, or indent a key by its map"))
        }
        "invalid indentation in quoted scalar" | "while scanning a quoted scalar, found unexpected end of stream" => {
            ("this quote is not closed", Some("a text in quotes that goes on must be indented more than its key"))
        }
        "while parsing a block mapping, did not find expected key" => {
            ("this does not line up with the keys above it", Some("keys of one map begin in the same column"))
        }
        "while parsing a block collection, did not find expected '-' indicator" => {
            ("this does not line up with the items above it", Some("items of one list begin in the same column"))
        }
        "while parsing a flow sequence, expected ',' or ']'" => {
            ("a list `[…]` goes on here without `,` or `]`", Some("one of the two is missing before this"))
        }
        "while parsing a flow mapping, did not find expected ',' or '}'" => {
            ("a map `{…}` goes on here without `,` or `}`", Some("one of the two is missing before this"))
        }
        "while parsing a quoted scalar, found unknown escape character" => {
            ("this is not an escape", Some("write a backslash twice, or use single quotes"))
        }
        other => return forbidden(codes::TL0005, span, &format!("this is not YAML: {other}"), None),
    };
    forbidden(codes::TL0005, span, message, help)
}

fn unknown_alias(alias: &str) -> String {
    format!("the alias `{alias}` stands for nothing")
}

fn forbidden(code: Code, span: Span, message: &str, help: Option<&str>) -> Forbidden {
    Forbidden { code, span, message: message.to_owned(), help: help.map(str::to_owned), fatal: true }
}

/// Whether the last line of the text has an open expression.
fn in_expression(text: &[char]) -> bool {
    let line: String = text.iter().rev().take_while(|c| **c != '\n').collect();
    // `line` is reversed, so it looks for `${{` backwards.
    line.find("{{$").is_some_and(|open| !line[..open].contains("}}"))
}

/// The tab that confused the parser. The parser stops in the line with the tab or in the line after it.
fn tab(text: &[char], at: usize) -> Option<usize> {
    let line = |end: usize| text[..end].iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1);
    let this = line(at);
    let before = this.checked_sub(1).map(line);
    [Some(this), before].into_iter().flatten().find_map(|start| {
        let blanks = text[start..].iter().take_while(|c| matches!(c, ' ' | '\t'));
        blanks.clone().position(|c| *c == '\t').map(|column| start + column)
    })
}

/// The length of the name or number at the beginning of the text.
fn word(text: &[char]) -> usize {
    let sigil = usize::from(text.first().is_some_and(|c| matches!(c, '*' | '&' | '!' | '%')));
    sigil + text[sigil..].iter().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-')).count()
}

/// Whether YAML reads a plain scalar as a text, and not as a number, a truth value or `null`.
pub(super) fn is_text(plain: &str) -> bool {
    let suspicious = plain.is_empty() || plain.starts_with(|c: char| c.is_ascii_digit() || "+-.~nNtTfF".contains(c));
    // The parser that reads the values decides.
    !suspicious || !matches!(serde_yaml::from_str(plain), Ok(value) if !matches!(value, serde_yaml::Value::String(_)))
}
