use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dir::private_dir;
use super::outbox::stamp;
use crate::event::Stream;

/// A log file of this size is renamed to `.1`, which replaces an earlier one: the newest 5 to 10 MiB of each log stay.
const LARGEST_PART: u64 = 5 << 20;

/// The output of the programs of one run: a log for each attempt at a stage or instance.
#[derive(Clone, Debug)]
pub struct Logs {
    folder: PathBuf,
}

/// The log of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The stage.
    pub stage: String,
    /// The number of its instance.
    pub instance: Option<usize>,
    /// The session, counted from 1.
    pub session: u32,
    /// The attempt in the session, counted from 1.
    pub attempt: u32,
    /// The path. An older part has `.1` appended.
    pub path: PathBuf,
    /// When its oldest remaining line was written: RFC 3339, UTC.
    pub began: String,
}

/// A line of a log, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was printed: RFC 3339, UTC, milliseconds. Empty if the line is damaged.
    pub at: String,
    /// The stream; `None` for a line of tl about the log itself.
    pub stream: Option<Stream>,
    /// The line without its newline. It may hold control characters.
    pub text: String,
}

impl Logs {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins a log. `stage` is the name of the stage, for an instance with `.` and its number. The file is created with the first
    /// line.
    pub fn begin(&self, stage: &str, session: u32, attempt: u32) -> LogWriter {
        LogWriter::new(self.folder.join(format!("{stage}-{session}-{attempt}.log")), LARGEST_PART)
    }

    /// All logs, in the order in which they began. Empty if nothing was printed or `gc` removed it.
    pub fn list(&self) -> io::Result<Vec<Log>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut logs = Vec::new();
        for entry in entries {
            logs.extend(Log::at(&entry?.path())?);
        }
        logs.sort_by(|one, other| {
            let place = |log: &Log| (log.session, log.began.clone(), log.stage.clone(), log.instance, log.attempt);
            place(one).cmp(&place(other))
        });
        Ok(logs)
    }
}

impl Log {
    /// The log of a file; `None` if the file is no log.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        let named = || {
            let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
            let mut words = name.rsplitn(3, '-');
            let (attempt, session, stage) = (words.next()?, words.next()?, words.next()?);
            let (stage, instance) = match stage.split_once('.') {
                Some((stage, number)) => (stage, Some(number.parse().ok()?)),
                None => (stage, None),
            };
            Some(Self {
                stage: stage.to_owned(),
                instance,
                session: session.parse().ok()?,
                attempt: attempt.parse().ok()?,
                path: path.to_owned(),
                began: String::new(),
            })
        };
        let Some(mut log) = named() else { return Ok(None) };
        let oldest = match open(&older(path))? {
            Some(part) => Some(part),
            None => open(path)?,
        };
        let mut began = Vec::new();
        oldest.into_iter().try_for_each(|part| part.take(24).read_to_end(&mut began).map(drop))?;
        log.began = String::from_utf8_lossy(&began).into_owned();
        Ok(Some(log))
    }

    /// Reads the log from its beginning.
    pub fn read(&self) -> LogReader {
        LogReader { path: self.path.clone(), part: None, rest: Vec::new() }
    }
}

/// Reads a log, also while it is written.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    part: Option<File>,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl LogReader {
    /// The lines since the last call, at most some megabytes; empty if there are none yet.
    pub fn more(&mut self) -> io::Result<Vec<LogLine>> {
        loop {
            let lines = self.read_part()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            let Some(next) = self.next_part()? else { return Ok(Vec::new()) };
            // Lines that were written before the file was renamed.
            let last = self.read_part()?;
            self.part = Some(next);
            self.rest.clear();
            if !last.is_empty() {
                return Ok(last);
            }
        }
    }

    fn read_part(&mut self) -> io::Result<Vec<LogLine>> {
        let Some(part) = &mut self.part else { return Ok(Vec::new()) };
        part.take(LARGEST_PART).read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let text = String::from_utf8_lossy(&self.rest[..end]);
        let lines = text.split('\n').map(LogLine::read).collect();
        self.rest.drain(..=end);
        Ok(lines)
    }

    /// The next part. Looks at the newest first: a rename in between skips no part.
    fn next_part(&self) -> io::Result<Option<File>> {
        let (newest, older) = (open(&self.path)?, open(&older(&self.path))?);
        let is_this = |part: &Option<File>| same(self.part.as_ref(), part.as_ref());
        Ok(match () {
            () if is_this(&newest)? => None,
            () if is_this(&older)? => newest,
            () => older.or(newest),
        })
    }
}

fn same(one: Option<&File>, other: Option<&File>) -> io::Result<bool> {
    let (Some(one), Some(other)) = (one, other) else { return Ok(false) };
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".1");
    PathBuf::from(name)
}

impl LogLine {
    fn read(line: &str) -> Self {
        let mut words = line.splitn(3, ' ');
        let (at, word, text) = (words.next(), words.next(), words.next());
        let stream = match word {
            Some("stdout") => Some(Stream::Stdout),
            Some("stderr") => Some(Stream::Stderr),
            Some("tl") => None,
            _ => return Self { at: String::new(), stream: None, text: line.to_owned() },
        };
        Self { at: at.unwrap_or_default().to_owned(), stream, text: text.unwrap_or_default().to_owned() }
    }
}

