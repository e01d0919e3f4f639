//! The Rust files of a folder, and their code without comments, texts and tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::files;

/// A file of the repository.
pub struct Source {
    /// Its path from the folder that was read.
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    /// The room: the first part of the path.
    pub fn room(&self) -> String {
        self.path.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    /// Files that hold nothing except tests.
    pub fn is_test(&self) -> bool {
        self.path.file_stem().is_some_and(|stem| stem == "tests") || self.path.iter().any(|part| part == "tests")
    }

    /// The lines before the tests.
    pub fn lines(&self) -> usize {
        self.text.split("\n#[cfg(test)]\n").next().unwrap_or_default().lines().count()
    }

    pub fn code(&self) -> String {
        without_tests(&bare(&self.text))
    }
}

/// All Rust files of a folder of the repository.
pub fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let names = files(&root).into_iter().filter(|name| name.ends_with(".rs"));
    names.map(|name| Source { text: fs::read_to_string(root.join(&name)).unwrap(), path: name.into() }).collect()
}

/// The code without comments, and with its texts empty.
pub fn bare(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            code.push_str("\"\"");
            end_of_text(rest)
        } else if let Some(hashes) = raw_text(&code, rest) {
            code.push_str("\"\"");
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            begin + rest[begin..].find(&end).map_or(rest.len() - begin, |at| at + end.len())
        } else if c == '\'' {
            let end = end_of_character(rest);
            code.push_str(if end == 1 { "'" } else { "' '" });
            end
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn end_of_text(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    rest.len()
}

/// How many `#` a raw text begins with, where one begins here.
fn raw_text(before: &str, rest: &str) -> Option<usize> {
    let marks = rest.strip_prefix('r')?;
    let hashes = marks.len() - marks.trim_start_matches('#').len();
    let is_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with('b');
    (!is_word && marks[hashes..].starts_with('"')).then_some(hashes)
}

/// Where a character ends; 1 for a lifetime, whose quote stands alone.
fn end_of_character(rest: &str) -> usize {
    let mut inside = rest[1..].char_indices();
    let first = inside.next().map(|(_, c)| c);
    if first == Some('\\') {
        return rest[3..].find('\'').map_or(rest.len(), |at| at + 4);
    }
    match inside.next() {
        Some((at, '\'')) => at + 2,
        _ => 1,
    }
}

/// The code without the items behind `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    const GATE: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(GATE) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + GATE.len()..];
        rest = &rest[end_of_item(rest)..];
    }
    kept + rest
}

/// An item ends at its `;` or with its braces.
fn end_of_item(code: &str) -> usize {
    let is_import =
        code.split("use ").next().is_some_and(|before| !before.contains([';', '{'])) && code.contains("use ");
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}' && !is_import) {
            return at + 1;
        }
    }
    code.len()
}

#[test]
fn comments_texts_and_tests_are_no_code() {
    let code = "a(\"crate::x \\\" {\"); // crate::y\nb(r#\"crate::\"z\"#, '\"', '\\'', &'a str);\n#[cfg(test)]\npub use z::{c, d};\nlet e;\n\
                #[cfg(test)]\n#[allow(x)]\nmod tests { fn f() {} }\nlet g;";
    assert_eq!(without_tests(&bare(code)), "a(\"\"); \nb(\"\", ' ', ' ', &'a str);\n\nlet e;\n\nlet g;");
}
