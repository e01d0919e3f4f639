//! Secrets from standard input.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::diagnostic::{Diagnostic, Kind, codes};
use crate::report::Output;
use crate::value::Secret;

/// The longest secret: a key or a password, not a document.
const LARGEST: usize = 64 * 1024;

const END_OF_TEXT: u8 = 0x03;
const END_OF_INPUT: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const KILL_LINE: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// Standard input, unbuffered: a buffer would keep a copy of the secret.
fn standard_input() -> Result<File, Vec<Diagnostic>> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> Vec<Diagnostic> {
    vec![Diagnostic::failure(codes::TL0737, "the value cannot be read from standard input").cause(error)]
}

/// Reads all of standard input, without its last line end.
pub(in crate::cli) fn read_piped() -> Result<Secret, Vec<Diagnostic>> {
    // Allocated at once: a vector that grows leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST + 64));
    let read = standard_input()?.take(LARGEST as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(&error))?;
    if bytes.len() > LARGEST {
        let help = "a secret is a key or a password; `tl seal` is for files";
        return Err(vec![Diagnostic::usage(codes::TL0738, "the value is longer than 64 KiB").help(help)]);
    }
    let value = text(&bytes)?;
    let line = value.strip_suffix('\n').unwrap_or(value);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn text(bytes: &[u8]) -> Result<&str, Vec<Diagnostic>> {
    std::str::from_utf8(bytes).map_err(|_| {
        let help = "write a key of bytes as text, such as base64";
        vec![Diagnostic::usage(codes::TL0738, "the value is not a text").help(help)]
    })
}

/// Asks for one line on the terminal, without echo.
pub(in crate::cli) fn ask(prompt: &str, output: &mut Output) -> Result<Secret, Vec<Diagnostic>> {
    let mut terminal = Silent::new(standard_input()?).map_err(|error| unreadable(&error))?;
    output.prompt(prompt);
    let line = read_line(&mut terminal.file).map_err(|error| unreadable(&error));
    drop(terminal);
    output.hint("");
    match line? {
        Some(line) => text(&line).map(|line| Secret::new(line.to_owned())),
        None => Err(vec![Diagnostic::new(codes::TL0739, Kind::Cancelled, "nothing was sealed: you ended it")]),
    }
}

/// Reads one line, with erase and kill; `None` if the user cancels.
fn read_line(input: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LARGEST));
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match byte[0] {
            b'\n' | b'\r' => return Ok(Some(line)),
            END_OF_TEXT | END_OF_INPUT => return Ok(None),
            KILL_LINE => line.clear(),
            BACKSPACE | DELETE => {
                // Erase all bytes of a character.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if line.len() < LARGEST => line.push(byte),
            _ => {}
        }
    }
}

/// A terminal without echo, and without signals: a signal would end `tl` and leave the terminal without echo.
struct Silent {
    file: File,
    before: Termios,
}

impl Silent {
    fn new(file: File) -> io::Result<Self> {
        let before = tcgetattr(&file)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&file, OptionalActions::Now, &silent)?;
        Ok(Self { file, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Fails only if the terminal is gone.
        let _gone = tcsetattr(&self.file, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(typed: &[u8]) -> Option<Vec<u8>> {
        read_line(&mut &*typed).unwrap().map(|line| line.to_vec())
    }

    #[test]
    fn a_line_can_be_edited() {
        assert_eq!(line(b"secret\nmore"), Some(b"secret".to_vec()));
        assert_eq!(line("ab\u{e9}\u{7f}c\r".as_bytes()), Some(b"abc".to_vec()));
        assert_eq!(line(b"\x7f\x08a\x15b\n"), Some(b"b".to_vec()));
    }

    #[test]
    fn a_line_can_be_given_up() {
        assert_eq!(line(b"secret\x03\n"), None);
        assert_eq!(line(b"\x04"), None);
        assert_eq!(line(b"secret"), None);
    }
}
