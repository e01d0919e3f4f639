//! `tl plan`, `tl run PLAN` and `tl graph`: what they show before a run, and that a run is held to its plan.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Instant;

use layout::gv::DotParser;
use serde_json::{Value as Json, json};

use crate::support::{Ended, Tl, events, files};

const SECRET: &str = "whsec_aHVudGVyMi1vZi10aGUtcGxhbi1hbmQtbW9yZQ==";

/// A pipeline with a matrix of stores, one of outputs, secrets, conditions and rules. `p.yaml` seals `data` into two
/// stores.
fn protected() -> Tl {
    let tl = Tl::new();
    tl.write("data/a", "x").write("nas/.keep", "").write("token", SECRET).pipeline(
        r#"  ops: { uses: webhook, with: { url: "https://hooks.example.org/in-the-file", signing-key: "${{ secrets.token }}" } }
inputs: { place: { type: string, default: here } }
secrets: { token: { from: file, path: token } }
concurrency: { group: "orders-${{ inputs.place }}", if-busy: wait, wait: 15m }
expect: { success-every: 1d }
policy: { allow-stores: [shelf, nas] }
defaults: { retry: { attempts: 3 } }
max-parallel: 2
timeout: 1h
stages:
  collect: { uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver:
    needs: seal
    strategy: { matrix: { store: [shelf, nas] }, max-parallel: 1 }
    uses: upload
    with: { artifact: '${{ needs.seal.outputs.artifact }}', store: '${{ matrix.store }}', key: '${{ inputs.place }}/${{ run.id }}', overwrite: false }
  prove:
    needs: deliver
    strategy: { matrix: { object: '${{ needs.deliver.outputs.object }}' } }
    uses: verify
    with: { object: '${{ matrix.object }}', level: content }
  hook: { needs: prove, env: { T: '${{ secrets.token }}', H: '${{ inputs.place }}' }, run: [echo, '${{ inputs.place }}/${{ run.date }}'], timeout: 1m, on-warning: fail, continue-on-error: true }
  elsewhere: { needs: collect, if: 'inputs.place == "there" && "a" != "<&\"|>"', run: [echo, elsewhere] }
  after: { needs: elsewhere, run: [echo, after] }
finally:
  last: { uses: audit }
notify:
  - { when: [failure, blocked], to: [log] }
"#,
    );
    let text = tl.read("p.yaml").replace("stores:\n", "stores:\n  nas: { uses: dir, with: { path: nas } }\n");
    tl.write("p.yaml", text);
    tl
}

/// Everything that a command printed and wrote.
fn all_of(tl: &Tl, ended: &Ended) -> String {
    let written = ["plan.json", "g"].map(|name| fs::read_to_string(tl.file(name)).unwrap_or_default());
    format!("{}{}{}", ended.stdout, ended.stderr, written.concat())
}

#[test]
fn a_plan_says_what_is_known_and_names_what_is_not() {
    let tl = protected();
    let shown = tl.ok(&["plan", "p.yaml", "--out", "plan.json"]);
    insta::assert_snapshot!(shown.shown(&tl));
    let printed = tl.ok(&["plan", "p.yaml", "--json"]);
    for text in [all_of(&tl, &shown), all_of(&tl, &printed)] {
        assert!(!text.contains(SECRET) && !text.contains("in-the-file"), "{text}");
    }
    let plan: Json = serde_json::from_str(&printed.stdout).unwrap();
    let stage = |name: &str| {
        let mut all = plan["steps"].as_array().unwrap().iter().flat_map(|step| step.as_array().unwrap());
        all.find(|stage| stage["name"] == name).unwrap().clone()
    };
    assert_eq!(stage("deliver")["instances"]["labels"], json!(["shelf", "nas"]));
    assert_eq!(stage("prove")["instances"]["labels"], Json::Null);
    assert_eq!(stage("prove")["instances"]["known"], "when `deliver` has ended");
    assert_eq!(stage("hook")["unknown"], json!([{ "expression": "run.date", "known": "when the run starts" }]));
    assert_eq!(stage("hook")["with"]["env"], json!({ "T": "***", "H": "here" }));
    assert_eq!(stage("elsewhere")["skipped"], "its `if` is false");
    assert_eq!(stage("after")["skipped"], "`elsewhere` is skipped");
    let nas = format!("{}/here/${{{{ run.id }}}}", tl.file("nas").display());
    assert_eq!(stage("deliver")["writes"][1]["uri"], nas);
    // Planning does nothing: no state, no object. Only the owner can read the plan.
    assert!(!tl.state().exists() && files(&tl.file("shelf")).is_empty());
    assert_eq!(fs::metadata(tl.file("plan.json")).unwrap().permissions().mode() & 0o777, 0o600);
    // With another input the condition is true.
    let there: Json =
        serde_json::from_str(&tl.ok(&["plan", "p.yaml", "--json", "--input", "place=there"]).stdout).unwrap();
    assert!(!there.to_string().contains("its `if` is false"));
}

#[test]
fn a_plan_needs_no_secret() {
    let tl = protected();
    fs::remove_file(tl.file("token")).unwrap();
    tl.ok(&["plan", "p.yaml", "--out", "plan.json"]);
    tl.ok(&["graph", "p.yaml"]);
}

#[test]
fn a_matrix_that_is_too_large_is_refused_before_the_run() {
    let tl = Tl::new();
    let stages =
        "stages:\n  s: { strategy: { matrix: { a: '${{ \"x\".matches(inputs.n) ? [1] : [2] }}' } }, run: [echo] }\n";
    tl.pipeline(&format!("inputs: {{ n: {{ type: string, default: x }} }}\n{stages}"));
    let plan: Json = serde_json::from_str(&tl.ok(&["plan", "p.yaml", "--json"]).stdout).unwrap();
    assert_eq!(plan["steps"][0][0]["instances"]["labels"], json!(["1"]));
    let list: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let list = list.join(", ");
    tl.pipeline(&format!("stages:\n  s: {{ strategy: {{ matrix: {{ a: [{list}], b: [{list}] }} }}, run: [echo] }}\n"));
    let refused = tl.run(&["plan", "p.yaml"]);
    assert!(refused.code != 0 && refused.stderr.contains("TL0410"), "{refused:?}");
}

#[test]
fn a_run_of_a_plan_does_what_a_run_of_its_file_does() {
    let tl = protected();
    tl.ok(&["plan", "p.yaml", "--out", "plan.json", "--input", "place=there"]);
    // A plan does not fix data, comments, the order of keys, or the changed default of an input for which it has a
    // value.
    tl.write("data/b", "more");
    let text = tl.read("p.yaml").replace("default: here", "default: nowhere");
    tl.write("p.yaml", format!("# why\n{text}"));
    let ended = tl.run(&["run", "plan.json", "--reporter", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let told = events(&ended.stdout);
    let names = |what: &str| told.iter().filter(|event| event["event"] == what && event["stage"] == "after").count();
    assert_eq!(names("stage-started"), 1);
    for store in ["shelf", "nas"] {
        assert_eq!(fs::read_dir(tl.file(store).join("there")).unwrap().count(), 2, "{store}");
    }
    // The record identifies the plan by the digest that `sha256sum` prints.
    let digest = tl.shell("sha256sum plan.json").output().unwrap().stdout;
    let digest = String::from_utf8(digest).unwrap()[..64].to_owned();
    let started = tl.ok(&["audit", "show", "--type", "run.started", "--json"]).stdout;
    assert!(started.contains(&format!("\"plan_sha256\":\"{digest}\"")), "{started}");
    let other = Tl::new();
    other.pipeline("stages: { s: { run: ['true'] } }\n").ok(&["run", "p.yaml"]);
    assert!(!other.ok(&["audit", "show", "--json"]).stdout.contains("plan_sha256"));
}

#[test]
fn a_run_that_would_do_something_else_is_refused() {
    let tl = protected();
    tl.ok(&["plan", "p.yaml", "--out", "plan.json"]);
    let (text, recipients) = (tl.read("p.yaml"), tl.read("recipients.txt"));
    let mut shown = String::new();
    for (from, to, what) in [
        ("needs: elsewhere,", "needs: [elsewhere, hook],", "the graph (`needs` of `after`)"),
        ("  after: { needs: elsewhere, run: [echo, after] }\n", "", "the graph (`after`)"),
        ("store: [shelf, nas]", "store: [nas, shelf]", "the graph (`instances` of `deliver`)"),
        ("with: { path: nas }", "with: { path: shelf }", "the store `nas`"),
        ("}}/${{ run.id }}", "}}/x-${{ run.id }}", "the key of `deliver`"),
        ("overwrite: false", "overwrite: true", "what `deliver` may remove"),
        ("overwrite: false", "object-lock: { mode: compliance, retain-for: 30d }", "the lock of `deliver`"),
        ("hooks.example.org/in-the-file", "hooks.example.org/elsewhere-in", "the channel `ops`"),
        ("when: [failure, blocked]", "when: [failure]", "`notify`"),
        ("from: file, path: token", "from: file, path: data/a", "where the secret `token` comes from"),
    ] {
        assert!(text.contains(from), "{from}");
        tl.write("p.yaml", text.replace(from, to));
        let refused = tl.run(&["run", "plan.json"]);
        assert!(refused.code == 2 && refused.stdout.is_empty(), "{refused:?}");
        let expected = format!("error[TL0774]: {what} is not what the plan says");
        assert!(refused.stderr.contains(&expected), "{what}: {}", refused.stderr);
        assert!(!refused.stderr.contains("in-the-file") || what.contains("channel"), "{}", refused.stderr);
        shown.push_str(&refused.stderr);
    }
    tl.write("p.yaml", &text);
    tl.ok(&["key", "new", "-o", "other.txt", "--recipients", "other-recipients.txt"]);
    fs::copy(tl.file("other-recipients.txt"), tl.file("recipients.txt")).unwrap();
    let refused = tl.run(&["run", "plan.json"]);
    assert!(refused.code == 2 && refused.stderr.contains("TL0774]: for whom `seal` seals is not"), "{refused:?}");
    insta::assert_snapshot!(tl.redact(&(shown + &refused.stderr)));
    // A comment in the file of recipients is no difference. Nothing has run so far.
    assert!(!tl.state().exists());
    tl.write("recipients.txt", format!("# ours\n{recipients}"));
    tl.ok(&["run", "plan.json"]);
}

#[test]
fn commits_matter_only_where_they_decide_what_is_written() {
    for (key, argument, code) in [("'${{ git.commit }}'", "x", 2), ("k", "'${{ git.commit }}'", 0)] {
        let tl = Tl::new();
        tl.write("data/a", "x").pipeline(&format!(
            "stages:\n  collect: {{ uses: archive, with: {{ sources: [data] }} }}\n  deliver: {{ needs: collect, uses: upload, with: {{ \
             artifact: '${{{{ needs.collect.outputs.artifact }}}}', store: shelf, key: {key} }} }}\n  hook: {{ run: [echo, \
             {argument}] }}\n"
        ));
        let commit = "git -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m x";
        assert!(tl.shell(&format!("git init -q && {commit}")).status().unwrap().success());
        tl.ok(&["plan", "p.yaml", "--out", "plan.json"]);
        assert!(tl.shell(commit).status().unwrap().success());
        let ended = tl.run(&["run", "plan.json"]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert_eq!(ended.stderr.contains("the key of `deliver`"), code == 2);
    }
}

#[test]
fn what_is_no_plan_or_cannot_be_held_to_is_said() {
    let tl = protected();
    tl.ok(&["plan", "p.yaml", "--out", "plan.json"]);
    let plan = tl.read("plan.json");
    let mut shown = String::new();
    let mut refused = |arguments: &[&str], code: &str| {
        let ended = tl.run(arguments);
        assert!(ended.code == 2 && ended.stderr.contains(code), "{code}: {ended:?}");
        shown.push_str(&ended.shown(&tl));
    };
    refused(&["run", "plan.json", "--input", "place=there"], "TL0773");
    tl.write("plan.json", &plan[..plan.len() / 2]);
    refused(&["run", "plan.json"], "TL0770");
    tl.write("plan.json", plan.replace("\"made-by\"", "\"made-of\""));
    refused(&["run", "plan.json"], "TL0770");
    tl.write("plan.json", plan.replace("\"tl-plan\": 1", "\"tl-plan\": 0"));
    refused(&["run", "plan.json"], "TL0770");
    tl.write("plan.json", plan.replace("\"tl-plan\": 1", "\"tl-plan\": 2"));
    refused(&["run", "plan.json"], "TL0771");
    tl.write("plan.json", &plan);
    fs::rename(tl.file("p.yaml"), tl.file("q.yaml")).unwrap();
    refused(&["run", "plan.json"], "TL0772");
    // Other files are not overwritten, and links are not followed.
    tl.write("notes.txt", "mine");
    symlink(tl.file("plan.json"), tl.file("link.json")).unwrap();
    for name in ["notes.txt", "q.yaml", "data", "link.json"] {
        refused(&["plan", "q.yaml", "--out", name], "TL0775");
    }
    assert_eq!((tl.read("notes.txt").as_str(), tl.read("plan.json")), ("mine", plan));
    insta::assert_snapshot!(shown);
    let unwritable = tl.run(&["plan", "q.yaml", "--out", "none/plan.json"]);
    assert!(unwritable.code != 0 && unwritable.stderr.contains("TL0712"), "{unwritable:?}");
    // An older plan is replaced. A pipeline in JSON is not mistaken for a plan.
    tl.ok(&["plan", "q.yaml", "--out", "plan.json"]);
    assert!(tl.read("plan.json").contains("q.yaml"));
    tl.write("j.yaml", "{\"version\": 1, \"name\": \"tl\", \"stages\": {\"s\": {\"run\": [\"true\"]}}}");
    tl.ok(&["run", "j.yaml"]);
}

#[test]
fn a_killed_plan_leaves_the_old_file_or_the_new_one() {
    let tl = protected();
    let begun = Instant::now();
    tl.ok(&["plan", "p.yaml", "--out", "plan.json"]);
    let whole = begun.elapsed();
    let (old, mut killed, mut new) = (tl.read("plan.json"), 0, 0);
    // Kills at increasing times, from the start to long after the end.
    for round in 0..40_u32 {
        let place = format!("place=p{round}");
        let mut child = tl.start(&["plan", "p.yaml", "--out", "plan.json", "--input", &place]);
        std::thread::sleep(whole * round / 20);
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        let plan: Json = serde_json::from_str(&tl.read("plan.json")).unwrap();
        new += u32::from(plan["inputs"]["place"] == format!("p{round}"));
    }
    assert!(killed > 0 && new > 0 && old != tl.read("plan.json"), "{killed} killed, {new} written");
}

#[test]
fn a_graph_is_drawn_in_four_ways() {
    let tl = protected();
    let mermaid = tl.ok(&["graph", "p.yaml"]).stdout;
    let dot = tl.ok(&["graph", "p.yaml", "--format", "dot"]).stdout;
    insta::assert_snapshot!("graph_mermaid", mermaid);
    insta::assert_snapshot!("graph_dot", dot);
    assert!(DotParser::new(&dot).process().is_ok());
    let graph: Json = serde_json::from_str(&tl.ok(&["graph", "p.yaml", "--format", "json"]).stdout).unwrap();
    let names: Vec<&str> =
        graph["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(graph["groups"], json!([{ "kind": "finally", "stages": ["last"] }]));
    let edge = json!({ "from": "elsewhere", "to": "after" });
    assert!(graph["edges"].as_array().unwrap().contains(&edge));
    tl.ok(&["graph", "p.yaml", "--format", "svg", "--out", "g"]);
    let texts = texts_of(&tl.read("g"));
    for name in names {
        assert!(texts.iter().any(|text| text.trim() == name), "{name}: {texts:?}");
    }
    assert!(texts.iter().any(|text| text.contains("\"<&\\\"|>\"")), "{texts:?}");
    // The same again over the existing file.
    tl.ok(&["graph", "p.yaml", "--format", "dot", "--out", "g"]);
    assert_eq!(tl.read("g"), dot);
}

/// The texts of a picture, read by a strict XML parser.
fn texts_of(svg: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    let (mut texts, mut depth, mut text) = (Vec::new(), 0, String::new());
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(tag) => {
                assert!(tag.attributes().all(|attribute| attribute.is_ok()));
                depth += 1;
            }
            quick_xml::events::Event::End(_) => {
                depth -= 1;
                texts.push(std::mem::take(&mut text));
            }
            quick_xml::events::Event::Text(piece) => text.push_str(&piece.decode().unwrap()),
            quick_xml::events::Event::GeneralRef(name) => {
                let name = name.decode().unwrap();
                text.push_str(quick_xml::escape::resolve_predefined_entity(&name).unwrap());
            }
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    texts
}

#[test]
fn a_stream_is_a_group_of_its_graph() {
    let tl = Tl::new();
    tl.pipeline(&format!("stages:\n{}", crate::support::CHAIN));
    let graph: Json = serde_json::from_str(&tl.ok(&["graph", "p.yaml", "--format", "json"]).stdout).unwrap();
    assert_eq!(graph["groups"], json!([{ "kind": "stream", "stages": ["collect", "seal", "deliver"] }]));
    for format in ["mermaid", "dot", "svg"] {
        assert!(tl.ok(&["graph", "p.yaml", "--format", format]).stdout.contains("collect"), "{format}");
    }
}

#[test]
fn what_an_archive_would_read_is_counted() {
    let tl = Tl::new();
    tl.write("data/a", "12345").write("data/sub/b", "678").write("data/c.tmp", "no").write("data/skip/d", "no");
    fs::hard_link(tl.file("data/a"), tl.file("data/sub/same")).unwrap();
    symlink("a", tl.file("data/link")).unwrap();
    let with = "sources: [data, data/sub], exclude: ['*.tmp', skip/]";
    tl.pipeline(&format!("stages:\n  collect: {{ uses: archive, with: {{ {with} }} }}\n"));
    let reads = || {
        let plan: Json = serde_json::from_str(&tl.ok(&["plan", "p.yaml", "--json"]).stdout).unwrap();
        plan["steps"][0][0]["reads"].clone()
    };
    // Four names of two files' bytes, counted as the archive counts them.
    let expected = json!({ "files": 4, "bytes": 8, "unreadable": 0, "missing": [], "cut_short": false });
    assert_eq!(reads(), expected);
    let (code, told) = tl.events(&[]);
    let ended = told.iter().find(|event| event["event"] == "stage-ended").unwrap();
    assert_eq!((code, &ended["outputs"]["files"], &ended["outputs"]["bytes"]), (0, &json!(4), &json!(8)));
    tl.ok(&["plan", "p.yaml", "--out", "plan.json"]);
    // Live data has changed: another count, the same plan.
    tl.write("data/more", "1");
    assert_eq!(reads()["files"], 5);
    tl.ok(&["run", "plan.json"]);
    tl.pipeline("stages:\n  collect: { uses: archive, with: { sources: [data, gone] } }\n");
    let shown = tl.ok(&["plan", "p.yaml"]).stdout;
    assert!(shown.contains("the source `gone` is missing: this stage would fail"), "{shown}");
    tl.pipeline("stages:\n  collect: { uses: archive, with: { sources: [data/../data] } }\n");
    let refused = tl.run(&["plan", "p.yaml"]);
    assert!(refused.code != 0 && refused.stderr.contains("TL0611"), "{refused:?}");
}
