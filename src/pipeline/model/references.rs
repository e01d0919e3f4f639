//! What the expressions in a text or in settings refer to.

use serde_json::Value as Json;

use crate::expression::{Expression, Part, Template};
use crate::stages::ARTIFACT;

/// The path of a text that is one expression which only selects, such as `${{ needs.a.outputs.b }}`.
pub(in crate::pipeline) fn whole_path(text: &str) -> Option<Vec<String>> {
    let template = Template::parse(text).ok()?;
    let [Part::Expression(expression)] = template.parts() else { return None };
    let [path] = expression.paths().try_into().ok()?;
    (expression.source() == path.join(".")).then_some(path)
}

/// The stage whose artifact a text passes on.
pub fn artifact_source(text: &str) -> Option<String> {
    let template = Template::parse(text).ok()?;
    let [Part::Expression(expression)] = template.parts() else { return None };
    let [path] = <[Vec<String>; 1]>::try_from(expression.paths()).ok()?;
    output_of(&path).filter(|(_, output)| *output == ARTIFACT).map(|(stage, _)| stage.to_owned())
}

/// The stage and the output that a path such as `needs.a.outputs.b` reads whole.
pub(in crate::pipeline) fn output_of(path: &[String]) -> Option<(&str, &str)> {
    match path {
        [needs, stage, outputs, output] if needs == "needs" && outputs == "outputs" => Some((stage, output)),
        _ => None,
    }
}

/// All expressions in checked settings.
pub fn expressions_in(value: &Json) -> Vec<Expression> {
    match value {
        Json::String(text) if Template::is_in(text) => {
            Template::parse(text).map(|template| template.expressions().cloned().collect()).unwrap_or_default()
        }
        Json::Array(items) => items.iter().flat_map(expressions_in).collect(),
        Json::Object(map) => map.values().flat_map(expressions_in).collect(),
        _ => Vec::new(),
    }
}
