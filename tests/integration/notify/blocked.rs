//! What stops a run before its first stage, on each kind of channel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::support::receiver::{Receiver, status};
use crate::support::smtp::Server;
use crate::support::{Ended, Tl, ended};

/// The kinds that send HTTP, each with how the path of its requests begins.
const HTTP: [(&str, &str); 10] = [
    ("webhook", "/hook"),
    ("slack", "/slack"),
    ("discord", "/discord"),
    ("teams", "/teams"),
    ("ntfy", "/ "),
    ("gotify", "/message"),
    ("pushover", "/1/messages.json"),
    ("pagerduty", "/v2/enqueue"),
    ("healthchecks", "/6f1b"),
    ("uptime-kuma", "/api/push"),
];

fn settings(kind: &str, url: &str) -> Json {
    let with = match kind {
        "webhook" => json!({ "url": format!("{url}/hook") }),
        "ntfy" => json!({ "server": url, "topic": "topic" }),
        "gotify" => json!({ "server": url, "token": "a-token" }),
        "pushover" => json!({ "server": url, "token": "a-token", "user": "a-user" }),
        "pagerduty" => json!({ "server": url, "routing-key": "a-key" }),
        "healthchecks" => json!({ "server": url, "uuid": "6f1b" }),
        "uptime-kuma" => json!({ "url": format!("{url}/api/push/x?status=up&msg=OK&ping=") }),
        kind => json!({ "url": format!("{url}/{kind}") }),
    };
    let mut with = with;
    with["allow-private"] = true.into();
    with
}

