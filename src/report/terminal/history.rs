use super::table::{Cell, Screen, Tone, table};
use crate::event::called;
use crate::state::{Failure, Run, RunState};
use crate::value::human_duration;

/// Screens narrower than this show only the outcome, the id and the pipeline.
const NARROW: usize = 64;

/// Runs, one a line, each with its first failure.
pub fn render_history(runs: &[(Run, Option<Failure>)], screen: Screen) -> String {
    let row = |(run, failure): &(Run, Option<Failure>)| {
        let mut row =
            vec![Cell::outcome(run.word()), Cell::new(moment(&run.started, MINUTES)), Cell::new(short(&run.id))];
        row.push(Cell::new(&run.pipeline));
        if screen.width >= NARROW {
            row.push(Cell::right(
                run.seconds.filter(|_| run.state == RunState::Ended).map(human_duration).unwrap_or_default(),
            ));
            row.push(Cell::new(remark(run, failure.as_ref())).tone(Tone::Faint));
        } else {
            row.remove(1);
        }
        row
    };
    let rows: Vec<Vec<Cell>> = runs.iter().map(row).collect();
    table(&rows, 0, if screen.width >= NARROW { &[3, 5] } else { &[2] }, screen)
}

fn remark(run: &Run, failure: Option<&Failure>) -> String {
    let failed = failure.map(|failure| {
        let name = called(&failure.stage, failure.instance.as_deref());
        // The code comes first: a narrow screen cuts the end.
        failure.code.as_ref().map_or_else(|| name.clone(), |code| format!("{code} in {name}"))
    });
    let own = || run.error.as_ref().map(|error| error.code.to_string());
    let resumed = (run.sessions > 1).then(|| format!("resumed {}", times(run.sessions - 1)));
    let left_out = (!run.left_out.is_empty()).then(|| format!("left out {}", run.left_out.join(", ")));
    failed.or_else(own).into_iter().chain(left_out).chain(resumed).collect::<Vec<_>>().join(", ")
}

/// A count as an adverb.
pub(super) fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

/// The end of an id, which names the run. The beginning of an id is a time, which many runs share.
fn short(id: &str) -> String {
    let skipped = id.chars().count().saturating_sub(8);
    id.chars().skip(skipped).collect()
}

pub(super) const MINUTES: usize = 16;
pub(super) const SECONDS: usize = 19;

/// A time as people read it, cut after `until` characters: `2026-11-24 02:15Z`.
pub(super) fn moment(time: &str, until: usize) -> String {
    time.get(..until).map_or_else(|| time.to_owned(), |time| format!("{}Z", time.replace('T', " ")))
}
