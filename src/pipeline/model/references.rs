//! What the expressions in a text or in settings refer to.

use serde_json::Value as Json;

use crate::expression::{Expression, Part, Template};

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
    match expression.paths().as_slice() {
        [path] => match path.as_slice() {
            [needs, stage, outputs, artifact] if needs == "needs" && outputs == "outputs" && artifact == "artifact" => {
                Some(stage.clone())
            }
            _ => None,
        },
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