/// Writes a log.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    largest: u64,
    part: Option<File>,
    size: u64,
    /// The bytes before this part.
    before: u64,
}

impl LogWriter {
    fn new(path: PathBuf, largest: u64) -> Self {
        Self { path, largest, part: None, size: 0, before: 0 }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line whose secrets are masked. It is not synced.
    pub fn write(&mut self, stream: Stream, text: &str) -> io::Result<()> {
        let word = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let line = line(word, text);
        if self.size + line.len() as u64 > self.largest && self.size > 0 {
            self.put_aside()?;
        }
        self.append(&line)
    }

    fn put_aside(&mut self) -> io::Result<()> {
        fs::rename(&self.path, older(&self.path))?;
        self.part = None;
        self.before += self.size;
        self.size = 0;
        let text = format!("{} bytes came before this line; what no file here holds of them was dropped", self.before);
        self.append(&line("tl", &text))
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let part = match &mut self.part {
            Some(part) => part,
            none => {
                self.path.parent().map_or(Ok(()), private_dirs)?;
                let part = File::options().append(true).create(true).mode(0o600).open(&self.path)?;
                self.size = part.metadata()?.len();
                none.insert(part)
            }
        };
        // One write call, so that a reader sees whole lines.
        part.write_all(line.as_bytes())?;
        self.size += line.len() as u64;
        Ok(())
    }
}

fn line(word: &str, text: &str) -> String {
    format!("{} {word} {}\n", stamp(Duration::ZERO, false), text.replace('\n', " "))
}

/// Creates the folder of a run and that of all runs above it.
fn private_dirs(folder: &Path) -> io::Result<()> {
    folder.parent().map_or(Ok(()), private_dir)?;
    private_dir(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_run_has_its_logs_in_the_order_in_which_they_began() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path().join("logs/RUN"));
        assert_eq!(logs.list().unwrap(), []);
        for (stage, session, attempt) in [("b", 1, 1), ("a.10", 1, 1), ("a.2", 1, 2), ("a", 2, 1)] {
            let mut log = logs.begin(stage, session, attempt);
            log.write(Stream::Stdout, stage).unwrap();
            assert_eq!(log.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
            std::thread::sleep(Duration::from_millis(2));
        }
        fs::write(logs.folder().join("other.txt"), "").unwrap();
        fs::write(logs.folder().join("a-b.log"), "").unwrap();
        let list = logs.list().unwrap();
        let names: Vec<_> =
            list.iter().map(|log| (log.stage.as_str(), log.instance, log.session, log.attempt)).collect();
        assert_eq!(names, [("b", None, 1, 1), ("a", Some(10), 1, 1), ("a", Some(2), 1, 2), ("a", None, 2, 1)]);
        let lines = list[1].read().more().unwrap();
        assert_eq!(
            (texts(&lines), lines[0].stream, &lines[0].at),
            (vec!["a.10"], Some(Stream::Stdout), &list[1].began)
        );
        assert_eq!(folder.path().join("logs").metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_log_keeps_its_newest_lines_and_says_what_it_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-1-1.log");
        let mut writer = LogWriter::new(path.clone(), 2_000);
        for number in 0..200 {
            writer.write(Stream::Stderr, &format!("line {number}")).unwrap();
        }
        let size = |path: &Path| path.metadata().unwrap().len();
        assert!(size(&path) <= 2_000 && size(&older(&path)) <= 2_000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let mut reader = Log::at(&path).unwrap().unwrap().read();
        let mut lines = reader.more().unwrap();
        lines.extend(reader.more().unwrap());
        assert_eq!(reader.more().unwrap(), []);
        assert!(lines[0].stream.is_none() && lines[0].text.contains("bytes came before this line"), "{lines:?}");
        let printed: Vec<&str> =
            lines.iter().filter(|line| line.stream.is_some()).map(|line| line.text.as_str()).collect();
        let expected: Vec<String> = (200 - printed.len()..200).map(|number| format!("line {number}")).collect();
        assert_eq!(printed, expected);
    }

    #[test]
    fn who_follows_a_log_misses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-1-1.log");
        let mut writer = LogWriter::new(path.clone(), 500);
        writer.write(Stream::Stdout, "0").unwrap();
        let mut reader = Log::at(&path).unwrap().unwrap().read();
        let mut seen = Vec::new();
        for number in 1..500 {
            if number % 3 == 0 {
                seen.extend(reader.more().unwrap());
            }
            writer.write(Stream::Stdout, &number.to_string()).unwrap();
        }
        loop {
            match reader.more().unwrap() {
                lines if lines.is_empty() => break,
                lines => seen.extend(lines),
            }
        }
        let numbers: Vec<&str> =
            seen.iter().filter(|line| line.stream.is_some()).map(|line| line.text.as_str()).collect();
        assert_eq!(numbers, (0..500).map(|number| number.to_string()).collect::<Vec<_>>());
        // A line that is half written is waited for.
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"T stdout ha").unwrap();
        assert_eq!(reader.more().unwrap(), []);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"lf\nodd\n").unwrap();
        assert_eq!(texts(&reader.more().unwrap()), ["half", "odd"]);
    }
}
