//! Messages: their recipients and looks, and that none is lost or sent twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::support::{BELL, Ended, Tl, ended, files};

/// A pipeline that does nothing and notifies `bell`.
fn belled(tl: &Tl) -> &Tl {
    tl.write("bell.sh", BELL).write("told", "");
    tl.pipeline(
        "  bell: { uses: command, with: { run: [sh, bell.sh] } }\nstages:\n  a: { run: ['true'] }\nnotify:\n  - { when: [success], \
         to: [bell] }\n",
    )
}

/// A second pipeline, without messages.
fn quiet(tl: &Tl) -> Ended {
    tl.write("q.yaml", "version: 1\nname: quiet\nstages:\n  a: { run: ['true'] }\n");
    tl.ok(&["run", "q.yaml"])
}

fn told(tl: &Tl) -> Vec<String> {
    tl.read("told").lines().map(str::to_owned).collect()
}

fn outbox(tl: &Tl) -> Vec<Json> {
    let list: Json = serde_json::from_str(&tl.ok(&["notify", "list", "--json"]).stdout).unwrap();
    list["messages"].as_array().unwrap().clone()
}

fn states(tl: &Tl) -> Vec<(String, u64)> {
    let of = |entry: &Json| (entry["state"].as_str().unwrap().to_owned(), entry["attempts"].as_u64().unwrap());
    outbox(tl).iter().map(of).collect()
}

fn change(tl: &Tl, sql: &str) {
    Connection::open(tl.file("state/state.db")).unwrap().execute_batch(sql).unwrap();
}

/// Makes pending messages due.
const DUE: &str = "UPDATE outbox SET next_at = '2020-01-01T00:00:00.000Z'";

