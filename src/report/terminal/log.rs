use crate::event::Stream;
use crate::report::text::plain;
use crate::state::{Log, LogLine};

/// A line of a program's output, with its time and stage.
pub fn render_log_line(log: &Log, line: &LogLine) -> String {
    let instance = log.instance.map(|number| format!(".{number}")).unwrap_or_default();
    let again = if log.attempt > 1 || log.session > 1 {
        format!(" (session {}, attempt {})", log.session, log.attempt)
    } else {
        String::new()
    };
    let sign = match line.stream {
        Some(Stream::Stdout) => "|",
        Some(Stream::Stderr) => "!",
        None => "~",
    };
    format!("{} {}{instance}{again} {sign} {}\n", line.at, log.stage, plain(&line.text))
}
