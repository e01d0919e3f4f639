//! Kinds declare what they do. No other room may ask for a kind by its name, its settings or its outputs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value as Json;
use timelocker::{channels, stages, storage, vault};

use crate::support::root;

/// The rooms that treat all kinds alike.
const ROOMS: &[&str] = &["pipeline", "graph", "engine", "open", "inspect", "notify", "run", "report"];

/// Names of channels and sources that are also common words in the file format and in records. Checking for them is
/// useless.
const COMMON: &[&str] = &["env", "file"];

/// Words that mean something else at this place, with the reason. This list may only shrink.
const OTHER_MEANINGS: &[(&str, &[&str], &str)] = &[
    ("pipeline/check/declarations.rs", &["notify", "to"], "the section `notify` of a file"),
    ("pipeline/check/matrix_values.rs", &["object"], "a type of JSON"),
    ("pipeline/check/policy.rs", &["store"], "a type of settings, and a declared store in a message"),
    ("pipeline/check/schema.rs", &["artifact", "object"], "a type of settings, and a type of JSON Schema"),
    ("pipeline/check/schema_errors.rs", &["notify", "store"], "sections of a file"),
    ("pipeline/check/secret.rs", &["store"], "a declared store in a message"),
    ("pipeline/check/settings.rs", &["store"], "a type of settings"),
    ("pipeline/check/warnings.rs", &["/notify", "store"], "a section of a file, and a declared store in a message"),
    ("pipeline/check/wording.rs", &["artifact", "object", "size"], "types of settings, and a type of JSON Schema"),
    ("pipeline/model/notification.rs", &["skipped"], "an outcome"),
    ("pipeline/model/strategy.rs", &["exclude", "include", "object"], "a key of a matrix, and a type of JSON Schema"),
    ("open/kind.rs", &["store"], "a purpose in the record of a used secret"),
    ("open/needed.rs", &["store"], "the type of a setting"),
    ("open/instances.rs", &["exclude", "include"], "a key of a matrix"),
    ("open/templates.rs", &["audit", "bytes", "delivered", "files", "root", "size", "skipped"], "values of templates"),
    ("inspect/doctor/examine.rs", &["store"], "a kind of item"),
    ("inspect/doctor/stages.rs", &["files"], "a kind of check"),
    ("inspect/doctor/state.rs", &["audit"], "a folder"),
    ("inspect/plan/contract.rs", &["notify", "recipients"], "a section of a file, and a key of a kept plan"),
    ("notify/delivery.rs", &["message"], "a key of a record"),
    ("notify/messages.rs", &["subject"], "a key of a message"),
    ("run/end.rs", &["root", "size"], "values of templates"),
    (
        "run/recall.rs",
        &["digest", "files", "size", "store"],
        "keys of the journal, and of what a unit's key is made of",
    ),
    ("report/ci/sarif.rs", &["level", "message", "uri"], "keys of SARIF"),
    ("report/tally.rs", &["skipped"], "an outcome"),
    ("report/terminal/messages.rs", &["delivered"], "a state of a message"),
];

