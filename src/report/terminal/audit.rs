use crate::audit::{LogEntry, Report, Severity};
use crate::report::style::Style;
use crate::report::text::plain;

/// The result of `tl audit verify`.
pub fn render_report(report: &Report, style: Style) -> String {
    let origin = report.origin.as_deref().unwrap_or("a log without a key");
    let mut text = format!("{origin}: {} records, {} checkpoints\n", report.records, report.checkpoints);
    match &report.signed {
        Some(signed) => text.push_str(&format!("signed: {} records\n", signed.size)),
        None => text.push_str("signed: nothing\n"),
    }
    if report.unsigned_tail > 0 {
        text.push_str(&format!("not signed yet: {} records\n", report.unsigned_tail));
    }
    for problem in &report.problems {
        let word = if problem.is_damage() { style.red("damaged") } else { style.yellow("note") };
        text.push_str(&format!("{word}: {}\n", plain(&problem.to_string())));
    }
    if report.omitted > 0 {
        text.push_str(&format!("and {} more\n", report.omitted));
    }
    text.push_str(&if report.is_damaged() {
        format!("{}\n", style.red("the log is not what was signed"))
    } else {
        format!("{}\n", style.green("the log is what was signed"))
    });
    text
}

/// A record of the audit log on one line.
pub fn render_record(record: &LogEntry, style: Style) -> String {
    let severity = match record.severity {
        Severity::Info | Severity::Notice => String::new(),
        Severity::Warning => style.yellow(" warning"),
        Severity::Error => style.red(" error"),
        Severity::Critical => style.red(" critical"),
    };
    let data: Vec<String> = record.data.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let run = plain(record.run.as_deref().unwrap_or("-"));
    format!("{} {} {run} {}{severity} {}\n", record.seq, record.time, record.kind, plain(&data.join(" ")))
}
