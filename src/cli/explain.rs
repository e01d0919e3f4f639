use clap::Args;
use serde_json::{Value as Json, json};

use super::done::Done;
use crate::diagnostic::{Diagnostic, ExitCode, codes};
use crate::explain::{all, find, parse_code};
use crate::expression::did_you_mean;
use crate::report::{Output, render_explanation};
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The code, such as `TL0207`.
    #[arg(required_unless_present = "list")]
    pub(super) code: Option<String>,
    /// List every code with its title.
    #[arg(long, conflicts_with = "code")]
    pub(super) list: bool,
    /// Print as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn explain(command: &Explain, output: &mut Output) -> Done {
    let Some(word) = &command.code else {
        return list(command.json, output);
    };
    let explanation = find(word).ok_or_else(|| vec![unknown(word)])?;
    if command.json {
        output.json(explanation)?;
    } else {
        output.text(&render_explanation(explanation, output.style()));
    }
    Ok(ExitCode::Success)
}

fn list(json: bool, output: &mut Output) -> Done {
    if json {
        let codes: Vec<Json> = all().iter().map(|about| json!({ "code": about.code, "title": about.title })).collect();
        output.json(&json!({ "codes": codes }))?;
    } else {
        output.text(&all().iter().map(|about| format!("{}: {}\n", about.code, about.title)).collect::<String>());
    }
    Ok(ExitCode::Success)
}

fn unknown(word: &str) -> Diagnostic {
    let meant = parse_code(word).unwrap_or_else(|| word.to_owned());
    let known: Vec<String> = all().iter().map(|explanation| explanation.code.to_string()).collect();
    let help = match did_you_mean(&meant, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? `tl explain --list` lists every code"),
        None => "`tl explain --list` lists every code".to_owned(),
    };
    Diagnostic::usage(codes::TL0720, format!("there is no code `{meant}`")).help(help)
}