/// The names of kinds, and of their settings and outputs at every depth.
fn words() -> BTreeSet<String> {
    fn keys(schema: &Json, found: &mut BTreeSet<String>) {
        match schema {
            Json::Object(map) => {
                found.extend(
                    map.get("properties").and_then(Json::as_object).into_iter().flatten().map(|(key, _)| key.clone()),
                );
                map.values().for_each(|value| keys(value, found));
            }
            Json::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for kind in stages::KINDS.iter() {
        found.insert(kind.name.to_owned());
        keys((kind.schema)(), &mut found);
        keys((kind.outputs)(), &mut found);
    }
    found.extend(storage::KINDS.iter().map(|kind| kind.name.to_owned()));
    found.extend(channels::KINDS.iter().map(|kind| kind.name.to_owned()));
    found.extend(vault::SOURCES.iter().map(|kind| kind.name.to_owned()));
    found.retain(|word| !COMMON.contains(&word.as_str()));
    found
}

/// The code of a file, without comments and tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let body = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n").replace("'\"'", "")
}

/// The words about kinds in a piece of code: those in its literals, and literals that index settings or outputs.
fn said(code: &str, words: &BTreeSet<String>) -> Vec<String> {
    let literal = Regex::new(r#"(?s)"((?:[^"\\]|\\.)*)""#).unwrap();
    let mut found = Vec::new();
    for text in literal.captures_iter(code).map(|found| found[1].to_owned()) {
        let word = text.strip_prefix('/').unwrap_or(&text);
        let below = ["/with/", "/outputs/"].iter().find_map(|part| text.split_once(part)).map(|(_, key)| key);
        let last = word.rsplit('/').next().filter(|_| text.starts_with('/')).unwrap_or(word);
        if [Some(word), Some(last), below].into_iter().flatten().any(|word| words.contains(word)) {
            found.push(text);
        }
    }
    let index = Regex::new(r#"\b(?:with|outputs)"?\]?(?:\s*\[\s*|\s*\.get\(\s*|\s*\.pointer\(\s*)"([^"]*)""#).unwrap();
    found.extend(index.captures_iter(code).map(|found| found[1].to_owned()));
    found.sort();
    found.dedup();
    found
}

#[test]
fn no_room_asks_for_a_kind_by_name() {
    let src = root().join("src");
    let words = words();
    let (mut broken, mut meant) = (Vec::new(), BTreeSet::new());
    let mut folders: Vec<_> = ROOMS.iter().map(|room| src.join(room)).collect();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.extend((!name.ends_with("/tests")).then_some(path));
                continue;
            }
            // These files contain words of other programs and of later versions.
            if path.extension().is_none_or(|extension| extension != "rs")
                || name.ends_with("tests.rs")
                || name.ends_with("/not_built.rs")
            {
                continue;
            }
            for word in said(&code(&path), &words) {
                let other = OTHER_MEANINGS.iter().find(|(file, all, _)| *file == name && all.contains(&&*word));
                match other {
                    Some((file, ..)) => drop(meant.insert((*file, word))),
                    None => broken.push(format!("{name}: {word:?}")),
                }
            }
        }
    }
    broken.sort();
    assert!(
        broken.is_empty(),
        "these rooms say a word that is a kind, a setting or an output: use the kind's effects, or, if a new kind brought the \
         word, give it another name: {broken:#?}"
    );
    // An exception that is no longer needed must go.
    let listed = OTHER_MEANINGS.iter().flat_map(|(file, all, _)| all.iter().map(|word| (*file, (*word).to_owned())));
    assert_eq!(listed.collect::<BTreeSet<_>>(), meant);
}

