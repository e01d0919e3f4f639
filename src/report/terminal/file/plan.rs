use serde_json::Value as Json;

use crate::inspect::{Instances, PlanReport, StageReport};
use crate::report::style::Style;
use crate::report::text::{plain, plain_lines};
use crate::value::human_bytes;

/// A plan: the settings of the run, then each step with its stages, then the messages.
pub fn render_plan(plan: &PlanReport, style: Style) -> String {
    let mut text = format!("{} ({})\n", plan.pipeline, plain(&plan.file));
    for line in head(plan) {
        text.push_str(&format!("{line}\n"));
    }
    for (number, step) in plan.steps.iter().enumerate() {
        text.push_str(&format!("\nstep {}\n", number + 1));
        for stage in step {
            let name = style.green(&stage.name);
            let last = if stage.finally { " (finally, whatever happened)" } else { "" };
            text.push_str(&format!("  {name} ({}): {}{last}\n", stage.kind, stage.about));
            if let Some(reason) = &stage.skipped {
                text.push_str(&format!("      {}\n", style.yellow(&format!("skipped: {reason}"))));
            }
            for line in details(stage) {
                text.push_str(&format!("      {line}\n"));
            }
        }
    }
    if !plan.notify.is_empty() {
        text.push_str("\nmessages\n");
    }
    for messages in &plan.notify {
        text.push_str(&format!("  {} to {}\n", messages.when.join(", "), messages.to.join(", ")));
    }
    text
}

/// The settings of the run as a whole.
fn head(plan: &PlanReport) -> Vec<String> {
    let inputs = plan.inputs.iter().map(|(name, value)| format!("input {name} = {}", short(value)));
    let mut lines: Vec<String> = inputs.chain(plan.secrets.iter().map(|secret| format!("secret {secret}"))).collect();
    lines.extend(plan.timeout.map(|time| format!("time limit {time}")));
    lines.extend(plan.max_parallel.map(|most| format!("at most {most} at the same time")));
    if let Some(shared) = &plan.concurrency {
        let group = plain(&shared.group);
        let wait = shared.wait.map(|wait| format!(", at most {wait}")).unwrap_or_default();
        lines.push(format!("one run of the group {group} at a time; if it is busy: {}{wait}", shared.if_busy));
    }
    for due in &plan.schedule {
        let next = due.next.as_ref().map(|next| format!(", next {}", next.replacen('T', " ", 1))).unwrap_or_default();
        lines.push(format!("due {} (`{}`){next}; nothing starts it yet", due.words, due.schedule));
    }
    lines.extend(plan.success_every.map(|every| format!("a success is due every {every}")));
    lines.extend(plan.policy.iter().map(|rule| format!("policy {}", plain(rule))));
    lines
}

fn details(stage: &StageReport) -> Vec<String> {
    let mut lines = Vec::new();
    if !stage.needs.is_empty() {
        lines.push(format!("after {}", stage.needs.join(", ")));
    }
    lines.extend(stage.condition.as_ref().map(|condition| format!("if {}", plain(condition))));
    if !stage.stream.is_empty() {
        lines.push(format!("one stream: {}", stage.stream.join(" → ")));
    }
    lines.extend(stage.instances.as_ref().map(instances));
    lines.extend(rules(stage));
    lines.extend(stage.with.iter().map(|(key, value)| format!("{key}: {}", short(value))));
    if let Some(found) = &stage.reads {
        let least = if found.cut_short { "at least " } else { "" };
        let files = if found.files == 1 { "1 file".to_owned() } else { format!("{} files", found.files) };
        lines.push(format!("reads {least}{files}, {}", human_bytes(found.bytes as f64)));
        if found.cut_short {
            lines.push("the count was cut short: there is more than a few seconds can count".to_owned());
        }
        if found.unreadable > 0 {
            lines.push(format!("{} of its entries cannot be read", found.unreadable));
        }
        let missing = found.missing.iter().map(|path| plain(&path.to_string_lossy()));
        lines.extend(missing.map(|path| format!("the source `{path}` is missing: this stage would fail")));
    }
    lines.extend(stage.would_fail.iter().map(|why| format!("this stage would fail: {}", plain(why))));
    for write in &stage.writes {
        let instance = write.instance.as_ref().map(|instance| format!(" ({})", plain(instance))).unwrap_or_default();
        let overwrite = match &write.overwrite {
            Json::Bool(false) => "",
            Json::Bool(true) => ", in place of what is there",
            _ => ", perhaps in place of what is there",
        };
        let lock = write.lock.as_ref().map(|lock| format!(", locked: {} from its delivery", plain(lock)));
        let (store, uri) = (plain(&write.store), plain(&write.uri));
        lines.push(format!("writes{instance} {uri} to {store}{overwrite}{}", lock.unwrap_or_default()));
    }
    let unknown = stage.unknown.iter().map(|one| format!("{} is known {}", plain(&one.expression), one.known));
    lines.extend(unknown);
    lines
}

fn instances(instances: &Instances) -> String {
    let mut text = match (&instances.labels, &instances.known) {
        (Some(labels), _) => {
            let all: Vec<String> = labels.iter().map(|label| plain(label)).collect();
            format!("{} instances: {}", all.len(), all.join("; "))
        }
        (None, known) => format!("instances known {}", known.as_deref().unwrap_or_default()),
    };
    if let Some(most) = instances.max_parallel {
        text.push_str(&format!("; at most {most} at the same time"));
    }
    if instances.fail_fast {
        text.push_str("; the first failure ends the others");
    }
    text
}

/// Retries, time limits and other rules of a stage that are not the defaults.
fn rules(stage: &StageReport) -> Vec<String> {
    let mut lines = Vec::new();
    if stage.retry.attempts > 1 {
        let retry = &stage.retry;
        lines.push(format!(
            "up to {} attempts, after {}, then {} times as long each time, at most {}",
            retry.attempts, retry.delay, retry.factor, retry.max_delay
        ));
    }
    lines.extend(stage.timeout.map(|time| format!("time limit of an attempt {time}")));
    match json_word(&stage.on_warning) {
        word if word == "warn" => {}
        word => lines.push(format!("on a warning: {word}")),
    }
    if stage.continue_on_error {
        lines.push("a failure counts as a warning".to_owned());
    }
    lines
}

fn json_word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn short(value: &Json) -> String {
    let text = match value {
        Json::String(text) => plain_lines(text).trim_end().replace('\n', "\n        "),
        Json::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(" "),
        other => plain(&other.to_string()),
    };
    if text.is_empty() { "\"\"".to_owned() } else { text }
}
