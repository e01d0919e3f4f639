use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use ulid::Ulid;

use super::Process;
use super::supervisor::{COMMAND, Notice, greeting, processes_of};
use super::table::MARK;

/// How long to wait for the supervisor to end.
const PATIENCE: Duration = Duration::from_secs(1);
/// A supervisor that lived shorter than this is replaced only after it: one that cannot live must not keep the machine busy.
const SHORT_LIFE: Duration = Duration::from_millis(50);

static LIFELINE: Mutex<Lifeline> = Mutex::new(Lifeline {
    is_enabled: false,
    token: String::new(),
    newest: 0,
    live: BTreeMap::new(),
    locks: Vec::new(),
    supervisor: None,
});

/// tl's side of the supervision. The supervisor is this same program, run as `tl supervise`, at the other end of a pipe.
struct Lifeline {
    /// Off in other programs that use this library: they do not know `supervise`.
    is_enabled: bool,
    /// Marks the programs of this process. Made for the first of them.
    token: String,
    /// The number of the newest program.
    newest: u64,
    /// The running programs by number, with their process groups.
    live: BTreeMap<u64, Option<u32>>,
    /// Locks that must stay taken while programs run.
    locks: Vec<File>,
    supervisor: Option<Supervisor>,
}

struct Supervisor {
    id: u32,
    pipe: PipeWriter,
    /// Disconnected when the supervisor has ended.
    ended: Receiver<()>,
}

/// Supervises all programs that start from now on. For `tl` itself alone, since the supervisor is the same program.
pub fn enable() {
    lock().is_enabled = true;
}

/// Shares a lock with the supervisor, which keeps it until all programs have ended. Two locks at most.
pub fn hold(lock_file: File) {
    let mut lifeline = lock();
    lifeline.locks.push(lock_file);
    // The lock goes to a supervisor when that starts. With no program running, the next one starts a new supervisor.
    if lifeline.live.is_empty() {
        lifeline.release();
    }
}

/// Closes the pipe before tl exits. The supervisor ends the programs that still run.
pub fn finish() {
    let mut lifeline = lock();
    lifeline.locks.clear();
    lifeline.release();
}

/// Kills every program, calls `last`, which gets a few seconds, and exits.
pub fn end_at_once(exit_code: i32, last: impl FnOnce() + Send + 'static) -> ! {
    // Locked until the exit: a program that is killed here must not be recorded as one that ended by itself.
    let mut lifeline = lock();
    for group in lifeline.live.values().flatten() {
        // A group that is gone is what is wanted.
        let _gone = pid(*group).map(|group| kill_process_group(group, Signal::KILL));
    }
    if !lifeline.live.is_empty() {
        lifeline.try_send(Notice::Hurry);
        if let Some(Supervisor { pipe, ended, .. }) = lifeline.supervisor.take() {
            drop(pipe);
            let _late = ended.recv_timeout(PATIENCE);
        }
    }
    let (tell, told) = channel();
    let thread = thread::Builder::new().spawn(move || {
        last();
        // Nobody hears it after the time is up.
        let _late = tell.send(());
    });
    if thread.is_ok() {
        let _late = told.recv_timeout(PATIENCE);
    }
    process::exit(exit_code)
}

/// A program that the supervisor watches. Dropped once the program has been waited for: what the program left behind then
/// stays, as it left that on purpose.
#[derive(Debug)]
pub(super) struct Registration {
    number: u64,
    mark: Option<String>,
    /// Its process group, once it is started.
    pub(super) group: Option<Pid>,
}

impl Registration {
    /// Registers a program that is about to start. Fails without a supervisor: a program that outlives tl is worse than one
    /// that does not start.
    pub(super) fn announce() -> io::Result<Self> {
        let mut lifeline = lock();
        lifeline.newest += 1;
        let number = lifeline.newest;
        lifeline.live.insert(number, None);
        if let Err(error) = lifeline.send(Notice::Announced(number)) {
            lifeline.live.remove(&number);
            return Err(io::Error::other(format!("there is no supervisor for it: {error}")));
        }
        let mark = lifeline.is_enabled.then(|| format!("{}-{number}", lifeline.token));
        Ok(Self { number, mark, group: None })
    }

    /// The variable to set in the program's environment.
    pub(super) fn environment(&self) -> Option<(&'static str, &str)> {
        self.mark.as_deref().map(|mark| (MARK, mark))
    }

