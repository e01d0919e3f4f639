use serde_json::Value as Json;

use super::{Style, plain, plain_lines};
use crate::run::PlanReport;

/// A plan as people read it.
pub fn render_plan(plan: &PlanReport, style: Style) -> String {
    let mut text = format!("{} ({})\n", plan.pipeline, plain(&plan.file));
    for (name, value) in &plan.inputs {
        text.push_str(&format!("input {name} = {}\n", short(value)));
    }
    for secret in &plan.secrets {
        text.push_str(&format!("secret {secret}\n"));
    }
    for (number, step) in plan.steps.iter().enumerate() {
        text.push_str(&format!("\nstep {}\n", number + 1));
        for stage in step {
            let name = style.green(&stage.name);
            let last = if stage.finally { " (finally, whatever happened)" } else { "" };
            text.push_str(&format!("  {name} ({}): {}{last}\n", stage.kind, stage.about));
            if !stage.needs.is_empty() {
                text.push_str(&format!("      after {}\n", stage.needs.join(", ")));
            }
            if let Some(condition) = &stage.condition {
                text.push_str(&format!("      if {}\n", plain(condition)));
            }
            if !stage.stream.is_empty() {
                text.push_str(&format!("      one stream: {}\n", stage.stream.join(" → ")));
            }
            for (key, value) in &stage.with {
                text.push_str(&format!("      {key}: {}\n", short(value)));
            }
        }
    }
    text
}

fn short(value: &Json) -> String {
    let text = match value {
        Json::String(text) => plain_lines(text).trim_end().replace('\n', "\n        "),
        Json::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    if text.is_empty() { "\"\"".to_owned() } else { text }
}
