//! The JSON Schema of a pipeline file, derived from the structs that run.
//!
//! Draft 7. Kinds are told apart by `if`/`then` on `uses` and `from`, never by `oneOf` or `anyOf`: the errors of those name
//! no key, and editors cannot complete by them.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json, json};

use crate::pipeline::model::Pipeline;
use crate::value::{Kind, schema_of};
use crate::{channels, stages, storage, vault};

/// A pattern that matches a text with an expression.
const EXPRESSION: &str = r"\$\{\{";

/// The beginning of the pattern of a duration.
pub(super) const DURATION: &str = "^[0-9]+(ms";
/// The beginning of the pattern of a duration above zero.
pub(super) const POSITIVE: &str = "^0*[1-9][0-9]*(ms";
/// The beginning of the pattern of a recipient.
pub(super) const RECIPIENT: &str = "^age1";

/// The schema of every file.
pub(in crate::pipeline) static SCHEMA: LazyLock<Json> = LazyLock::new(pipeline_schema);

/// The schema of a whole file.
pub fn pipeline_schema() -> Json {
    let mut root = schema_of::<Pipeline>();
    let mut shared = Map::new();
    let definitions = &mut root["definitions"];

    let sources = branches("from", vault::SOURCES.iter().map(named), &mut shared, with_from);
    definitions["SecretSource"] = json!({
        "description": "Where a secret comes from.",
        "type": "object",
        "properties": { "from": { "description": "The kind of source.", "enum": names(vault::SOURCES) } },
        "required": ["from"],
        "allOf": sources,
    });
    for (name, about, kinds) in [
        (
            "Store",
            "A place that holds objects.",
            branches("uses", storage::KINDS.iter().map(named), &mut shared, in_with),
        ),
        (
            "Channel",
            "A way to tell somebody.",
            branches("uses", channels::KINDS.iter().map(named), &mut shared, in_with),
        ),
    ] {
        let known = if name == "Store" { names(storage::KINDS) } else { names(channels::KINDS) };
        definitions[name] = json!({
            "description": about,
            "type": "object",
            "properties": {
                "uses": { "description": "Its kind.", "enum": known },
                "with": { "description": "Its settings.", "type": "object" },
            },
            "required": ["uses"],
            "additionalProperties": false,
            "allOf": kinds,
        });
    }
    if let Some(definitions) = definitions.as_object_mut() {
        definitions.remove("StoreOrChannel");
    }
    let mut kinds =
        branches("uses", stages::KINDS.iter().map(|k| (k.name, (k.schema)().clone())), &mut shared, in_with);
    kinds.push(json!({
        "if": { "required": ["uses"] },
        "then": { "properties": { "run": false, "shell": false, "outputs": false } },
        "else": { "required": ["run"], "properties": { "with": false } },
    }));
    let stage = &mut definitions["Stage"];
    stage["properties"]["uses"] = json!({
        "description": "The kind of stage.",
        "enum": stages::KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>(),
    });
    stage["properties"]["with"] = json!({ "description": "The settings of that kind.", "type": "object" });
    stage["allOf"] = kinds.into();

    if let Some(definitions) = root["definitions"].as_object_mut() {
        definitions.extend(shared);
    }
    name_keys(&mut root);
    allow_start_expressions(&mut root);
    tidy(&mut root);
    allow_extensions(&mut root);
    let mut whole =
        json!({ "$schema": "http://json-schema.org/draft-07/schema#", "title": "TimeLocker pipeline, version 1" });
    if let (Some(whole), Json::Object(root)) = (whole.as_object_mut(), root) {
        whole.extend(root.into_iter().filter(|(key, _)| key != "title"));
    }
    whole
}

/// The schema of the `with` of one kind of stage, and of its outputs.
pub fn stage_schema(kind: &stages::StageKind) -> Json {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": kind.name,
        "description": format!("`{}` {}.", kind.name, kind.about),
        "properties": { "with": (kind.schema)(), "outputs": (kind.outputs)() },
    });
    name_values(&mut schema);
    schema
}

/// The keys that a pipeline or a stage may have.
pub(super) fn keys_of(what: &str) -> impl Iterator<Item = &'static String> {
    let schema = if what == "stage" { &SCHEMA["definitions"]["Stage"] } else { &*SCHEMA };
    schema["properties"].as_object().into_iter().flat_map(Map::keys)
}

