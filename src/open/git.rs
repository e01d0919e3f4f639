//! Commit, branch, tag and state of the git repository that holds a file.
//!
//! A repository can make git run programs, so git runs without its file system monitor, its hooks and the filters that its own
//! configuration names. Three limits remain. Filters of the user's and the system's configuration run, since Git LFS needs
//! them. In a changed submodule, git follows the submodule's own configuration. A file whose filter is disabled counts as
//! changed as soon as its times differ, because git then compares unfiltered bytes.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;
use std::{env, io};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value as Json, json};

use crate::diagnostic::{Diagnostic, codes};

/// Time limit of one git command: `status` of a large tree on a slow disk takes a while.
const LIMIT: Duration = Duration::from_secs(30);

/// The value of `git` for a file in this folder.
pub(super) fn look(folder: &Path) -> Result<Json, Diagnostic> {
    let mut git = Git { folder, without: Vec::new() };
    let head = git.ask(&["rev-parse", "HEAD"])?;
    if !head.status.success() {
        let said = String::from_utf8_lossy(&head.stderr);
        return Err(git.refused(said.lines().next().unwrap_or("git gives no commit").to_owned()));
    }
    git.without = git.own_filters()?;
    let changed = git.text(&["status", "--porcelain", "--untracked-files=normal"])?;
    Ok(json!({
        "commit": String::from_utf8_lossy(&head.stdout).trim(),
        "branch": git.text(&["symbolic-ref", "--quiet", "--short", "HEAD"])?,
        "tag": git.text(&["describe", "--tags", "--exact-match"])?,
        "dirty": changed.is_none_or(|changed| !changed.is_empty()),
    }))
}

struct Git<'a> {
    folder: &'a Path,
    /// Overridden settings, with their values.
    without: Vec<(String, &'static str)>,
}

impl Git<'_> {
    /// The settings that disable the filters of the repository's own configuration.
    fn own_filters(&self) -> Result<Vec<(String, &'static str)>, Diagnostic> {
        let listed = self.ask(&["config", "--show-scope", "--name-only", "-z", "--get-regexp", r"^filter\."])?;
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let words: Vec<&str> = text.split('\0').collect();
        let own = words.chunks_exact(2).filter(|pair| matches!(pair[0], "local" | "worktree"));
        // `filter.NAME.KEY`; a name may have dots.
        let names = own.filter_map(|pair| pair[1].rsplit_once('.')).map(|(filter, _)| filter);
        let keys = [("clean", ""), ("process", ""), ("required", "false")];
        Ok(names.flat_map(|name| keys.map(|(key, value)| (format!("{name}.{key}"), value))).collect())
    }

    /// The output of a git command; none if the command fails.
    fn text(&self, arguments: &[&str]) -> Result<Option<String>, Diagnostic> {
        let output = self.ask(arguments)?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }

    fn ask(&self, arguments: &[&str]) -> Result<Output, Diagnostic> {
        let mut command = Command::new("git");
        command.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C"]);
        command.arg(self.folder).args(arguments).stdin(Stdio::null());
        // The environment may name another repository or configuration.
        command.env_clear();
        command.envs(["PATH", "HOME", "LANG", "TZ"].iter().filter_map(|name| Some((name, env::var_os(name)?))));
        // By variables, because `-c` ends a name at the first `=`.
        command.env("GIT_CONFIG_COUNT", self.without.len().to_string());
        for (number, (key, value)) in self.without.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        match output_of(&mut command, LIMIT) {
            Ok(Some(output)) => Ok(output),
            Ok(None) => {
                let limit = LIMIT.as_secs();
                let message =
                    format!("git did not answer within {limit}s in `{}` and was killed", self.folder.display());
                Err(Diagnostic::usage(codes::TL0319, message)
                    .help(format!("try `git {}` there, or leave out `git`", arguments.join(" "))))
            }
            Err(error) => Err(self.refused(format!("git cannot be run: {error}"))),
        }
    }

    fn refused(&self, cause: String) -> Diagnostic {
        let message = format!("this file uses `git`, and `{}` is in no git repository", self.folder.display());
        let mut found = Diagnostic::usage(codes::TL0318, message);
        found.causes.push(cause);
        found.help("commit the file to a repository, or leave out `git`")
    }
}

/// Runs a program to its end. `None` if it exceeds the limit: it is then killed with its process group.
fn output_of(command: &mut Command, limit: Duration) -> io::Result<Option<Output>> {
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let group = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    Builder::new().name("tl-git".into()).spawn(move || {
        // After the time limit the receiver is gone.
        let _late = sender.send(child.wait_with_output());
    })?;
    if let Ok(output) = ended.recv_timeout(limit) {
        return output.map(Some);
    }
    // An error means that the group has ended, which is what we want.
    let _gone = kill_process_group(group, Signal::KILL);
    Ok(None)
}
