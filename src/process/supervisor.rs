use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::Process;
use super::table::{Seen, Stat, processes};

/// The word that makes tl a supervisor. It is no command for people.
pub const COMMAND: &str = "supervise";
/// How long a program has between TERM and KILL.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long it is tried to KILL: what the system does not let go does not do anything any more.
const STUBBORN: Duration = Duration::from_secs(30);
/// Pauses between two looks at what is left.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// What tl's process tells its supervisor, one a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A program is about to be started, and will have this number in its mark.
    Coming(u64),
    /// It was started, and leads this group.
    Began(u64, u32),
    /// It has ended and is tl's no more. What it left behind, it left on purpose.
    Ended(u64),
    /// There is no time for TERM.
    Hurry,
}

impl Line {
    pub(super) fn text(self) -> String {
        match self {
            Self::Coming(number) => format!("? {number}\n"),
            Self::Began(number, group) => format!("+ {number} {group}\n"),
            Self::Ended(number) => format!("- {number}\n"),
            Self::Hurry => "!\n".to_owned(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let word = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        match word {
            "?" => Some(Self::Coming(number()?)),
            "+" => Some(Self::Began(number()?, u32::try_from(number()?).ok()?)),
            "-" => Some(Self::Ended(number()?)),
            "!" => Some(Self::Hurry),
            _ => None,
        }
    }
}

/// The first line: the token, and the process to be watched.
pub(super) fn greeting(token: &str, process: Process) -> String {
    format!("{token} {} {}\n", process.id, process.since)
}

fn read_greeting(text: &str) -> Option<(String, Process)> {
    let mut words = text.split(' ');
    let (token, id, since) = (words.next()?, words.next()?, words.next()?);
    Some((token.to_owned(), Process { id: id.parse().ok()?, since: since.parse().ok()? }))
}

/// Watches over the programs of another process of tl, told of them on standard input. When that ends, tl has ended, and
/// what runs still is ended too. Returns the exit code.
///
/// Where there is no `/proc`, nothing is found here, and what holds is what tl does itself: a run that is stopped ends the groups
/// of its programs.
pub fn supervise() -> u8 {
    let mut lines = BufReader::new(io::stdin().lock()).lines().map_while(Result::ok);
    let Some((token, tl)) = lines.next().as_deref().and_then(read_greeting) else { return 2 };
    // Whoever stops tl may reach this process too, which has to stay for what tl leaves.
    let _as_it_is = ignore_signals();
    let mut charges = Charges { token, tl, live: BTreeMap::new(), is_hurried: false };
    lines.filter_map(|line| Line::read(&line)).for_each(|line| charges.note(line));
    if !charges.live.is_empty() {
        charges.end();
    }
    0
}

/// Handlers of tokio stay for as long as the process does; nobody listens to these.
fn ignore_signals() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()] {
        drop(signal(kind)?);
    }
    Ok(())
}

/// The programs that are watched over.
struct Charges {
    token: String,
    tl: Process,
    /// By number, the leader of each one's group, once it is known.
    live: BTreeMap<u64, Option<Process>>,
    is_hurried: bool,
}

impl Charges {
    fn note(&mut self, line: Line) {
        match line {
            Line::Coming(number) => {
                self.live.insert(number, None);
            }
            Line::Began(number, group) => {
                // While it is tl's child, its number is its own. One that tl has waited for already has its end told soon.
                let leader = Stat::of(group).filter(|stat| stat.parent == self.tl.id && stat.group == group);
                self.live.insert(number, leader.map(|stat| Process { id: group, since: stat.since }));
            }
            Line::Ended(number) => {
                self.live.remove(&number);
            }
            Line::Hurry => self.is_hurried = true,
        }
    }

    /// Ends all that is left: TERM, a while, KILL.
    ///
    /// tl's end of the pipe is closed on exec, so the pipe ends only when every program that tl was about to start runs, with its
    /// mark to be seen, or never will. What is found by its mark, its group or its parent is signalled through a handle on the
    /// process, which cannot come to mean another one.
    fn end(&self) {
        // The number of a group is not used again while it has members; that it means ours still is known by its leader.
        let groups: BTreeSet<u32> =
            self.live.values().flatten().filter(|leader| leader.is_alive()).map(|leader| leader.id).collect();
        let begun = Instant::now();
        let grace = if self.is_hurried { Duration::ZERO } else { GRACE };
        let mut known = BTreeSet::new();
        let (mut pause, mut empty) = (SHORTEST_PAUSE, 0);
        // Something may be forked while it is looked for.
        while empty < 2 && begun.elapsed() < grace + STUBBORN {
            let found = ours(&processes(&self.token, self.tl.since), &self.live, &groups, &known);
            empty = if found.is_empty() { empty + 1 } else { 0 };
            for process in found {
                let is_new = known.insert(process);
                let signal = if begun.elapsed() < grace { Signal::TERM } else { Signal::KILL };
                if is_new || signal == Signal::KILL {
                    // It may be another user's by now, and is then not ours to end.
                    let _refused = process.signal(signal);
                }
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Those that belong to live programs: by their mark, their group, or one of these as a parent.
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
        for line in [Line::Coming(1), Line::Began(u64::MAX, 4711), Line::Ended(0), Line::Hurry] {
            assert_eq!(Line::read(line.text().trim_end()), Some(line));
        }
        for odd in ["", "?", "+ 1", "- x", "+ 1 -2", "!!"] {
            assert_eq!(Line::read(odd), None, "{odd}");
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