#[test]
fn a_kind_that_is_asked_for_by_name_is_found() {
    let words = words();
    for (code, found) in [
        (r#"stage["uses"] == "upload""#, vec!["upload"]),
        (r#"let key = planned.stage.with.get("anything");"#, vec!["anything"]),
        (r#"stage["with"]["anything"]"#, vec!["anything"]),
        (r#"settings.pointer("/object/store")"#, vec!["/object/store"]),
        (r#"format!("{at}/with/artifact")"#, vec!["{at}/with/artifact"]),
        (r#"outputs.get("new")"#, vec!["new"]),
        (r#"place["uses"] == "dir""#, vec!["dir"]),
        (r#"message("put an `encrypt` stage before it")"#, vec![]),
    ] {
        assert_eq!(said(code, &words), found, "{code}");
    }
}

/// A kind that no room knows. It delivers and verifies, under names that no other kind uses.
#[cfg(feature = "test-kinds")]
mod deposit {
    use serde_json::{Value as Json, json};

    use crate::support::{Ended, Tl, ended, events};

    const SEALED: &str = "
stages:
  collect: { uses: archive, with: { sources: [data] } }
  seal:
    { needs: collect, uses: encrypt, with: { artifact: \"${{ needs.collect.outputs.artifact }}\", recipients-file: recipients.txt } }
  first:
    { needs: seal, uses: upload, with: { artifact: \"${{ needs.seal.outputs.artifact }}\", store: shelf, key: first } }
";
    const SECOND: &str = "
  second:
    needs: [seal, first]
    uses: deposit
    with:
      artifact: ${{ needs.seal.outputs.artifact }}
      vault: shelf
      label: second
      earlier: ${{ needs.first.outputs.object }}
";
    const PROOF: &str =
        "  proof: { needs: second, uses: verify, with: { object: \"${{ needs.second.outputs.receipt }}\" } }\n";

    fn run(tl: &Tl, arguments: &[&str]) -> Ended {
        ended(tl.command(arguments).env("TL_TEST_KINDS", "1"))
    }

    fn ok(tl: &Tl, arguments: &[&str]) -> String {
        let ended = run(tl, arguments);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.stdout
    }

    fn json_of(tl: &Tl, arguments: &[&str]) -> Json {
        serde_json::from_str(&ok(tl, arguments)).unwrap()
    }

    fn new(rest: &str) -> Tl {
        let tl = Tl::new();
        tl.write("data/a", "some data").pipeline(rest);
        tl
    }

    /// The codes that `validate` finds, each with its line.
    fn found(rest: &str) -> Vec<(String, String)> {
        let tl = new(rest);
        let shown = run(&tl, &["validate", "p.yaml", "--json"]).stdout;
        let validated: Json = serde_json::from_str(&shown).unwrap();
        let one = |found: &Json| {
            let (code, line) = (&found["code"], &found["place"]["text"]);
            (code.as_str().unwrap().to_owned(), line.as_str().unwrap().trim().to_owned())
        };
        validated["findings"].as_array().unwrap_or_else(|| panic!("{shown}")).iter().map(one).collect()
    }

    fn has(found: &[(String, String)], code: &str, line: &str) -> bool {
        found.iter().any(|(other, at)| other == code && at.contains(line))
    }

    #[test]
    fn policy_and_warnings_hold_it_to_what_it_declares() {
        let policy = "policy: { require-encryption: true, require-verify: true, allow-stores: [shelf] }\n";
        // `second` verifies `first`, and `proof` verifies `second`.
        let whole = found(&format!("{policy}{SEALED}{SECOND}{PROOF}"));
        assert!(whole.iter().all(|(code, _)| code.starts_with("TL08")), "{whole:?}");
        assert!(!has(&whole, "TL0803", ""), "{whole:?}");
        assert!(has(&whole, "TL0804", "shelf"), "{whole:?}");
        let unproven = found(&format!("{policy}{SEALED}{SECOND}"));
        assert!(has(&unproven, "TL0411", "uses: deposit"), "{unproven:?}");
        let open = SECOND.replace("[seal, first]", "[collect, first]").replace("needs.seal", "needs.collect");
        let open = found(&format!("{policy}{SEALED}{open}{PROOF}"));
        assert!(has(&open, "TL0411", "artifact: ${{ needs.collect"), "{open:?}");
        let elsewhere =
            found(&format!("{policy}{SEALED}{SECOND}{PROOF}").replace("allow-stores: [shelf]", "allow-stores: []"));
        assert!(has(&elsewhere, "TL0411", "vault: shelf"), "{elsewhere:?}");

        let warned =
            found(&format!("{SEALED}{}", SECOND.replace("needs.seal", "needs.collect").replace("[seal", "[collect")));
        for (code, line) in [("TL0803", "second:"), ("TL0805", "artifact: ${{ needs.collect"), ("TL0806", "")] {
            assert!(has(&warned, code, line), "{code}: {warned:?}");
        }
        assert!(!has(&warned, "TL0803", "first:"), "{warned:?}");
        let checked = found(&format!("{SEALED}{}", SECOND.replace("label: second", "label: the second")));
        assert!(has(&checked, "TL0205", "label: the second"), "{checked:?}");
        let many = found(&format!(
            "{SEALED}{}",
            SECOND.replace("    with:", "    strategy: { matrix: { n: [1, 2] } }\n    with:")
        ));
        assert!(has(&many, "TL0412", "label: second"), "{many:?}");
    }

    #[test]
    fn a_plan_shows_what_it_writes_and_holds_a_run_to_it() {
        let text = format!("{SEALED}{SECOND}{PROOF}");
        let tl = new(&text);
        let plan = json_of(&tl, &["plan", "p.yaml", "--json"]);
        let stages = plan["steps"].as_array().unwrap().iter().flat_map(|step| step.as_array().unwrap());
        let second = stages.into_iter().find(|stage| stage["name"] == "second").unwrap();
        let uri = tl.file("shelf/second").display().to_string();
        let write = json!({ "instance": null, "store": "shelf", "uri": uri, "overwrite": false, "lock": null });
        assert_eq!(second["writes"], json!([write]), "{second:#}");

        ok(&tl, &["plan", "p.yaml", "--out", "plan.json"]);
        for (before, after, says) in [
            ("label: second", "label: third", "the key of `second`"),
            ("label: second", "label: second\n      replacing: true", "what `second` may remove"),
            ("vault: shelf", "vault: other", "the store of `second`"),
        ] {
            tl.pipeline(&text.replace(before, after));
            let file =
                tl.read("p.yaml").replace("channels:", "  other: { uses: dir, with: { path: other } }\nchannels:");
            tl.write("p.yaml", file);
            let refused = run(&tl, &["run", "plan.json"]);
            assert!(refused.code == 2 && format!("{refused:?}").contains(says), "{says}: {refused:?}");
        }
    }

    #[test]
    fn it_is_recalled_while_its_object_is_there() {
        let tl = new(&format!("{SEALED}{SECOND}  last: {{ needs: second, run: [test, -e, go] }}\n"));
        assert_eq!(run(&tl, &["run", "p.yaml"]).code, 1);
        let resumed = |tl: &Tl| {
            let ended = run(tl, &["run", "--resume", "--reporter", "json"]);
            let is_second = |event: &&Json| event["event"] == "stage-ended" && event["stage"] == "second";
            let all = events(&ended.stdout);
            (ended.code, all.iter().find(is_second).map(|event| event["recalled"] == true))
        };
        assert_eq!(resumed(&tl), (1, Some(true)));
        std::fs::remove_file(tl.file("shelf/second")).unwrap();
        assert_eq!(resumed(&tl), (1, Some(false)));
        assert!(tl.file("shelf/second").exists());
        tl.write("go", "");
        assert_eq!(resumed(&tl), (0, Some(true)));
    }

    #[test]
    fn what_it_did_is_told_everywhere() {
        let notify = "notify:\n  - { when: [success], to: [log] }\n";
        let tl = new(&format!("{notify}{SEALED}{SECOND}{PROOF}"));
        let ran = ok(&tl, &["run", "p.yaml"]);
        let uri = tl.file("shelf/second").display().to_string();
        let size = std::fs::metadata(tl.file("shelf/second")).unwrap().len();
        for shown in [ran, ended(tl.command(&["show"]).env("COLUMNS", "200").env("TL_TEST_KINDS", "1")).stdout] {
            let line = shown.lines().find(|line| line.contains(&uri)).unwrap_or_else(|| panic!("{shown}"));
            assert!(line.contains("proven by content"), "{shown}");
        }
        let again = new(&format!("{SEALED}{SECOND}"));
        let all = events(&ok(&again, &["run", "p.yaml", "--reporter", "json"]));
        let second = all.iter().find(|event| event["event"] == "stage-ended" && event["stage"] == "second").unwrap();
        assert_eq!(
            second["did"],
            json!({ "bytes": size, "delivered": size, "level": "content", "uri": again.file("shelf/second").display().to_string() })
        );
        let stats = json_of(&tl, &["stats", "--json"]);
        assert_eq!(stats["pipelines"][0]["bytes"]["last"], json!((2 * size) as f64), "{stats:#}");
        let message: Json = serde_json::from_str(tl.read("log.jsonl").lines().next().unwrap()).unwrap();
        let body = message["body"].as_str().unwrap();
        assert!(body.lines().any(|line| line.contains("second") && line.contains("KiB")), "{body}");
    }
}

/// Editors, checkers and the mutations of `wrong::*` learn a kind from this file. A kind that it lacks is tried by none of them.
#[test]
fn one_file_shows_each_kind_of_stages_with_each_setting() {
    let text = fs::read_to_string(root().join("tests/right/every-stage-kind.yaml")).unwrap();
    let file: Json = serde_yaml::from_str(&text).unwrap();
    let stages = || ["stages", "finally"].into_iter().flat_map(|part| file[part].as_object().unwrap().values());
    let missing = |kind: &stages::StageKind| -> Vec<String> {
        let of_kind: Vec<&Json> = stages().filter(|stage| stage["uses"] == kind.name).collect();
        let settings = (kind.schema)()["properties"].as_object().into_iter().flat_map(serde_json::Map::keys);
        let unused = settings.filter(|&setting| of_kind.iter().all(|stage| stage["with"].get(setting).is_none()));
        let without = of_kind.is_empty().then(|| kind.name.to_owned());
        without.into_iter().chain(unused.map(|setting| format!("{}: {setting}", kind.name))).collect()
    };
    let shipped = stages::KINDS.iter().filter(|kind| kind.name != "deposit");
    assert_eq!(shipped.flat_map(missing).collect::<Vec<String>>(), [""; 0]);
}
