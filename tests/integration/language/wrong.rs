//! The errors for wrong pipeline files.
//!
//! Each file in `tests/wrong` contains one mistake, unless its name says otherwise. Lines `# expect: CODE LINE:COLUMN
//! MARKED TEXT` at its top state its findings. A snapshot holds the rendered text of each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use timelocker::diagnostic::Diagnostic;
use timelocker::inspect::Finding;
use timelocker::pipeline::{load, warnings};
use timelocker::report::{Style, render_diagnostic, render_github, render_sarif};

use super::expected::{expected, spelled};
use crate::support::{files_of, pipelines_below};

fn findings(path: &Path) -> Vec<Diagnostic> {
    load(path).err().unwrap_or_default()
}

#[test]
fn every_finding_is_the_expected_one_and_nothing_else_is_found() {
    let files = files_of("tests/wrong");
    let mut differ = String::new();
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for path in &files {
        let findings = findings(path);
        findings.iter().for_each(|finding| *codes.entry(finding.code.to_string()).or_default() += 1);
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
        assert!(codes.contains_key(*code), "no file of tests/wrong gives {code}");
    }
}

/// Every code that a file alone can cause. TL0001 needs a missing file, TL0102 to TL0104 need other versions.
const CODES: &[&str] = &[
    "TL0002", "TL0003", "TL0004", "TL0005", "TL0006", "TL0007", "TL0008", "TL0009", "TL0010", "TL0101", "TL0102",
    "TL0103", "TL0104", "TL0201", "TL0202", "TL0203", "TL0204", "TL0205", "TL0206", "TL0207", "TL0208", "TL0209",
    "TL0210", "TL0211", "TL0301", "TL0302", "TL0303", "TL0304", "TL0305", "TL0306", "TL0307", "TL0308", "TL0309",
    "TL0311", "TL0401", "TL0402", "TL0403", "TL0404", "TL0405", "TL0406", "TL0413", "TL0414", "TL0503", "TL0513",
    "TL0606", "TL0656",
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

#[test]
fn nothing_is_found_in_right_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_of("tests/right");
    assert!(files.len() >= 25);
    for folder in ["examples", "pipelines"].into_iter().map(PathBuf::from).filter(|folder| root.join(folder).is_dir()) {
        files.extend(pipelines_below(root, &folder));
    }
    for path in files {
        let found: String = findings(&path).iter().map(|found| render_diagnostic(found, Style::default())).collect();
        assert!(found.is_empty(), "{found}");
    }
}

/// Codes of findings that are about no line.
const WITHOUT_PLACE: &[&str] = &["TL0003"];

/// Mutates valid files, a few bytes, words or parts of their structure at a time, and reads the result: alone, or
/// extending another mutated file. `TL_MUTATIONS` sets the number.
#[test]
fn no_file_makes_it_panic_or_point_outside() {
    let count = std::env::var("TL_MUTATIONS").map_or(8_000, |count| count.parse::<u64>().unwrap());
    let seeds: Vec<Vec<u8>> = files_of("tests/right").iter().map(|path| fs::read(path).unwrap()).collect();
    let workers = std::thread::available_parallelism().unwrap().get() as u64;
    let (sound, pairs) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (seeds, sound, pairs) = (&seeds, &sound, &pairs);
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let (path, base_path) = (folder.path().join("mutated.yaml"), folder.path().join("base.yaml"));
                for number in (worker..count).step_by(usize::try_from(workers).unwrap()) {
                    let mut random = fastrand::Rng::with_seed(number);
                    let (mut bytes, base) = (mutation(seeds, &mut random), mutation(seeds, &mut random));
                    if random.u8(..4) == 0 {
                        bytes = [b"extends: base.yaml\n", bytes.as_slice()].concat();
                        pairs.fetch_add(1, Ordering::Relaxed);
                    }
                    fs::write(&path, &bytes).unwrap();
                    fs::write(&base_path, &base).unwrap();
                    let found = std::panic::catch_unwind(|| all_findings(&path)).unwrap_or_else(|_| {
                        let (own, base) = (String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&base));
                        panic!("mutation {number} panics:\n{own}\nwith the base\n{base}")
                    });
                    sound.fetch_add(u64::from(found.is_empty()), Ordering::Relaxed);
                    for finding in &found {
                        let in_base = finding.place.as_ref().is_some_and(|place| place.file.ends_with("base.yaml"));
                        let problem = misplaced(finding, if in_base { &base } else { &bytes });
                        assert!(problem.is_none(), "mutation {number}: {problem:?} in {finding:#?}");
                    }
                    rendered(found);
                }
            });
        }
    });
    let (sound, pairs) = (sound.into_inner(), pairs.into_inner());
    println!("{count} mutations, numbered from 0, the number is the seed; {pairs} extend another; {sound} are fine");
    assert!(count < 1_000 || sound > count / 1_000 && pairs > count / 8, "{sound} fine, {pairs} pairs");
}

/// The errors of a file, or the warnings of a valid one.
fn all_findings(path: &Path) -> Vec<Diagnostic> {
    match load(path) {
        Ok((document, pipeline)) => warnings(&document, &pipeline, &|_| None),
        Err(found) => found,
    }
}

/// Every way in which findings are rendered.
fn rendered(found: Vec<Diagnostic>) {
    let wrap = |problem| Finding { file: Some("mutated.yaml".to_owned()), problem };
    let findings: Vec<Finding> = found.into_iter().map(wrap).collect();
    for finding in &findings {
        assert!(render_diagnostic(&finding.problem, Style::default()).contains(&finding.problem.code.to_string()));
        serde_json::to_string(finding).unwrap();
    }
    let lines = render_github(&findings).lines().count();
    assert!(lines >= findings.len(), "{lines} lines for {} findings", findings.len());
    assert_eq!(render_sarif(&findings)["runs"][0]["results"].as_array().map(Vec::len), Some(findings.len()));
}