/// A time in the future, but not implausibly far.
fn later() -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(10);
    format!("UPDATE outbox SET next_at = '{}'", then.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

#[test]
fn a_kill_before_or_after_delivery_loses_nothing_and_makes_nothing_new() {
    for (moment, copies) in [("kill-before", 1), ("kill-after", 2)] {
        let tl = Tl::new();
        belled(&tl).write(moment, "");
        assert_eq!(tl.run(&["run", "p.yaml"]).code, -1, "killed");
        assert_eq!(states(&tl), [("pending".to_owned(), 1)]);
        // Any run sends pending messages.
        let ended = quiet(&tl);
        assert!(ended.stdout.contains("message to bell: \u{2705} test: success"), "{}", ended.stdout);
        let told = told(&tl);
        assert_eq!(told.len(), copies, "{moment}: {told:?}");
        assert!(told.iter().all(|id| *id == told[0]), "a receiver can tell a repetition: {told:?}");
        assert_eq!(states(&tl), [("delivered".to_owned(), 2)]);
        quiet(&tl);
        tl.ok(&["notify", "flush", "--all"]);
        assert_eq!(self::told(&tl).len(), copies, "{moment}");
        tl.ok(&["audit", "verify"]);
    }
}

#[test]
fn a_failure_is_told_kept_and_tried_again_when_its_time_comes() {
    let tl = Tl::new();
    belled(&tl).write("refuse", "");
    let (code, events) = tl.events(&[]);
    let message = events.iter().find(|event| event["event"] == "message").unwrap();
    assert_eq!((code, &message["error"]["code"], &message["delivered"]), (0, &json!("TL0670"), &Json::Null));
    assert!(message["error"]["help"].as_str().unwrap().starts_with("it is kept"), "{message}");
    assert_eq!(states(&tl), [("pending".to_owned(), 1)]);

    change(&tl, &later());
    fs::remove_file(tl.file("refuse")).unwrap();
    quiet(&tl);
    assert_eq!(tl.ok(&["notify", "flush"]).stderr, "nothing is due\n");
    assert_eq!(states(&tl), [("pending".to_owned(), 1)], "its time has not come");

    tl.write("refuse", "");
    change(&tl, DUE);
    let failed = tl.run(&["notify", "flush"]);
    assert!(failed.code == 1 && failed.stderr.contains("TL0670"), "{failed:?}");
    assert_eq!(states(&tl), [("pending".to_owned(), 2)]);

    fs::remove_file(tl.file("refuse")).unwrap();
    change(&tl, &later());
    let flushed: Json = serde_json::from_str(&tl.ok(&["notify", "flush", "--all", "--json"]).stdout).unwrap();
    assert_eq!((&flushed["tried"][0]["attempt"], &flushed["tried"][0]["delivered"]), (&json!(3), &json!("exit 0")));
    assert_eq!(told(&tl).len(), 1);

    // The audit log has each attempt, its result, and whether another one follows.
    let records = tl.ok(&["audit", "show", "--type", "notify", "--json"]).stdout;
    let records: Vec<Json> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<Json> =
        records.iter().map(|r| json!([r["type"], r["data"]["attempt"], r["data"]["again"]])).collect();
    assert_eq!(
        said,
        [json!(["notify.failed", 1, true]), json!(["notify.failed", 2, true]), json!(["notify.delivered", 3, null])]
    );
    let report: Json = serde_json::from_str(&tl.ok(&["audit", "verify", "--json"]).stdout).unwrap();
    assert_eq!(report["unsigned_tail"], 0, "what flush recorded is signed");
}

#[test]
fn after_the_last_attempt_it_is_given_up_and_that_is_said() {
    let tl = Tl::new();
    belled(&tl).write("refuse", "");
    tl.ok(&["run", "p.yaml"]);
    change(&tl, &format!("{DUE}, attempts = 9"));
    let ended = quiet(&tl);
    assert!(ended.stdout.contains("that was the last attempt"), "{}", ended.stdout);
    assert_eq!(states(&tl), [("dead".to_owned(), 10)]);
    fs::remove_file(tl.file("refuse")).unwrap();
    tl.ok(&["notify", "flush"]);
    assert!(told(&tl).is_empty());
    tl.ok(&["notify", "flush", "--all"]);
    assert_eq!((told(&tl).len(), states(&tl)), (1, vec![("delivered".to_owned(), 11)]));
    insta::assert_snapshot!("outbox_list", tl.redact(&list_without_times(&tl)));
}

fn list_without_times(tl: &Tl) -> String {
    let time = regex::Regex::new(r"\d{4}-\d\d-\d\dT[\d:.]+Z").unwrap();
    time.replace_all(&tl.ok(&["notify", "list"]).stdout, "[WHEN]").into_owned()
}

#[test]
fn a_clock_that_was_wrong_silences_no_message() {
    let tl = Tl::new();
    belled(&tl).write("refuse", "");
    tl.ok(&["run", "p.yaml"]);
    fs::remove_file(tl.file("refuse")).unwrap();
    change(&tl, "UPDATE outbox SET next_at = '2099-01-01T00:00:00.000Z'");
    quiet(&tl);
    assert_eq!(told(&tl).len(), 1);
}

#[test]
fn a_channel_that_fails_is_asked_once_for_all_that_waits() {
    let tl = Tl::new();
    belled(&tl).write("refuse", "");
    for _ in 0..3 {
        tl.ok(&["run", "p.yaml"]);
        change(&tl, &later());
    }
    change(&tl, DUE);
    let ended = quiet(&tl);
    assert_eq!(ended.stdout.matches("error[TL0670]").count(), 1, "{}", ended.stdout);
    assert!(ended.stdout.contains("warning[TL0673]: 2 messages for `bell` still wait"), "{}", ended.stdout);
    let attempts: Vec<u64> = states(&tl).iter().map(|(_, attempts)| *attempts).collect();
    assert_eq!(attempts, [2, 1, 1]);
}

#[test]
fn processes_that_send_at_once_send_each_message_once() {
    let tl = Tl::new();
    belled(&tl).write("refuse", "");
    for _ in 0..6 {
        tl.ok(&["run", "p.yaml"]);
    }
    fs::remove_file(tl.file("refuse")).unwrap();
    tl.write("told", "").write("bell.sh", "sleep 0.1; echo \"$TL_MESSAGE_ID\" >> told\n");
    let all: Vec<_> = (0..4).map(|_| tl.start(&["notify", "flush", "--all"])).collect();
    let more: Vec<_> = (0..2).map(|_| tl.start(&["run", "p.yaml"])).collect();
    for child in all.into_iter().chain(more) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut ids = told(&tl);
    ids.sort();
    let count = ids.len();
    ids.dedup();
    assert_eq!((ids.len(), count), (8, 8), "six that waited, two new ones");
    assert!(outbox(&tl).iter().all(|entry| entry["state"] == "delivered"));
    assert!(files(&tl.file("state/senders")).is_empty(), "nobody leaves a lock behind");
}

#[test]
fn first_messages_at_once_make_one_outbox() {
    let tl = Tl::new();
    belled(&tl);
    let runs: Vec<_> = (0..4).map(|_| tl.start(&["run", "p.yaml"])).collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !text.contains("TL071"), "{text}");
    }
    assert_eq!(states(&tl), vec![("delivered".to_owned(), 1); 4]);
}

