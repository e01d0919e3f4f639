//! `run`: a program of the user.
//!
//! `$TL` is the path of the running tl, as `$CARGO` is that of cargo, so that a stage can call the same version. A
//! child writes its outputs to the file `$TL_OUTPUT`, in the format of GitHub Actions.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitStatus;
use std::{fs, io};

use rustix::fs::{Mode, OFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::kind::MAKE_ROOM;
use super::{Context, StageError, StageNotice};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::{Did, Stream};
use crate::process::{Failure, GRACE, Line, Program};
use crate::value::CancelReason;

/// The type of a declared output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutputType {
    /// A text.
    String,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
}

/// A program to run, with all expressions resolved.
#[derive(Debug)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Environment variables in addition to those that every child gets. Their texts hold placeholders of secrets.
    pub env: BTreeMap<String, String>,
    /// What it must write to `$TL_OUTPUT`.
    pub outputs: BTreeMap<String, OutputType>,
    /// Exit codes that mean "try again".
    pub retry_exit_codes: Vec<u8>,
}

impl Command {
    /// Its settings as JSON, the input of the key that tells whether a stage has changed. Contains secrets.
    pub fn described(&self) -> Json {
        serde_json::json!({ "argv": self.argv, "env": self.env, "outputs": self.outputs })
    }
}

