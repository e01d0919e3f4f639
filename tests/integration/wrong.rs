//! What people read when a pipeline file is wrong.
//!
//! Each file of `tests/wrong` holds one mistake, unless its name says several, and says itself what is found in it:
//! a line `# expect: CODE LINE:COLUMN MARKED TEXT` for each finding, at its top. How a finding reads is a snapshot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use timelocker::diagnostic::Diagnostic;
use timelocker::pipeline::load;
use timelocker::report::{Style, render_diagnostic};

/// Files that cannot begin with a comment, or would mean something else if they did.
const WITHOUT_COMMENT: &[(&str, &str)] = &[
    ("empty.yaml", "TL0003"),
    ("binary.yaml", "TL0002 3:14 \u{fffd}"),
    ("latin-1.yaml", "TL0002 3:19 \u{fffd}"),
    ("byte-order-mark.yaml", "TL0204 4:3 Check"),
    ("windows-line-ends.yaml", "TL0207 6:5 timeuot"),
];

/// The files of a folder of tests, as a user at the root of the repository would name them.
pub fn files_of(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .unwrap()
        .map(|entry| Path::new(folder).join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn findings(path: &Path) -> Vec<Diagnostic> {
    load(path).err().unwrap_or_default()
}

/// A finding as the comment spells it.
fn spelled(finding: &Diagnostic) -> String {
    let Some(place) = &finding.place else { return finding.code.to_owned() };
    let marked: String = place.text.chars().skip(place.column - 1).take(place.length).collect();
    format!("{} {}:{} {marked}", finding.code, place.line, place.column).trim_end().to_owned()
}

fn expected(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    if let Some((_, expected)) = WITHOUT_COMMENT.iter().find(|(file, _)| *file == name) {
        return vec![(*expected).to_owned()];
    }
    let text = fs::read_to_string(path).unwrap();
    text.lines().map_while(|line| line.strip_prefix("# expect: ")).map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn every_finding_is_the_expected_one_and_nothing_else_is_found() {
    let files = files_of("tests/wrong");
    let mut differ = String::new();
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for path in &files {
        let findings = findings(path);
        findings.iter().for_each(|finding| *codes.entry(finding.code).or_default() += 1);
        let found: Vec<String> = findings.iter().map(spelled).collect();
        let expected = expected(path);
        if found.is_empty() || found != expected {
            differ.push_str(&format!("{}\n  expected {expected:#?}\n  found {found:#?}\n", path.display()));
            for finding in &findings {
                differ.push_str(&render_diagnostic(finding, Style::default()));
            }
        }
    }
    println!("{} files, findings by code: {codes:#?}", files.len());
    assert!(differ.is_empty(), "{differ}");
    for code in CODES {
        assert!(codes.contains_key(code), "no file of tests/wrong gives {code}");
    }
}

/// Every code that a file alone can give; TL0001 needs a file that is not there, TL0102 to TL0104 other versions.
const CODES: &[&str] = &[
    "TL0002", "TL0003", "TL0004", "TL0005", "TL0006", "TL0007", "TL0008", "TL0009", "TL0010", "TL0101", "TL0102",
    "TL0103", "TL0104", "TL0201", "TL0202", "TL0203", "TL0204", "TL0205", "TL0206", "TL0207", "TL0208", "TL0209",
    "TL0210", "TL0211", "TL0301", "TL0302", "TL0303", "TL0304", "TL0305", "TL0306", "TL0307", "TL0308", "TL0309",
    "TL0401", "TL0402", "TL0403", "TL0404", "TL0405", "TL0406", "TL0503",
];

#[test]
fn every_finding_reads_well() {
    for path in files_of("tests/wrong").iter().map(PathBuf::as_path).chain([Path::new("tests/wrong/missing.yaml")]) {
        let text: String = findings(path).iter().map(|finding| render_diagnostic(finding, Style::default())).collect();
        assert!(!text.is_empty(), "nothing is found in {}", path.display());
        insta::with_settings!({
            snapshot_path => "snapshots/wrong",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), text);
        });
    }
}
