//! Parses texts with expressions, and expressions themselves, with positions.

use crate::diagnostic::codes;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, SourceInfo, operators};
use cel::parser::Parser;

use super::{ExpressionError, syntax};

/// How long an expression may be. A longer one is a program and belongs into one.
const MAX_SOURCE_BYTES: usize = 4_096;
/// How deep the parser may recurse.
const MAX_DEPTH: u16 = 32;
/// How many levels the syntax tree may have. `a + b + c` has one for each `+`. `cel` evaluates recursively and uses 25 KiB
/// of stack for each level, and a thread has 2 MiB. An overflow would abort the whole process.
pub(super) const MAX_LEVELS: usize = 48;
/// How many operators and fields an expression may have. The parser builds the tree recursively too, before its levels can
/// be counted.
const MAX_OPERATORS: usize = 400;

/// One parsed expression and its position in its text.
#[derive(Clone, Debug)]
pub struct Expression {
    pub(super) ast: Arc<IdedExpr>,
    info: Arc<SourceInfo>,
    source: String,
    /// Where `source` begins, in characters from the start of the text that holds it.
    offset: usize,
}

/// A piece of a text.
#[derive(Clone, Debug)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// An expression.
    Expression(Expression),
}

/// A text that may hold expressions.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

/// The cache of parsed expressions: the parser is slow, files repeat expressions, and several checks parse each of them.
const MAX_CACHED: usize = 1_024;
const MAX_CACHED_BYTES: usize = 256;

/// A tree, and the positions of its nodes.
type Parsed = (Arc<IdedExpr>, Arc<SourceInfo>);

thread_local! {
    static CACHE: RefCell<HashMap<String, Parsed>> = RefCell::default();
}

impl Expression {
    /// Parses a bare expression that begins `offset` characters into its text.
    pub fn parse(source: &str, offset: usize) -> Result<Self, ExpressionError> {
        let blanks = source.chars().take_while(|c| c.is_whitespace()).count();
        let whole = (offset + blanks, source.trim().chars().count());
        if source.len() > MAX_SOURCE_BYTES {
            let message = format!("this expression is longer than {MAX_SOURCE_BYTES} bytes");
            return Err(ExpressionError::new(codes::TL0309, whole, message)
                .help("compute it in a `run` stage and use its output"));
        }
        if source.trim().is_empty() {
            return Err(ExpressionError::new(codes::TL0301, whole, "this expression is empty"));
        }
        let too_deep = || {
            let message = "this expression is nested too deep, or has too many operators in a row";
            let help = "join texts by writing them around `${{ }}`, or compute it in a `run` stage and use its output";
            ExpressionError::new(codes::TL0309, whole, message).help(help)
        };
        if source.matches(|c| "+-*/%.[?".contains(c)).count() > MAX_OPERATORS {
            return Err(too_deep());
        }
        if let Some((ast, info)) = CACHE.with_borrow(|parsed| parsed.get(source).cloned()) {
            return Ok(Self { ast, info, source: source.to_owned(), offset });
        }
        let parser = Parser::new().max_recursion_depth(MAX_DEPTH);
        match parser.parse_with_source_info(source) {
            Ok((ast, _)) if !has_levels(&ast, MAX_LEVELS) => Err(too_deep()),
            Ok((ast, info)) => {
                let (ast, info) = (Arc::new(ast), Arc::new(info));
                CACHE.with_borrow_mut(|parsed| {
                    if parsed.len() >= MAX_CACHED {
                        parsed.clear();
                    }
                    if source.len() <= MAX_CACHED_BYTES {
                        parsed.insert(source.to_owned(), (Arc::clone(&ast), Arc::clone(&info)));
                    }
                });
                Ok(Self { ast, info, source: source.to_owned(), offset })
            }
            Err(errors) => {
                // Errors about the parser's own tree only follow from errors in the text.
                let is_own = |message: &str| message.starts_with("Incomplete");
                let first = errors.errors.iter().min_by_key(|error| (is_own(&error.msg), error.pos));
                let (message, (line, column)) =
                    first.map_or_else(|| ("syntax error".to_owned(), (0, 0)), |e| (e.msg.clone(), e.pos));
                let (place, message, help) = syntax::explain(source, position(source, line, column), &message);
                let error = ExpressionError::new(codes::TL0301, (offset + place.0, place.1), message);
                Err(match help {
                    Some(help) => error.help(help),
                    None => error,
                })
            }
        }
    }

