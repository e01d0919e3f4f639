//! Programs that print a secret.

use std::env;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::Error;
use super::file::LARGEST;
use crate::process::Supervised;
use crate::value::INHERITED;

/// How often it is asked whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long the streams of an ended program are read on: one that left its group may hold them for ever.
const DRAIN: Duration = Duration::from_secs(2);
/// How much of what it said of its failure is told on.
const MOST_LINES: usize = 3;
const LONGEST_LINE: usize = 200;

type Bytes = Zeroizing<Vec<u8>>;

/// Runs a program without a shell and without input, and returns what it printed. Nothing of its group is left behind.
/// `stopped` is asked while it runs, and ends it.
pub(super) fn output_of(
    argv: &[String],
    folder: &Path,
    limit: Duration,
    stopped: &dyn Fn() -> bool,
) -> Result<Bytes, Error> {
    let program = argv.first().cloned().unwrap_or_default();
    let failed = |source: io::Error| Error::Start { program: program.clone(), source };
    let supervised = Supervised::announce().map_err(failed)?;
    let mut child = Command::new(&program)
        .args(argv.iter().skip(1))
        .env_clear()
        .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
        .envs(supervised.environment())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that all of it can be ended.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    supervised.began(child.id());
    let group = Group(i32::try_from(child.id()).ok().and_then(Pid::from_raw));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout = read_apart(stdout).map_err(failed)?;
    let stderr = read_apart(stderr).map_err(failed)?;
    let ended = wait_apart(child).map_err(failed)?;
    let begun = Instant::now();
    let status = loop {
        match ended.recv_timeout(LOOK.min(limit.saturating_sub(begun.elapsed()))) {
            Ok(status) => break status.map_err(failed)?,
            Err(_) if stopped() => return Err(Error::Stopped { program }),
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < limit => {}
            Err(_) => return Err(Error::Late { program, limit }),
        }
    };
    drop((group, supervised));
    let printed = stdout.recv_timeout(DRAIN).unwrap_or_default();
    // Before its status: a program that nobody listens to any more seldom ends well.
    if printed.len() as u64 > LARGEST {
        return Err(Error::TooMuch { program });
    }
    if status.success() {
        return Ok(printed);
    }
    let said = last_lines(&stderr.recv_timeout(DRAIN).unwrap_or_default());
    Err(Error::Ended { program, status: spelled(status), said })
}

/// Kills the group when it is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // A group that is gone is what is wanted.
        let _gone = self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// Reads a stream in a thread of its own, up to one byte more than a secret may have.
fn read_apart(stream: Option<impl Read + Send + 'static>) -> io::Result<Receiver<Bytes>> {
    let (sender, receiver) = mpsc::channel();
    Builder::new().name("tl-secret".into()).spawn(move || {
        // Room for all of it at once: bytes that are moved would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LARGEST).unwrap_or_default() + 64));
        if let Some(stream) = stream {
            // What cannot be read is what was not printed.
            let _ended = stream.take(LARGEST + 1).read_to_end(&mut bytes);
        }
        // Nobody listens after the time limit.
        let _late = sender.send(bytes);
    })?;
    Ok(receiver)
}

fn wait_apart(mut child: Child) -> io::Result<Receiver<io::Result<ExitStatus>>> {
    let (sender, receiver) = mpsc::channel();
    Builder::new().name("tl-secret".into()).spawn(move || {
        let _late = sender.send(child.wait());
    })?;
    Ok(receiver)
}

fn spelled(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The end of what a program said, on one line and behind a colon.
fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(MOST_LINES));
    let shown: Vec<String> =
        last.map(|line| line.chars().filter(|c| !c.is_control()).take(LONGEST_LINE).collect()).collect();
    if shown.is_empty() { String::new() } else { format!(": {}", shown.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_its_last_lines() {
        assert_eq!(last_lines(b""), "");
        assert_eq!(last_lines(b"one\n\n two\r\nthree\x1b[31m\nfour\n"), ": two; three[31m; four");
        assert_eq!(last_lines(&[b'x'; 900]).len(), 2 + LONGEST_LINE);
    }
}
