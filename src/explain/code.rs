use std::sync::LazyLock;

use serde::Serialize;

/// What one code means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Such as `TL0207`.
    pub code: &'static str,
    /// What happened, in a few words.
    pub title: &'static str,
    /// Why, in one or two paragraphs.
    pub cause: &'static str,
    /// What gives this code.
    pub wrong: Example,
    /// How it is done.
    pub right: Example,
}

/// Files in an empty folder, and what is run there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The files, written before anything runs.
    pub files: Vec<File>,
    /// The lines of a shell.
    pub commands: Vec<&'static str>,
}

/// A file of an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its name in the folder.
    pub name: &'static str,
    /// All of it.
    pub text: &'static str,
}

static ALL: LazyLock<Vec<Explanation>> =
    LazyLock::new(|| TEXTS.iter().map(|text| read(text).expect("a test reads every text")).collect());

/// Every code, in order.
pub fn all() -> &'static [Explanation] {
    &ALL
}

/// The explanation of a code, however it is spelled.
pub fn find(word: &str) -> Option<&'static Explanation> {
    let code = spelled(word)?;
    all().iter().find(|explanation| explanation.code == code)
}

/// The code that a word means: `tl207`, `0207`, `E0207` and a pasted `error[TL0207]:` are all `TL0207`.
pub fn spelled(word: &str) -> Option<String> {
    let word = word.trim_end_matches([':', ']']).to_lowercase();
    let before = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let number: u16 = word[before.len()..].parse().ok()?;
    let is_code = matches!(before, "" | "e" | "tl" | "tl-" | "error[tl" | "warning[tl");
    is_code.then(|| format!("TL{number:04}"))
}