#[test]
fn a_message_whose_channel_is_gone_stays_and_is_told() {
    let tl = Tl::new();
    belled(&tl).write("refuse", "");
    tl.ok(&["run", "p.yaml"]);
    fs::remove_file(tl.file("refuse")).unwrap();
    change(&tl, DUE);
    let kept = tl.read("p.yaml");
    tl.write("p.yaml", kept.replace("bell:", "chime:").replace("to: [bell]", "to: [chime]"));
    let ended = quiet(&tl);
    assert!(ended.stdout.contains("warning[TL0674]"), "{}", ended.stdout);
    let flushed = tl.run(&["notify", "flush"]);
    assert_eq!(flushed.code, 1);
    insta::assert_snapshot!("flush_channel_gone", flushed.shown(&tl));
    assert_eq!(states(&tl), [("pending".to_owned(), 1)], "that is no attempt");
    // After a week tl gives up.
    change(&tl, "UPDATE outbox SET created = '2020-01-01T00:00:00.000Z'");
    quiet(&tl);
    assert_eq!(states(&tl)[0].0, "dead");
    // The last good text of a file that is gone has the channel.
    fs::remove_file(tl.file("p.yaml")).unwrap();
    tl.ok(&["notify", "flush", "--all"]);
    assert_eq!(told(&tl).len(), 1);
}

#[test]
fn a_channel_is_opened_again_with_the_inputs_and_secrets_of_its_pipeline() {
    let tl = Tl::new();
    tl.write("secret", "hunter-of-messages").write("ring.sh", "[ -e ready ] || exit 1; echo \"$1\" > rung\n");
    tl.pipeline(
        "  bell: { uses: command, with: { run: [sh, ring.sh, '${{ inputs.who }}'] } }\nsecrets: { key: { from: file, path: secret } \
         }\ninputs: { who: { type: string } }\nstages:\n  a: { env: { K: '${{ secrets.key }}' }, run: ['true'] }\nnotify:\n  - { when: [success], to: [bell], template: \
         m.hbs }\n",
    );
    tl.write("m.hbs", "{{pipeline}} hunter-of-messages\n{{file}} hunter-of-messages");
    tl.ok(&["run", "p.yaml", "--input", "who=ana"]);
    tl.write("ready", "");
    change(&tl, DUE);
    quiet(&tl);
    assert_eq!(tl.read("rung"), "ana\n");
    for name in files(&tl.state()) {
        let bytes = fs::read(tl.state().join(&name)).unwrap();
        assert!(!bytes.windows(18).any(|window| window == b"hunter-of-messages"), "{name} holds the secret");
    }
}

