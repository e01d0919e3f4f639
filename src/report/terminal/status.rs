use jiff::Timestamp;

use super::history::{SECONDS, moment};
use super::table::{Cell, Screen, Tone, table};
use crate::event::called;
use crate::inspect::{OrphanedUpload, Status, Working};
use crate::report::text::plain;
use crate::state::RunState;
use crate::value::{human_bytes, human_duration};

/// Screens narrower than this show neither the kind of a stage nor its rate.
const NARROW: usize = 60;
const KIND: usize = 1;
const RATE: usize = 3;

/// Running and interrupted runs, each with its running stages.
pub fn render_status(found: &[Status], now: Timestamp, screen: Screen) -> String {
    let blocks: Vec<String> = found.iter().map(|status| block(status, now, screen)).collect();
    blocks.join("\n")
}

/// Open uploads that no run will abort, and what does.
pub fn render_orphans(orphans: &[OrphanedUpload], screen: Screen) -> String {
    let line = |orphan: &OrphanedUpload| {
        let OrphanedUpload { uri, run, pipeline, reason, .. } = orphan;
        screen.wrap(&format!("open upload of {} by run {run} of {}: {}", plain(uri), plain(pipeline), plain(reason)), 0)
    };
    let mut text: String = orphans.iter().map(line).collect();
    if !text.is_empty() {
        text.push_str("next: `tl gc --store` aborts what no run will\n");
    }
    text
}

fn block(status: &Status, now: Timestamp, screen: Screen) -> String {
    let run = &status.run;
    let word = if run.waiting.is_some() { "waiting" } else { run.word() };
    let word = Tone::of(word).paint(word, screen.style);
    let is_running = run.state == RunState::Running;
    let long = if is_running { format!(" for {}", since(&run.started, now)) } else { String::new() };
    let mut text = format!("{}  {word}{long}\n", plain(&run.pipeline));
    text.push_str(&screen.wrap(&format!("run {}", run.id), 2));
    text.push_str(&format!("  since {}\n", moment(&run.started, SECONDS)));
    if is_running {
        text.push_str(&format!("  process {}\n", run.process));
    }
    if let Some(group) = &run.waiting {
        text.push_str(&screen.wrap(&format!("another run of its group {} is at work", plain(group)), 2));
    }
    let total = status.stages_total.map(|total| format!(" of {total}")).unwrap_or_default();
    let plural = if status.stages_total.unwrap_or(status.stages_done) == 1 { "stage" } else { "stages" };
    text.push_str(&format!("  {}{total} {plural} done\n", status.stages_done));
    let mut rows: Vec<Vec<Cell>> = status.working.iter().map(|working| row(working, now)).collect();
    if screen.width < NARROW {
        rows.iter_mut().for_each(|row| drop((row.remove(RATE), row.remove(KIND))));
    }
    text.push_str(&table(&rows, 4, if screen.width < NARROW { &[0] } else { &[0, KIND] }, screen));
    if let Some(resume) = &status.resume {
        text.push_str(&screen.wrap(&format!("next: `{resume}` resumes it"), 2));
    }
    text
}

fn row(working: &Working, now: Timestamp) -> Vec<Cell> {
    let again = if working.attempt > 1 { format!("attempt {}", working.attempt) } else { String::new() };
    vec![
        Cell::new(called(&working.stage, working.instance.as_deref())),
        Cell::new(working.kind.clone().unwrap_or_default()).tone(Tone::Faint),
        Cell::right(working.bytes.map(|bytes| human_bytes(bytes as f64)).unwrap_or_default()),
        Cell::right(working.bytes_per_second.map(|rate| format!("{}/s", human_bytes(rate))).unwrap_or_default()),
        Cell::right(working.started.as_ref().map(|started| since(started, now)).unwrap_or_default()),
        Cell::new(again),
    ]
}

/// The time since `time`; whole seconds at first.
fn since(time: &str, now: Timestamp) -> String {
    let then: Option<Timestamp> = time.parse().ok();
    let seconds = then.map_or(0.0, |then| now.duration_since(then).as_secs_f64().max(0.0).floor());
    if seconds < 10.0 { format!("{seconds:.0} s") } else { human_duration(seconds) }
}
