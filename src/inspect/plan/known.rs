//! The values of a stage that are known before the run.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::diagnostic::Result;
use crate::engine::Expansion;
use crate::expression::{Expression, Values};
use crate::graph::Planned;
use crate::open::{Loaded, expand};
use crate::pipeline::{PartialResolver, SecretPlaceholder, expressions_in};
use crate::value::Masker;

/// The values for the settings of a stage, with the variables of its `env` that are known.
pub(super) fn with_env(loaded: &Loaded, planned: &Planned, values: &Values) -> Values {
    let resolver = PartialResolver { document: &loaded.document, values, secrets: SecretPlaceholder::Hidden };
    let mut env = Map::new();
    for (name, raw) in &planned.stage.env {
        let is_secret = expressions_in(raw).iter().any(|expression| expression.roots().iter().any(|r| r == "secrets"));
        let variable = resolver.resolve(raw, &Json::Null, &format!("{}/env/{name}", planned.pointer()));
        if !is_secret && variable.unknown.is_empty() {
            let text = variable.value.as_str().map_or_else(|| variable.value.to_string(), str::to_owned);
            env.insert(name.clone(), text.into());
        }
    }
    values.clone().with("env", Json::Object(env))
}

/// The instances of a stage with a matrix, or the expressions in it that have no value yet. Fails if any run would.
pub(super) fn expansion(
    loaded: &Loaded,
    planned: &Planned,
    values: &Values,
) -> Result<std::result::Result<Expansion, Vec<Expression>>> {
    let matrix = planned.stage.strategy.iter().flat_map(|strategy| {
        let matrix = &strategy.matrix;
        let lists = matrix.axes().map(|(_, list)| list);
        lists.chain(matrix.include()).chain(matrix.exclude()).flat_map(expressions_in)
    });
    let unknown: Vec<Expression> = matrix.filter(|expression| !values.know(expression)).collect();
    if !unknown.is_empty() {
        return Ok(Err(unknown));
    }
    // A plan knows no secret.
    expand(&loaded.document, planned, values, &Masker::default()).map(Ok)
}

/// When expressions get their value, as the end of "known …".
pub(super) fn when(expressions: &[Expression]) -> String {
    let paths: Vec<Vec<String>> = expressions.iter().flat_map(Expression::paths).collect();
    let needs: BTreeSet<String> = paths
        .iter()
        .filter_map(|path| match path.as_slice() {
            [needs, stage, ..] if needs == "needs" => Some(format!("`{stage}`")),
            _ => None,
        })
        .collect();
    let names = |context: &str| paths.iter().any(|path| path.first().is_some_and(|first| first == context));
    match needs.len() {
        0 if names("needs") => "when what it needs has ended".to_owned(),
        0 if names("stages") => "when the other stages have ended".to_owned(),
        0 if names("run") => "when the run starts".to_owned(),
        0 if names("matrix") => "for each instance".to_owned(),
        0 => "when the stage starts".to_owned(),
        1 => format!("when {} has ended", needs.into_iter().collect::<String>()),
        _ => format!("when {} have ended", needs.into_iter().collect::<Vec<_>>().join(" and ")),
    }
}
