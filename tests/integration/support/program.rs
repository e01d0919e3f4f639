//! Runs the real `tl` in its own folder, with its own state, HOME and environment.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value as Json;

use super::events::events;
use super::terminal::terminal;

/// A folder with a pipeline file and all that `tl` touches.
pub struct Tl {
    folder: tempfile::TempDir,
    uid: Option<u32>,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Tl {
    /// An empty folder.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), uid: None }
    }

    /// A folder of an unprivileged user if the tests run as root, otherwise of the current user.
    pub fn unprivileged() -> Self {
        const NOBODY: u32 = 65_534;
        let mut tl = Self::new();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(tl.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            tl.uid = Some(NOBODY);
        }
        tl
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.file("state")
    }

    /// Writes a file, and creates the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// A pipeline file with these stages (and whatever follows them), a directory store `shelf`, a channel `log` and an
    /// identity `identity.txt` with its `recipients.txt`.
    pub fn pipeline(&self, rest: &str) -> &Self {
        if !self.file("identity.txt").exists() {
            self.ok(&["key", "new", "-o", "identity.txt", "--recipients", "recipients.txt"]);
        }
        fs::create_dir_all(self.file("shelf")).unwrap();
        if let Some(uid) = self.uid {
            for name in ["shelf", "identity.txt", "recipients.txt"] {
                std::os::unix::fs::chown(self.file(name), Some(uid), Some(uid)).unwrap();
            }
        }
        self.write(
            "p.yaml",
            format!(
                "version: 1\nname: test\nstores:\n  shelf: {{ uses: dir, with: {{ path: shelf }} }}\nchannels:\n  log: {{ uses: \
                 file, with: {{ path: log.jsonl }} }}\n{rest}"
            ),
        )
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tl"));
        command.args(arguments);
        self.at_home(command)
    }

    /// A shell script that finds `tl` by name.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut command = self.at_home(command);
        let own = Path::new(env!("CARGO_BIN_EXE_tl")).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env("PATH", std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path))).unwrap());
        command
    }

    fn at_home(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            // An instrumented program writes its profile there.
            .envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)))
            .env("TL_STATE", self.state())
            .current_dir(self.path())
            .stdin(Stdio::null());
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended(&mut self.command(arguments))
    }

    /// Runs it and expects success.
    pub fn ok(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "tl {arguments:?}\n{}{}", ended.stdout, ended.stderr);
        ended
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it on its own terminal (using `script` of util-linux). The output of this shell command is typed there.
    #[cfg(feature = "peers")]
    pub fn typed(&self, arguments: &str, typing: &str) -> Ended {
        let line = format!("{typing} | script -qec '{} {arguments}' /dev/null", env!("CARGO_BIN_EXE_tl"));
        let mut command = Command::new("sh");
        command.args(["-c", &line]).env("TL_STATE", self.state()).env("NO_COLOR", "1").current_dir(self.path());
        ended(&mut command)
    }

    /// Runs a command on a terminal of this size. Returns everything it wrote. Calls `seen` with the output so far
    /// whenever there is more.
    pub fn on_terminal(command: &mut Command, (columns, rows): (u16, u16), seen: impl Fn(&str)) -> String {
        let (mut controller, terminal) = terminal();
        let size = rustix::termios::Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&terminal, size).unwrap();
        command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
        let mut child = command.spawn().unwrap();
        // Closes our copies, so that only the child has the terminal open.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut written = Vec::new();
        let mut some = [0; 4096];
        // Reading fails once nobody has the terminal open.
        while let Ok(count @ 1..) = controller.read(&mut some) {
            written.extend_from_slice(&some[..count]);
            seen(&String::from_utf8_lossy(&written));
        }
        child.wait().unwrap();
        String::from_utf8(written).unwrap()
    }

    /// Runs `p.yaml`. Returns its exit code and its events.
    pub fn events(&self, more: &[&str]) -> (i32, Vec<Json>) {
        let ended = self.run(&[&["run", "p.yaml", "--reporter", "json"], more].concat());
        (ended.code, events(&ended.stdout))
    }

    /// The id of the latest run, from the audit log.
    pub fn last_run(&self) -> String {
        let shown = self.ok(&["audit", "show", "--type", "run.started", "--last", "1", "--json"]).stdout;
        serde_json::from_str::<Json>(&shown).unwrap()["run"].as_str().unwrap().to_owned()
    }

    /// The text with everything replaced that differs between runs.
    pub fn redact(&self, text: &str) -> String {
        static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
            [
                (r"\b01[0-9A-HJKMNP-TV-Z]{24}\b", "[RUN]"),
                (r"\b\d+(\.\d+)? (ms|s)\b", "[TIME]"),
                (r"\b\d+(\.\d+)? ([KMG]i)?B\b", "[SIZE]"),
                (r"[A-Za-z0-9+/]{43}=", "[ROOT]"),
                (r"\b\d+ (records|bytes)", "[N] $1"),
                (r" on [\w.-]+\n", " on [HOST]\n"),
                (r"column \d+", "column [N]"),
                (r"\btl/[\w.-]+/[0-9a-f]{16}\b", "[LOG]"),
                (r"age1[02-9ac-hj-np-z]{58}", "[RECIPIENT]"),
                (r"\d{4}-\d{2}-\d{2}", "[DATE]"),
            ]
            .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name))
            .into()
        });
        let text = text.replace(&*self.path().to_string_lossy(), "[DIR]");
        RULES.iter().fold(text, |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned())
    }
}

impl Ended {
    /// The result of a program that was waited for. A signal is exit code -1.
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Exit code and both streams, for a snapshot.
    pub fn shown(&self, tl: &Tl) -> String {
        tl.redact(&format!("exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr))
    }
}

/// Every file below a folder, by its path from there.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// A chain that collects `data`, seals it and delivers it as `object`.
pub const CHAIN: &str = r"  collect: { uses: archive, with: { sources: [data] } }
  seal: { needs: collect, uses: encrypt, with: { artifact: '${{ needs.collect.outputs.artifact }}', recipients-file: recipients.txt } }
  deliver: { needs: seal, uses: upload, with: { artifact: '${{ needs.seal.outputs.artifact }}', store: shelf, key: object } }
";

/// Runs a command to its end.
pub fn ended(command: &mut Command) -> Ended {
    Ended::of(command.output().unwrap())
}
