//! What an editor offers with the published schema, tested with `yaml-language-server`, which most YAML plugins use.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::support::{root, tools};

/// An editor that has started the server.
struct Editor {
    server: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    requests: u64,
    /// The answer to the server's question for settings.
    settings: Json,
    /// The latest diagnostics of each file.
    diagnostics: Vec<(String, Json)>,
    folder: tempfile::TempDir,
}

impl Editor {
    fn start(settings: Json) -> Self {
        let program = tools().join("node_modules/.bin/yaml-language-server");
        assert!(program.exists(), "{} is missing: .ci/run installs it", program.display());
        // `timeout` ends a server that hangs, which ends the test.
        let mut server = Command::new("timeout")
            .arg("120")
            .arg(program)
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = server.stdin.take().unwrap();
        let from = BufReader::new(server.stdout.take().unwrap());
        // The server's globs ignore hidden folders.
        let folder = tempfile::Builder::new().prefix("tl").tempdir().unwrap();
        let mut editor = Self { server, to, from, requests: 0, settings, diagnostics: Vec::new(), folder };
        let folder = format!("file://{}", editor.folder.path().display());
        let capabilities = json!({ "workspace": { "configuration": true } });
        editor.request("initialize", &json!({ "processId": null, "rootUri": folder, "capabilities": capabilities }));
        // The server knows no schema until it has read its settings. It announces that only to clients that support
        // schema selection.
        editor.send(&json!({ "method": "yaml/supportSchemaSelection", "params": {} }));
        editor.send(&json!({ "method": "initialized", "params": {} }));
        while editor.receive()["method"] != "yaml/schema/store/initialized" {}
        editor
    }

    fn send(&mut self, message: &Json) {
        let mut message = message.clone();
        message["jsonrpc"] = "2.0".into();
        let body = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        self.to.flush().unwrap();
    }

    /// The next message for the user. Answers the server's questions and stores diagnostics on the way.
    fn receive(&mut self) -> Json {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert_ne!(self.from.read_line(&mut line).unwrap(), 0, "the server has ended");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", bytes)) => length = bytes.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.from.read_exact(&mut body).unwrap();
        let message: Json = serde_json::from_slice(&body).unwrap();
        if message["method"] == "textDocument/publishDiagnostics" {
            let params = &message["params"];
            self.diagnostics.push((params["uri"].as_str().unwrap().to_owned(), params["diagnostics"].clone()));
        } else if message["method"].is_string() && !message["id"].is_null() {
            let items = message["params"]["items"].as_array().cloned().unwrap_or_default();
            let answer =
                items.iter().map(|item| if item["section"] == "yaml" { self.settings.clone() } else { Json::Null });
            let answer: Json = answer.collect();
            self.send(&json!({ "id": message["id"], "result": answer }));
        }
        message
    }