    /// The text of the expression.
    pub fn source(&self) -> &str {
        self.source.trim()
    }

    /// The character offset and length of a node in the text that holds the expression.
    pub(super) fn span(&self, id: u64) -> (usize, usize) {
        let length = self.source.chars().count();
        match self.info.offset_for(id) {
            // `cel` gives the first and the last byte of one token, inclusive.
            Some((start, stop)) => {
                let chars = |bytes: u32| self.source.char_indices().take_while(|(i, _)| *i < bytes as usize).count();
                let (start, stop) = (chars(start), chars(stop.saturating_add(1)));
                (self.offset + start.min(length), stop.saturating_sub(start).max(1))
            }
            None => self.place(),
        }
    }

    /// The position of the name of a field. `cel` gives the position of the dot before it.
    pub(super) fn field_span(&self, id: u64, field: &str) -> (usize, usize) {
        let (dot, _) = self.span(id);
        let from = dot - self.offset + 1;
        let blanks = self.source.chars().skip(from).take_while(|c| c.is_whitespace()).count();
        (self.offset + from + blanks, field.chars().count())
    }

    /// The position of the name of a function. `cel` gives the position of the parenthesis.
    pub(super) fn call_span(&self, id: u64, name: &str) -> (usize, usize) {
        let (at, length) = self.span(id);
        let before: Vec<char> = self.source.chars().take(at - self.offset).collect();
        let end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| last + 1);
        let name: Vec<char> = name.chars().collect();
        if before[..end].ends_with(&name) { (self.offset + end - name.len(), name.len()) } else { (at, length) }
    }

    /// The position of a name with its fields as a whole. For anything else, the position of its first token.
    pub(super) fn extent(&self, node: &IdedExpr) -> (usize, usize) {
        let Expr::Select(select) = &node.expr else { return self.span(node.id) };
        let (start, _) = self.extent(&select.operand);
        let (field, length) = self.field_span(node.id, &select.field);
        (start, (field + length).saturating_sub(start))
    }

    /// Help for an expression that must not be null. `fallback` is CEL.
    pub fn unless_null(&self, fallback: &str) -> String {
        let (name, _) = self.named();
        format!("say what to use for null: `{name} == null ? {fallback} : {name}`")
    }

    /// A name for the expression in a message, and whether it is its own text. Long expressions are called `x`.
    pub(super) fn named(&self) -> (&str, bool) {
        let is_name = self.source().chars().all(|c| c.is_ascii_alphanumeric() || "._[]".contains(c));
        if is_name { (self.source(), true) } else { ("x", false) }
    }

    /// The position of the expression, without the white space around it.
    pub fn place(&self) -> (usize, usize) {
        let blanks = self.source.chars().take_while(|c| c.is_whitespace()).count();
        (self.offset + blanks, self.source().chars().count())
    }

    /// The paths that it selects, such as `["needs", "seal", "outputs", "artifact"]`: the longest paths that start at a name.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        collect_paths(&self.ast, &mut paths);
        paths
    }

    /// The names that it begins with, such as `needs` or `inputs`.
    pub fn roots(&self) -> Vec<String> {
        self.ast.references().variables().into_iter().map(str::to_owned).collect()
    }
}

impl Template {
    /// Finds the expressions of a text.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${{") {
            let opening = offset_of(text, rest) + rest[..start].chars().count();
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_owned()));
            }
            let body = &rest[start + 3..];
            let end = closing(body).map_err(|quote| match quote {
                Some(quote) if body.contains("}}") => {
                    let at = opening + 3 + body[..quote].chars().count();
                    ExpressionError::new(codes::TL0301, (at, 1), "this quote is not closed")
                }
                _ => ExpressionError::new(codes::TL0301, (opening, 3), "this `${{` has no `}}`")
                    .help("close it: `${{ inputs.name }}`"),
            })?;
            if body[..end].trim().is_empty() {
                let whole = body[..end].chars().count() + 5;
                return Err(ExpressionError::new(codes::TL0301, (opening, whole), "this expression is empty"));
            }
            parts.push(Part::Expression(Expression::parse(&body[..end], opening + 3)?));
            rest = &body[end + 2..];
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Whether a text holds an expression.
    pub fn is_in(text: &str) -> bool {
        text.contains("${{")
    }

    /// Its parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its expressions, in order.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }
}