/// The schema behind a reference, or the only branch that is not `null`.
pub(in crate::pipeline) fn follow<'s>(schema: &'s Json, definitions: &'s Json) -> &'s Json {
    if let Some(target) = schema["$ref"].as_str() {
        return follow(&definitions[target.rsplit('/').next().unwrap_or_default()], definitions);
    }
    let branches = schema["allOf"].as_array().or_else(|| schema["anyOf"].as_array());
    let is_other = |branch: &&Json| branch["type"] != "null" && branch.get("if").is_none();
    let mut others = branches.into_iter().flatten().filter(is_other);
    match (others.next(), others.next()) {
        (Some(only), None) => follow(only, definitions),
        _ => schema,
    }
}

fn names<T: ?Sized>(kinds: &[Kind<T>]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.name).collect()
}

fn named<T: ?Sized>(kind: &Kind<T>) -> (&'static str, Json) {
    (kind.name, (kind.schema)().clone())
}

/// Puts the settings of a source beside `from`. They hold no expressions: secrets are read before anything else.
fn with_from(mut schema: Json) -> Json {
    let mut properties = Map::from_iter([("from".to_owned(), json!({}))]);
    if let Some(Json::Object(settings)) = schema.get_mut("properties") {
        properties.append(settings);
    }
    schema["properties"] = properties.into();
    schema
}

/// Puts the settings of a store, a channel or a stage below `with`. `with` may be left out if no key is required.
fn in_with(mut schema: Json) -> Json {
    allow_expressions(&mut schema);
    let needed = schema["required"].as_array().is_some_and(|keys| !keys.is_empty());
    let required: &[&str] = if needed { &["with"] } else { &[] };
    json!({ "properties": { "with": schema }, "required": required })
}