    fn request(&mut self, method: &str, params: &Json) -> Json {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({ "id": id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == id && message["method"].is_null() {
                assert!(message["error"].is_null(), "{message:#}");
                return message["result"].clone();
            }
        }
    }

    /// Opens a text. Returns its name.
    fn open(&mut self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        let uri = format!("file://{}", path.display());
        let document = json!({ "uri": uri, "languageId": "yaml", "version": 1, "text": text });
        self.send(&json!({ "method": "textDocument/didOpen", "params": { "textDocument": document } }));
        uri
    }

    /// The completions at `|` in a text.
    fn offered(&mut self, name: &str, text: &str) -> Vec<String> {
        let (before, after) = text.split_once('|').unwrap();
        let uri = self.open(name, &format!("{before}{after}"));
        let (line, column) = (before.matches('\n').count(), before.rsplit('\n').next().unwrap().len());
        let at = json!({ "textDocument": { "uri": uri }, "position": { "line": line, "character": column } });
        let list = self.request("textDocument/completion", &at);
        list["items"].as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    }

    /// The diagnostics of a text: line and column, counted from 1, and the message.
    fn wrong(&mut self, name: &str, text: &str) -> Vec<(u64, u64, String)> {
        let uri = self.open(name, text);
        loop {
            if let Some((_, found)) = self.diagnostics.iter().rev().find(|(of, _)| *of == uri) {
                let number = |value: &Json| value.as_u64().unwrap() + 1;
                let one = |found: &Json| {
                    let start = &found["range"]["start"];
                    let message = found["message"].as_str().unwrap().to_owned();
                    (number(&start["line"]), number(&start["character"]), message)
                };
                let mut all: Vec<_> = found.as_array().unwrap().iter().map(one).collect();
                all.sort();
                return all;
            }
            self.receive();
        }
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // The server may have ended on its own.
        let _gone = self.server.kill();
        let _ended = self.server.wait();
    }
}

fn schema() -> String {
    format!("file://{}/schemas/pipeline.v1.schema.json", root().display())
}

/// An editor, and the first lines of the texts that it opens.
fn editors() -> [(Editor, String); 2] {
    // Downloads nothing.
    let alone = json!({ "schemaStore": { "enable": false } });
    let mut settings = alone.clone();
    settings["schemas"] = json!({ schema(): "*.yaml" });
    settings["validate"] = true.into();
    settings["completion"] = true.into();
    [
        (Editor::start(alone), format!("# yaml-language-server: $schema={}\nversion: 1\nname: a\n", schema())),
        (Editor::start(settings), "version: 1\nname: a\n".to_owned()),
    ]
}

/// With the modeline of the file itself, and with the settings of the editor.
#[test]
fn an_editor_offers_the_keys_of_the_right_kind() {
    const ARCHIVE: &[&str] = &["sources", "exclude", "compress", "level", "one-file-system"];
    const UPLOAD: &[&str] = &["artifact", "store", "key", "overwrite", "object-lock"];
    for (mut editor, head) in editors() {
        for (kind, its, others) in [("archive", ARCHIVE, UPLOAD), ("upload", UPLOAD, ARCHIVE)] {
            let text = format!("{head}stages:\n  x:\n    uses: {kind}\n    with:\n      |\n");
            let offered = editor.offered(&format!("{kind}.yaml"), &text);
            for key in its {
                assert!(offered.iter().any(|label| label == key), "`{key}` of {kind}: {offered:?}");
            }
            for key in others {
                assert!(!offered.iter().any(|label| label == key), "`{key}` is not of {kind}: {offered:?}");
            }
        }
        for (name, text, wanted, unwanted) in [
            ("kinds", "stages:\n  x:\n    uses: |\n", "verify", "s3"),
            ("store", "stores:\n  x:\n    uses: s3\n    with:\n      |\n", "bucket", "create"),
            ("channel", "channels:\n  x:\n    uses: |\n", "webhook", "archive"),
            ("secret", "secrets:\n  x:\n    from: env\n    |\n", "name", "path"),
            ("stage", "stages:\n  x:\n    |\n", "needs", "stages"),
            ("top", "|\n", "notify", "needs"),
        ] {
            let offered = editor.offered(&format!("{name}.yaml"), &format!("{head}{text}"));
            let is = |key: &str| offered.iter().any(|label| label == key);
            assert!(is(wanted) && !is(unwanted), "{name}: {offered:?}");
        }
    }
}

#[test]
fn an_editor_marks_a_typo_where_it_stands() {
    for (mut editor, head) in editors() {
        let first = head.lines().count() as u64;
        let text = format!(
            "{head}stages:\n  x:\n    uses: archive\n    with:\n      sources: [a]\n      compres: zstd\n    tiemout: 3m\n  y:\n    \
             uses: uplaod\n"
        );
        let found = editor.wrong("typo.yaml", &text);
        let places: Vec<(u64, u64)> = found.iter().map(|(line, column, _)| (line - first, *column)).collect();
        assert_eq!(places, [(6, 7), (7, 5), (9, 11)], "{found:?}");
        assert!(found[0].2.contains("compres") && found[1].2.contains("tiemout"), "{found:?}");
        let right = fs::read_to_string(root().join("tests/right/every-stage-kind.yaml")).unwrap();
        let rest = right.split_once("name: orders\n").unwrap().1;
        assert_eq!(editor.wrong("right.yaml", &format!("{head}{rest}")), []);
    }
}
