//! Commit, branch, tag and state of the git repository that holds a file.
//!
//! A repository can make git run programs, so git runs without its file system monitor, its hooks and the filters that its own
//! configuration names. Three limits remain. Filters of the user's and the system's configuration run, since Git LFS needs
//! them. In a changed submodule, git follows the submodule's own configuration. A file whose filter is disabled counts as
//! changed as soon as its times differ, because git then compares unfiltered bytes.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::diagnostic::{Diagnostic, codes};
use crate::process::{Captured, Failure, Program};
use crate::value::Cancel;

/// The limit of one call. `git status` of a large tree on a slow disk takes some time.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes that are read of one answer.
const LARGEST: usize = 1 << 20;

/// The value of `git` for a file in this folder.
pub(super) fn look(folder: &Path) -> Result<Json, Diagnostic> {
    let mut git = Git { folder, without: Vec::new() };
    let head = git.ask(&["rev-parse", "HEAD"])?;
    if !head.status.success() {
        return Err(git.refused(head.first_error().unwrap_or_else(|| "git gives no commit".to_owned())));
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
        if listed.is_cut {
            return Err(self.refused("its configuration has too many filters".to_owned()));
        }
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

    fn ask(&self, arguments: &[&str]) -> Result<Captured, Diagnostic> {
        // The environment may name another repository or configuration; a program gets none of those variables.
        let fixed = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C"].map(OsStr::new);
        let arguments = arguments.iter().map(OsStr::new);
        let all = fixed.into_iter().chain([self.folder.as_os_str()]).chain(arguments.clone());
        // Not by `-c`, which ends a name at the first `=`.
        let mut program = Program::new("git", all).limit(LIMIT).env("GIT_CONFIG_COUNT", self.without.len().to_string());
        for (number, (key, value)) in self.without.iter().enumerate() {
            program =
                program.env(&format!("GIT_CONFIG_KEY_{number}"), key).env(&format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        match program.capture(LARGEST, &Cancel::default()) {
            Ok(output) => Ok(output),
            Err(Failure::Start(error) | Failure::Wait(error)) => {
                Err(self.refused(format!("git cannot be run: {error}")))
            }
            Err(Failure::Late | Failure::Cancelled(_)) => {
                let limit = LIMIT.as_secs();
                let message =
                    format!("git did not answer within {limit}s in `{}` and was killed", self.folder.display());
                let command = arguments.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
                Err(Diagnostic::usage(codes::TL0319, message)
                    .help(format!("try `git {command}` there, or leave out `git`")))
            }
        }
    }

    fn refused(&self, cause: String) -> Diagnostic {
        // git's own word for a repository of another user.
        if cause.contains("dubious ownership") {
            let folder = self.folder.display().to_string();
            let message = format!("this file uses `git`, and the repository of `{folder}` belongs to another user");
            let mut found = Diagnostic::usage(codes::TL0318, message);
            found.causes.push(cause);
            return found
                .help("run it as that user, or trust the repository: `git config --global --add safe.directory PATH`");
        }
        let message = format!("this file uses `git`, and `{}` is in no git repository", self.folder.display());
        let mut found = Diagnostic::usage(codes::TL0318, message);
        found.causes.push(cause);
        found.help("commit the file to a repository, or leave out `git`")
    }
}
