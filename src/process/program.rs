use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use rustix::process::{Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::debug;
use zeroize::Zeroizing;

use super::lifeline::Registration;
use super::output::{Captured, Line, keep_first, keep_last, send_lines};
use crate::value::{Cancel, CancelReason, INHERITED, Masker, Secret};

/// How long to read the streams of a program that has ended: a daemon that it started may hold them open for ever.
const DRAIN: Duration = Duration::from_secs(2);
/// Lines on their way to the caller. A program that prints faster than its caller reads has to wait.
const LINES: usize = 64;

/// A program to run, without a shell.
///
/// It leads a process group, is supervised, and gets of tl's environment only what [`INHERITED`] names. Arguments can be read
/// by every user of the machine, so secrets go in by the environment or by standard input.
#[must_use = "nothing runs before `run`, `capture` or `stream`"]
#[derive(Debug)]
pub struct Program {
    name: String,
    command: Command,
    input: Option<Secret>,
    limit: Option<Duration>,
    grace: Duration,
    kills_rest: bool,
}

/// Why a program did not run to its end.
#[derive(Debug)]
pub enum Failure {
    /// It could not be started, or nothing could supervise it.
    Start(io::Error),
    /// The system could not say how it ended.
    Wait(io::Error),
    /// It reached its limit and was killed.
    Late,
    /// The caller cancelled it.
    Cancelled(CancelReason),
}

impl Program {
    /// A program and its arguments. It has no input and no time limit, and is killed without TERM.
    pub fn new<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(name);
        command.args(arguments).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        // A group of its own: Ctrl-C in the terminal is for tl alone, and the whole group can be killed.
        command.process_group(0).kill_on_drop(true);
        Self { name: name.to_owned(), command, input: None, limit: None, grace: Duration::ZERO, kills_rest: false }
    }

    /// Starts it in this folder instead of tl's.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Sets a variable of its environment. Only its own user, and root, can read the value.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from file descriptor 0. The text is in neither its arguments nor its environment.
    pub fn input(mut self, text: Secret) -> Self {
        self.input = Some(text);
        self
    }

    /// Kills it after this time.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// How long it has between TERM and KILL.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Kills what is left of its group after it has ended by itself.
    pub fn kill_rest(mut self) -> Self {
        self.kills_rest = true;
        self
    }

    /// Runs it and ignores what it prints. Blocks.
    pub fn run(mut self, cancel: &Cancel) -> Result<ExitStatus, Failure> {
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        thread::scope(|scope| {
            let running = on_own_thread(scope, || self.drive(cancel, async |_, _| {}))?;
            running.join().unwrap_or_else(|_| Err(panicked()))
        })
    }

    /// Runs it and returns what it printed: the first `most` bytes of standard output, and the end of standard error. Beyond
    /// `most` bytes its standard output is closed. Blocks.
    pub fn capture(mut self, most: usize, cancel: &Cancel) -> Result<Captured, Failure> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut stdout, mut stderr) = (Zeroizing::default(), Zeroizing::default());
        let status = thread::scope(|scope| {
            let read = async |out, err| {
                tokio::join!(keep_first(out, most, &mut stdout), keep_last(err, &mut stderr));
            };
            let running = on_own_thread(scope, || self.drive(cancel, read))?;
            running.join().unwrap_or_else(|_| Err(panicked()))
        })?;
        Ok(Captured::new(status, stdout, most, stderr))
    }

    /// Runs it and passes on each line that it prints, masked. Blocks, and calls `on_line` in the caller's thread, which must
    /// not be one that runs async tasks.
    pub fn stream(
        mut self,
        masker: &Masker,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(Line),
    ) -> Result<ExitStatus, Failure> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (sender, mut lines) = mpsc::channel(LINES);
        thread::scope(|scope| {
            let read = async move |out, err| {
                tokio::join!(
                    send_lines(out, masker, Line::Stdout, &sender),
                    send_lines(err, masker, Line::Stderr, &sender)
                );
            };
            let running = on_own_thread(scope, || self.drive(cancel, read))?;
            // The sender is dropped when reading ends.
            while let Some(line) = lines.blocking_recv() {
                on_line(line);
            }
            running.join().unwrap_or_else(|_| Err(panicked()))
        })
    }

    /// Starts it, reads what it prints, and waits for its end, for the limit or for a cancel.
    async fn drive(
        mut self,
        cancel: &Cancel,
        read: impl AsyncFnOnce(Option<ChildStdout>, Option<ChildStderr>),
    ) -> Result<ExitStatus, Failure> {
        let (mut child, registration) = self.start()?;
        let reading = read(child.stdout.take(), child.stderr.take());
        tokio::pin!(reading);
        let mut is_read = false;
        let limit = async {
            match self.limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(limit);
        let stopped = loop {
            tokio::select! {
                biased;
                status = child.wait() => {
                    debug!(program = self.name, ?status, "program ended");
                    if self.kills_rest {
                        // A group that is gone is what is wanted.
                        let _gone = registration.group.map(|group| kill_process_group(group, Signal::KILL));
                    }
                    drop(registration);
                    if !is_read {
                        // The last lines of the program itself are in the pipe already.
                        let _late = timeout(DRAIN, reading).await;
                    }
                    return status.map_err(Failure::Wait);
                }
                reason = cancel.cancelled() => break Failure::Cancelled(reason),
                () = &mut limit => break Failure::Late,
                () = &mut reading, if !is_read => is_read = true,
            }
        };
        let ending = async {
            end(&mut child, &registration, self.grace).await;
            drop(registration);
        };
        let last_lines = async {
            // What it prints after TERM may say why it does not end sooner.
            if !is_read && !self.grace.is_zero() {
                let _late = timeout(self.grace + DRAIN, reading).await;
            }
        };
        tokio::join!(ending, last_lines);
        Err(stopped)
    }

    fn start(&mut self) -> Result<(Child, Registration), Failure> {
        let mut registration = Registration::announce().map_err(Failure::Start)?;
        self.command.envs(registration.environment());
        self.command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = self.command.spawn().map_err(Failure::Start)?;
        child.id().into_iter().for_each(|id| registration.started(id));
        debug!(program = self.name, id = child.id(), "program started");
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), self.input.take()) {
            // Nobody waits for this task: the program need not read its input, and what it leaves behind may hold the other end.
            tokio::spawn(async move {
                use tokio::io::AsyncWriteExt;
                let _unread = stdin.write_all(input.expose().as_bytes()).await;
            });
        }
        Ok((child, registration))
    }
}