/// Creates an empty file with mode 0600, whatever the umask.
fn private_file(path: &Path) -> io::Result<()> {
    fs::File::options().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// What is wrong with outputs that hold a secret, where an error would cite their text.
const HOLDS_SECRET: &str = "the outputs hold a secret, and an output that was not declared or has no end";

/// The exit code for "nothing to do".
const EXIT_SKIPPED: i32 = 75;
/// The size limit of all outputs together, in bytes.
const LARGEST_OUTPUT: u64 = 1 << 20;

impl Command {
    /// Summarises what a program did, from its outputs. Outputs named like those of a kind count the same way.
    pub(super) fn summary(outputs: &Map<String, Json>) -> Did {
        let number = |name: &str| outputs.get(name).and_then(Json::as_u64);
        Did {
            files: number("files"),
            bytes: number("bytes").or_else(|| number("checked_bytes")),
            skipped: number("skipped"),
            level: outputs.get("level").and_then(Json::as_str).map(str::to_owned),
            ..Did::default()
        }
    }

    /// Runs the program to its end. Blocks.
    pub fn run(self, context: &Context) -> Result<Json, StageError> {
        let output = context.work.join("output");
        // A program without declared outputs gets the folder but no file. Most programs never write one, and outputs
        // that were not declared are refused anyway.
        let prepare = || if self.outputs.is_empty() { Ok(()) } else { private_file(&output) };
        fs::create_dir_all(&context.work).and_then(|()| prepare()).map_err(|error| {
            let message = format!("the output file `{}` could not be made", output.display());
            Diagnostic::failure(codes::TL0607, message).cause(&error).help(MAKE_ROOM)
        })?;
        let (status, has_spoken) = self.run_program(context, &output)?;
        self.judge(status, has_spoken)?;
        Ok(self.read_outputs(context, &output)?)
    }

    /// Returns also whether the program wrote anything.
    fn run_program(&self, context: &Context, output: &Path) -> Result<(ExitStatus, bool)> {
        let (name, arguments) =
            self.argv.split_first().ok_or_else(|| Diagnostic::usage(codes::TL0650, "no program is named"))?;
        let shared = &context.shared;
        let mut program = Program::new(name, arguments)
            .folder(&shared.base)
            .grace(GRACE)
            .env("TL", &shared.program)
            .env("TL_RUN", &shared.run)
            .env("TL_PIPELINE", &shared.pipeline)
            .env("TL_STAGE", &context.stage)
            .env("TL_OUTPUT", output);
        if let Some(instance) = &context.instance {
            program = program.env("TL_INSTANCE", instance);
        }
        for (name, value) in &self.env {
            program = program.env(name, context.reveal(value, "env")?.as_str());
        }
        let mut has_spoken = false;
        let ended = program.stream(&shared.masker, &context.cancel, &mut |line| {
            has_spoken = true;
            (context.emit)(match line {
                Line::Stdout(text) => StageNotice::Line(Stream::Stdout, text),
                Line::Stderr(text) => StageNotice::Line(Stream::Stderr, text),
            });
        });
        ended.map(|status| (status, has_spoken)).map_err(|failure| match failure {
            Failure::Start(error) => Diagnostic::failure(codes::TL0650, format!("`{name}` could not be started"))
                .cause(&error)
                .help("is it installed, in PATH, and executable for the user that tl runs as?"),
            Failure::Wait(error) => {
                Diagnostic::failure(codes::TL0650, "the child could not be waited for").cause(&error)
            }
            Failure::Cancelled(reason) => Diagnostic::from(reason),
            // The stage's time limit arrives as a cancel. The program has no other limit.
            Failure::Late => Diagnostic::from(CancelReason::StageTimeout),
        })
    }

    fn judge(&self, status: ExitStatus, has_spoken: bool) -> Result<(), StageError> {
        let program = self.argv.first().map_or("", String::as_str);
        match status.code() {
            Some(0) => Ok(()),
            Some(EXIT_SKIPPED) => Err(StageError::NothingToDo(format!("`{program}` had nothing to do"))),
            Some(code) => {
                let again = u8::try_from(code).is_ok_and(|code| self.retry_exit_codes.contains(&code));
                Err(Diagnostic::failure(codes::TL0651, format!("`{program}` ended with exit code {code}"))
                    .help(if has_spoken {
                        "its last lines are above"
                    } else {
                        "it wrote nothing: run it by hand to see why"
                    })
                    .transient(again)
                    .into())
            }
            None => Err(Diagnostic::failure(codes::TL0651, format!("`{program}` was ended: {status}")).into()),
        }
    }

    fn read_outputs(&self, context: &Context, path: &Path) -> Result<Json> {
        let bad = |message: String| {
            Diagnostic::failure(codes::TL0652, message).help("write `name=value` lines to the file named by $TL_OUTPUT")
        };
        let text = match read_output(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.outputs.is_empty() => String::new(),
            read => read.map_err(|error| bad("the outputs cannot be read".to_owned()).cause(&error))?,
        };
        if text.len() as u64 > LARGEST_OUTPUT {
            return Err(bad(format!("the outputs are larger than {LARGEST_OUTPUT} bytes")));
        }
        // An error that cites a part of a line could show a part of a secret, which no masker finds.
        let holds_secret = context.shared.masker.mask(&text) != text;
        let safe = |message: String| bad(if holds_secret { HOLDS_SECRET.to_owned() } else { message });
        let written = parse_outputs(&text).map_err(safe)?;
        if let Some(name) = written.keys().find(|name| !self.outputs.contains_key(*name)) {
            return Err(safe(format!("the output `{}` is not declared", name.escape_debug())));
        }
        let mut outputs = Map::new();
        for (name, kind) in &self.outputs {
            let value = written.get(name).ok_or_else(|| bad(format!("the output `{name}` is missing")))?;
            if context.shared.masker.mask(value) != *value {
                return Err(bad(format!("the output `{name}` holds a secret")));
            }
            let value = kind.read(value).ok_or_else(|| bad(format!("the output `{name}` is not of its type")))?;
            outputs.insert(name.clone(), value);
        }
        Ok(Json::Object(outputs))
    }
}

impl OutputType {
    fn read(self, text: &str) -> Option<Json> {
        match self {
            Self::String => Some(text.into()),
            Self::Int => text.trim().parse::<i64>().ok().map(Json::from),
            Self::Number => text.trim().parse().ok().and_then(serde_json::Number::from_f64).map(Json::Number),
            Self::Bool => text.trim().parse::<bool>().ok().map(Json::from),
        }
    }
}

/// Reads the outputs. The child may have replaced the file with a link, a FIFO or a device.
fn read_output(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    file.take(LARGEST_OUTPUT + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Parses `name=value` and `name<<END … END`. If a name occurs twice, the last value counts, as in a shell.
fn parse_outputs(text: &str) -> std::result::Result<BTreeMap<String, String>, String> {
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        match (equals, heredoc) {
            _ if line.trim().is_empty() => {}
            (equals, Some(at)) if equals.is_none_or(|equals| at < equals) => {
                let (name, end) = (&line[..at], &line[at + 2..]);
                let mut value = Vec::new();
                loop {
                    match lines.next() {
                        Some(line) if line == end => break,
                        Some(line) => value.push(line),
                        None => return Err(format!("the text of the output `{name}` has no end line `{end}`")),
                    }
                }
                outputs.insert(name.trim().to_owned(), value.join("\n"));
            }
            (Some(at), _) => {
                outputs.insert(line[..at].trim().to_owned(), line[at + 1..].to_owned());
            }
            _ => return Err("an output line has no `=`".to_owned()),
        }
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_as_github_writes_them() {
        let text = "a=1\nb = x=y\nc<<EOF\nline 1\nline=2\nEOF\n\nd=<<no\n";
        let outputs = parse_outputs(text).unwrap();
        let pairs: Vec<_> = outputs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", " x=y"), ("c", "line 1\nline=2"), ("d", "<<no")]);
        assert!(parse_outputs("novalue\n").is_err());
        assert!(parse_outputs("a<<EOF\nx\n").is_err());
    }
}