/// One `if`/`then` for each kind. Definitions of the kinds go into `shared`, prefixed with the name of their kind.
fn branches(
    key: &str,
    kinds: impl Iterator<Item = (&'static str, Json)>,
    shared: &mut Map<String, Json>,
    place: impl Fn(Json) -> Json,
) -> Vec<Json> {
    kinds
        .map(|(name, mut schema)| {
            if let Some(Json::Object(definitions)) = schema.as_object_mut().and_then(|map| map.remove("definitions")) {
                for (definition, mut body) in definitions {
                    prefix_references(&mut body, name);
                    allow_expressions(&mut body);
                    shared.insert(format!("{name}.{definition}"), body);
                }
            }
            prefix_references(&mut schema, name);
            if let Some(map) = schema.as_object_mut() {
                map.remove("title");
            }
            json!({ "if": { "properties": { key: { "const": name } }, "required": [key] }, "then": place(schema) })
        })
        .collect()
}

fn prefix_references(schema: &mut Json, kind: &str) {
    match schema {
        Json::Object(map) => {
            if let Some(Json::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/definitions/")
            {
                *target = format!("#/definitions/{kind}.{name}");
            }
            map.values_mut().for_each(|value| prefix_references(value, kind));
        }
        Json::Array(items) => items.iter_mut().for_each(|value| prefix_references(value, kind)),
        _ => {}
    }
}

/// Lets each setting be an expression instead of its type. The static checks compare the type of the expression.
fn allow_expressions(schema: &mut Json) {
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        for field in properties.values_mut() {
            or_expression(field);
        }
    }
}

/// The same for the settings that are resolved when a run starts.
fn allow_start_expressions(root: &mut Json) {
    let fields: &[(&str, &[&str])] = &[
        ("", &["timeout", "max-parallel"]),
        ("Concurrency", &["group", "if-busy", "wait"]),
        ("Defaults", &["timeout", "on-warning"]),
        ("Retry", &["attempts", "delay", "factor", "max-delay"]),
        ("Stage", &["timeout", "continue-on-error", "on-warning"]),
        ("Strategy", &["fail-fast", "max-parallel"]),
    ];
    for (definition, keys) in fields {
        let map = if definition.is_empty() { &mut *root } else { &mut root["definitions"][definition] };
        for key in *keys {
            or_expression(&mut map["properties"][key]);
        }
    }
    let matrix = &mut root["definitions"]["Strategy"]["properties"]["matrix"];
    or_expression(&mut matrix["additionalProperties"]);
}

/// Allows keys `x-…` in every map of the language. The program removes them before validation; editors do not.
fn allow_extensions(root: &mut Json) {
    let closed = |map: &Json| map["additionalProperties"] == false && map["properties"].is_object();
    let own = json!({ "^x-": true });
    if closed(root) {
        root["patternProperties"] = own.clone();
    }
    for (name, definition) in root["definitions"].as_object_mut().into_iter().flatten() {
        // Definitions with a dot in their names belong to the settings of a kind, not to the language.
        if closed(definition) && !name.contains('.') {
            definition["patternProperties"] = own.clone();
        }
    }
}

fn or_expression(field: &mut Json) {
    let Some(map) = field.as_object_mut() else { return };
    if let Some(items) = map.get_mut("items") {
        or_expression(items);
    }
    let mut outside = Map::new();
    for key in ["description", "default"] {
        outside.extend(map.remove_entry(key));
    }
    if map.get("x-tl-type") == Some(&json!("artifact")) {
        // An artifact has no literal form.
        map.insert("pattern".to_owned(), EXPRESSION.into());
        map.extend(outside);
        return;
    }
    let inner = Json::Object(std::mem::take(map));
    outside.insert("if".to_owned(), json!({ "type": "string", "pattern": EXPRESSION }));
    outside.insert("then".to_owned(), json!(true));
    outside.insert("else".to_owned(), inner);
    *map = outside;
}

/// The maps whose keys are names. With `propertyNames` a wrong name is reported as such; a pattern would only report an
/// unknown key.
fn name_keys(root: &mut Json) {
    let mut name = schema_of::<crate::value::Name>();
    if let Some(name) = name.as_object_mut() {
        name.retain(|key, _| matches!(key.as_str(), "pattern" | "maxLength" | "not"));
    }
    for (place, definition) in [
        ("inputs", "Input"),
        ("secrets", "SecretSource"),
        ("stores", "Store"),
        ("channels", "Channel"),
        ("stages", "Stage"),
        ("finally", "Stage"),
    ] {
        let map = &mut root["properties"][place];
        map["propertyNames"] = name.clone();
        map["additionalProperties"] = json!({ "$ref": format!("#/definitions/{definition}") });
        if let Some(map) = map.as_object_mut() {
            map.remove("patternProperties");
        }
    }
    root["properties"]["stages"]["minProperties"] = 1.into();
    root["definitions"]["Strategy"]["properties"]["matrix"]["propertyNames"] = name.clone();
    let declared = &mut root["definitions"]["Stage"]["properties"]["outputs"];
    declared["propertyNames"] = name;
    declared["additionalProperties"] = json!({ "$ref": "#/definitions/OutputType" });
    if let Some(declared) = declared.as_object_mut() {
        declared.remove("patternProperties");
    }
    root["definitions"]["Stage"]["properties"]["env"]["propertyNames"] = json!({ "pattern": "^[A-Z_][A-Z0-9_]*$" });
}

/// Rewrites what `schemars` gives into the form that editors and validators read best.
fn tidy(schema: &mut Json) {
    forbid_null(schema);
    name_values(schema);
}

/// Refuses `null`. A key without a value is more often a mistake than a wish, and a key can be left out.
fn forbid_null(schema: &mut Json) {
    if let Some(map) = schema.as_object_mut() {
        if let Some(Json::Array(types)) = map.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                map.insert("type".to_owned(), only);
            }
        }
        if let Some(Json::Array(branches)) = map.get_mut("anyOf") {
            branches.retain(|branch| branch["type"] != "null");
            if let [only] = branches.as_slice() {
                let only = only.clone();
                map.remove("anyOf");
                map.insert("allOf".to_owned(), json!([only]));
            }
        }
    }
    below(schema, forbid_null);
}

/// Turns a `oneOf` of words into an `enum`, whose error lists the words. `schemars` writes `oneOf` if the words have
/// descriptions.
fn name_values(schema: &mut Json) {
    if let Some(map) = schema.as_object_mut()
        && let Some(branches) = map.get("oneOf").and_then(Json::as_array)
        && branches.iter().all(|branch| branch["const"].is_string())
    {
        let each = |key: &str| branches.iter().map(|branch| branch[key].clone()).collect::<Json>();
        let (values, about) = (each("const"), each("description"));
        map.remove("oneOf");
        map.insert("enum".to_owned(), values);
        // Not in the standard, but editors show it.
        map.insert("enumDescriptions".to_owned(), about);
    }
    below(schema, name_values);
}

fn below(schema: &mut Json, change: fn(&mut Json)) {
    match schema {
        Json::Object(map) => map.values_mut().for_each(change),
        Json::Array(items) => items.iter_mut().for_each(change),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_it_says_nothing() {
        let text = pipeline_schema().to_string();
        assert!(!text.contains("\"oneOf\"") && !text.contains("\"anyOf\""), "{text}");
    }

    #[test]
    fn the_schema_is_one() {
        let built = jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&pipeline_schema());
        assert!(built.is_ok(), "{built:?}");
        assert!(jsonschema::meta::is_valid(&pipeline_schema()));
    }
}