/// Runs async work to its end on a new thread: the caller's may belong to a runtime, inside which no other one can wait.
fn on_own_thread<'scope, T: Send + 'scope, F: Future<Output = Result<T, Failure>>>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> F + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, Result<T, Failure>>, Failure> {
    let span = tracing::Span::current();
    let run = move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
        span.in_scope(|| runtime.block_on(work()))
    };
    thread::Builder::new().name("tl-program".to_owned()).spawn_scoped(scope, run).map_err(Failure::Start)
}

fn panicked() -> Failure {
    Failure::Wait(io::Error::other("the thread that waited for it panicked"))
}

/// Ends a program, its group, and what it started outside of that: TERM, `grace`, KILL. What is gone is what is wanted.
async fn end(child: &mut Child, registration: &Registration, grace: Duration) {
    let Some(group) = registration.group else { return };
    let signal_rest = |signal| {
        let rest = registration.rest();
        rest.iter().for_each(|process| drop(process.signal(signal)));
        rest.is_empty()
    };
    if !grace.is_zero() {
        let _gone = kill_process_group(group, Signal::TERM);
        let begun = Instant::now();
        signal_rest(Signal::TERM);
        let _late = timeout(grace, child.wait()).await;
        while begun.elapsed() < grace && !registration.rest().is_empty() {
            sleep(LOOK).await;
        }
    }
    let _gone = kill_process_group(group, Signal::KILL);
    let _reaped = child.wait().await;
    // A process may fork between two looks: twice nothing means nothing.
    let (begun, mut empty) = (Instant::now(), 0);
    while empty < 2 && begun.elapsed() < KILLING {
        empty = if signal_rest(Signal::KILL) { empty + 1 } else { 0 };
        sleep(LOOK).await;
    }
}

/// How often to look for what is left of a program that is ended, and for how long after KILL.
const LOOK: Duration = Duration::from_millis(5);
const KILLING: Duration = Duration::from_secs(2);
