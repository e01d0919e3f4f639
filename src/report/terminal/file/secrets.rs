//! What `tl secret check` found, for people.

use crate::inspect::SecretFound;
use crate::report::style::Style;
use crate::report::text::plain;

/// The result of `tl secret check`: one line for each secret. Errors are reported separately.
pub fn render_secrets(found: &[SecretFound], style: Style) -> String {
    let width = found.iter().map(|secret| secret.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for secret in found {
        let word = if secret.found { style.green("yes") } else { style.red("NO ") };
        text.push_str(&format!("{word}  {:<width$}  {}: {}\n", secret.name, secret.from, plain(&secret.place)));
    }
    if found.is_empty() {
        text.push_str("the file names no secret: there is nothing to try\n");
    }
    text
}
