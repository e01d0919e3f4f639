//! Versions of a file, and how two texts differ.

use std::path::PathBuf;
use std::time::Duration;

use similar::TextDiff;

use crate::report::style::Style;
use crate::report::text::{plain, plain_lines};
use crate::state::Version;

/// After this time, `similar` finds the differences in a coarser way.
const PATIENCE: Duration = Duration::from_secs(2);

/// The versions of a file, one on a line, each with whether its files are as they were then. Below it are the files that it
/// extends.
pub fn render_versions(versions: &[(&Version, bool)], style: Style) -> String {
    let short = |sha256: &str| style.faint(sha256.get(..12).unwrap_or_default());
    let line = |(version, is_present): &(&Version, bool)| {
        let used = match (&version.first_used, &version.last_used) {
            (Some(first), Some(last)) if first == last => format!("used {first}"),
            (Some(first), Some(last)) => format!("used {first} to {last}"),
            _ => format!("kept {}, never used", version.kept),
        };
        let mark = if *is_present { style.green("  the present text") } else { String::new() };
        let own =
            format!("{:>4}  {}  {}  {used}{mark}\n", version.number, short(&version.sha256), plain(&version.pipeline));
        let base = |(path, sha256): &(PathBuf, String)| {
            format!("      {}  extends {}\n", short(sha256), plain(&path.display().to_string()))
        };
        std::iter::once(own).chain(version.bases.iter().map(base)).collect::<String>()
    };
    versions.iter().map(line).collect()
}

/// The unified diff of two texts; empty if they are equal. Invalid UTF-8 is shown as replacement characters.
pub fn render_diff((old_name, old): (&str, &[u8]), (new_name, new): (&str, &[u8]), style: Style) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old.as_ref(), new.as_ref());
    let text = diff.unified_diff().header(&plain(old_name), &plain(new_name)).to_string();
    let paint = |line: &str| {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let line = plain_lines(line.strip_suffix('\r').unwrap_or(line));
        let painted = match line.as_bytes().first() {
            Some(b'+') => style.green(&line),
            Some(b'-') => style.red(&line),
            Some(b'@') => style.blue(&line),
            _ => line,
        };
        painted + end
    };
    text.split_inclusive('\n').map(paint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_what_patch_reads_and_steers_no_terminal() {
        let shown = render_diff(("a", b"1\n2\x1b[2J\n3\n"), ("b", b"1\ntwo\n3"), Style::default());
        assert_eq!(
            shown,
            "--- a\n+++ b\n@@ -1,3 +1,3 @@\n 1\n-2\u{fffd}[2J\n-3\n+two\n+3\n\\ No newline at end of file\n"
        );
        assert_eq!(render_diff(("a", b"1\n"), ("b", b"1\n"), Style::default()), "");
        assert!(
            render_diff(("a", b"1\n"), ("b", b"2\n"), Style { colour: true, ..Style::default() })
                .contains("\x1b[1;32m+2\x1b[0m\n")
        );
    }
}
