//! Pipes whose failure a shell does not see.

use std::path::Path;

use super::warnings::stages_of;
use crate::diagnostic::{Diagnostic, codes};
use crate::pipeline::{Document, Pipeline, Run};

/// Shells that have no option for it everywhere. `tl` sets it for the others.
const WITHOUT_PIPEFAIL: &[&str] = &["sh", "dash", "ash"];

/// Warns of scripts in which a command may fail before a `|` without anybody noticing.
pub(super) fn pipes(document: &Document, pipeline: &Pipeline) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (section, name, stage) in stages_of(pipeline) {
        let (Some(Run::Script(script)), Some(shell)) = (&stage.run, &stage.shell) else { continue };
        let shell = Path::new(shell).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if WITHOUT_PIPEFAIL.contains(&shell) && !script.contains("pipefail") && has_pipe(script) {
            let message = format!("`{shell}` does not notice when a command before a pipe `|` fails");
            let warning = Diagnostic::warning(codes::TL0808, message);
            let at = document.at_value(&format!("/{section}/{name}/run"));
            found.push(warning.at(at).help("write `shell: bash`, or let a file stand between the two commands"));
        }
    }
    found
}

/// Whether a script has a pipe outside of quotes and comments.
fn has_pipe(script: &str) -> bool {
    let mut quote = None;
    let mut before = '\n';
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => drop(chars.next()),
            (None, '#') if before.is_whitespace() || before == ';' => while chars.next_if(|c| *c != '\n').is_some() {},
            (None, '|') if chars.next_if_eq(&'|').is_none() && before != '>' => return true,
            _ => {}
        }
        before = c;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_one_outside_of_quotes_and_comments() {
        for script in ["a | b", "a|b", "a && b | c", "x='a b'; c \"$x\" | d", "a \\\n | b", "a '' | b", "a |& b"] {
            assert!(has_pipe(script), "{script}");
        }
        for script in ["a || b", "a '|' b", "a \"|\" b", "a \\| b", "a # | b", "# a | b\nc", "a >| b", "a \"\\\"|\" b"]
        {
            assert!(!has_pipe(script), "{script}");
        }
    }
}
