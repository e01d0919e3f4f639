//! Why a stage would fail, as far as that is known before a run.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::report::Write;
use crate::diagnostic::{Code, codes};
use crate::expression::{Template, Values, evaluate};
use crate::graph::Planned;
use crate::open::{Loaded, base_of};
use crate::pipeline::{Run, expressions_in, resolve_argument};
use crate::stages::{self, Findings};
use crate::value::ObjectKey;

/// The files that the settings of a stage name and that it would not find or could not use.
pub(super) fn by_files(loaded: &Loaded, planned: &Planned, with: &Json) -> Vec<String> {
    let Some(kind) = planned.stage.kind() else { return Vec::new() };
    let mut found = Findings::default();
    (kind.check_files)(&stages::Known::on_machine(with, base_of(loaded, planned)), &mut found);
    found.into_iter().map(|found| found.problem.one_line()).collect()
}

/// The expressions that have no value, and the arguments that a program would take for an option.
pub(super) fn by_values(planned: &Planned, settings: &Json, values: &Values) -> Vec<String> {
    // Variables of `env` may be unknown although `env` is there.
    let is_known = |expression: &_| values.know(expression) && !expression.roots().iter().any(|root| root == "env");
    let known = expressions_in(settings).into_iter().filter(&is_known);
    let failed = known.filter_map(|expression| evaluate(&expression, values).err());
    let is_whole = |text: &&String| Template::parse(text).is_ok_and(|template| template.expressions().all(&is_known));
    let argv = match &planned.stage.run {
        Some(Run::Argv(argv)) => argv.iter(),
        _ => [].iter(),
    };
    let arguments = argv.filter(is_whole).filter_map(|text| resolve_argument(text, values).err());
    let all: BTreeSet<(Code, String)> = failed.chain(arguments).map(|error| (error.code, error.message)).collect();
    all.into_iter().map(|(code, message)| format!("{code}: {message}")).collect()
}

/// The keys that are none, and those that two instances deliver to.
pub(super) fn by_keys(writes: &[(Write, String)]) -> Vec<String> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for (write, key) in writes.iter().filter(|(_, key)| !Template::is_in(key)) {
        if let Err(error) = key.parse::<ObjectKey>() {
            found.push(format!("{}: {error}", codes::TL0637));
        } else if !seen.insert((&write.store, &write.uri)) {
            found.push(format!("{}: `{}` is delivered to twice", codes::TL0675, write.uri));
        }
    }
    found
}
