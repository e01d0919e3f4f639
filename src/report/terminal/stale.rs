use jiff::Timestamp;

use super::history::{MINUTES, moment};
use super::table::{Cell, Screen, Tone, table};
use crate::inspect::Stale;
use crate::value::human_duration;

/// Pipelines with `expect`, each with its last success and when the next one is due.
pub fn render_stale(found: &[Stale], now: Timestamp, screen: Screen) -> String {
    let row = |stale: &Stale| {
        let name = stale.pipeline.clone().unwrap_or_else(|| stale.file.clone());
        let last = stale.last_success.as_ref().map_or_else(|| "never".to_owned(), |last| moment(last, MINUTES));
        let Some(every) = stale.success_every else {
            return vec![
                Cell::new("open").tone(Tone::Faint),
                Cell::new(name),
                Cell::new(last),
                Cell::new("expects nothing"),
            ];
        };
        let due = stale.due.as_ref().and_then(|due| due.parse::<Timestamp>().ok());
        let due = match due {
            None => format!("due every {every}"),
            Some(due) if stale.is_stale => format!("due {} ago", distance(now.duration_since(due).as_secs_f64())),
            Some(due) => format!("due in {}", distance(due.duration_since(now).as_secs_f64())),
        };
        let (word, tone) = if stale.is_stale { ("stale", Tone::Bad) } else { ("fine", Tone::Good) };
        vec![Cell::new(word).tone(tone), Cell::new(name), Cell::new(last), Cell::new(due)]
    };
    let rows: Vec<Vec<Cell>> = found.iter().map(row).collect();
    table(&rows, 0, &[1, 3], screen)
}

/// A duration, in whole days from two days on.
fn distance(seconds: f64) -> String {
    let days = (seconds / 86_400.0).floor();
    if days >= 2.0 { format!("{days:.0} days") } else { human_duration(seconds) }
}