    /// The processes that the program started and that still run, also those that left its group.
    pub(super) fn rest(&self) -> Vec<Process> {
        let token = self.mark.as_ref().and_then(|mark| mark.rsplit_once('-')).map(|(token, _)| token);
        token.map(|token| processes_of(token, self.number, Process::own().since)).unwrap_or_default()
    }

    /// Notes that the program runs and leads a process group of its own.
    pub(super) fn started(&mut self, process: u32) {
        self.group = pid(process);
        let mut lifeline = lock();
        lifeline.live.insert(self.number, Some(process));
        lifeline.try_send(Notice::Started(self.number, process));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut lifeline = lock();
        lifeline.live.remove(&self.number);
        lifeline.try_send(Notice::Ended(self.number));
    }
}

fn lock() -> MutexGuard<'static, Lifeline> {
    LIFELINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pid(process: u32) -> Option<Pid> {
    i32::try_from(process).ok().and_then(Pid::from_raw)
}

impl Lifeline {
    /// Sends a notice, or starts a supervisor if there is none. A new one gets all of `live`, so change that first.
    fn send(&mut self, notice: Notice) -> io::Result<()> {
        let text = notice.text();
        match &self.supervisor {
            _ if !self.is_enabled => Ok(()),
            Some(supervisor) if (&supervisor.pipe).write_all(text.as_bytes()).is_ok() => Ok(()),
            // It was killed. A new one takes over all running programs.
            _ => self.start(),
        }
    }

    /// Sends a notice that may be lost: without a supervisor, the next `announce` fails.
    fn try_send(&mut self, notice: Notice) {
        if self.supervisor.is_some() {
            let _lost = self.send(notice);
        }
    }

    fn start(&mut self) -> io::Result<()> {
        self.supervisor = None;
        if self.token.is_empty() {
            self.token = Ulid::new().to_string();
        }
        let (reader, mut pipe) = io::pipe()?;
        // Keeps the pipe readable while the greeting is written: if the supervisor dies at once, `wait` notices.
        let kept = reader.try_clone()?;
        let child = Command::new(own_program()?)
            .arg0("tl")
            .arg(COMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(reader)
            // It prints nothing: in the place of its output it holds the locks.
            .stdout(self.lock_file(0)?)
            .stderr(self.lock_file(1)?)
            // A signal to tl's group must not reach it.
            .process_group(0)
            .spawn()?;
        let mut text = greeting(&self.token, Process::own());
        for (number, group) in &self.live {
            text += &Notice::Announced(*number).text();
            text.extend(group.map(|group| Notice::Started(*number, group).text()));
        }
        let id = child.id();
        let (sender, ended) = channel();
        thread::Builder::new().name("tl-supervisor".into()).spawn(move || wait(child, sender))?;
        pipe.write_all(text.as_bytes())?;
        drop(kept);
        self.supervisor = Some(Supervisor { id, pipe, ended });
        Ok(())
    }

    fn lock_file(&self, place: usize) -> io::Result<Stdio> {
        self.locks.get(place).map_or_else(|| Ok(Stdio::null()), |file| file.try_clone().map(Stdio::from))
    }

    /// Closes the pipe, upon which the supervisor ends.
    fn release(&mut self) {
        if let Some(Supervisor { pipe, ended, .. }) = self.supervisor.take() {
            drop(pipe);
            if self.live.is_empty() {
                let _late = ended.recv_timeout(PATIENCE);
            }
        }
    }
}

/// Waits for a supervisor to end. If tl has not released it, starts another one.
fn wait(mut child: Child, ended: Sender<()>) {
    let (id, begun) = (child.id(), Instant::now());
    let _waited = child.wait();
    drop(ended);
    thread::sleep(SHORT_LIFE.saturating_sub(begun.elapsed()));
    let mut lifeline = lock();
    if lifeline.supervisor.as_ref().is_some_and(|supervisor| supervisor.id == id) {
        // If that fails, the next `announce` fails.
        let _none = lifeline.start();
    }
}

/// This very program, even if its file has been replaced since: both ends of the pipe must agree on the notices.
fn own_program() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { own_path() }
}

/// The path of this program. Without `/proc` it is found as whoever started it did: by its path, else in `PATH`.
pub fn own_path() -> io::Result<PathBuf> {
    std::env::current_exe().or_else(|error| {
        let name = PathBuf::from(std::env::args_os().next().unwrap_or_default());
        let in_path = || {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|file| file.is_file())
        };
        let found = if name.components().count() > 1 { Some(name.clone()) } else { in_path() };
        found.filter(|file| file.is_file()).map_or(Err(error), std::path::absolute)
    })
}