#[test]
fn the_notify_stage_goes_the_same_way() {
    let tl = Tl::new();
    tl.write("bell.sh", BELL).write("told", "").write("refuse", "");
    tl.pipeline(
        "  bell: { uses: command, with: { run: [sh, bell.sh] } }\nstages:\n  tell: { uses: notify, with: { to: [log, bell], subject: hello \
         } }\n",
    );
    assert_eq!(tl.run(&["run", "p.yaml"]).code, 1);
    assert_eq!(states(&tl), [("delivered".to_owned(), 1), ("pending".to_owned(), 1)]);
    fs::remove_file(tl.file("refuse")).unwrap();
    tl.ok(&["notify", "flush", "--all"]);
    assert_eq!((told(&tl).len(), tl.read("log.jsonl").lines().count()), (1, 1));
}

#[test]
fn a_damaged_outbox_costs_no_message_and_no_run() {
    let tl = Tl::new();
    belled(&tl);
    tl.ok(&["run", "p.yaml"]);
    let whole = fs::read(tl.file("state/state.db")).unwrap();
    // A file that is no database, and one with a valid header and garbage pages.
    let mut noisy = whole.clone();
    noisy[110..].fill(0xa5);
    for (number, damaged) in [vec![b'x'; 9_000], noisy].into_iter().enumerate() {
        fs::write(tl.file("state/state.db"), &damaged).unwrap();
        let (code, events) = tl.events(&[]);
        assert_eq!(code, 0, "{events:#?}");
        let problems: Vec<&Json> = events.iter().filter(|event| event["event"] == "problem").collect();
        assert_eq!((problems.len(), &problems[0]["error"]["code"]), (1, &json!("TL0718")), "{problems:#?}");
        let message = events.iter().find(|event| event["event"] == "message").unwrap();
        assert_eq!(message["delivered"], "exit 0", "{message}");
        assert_eq!(told(&tl).len(), number + 2);
        assert_eq!(fs::read(tl.file("state/state.db")).unwrap(), damaged, "left for whoever looks at it");
    }
    let list = tl.run(&["notify", "list"]);
    assert_eq!(list.code, 1);
    insta::assert_snapshot!("outbox_damaged", list.shown(&tl));
    fs::rename(tl.file("state/state.db"), tl.file("state/state.db.damaged")).unwrap();
    tl.ok(&["run", "p.yaml"]);
    assert_eq!(states(&tl), [("delivered".to_owned(), 1)]);
}

