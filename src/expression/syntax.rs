/// What an error of the parser means to people: the place, a message and a way out. `at` is where the parser stopped, in
/// characters.
pub(super) fn explain(source: &str, at: usize, message: &str) -> ((usize, usize), String, Option<&'static str>) {
    let text: Vec<char> = source.chars().collect();
    let last = text.iter().rposition(|c| !c.is_whitespace()).unwrap_or(0);
    if at > last {
        // Nothing stands where something is missing: the last character does.
        let message = match missing(message) {
            Some(token) => format!("`{token}` is missing at the end"),
            None => "something is missing at the end of this expression".to_owned(),
        };
        return ((last, 1), message, None);
    }
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let length = text[at..].iter().take_while(|c| is_word(c)).count().max(1);
    let token: String = text[at..at + length].iter().collect();
    let help = match token.as_str() {
        "or" | "OR" => Some("write `||`"),
        "not" | "NOT" => Some("write `!`"),
        "=" => Some("write `==`"),
        "and" | "AND" | "&" => Some("write `&&`"),
        "|" => Some("for \"or\" write `||`; there are no filters"),
        _ => None,
    };
    let message = if message.contains("reserved identifier") {
        format!("`{token}` is a word of the expression language and cannot be a name")
    } else if message.contains("Recursion limit") || message.contains("recursion limit") {
        "this expression is nested too deep".to_owned()
    } else if let Some(token) = missing(message) {
        format!("`{token}` is missing here")
    } else {
        format!("`{}` cannot stand here", token.escape_debug())
    };
    ((at, length), message, help)
}

/// The one token that the parser wanted.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("Syntax error: missing '")?.split('\'').next()
}
