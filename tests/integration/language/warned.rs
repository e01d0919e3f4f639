//! The warnings for files that are valid but probably a mistake. Each file in `tests/warned` states its own findings,
//! like those in `tests/wrong`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use timelocker::diagnostic::{Diagnostic, Severity};
use timelocker::pipeline::{load, warnings};
use timelocker::report::{Style, render_diagnostic};

use super::expected::{expected, spelled};
use crate::support::{files_of, pipelines_below};

/// The warnings of a file, by place. `disk` tells on which disk a path is.
fn found(path: &Path, disk: &dyn Fn(&Path) -> Option<u64>) -> Vec<Diagnostic> {
    let text = |problems: &[Diagnostic]| -> String {
        problems.iter().map(|problem| render_diagnostic(problem, Style::default())).collect()
    };
    let (document, pipeline) = load(path).unwrap_or_else(|problems| panic!("{}", text(&problems)));
    let mut found = warnings(&document, &pipeline, disk);
    found.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
    assert!(found.iter().all(|warning| warning.severity == Severity::Warning && warning.help.is_some()));
    found
}

fn nowhere(_: &Path) -> Option<u64> {
    None
}

#[test]
fn every_warning_is_the_expected_one_and_nothing_else_is_found() {
    let mut codes = BTreeSet::new();
    for path in files_of("tests/warned") {
        let found = found(&path, &nowhere);
        let spelled: Vec<String> = found.iter().map(spelled).collect();
        assert_eq!(spelled, expected(&path), "{}", path.display());
        codes.extend(found.iter().map(|warning| warning.code.to_string()));
        let text: String = found.iter().map(|warning| render_diagnostic(warning, Style::default())).collect();
        insta::with_settings!({
            snapshot_path => "snapshots/warnings",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), text);
        });
    }
    let all = ["TL0801", "TL0802", "TL0803", "TL0804", "TL0805", "TL0806", "TL0807"];
    assert_eq!(codes, BTreeSet::from(all.map(str::to_owned)));
}

/// If both paths exist, their disks decide, not their names.
#[test]
fn the_disk_decides_where_there_is_one() {
    let codes = |path: &str, disk: &dyn Fn(&Path) -> Option<u64>| -> Vec<String> {
        let beside = |warning: &Diagnostic| warning.code.to_string() == "TL0804";
        found(Path::new(path), disk).iter().filter(|warning| beside(warning)).map(spelled).collect()
    };
    let around = "tests/warned/store-around-source.yaml";
    assert_eq!(codes(around, &|_| Some(1)).len(), 2, "both are on one disk");
    assert_eq!(codes(around, &|path| Some(path.as_os_str().len() as u64)), [""; 0], "each on its own");
    let mounted = |path: &Path| path.ends_with("nas").then_some(2).or(path.ends_with("orders").then_some(2));
    assert_eq!(codes(around, &mounted), ["TL0804 5:38 /mnt/disk", "TL0804 7:38 /mnt/disk/orders/nas"]);
}

/// People copy shipped files, so these have no warnings. Exceptions state their reason.
#[test]
fn shipped_files_have_no_warnings_but_for_a_reason() {
    const REASONS: &[(&str, &[&str], &str)] =
        &[("examples/s3/pipeline.yaml", &["TL0806"], "somebody tries it by hand and sees it fail")];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["examples", "pipelines"];
    let files: Vec<PathBuf> = folders.iter().flat_map(|folder| pipelines_below(root, Path::new(folder))).collect();
    assert!(files.len() >= 11, "{files:?}");
    let codes = |file: &PathBuf| -> BTreeSet<String> {
        found(file, &nowhere).iter().map(|warning| warning.code.to_string()).collect()
    };
    let found: BTreeMap<String, BTreeSet<String>> = files
        .iter()
        .map(|file| (file.display().to_string(), codes(file)))
        .filter(|(_, codes)| !codes.is_empty())
        .collect();
    let known = REASONS
        .iter()
        .map(|(file, codes, _)| ((*file).to_owned(), codes.iter().map(|code| (*code).to_owned()).collect()))
        .collect();
    assert_eq!(found, known);
}
