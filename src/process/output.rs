use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::mpsc::Sender;
use zeroize::Zeroizing;

use crate::value::Masker;

/// A longer line is passed on in pieces: a program that prints no line end must not fill the memory.
const LONGEST_LINE: usize = 16 * 1024;
/// The number of bytes of standard error that are kept.
const MOST_STDERR: usize = 64 * 1024;
/// Of these, an error shows the last lines, each cut.
const MOST_SHOWN: usize = 3;
const LONGEST_SHOWN: usize = 200;

/// A line that a program printed, masked and without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// On standard output.
    Stdout(String),
    /// On standard error.
    Stderr(String),
}

/// How a program ended and what it printed. The bytes are wiped when this is dropped.
#[derive(Debug)]
pub struct Captured {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output, up to the limit.
    pub stdout: Zeroizing<Vec<u8>>,
    /// Whether it printed more on standard output than the limit.
    pub is_cut: bool,
    stderr: Zeroizing<Vec<u8>>,
}

impl Captured {
    pub(super) fn new(
        status: ExitStatus,
        mut stdout: Zeroizing<Vec<u8>>,
        most: usize,
        stderr: Zeroizing<Vec<u8>>,
    ) -> Self {
        let is_cut = stdout.len() > most;
        stdout.truncate(most);
        Self { status, stdout, is_cut, stderr }
    }

    /// How it ended, for people.
    pub fn ending(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => self.status.to_string(),
        }
    }

    /// The first line on standard error.
    pub fn first_error(&self) -> Option<String> {
        String::from_utf8_lossy(&self.stderr).lines().next().map(str::to_owned)
    }

    /// The last lines on standard error, on one line and without control characters.
    pub fn last_errors(&self) -> Option<String> {
        last_lines(&self.stderr)
    }
}

fn last_lines(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(MOST_SHOWN)..];
    let shown = last.iter().map(|line| line.chars().filter(|c| !c.is_control()).take(LONGEST_SHOWN).collect());
    let shown: Vec<String> = shown.collect();
    (!shown.is_empty()).then(|| shown.join("; "))
}

/// Reads up to one byte more than `most`, which shows that there was more.
pub(super) async fn keep_first(from: Option<impl AsyncRead + Unpin>, most: usize, to: &mut Zeroizing<Vec<u8>>) {
    // Room for all of it at once: a vector that grows leaves copies of a secret behind.
    to.reserve_exact(most + 64);
    if let Some(from) = from {
        // What was read before an error is kept.
        let _ended = from.take(most as u64 + 1).read_to_end(to).await;
    }
}

/// Reads all and keeps the end.
pub(super) async fn keep_last(from: Option<impl AsyncRead + Unpin>, to: &mut Zeroizing<Vec<u8>>) {
    let Some(mut from) = from else { return };
    let mut block = Zeroizing::new([0; 4096]);
    to.reserve_exact(MOST_STDERR + block.len());
    while let Ok(length @ 1..) = from.read(&mut *block).await {
        to.extend_from_slice(&block[..length]);
        let surplus = to.len().saturating_sub(MOST_STDERR);
        to.drain(..surplus);
    }
}

/// Sends each line, masked, until the stream ends or the receiver is gone.
pub(super) async fn send_lines(
    from: Option<impl AsyncRead + Unpin>,
    masker: &Masker,
    line: fn(String) -> Line,
    to: &Sender<Line>,
) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let send = async |text: &str| to.send(line(masker.mask(text.trim_end_matches(['\n', '\r'])))).await.is_ok();
    let mut text = String::new();
    // An error ends the stream as its end does.
    while let Ok(Some(piece)) = next_piece(&mut from).await {
        text.push_str(&piece);
        // A secret may stand across the cut between two pieces: that part waits for the next piece.
        let settled = if text.ends_with('\n') { text.len() } else { masker.settled(&text) };
        if settled > 0 && !send(&text[..settled]).await {
            return;
        }
        text.drain(..settled);
    }
    if !text.is_empty() {
        // The receiver is gone only when nobody wants the line.
        let _unwanted = send(&text).await;
    }
}

/// A line with its end, or a piece of a long one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_last_lines() {
        assert_eq!(last_lines(b""), None);
        assert_eq!(last_lines(b"one\n\n two\r\nthree\x1b[31m\nfour\n").unwrap(), "two; three[31m; four");
        assert_eq!(last_lines(&[b'x'; 900]).unwrap().len(), LONGEST_SHOWN);
    }
}
