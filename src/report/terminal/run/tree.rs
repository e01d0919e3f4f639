use std::collections::VecDeque;
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use crate::event::What;
use crate::report::style::Style;
use crate::report::text::{cut, padded, plain};
use crate::value::{human_bytes, human_duration};

/// The running stages at one moment, as lines. It is pure: events, a time and a size go in, so that it is tested without a
/// terminal and a clock. Times count from the beginning of the report.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pipeline: String,
    /// All stages, in the order of the file.
    stages: Vec<String>,
    ended: usize,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    stage: String,
    instance: Option<String>,
    kind: String,
    attempt: u32,
    began: Duration,
    /// When the next attempt begins, if this one has failed.
    again: Option<Duration>,
    /// The bytes done at each of the last moments, within [`WINDOW`].
    reached: VecDeque<(Duration, u64)>,
}

/// The time over which a rate is measured.
const WINDOW: Duration = Duration::from_secs(5);
/// How long one frame of the spinner is shown.
const TURN: Duration = Duration::from_millis(120);

impl Tree {
    /// Adds an event that came at the time `at`.
    pub(super) fn take(&mut self, what: &What, at: Duration) {
        match what {
            What::RunStarted { pipeline, stages, .. } => {
                self.pipeline.clone_from(pipeline);
                self.stages.clone_from(stages);
            }
            What::StageStarted { stage, instance, kind, attempt } => {
                let reached = VecDeque::from([(at, 0)]);
                match self.find(stage, instance.as_ref()) {
                    Some(running) => {
                        (running.attempt, running.again, running.reached) = (*attempt, None, reached);
                    }
                    None => self.running.push(Running {
                        stage: stage.clone(),
                        instance: instance.clone(),
                        kind: kind.clone(),
                        attempt: *attempt,
                        began: at,
                        again: None,
                        reached,
                    }),
                }
            }
            What::StageProgress { stage, instance, bytes } => {
                if let Some(running) = self.find(stage, instance.as_ref()) {
                    running.reached.push_back((at, *bytes));
                    // One entry before the window stays: the rate is measured from it.
                    while running.reached.get(1).is_some_and(|(then, _)| *then + WINDOW < at) {
                        running.reached.pop_front();
                    }
                }
            }
            What::StageRetrying { stage, instance, delay_ms, .. } => {
                if let Some(running) = self.find(stage, instance.as_ref()) {
                    running.again = Some(at + Duration::from_millis(*delay_ms));
                }
            }
            What::StageEnded { stage, instance, .. } => {
                self.running.retain(|running| (&running.stage, &running.instance) != (stage, instance));
                self.ended += usize::from(instance.is_none());
            }
            What::StageOutput { .. }
            | What::StageWarning { .. }
            | What::Problem { .. }
            | What::Checkpoint { .. }
            | What::Message { .. }
            | What::RunEnded { .. } => {}
        }
    }

    fn find(&mut self, stage: &str, instance: Option<&String>) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.stage == stage && running.instance.as_ref() == instance)
    }

    /// The lines of the tree at the time `at`, none wider than `columns`, and at most `rows`.
    pub(super) fn lines(&self, at: Duration, (columns, rows): (usize, usize), style: Style) -> Vec<String> {
        let signs = style.signs();
        let frame = at.as_millis() / TURN.as_millis();
        let turning = signs.turning[usize::try_from(frame).unwrap_or_default() % signs.turning.len()];
        let total = self.stages.len();
        let head = format!(
            "{turning} {}  {}  {} of {total} stages ended",
            plain(&self.pipeline),
            human_duration(at.as_secs_f64()),
            self.ended
        );
        let mut lines = vec![head];
        let groups: Vec<Vec<&Running>> = self
            .stages
            .iter()
            .map(|stage| self.running.iter().filter(|running| running.stage == *stage).collect::<Vec<_>>())
            .filter(|group| !group.is_empty())
            .collect();
        let wide = widest(groups.iter().map(|group| group[0].stage.as_str()), columns);
        for (number, group) in groups.iter().enumerate() {
            let (branch, below) = signs.branches(number + 1 == groups.len());
            let first = group[0];
            let name = padded(&cut(&plain(&first.stage), wide, signs.dots), wide);
            if first.instance.is_none() {
                lines.push(format!("{branch}{name}  {}", first.state(at)));
                continue;
            }
            lines.push(format!("{branch}{name}  {}, {} running", first.kind, group.len()));
            let label = |running: &Running| plain(running.instance.as_deref().unwrap_or_default());
            let labels: Vec<String> = group.iter().map(|running| label(running)).collect();
            let wide = widest(labels.iter().map(String::as_str), columns);
            for (number, (running, label)) in group.iter().zip(labels).enumerate() {
                let (branch, _) = signs.branches(number + 1 == group.len());
                let label = padded(&cut(&label, wide, signs.dots), wide);
                lines.push(format!("{below}{branch}{label}  {}", running.state(at)));
            }
        }
        if lines.len() > rows.max(2) {
            let hidden = lines.len() - (rows.max(2) - 1);
            lines.truncate(rows.max(2) - 1);
            lines.push(format!("{}{hidden} more", signs.branches(true).0));
        }
        lines.iter().map(|line| cut(line, columns, signs.dots)).collect()
    }
}

/// The width of a column of names: at most a third of the screen.
fn widest<'n>(names: impl Iterator<Item = &'n str>, columns: usize) -> usize {
    names.map(UnicodeWidthStr::width).max().unwrap_or_default().min(columns / 3)
}

