//! Commands that run no pipeline: keys, sealing and opening, schemas, help.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::{CHAIN, Ended, Tl, ended, files, root};

fn with_key() -> Tl {
    let tl = Tl::new();
    tl.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
    tl
}

#[test]
fn an_identity_is_private_and_never_overwritten() {
    let tl = with_key();
    let mode = fs::metadata(tl.file("identity.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = tl.read("identity.txt");
    let again = tl.run(&["key", "new", "-o", "identity.txt"]);
    assert_eq!(again.code, 1);
    insta::assert_snapshot!("key_new_again", again.shown(&tl));
    let kept = tl.ok(&["key", "new", "-o", "identity.txt", "--if-missing"]);
    assert_eq!(tl.read("identity.txt"), before);
    let shown = tl.ok(&["key", "show", "identity.txt"]).stdout;
    assert!(shown == kept.stdout && shown == tl.read("recipients.txt") && shown.starts_with("age1"));
    let json: serde_json::Value =
        serde_json::from_str(&tl.ok(&["key", "show", "--json", "identity.txt"]).stdout).unwrap();
    assert_eq!(json["recipients"][0], shown.trim());
}

#[test]
fn an_identity_that_others_can_read_is_refused() {
    let tl = with_key();
    tl.write("plain", "x").ok(&["seal", "-R", "recipients.txt", "-o", "sealed", "plain"]);
    for mode in [0o644, 0o640, 0o602] {
        fs::set_permissions(tl.file("identity.txt"), fs::Permissions::from_mode(mode)).unwrap();
        let ended = tl.run(&["open", "-i", "identity.txt", "-o", "back", "sealed"]);
        assert_eq!(ended.code, 12, "{mode:o}");
        assert!(ended.stderr.contains("TL0621") && !ended.stderr.contains("SECRET"), "{}", ended.stderr);
    }
    fs::set_permissions(tl.file("identity.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(tl.file("identity.txt"), tl.file("second.txt")).unwrap();
    assert_eq!(tl.run(&["open", "-i", "identity.txt", "-o", "back", "sealed"]).code, 12);
    assert!(!tl.file("back").exists());
    fs::remove_file(tl.file("second.txt")).unwrap();
    tl.ok(&["open", "-i", "identity.txt", "-o", "back", "sealed"]);
}

#[test]
fn wrong_keys_are_told_apart_and_never_repeated() {
    let tl = with_key();
    tl.write("plain", "x").write("empty.txt", "# nothing\n").write("noise.txt", "AGE-SECRET-KEY-1NOTONE\n");
    for name in ["empty.txt", "noise.txt"] {
        fs::set_permissions(tl.file(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let identity = tl.read("identity.txt").lines().last().unwrap().to_owned();
    for (name, arguments, code) in [
        ("no_recipient", &["seal", "-o", "s", "plain"][..], 2),
        ("bad_recipient", &["seal", "-r", "age1nonsense", "-o", "s", "plain"], 2),
        ("identity_as_recipient", &["seal", "-r", &identity, "-o", "s", "plain"], 2),
        ("no_recipients_file", &["seal", "-R", "nowhere", "-o", "s", "plain"], 2),
        ("empty_identity", &["open", "-i", "empty.txt", "-o", "s", "plain"], 12),
        ("bad_identity", &["open", "-i", "noise.txt", "-o", "s", "plain"], 12),
        ("no_identity", &["open", "-i", "nowhere", "-o", "s", "plain"], 12),
        ("not_sealed", &["open", "-i", "identity.txt", "-o", "s", "plain"], 1),
        ("no_input", &["open", "-i", "identity.txt", "-o", "s", "nowhere"], 1),
    ] {
        let ended = tl.run(arguments);
        assert_eq!(ended.code, code, "{name}: {ended:?}");
        assert!(!ended.stderr.contains("AGE-SECRET-KEY-1N") && !ended.stderr.contains(&identity));
        insta::assert_snapshot!(format!("seal_{name}"), ended.shown(&tl));
        assert!(!tl.file("s").exists(), "{name}");
    }
}

#[test]
fn a_damaged_file_leaves_nothing_and_says_so() {
    let tl = with_key();
    tl.write("plain", vec![3; 200_000]).ok(&["seal", "-R", "recipients.txt", "-o", "sealed", "plain"]);
    let sealed = fs::read(tl.file("sealed")).unwrap();
    let mut flipped = sealed.clone();
    flipped[150_000] ^= 1;
    for (name, bytes) in [("cut", &sealed[..sealed.len() - 1]), ("short", &sealed[..70_000]), ("flipped", &flipped)] {
        tl.write("bad", bytes);
        let ended = tl.run(&["open", "-i", "identity.txt", "-o", "back", "bad"]);
        assert_eq!(ended.code, 1, "{name}");
        assert!(ended.stderr.contains("error[TL0623]"), "{}", ended.stderr);
        // There is no file with the name, and no partial file next to it.
        assert_eq!(files(tl.path()), ["bad", "identity.txt", "plain", "recipients.txt", "sealed"], "{name}");
        // A pipe gets only authenticated bytes, and the exit code says that they are incomplete.
        let piped = tl.run(&["open", "-i", "identity.txt", "bad"]);
        assert!(piped.code == 1 && piped.stdout.len().is_multiple_of(65_536), "{name}: {}", piped.stdout.len());
    }
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_force() {
    let tl = with_key();
    tl.write("plain", "new").write("sealed", "old");
    let refused = tl.run(&["seal", "-R", "recipients.txt", "-o", "sealed", "plain"]);
    assert_eq!(refused.code, 1);
    insta::assert_snapshot!(refused.shown(&tl));
    assert_eq!(tl.read("sealed"), "old");
    tl.ok(&["seal", "-f", "-R", "recipients.txt", "-o", "sealed", "plain"]);
    // A failure keeps the old file even with `--force`.
    assert_eq!(tl.run(&["open", "-f", "-i", "identity.txt", "-o", "sealed", "plain"]).code, 1);
    tl.ok(&["open", "-i", "identity.txt", "-o", "back", "sealed"]);
    assert_eq!(tl.read("back"), "new");
    assert_eq!(fs::metadata(tl.file("back")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn recipients_of_others_are_not_overwritten() {
    let tl = Tl::new();
    tl.write("team.txt", "age1colleague\n");
    // A new identity does not replace an existing file, and no key is made either.
    assert_eq!(tl.run(&["key", "new", "-o", "id.txt", "--recipients", "team.txt"]).code, 1);
    assert!(!tl.file("id.txt").exists());
    assert_ne!(tl.run(&["key", "new", "-o", "id.txt", "--recipients", "id.txt"]).code, 0);
    tl.ok(&["key", "new", "-o", "id.txt", "--if-missing"]);
    let identity = tl.read("id.txt");
    tl.ok(&["key", "new", "-o", "id.txt", "--if-missing", "--recipients", "team.txt"]);
    tl.ok(&["key", "new", "-o", "id.txt", "--if-missing", "--recipients", "id.txt"]);
    assert_eq!((tl.read("team.txt").as_str(), tl.read("id.txt")), ("age1colleague\n", identity));
}

#[test]
fn what_is_no_fault_of_a_key_has_codes_of_its_own() {
    let tl = with_key();
    let unmade = tl.run(&["key", "new", "-o", "nowhere/identity.txt"]);
    assert!(unmade.code == 1 && unmade.stderr.contains("error[TL0712]"), "{unmade:?}");
    let recipient = tl.read("recipients.txt").trim().to_owned();
    let too_many = ["-r", &recipient].repeat(257);
    let refused = tl.write("plain", "x").run(&[&["seal", "-o", "sealed", "plain"][..], &too_many].concat());
    assert!(refused.code == 1 && refused.stderr.contains("error[TL0620]"), "{refused:?}");
    assert!(!tl.file("sealed").exists());
}

#[test]
fn nothing_is_left_of_an_opening_that_was_killed() {
    let tl = with_key();
    tl.write("plain", vec![1; 8 << 20]).ok(&["seal", "-R", "recipients.txt", "-o", "sealed", "plain"]);
    fs::remove_file(tl.file("plain")).unwrap();
    let sealed = fs::read(tl.file("sealed")).unwrap();
    for _ in 0..3 {
        // Half of it, so that it is at work for as long as it lives.
        let mut opening = tl.command(&["open", "-i", "identity.txt", "-o", "plain", "-"]);
        let mut child = opening.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(&sealed[..sealed.len() / 2]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let names = files(tl.path());
        assert!(
            names.iter().all(|name| ["identity.txt", "recipients.txt", "sealed"].contains(&name.as_str())),
            "{names:?}"
        );
    }
}

#[test]
fn a_device_stays_one() {
    use std::os::unix::fs::FileTypeExt;
    let tl = with_key();
    tl.write("plain", "x").ok(&["seal", "-f", "-R", "recipients.txt", "-o", "/dev/null", "plain"]);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// Runs it with a standard output that cannot be written.
fn to_a_full_disk(tl: &Tl, arguments: &[&str]) -> Ended {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let child = tl.command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let tl = with_key();
    tl.write("p.yaml", "version: 1\nname: t\nstages: { a: { run: [ls] } }\n");
    for arguments in [
        &["schema"][..],
        &["key", "show", "identity.txt"],
        &["validate", "p.yaml"],
        &["plan", "p.yaml"],
        &["explain", "TL0716"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let ended = to_a_full_disk(&tl, arguments);
        assert_eq!((ended.code, ended.stderr.matches("error[").count()), (1, 1), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("error[TL0716]"), "{arguments:?}: {}", ended.stderr);
    }
    // Any other error is reported too, and decides the exit code.
    let unknown = to_a_full_disk(&tl, &["validate", "--json", "nowhere.yaml"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("TL0716"), "{unknown:?}");
}

#[test]
fn a_run_whose_report_has_no_room_goes_to_its_end_and_is_no_silent_success() {
    for reporter in ["json", "human"] {
        let tl = Tl::new();
        tl.write("data/a", "x").pipeline(&format!("stages:\n{CHAIN}"));
        let ended = to_a_full_disk(&tl, &["run", "p.yaml", "--reporter", reporter]);
        assert_eq!((ended.code, ended.stderr.matches("error[").count()), (1, 1), "{reporter}: {}", ended.stderr);
        assert!(ended.stderr.contains("error[TL0716]") && ended.stderr.contains("was done"), "{}", ended.stderr);
        assert!(tl.file("shelf/object").exists(), "{reporter}: the run stopped");
        let records = tl.ok(&["audit", "show", "--json"]).stdout;
        assert!(records.contains(r#""outcome":"success""#), "{records}");
        // A failure keeps its own exit code.
        tl.pipeline("stages:\n  a: { uses: assert, with: { that: false, otherwise: skip } }\n");
        assert_eq!(to_a_full_disk(&tl, &["run", "p.yaml", "--reporter", reporter]).code, 75);
    }
}

#[test]
fn who_stops_reading_is_no_error() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { shell: sh, run: 'sleep 1; seq 9999; touch done' }\n");
    for reporter in ["json", "human"] {
        let line = format!("{{ tl run p.yaml --reporter {reporter}; echo $? > code; }} | head -c 1 > /dev/null");
        let ended = ended(&mut tl.shell(&line));
        assert!(ended.stderr.is_empty() && tl.read("code") == "0\n" && tl.file("done").exists(), "{ended:?}");
        fs::remove_file(tl.file("done")).unwrap();
    }
}

#[test]
fn pipes_work_both_ways() {
    let tl = with_key();
    let feed = |arguments: &[&str], input: &[u8]| {
        let mut child = tl.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    let sealed = feed(&["seal", "-R", "recipients.txt"], b"through a pipe");
    assert_eq!(feed(&["open", "-i", "identity.txt", "-"], &sealed), b"through a pipe");
}

#[test]
fn the_published_schemas_are_those_of_the_program() {
    let tl = Tl::new();
    for (arguments, name) in [
        (&["schema"][..], "pipeline.v1.schema.json"),
        (&["schema", "--event"], "event.v1.schema.json"),
        (&["schema", "--audit"], "audit.v1.schema.json"),
    ] {
        let published = root().join("schemas").join(name);
        let published = fs::read_to_string(published).unwrap();
        assert!(tl.ok(arguments).stdout == published, "{name} is old: `just schemas` writes it");
    }
    let upload: serde_json::Value = serde_json::from_str(&tl.ok(&["schema", "--stage", "upload"]).stdout).unwrap();
    assert!(upload["properties"]["with"]["properties"]["artifact"].is_object());
    let unknown = tl.run(&["schema", "--stage", "uplaod"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("did you mean `upload`?"), "{}", unknown.stderr);
}

#[test]
fn the_newest_run_of_none_is_an_empty_object() {
    let tl = Tl::new();
    assert_eq!(tl.ok(&["show", "--json"]).stdout, "{}\n");
}

#[test]
fn help_names_every_command_and_mistakes_exit_with_2() {
    let tl = Tl::new();
    insta::assert_snapshot!("help", tl.ok(&["--help"]).stdout);
    for command in ["validate", "explain", "schema", "plan", "run", "key", "seal", "open", "audit"] {
        tl.ok(&[command, "--help"]);
    }
    for arguments in [&[][..], &["nonsense"], &["run"], &["run", "a", "--input", "x"], &["seal", "--nonsense"]] {
        assert_eq!(tl.run(arguments).code, 2, "{arguments:?}");
    }
    assert!(tl.ok(&["--version"]).stdout.starts_with("tl "));
}

#[test]
fn validate_reports_all_files_at_once() {
    let tl = Tl::new();
    tl.write("a.yaml", "version: 1\nname: a\nstages: { x: { rum: [ls] } }\n");
    tl.write("b.yaml", "version: 1\nname: b\nstages: { x: { run: [ls] } }\n");
    tl.write("c.yaml", "version: 1\nname: C\nstages: {}\n");
    let ended = tl.run(&["validate", "a.yaml", "b.yaml", "c.yaml"]);
    assert_eq!(ended.code, 2);
    insta::assert_snapshot!(ended.shown(&tl));
    let json = tl.run(&["validate", "--json", "a.yaml", "b.yaml", "c.yaml"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let places: Vec<(&str, u64)> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["place"]["file"].as_str().unwrap(), found["place"]["line"].as_u64().unwrap()))
        .collect();
    assert!(places.contains(&("a.yaml", 3)) && places.contains(&("c.yaml", 2)), "{places:?}");
    assert_eq!(tl.ok(&["validate", "b.yaml"]).stdout, "b.yaml: fine\n");
}

#[test]
fn doctor_names_a_secret_that_is_missing_where_it_is_needed() {
    let tl = Tl::new();
    tl.write(
        "p.yaml",
        "version: 1\nname: test\nsecrets: { key: { from: file, path: gone } }\nchannels:\n  page: { uses: webhook, with: { url: \
         '${{ secrets.key }}' } }\nstages: { a: { run: ['true'] } }\nnotify: [{ when: [failure], to: [page] }]\n",
    );
    let found = tl.run(&["doctor", "p.yaml", "--json"]);
    let examined: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
    let details: Vec<&str> = ["secret", "channel"]
        .map(|what| examined["examined"].as_array().unwrap().iter().find(|item| item["what"] == what).unwrap())
        .map(|item| item["trials"][0]["detail"].as_str().unwrap())
        .to_vec();
    assert!(details[0].starts_with("TL0510"), "{details:?}");
    assert_eq!((found.code, details[1]), (1, "its secret `key` could not be read"));
}

/// What a run with these inputs would skip needs nothing of the machine, and what a matrix names is known later.
#[test]
fn doctor_asks_for_what_would_run() {
    let tl = Tl::new();
    tl.write(
        "p.yaml",
        "version: 1\nname: test\ninputs: { on: { type: bool, default: false } }\nstages:\n  a: { if: inputs.on, run: [no-such-program] \
         }\n  b: { needs: a, uses: archive, with: { sources: [no-such-folder] } }\n  c: { strategy: { matrix: { x: [1] } }, uses: archive, \
         with: { sources: ['${{ string(matrix.x) }}'] } }\n",
    );
    let off = tl.ok(&["doctor", "p.yaml"]).stdout;
    assert!(off.contains("known when it runs") && !off.contains("no-such"), "{off}");
    let on = tl.run(&["doctor", "p.yaml", "--input", "on=true"]);
    assert!(on.code == 1 && on.stdout.contains("no-such-program") && on.stdout.contains("no-such-folder"), "{on:?}");
}

#[test]
fn doctor_names_what_does_not_work() {
    let tl = Tl::unprivileged();
    tl.write(
        "p.yaml",
        "version: 1\nname: test\nstores:\n  good: { uses: dir, with: { path: good } }\n  closed: { uses: dir, with: { path: closed } }\n  \
         gone: { uses: dir, with: { path: gone } }\nstages: { a: { run: ['true'] } }\n",
    );
    for (name, mode) in [("good", 0o777), ("closed", 0o555)] {
        fs::create_dir(tl.file(name)).unwrap();
        fs::set_permissions(tl.file(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let found = tl.run(&["doctor", "p.yaml", "--json"]);
    let examined: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
    let result = |name: &str, trial: &str| {
        let stores = examined["examined"].as_array().unwrap();
        let store = stores.iter().find(|store| store["name"] == name).unwrap();
        let trials = store["trials"].as_array().unwrap();
        trials.iter().find(|found| found["what"] == trial).map(|found| found["result"].as_str().unwrap().to_owned())
    };
    assert_eq!(found.code, 1, "{found:?}");
    assert_eq!((result("good", "reach").as_deref(), result("good", "write").as_deref()), (Some("yes"), Some("yes")));
    assert_eq!(
        (result("closed", "reach").as_deref(), result("closed", "write").as_deref()),
        (Some("yes"), Some("failed"))
    );
    assert_eq!((result("gone", "reach").as_deref(), result("gone", "write")), (Some("failed"), None));
    assert!(fs::read_dir(tl.file("good")).unwrap().next().is_none(), "it leaves nothing");
}
