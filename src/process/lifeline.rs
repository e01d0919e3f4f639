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
use super::supervisor::{COMMAND, Line, greeting};
use super::table::MARK;

/// How long tl waits for the end of its supervisor.
const PATIENCE: Duration = Duration::from_secs(1);
/// One that lived shorter is not replaced at once.
const SHORT_LIFE: Duration = Duration::from_millis(50);

static LIFELINE: Mutex<Lifeline> = Mutex::new(Lifeline {
    is_enabled: false,
    token: String::new(),
    last: 0,
    live: BTreeMap::new(),
    locks: Vec::new(),
    supervisor: None,
});

/// What tl's process holds of its supervisor.
struct Lifeline {
    /// Other programs that use this library are no supervisors.
    is_enabled: bool,
    /// What tells its programs from others; made for the first of them.
    token: String,
    /// The number of the last program.
    last: u64,
    /// The programs that run, by number, with their groups.
    live: BTreeMap<u64, Option<u32>>,
    /// Locks that must not be free while programs run.
    locks: Vec<File>,
    supervisor: Option<Supervisor>,
}

struct Supervisor {
    id: u32,
    lifeline: PipeWriter,
    /// Ends with it.
    gone: Receiver<()>,
}

/// From now on programs are supervised. For `tl` itself alone, since the supervisor is the same program.
pub fn enable() {
    lock().is_enabled = true;
}

/// The supervisor holds this lock too, so that it is not free before the programs have ended. Two at most.
pub fn hold(lock_file: File) {
    let mut lifeline = lock();
    lifeline.locks.push(lock_file);
    // One that runs already cannot be given it; the next program starts another.
    if lifeline.live.is_empty() {
        lifeline.let_go();
    }
}

/// Lets the supervisor go, before tl ends in order. Programs that run still are ended by it.
pub fn finish() {
    let mut lifeline = lock();
    lifeline.locks.clear();
    lifeline.let_go();
}

/// Ends every program and tl itself, without giving anybody time.
pub fn end_at_once(exit_code: i32) -> ! {
    // Held to the end: what ends in this moment must not be taken for something that ended in order.
    let mut lifeline = lock();
    for group in lifeline.live.values().flatten() {
        // It may have ended in this moment.
        let _gone = group_of(*group).map(|group| kill_process_group(group, Signal::KILL));
    }
    if !lifeline.live.is_empty() {
        lifeline.say(Line::Hurry);
        if let Some(Supervisor { lifeline, gone, .. }) = lifeline.supervisor.take() {
            drop(lifeline);
            let _late = gone.recv_timeout(PATIENCE);
        }
    }
    process::exit(exit_code)
}

/// A program that tl starts. It is tl's until this is dropped, which is to be done when it was waited for.
#[derive(Debug)]
pub struct Supervised {
    number: u64,
    mark: Option<String>,
}

impl Supervised {
    /// To be called before the program is started. Fails where there is nobody to watch over it.
    pub fn announce() -> io::Result<Self> {
        let mut lifeline = lock();
        lifeline.last += 1;
        let number = lifeline.last;
        lifeline.live.insert(number, None);
        if let Err(error) = lifeline.tell(Line::Coming(number)) {
            lifeline.live.remove(&number);
            return Err(io::Error::other(format!("there is no supervisor for it: {error}")));
        }
        let mark = lifeline.is_enabled.then(|| format!("{}-{number}", lifeline.token));
        Ok(Self { number, mark })
    }

    /// The variable that must be in the environment of the program.
    pub fn environment(&self) -> Option<(&'static str, &str)> {
        self.mark.as_deref().map(|mark| (MARK, mark))
    }

    /// It was started in a group of its own.
    pub fn began(&self, process: u32) {
        let mut lifeline = lock();
        lifeline.live.insert(self.number, Some(process));
        lifeline.say(Line::Began(self.number, process));
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let mut lifeline = lock();
        lifeline.live.remove(&self.number);
        lifeline.say(Line::Ended(self.number));
    }
}

fn lock() -> MutexGuard<'static, Lifeline> {
    LIFELINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn group_of(process: u32) -> Option<Pid> {
    i32::try_from(process).ok().and_then(Pid::from_raw)
}

impl Lifeline {
    /// Tells the supervisor, which is started where there is none. `live` has been changed already.
    fn tell(&mut self, line: Line) -> io::Result<()> {
        let text = line.text();
        match &self.supervisor {
            _ if !self.is_enabled => Ok(()),
            Some(supervisor) if (&supervisor.lifeline).write_all(text.as_bytes()).is_ok() => Ok(()),
            // Somebody ended it. Another one takes over all that runs.
            _ => self.start(),
        }
    }

    /// Tells it what it need not hear for what is to come: where it cannot be told, the next announcement fails.
    fn say(&mut self, line: Line) {
        if self.supervisor.is_some() {
            let _told_again = self.tell(line);
        }
    }

    fn start(&mut self) -> io::Result<()> {
        self.supervisor = None;
        if self.token.is_empty() {
            self.token = Ulid::new().to_string();
        }
        let (reader, mut lifeline) = io::pipe()?;
        // Open until it was written to: one that is ended at once is noticed by who waits for it, and not here.
        let kept = reader.try_clone()?;
        let child = Command::new(own_program()?)
            .arg0("tl")
            .arg(COMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(reader)
            // It prints nothing: what it would print to are the locks that it holds.
            .stdout(self.held(0)?)
            .stderr(self.held(1)?)
            // What ends tl and its group must not end it.
            .process_group(0)
            .spawn()?;
        let mut text = greeting(&self.token, Process::own());
        for (number, group) in &self.live {
            text += &Line::Coming(*number).text();
            text.extend(group.map(|group| Line::Began(*number, group).text()));
        }
        let id = child.id();
        let (ended, gone) = channel();
        thread::Builder::new().name("tl-supervisor".into()).spawn(move || wait(child, ended))?;
        lifeline.write_all(text.as_bytes())?;
        drop(kept);
        self.supervisor = Some(Supervisor { id, lifeline, gone });
        Ok(())
    }

    fn held(&self, place: usize) -> io::Result<Stdio> {
        self.locks.get(place).map_or_else(|| Ok(Stdio::null()), |file| file.try_clone().map(Stdio::from))
    }

    fn let_go(&mut self) {
        if let Some(Supervisor { lifeline, gone, .. }) = self.supervisor.take() {
            drop(lifeline);
            if self.live.is_empty() {
                let _late = gone.recv_timeout(PATIENCE);
            }
        }
    }
}

/// Waits for the end of a supervisor. Where tl has not let it go, another one takes its place.
fn wait(mut child: Child, ended: Sender<()>) {
    let (id, begun) = (child.id(), Instant::now());
    let _waited = child.wait();
    drop(ended);
    // One that cannot live must not keep the machine busy.
    thread::sleep(SHORT_LIFE.saturating_sub(begun.elapsed()));
    let mut lifeline = lock();
    if lifeline.supervisor.as_ref().is_some_and(|supervisor| supervisor.id == id) {
        // Where none can be started, the next announcement fails.
        let _none = lifeline.start();
    }
}

/// The program that runs, even where its file has been replaced since: both must speak alike.
fn own_program() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { std::env::current_exe() }
}