impl Running {
    /// The attempt, unless it is the first; bytes and rate; the time since the start.
    fn state(&self, at: Duration) -> String {
        let mut words = Vec::new();
        match self.again {
            Some(again) => {
                // Rounded up to whole seconds, as a countdown.
                let left = again.saturating_sub(at).as_secs_f64().ceil();
                words.push(format!("attempt {} in {left:.0} s", self.attempt + 1));
            }
            None if self.attempt > 1 => words.push(format!("attempt {}", self.attempt)),
            None => {}
        }
        let bytes = self.reached.back().map_or(0, |(_, bytes)| *bytes);
        if bytes == 0 || self.again.is_some() {
            words.push(self.kind.clone());
        } else {
            words.push(human_bytes(bytes as f64));
            words.push(format!("{}/s", human_bytes(self.rate(at))));
        }
        words.push(human_duration(at.saturating_sub(self.began).as_secs_f64()));
        words.join("  ")
    }

    /// Bytes per second over the window.
    fn rate(&self, at: Duration) -> f64 {
        let before = |(then, _): &&(Duration, u64)| *then + WINDOW <= at;
        let from = self.reached.iter().rev().find(before).or(self.reached.front());
        match (from, self.reached.back()) {
            (Some((then, from)), Some((_, to))) if at > *then => {
                to.saturating_sub(*from) as f64 / at.saturating_sub(*then).min(WINDOW).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostic;
    use crate::diagnostic::codes;
    use crate::event::{Did, Outcome};
    use proptest::prelude::*;
    use serde_json::Map;

    const NONE: Option<&str> = None;

    fn started(stage: &str, instance: Option<&str>, kind: &str, attempt: u32) -> What {
        What::StageStarted {
            stage: stage.to_owned(),
            instance: instance.map(str::to_owned),
            kind: kind.to_owned(),
            attempt,
        }
    }

    fn progress(stage: &str, instance: Option<&str>, bytes: u64) -> What {
        What::StageProgress { stage: stage.to_owned(), instance: instance.map(str::to_owned), bytes }
    }

    fn retrying(stage: &str, instance: Option<&str>) -> What {
        What::StageRetrying {
            stage: stage.to_owned(),
            instance: instance.map(str::to_owned),
            attempt: 1,
            delay_ms: 8_000,
            error: Diagnostic::failure(codes::TL0634, "no space is left"),
        }
    }

    fn ended(stage: &str, instance: Option<&str>) -> What {
        What::StageEnded {
            stage: stage.to_owned(),
            instance: instance.map(str::to_owned),
            outcome: Outcome::Success,
            seconds: 1.0,
            outputs: Map::new(),
            did: Did::default(),
            reason: None,
            error: None,
            recalled: false,
        }
    }

    fn tree(events: &[(u64, What)]) -> Tree {
        let mut tree = Tree::default();
        let stages = ["identity", "collect", "seal", "copy", "prove"].map(str::to_owned).to_vec();
        let began =
            What::RunStarted { pipeline: "orders".to_owned(), file: "orders.yaml".to_owned(), stages, session: 1 };
        tree.take(&began, Duration::ZERO);
        events.iter().for_each(|(at, what)| tree.take(what, Duration::from_secs(*at)));
        tree
    }

    fn busy() -> Tree {
        tree(&[
            (0, started("identity", NONE, "run", 1)),
            (1, started("copy", Some("nas"), "upload", 1)),
            (1, started("copy", Some("a far away place with a long name"), "upload", 1)),
            (1, started("copy", Some("offsite"), "upload", 1)),
            (1, ended("identity", NONE)),
            (2, started("collect", NONE, "archive", 1)),
            (55, progress("collect", NONE, 5 << 30)),
            (60, progress("collect", NONE, 6 << 30)),
            (60, progress("copy", Some("nas"), 3 << 20)),
            (60, retrying("copy", Some("offsite"))),
            (61, retrying("copy", Some("nas"))),
            (61, started("copy", Some("nas"), "upload", 2)),
        ])
    }

    #[test]
    fn what_runs_as_people_see_it() {
        let mut shown = String::new();
        for (columns, rows, unicode) in [(80, 24, true), (40, 24, true), (80, 24, false), (80, 3, true)] {
            let style = Style { unicode, ..Style::default() };
            let lines = busy().lines(Duration::from_secs(62), (columns, rows), style);
            shown.push_str(&format!("--- {columns} columns, {rows} rows, unicode: {unicode}\n{}\n", lines.join("\n")));
        }
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mib = |count: u64| count << 20;
        let moving = tree(&[
            (0, started("collect", NONE, "archive", 1)),
            (1, progress("collect", NONE, mib(100))),
            (10, progress("collect", NONE, mib(110))),
        ]);
        for (at, mib) in [(10, 2.0), (12, 2.0), (15, 0.0), (99, 0.0)] {
            let rate = moving.running[0].rate(Duration::from_secs(at));
            assert!((rate / f64::from(1 << 20) - mib).abs() < 0.01, "{at}: {rate}");
        }
        // A stage that tells of itself all the time keeps the last seconds alone.
        let events: Vec<(u64, What)> = (0..1_000).map(|at| (at, progress("collect", NONE, at))).collect();
        let long = tree(&[vec![(0, started("collect", NONE, "archive", 1))], events].concat());
        assert!(long.running[0].reached.len() < 10, "{}", long.running[0].reached.len());
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(label in "\\PC{0,50}", columns in 8_usize..120, rows in 2_usize..9) {
            let shown = tree(&[(0, started("copy", Some(&label), "upload", 1)), (0, started("seal", NONE, "encrypt", 1))]);
            let lines = shown.lines(Duration::from_secs(9), (columns, rows), Style { unicode: true, ..Style::default() });
            prop_assert!(lines.len() <= rows);
            for line in lines {
                prop_assert!(line.width() <= columns, "{line}");
            }
        }
    }
}
