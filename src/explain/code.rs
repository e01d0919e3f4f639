use std::sync::LazyLock;

use serde::Serialize;

use crate::diagnostic::{Code, codes, with_every_code};

/// The page of one code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The code, such as `TL0207`.
    pub code: Code,
    /// What happened, in a few words.
    pub title: &'static str,
    /// Why, in one or two paragraphs.
    pub cause: &'static str,
    /// An example that gives this code.
    pub wrong: Example,
    /// The same, done right.
    pub right: Example,
}

/// Files in an empty folder, and the commands to run there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The files, written before the commands run.
    pub files: Vec<File>,
    /// Lines for a shell.
    pub commands: Vec<&'static str>,
}

/// A file of an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its whole text.
    pub text: &'static str,
}

static ALL: LazyLock<Vec<Explanation>> =
    LazyLock::new(|| TEXTS.iter().map(|(_, text)| read(text).expect("a test reads every text")).collect());

/// Every code, in order.
pub fn all() -> &'static [Explanation] {
    &ALL
}

/// The explanation of a code, in any of the forms that [`parse_code`] reads.
pub fn find(word: &str) -> Option<&'static Explanation> {
    let code: Code = parse_code(word)?.parse().ok()?;
    all().iter().find(|explanation| explanation.code == code)
}

/// The code that a word means: `tl207`, `0207`, `E0207` and a pasted `error[TL0207]:` are all `TL0207`.
pub fn parse_code(word: &str) -> Option<String> {
    let word = word.trim_end_matches([':', ']']).to_lowercase();
    let before = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let number: u16 = word[before.len()..].parse().ok()?;
    let is_code = matches!(before, "" | "e" | "tl" | "tl-" | "error[tl" | "warning[tl");
    is_code.then(|| format!("TL{number:04}"))
}

/// Reads a page: a heading, the cause, `## Wrong` and `## Right`. Fails with what the page lacks.
fn read(text: &'static str) -> Result<Explanation, &'static str> {
    let text = text.strip_prefix("# ").ok_or("it begins with no heading")?;
    let (heading, text) = text.split_once("\n\n").ok_or("nothing follows the heading")?;
    let (code, title) = heading.split_once(": ").ok_or("the heading is no code and title")?;
    let code = code.parse().map_err(|_| "the heading is no code and title")?;
    let (cause, text) = text.split_once("\n\n## Wrong\n\n").ok_or("`## Wrong` is missing")?;
    let (wrong, right) = text.split_once("\n\n## Right\n\n").ok_or("`## Right` is missing")?;
    Ok(Explanation { code, title, cause, wrong: read_example(wrong)?, right: read_example(right)? })
}

/// Reads fenced blocks. `yaml NAME` is a file (without a name `pipeline.yaml`), `console` holds the commands.
fn read_example(text: &'static str) -> Result<Example, &'static str> {
    let mut example = Example::default();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (kind, after) = rest.strip_prefix("```").and_then(|block| block.split_once('\n')).ok_or("no block")?;
        let (body, after) = after.split_at(after.find("\n```").ok_or("a block has no end")? + 1);
        rest = after["```".len()..].trim_start();
        match kind.split_once(' ') {
            None if kind == "console" => {
                for line in body.lines() {
                    example.commands.push(line.strip_prefix("$ ").ok_or("a command begins with `$ `")?);
                }
            }
            None if kind == "yaml" => example.files.push(File { name: "pipeline.yaml", text: body }),
            Some((_, name)) => example.files.push(File { name, text: body }),
            None => return Err("a block is a file without a name"),
        }
    }
    if example.commands.is_empty() {
        example.commands.push("tl validate pipeline.yaml");
    }
    Ok(example)
}

macro_rules! texts {
    ($($code:ident)*) => {
        /// The page of each code, in order.
        const TEXTS: &[(Code, &str)] = &[$((codes::$code, include_str!(concat!("codes/", stringify!($code), ".md")))),*];
    };
}
with_every_code!(texts);

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TL0001: a title\n\nWhy.\n\nMore.\n\n## Wrong\n\n```yaml\na: 1\n```\n\n```console\n$ tl run \
                        pipeline.yaml\n$ true\n```\n\n## Right\n\n```hbs message.hbs\nx\n\ny\n```\n";

    #[test]
    fn every_text_is_read_and_in_order() {
        for (code, text) in TEXTS {
            let read = read(text).unwrap_or_else(|lack| panic!("{lack}:\n{text}"));
            assert_eq!(read.code, *code);
            assert!(!read.cause.is_empty() && !read.cause.contains("\n#"), "{text}");
        }
        assert!(all().is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn a_text_has_parts() {
        let read = read(TEXT).unwrap();
        assert_eq!((read.code, read.title, read.cause), (codes::TL0001, "a title", "Why.\n\nMore."));
        assert_eq!(read.wrong.files, [File { name: "pipeline.yaml", text: "a: 1\n" }]);
        assert_eq!(read.wrong.commands, ["tl run pipeline.yaml", "true"]);
        assert_eq!(read.right.files, [File { name: "message.hbs", text: "x\n\ny\n" }]);
        assert_eq!(read.right.commands, ["tl validate pipeline.yaml"]);
    }

    #[test]
    fn what_a_text_lacks_is_said() {
        for (from, to, lack) in [
            ("# TL", "TL", "it begins with no heading"),
            ("TL0001: ", "TL0001 ", "the heading is no code and title"),
            ("## Wrong", "## Bad", "`## Wrong` is missing"),
            ("## Right", "## Good", "`## Right` is missing"),
            ("$ true", "true", "a command begins with `$ `"),
            ("```hbs message.hbs", "```hbs", "a block is a file without a name"),
            ("```yaml\n", "as so: ```yaml\n", "no block"),
            ("y\n```\n", "y\n", "a block has no end"),
        ] {
            assert_eq!(read(String::leak(TEXT.replacen(from, to, 1))), Err(lack));
        }
    }

    #[test]
    fn a_code_is_understood_however_it_is_spelled() {
        for word in
            ["TL0207", "tl0207", "tl207", "0207", "207", "E0207", "TL-0207", "error[TL0207]:", "warning[tl0207]"]
        {
            assert_eq!(parse_code(word).as_deref(), Some("TL0207"), "{word}");
        }
        for word in ["", "TL", "TLO207", "key", "0207x", "x0207", "TL99999999", "-207", "é207"] {
            assert_eq!(parse_code(word), None, "{word}");
        }
    }
}
