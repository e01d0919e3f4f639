use super::table::{Cell, Screen, Tone, table};
use crate::inspect::{Measured, Odd, PipelineStats, Summary};
use crate::report::text::plain;
use crate::value::{human_bytes, human_duration};

/// The statistics of each pipeline, with a chart of each number, oldest at the left.
pub fn render_stats(all: &[PipelineStats], screen: Screen) -> String {
    let blocks: Vec<String> = all.iter().map(|stats| block(stats, screen)).collect();
    blocks.join("\n")
}

/// How many columns a chart has at most.
const CHART: usize = 30;
/// Screens narrower than this have no room for charts.
const NARROW: usize = 72;
/// Screens narrower than this show only the median and the last number.
const NARROWER: usize = 60;

fn block(stats: &PipelineStats, screen: Screen) -> String {
    let outcomes: Vec<String> = stats.outcomes.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let plural = if stats.runs == 1 { "run" } else { "runs" };
    let counts = format!("{} {plural}: {}", stats.runs, outcomes.join(", "));
    let mut text = format!("{}  {}\n", plain(&stats.pipeline), plain(&counts));
    let mut rows = vec![titles(screen)];
    let whole = ("all", stats.success_rate, &stats.seconds, &stats.bytes);
    let stages =
        stats.stages.iter().map(|stage| (stage.stage.as_str(), stage.success_rate, &stage.seconds, &stage.bytes));
    let known = std::iter::once(whole).chain(stages).filter(|(_, rate, ..)| rate.is_some());
    for (name, rate, seconds, bytes) in known {
        let rate = rate.map(|rate| format!("{:.0} %", (rate * 100.0).floor())).unwrap_or_default();
        rows.push(row(name, &rate, seconds.as_ref(), human_duration, screen));
        if bytes.is_some() {
            rows.push(row("", "", bytes.as_ref(), human_bytes, screen));
        }
    }
    if rows.len() > 1 {
        text.push_str(&table(&rows, 2, &[0, 5], screen));
    }
    for odd in &stats.odd {
        text.push_str(&screen.wrap(&outlier(odd), 2));
    }
    text
}

fn titles(screen: Screen) -> Vec<Cell> {
    let faint = |cell: Cell| cell.tone(Tone::Faint);
    let numbers = ["good", "median", "last", "p95"].map(|title| faint(Cell::right(title)));
    let shown = if screen.width < NARROWER { 3 } else { 4 };
    std::iter::once(faint(Cell::new("stage"))).chain(numbers.into_iter().take(shown)).collect()
}

fn row(name: &str, rate: &str, numbers: Option<&Summary>, human: fn(f64) -> String, screen: Screen) -> Vec<Cell> {
    let mut row = vec![Cell::new(name), Cell::right(rate)];
    let Some(numbers) = numbers else { return row };
    row.push(Cell::right(human(numbers.median)));
    row.push(Cell::right(numbers.last.map_or_else(|| "-".to_owned(), human)));
    if screen.width >= NARROWER {
        row.push(Cell::right(human(numbers.p95)));
    }
    if screen.width >= NARROW {
        let used = 2 + 12 + 6 + 3 * 13;
        row.push(Cell::new(chart(&numbers.values, CHART.min(screen.width - used), screen.style.unicode)));
    }
    row
}

/// A bar for each number, newest at the right, scaled from zero to the largest.
fn chart(values: &[f64], columns: usize, unicode: bool) -> String {
    let levels: &[char] = if unicode {
        &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
    } else {
        &['_', '.', ':', '-', '=', '+', '*', '#']
    };
    let shown = &values[values.len().saturating_sub(columns)..];
    let most = shown.iter().copied().fold(0.0, f64::max);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the number of levels")]
    let level = |value: &f64| if most > 0.0 { (value / most * 7.0).round() as usize } else { 0 };
    shown.iter().map(|value| levels[level(value).min(7)]).collect()
}

/// An outlier of the last run, and how far it is from the median.
fn outlier(odd: &Odd) -> String {
    let of = odd
        .stage
        .as_ref()
        .map_or_else(|| "the last run".to_owned(), |stage| format!("`{}` of the last run", plain(stage)));
    let (verb, human): (&str, fn(f64) -> String) = match odd.what {
        Measured::Seconds => ("took", human_duration),
        Measured::Bytes => ("had", human_bytes),
        Measured::Files => ("had", |files| format!("{files:.0} files")),
    };
    let ratio = if odd.median <= 0.0 {
        String::new()
    } else if odd.last >= odd.median {
        format!(", {:.1} times the usual", odd.last / odd.median)
    } else {
        format!(", {:.0} % of the usual", odd.last / odd.median * 100.0)
    };
    let Odd { deviations, earlier, .. } = odd;
    let side = if *deviations > 0.0 { "above" } else { "below" };
    format!(
        "odd: {of} {verb} {}{ratio} {}; that is {:.1} deviations {side} the median of {earlier} runs",
        human(odd.last),
        human(odd.median),
        deviations.abs(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_column_for_each_number() {
        let values = [0.0, 1.0, 2.0, 4.0, 8.0];
        assert_eq!(chart(&values, 30, true), "▁▂▃▅█");
        assert_eq!(chart(&values, 3, false), ":=#");
        assert_eq!(chart(&[0.0, 0.0], 30, false), "__");
        assert_eq!(chart(&[], 30, true), "");
    }
}
