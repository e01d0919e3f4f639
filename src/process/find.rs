use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The program that a name means: a path, relative to `folder`, or a name in the folders of `path`, by default of `$PATH`. `None`
/// if there is none that may be started.
pub fn find_program(name: &str, folder: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![folder.join(name)]
    } else {
        let path = path.map(OsStr::to_owned).or_else(|| env::var_os("PATH"));
        path.iter().flat_map(env::split_paths).map(|place| folder.join(place).join(name)).collect()
    };
    candidates.into_iter().find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}

/// Why the kernel would not start a file that may be executed, as far as its first line tells (execve(2)). Completes the sentence
/// "the program …".
pub fn unstartable(program: &Path) -> Option<String> {
    const LONGEST: u64 = 256;
    let mut head = Vec::new();
    // What cannot be read may be started all the same.
    File::open(program).ok()?.take(LONGEST).read_to_end(&mut head).ok()?;
    if head.starts_with(b"\x7fELF") {
        return None;
    }
    let Some(line) = head.strip_prefix(b"#!") else {
        return Some("names no interpreter: its first line would be such as `#!/bin/sh`".to_owned());
    };
    let line = String::from_utf8_lossy(line.split(|letter| *letter == b'\n').next().unwrap_or_default()).into_owned();
    if line.ends_with('\r') {
        return Some("has lines that end in a carriage return, as on Windows".to_owned());
    }
    let interpreter = line.split_whitespace().next().unwrap_or_default();
    (!Path::new(interpreter).exists()).then(|| format!("names the interpreter `{interpreter}`, which is not there"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_line_tells_whether_a_script_can_be_started() {
        let folder = tempfile::tempdir().unwrap();
        let why = |text: &str| {
            fs::write(folder.path().join("script"), text).unwrap();
            unstartable(&folder.path().join("script"))
        };
        assert_eq!(why("#!/bin/sh\ntrue\n"), None);
        assert_eq!(why("#! /bin/sh -e\ntrue\n"), None);
        for (text, says) in
            [("#!/bin/sh\r\ntrue\r\n", "carriage return"), ("#!/none/sh\n", "`/none/sh`"), ("true\n", "no interpreter")]
        {
            assert!(why(text).is_some_and(|why| why.contains(says)), "{text}");
        }
        assert_eq!(unstartable(&env::current_exe().unwrap()), None);
    }
}
