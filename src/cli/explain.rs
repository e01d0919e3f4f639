use serde_json::{Value as Json, json};

use super::Done;
use super::arguments::Explain;
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::explain::{all, find, spelled};
use crate::expression::did_you_mean;
use crate::report::{Output, render_explanation};

pub(super) fn explain(command: &Explain, output: &mut Output) -> Done {
    let Some(word) = &command.code else {
        list(command.json, output);
        return Ok(ExitCode::Success);
    };
    let explanation = find(word).ok_or_else(|| vec![unknown(word)])?;
    if command.json {
        output.json(&serde_json::to_value(explanation).unwrap_or(Json::Null));
    } else {
        output.text(&render_explanation(explanation, output.style()));
    }
    Ok(ExitCode::Success)
}

fn list(json: bool, output: &mut Output) {
    if json {
        let codes: Vec<Json> = all().iter().map(|about| json!({ "code": about.code, "title": about.title })).collect();
        output.json(&json!({ "codes": codes }));
    } else {
        output.text(&all().iter().map(|about| format!("{}: {}\n", about.code, about.title)).collect::<String>());
    }
}

fn unknown(word: &str) -> Diagnostic {
    let meant = spelled(word).unwrap_or_else(|| word.to_owned());
    let known: Vec<String> = all().iter().map(|explanation| explanation.code.to_string()).collect();
    let help = match did_you_mean(&meant, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? `tl explain --list` lists every code"),
        None => "`tl explain --list` lists every code".to_owned(),
    };
    Diagnostic::usage(codes::TL0720, format!("there is no code `{meant}`")).help(help)
}
