//! `tl stale --notify`: who is notified of an overdue pipeline, and that the message is sent once and never lost.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::support::{BELL, Ended, Tl, ended, files};

/// A pipeline that must succeed daily and notifies `bell` and `log` when it does not.
fn belled(tl: &Tl) -> &Tl {
    tl.write("bell.sh", BELL).write("told", "");
    tl.pipeline(
        "  bell: { uses: command, with: { run: [sh, bell.sh] } }\nexpect: { success-every: 1d }\nstages:\n  a: { run: ['true'] }\n\
         notify:\n  - { when: [stale], to: [bell, log] }\n  - { when: [failure], to: [log] }\n",
    )
}

/// A pipeline of this name that writes messages to its own file.
fn small(name: &str, more: &str) -> String {
    format!(
        "version: 1\nname: {name}\nexpect: {{ success-every: 1d }}\nchannels:\n  log: {{ uses: file, with: {{ path: {name}.jsonl }} \
         }}\n{more}stages:\n  a: {{ run: ['true'] }}\nnotify:\n  - {{ when: [stale], to: [log] }}\n"
    )
}

fn sql(tl: &Tl, sql: &str) {
    let connection = Connection::open(tl.file("state/state.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// Shifts all runs this many hours into the past.
fn hours_pass(tl: &Tl, hours: u32) {
    let earlier = |column: &str| format!("{column} = strftime('%Y-%m-%dT%H:%M:%fZ', {column}, '-{hours} hours')");
    sql(tl, &format!("UPDATE runs SET {}, {}, {}", earlier("started"), earlier("ended"), earlier("good")));
    sql(tl, &format!("UPDATE versions SET {}", earlier("first_used")));
}

/// Makes pending messages due.
const DUE: &str = "UPDATE outbox SET next_at = '2020-01-01T00:00:00.000Z'";

fn told(tl: &Tl) -> Vec<String> {
    tl.read("told").lines().map(str::to_owned).collect()
}

fn log(tl: &Tl, name: &str) -> Vec<Json> {
    let text = fs::read_to_string(tl.file(name)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn states(tl: &Tl) -> Vec<String> {
    let list: Json = serde_json::from_str(&tl.ok(&["notify", "list", "--json"]).stdout).unwrap();
    list["messages"].as_array().unwrap().iter().map(|entry| entry["state"].as_str().unwrap().to_owned()).collect()
}

/// Runs `tl stale --notify`. It exits with 1 because something is overdue.
fn late(tl: &Tl, more: &[&str]) -> Ended {
    let ended = tl.run(&[&["stale", "--notify"], more].concat());
    assert!(ended.code == 1 && ended.stderr.contains("error[TL0764]"), "{ended:?}");
    ended
}

#[test]
fn a_due_time_that_passes_is_told_once() {
    let tl = Tl::new();
    belled(&tl);
    tl.ok(&["run", "p.yaml"]);
    tl.ok(&["stale", "--notify"]);
    assert!(told(&tl).is_empty() && !tl.file("state/senders").exists());
    let first = tl.last_run();

    hours_pass(&tl, 50);
    // `tl stale` alone sends nothing.
    assert_eq!(tl.run(&["stale"]).code, 1);
    assert!(told(&tl).is_empty());
    let said = late(&tl, &[]);
    assert!(said.stdout.contains("to bell: exit 0") && said.stdout.contains("to log: "), "{}", said.stdout);
    std::os::unix::fs::symlink("p.yaml", tl.file("same.yaml")).unwrap();
    for again in [&[][..], &["p.yaml"], &["./p.yaml", "same.yaml"], &["."]] {
        let said = late(&tl, again);
        assert!(!said.stdout.contains("to bell"), "{}", said.stdout);
    }
    assert_eq!(told(&tl).len(), 1);
    let message = &log(&tl, "log.jsonl")[0];
    assert_eq!((&message["when"], &message["run"]), (&json!("stale"), &json!(first)));
    assert_eq!(message["id"], told(&tl)[0]);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let text = format!("{}\n\n{}", message["subject"].as_str().unwrap(), message["body"].as_str().unwrap());
    let text = regex::Regex::new(r"at \d\d:\d\d")
        .unwrap()
        .replace_all(&tl.redact(&text), "at [TIME]")
        .replace(&host, "[HOST]");
    insta::assert_snapshot!("told", text);

    // A success resets it. The next due time is a new occasion.
    tl.ok(&["run", "p.yaml"]);
    tl.ok(&["stale", "--notify"]);
    hours_pass(&tl, 25);
    late(&tl, &["p.yaml"]);
    late(&tl, &["p.yaml"]);
    let ids = told(&tl);
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
    // A failure is no success, so there is no new due time.
    tl.write("p.yaml", tl.read("p.yaml").replace("'true'", "'false'"));
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    late(&tl, &[]);
    assert_eq!(told(&tl).len(), 2);

    let records = tl.ok(&["audit", "show", "--type", "notify.delivered", "--json"]).stdout;
    let bell = |line: &&str| line.contains(r#""when":"stale""#) && line.contains(r#""channel":"bell""#);
    let on_record: Vec<&str> = records.lines().filter(bell).collect();
    assert!(on_record.len() == 2 && on_record.iter().zip(&ids).all(|(record, id)| record.contains(id)), "{records}");
    let report: Json = serde_json::from_str(&tl.ok(&["audit", "verify", "--json"]).stdout).unwrap();
    assert_eq!(report["unsigned_tail"], 0);
}

#[test]
fn one_that_never_ran_is_told_once_and_again_when_it_was_due() {
    let tl = Tl::new();
    tl.write("new.yaml", small("new", "")).write("other/new.yaml", small("new", ""));
    for _ in 0..2 {
        late(&tl, &["."]);
    }
    // Both have the same name and still count as two.
    let (one, other) = (log(&tl, "new.jsonl"), log(&tl, "other/new.jsonl"));
    assert_eq!((one.len(), other.len(), one[0]["run"].as_str()), (1, 1, Some("")));
    assert_ne!(one[0]["id"], other[0]["id"]);
    assert!(one[0]["body"].as_str().unwrap().starts_with("no run has succeeded here yet"), "{}", one[0]["body"]);
    tl.write("new.yaml", small("new", "").replace("'true'", "'false'"));
    assert_eq!(tl.run(&["run", "new.yaml"]).code, 1);
    tl.ok(&["stale", "--notify", "new.yaml"]);
    hours_pass(&tl, 30);
    for _ in 0..2 {
        late(&tl, &["new.yaml"]);
    }
    assert_eq!(log(&tl, "new.jsonl").len(), 2);
}

#[test]
fn who_did_not_ask_is_not_told() {
    let tl = Tl::new();
    tl.write("p.yaml", small("quiet", "").replace("[stale]", "[failure]"));
    let said = late(&tl, &["p.yaml"]);
    assert!(!tl.state().exists() && !said.stderr.contains("TL0676"), "{said:?}");
}

#[test]
fn a_channel_that_is_down_is_tried_again() {
    let tl = Tl::new();
    belled(&tl);
    tl.ok(&["run", "p.yaml"]);
    hours_pass(&tl, 50);
    tl.write("refuse", "");
    let said = late(&tl, &[]);
    assert!(said.stderr.contains("error[TL0670]") && said.stdout.contains("to log"), "{said:?}");
    assert_eq!(states(&tl), ["pending", "delivered"]);
    let json: Json = serde_json::from_str(&tl.run(&["stale", "--notify", "--json"]).stdout).unwrap();
    assert_eq!((&json["pipelines"][0]["is_stale"], &json["messages"]["tried"]), (&json!(true), &json!([])));
    fs::remove_file(tl.file("refuse")).unwrap();
    // The same timer retries: whatever starts the runs may have stopped.
    sql(&tl, DUE);
    late(&tl, &[]);
    assert_eq!((told(&tl).len(), states(&tl)), (1, vec!["delivered".to_owned(); 2]));

    tl.write("refuse", "");
    tl.ok(&["run", "p.yaml"]);
    hours_pass(&tl, 50);
    late(&tl, &[]);
    fs::remove_file(tl.file("refuse")).unwrap();
    tl.ok(&["notify", "flush", "--all"]);
    assert_eq!((told(&tl).len(), log(&tl, "log.jsonl").len()), (2, 2));

    // Pending messages are sent although nothing is overdue any more.
    tl.write("refuse", "");
    tl.ok(&["run", "p.yaml"]);
    hours_pass(&tl, 50);
    late(&tl, &[]);
    sql(&tl, DUE);
    tl.write("q.yaml", "version: 1\nname: q\nstages:\n  a: { run: ['true'] }\n");
    let waits = tl.run(&["stale", "--notify", "q.yaml"]);
    assert!(waits.code == 1 && waits.stderr.contains("TL0670") && !waits.stderr.contains("TL0764"), "{waits:?}");
}

#[test]
fn a_kill_loses_no_message_and_makes_no_second_one() {
    for (moment, copies) in [("kill-before", 1), ("kill-after", 2)] {
        let tl = Tl::new();
        belled(&tl);
        tl.ok(&["run", "p.yaml"]);
        hours_pass(&tl, 50);
        tl.write(moment, "");
        assert_eq!(tl.run(&["stale", "--notify"]).code, -1, "killed");
        assert_eq!(states(&tl), ["pending", "pending"], "noted and kept at once");
        for _ in 0..2 {
            late(&tl, &[]);
        }
        let ids = told(&tl);
        assert!(ids.len() == copies && ids.iter().all(|id| *id == ids[0]), "{moment}: {ids:?}");
        assert_eq!(log(&tl, "log.jsonl").len(), 1);
        tl.ok(&["audit", "verify"]);
    }
}

#[test]
fn processes_at_the_same_time_tell_once() {
    let tl = Tl::new();
    belled(&tl).write("bell.sh", "sleep 0.1; echo \"$TL_MESSAGE_ID\" >> told\n");
    tl.ok(&["run", "p.yaml"]);
    hours_pass(&tl, 50);
    let all: Vec<_> = (0..6).map(|_| tl.start(&["stale", "--notify"])).collect();
    for child in all {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.matches("error[").count() == 1, "{said}");
    }
    assert_eq!((told(&tl).len(), log(&tl, "log.jsonl").len()), (1, 1));
    assert!(files(&tl.file("state/senders")).is_empty(), "nobody leaves a lock behind");
}

#[test]
fn one_that_cannot_be_told_of_silences_no_other() {
    let tl = Tl::new();
    let secret = "secrets: { key: { from: env, name: TOKEN } }\n";
    let wants = "  bell: { uses: webhook, with: { url: '${{ secrets.key }}', allow-private: true } }\n";
    tl.write("a_secret.yaml", small("a_secret", &format!("{wants}{secret}")).replace("to: [log]", "to: [bell, log]"))
        .write("b_broken.yaml", small("b_broken", ""))
        .write("c_input.yaml", small("c_input", ""))
        .write("d_sound.yaml", small("d_sound", ""));
    for name in ["b_broken", "c_input", "d_sound"] {
        tl.ok(&["run", &format!("{name}.yaml")]);
    }
    ended(tl.command(&["run", "a_secret.yaml"]).env("TOKEN", "http://127.0.0.1:1/"));
    tl.write("b_broken.yaml", "version: 1\nname: b_broken\nexpect: { success-every: 1d }\nstages: [\n")
        .write("c_input.yaml", small("c_input", "inputs: { where: { type: string } }\n"));
    hours_pass(&tl, 50);
    let said = late(&tl, &[]);
    assert_eq!(said.stderr.matches("warning[TL0676]").count(), 1, "{}", said.stderr);
    for what in ["nobody is told that `c_input`", "`where` is missing", "warning[TL0674]", "`key`"] {
        assert!(said.stderr.contains(what), "{what}: {}", said.stderr);
    }
    // Its other channel needs no secret.
    assert_eq!(
        ["a_secret", "b_broken", "c_input", "d_sound"].map(|name| log(&tl, &format!("{name}.jsonl")).len()),
        [1, 1, 0, 1]
    );
    // The same when their folder is named.
    let folder = tl.run(&["stale", "--notify", "."]);
    assert!(
        folder.code == 2 && folder.stderr.contains("b_broken.yaml:4") && folder.stderr.contains("TL0764"),
        "{folder:?}"
    );
    // Once repaired they send their messages. The others do not send again.
    tl.write("b_broken.yaml", small("b_broken", ""))
        .write("c_input.yaml", small("c_input", "inputs: { where: { type: string, default: here } }\n"));
    late(&tl, &[]);
    assert_eq!(
        ["a_secret", "b_broken", "c_input", "d_sound"].map(|name| log(&tl, &format!("{name}.jsonl")).len()),
        [1; 4]
    );
}

#[test]
fn its_channels_are_opened_with_the_inputs_of_the_last_run_and_secrets_do_not_show() {
    let tl = Tl::new();
    tl.write("secret", "hunter-of-stale-ones")
        .write("m.hbs", "{{pipeline}} hunter-of-stale-ones\n{{file}}: {{stale.every}} {{stale.due}}");
    let more = "secrets: { key: { from: file, path: secret } }\ninputs: { who: { type: string } }\n";
    tl.write(
        "p.yaml",
        small("test", more)
            .replace("path: test.jsonl", "path: '${{ inputs.who }}.jsonl'")
            .replace("to: [log]", "to: [log], template: m.hbs"),
    );
    tl.ok(&["run", "p.yaml", "--input", "who=ana"]);
    hours_pass(&tl, 50);
    late(&tl, &[]);
    let message = &log(&tl, "ana.jsonl")[0];
    assert_eq!(message["subject"], "test ***");
    assert!(
        message["body"].as_str().unwrap().starts_with("p.yaml: 1d 20")
            || message["body"].as_str().unwrap().contains("/p.yaml: 1d 20"),
        "{message}"
    );
    for name in files(&tl.state()) {
        let bytes = fs::read(tl.state().join(&name)).unwrap();
        assert!(!bytes.windows(20).any(|window| window == b"hunter-of-stale-ones"), "{name} holds the secret");
    }
}

/// The state of an older release does not look like an empty one.
#[test]
fn a_state_of_an_older_release_raises_no_alarm() {
    let tl = Tl::new();
    belled(&tl);
    tl.ok(&["run", "p.yaml"]);
    let older = "DROP TABLE stale_told; ALTER TABLE runs DROP COLUMN left_out; ALTER TABLE runs DROP COLUMN good; ALTER TABLE deliveries DROP COLUMN upload; \
                 ALTER TABLE runs DROP COLUMN counts; ALTER TABLE runs DROP COLUMN reason; ALTER TABLE runs DROP COLUMN files; \
                 ALTER TABLE runs DROP COLUMN bytes; ALTER TABLE effects DROP COLUMN at; ALTER TABLE runs DROP COLUMN waiting; ALTER TABLE deliveries DROP COLUMN disproved; DROP TABLE written_by; PRAGMA user_version = 3";
    sql(&tl, older);
    tl.ok(&["stale", "--notify", "p.yaml"]);
    hours_pass(&tl, 50);
    late(&tl, &["p.yaml"]);
    assert_eq!(told(&tl).len(), 1);
}

#[test]
fn what_cannot_be_kept_is_said() {
    let tl = Tl::new();
    belled(&tl);
    tl.ok(&["run", "p.yaml"]);
    hours_pass(&tl, 50);
    let log = tl.file("state/audit");
    let segment = files(&log).into_iter().find(|name| name.ends_with(".jsonl")).unwrap();
    let text = fs::read_to_string(log.join(&segment)).unwrap();
    fs::write(log.join(&segment), text.replacen("run.started", "run.stopped", 1)).unwrap();
    let said = tl.run(&["stale", "--notify"]);
    assert!(said.code == 20 && said.stderr.contains("TL0701") && said.stderr.contains("TL0764"), "{said:?}");
    // The messages wait until somebody has accepted the damaged log.
    assert_eq!(states(&tl), ["pending", "pending"]);
    sql(&tl, "PRAGMA user_version = 99");
    let said = tl.run(&["stale", "--notify"]);
    assert!(said.code == 2 && said.stderr.contains("TL0717"), "{said:?}");
}

#[test]
fn its_template_is_proven_with_and_without_a_success() {
    let tl = Tl::new();
    tl.write("p.yaml", small("test", "").replace("to: [log]", "to: [log], template: m.hbs"));
    for (template, is_right) in [
        ("{{stale.every}}{{#if stale.due}} {{time stale.due}} {{duration stale.seconds}}{{/if}}", true),
        ("{{#if error}}{{error}}{{/if}}{{#if stale}}{{stale.last_success}}{{/if}}", true),
        ("{{time stale.last_success}}", false),
        ("{{stale.late}}", false),
    ] {
        tl.write("m.hbs", template);
        let ended = tl.run(&["validate", "p.yaml"]);
        assert_eq!(ended.code, if is_right { 0 } else { 2 }, "{template}: {ended:?}");
        assert!(is_right || ended.stderr.contains("for `stale`"), "{ended:?}");
    }
}

#[test]
fn a_success_of_a_clock_that_was_ahead_silences_nothing() {
    let tl = Tl::new();
    belled(&tl);
    tl.ok(&["run", "p.yaml"]);
    hours_pass(&tl, 50);
    tl.ok(&["run", "p.yaml"]);
    sql(&tl, "UPDATE runs SET good = '2036-01-01T00:00:00.000Z' WHERE id = (SELECT max(id) FROM runs)");
    late(&tl, &["p.yaml"]);
    assert_eq!(told(&tl).len(), 1);
    // Also where the clock was ahead from the first run on.
    sql(&tl, "UPDATE runs SET good = '2036-01-01T00:00:00.000Z', started = '2036-01-01T00:00:00.000Z'");
    assert_eq!(tl.run(&["stale", "p.yaml"]).code, 1);
}

#[test]
fn a_blocked_run_does_not_hide_the_inputs_of_the_one_before() {
    let tl = Tl::new();
    let more =
        "secrets: { key: { from: env, name: KEY_OF_TEST } }\ninputs: { who: { type: string, default: nobody } }\n";
    let text = small("test", more).replace("path: test.jsonl", "path: '${{ inputs.who }}.jsonl'");
    tl.write("p.yaml", text.replace("run: ['true']", "run: ['true'], env: { K: '${{ secrets.key }}' }"));
    let run = |key: Option<&str>| {
        let mut command = tl.command(&["run", "p.yaml", "--input", "who=ana"]);
        key.map(|key| command.env("KEY_OF_TEST", key));
        ended(&mut command).code
    };
    assert_eq!((run(Some("hunter-of-blocked")), run(None)), (0, 12));
    hours_pass(&tl, 50);
    late(&tl, &[]);
    assert_eq!((log(&tl, "ana.jsonl").len(), tl.file("nobody.jsonl").exists()), (1, false));
}
