use serde_json::{Value as Json, json};

use super::findings::{relative, sentences};
use crate::diagnostic::{Code, Severity};
use crate::inspect::Finding;
use crate::report::text::plain_lines;

/// Findings as a log of the Static Analysis Results Interchange Format, version 2.1.0.
pub fn render_sarif(findings: &[Finding]) -> Json {
    let mut codes: Vec<Code> = findings.iter().map(|finding| finding.problem.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Json = codes.iter().map(|&code| rule(code, findings)).collect();
    let results: Json = findings.iter().map(|finding| result(finding, &codes)).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "tl",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A rule: a code, with every help text that these findings have for it.
fn rule(code: Code, findings: &[Finding]) -> Json {
    let of_code = || findings.iter().map(|finding| &finding.problem).filter(|problem| problem.code == code);
    let mut help: Vec<&str> = Vec::new();
    for text in of_code().filter_map(|problem| problem.help.as_deref().or(problem.label.as_deref())) {
        if !help.contains(&text) {
            help.push(text);
        }
    }
    let mut rule = json!({ "id": code });
    if !help.is_empty() {
        rule["help"] = json!({ "text": plain_lines(&help.join("\n")) });
    }
    rule
}

fn result(finding: &Finding, codes: &[Code]) -> Json {
    let problem = &finding.problem;
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let help = problem.help.as_ref().map(|help| format!("\nhelp: {}", plain_lines(help))).unwrap_or_default();
    let mut result = json!({
        "ruleId": problem.code,
        "ruleIndex": codes.iter().position(|code| *code == problem.code),
        "level": level,
        "message": { "text": format!("{}{help}", sentences(problem)) },
    });
    if let Some(file) = finding.file().map(relative) {
        let mut location = json!({ "artifactLocation": { "uri": uri(&file) } });
        if let Some(place) = &problem.place {
            location["region"] = json!({
                "startLine": place.line,
                "startColumn": place.column,
                "endColumn": place.column + place.length,
            });
        }
        result["locations"] = json!([{ "physicalLocation": location }]);
    }
    result
}

/// A path as a URI reference (RFC 3986): relative as it is, absolute with `file:`.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encoded: String = path
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    if path.starts_with('/') { format!("file://{encoded}") } else { encoded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_references() {
        assert_eq!(uri("a b/ü:%#?.yaml"), "a%20b/%C3%BC%3A%25%23%3F.yaml");
        assert_eq!(uri("/srv/a.yaml"), "file:///srv/a.yaml");
    }
}
