use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::Process;
use super::table::{Seen, Stat, processes};

/// The argument that makes tl a supervisor. Not a command for people.
pub const COMMAND: &str = "supervise";
/// How long a program has between TERM and KILL.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long to repeat KILL. A process that is still there waits in the kernel and runs no code.
const KILLING: Duration = Duration::from_secs(30);
/// Pauses between two looks at `/proc`: nothing signals the end of a process that is no child.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// What tl sends to its supervisor, one a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// A program is about to start, with this number in its mark.
    Announced(u64),
    /// It runs and leads this process group.
    Started(u64, u32),
    /// It has ended. What it left behind, it left on purpose.
    Ended(u64),
    /// KILL without TERM.
    Hurry,
}

impl Notice {
    pub(super) fn text(self) -> String {
        match self {
            Self::Announced(number) => format!("? {number}\n"),
            Self::Started(number, group) => format!("+ {number} {group}\n"),
            Self::Ended(number) => format!("- {number}\n"),
            Self::Hurry => "!\n".to_owned(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let word = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        match word {
            "?" => Some(Self::Announced(number()?)),
            "+" => Some(Self::Started(number()?, u32::try_from(number()?).ok()?)),
            "-" => Some(Self::Ended(number()?)),
            "!" => Some(Self::Hurry),
            _ => None,
        }
    }
}

/// The first line: the token, and tl's process.
pub(super) fn greeting(token: &str, process: Process) -> String {
    format!("{token} {} {}\n", process.id, process.since)
}

fn read_greeting(text: &str) -> Option<(String, Process)> {
    let mut words = text.split(' ');
    let (token, id, since) = (words.next()?, words.next()?, words.next()?);
    Some((token.to_owned(), Process { id: id.parse().ok()?, since: since.parse().ok()? }))
}

/// Watches the programs of another tl process, which names them on standard input. The input ends when that process does; then
/// this ends the programs that still run. Returns the exit code.
///
/// Without `/proc` it finds nothing. What remains is what tl does itself: a cancelled run kills the groups of its programs.
pub fn supervise() -> u8 {
    let mut lines = BufReader::new(io::stdin().lock()).lines().map_while(Result::ok);
    let Some((token, tl)) = lines.next().as_deref().and_then(read_greeting) else { return 2 };
    // A signal meant for tl may reach this process too, which has to stay until it has ended the programs.
    let _as_it_is = ignore_signals();
    let mut supervised = Supervised { token, tl, live: BTreeMap::new(), is_hurried: false };
    lines.filter_map(|line| Notice::read(&line)).for_each(|line| supervised.note(line));
    if !supervised.live.is_empty() {
        supervised.end();
    }
    0
}

/// Takes the signals and does nothing: tokio's handlers stay installed for the life of the process.
fn ignore_signals() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()] {
        drop(signal(kind)?);
    }
    Ok(())
}

/// The programs that are watched.
struct Supervised {
    token: String,
    tl: Process,
    /// By number, with the leader of its process group once that is known.
    live: BTreeMap<u64, Option<Process>>,
    is_hurried: bool,
}

impl Supervised {
    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Announced(number) => {
                self.live.insert(number, None);
            }
            Notice::Started(number, group) => {
                // A process id is not reused while it is tl's child. If tl has waited for it already, `Ended` follows.
                let leader = Stat::of(group).filter(|stat| stat.parent == self.tl.id && stat.group == group);
                self.live.insert(number, leader.map(|stat| Process { id: group, since: stat.since }));
            }
            Notice::Ended(number) => {
                self.live.remove(&number);
            }
            Notice::Hurry => self.is_hurried = true,
        }
    }

    /// Ends what is left: TERM, a grace period, KILL.
    ///
    /// tl's end of the pipe is closed on exec. So when the pipe ends, each program that tl was about to start either runs, and
    /// its mark can be read, or will never run. Signals go through a pidfd, which cannot come to mean another process.
    fn end(&self) {
        // A group id is not reused while the group has members, and a living leader shows that it is still this group.
        let groups: BTreeSet<u32> =
            self.live.values().flatten().filter(|leader| leader.is_alive()).map(|leader| leader.id).collect();
        let begun = Instant::now();
        let grace = if self.is_hurried { Duration::ZERO } else { GRACE };
        let mut known = BTreeSet::new();
        let (mut pause, mut empty) = (SHORTEST_PAUSE, 0);
        // A process may fork between two looks: twice nothing means nothing.
        while empty < 2 && begun.elapsed() < grace + KILLING {
            let found = ours(&processes(&self.token, self.tl.since), &self.live, &groups, &known);
            empty = if found.is_empty() { empty + 1 } else { 0 };
            for process in found {
                let is_new = known.insert(process);
                let signal = if begun.elapsed() < grace { Signal::TERM } else { Signal::KILL };
                if is_new || signal == Signal::KILL {
                    // It may have changed its user; then tl may not end it.
                    let _refused = process.signal(signal);
                }
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The processes of one program and of all that it started, also of those that left its group. None without `/proc`.
pub(super) fn processes_of(token: &str, number: u64, since: u64) -> Vec<Process> {
    ours(&processes(token, since), &BTreeMap::from([(number, None)]), &BTreeSet::new(), &BTreeSet::new())
}

/// The processes of live programs: by their mark, by their group, or because their parent is one of these.
fn ours(
    all: &[Seen],
    live: &BTreeMap<u64, Option<Process>>,
    groups: &BTreeSet<u32>,
    known: &BTreeSet<Process>,
) -> Vec<Process> {
    let is_marked = |seen: &Seen| {
        seen.number.is_some_and(|number| live.contains_key(&number))
            || groups.contains(&seen.group)
            || known.contains(&seen.process)
    };
    let mut found: BTreeMap<u32, Process> =
        all.iter().filter(|seen| is_marked(seen)).map(|seen| (seen.process.id, seen.process)).collect();
    loop {
        let before = found.len();
        for seen in all {
            if found.contains_key(&seen.parent) {
                found.insert(seen.process.id, seen.process);
            }
        }
        if found.len() == before {
            return found.into_values().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        for line in [Notice::Announced(1), Notice::Started(u64::MAX, 4711), Notice::Ended(0), Notice::Hurry] {
            assert_eq!(Notice::read(line.text().trim_end()), Some(line));
        }
        for odd in ["", "?", "+ 1", "- x", "+ 1 -2", "!!"] {
            assert_eq!(Notice::read(odd), None, "{odd}");
        }
        let tl = Process { id: 7, since: 9 };
        assert_eq!(read_greeting(greeting("T", tl).trim_end()), Some(("T".to_owned(), tl)));
        assert_eq!(read_greeting("T 7"), None);
    }

    #[test]
    fn ours_are_found_by_mark_group_and_parent_and_no_others() {
        let seen = |id, parent, group, number| Seen { process: Process { id, since: 1 }, parent, group, number };
        let all = [
            seen(40, 30, 40, None),   // a grandchild that left its group and cleared its environment
            seen(30, 1, 30, Some(1)), // by its mark
            seen(31, 1, 20, None),    // by its group
            seen(50, 1, 50, Some(2)), // of a program that has ended: left on purpose
            seen(60, 1, 60, None),    // somebody else's
            seen(70, 1, 70, None),    // found before, when its parent was there
        ];
        let live = BTreeMap::from([(1, None)]);
        let known = BTreeSet::from([Process { id: 70, since: 1 }, Process { id: 60, since: 2 }]);
        let found: Vec<u32> = ours(&all, &live, &BTreeSet::from([20]), &known).iter().map(|found| found.id).collect();
        assert_eq!(found, [30, 31, 40, 70]);
    }
}
