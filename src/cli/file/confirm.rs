use crate::diagnostic::{Diagnostic, codes};
use crate::report::Output;

/// Asks whether a file may be rewritten, unless `--yes` said so.
pub(super) fn confirm(question: &str, yes: bool, output: &mut Output) -> Result<bool, Vec<Diagnostic>> {
    if yes {
        return Ok(true);
    }
    if !output.asks() {
        let message = "a file would be rewritten, and there is no terminal to ask on";
        return Err(vec![
            Diagnostic::usage(codes::TL0742, message).help("look at what would change, then add `--yes`"),
        ]);
    }
    let answer = output.ask(&format!("{question} [y/N]")).unwrap_or_default();
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
}
