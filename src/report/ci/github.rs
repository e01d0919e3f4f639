use super::findings::{relative, sentences};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::inspect::Finding;

/// Findings as workflow commands, which GitHub Actions shows beside the lines of a change.
pub fn render_github(findings: &[Finding]) -> String {
    findings.iter().map(command).collect()
}

fn command(finding: &Finding) -> String {
    let problem = &finding.problem;
    let annotation = Annotation {
        severity: problem.severity,
        file: finding.file(),
        place: problem.place.as_ref(),
        title: &problem.code.to_string(),
        problem,
    };
    annotation.command()
}

/// What GitHub shows beside a line of a file, else beside the run.
pub(super) struct Annotation<'a> {
    pub(super) severity: Severity,
    pub(super) file: Option<&'a str>,
    pub(super) place: Option<&'a Location>,
    pub(super) title: &'a str,
    pub(super) problem: &'a Diagnostic,
}

impl Annotation<'_> {
    /// The workflow command for it.
    pub(super) fn command(&self) -> String {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let file = self.file.map(|file| format!("file={}", property(&relative(file))));
        let mut properties: Vec<String> = file.into_iter().collect();
        if let Some(place) = self.place {
            let end = place.column + place.length;
            properties.push(format!("line={0},endLine={0},col={1},endColumn={end}", place.line, place.column));
        }
        properties.push(format!("title={}", property(self.title)));
        let help = self.problem.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        format!("::{word} {}::{}\n", properties.join(","), message(&format!("{}{help}", sentences(self.problem))))
    }
}

/// Escapes a message: a line end would end the command.
pub(super) fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property, which `:` and `,` would end.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::codes;
    use crate::diagnostic::{Diagnostic, Location};

    fn shown(problem: Diagnostic) -> String {
        render_github(&[Finding { file: Some("a.yaml".to_owned()), problem }])
    }

    #[test]
    fn what_would_end_a_command_is_escaped() {
        let place = Location { file: "a,b:c%.yaml".to_owned(), line: 3, column: 5, length: 2, text: String::new() };
        let problem = Diagnostic::usage(codes::TL0207, "100% wrong,\r\nor: so").at(place).label("x").help("do\nthis");
        assert_eq!(
            shown(problem),
            "::error file=a%2Cb%3Ac%25.yaml,line=3,endLine=3,col=5,endColumn=7,title=TL0207::100%25 wrong,\u{fffd}%0Aor: \
             so%0Ax%0Ahelp: do%0Athis\n"
        );
    }

    #[test]
    fn what_has_no_place_has_its_file() {
        assert_eq!(shown(Diagnostic::usage(codes::TL0001, "gone")), "::error file=a.yaml,title=TL0001::gone\n");
        let nowhere = Finding { file: None, problem: Diagnostic::warning(codes::TL0806, "why") };
        assert_eq!(render_github(&[nowhere]), "::warning title=TL0806::why\n");
    }
}
