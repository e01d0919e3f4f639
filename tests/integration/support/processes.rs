//! Programs that run beside the test: signalled, killed, waited for, counted.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::program::{Ended, Tl};

/// Whether this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Sends a signal to a run.
pub fn signal(run: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap(), signal).unwrap();
}

/// Kills a run and waits for its end.
pub fn kill(run: &mut Child) {
    run.kill().unwrap();
    run.wait().unwrap();
}

/// Waits for the end of a run.
pub fn collected(run: Child) -> Ended {
    Ended::of(run.wait_with_output().unwrap())
}

/// Waits until this is true, two minutes at most.
pub fn wait_for(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_mins(2), "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process, as `/proc` shows it.
pub struct Process {
    pub id: i32,
    pub session: i32,
    pub is_supervisor: bool,
    pub folder: Option<PathBuf>,
}

/// All processes of the machine that have not ended.
pub fn processes() -> Vec<Process> {
    let shown = |id: i32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        (fields[0] != "Z").then(|| Process {
            id,
            session: fields[3].parse().unwrap(),
            is_supervisor: line == b"tl\0supervise\0",
            folder: fs::read_link(format!("/proc/{id}/cwd")).ok(),
        })
    };
    fs::read_dir("/proc").unwrap().filter_map(|entry| shown(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// All that a run started and that is there still: its session, and those that left it but work in its folder.
pub fn left(tl: &Tl, run: &Child) -> Vec<i32> {
    let session = i32::try_from(run.id()).unwrap();
    let is_left = |process: &Process| process.session == session || process.folder.as_deref() == Some(tl.path());
    processes().into_iter().filter(is_left).map(|process| process.id).collect()
}

/// The same in a session of its own, which has the number of its process.
pub fn in_session(tl: &Tl, run: &Command) -> Command {
    let mut command = Command::new("setsid");
    command.arg(run.get_program()).args(run.get_args()).current_dir(tl.path()).env_clear();
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// No process of the group is there any more, except those that wait to be reaped.
pub fn group_ended(tl: &Tl) {
    let group = tl.read("group").trim().to_owned();
    let lives = |stat: &str| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.get(2) == Some(&group.as_str()) && fields[0] != "Z"
    };
    let left = || {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes.filter(|entry| fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| lives(&stat))).count()
    };
    // KILL is delivered when the process is next on a processor.
    let deadline = Instant::now() + Duration::from_secs(20);
    while left() > 0 {
        assert!(Instant::now() < deadline, "{} processes are left", left());
        std::thread::sleep(Duration::from_millis(20));
    }
}