/// Whether a tree has at most `levels` levels.
fn has_levels(node: &IdedExpr, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    match &node.expr {
        Expr::Select(select) => has_levels(&select.operand, levels),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).all(|n| has_levels(n, levels)),
        Expr::List(list) => list.elements.iter().all(|n| has_levels(n, levels)),
        Expr::Map(map) => map.entries.iter().all(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => has_levels(&entry.key, levels) && has_levels(&entry.value, levels),
            EntryExpr::StructField(field) => has_levels(&field.value, levels),
        }),
        Expr::Comprehension(it) => [&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
            .into_iter()
            .all(|n| has_levels(n, levels)),
        _ => true,
    }
}

/// The names of a chain of selections, from the root. `None` if the node is anything else.
pub(super) fn path(node: &IdedExpr) -> Option<Vec<String>> {
    match &node.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut names = path(&select.operand)?;
            names.push(select.field.clone());
            Some(names)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }] => {
                let mut names = path(of)?;
                names.push(field.inner().to_owned());
                Some(names)
            }
            _ => None,
        },
        _ => None,
    }
}

fn collect_paths(node: &IdedExpr, into: &mut Vec<Vec<String>>) {
    if let Some(path) = path(node) {
        into.push(path);
        return;
    }
    match &node.expr {
        Expr::Select(select) => collect_paths(&select.operand, into),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(|n| collect_paths(n, into)),
        Expr::List(list) => list.elements.iter().for_each(|n| collect_paths(n, into)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    collect_paths(&entry.key, into);
                    collect_paths(&entry.value, into);
                }
            }
        }
        Expr::Comprehension(it) => {
            [&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
                .into_iter()
                .for_each(|n| collect_paths(n, into));
        }
        _ => {}
    }
}

/// The character offset of `rest`, which is the tail of `text`.
fn offset_of(text: &str, rest: &str) -> usize {
    text[..text.len() - rest.len()].chars().count()
}

/// The byte offset of the `}}` that ends the expression: outside of quotes, and not the end of a map in a map. Fails with
/// the offset of an unclosed quote, if there is one.
fn closing(body: &str) -> Result<usize, Option<usize>> {
    let bytes = body.as_bytes();
    let (mut quote, mut depth, mut i) = (None, 0_usize, 0);
    while i < bytes.len() {
        match (quote, bytes[i]) {
            (Some(_), b'\\') => i += 1,
            (Some((q, _)), b) if b == q => quote = None,
            (None, b @ (b'\'' | b'"')) => quote = Some((b, i)),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(i + 1) == Some(&b'}') => return Ok(i),
            _ => {}
        }
        i += 1;
    }
    Err(quote.map(|(_, at)| at))
}

/// The character offset of a line and column as `cel` gives them: both from 1, or 0 if unknown.
fn position(source: &str, line: isize, column: isize) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let before: usize = source.split_inclusive('\n').take(line).map(|l| l.chars().count()).sum();
    before + usize::try_from(column - 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Vec<String> {
        Template::parse(text).unwrap().expressions().map(|e| e.source().to_owned()).collect()
    }

    #[test]
    fn expressions_are_found_between_text() {
        assert_eq!(sources("a ${{ inputs.x }} b ${{run.id}}"), ["inputs.x", "run.id"]);
        assert_eq!(sources("${{ {'a': {'b': 1}} }}"), ["{'a': {'b': 1}}"]);
        assert_eq!(sources("${{ 'it }} is' }}!"), ["'it }} is'"]);
        assert!(sources("no $ { { here }}").is_empty());
    }

    #[test]
    fn mistakes_point_into_the_text() {
        let open = Template::parse("ä ${{ inputs.x").unwrap_err();
        assert_eq!((open.offset, open.length), (2, 3));
        let syntax = Template::parse("ab ${{ inputs. }}").unwrap_err();
        assert_eq!(syntax.code, codes::TL0301);
        assert!((6..=14).contains(&syntax.offset), "{syntax:?}");
        let empty = Template::parse("a ${{ }}").unwrap_err();
        assert_eq!((empty.code, empty.offset, empty.length), (codes::TL0301, 2, 6));
        let quote = Template::parse("${{ 'a }}").unwrap_err();
        assert_eq!((quote.code, quote.offset, quote.length), (codes::TL0301, 4, 1));
        assert_eq!(Template::parse(&format!("${{{{ {} }}}}", "1+".repeat(3_000))).unwrap_err().code, codes::TL0309);
    }
}
