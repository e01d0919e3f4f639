//! The files that a run would take now.

use crate::inspect::{StageFiles, StageWhy};
use crate::report::text::plain;
use crate::source::Verdict;
use crate::value::human_bytes;

/// Each stage that reads files, what it would take, the largest of that, and what rules leave out.
pub fn render_files(stages: &[StageFiles]) -> String {
    let blocks: Vec<String> = stages.iter().map(block).collect();
    if blocks.is_empty() { "no stage of this file reads files\n".to_owned() } else { blocks.join("\n") }
}

fn block(stage: &StageFiles) -> String {
    if stage.unknown {
        return format!("{}: what it takes is known only when the run reaches it\n", stage.stage);
    }
    let plural = if stage.files.len() == 1 { "" } else { "s" };
    let mut text =
        format!("{}: {} file{plural}, {}\n", stage.stage, stage.files.len(), human_bytes(stage.bytes as f64));
    let mut lines = |title: &str, rows: Vec<String>| {
        if !rows.is_empty() {
            text.push_str(&format!("  {title}\n"));
            rows.iter().for_each(|row| text.push_str(&format!("    {}\n", plain(row))));
        }
    };
    let sized = |files: &[crate::inspect::FileSize]| -> Vec<String> {
        files.iter().map(|file| format!("{:>10}  {}", human_bytes(file.bytes as f64), file.path)).collect()
    };
    lines("taken", sized(&stage.files));
    lines("largest", sized(&stage.largest));
    lines("left out", stage.left_out.iter().map(|out| format!("{}: {}", out.path, out.rule)).collect());
    lines("cannot be read", stage.unreadable.clone());
    lines("not there", stage.missing.clone());
    lines("patterns that fit nothing", stage.unused.clone());
    text
}

/// What each stage that reads files would do with one path.
pub fn render_why(stages: &[StageWhy]) -> String {
    let line = |one: &StageWhy| {
        let path = one.path.display();
        let said = match &one.verdict {
            Some(Verdict::Taken { source }) => format!("takes `{path}`, through the source `{}`", source.display()),
            Some(Verdict::LeftOut { at, rule }) if *at == one.path => format!("leaves out `{path}`: {rule}"),
            Some(Verdict::LeftOut { at, rule }) => {
                format!("leaves out `{path}`, since it leaves out `{}`: {rule}", at.display())
            }
            Some(Verdict::Elsewhere) => format!("does not take `{path}`: it is below no source"),
            Some(Verdict::Missing) => format!("does not take `{path}`: there is nothing of this name"),
            None => format!("may take `{path}`: that is known only when the run reaches it"),
        };
        format!("{} {}\n", one.stage, plain(&said))
    };
    if stages.is_empty() { "no stage of this file reads files\n".to_owned() } else { stages.iter().map(line).collect() }
}