/// A file with all kinds of channels that ran once, its servers, and what they got until now.
struct Place {
    tl: Tl,
    http: Receiver,
    mail: Server,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            tl: Tl::unprivileged(),
            http: Receiver::start(vec![status("200 OK", "", "")]),
            mail: Server::start("plain"),
        };
        let tl = &place.tl;
        let url = format!("http://127.0.0.1:{}", place.http.port);
        let mut channels: serde_json::Map<String, Json> = HTTP
            .iter()
            .map(|(kind, _)| (kind.replace('-', "_"), json!({ "uses": kind, "with": settings(kind, &url) })))
            .collect();
        let plain = json!({ "insecure-plaintext": true, "username": null, "password": null, "ca-certificate": null });
        channels.insert("email".into(), json!({ "uses": "email", "with": place.mail.settings("none", &plain) }));
        channels.insert("file".into(), json!({ "uses": "file", "with": { "path": "log.jsonl" } }));
        channels.insert("command".into(), json!({ "uses": "command", "with": { "run": ["sh", "-c", "cat >> bell"] } }));
        let names: Vec<&String> = channels.keys().collect();
        let file = json!({
            "version": 1, "name": "test", "extends": "base.yaml",
            "notify": [{ "when": ["blocked"], "to": names }],
            "secrets": { "s": { "from": "file", "path": "secret.txt" } },
            "channels": channels,
            "stages": {
                "list": { "uses": "archive", "with": { "sources": ["base.yaml"], "exclude-file": "excludes.txt" } },
                "a": { "run": ["true", "${{ inputs.n }}"], "env": { "S": "${{ secrets.s }}" } },
            },
        });
        tl.write("base.yaml", "version: 1\ninputs: { n: { type: int, default: 1 } }\n")
            .write("secret.txt", "a-secret")
            .write("excludes.txt", "*.tmp\n");
        tl.write("p.yaml", file.to_string());
        if crate::support::is_root() {
            ended(Command::new("chown").args(["-R", "65534:65534"]).arg(tl.path()));
        }
        tl.ok(&["run", "p.yaml"]);
        copy(&tl.state(), &tl.file("earlier"));
        tl.ok(&["run", "p.yaml"]);
        place
    }

    fn run(&self, more: &[&str]) -> Ended {
        let mut command = self.tl.command(&[&["run", "p.yaml"], more].concat());
        ended(command.env("XDG_RUNTIME_DIR", self.tl.path()))
    }

    /// How many messages each kind of channel got, in the order of their names.
    fn told(&self) -> Vec<(String, usize)> {
        let requests = self.http.requests();
        let path = |line: &str| line.split_once(' ').unwrap().1.to_owned();
        let count = |prefix: &str| requests.iter().filter(|request| path(&request.line).starts_with(prefix)).count();
        let lines =
            |name: &str| fs::read_to_string(self.tl.file(name)).unwrap_or_default().matches("TL0").count().min(1);
        let mut told: Vec<_> = HTTP.iter().map(|(kind, path)| ((*kind).to_owned(), count(path))).collect();
        told.extend([
            ("email".to_owned(), self.mail.mails()),
            ("file".to_owned(), fs::read_to_string(self.tl.file("log.jsonl")).unwrap_or_default().lines().count()),
            ("command".to_owned(), lines("bell")),
        ]);
        told
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = ended(Command::new("cp").arg("-a").args([from, to]));
    assert_eq!(copied.code, 0, "{copied:?}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What stops the run, the arguments of it, and the code that names it.
type Cause<'a> = (&'a str, &'a dyn Fn(&Tl), &'a [&'a str], &'a str);

#[test]
fn every_cause_is_told_on_every_kind_of_channel_once() {
    let causes: [Cause<'_>; 13] = [
        (
            "an unknown key",
            &|tl| _ = tl.write("p.yaml", tl.read("p.yaml").replace("\"run\"", "\"rnu\"")),
            &[],
            "TL0207",
        ),
        ("no YAML", &|tl| _ = tl.write("p.yaml", "version: [1\n"), &[], "TL0005"),
        ("no text", &|tl| _ = tl.write("p.yaml", [0xff, 0xfe, 0, 1]), &[], "TL0"),
        ("a file that is gone", &|tl| fs::remove_file(tl.file("p.yaml")).unwrap(), &[], "TL0"),
        ("an include that is gone", &|tl| fs::remove_file(tl.file("base.yaml")).unwrap(), &[], "TL0"),
        ("an include that cannot be read", &|tl| set_mode(&tl.file("base.yaml"), 0), &[], "TL0"),
        ("a list that is gone", &|tl| fs::remove_file(tl.file("excludes.txt")).unwrap(), &[], "TL0617"),
        ("a wrong input", &|_| {}, &["--input", "n=x"], "TL0503"),
        ("a secret that is gone", &|tl| fs::remove_file(tl.file("secret.txt")).unwrap(), &[], "TL0510"),
        ("a damaged log", &|tl| damage(tl), &[], "TL0701"),
        ("a log that was put back", &|tl| put_back(tl), &[], "TL07"),
        ("a log that cannot be written", &|tl| set_mode(&tl.file("state/audit"), 0), &[], "TL07"),
        ("a state folder that cannot be written", &|tl| set_mode(&tl.state(), 0), &[], "TL07"),
    ];
    for (name, happens, arguments, code) in causes {
        let place = Place::new();
        assert!(place.told().iter().all(|(_, count)| *count == 0), "{name}: {:?}", place.told());
        happens(&place.tl);
        for _ in 0..2 {
            let told = place.run(arguments);
            assert!(told.code != 0 && told.code < 128, "{name}: {told:?}");
            let untold: Vec<_> = place.told().into_iter().filter(|(_, count)| *count != 1).collect();
            assert!(untold.is_empty(), "{name}: {untold:?}\n{told:?}");
        }
        let message: Json = serde_json::from_str(place.tl.read("log.jsonl").lines().next().unwrap()).unwrap();
        assert_eq!(message["when"], "blocked", "{name}");
        assert!(message["body"].as_str().unwrap().contains(code), "{name}: {message}");
        set_mode(&place.tl.state(), 0o700);
    }
}

fn damage(tl: &Tl) {
    let log = fs::read_dir(tl.state().join("audit/seg")).unwrap().map(|entry| entry.unwrap().path());
    let segment = log.max().unwrap();
    fs::write(&segment, fs::read_to_string(&segment).unwrap().replace("run.started", "run.stopped")).unwrap();
}

/// The records as they were before the last run, with the checkpoints of today.
fn put_back(tl: &Tl) {
    fs::remove_dir_all(tl.state().join("audit/seg")).unwrap();
    copy(&tl.file("earlier/audit/seg"), &tl.state().join("audit/seg"));
}
