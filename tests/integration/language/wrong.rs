//! What people read when a pipeline file is wrong.
//!
//! Each file of `tests/wrong` holds one mistake, unless its name says several, and says itself what is found in it:
//! a line `# expect: CODE LINE:COLUMN MARKED TEXT` for each finding, at its top. How a finding reads is a snapshot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use timelocker::diagnostic::Diagnostic;
use timelocker::inspect::Finding;
use timelocker::pipeline::{load, warnings};
use timelocker::report::{Style, render_diagnostic, render_github, render_sarif};

/// Files that cannot begin with a comment, or would mean something else if they did.
const WITHOUT_COMMENT: &[(&str, &str)] = &[
    ("empty.yaml", "TL0003"),
    ("binary.yaml", "TL0002 3:14 \u{fffd}"),
    ("latin-1.yaml", "TL0002 3:19 \u{fffd}"),
    ("byte-order-mark.yaml", "TL0204 4:3 Check"),
    ("line-separator.yaml", "TL0005 3:17"),
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
pub fn spelled(finding: &Diagnostic) -> String {
    let Some(place) = &finding.place else { return finding.code.to_string() };
    let marked: String = place.text.chars().skip(place.column - 1).take(place.length).collect();
    format!("{} {}:{} {marked}", finding.code, place.line, place.column).trim_end().to_owned()
}

/// What a file says is found in it.
pub fn expected(path: &Path) -> Vec<String> {
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

/// Every code that a file alone can give; TL0001 needs a file that is not there, TL0102 to TL0104 other versions.
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

/// Every YAML file of a folder and those below.
pub fn pipelines_below(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| folder.join(entry.unwrap().file_name()));
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| root.join(path).is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.chain(folders.iter().flat_map(|folder| pipelines_below(root, folder))).collect()
}

/// Codes of findings that are about no line.
const WITHOUT_PLACE: &[&str] = &["TL0003"];

/// Spoils right files, some bytes, words or parts of their structure at a time, and reads what comes of it: alone, or with
/// another spoilt file that it extends. `TL_MUTATIONS` says how many.
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

/// What is wrong with a file, or what a sound one hardly means.
fn all_findings(path: &Path) -> Vec<Diagnostic> {
    match load(path) {
        Ok((document, pipeline)) => warnings(&document, &pipeline, &|_| None),
        Err(found) => found,
    }
}

/// Every way in which findings are shown.
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

/// What is wrong with the place of a finding.
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
        // The end of a line and what is missing there have one column more.
        () if end > line.chars().count().max(place.column) => Some("the mark leaves the line"),
        () if place.column > line.chars().count() + 2 => Some("the column is outside"),
        () => None,
    }
}

/// One of the right files, spoilt.
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
                // A line twice, or somewhere else.
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

/// A text with one part of its structure moved, copied, removed, indented otherwise or replaced by another part.
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
            // An expression of the file inside, before or instead of a value.
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

/// A line, and those behind it that are indented deeper.
fn subtree(lines: &[String], at: usize) -> std::ops::Range<usize> {
    let depth = |line: &String| line.len() - line.trim_start_matches(' ').len();
    let below = lines[at + 1..].iter().take_while(|line| depth(line) > depth(&lines[at])).count();
    at..at + 1 + below
}
