//! Everything that is known of one run.

use std::collections::HashMap;

use super::history::{SECONDS, moment, times};
use super::table::Tone;
use super::{Human, Screen, plain};
use crate::event::{Assurance, Outcome, What, called};
use crate::inspect::past_events;
use crate::report::reporter::Reporter;
use crate::state::{Record, Run, RunState, StageRun};
use crate::value::{human_bytes, human_duration};

/// How many warnings and retries of one stage are shown.
const MOST_REMARKS: usize = 20;

/// Shows a run: its head, its events as a live run shows them, and what to do next.
pub fn render_run(record: &Record, screen: Screen) -> String {
    let mut text = head(&record.run, screen);
    let mut written = Vec::new();
    let mut human = Human::of_past(&mut written, screen);
    let mut remarks: HashMap<String, usize> = HashMap::new();
    for event in &past_events(record) {
        match &event.what {
            What::StageWarning { stage, instance, .. } | What::StageRetrying { stage, instance, .. } => {
                let count = remarks.entry(called(stage, instance.as_deref())).or_default();
                *count += 1;
                if *count <= MOST_REMARKS {
                    human.event(event);
                } else {
                    human.count(event);
                }
            }
            What::StageEnded { stage, instance, .. } => {
                human.event(event);
                let count = remarks.remove(&called(stage, instance.as_deref())).unwrap_or_default();
                if count > MOST_REMARKS {
                    human.say(&format!("and {} more, which `--json` shows\n", count - MOST_REMARKS));
                }
            }
            _ => human.event(event),
        }
    }
    drop(human);
    text.push_str(&String::from_utf8_lossy(&written));
    for stage in record.stages.iter().filter(|stage| stage.ended.is_none()) {
        text.push_str(&unfinished(stage, &record.run, screen));
    }
    if let Some(step) = step_without_end(&record.run) {
        text.push_str(&screen.wrap(&step, 0));
    }
    text
}

fn head(run: &Run, screen: Screen) -> String {
    let word = Tone::of(run.word()).paint(run.word(), screen.style);
    let took =
        run.seconds.filter(|_| run.state == RunState::Ended).map(|seconds| format!(" in {}", human_duration(seconds)));
    let mut text = format!("{}  {word}{}\n", plain(&run.pipeline), took.unwrap_or_default());
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:8} {}\n", plain(value)));
    line("run", &run.id);
    line("started", &moment(&run.started, SECONDS));
    if let Some(ended) = &run.ended {
        line("ended", &moment(ended, SECONDS));
    }
    if let Some(counts) = counted(run) {
        line("counts", &counts);
    }
    line("file", &run.file.display().to_string());
    line("sha256", &run.sha256);
    match &run.inputs {
        Some(serde_json::Value::Object(inputs)) => {
            for (name, value) in inputs {
                line("input", &format!("{name} = {value}"));
            }
        }
        _ => line("inputs", "not kept: they hold a secret, or a secret was missing"),
    }
    if run.sessions > 1 {
        line("sessions", &format!("{}: resumed {}", run.sessions, times(run.sessions - 1)));
    }
    text
}

/// Whether the run counts as a success, in words; `None` where that is plain or not known.
fn counted(run: &Run) -> Option<String> {
    let words = |assurance| match assurance {
        Assurance::Proven => "proven",
        Assurance::Delivered => "delivered, not proven",
        Assurance::Complete => "complete",
    };
    let reason = || run.reason.as_ref().map(|why| format!("not as a success: {why}"));
    run.counts.map(|assurance| words(assurance).to_owned()).or_else(reason)
}

/// A stage whose end was not written: it runs, its process is gone, or only what it did was kept.
fn unfinished(stage: &StageRun, run: &Run, screen: Screen) -> String {
    let is_running = run.state == RunState::Running && stage.session == run.sessions;
    let word = if is_running { "running" } else { stage.outcome.map_or("interrupted", Outcome::word) };
    let painted = Tone::of(word).paint(&format!("{word:11}"), screen.style);
    let mut detail: Vec<String> = stage.kind.iter().cloned().collect();
    detail.extend((stage.attempt > 1).then(|| format!("{} attempts", stage.attempt)));
    detail.extend(stage.bytes.map(|bytes| human_bytes(bytes as f64)));
    let name = called(&stage.stage, stage.instance.as_deref());
    format!("  {painted} {}  {}\n", plain(&name), plain(&detail.join(", ")))
}

/// What to do next with a run that has no end. One that ended says so in its summary.
fn step_without_end(run: &Run) -> Option<String> {
    match run.state {
        RunState::Running => Some("next: `tl status --watch` follows it".to_owned()),
        RunState::Interrupted if run.inputs.is_none() => {
            Some("its process is gone, and its inputs were not kept. next: start a new run".to_owned())
        }
        RunState::Interrupted => Some(format!(
            "its process is gone. next: `tl run --resume {}` does again only what is not proven done",
            run.id
        )),
        RunState::Ended => None,
    }
}
