//! Explains syntax errors.

/// The place, the message and the help for an error of the parser. `at` is the character where the parser stopped.
pub(super) fn explain(source: &str, at: usize, message: &str) -> ((usize, usize), String, Option<&'static str>) {
    let text: Vec<char> = source.chars().collect();
    let last = text.iter().rposition(|c| !c.is_whitespace()).unwrap_or(0);
    if at > last {
        // At the end there is no character to point at, so point at the last one.
        let (message, help) = match missing(message) {
            Some(token) => (format!("`{token}` is missing at the end"), None),
            None if message.contains("':'") && source.contains('?') => {
                ("`:` is missing at the end".to_owned(), Some("a choice is written `condition ? this : that`"))
            }
            None => ("something is missing at the end of this expression".to_owned(), None),
        };
        return ((last, 1), message, help);
    }
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let length = text[at..].iter().take_while(|c| is_word(c)).count().max(1);
    let token: String = text[at..at + length].iter().collect();
    let help = match token.as_str() {
        "and" | "AND" | "&" => Some("write `&&`"),
        "or" | "OR" => Some("write `||`"),
        "not" | "NOT" => Some("write `!`"),
        "=" => Some("write `==`"),
        "|" => Some("for \"or\" write `||`; there are no filters"),
        _ => None,
    };
    let message = if matches!(token.as_str(), "'" | "\"") && message.contains("token recognition") {
        if text[at + 1..].contains(&text[at]) {
            return ((at, 1), "this text holds an unknown escape".to_owned(), Some("write a backslash twice"));
        }
        "this quote is not closed".to_owned()
    } else if message.contains("invalid int literal") {
        format!("`{token}` is too large")
    } else if message.contains("reserved identifier") {
        format!("`{token}` is a word of the expression language and cannot be a name")
    } else if message.contains("Recursion limit") || message.contains("recursion limit") {
        "this expression is nested too deep".to_owned()
    } else if let Some(token) = missing(message) {
        format!("`{token}` is missing here")
    } else {
        format!("`{token}` cannot stand here")
    };
    ((at, length), message, help)
}

/// The token that the parser expected, if it names exactly one.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("Syntax error: missing '")?.split('\'').next()
}