/// Reads a text: a heading, the cause, `## Wrong` and `## Right`. Says what it lacks.
fn read(text: &'static str) -> Result<Explanation, &'static str> {
    let text = text.strip_prefix("# ").ok_or("it begins with no heading")?;
    let (heading, text) = text.split_once("\n\n").ok_or("nothing follows the heading")?;
    let (code, title) = heading.split_once(": ").ok_or("the heading is no code and title")?;
    let (cause, text) = text.split_once("\n\n## Wrong\n\n").ok_or("`## Wrong` is missing")?;
    let (wrong, right) = text.split_once("\n\n## Right\n\n").ok_or("`## Right` is missing")?;
    Ok(Explanation { code, title, cause, wrong: read_example(wrong)?, right: read_example(right)? })
}

/// Reads fenced blocks: `yaml NAME` is a file, `pipeline.yaml` without a name; `console` is what is run.
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

/// One line a code.
const TEXTS: &[&str] = &[
    include_str!("codes/TL0001.md"),
    include_str!("codes/TL0002.md"),
    include_str!("codes/TL0003.md"),
    include_str!("codes/TL0004.md"),
    include_str!("codes/TL0005.md"),
    include_str!("codes/TL0006.md"),
    include_str!("codes/TL0007.md"),
    include_str!("codes/TL0008.md"),
    include_str!("codes/TL0009.md"),
    include_str!("codes/TL0010.md"),
    include_str!("codes/TL0011.md"),
    include_str!("codes/TL0012.md"),
    include_str!("codes/TL0101.md"),
    include_str!("codes/TL0102.md"),
    include_str!("codes/TL0103.md"),
    include_str!("codes/TL0104.md"),
    include_str!("codes/TL0105.md"),
    include_str!("codes/TL0201.md"),
    include_str!("codes/TL0202.md"),
    include_str!("codes/TL0203.md"),
    include_str!("codes/TL0204.md"),
    include_str!("codes/TL0205.md"),
    include_str!("codes/TL0206.md"),
    include_str!("codes/TL0207.md"),
    include_str!("codes/TL0208.md"),
    include_str!("codes/TL0209.md"),
    include_str!("codes/TL0210.md"),
    include_str!("codes/TL0211.md"),
    include_str!("codes/TL0301.md"),
    include_str!("codes/TL0302.md"),
    include_str!("codes/TL0303.md"),
    include_str!("codes/TL0304.md"),
    include_str!("codes/TL0305.md"),
    include_str!("codes/TL0306.md"),
    include_str!("codes/TL0307.md"),
    include_str!("codes/TL0308.md"),
    include_str!("codes/TL0309.md"),
    include_str!("codes/TL0310.md"),
    include_str!("codes/TL0311.md"),
    include_str!("codes/TL0312.md"),
    include_str!("codes/TL0313.md"),
    include_str!("codes/TL0314.md"),
    include_str!("codes/TL0315.md"),
    include_str!("codes/TL0317.md"),
    include_str!("codes/TL0318.md"),
    include_str!("codes/TL0319.md"),
    include_str!("codes/TL0401.md"),
    include_str!("codes/TL0402.md"),
    include_str!("codes/TL0403.md"),
    include_str!("codes/TL0404.md"),
    include_str!("codes/TL0405.md"),
    include_str!("codes/TL0406.md"),
    include_str!("codes/TL0407.md"),
    include_str!("codes/TL0408.md"),
    include_str!("codes/TL0409.md"),
    include_str!("codes/TL0410.md"),
    include_str!("codes/TL0411.md"),
    include_str!("codes/TL0412.md"),
    include_str!("codes/TL0413.md"),
    include_str!("codes/TL0414.md"),
    include_str!("codes/TL0501.md"),
    include_str!("codes/TL0502.md"),
    include_str!("codes/TL0503.md"),
    include_str!("codes/TL0504.md"),
    include_str!("codes/TL0510.md"),
    include_str!("codes/TL0511.md"),
    include_str!("codes/TL0512.md"),
    include_str!("codes/TL0513.md"),
    include_str!("codes/TL0514.md"),
    include_str!("codes/TL0515.md"),
    include_str!("codes/TL0516.md"),
    include_str!("codes/TL0601.md"),
    include_str!("codes/TL0602.md"),
    include_str!("codes/TL0603.md"),
    include_str!("codes/TL0604.md"),
    include_str!("codes/TL0605.md"),
    include_str!("codes/TL0606.md"),
    include_str!("codes/TL0607.md"),
    include_str!("codes/TL0608.md"),
    include_str!("codes/TL0609.md"),
    include_str!("codes/TL0610.md"),
    include_str!("codes/TL0611.md"),
    include_str!("codes/TL0612.md"),
    include_str!("codes/TL0613.md"),
    include_str!("codes/TL0614.md"),
    include_str!("codes/TL0620.md"),
    include_str!("codes/TL0621.md"),
    include_str!("codes/TL0622.md"),
    include_str!("codes/TL0623.md"),
    include_str!("codes/TL0624.md"),
    include_str!("codes/TL0630.md"),
    include_str!("codes/TL0631.md"),
    include_str!("codes/TL0632.md"),
    include_str!("codes/TL0633.md"),
    include_str!("codes/TL0634.md"),
    include_str!("codes/TL0635.md"),
    include_str!("codes/TL0636.md"),
    include_str!("codes/TL0637.md"),
    include_str!("codes/TL0638.md"),
    include_str!("codes/TL0639.md"),
    include_str!("codes/TL0640.md"),
    include_str!("codes/TL0641.md"),
    include_str!("codes/TL0642.md"),
    include_str!("codes/TL0643.md"),
    include_str!("codes/TL0644.md"),
    include_str!("codes/TL0645.md"),
    include_str!("codes/TL0646.md"),
    include_str!("codes/TL0647.md"),
    include_str!("codes/TL0648.md"),
    include_str!("codes/TL0649.md"),
    include_str!("codes/TL0650.md"),
    include_str!("codes/TL0651.md"),
    include_str!("codes/TL0652.md"),
    include_str!("codes/TL0653.md"),
    include_str!("codes/TL0654.md"),
    include_str!("codes/TL0655.md"),
    include_str!("codes/TL0656.md"),
    include_str!("codes/TL0657.md"),
    include_str!("codes/TL0658.md"),
    include_str!("codes/TL0659.md"),
    include_str!("codes/TL0660.md"),
    include_str!("codes/TL0661.md"),
    include_str!("codes/TL0670.md"),
    include_str!("codes/TL0671.md"),
    include_str!("codes/TL0672.md"),
    include_str!("codes/TL0673.md"),
    include_str!("codes/TL0674.md"),
    include_str!("codes/TL0675.md"),
    include_str!("codes/TL0676.md"),
    include_str!("codes/TL0701.md"),
    include_str!("codes/TL0702.md"),
    include_str!("codes/TL0703.md"),
    include_str!("codes/TL0704.md"),
    include_str!("codes/TL0705.md"),
    include_str!("codes/TL0706.md"),
    include_str!("codes/TL0707.md"),
    include_str!("codes/TL0708.md"),
    include_str!("codes/TL0709.md"),
    include_str!("codes/TL0710.md"),
    include_str!("codes/TL0711.md"),
    include_str!("codes/TL0712.md"),
    include_str!("codes/TL0713.md"),
    include_str!("codes/TL0714.md"),
    include_str!("codes/TL0716.md"),
    include_str!("codes/TL0717.md"),
    include_str!("codes/TL0718.md"),
    include_str!("codes/TL0719.md"),
    include_str!("codes/TL0720.md"),
    include_str!("codes/TL0721.md"),
    include_str!("codes/TL0722.md"),
    include_str!("codes/TL0725.md"),
    include_str!("codes/TL0726.md"),
    include_str!("codes/TL0728.md"),
    include_str!("codes/TL0735.md"),
    include_str!("codes/TL0736.md"),
    include_str!("codes/TL0737.md"),
    include_str!("codes/TL0738.md"),
    include_str!("codes/TL0739.md"),
    include_str!("codes/TL0740.md"),
    include_str!("codes/TL0741.md"),
    include_str!("codes/TL0742.md"),
    include_str!("codes/TL0743.md"),
    include_str!("codes/TL0744.md"),
    include_str!("codes/TL0745.md"),
    include_str!("codes/TL0746.md"),
    include_str!("codes/TL0747.md"),
    include_str!("codes/TL0748.md"),
    include_str!("codes/TL0752.md"),
    include_str!("codes/TL0753.md"),
    include_str!("codes/TL0754.md"),
    include_str!("codes/TL0755.md"),
    include_str!("codes/TL0760.md"),
    include_str!("codes/TL0761.md"),
    include_str!("codes/TL0762.md"),
    include_str!("codes/TL0763.md"),
    include_str!("codes/TL0764.md"),
    include_str!("codes/TL0770.md"),
    include_str!("codes/TL0771.md"),
    include_str!("codes/TL0772.md"),
    include_str!("codes/TL0773.md"),
    include_str!("codes/TL0774.md"),
    include_str!("codes/TL0775.md"),
    include_str!("codes/TL0776.md"),
    include_str!("codes/TL0777.md"),
    include_str!("codes/TL0780.md"),
    include_str!("codes/TL0781.md"),
    include_str!("codes/TL0782.md"),
    include_str!("codes/TL0783.md"),
    include_str!("codes/TL0790.md"),
    include_str!("codes/TL0801.md"),
    include_str!("codes/TL0802.md"),
    include_str!("codes/TL0803.md"),
    include_str!("codes/TL0804.md"),
    include_str!("codes/TL0805.md"),
    include_str!("codes/TL0806.md"),
    include_str!("codes/TL0807.md"),
    include_str!("codes/TL0901.md"),
    include_str!("codes/TL0902.md"),
    include_str!("codes/TL0903.md"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TL0001: a title\n\nWhy.\n\nMore.\n\n## Wrong\n\n```yaml\na: 1\n```\n\n```console\n$ tl run \
                        pipeline.yaml\n$ true\n```\n\n## Right\n\n```hbs message.hbs\nx\n\ny\n```\n";

    #[test]
    fn every_text_is_read_and_in_order() {
        for text in TEXTS {
            let read = read(text).unwrap_or_else(|lack| panic!("{lack}:\n{text}"));
            assert!(!read.cause.is_empty() && !read.cause.contains("\n#"), "{text}");
        }
        assert!(all().is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn a_text_has_parts() {
        let read = read(TEXT).unwrap();
        assert_eq!((read.code, read.title, read.cause), ("TL0001", "a title", "Why.\n\nMore."));
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
            assert_eq!(spelled(word).as_deref(), Some("TL0207"), "{word}");
        }
        for word in ["", "TL", "TLO207", "key", "0207x", "x0207", "TL99999999", "-207", "é207"] {
            assert_eq!(spelled(word), None, "{word}");
        }
    }
}
