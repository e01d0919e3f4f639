use std::fs;

use super::Process;

/// The variable that marks a program, and all that it starts, as started by tl.
pub(super) const MARK: &str = "TL_SUPERVISED";

/// Some of `/proc/PID/stat`; see proc(5).
pub(super) struct Stat {
    state: char,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) since: u64,
}

impl Stat {
    /// `None` if the process is gone or there is no `/proc`.
    pub(super) fn of(id: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The program's name is in parentheses and may hold anything, parentheses and blanks too.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            since: fields.nth(16)?.parse().ok()?,
        })
    }

    /// Whether it is a zombie or dead.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// A running process.
pub(super) struct Seen {
    pub(super) process: Process,
    pub(super) parent: u32,
    pub(super) group: u32,
    /// The number in its mark, if the mark has the token that is looked for.
    pub(super) number: Option<u64>,
}

/// All running processes that started at `since` or later. None without `/proc`.
pub(super) fn processes(token: &str, since: u64) -> Vec<Seen> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let seen = |id: u32| {
        let stat = Stat::of(id).filter(|stat| stat.since >= since && !stat.is_ended())?;
        let process = Process { id, since: stat.since };
        // Unreadable for processes of other users, which tl could not end anyway.
        let number = fs::read(format!("/proc/{id}/environ")).ok().and_then(|text| number(&text, token));
        Some(Seen { process, parent: stat.parent, group: stat.group, number })
    };
    entries.filter_map(|entry| seen(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// The number in the mark of an environment: `TL_SUPERVISED=TOKEN-NUMBER`.
fn number(environment: &[u8], token: &str) -> Option<u64> {
    let mark = |entry: &[u8]| {
        let entry = std::str::from_utf8(entry).ok()?;
        entry.strip_prefix(MARK)?.strip_prefix('=')?.strip_prefix(token)?.strip_prefix('-')?.parse().ok()
    };
    environment.split(|byte| *byte == 0).find_map(mark)
}

/// Whether whoever started this program had it ignore a signal, by its number. See proc(5), `SigIgn`; unknown without `/proc`.
pub fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or_default() & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let text = "7 (a) R 9 9 (b)) S 5 6 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.group, stat.since, stat.is_ended()), (5, 6, 4711, false));
        assert!(Stat::parse("7 (a) Z 5 6").is_none() && Stat::parse("").is_none());
    }

    #[test]
    fn a_mark_is_read_from_an_environment() {
        assert_eq!(number(b"A=\xff\0TL_SUPERVISED=T-12\0", "T"), Some(12));
        for other in ["TL_SUPERVISED=T2-12", "TL_SUPERVISED=T", "X_TL_SUPERVISED=T-12", "TL_SUPERVISED=T-x", ""] {
            assert_eq!(number(other.as_bytes(), "T"), None, "{other}");
        }
    }

    #[test]
    fn this_process_is_among_them() {
        let own = Process::own();
        assert!(own.is_alive() && processes("T", own.since).iter().any(|seen| seen.process == own));
        assert!(!Process { since: own.since + 1, ..own }.is_alive());
    }
}
