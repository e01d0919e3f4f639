//! `tl validate`: files and folders, every format, inputs and secrets.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::Value as Json;

use crate::support::{Ended, Tl};

const RIGHT: &str = "version: 1\nname: a\nstages: { x: { run: [ls] } }\n";
const WRONG: &str = "version: 1\nname: b\nstages: { x: { rum: [ls] } }\n";
const WARNED: &str = "version: 1\nname: c\ninputs: { side: { type: string } }\nstages: { x: { run: [ls] } }\n";
const FORMATS: &[&str] = &["human", "json", "github", "sarif"];

fn json(ended: &Ended) -> Json {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:#?}"))
}

/// Code and file of each finding, in order.
fn findings(ended: &Ended) -> Vec<(String, String)> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let found = json(ended)["findings"].as_array().unwrap().clone();
    found.iter().map(|finding| (text(&finding["code"]), text(&finding["file"]))).collect()
}

fn pair(code: &str, file: &str) -> (String, String) {
    (code.to_owned(), file.to_owned())
}

#[test]
fn a_folder_is_every_pipeline_below_it() {
    let tl = Tl::new();
    tl.write("p/b/right.yml", RIGHT).write("p/a/wrong.yaml", WRONG).write("p/warned.yaml", WARNED);
    tl.write("p/compose.yaml", "services: {}\n").write("p/notes.txt", WRONG).write("p/list.yml", "- version: 1\n");
    tl.write("p/.hidden/wrong.yaml", WRONG).write("elsewhere/wrong.yaml", WRONG);
    // Invalid YAML that is meant as a pipeline all the same.
    tl.write("p/broken.yaml", "version: 1\nname: [\n");
    symlink(tl.file("elsewhere"), tl.file("p/link")).unwrap();
    symlink(tl.file("elsewhere/wrong.yaml"), tl.file("p/link.yaml")).unwrap();
    let ended = tl.run(&["validate", "p"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!("validate_folder", ended.shown(&tl));
    let ended = tl.run(&["validate", "p", "--format", "json"]);
    let shown = json(&ended);
    assert_eq!(shown["files"].to_string(), r#"["p/a/wrong.yaml","p/b/right.yml","p/broken.yaml","p/warned.yaml"]"#);
    assert_eq!(shown["passed_over"], 2);
    let codes = [pair("TL0207", "p/a/wrong.yaml"), pair("TL0005", "p/broken.yaml"), pair("TL0807", "p/warned.yaml")];
    assert_eq!((ended.code, findings(&ended)), (2, codes.to_vec()));
    // A hidden folder is searched if it is named.
    assert_eq!(findings(&tl.run(&["validate", "--json", "p/.hidden"])), [pair("TL0207", "p/.hidden/wrong.yaml")]);
    assert!(tl.run(&["validate", "p", "--format", "github"]).stderr.contains("2 files were passed over"));
}

#[test]
fn a_folder_without_a_pipeline_is_an_error_in_every_format() {
    let tl = Tl::new();
    tl.write("p/compose.yaml", "services: {}\n").write("q/a.yaml", RIGHT);
    for format in FORMATS {
        let ended = tl.run(&["validate", "q", "p", "none.yaml", "--format", format]);
        assert_eq!(ended.code, 2, "{format}");
        insta::assert_snapshot!(format!("validate_nothing_{format}"), ended.shown(&tl));
    }
}

#[test]
fn what_cannot_be_looked_through_is_said() {
    let tl = Tl::unprivileged();
    tl.write("p/a.yaml", RIGHT).write("p/closed/b.yaml", RIGHT).write("p/c.yaml", RIGHT);
    let mode = |name: &str, mode| fs::set_permissions(tl.file(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("p/closed", 0o000);
    mode("p/c.yaml", 0o000);
    for name in ["p", "p/closed", "p/c.yaml"] {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(tl.file(name), Some(0), Some(0)).unwrap();
        }
    }
    let ended = tl.run(&["validate", "p"]);
    mode("p/closed", 0o700);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!("validate_closed", ended.shown(&tl));
}

#[test]
fn each_file_and_each_finding_is_there_once() {
    let tl = Tl::new();
    tl.write("a.yaml", WRONG).write("b.yaml", WRONG);
    symlink("a.yaml", tl.file("c.yaml")).unwrap();
    let absolute = tl.file("a.yaml");
    let ended =
        tl.run(&["validate", "--json", "b.yaml", "./a.yaml", "a.yaml", ".", "c.yaml", absolute.to_str().unwrap()]);
    assert_eq!(findings(&ended), [pair("TL0207", "./a.yaml"), pair("TL0207", "b.yaml")]);
}

#[test]
fn warnings_are_refused_where_they_are_to_be() {
    let tl = Tl::new();
    tl.write("a.yaml", WARNED).write("b.yaml", RIGHT);
    for format in FORMATS {
        assert_eq!(tl.run(&["validate", "a.yaml", "--format", format]).code, 0, "{format}");
        assert_eq!(tl.run(&["validate", "a.yaml", "--strict", "--format", format]).code, 2, "{format}");
        assert_eq!(tl.run(&["validate", "b.yaml", "--strict", "--format", format]).code, 0, "{format}");
    }
    insta::assert_snapshot!("validate_warned", tl.run(&["validate", "a.yaml"]).shown(&tl));
    // They are for the author of the file, not for its user.
    let ended = tl.run(&["run", "a.yaml", "--input", "side=left"]);
    assert!(ended.code == 0 && !format!("{ended:?}").contains("TL08"), "{ended:#?}");
}

#[test]
fn inputs_must_fit_and_be_declared() {
    let tl = Tl::new();
    tl.write(
        "a.yaml",
        "version: 1\nname: a\ninputs:\n  count: { type: int }\n  side: { type: string, enum: [left, right] }\nstages:\n  x: { \
         run: [echo, '${{ inputs.count }}', '${{ inputs.side }}'] }\n",
    );
    tl.write("b.yaml", RIGHT);
    // Without any values, missing ones are not reported.
    tl.ok(&["validate", "a.yaml"]);
    tl.ok(&["validate", "a.yaml", "--input", "count=3", "--input", "side=left"]);
    let wrong = ["validate", "a.yaml", "b.yaml", "--input", "count=three", "--input", "sied=left"];
    let ended = tl.run(&wrong);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!("validate_inputs", ended.shown(&tl));
    for format in FORMATS {
        let twice =
            tl.run(&["validate", "a.yaml", "--input", "side=left", "--input", "side=right", "--format", format]);
        let shown = twice.stdout + &twice.stderr;
        assert!(twice.code == 2 && shown.contains("TL0504"), "{format}: {shown}");
    }
}

#[test]
fn secrets_are_tried_and_never_shown() {
    let tl = Tl::new();
    tl.write("empty", "").write("short", "abc1234").write("good", "a-good-long-secret\n");
    let file = |name: &str, path: &str| format!("  {name}: {{ from: file, path: {path} }}\n");
    let uses = "stages:\n  x:\n    run: [ls]\n    env: { A: '${{ secrets.a }}', B: '${{ secrets.b }}', C: '${{ secrets.c }}' }\n";
    let text = |a: &str, b: &str, c: &str| {
        format!("version: 1\nname: a\nsecrets:\n{}{}{}{uses}", file("a", a), file("b", b), file("c", c))
    };
    tl.write("a.yaml", text("none", "short", "empty")).write("b.yaml", text("good", "good", "good"));
    // Without `--secrets`, no secret is read.
    tl.ok(&["validate", "a.yaml", "--strict"]);
    tl.ok(&["validate", "b.yaml", "--secrets"]);
    let ended = tl.run(&["validate", "--secrets", "a.yaml", "b.yaml"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!("validate_secrets", ended.shown(&tl));
    for format in FORMATS {
        let ended = tl.run(&["validate", "--secrets", "a.yaml", "b.yaml", "--format", format]);
        let shown = ended.stdout + &ended.stderr;
        assert!(ended.code == 2 && shown.contains("TL0510") && shown.contains("TL0511"), "{format}: {shown}");
        assert!(!shown.contains("abc1234") && !shown.contains("a-good"), "{format}: {shown}");
    }
}

#[test]
fn every_format_says_the_same_of_odd_names() {
    let tl = Tl::new();
    tl.write("ä b/c,d:100%.yaml", WRONG).write("e.yaml", WARNED);
    let absolute = tl.file("ä b/c,d:100%.yaml");
    for format in FORMATS {
        let ended = tl.run(&["validate", absolute.to_str().unwrap(), "e.yaml", "--format", format]);
        assert_eq!(ended.code, 2, "{format}");
        insta::assert_snapshot!(format!("validate_odd_{format}"), ended.shown(&tl));
    }
    let both = tl.run(&["validate", "--json", "--format", "sarif", "e.yaml"]);
    assert_eq!(both.code, 2);
}

/// Each result points to its rule, and each code is one rule.
#[test]
fn sarif_results_lead_to_their_rules() {
    let tl = Tl::new();
    tl.write("a.yaml", WRONG).write("b.yaml", WRONG).write("c.yaml", WARNED);
    let log = json(&tl.run(&["validate", ".", "--format", "sarif"]));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(rules[index]["help"]["text"].is_string(), "{log:#}");
    }
}