#[test]
fn an_outbox_of_a_later_release_is_left_alone() {
    let tl = Tl::new();
    belled(&tl);
    tl.ok(&["run", "p.yaml"]);
    change(&tl, "PRAGMA user_version = 7; INSERT INTO written_by VALUES (7, '0.9.0')");
    let before = fs::read(tl.file("state/state.db")).unwrap();
    for command in [&["notify", "list"][..], &["notify", "flush"]] {
        let ended = tl.run(command);
        assert_eq!(ended.code, 2);
        insta::assert_snapshot!("outbox_newer", ended.shown(&tl));
    }
    // A run beside it would be neither known nor resumed.
    let ended = tl.run(&["run", "p.yaml"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stdout.contains("error[TL0717]") && ended.stdout.contains("release 0.9.0"), "{}", ended.stdout);
    assert_eq!(fs::read(tl.file("state/state.db")).unwrap(), before);
}

#[test]
fn an_outbox_is_for_its_owner_alone() {
    let tl = Tl::new();
    belled(&tl).write("kill-before", "");
    // Killed, so that the companion files of the database stay.
    let line = format!("umask 000; exec {} run p.yaml", env!("CARGO_BIN_EXE_tl"));
    ended(Command::new("sh").args(["-c", &line]).current_dir(tl.path()).env("TL_STATE", tl.state()));
    let names = files(&tl.state());
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        assert!(names.iter().any(|other| other == name), "{names:?}");
    }
    for name in names {
        let mode = fs::metadata(tl.state().join(&name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

#[test]
fn nothing_is_made_where_nothing_is_told() {
    let tl = Tl::new();
    quiet(&tl);
    assert_eq!(tl.ok(&["notify", "list"]).stderr, "the outbox is empty\n");
    assert_eq!(tl.ok(&["notify", "flush", "--all"]).stderr, "nothing is due\n");
    assert!(!tl.file("state/senders").exists());
}

/// Each outcome, with every occasion enabled: which messages are sent.
#[test]
fn each_result_is_told_by_its_name() {
    let all = "[started, success, warning, failure, skipped, cancelled, blocked, recovered]";
    for (stages, expected) in [
        ("a: { run: ['true'] }", &["started", "success"][..]),
        ("a: { run: ['false'], continue-on-error: true }", &["started", "warning"]),
        ("a: { run: ['false'] }", &["started", "failure"]),
        ("a: { run: [sh, -c, 'exit 75'] }", &["started", "skipped"]),
        ("a: { run: [sh, -c, 'kill -TERM $PPID; sleep 1000'] }", &["started", "cancelled"]),
        (
            "a: { run: ['true'], env: { S: '${{ secrets.s }}' } }\nsecrets: { s: { from: env, name: NOT_SET_ANYWHERE } }",
            &["blocked"],
        ),
    ] {
        let tl = Tl::new();
        tl.pipeline(&format!("stages:\n  {stages}\nnotify:\n  - {{ when: {all}, to: [log] }}\n"));
        tl.run(&["run", "p.yaml"]);
        assert_eq!(told_in_log(&tl), expected, "{stages}");
        // With only `recovered` enabled, a failure sends nothing, and the next success sends a message.
        tl.pipeline("stages:\n  a: { run: ['true'] }\nnotify:\n  - { when: [recovered], to: [log] }\n");
        fs::remove_file(tl.file("log.jsonl")).unwrap();
        tl.ok(&["run", "p.yaml"]);
        let failed = matches!(expected.last(), Some(&("failure" | "blocked")));
        assert_eq!(tl.file("log.jsonl").exists(), failed, "{stages}");
    }
}

fn told_in_log(tl: &Tl) -> Vec<String> {
    let when = |line: &str| serde_json::from_str::<Json>(line).unwrap()["when"].as_str().unwrap().to_owned();
    tl.read("log.jsonl").lines().map(when).collect()
}

const OCCASIONS: [&str; 9] =
    ["started", "success", "warning", "failure", "skipped", "cancelled", "blocked", "recovered", "stale"];

#[test]
fn a_preview_shows_every_occasion() {
    let tl = Tl::new();
    tl.pipeline("stages:\n  a: { run: [touch, ran] }\nnotify:\n  - { when: [failure], to: [log] }\n");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for when in OCCASIONS {
        let text = tl.ok(&["notify", "preview", "p.yaml", "--when", when]).stdout;
        insta::assert_snapshot!(format!("preview_{when}_text"), text.replace(&host, "[HOST]"));
        let html = tl.ok(&["notify", "preview", "p.yaml", "--when", when, "--html"]).stdout;
        insta::assert_snapshot!(format!("preview_{when}_html"), html.replace(&host, "[HOST]"));
    }
    assert!(!tl.file("ran").exists() && !tl.file("log.jsonl").exists() && !tl.state().exists());
    let json: Json =
        serde_json::from_str(&tl.ok(&["notify", "preview", "p.yaml", "--when", "failure", "--json"]).stdout).unwrap();
    assert_eq!((&json[0]["to"], &json[0]["when"]), (&json!(["log"]), &json!("failure")));
    assert!(json[0]["html"].as_str().unwrap().starts_with("<!DOCTYPE html>"));
}

#[test]
fn a_message_has_the_forms_that_its_file_gives_it() {
    let tl = Tl::new();
    let file = |templates: &str| {
        tl.pipeline(&format!(
            "stages:\n  a: {{ run: ['true'] }}\nnotify:\n  - {{ when: [success], to: [log]{templates} }}\n"
        ));
    };
    tl.write("m.hbs", "{{pipeline}}\n{{> part}}").write("part.hbs", "part {{when}}").write("m.html.hbs", "<p>{{when}}");
    file(", template: m.hbs");
    let shown = |form: &[&str]| tl.ok(&[&["notify", "preview", "p.yaml", "--when", "success"], form].concat());
    assert_eq!(shown(&[]).stdout, "to log\ntest\n\npart success");
    assert_eq!(shown(&["--html"]).stdout, "");
    file(", template: m.hbs, template-html: m.html.hbs");
    assert_eq!(shown(&["--html"]).stdout, "<p>success");
    file(", template-html: m.html.hbs");
    assert_eq!(shown(&["--html"]).stdout, "<p>success");
    assert!(shown(&[]).stdout.contains("\u{2705} test: success"));
    // Both are checked before anything runs.
    tl.write("m.html.hbs", "<p>{{wen}}");
    let wrong = tl.run(&["validate", "p.yaml"]);
    assert_eq!(wrong.code, 2);
    insta::assert_snapshot!("template_html_wrong", wrong.shown(&tl));
    // A template that breaks during the run spoils the format of a message, but the message is sent.
    tl.write("m.html.hbs", "<p>{{when}}");
    tl.pipeline(
        "stages:\n  a: { shell: sh, run: 'echo {{ > m.html.hbs' }\nnotify:\n  - { when: [success], to: [log], template-html: m.html.hbs \
         }\n",
    );
    tl.ok(&["run", "p.yaml"]);
    assert!(tl.read("log.jsonl").contains("TL0671"));
}

#[test]
fn values_change_no_markup_and_steer_nothing() {
    let tl = Tl::new();
    let hostile = "x\r\nBcc: a@b\u{1b}[2J\u{202e}\u{2066}\u{7}</td><script>'\"&{{run}}";
    let file = format!("p {}.yaml", hostile.replace('/', ""));
    tl.write(
        "m.hbs",
        "{{pipeline}} {{description}}{{file}} {{host}}\n{{#each stages}}{{pad detail 9}}{{json this}}{{{detail}}}{{/each}}{{table stages}}",
    )
    .write("m.html.hbs", "<p>{{description}}{{file}}</p>{{#each stages}}<i>{{pad detail 9}}{{json this}}</i>{{/each}}{{table stages}}");
    tl.write("hostile.sh", "exit 1\n");
    let quoted = serde_json::to_string(hostile).unwrap();
    let pipeline = format!(
        "version: 1\nname: test\ndescription: {quoted}\nchannels: {{ log: {{ uses: file, with: {{ path: log.jsonl }} }} }}\nstages:\n  \
         a: {{ run: [{quoted}] }}\nnotify:\n  - {{ when: [failure], to: [log], template: m.hbs, template-html: m.html.hbs }}\n  - {{ \
         when: [failure], to: [log] }}\n"
    );
    tl.write(&file, pipeline);
    assert_eq!(tl.run(&["run", &file]).code, 1);
    let lines = tl.read("log.jsonl");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let outbox = Connection::open(tl.file("state/state.db")).unwrap();
    let mut statement = outbox.prepare("SELECT message FROM outbox").unwrap();
    let messages: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(|message| message.unwrap()).collect();
    assert_eq!(messages.len(), 2);
    for message in messages {
        let message: Json = serde_json::from_str(&message).unwrap();
        let [subject, body, html] = ["subject", "body", "html"].map(|part| message[part].as_str().unwrap());
        for text in [subject, body, html] {
            assert!(!text.contains(['\r', '\u{1b}', '\u{7}', '\u{202e}', '\u{2066}']), "{text:?}");
        }
        assert!(!subject.contains('\n'));
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
        assert!(!html.contains(&hostile[hostile.len() - 10..]), "quotes are escaped too: {html}");
        assert!(body.contains("<script>"), "a text is left as it is: {body}");
    }
}

#[test]
fn channels_can_be_tried() {
    let tl = Tl::new();
    belled(&tl);
    tl.write(
        "p.yaml",
        tl.read("p.yaml").replace("stages:", "  deaf: { uses: command, with: { run: ['false'] } }\nstages:"),
    );
    let tested = tl.run(&["notify", "test", "p.yaml"]);
    assert_eq!(tested.code, 1);
    insta::assert_snapshot!("notify_test", tested.shown(&tl));
    assert_eq!((told(&tl).len(), told_in_log(&tl)), (1, vec!["test".to_owned()]));
    let one: Json =
        serde_json::from_str(&tl.ok(&["notify", "test", "p.yaml", "--channel", "bell", "--json"]).stdout).unwrap();
    assert_eq!(one["channels"].as_array().unwrap().len(), 1);
    assert_eq!(one["channels"][0]["delivered"], "exit 0");
    assert_eq!(tl.run(&["notify", "test", "p.yaml", "--channel", "chime"]).code, 2);
    assert!(!tl.state().exists(), "a test is no message of a run");
}

#[cfg(feature = "peers")]
#[test]
fn an_outbox_without_room_costs_no_message_and_no_run() {
    let tl = Tl::new();
    belled(&tl);
    let state = tl.state();
    let _disk = crate::support::Disk::new(&state, "4m");
    quiet(&tl);
    // There is room for the log, but not for a database.
    let free = rustix::fs::statvfs(&state).unwrap();
    let ballast = free.f_bavail * free.f_bsize - (40 << 10);
    fs::write(state.join("ballast"), vec![0; usize::try_from(ballast).unwrap()]).unwrap();
    let (code, events) = tl.events(&[]);
    assert_eq!(code, 0, "{events:#?}");
    let problem = events.iter().find(|event| event["event"] == "problem").unwrap();
    assert_eq!(problem["error"]["code"], "TL0719", "{problem}");
    assert_eq!(told(&tl).len(), 1);
    fs::remove_file(state.join("ballast")).unwrap();
    tl.ok(&["run", "p.yaml"]);
    assert_eq!((told(&tl).len(), states(&tl).last().unwrap().0.clone()), (2, "delivered".to_owned()));
}

#[test]
fn a_message_goes_nowhere_else_where_an_input_holds_a_secret() {
    let tl = Tl::new();
    tl.write(
        "p.yaml",
        "version: 1\nname: test\ninputs: { to: { type: string }, other: { type: string, default: x } }\n\
         secrets: { key: { from: env, name: KEY_OF_TEST } }\n\
         channels: { c: { uses: command, with: { run: [sh, -c, 'test -e up && cat > \"got-$0\"', '${{ inputs.to }}'] } } }\n\
         stages: { a: { env: { K: '${{ secrets.key }}' }, run: ['false'] } }\nnotify: [{ when: [failure], to: [c] }]\n",
    );
    let with_key = |arguments: &[&str]| ended(tl.command(arguments).env("KEY_OF_TEST", "s3cr3t-in-input"));
    with_key(&["run", "p.yaml", "--input", "to=plain", "--input", "other=s3cr3t-in-input"]);
    with_key(&["run", "p.yaml", "--input", "to=host-s3cr3t-in-input"]);
    tl.write("up", "");
    let flushed = with_key(&["notify", "flush", "--all"]);
    let came: Vec<String> = files(tl.path()).into_iter().filter(|file| file.contains("got-")).collect();
    assert_eq!(came, ["got-plain"], "{flushed:?}");
    let states: Vec<String> = states(&tl).into_iter().map(|(state, _)| state).collect();
    assert!(flushed.code == 1 && states.contains(&"pending".to_owned()), "{flushed:?} {states:?}");
    assert!(flushed.stderr.contains("TL0674") && flushed.stderr.contains("no value"), "{flushed:?}");
}

/// Neither the log nor the outbox can be written, so nothing is kept: the channels that ask for `blocked` hear of it directly, and
/// once an hour.
#[test]
fn a_run_that_its_state_blocks_is_told_directly_and_not_each_minute() {
    let tl = Tl::unprivileged();
    let set_mode = |name: &str, mode| fs::set_permissions(tl.file(name), fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir(tl.file("tmp")).unwrap();
    set_mode("tmp", 0o777);
    tl.write("log.jsonl", "").write("token", "the-secret-of-a-channel");
    set_mode("log.jsonl", 0o666);
    let pipeline = |more: &str| {
        tl.pipeline(&format!("{more}stages:\n  a: {{ run: ['true'] }}\nnotify: [{{ when: [blocked], to: [log] }}]\n"));
    };
    pipeline("");
    let run =
        || ended(tl.command(&["run", "p.yaml"]).env("TMPDIR", tl.file("tmp")).env("XDG_RUNTIME_DIR", tl.file("tmp")));
    let told = || tl.read("log.jsonl").lines().count();
    assert_eq!((run().code, told()), (0, 0));
    // A message that no channel took was not sent.
    set_mode("log.jsonl", 0o000);
    set_mode("state/audit", 0o000);
    assert!(run().code != 0);
    set_mode("log.jsonl", 0o666);
    assert_eq!(told(), 0);
    // A cause that leaves the state folder writable, and one that does not.
    for (name, mode, count) in [("state/audit", 0o000, 1), ("state/audit", 0o000, 1)] {
        set_mode(name, mode);
        let blocked = run();
        assert!(blocked.code != 0 && blocked.stdout.contains("error[TL07"), "{blocked:?}");
        assert_eq!(told(), count, "{blocked:?}");
    }
    set_mode("state/audit", 0o700);
    fs::remove_dir_all(tl.file("state/blocked")).unwrap();
    set_mode("state", 0o000);
    for _ in 0..2 {
        assert!(run().code != 0);
        assert_eq!(told(), 2);
    }
    let message: serde_json::Value = serde_json::from_str(tl.read("log.jsonl").lines().last().unwrap()).unwrap();
    assert!(message["when"] == "blocked" && message["body"].as_str().unwrap().contains("TL07"), "{message}");
    // Nobody asks for it.
    fs::remove_dir_all(tl.file("tmp")).unwrap();
    tl.write("p.yaml", tl.read("p.yaml").replace("when: [blocked]", "when: [failure]"));
    assert!(run().code != 0);
    assert_eq!(told(), 2);
    set_mode("state", 0o700);
}

/// Whatever opened something at a receiver is followed by one `recovered`: for a channel that asks for warnings, a warning, too.
#[test]
fn a_recovery_follows_whatever_the_channel_heard_of() {
    let tl = Tl::new();
    let entries = [
        ("a", "[failure, warning, recovered]"),
        ("b", "[failure, recovered]"),
        ("c", "[warning, recovered]"),
        ("d", "[recovered]"),
    ];
    let channels: String = entries
        .iter()
        .map(|(name, _)| format!("  {name}: {{ uses: file, with: {{ path: {name}.jsonl }} }}\n"))
        .collect();
    let notify: String = entries.iter().map(|(name, when)| format!("  - {{ when: {when}, to: [{name}] }}\n")).collect();
    tl.pipeline(&format!(
        "{channels}inputs: {{ fails: {{ type: bool, default: false }}, warns: {{ type: bool, default: false }} }}\nstages:\n  hard: {{ \
         uses: assert, with: {{ that: '${{{{ !inputs.fails }}}}', message: no }} }}\n  soft: {{ continue-on-error: true, uses: assert, \
         with: {{ that: '${{{{ !inputs.warns }}}}', message: no }} }}\nnotify:\n{notify}"
    ));
    for (more, code) in [
        (&["--input", "fails=true"][..], 1),
        (&["--input", "warns=true"], 3),
        (&[], 0),
        (&[], 0),
        (&["--input", "warns=true"], 3),
        (&[], 0),
    ] {
        let ended = tl.run(&[&["run", "p.yaml"], more].concat());
        assert_eq!(ended.code, code, "{ended:?}");
    }
    let whens = |name: &str| -> Vec<String> {
        let lines = tl.read(&format!("{name}.jsonl"));
        let when =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["when"].as_str().unwrap().to_owned();
        lines.lines().map(when).collect()
    };
    assert_eq!(whens("a"), ["failure", "warning", "recovered", "warning", "recovered"]);
    assert_eq!(whens("b"), ["failure", "recovered"]);
    assert_eq!(whens("c"), ["warning", "recovered", "warning", "recovered"]);
    assert_eq!(whens("d"), ["recovered"]);
}
