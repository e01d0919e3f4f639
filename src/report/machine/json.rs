use serde::Serialize;

use crate::diagnostic::{Diagnostic, codes};

/// A value as indented JSON. Fails for what JSON cannot hold, such as a path that is not UTF-8.
pub fn render_json(value: &impl Serialize) -> Result<String, Vec<Diagnostic>> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| not_json(&error))
}

/// A value as JSON on one line.
pub fn render_json_line(value: &impl Serialize) -> Result<String, Vec<Diagnostic>> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(|error| not_json(&error))
}

fn not_json(error: &serde_json::Error) -> Vec<Diagnostic> {
    let message = "what was to be printed cannot be written as JSON";
    vec![Diagnostic::failure(codes::TL0716, message).cause(error).help("leave out `--json` to read it as text")]
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    use super::*;
    use crate::diagnostic::ExitCode;

    #[test]
    fn what_json_cannot_hold_is_an_error_and_not_null() {
        let path = Path::new(OsStr::from_bytes(b"caf\xe9"));
        for found in [render_json(&path), render_json_line(&[path])] {
            let problem = found.unwrap_err().remove(0);
            assert_eq!((problem.code, problem.kind.exit_code()), (codes::TL0716, ExitCode::Failure));
            assert!(problem.causes[0].contains("UTF-8"), "{problem:?}");
        }
        assert_eq!(render_json(&["a"]).unwrap(), "[\n  \"a\"\n]\n");
        assert_eq!(render_json_line(&["a"]).unwrap(), "[\"a\"]\n");
    }
}