/// The problem with the place of a finding, if any.
fn misplaced(finding: &Diagnostic, bytes: &[u8]) -> Option<&'static str> {
    if finding.code.to_string() == "TL0902" {
        return Some("the schema and the program differ");
    }
    let Some(place) = &finding.place else {
        return (!WITHOUT_PLACE.contains(&finding.code.to_string().as_str())).then_some("there is no place");
    };
    let text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let Some(line) = text.split('\n').nth(place.line - 1) else { return Some("there is no such line") };
    let line = line.strip_suffix('\r').unwrap_or(line);
    let end = place.column - 1 + place.length;
    match () {
        () if line != place.text => Some("the line is another"),
        // The end of a line, or something missing there, is one column further.
        () if end > line.chars().count().max(place.column) => Some("the mark leaves the line"),
        () if place.column > line.chars().count() + 2 => Some("the column is outside"),
        () => None,
    }
}

/// A mutation of one of the valid files.
fn mutation(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "${{",
        "}}",
        "${{ inputs.x }}",
        "needs",
        "*a",
        "&a ",
        "null",
        ": ",
        "- ",
        "\t",
        "'",
        "\"",
        "{",
        "}",
        "[",
        "]",
        "|",
        ">",
        "\u{1f980}",
        "注",
        "\u{feff}",
        "\r",
        "\n",
        "---\n",
        "<<",
        "!x ",
        "#",
        "3.0",
        "-1",
        "1e999",
        "0x1F",
        "~",
        "[[[[[[",
        "${{ a.b[0].c('",
        "secrets",
        "run",
        "uses",
        "with",
        "4000d",
        "\\",
        "\u{85}",
        "\u{2028}",
        "%YAML 1.2\n",
        "? ",
        "e\u{301}",
    ];
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..=4) {
        if random.bool() {
            bytes = restructured(&bytes, random);
            continue;
        }
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(0..8)).min(bytes.len());
        match random.u8(..8) {
            0 => bytes = bytes[..at].to_vec(),
            1 => drop(bytes.splice(at..end, [])),
            2 => drop(bytes.splice(at..end, [random.u8(..)])),
            3 => {
                let other = &seeds[random.usize(..seeds.len())];
                let from = random.usize(..=other.len());
                bytes.splice(at..end, other[from..(from + 40).min(other.len())].iter().copied());
            }
            4 => {
                // Duplicates a line, here or elsewhere.
                let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                if !lines.is_empty() {
                    let line = lines[random.usize(..lines.len())].to_vec();
                    let at = lines[..random.usize(..lines.len())].concat().len();
                    bytes.splice(at..at, line);
                }
            }
            _ => drop(bytes.splice(at..end, random.choice(WORDS).unwrap().bytes())),
        }
    }
    bytes
}

/// A text with one part of its structure moved, copied, removed, reindented, or replaced by another part.
fn restructured(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let at = random.usize(..lines.len());
    let part = subtree(&lines, at);
    match random.u8(..7) {
        0 => drop(lines.drain(part)),
        1 => {
            let copy = lines[part.clone()].to_vec();
            drop(lines.splice(part.end..part.end, copy));
        }
        2 => {
            let moved: Vec<String> = lines.drain(part).collect();
            let to = random.usize(..=lines.len());
            drop(lines.splice(to..to, moved));
        }
        3 => {
            let other = subtree(&lines, random.usize(..lines.len()));
            let (first, second) = if part.start < other.start { (part, other) } else { (other, part) };
            if first.end <= second.start {
                let (a, b) = (lines[first.clone()].to_vec(), lines[second.clone()].to_vec());
                drop(lines.splice(second, a));
                drop(lines.splice(first, b));
            }
        }
        4 => {
            let (deeper, by) = (random.bool(), random.usize(1..=4));
            for line in &mut lines[part] {
                let blanks = line.len() - line.trim_start_matches(' ').len();
                *line = if deeper { " ".repeat(by) + line } else { line[by.min(blanks)..].to_owned() };
            }
        }
        5 => {
            // The value of another key.
            let value = lines[random.usize(..lines.len())].split_once(": ").map(|(_, value)| value.to_owned());
            if let (Some(value), Some((key, _))) = (value, lines[at].split_once(": ")) {
                lines[at] = format!("{key}: {value}");
            }
        }
        _ => {
            // An expression from the file inside, before or instead of a value.
            let inner = |rest: &str| rest.split_once("}}").map(|(inner, _)| inner.to_owned());
            let expressions: Vec<String> = text.split("${{").skip(1).filter_map(inner).collect();
            if let (Some(inner), Some((key, value))) = (random.choice(&expressions), lines[at].split_once(": ")) {
                lines[at] = match random.u8(..3) {
                    0 => format!("{key}: \"${{{{{inner}}}}}\"\n"),
                    1 => format!("{key}: ${{{{{inner}}}}}{value}"),
                    _ => lines[at].replacen("${{", &format!("${{{{{inner} + "), 1),
                };
            }
        }
    }
    lines.concat().into_bytes()
}

/// A line and the more deeply indented lines below it.
fn subtree(lines: &[String], at: usize) -> std::ops::Range<usize> {
    let depth = |line: &String| line.len() - line.trim_start_matches(' ').len();
    let below = lines[at + 1..].iter().take_while(|line| depth(line) > depth(&lines[at])).count();
    at..at + 1 + below
}
