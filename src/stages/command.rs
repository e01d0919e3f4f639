//! `run`: a program of the user's.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process_group};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::time::timeout;
use tracing::debug;

use super::assert::SKIP;
use super::context::MAKE_ROOM;
use super::{Context, Told};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Stream;
use crate::process::{GRACE, Supervised};
use crate::value::{INHERITED, Secret};

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

/// A program to run, with everything resolved.
#[derive(Debug)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Environment variables beside those every child gets.
    pub env: BTreeMap<String, Secret>,
    /// What it must write to `$TL_OUTPUT`.
    pub outputs: BTreeMap<String, OutputType>,
    /// Exit codes that mean "try again".
    pub retry_exit_codes: Vec<u8>,
}

impl Command {
    /// What it is, for the key of what it does. Secrets are in it.
    pub fn described(&self) -> Json {
        let env: Map<String, Json> =
            self.env.iter().map(|(name, value)| (name.clone(), value.expose().into())).collect();
        serde_json::json!({ "argv": self.argv, "env": env, "outputs": self.outputs })
    }
}

/// An empty file for the owner alone, whatever the umask.
fn private_file(path: &Path) -> io::Result<()> {
    fs::File::options().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// The exit code that says: nothing to do.
const EXIT_SKIPPED: i32 = 75;
/// How long the streams of an ended child are read on: a daemon it started may hold them for ever.
const DRAIN: Duration = Duration::from_secs(2);
/// Longer lines are shown in pieces.
const LONGEST_LINE: usize = 16 * 1024;
const LARGEST_OUTPUT: u64 = 1 << 20;

impl Command {
    /// Runs it to its end. Blocks.
    pub fn run(self, context: &Context) -> Result<Json> {
        let output = context.work.join("output");
        // A program without declared outputs finds the folder and no file: most never write one, and what one does write
        // is refused all the same.
        let prepare = || if self.outputs.is_empty() { Ok(()) } else { private_file(&output) };
        fs::create_dir_all(&context.work).and_then(|()| prepare()).map_err(|error| {
            let message = format!("the output file `{}` could not be made", output.display());
            Diagnostic::failure(codes::TL0607, message).cause(&error).help(MAKE_ROOM)
        })?;
        let status = context.shared.runtime.block_on(self.wait(context, &output))?;
        self.judge(status)?;
        self.read_outputs(context, &output)
    }

    async fn wait(&self, context: &Context, output: &Path) -> Result<ExitStatus> {
        let (mut child, supervised) = self.spawn(context, output)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let lines = async {
            tokio::join!(tell_lines(context, Stream::Stdout, stdout), tell_lines(context, Stream::Stderr, stderr))
        };
        tokio::pin!(lines);
        let mut silent = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = &mut lines, if !silent => silent = true,
                stop = context.cancel.cancelled() => {
                    // Its last words count: it may say why it did not end sooner.
                    let last_words = async {
                        if !silent {
                            let _late = timeout(GRACE + DRAIN, &mut lines).await;
                        }
                    };
                    let end = async {
                        end(&mut child).await;
                        drop(supervised);
                    };
                    tokio::join!(end, last_words);
                    return Err(Diagnostic::from(stop));
                }
            }
        };
        drop(supervised);
        if !silent {
            // What the child said last is worth waiting for; what its own children say is not.
            let _late = timeout(DRAIN, lines).await;
        }
        status.map_err(|error| Diagnostic::failure(codes::TL0650, "the child could not be waited for").cause(&error))
    }

    fn spawn(&self, context: &Context, output: &Path) -> Result<(Child, Supervised)> {
        let (program, arguments) =
            self.argv.split_first().ok_or_else(|| Diagnostic::usage(codes::TL0650, "no program is named"))?;
        let failed = |error: io::Error| {
            Diagnostic::failure(codes::TL0650, format!("`{program}` could not be started"))
                .cause(&error)
                .help("is it installed, in PATH, and executable for the user that tl runs as?")
        };
        let shared = &context.shared;
        let supervised = Supervised::announce().map_err(failed)?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .env("TL", &shared.program)
            .env("TL_RUN", &shared.run)
            .env("TL_PIPELINE", &shared.pipeline)
            .env("TL_STAGE", &context.stage)
            .env("TL_OUTPUT", output)
            .envs(context.instance.iter().map(|instance| ("TL_INSTANCE", instance)))
            .envs(self.env.iter().map(|(name, value)| (name, value.expose())))
            .envs(supervised.environment())
            .current_dir(&shared.base)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: the terminal's Ctrl-C is for tl, which then ends the whole group.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        child.id().into_iter().for_each(|id| supervised.began(id));
        debug!(program, id = child.id(), "program started");
        Ok((child, supervised))
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        let program = self.argv.first().map_or("", String::as_str);
        debug!(program, %status, "program ended");
        match status.code() {
            Some(0) => Ok(()),
            Some(EXIT_SKIPPED) => Err(Diagnostic::failure(SKIP, format!("`{program}` had nothing to do"))),
            Some(code) => {
                let again = u8::try_from(code).is_ok_and(|code| self.retry_exit_codes.contains(&code));
                Err(Diagnostic::failure(codes::TL0651, format!("`{program}` ended with exit code {code}"))
                    .help("its last lines are above")
                    .transient(again))
            }
            None => Err(Diagnostic::failure(codes::TL0651, format!("`{program}` was ended: {status}"))),
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
        let written = parse_outputs(&text).map_err(bad)?;
        if let Some(name) = written.keys().find(|name| !self.outputs.contains_key(*name)) {
            return Err(bad(format!("the output `{}` is not declared", name.escape_debug())));
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

/// Reads the file that a child wrote, or put in its place.
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

/// Reads `name=value` and `name<<END … END`. The last of several values counts, as in a shell.
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

async fn tell_lines(context: &Context, stream: Stream, from: Option<impl AsyncRead + Unpin>) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let masker = &context.shared.masker;
    let say = |text: &str| {
        let text = masker.mask(text.trim_end_matches(['\n', '\r']));
        (context.tell)(Told::Line(stream, text));
    };
    let mut text = String::new();
    // A stream that cannot be read any more has said all that it will.
    for number in 1_u64.. {
        let Ok(Some(piece)) = next_piece(&mut from).await else { break };
        // Thousands of short lines lie in one buffer; between them, a stop must be heard.
        if number.is_multiple_of(32) {
            tokio::task::yield_now().await;
        }
        text.push_str(&piece);
        if text.ends_with('\n') {
            say(&text);
            text.clear();
        } else {
            // A long line in pieces: a secret that the cut goes through waits for its other half.
            let settled = masker.settled(&text);
            if settled > 0 {
                say(&text[..settled]);
                text.drain(..settled);
            }
        }
    }
    if !text.is_empty() {
        say(&text);
    }
}

/// A line with its end, or a piece of a long one: a child that writes no line end must not fill the memory.
async fn next_piece(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let available = from.fill_buf().await?;
        if available.is_empty() {
            break;
        }
        let room = LONGEST_LINE - line.len();
        let end = available.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len().min(room), |end| end + 1);
        line.extend_from_slice(&available[..taken]);
        from.consume(taken);
        if end.is_some() || line.len() == LONGEST_LINE {
            break;
        }
    }
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// Ends a child and its whole group: TERM, a while, KILL.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(group) = group else { return };
    // A group that is gone is what is wanted.
    let _gone = kill_process_group(group, Signal::TERM);
    if timeout(GRACE, child.wait()).await.is_err() {
        let _gone = kill_process_group(group, Signal::KILL);
        let _reaped = child.wait().await;
    } else {
        let _gone = kill_process_group(group, Signal::KILL);
    }
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
