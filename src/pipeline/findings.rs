//! The errors of the JSON Schema, as people want to read them.

use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind as Wrong};
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value as Json;

use super::document::Document;
use super::events::escape;
use super::not_built::{is_key_to_come, is_value_to_come, own_word};
use super::schema::pipeline_schema;
use crate::diagnostic::Diagnostic;
use crate::expression::{Template, did_you_mean};

static SCHEMA: LazyLock<Json> = LazyLock::new(pipeline_schema);
static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    jsonschema::options()
        .with_draft(Draft::Draft7)
        .build(&SCHEMA)
        .expect("a test reads the schema that the structs give")
});

/// All that the schema finds wrong.
pub(super) fn findings(document: &Document) -> Vec<Diagnostic> {
    let reader = Reader { document };
    VALIDATOR.iter_errors(document.value()).flat_map(|error| reader.read(&error)).collect()
}

struct Reader<'a> {
    document: &'a Document,
}

impl Reader<'_> {
    fn read(&self, error: &ValidationError<'_>) -> Vec<Diagnostic> {
        let at = error.instance_path().as_str();
        let value = error.instance();
        let place = || self.document.at_value(at);
        let key = at.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let diagnostic = match error.kind() {
            Wrong::AdditionalProperties { unexpected } => {
                let known = known_keys(error);
                return unexpected.iter().map(|key| self.unknown_key(at, key, &known)).collect();
            }
            Wrong::PropertyNames { error } => return vec![self.bad_name(at, error)],
            Wrong::FalseSchema => return vec![self.excluded(at, &key)],
            Wrong::Required { property } => self.missing(at, property.as_str().unwrap_or_default()),
            Wrong::Type { kind } => wrong_type(kind, &key, value),
            Wrong::Enum { options } => Self::not_one_of(at, &key, value, options),
            Wrong::Constant { expected_value } => {
                Diagnostic::usage("TL0203", format!("`{key}` must be {expected_value}, not {}", short(value)))
            }
            Wrong::Pattern { pattern } => bad_form(&key, value, pattern),
            Wrong::MinItems { .. } | Wrong::MinLength { .. } => {
                Diagnostic::usage("TL0206", format!("`{key}` must not be empty"))
            }
            Wrong::MinProperties { .. } if at.ends_with("/with") => self.one_of_two(at),
            Wrong::MinProperties { .. } => Diagnostic::usage("TL0206", format!("`{key}` must not be empty")),
            Wrong::Minimum { limit } => Diagnostic::usage("TL0206", format!("`{key}` must be at least {limit}")),
            Wrong::Maximum { limit } => Diagnostic::usage("TL0206", format!("`{key}` must be at most {limit}")),
            _ => Diagnostic::usage("TL0203", format!("`{key}` does not fit: {}", error.masked())),
        };
        vec![if diagnostic.place.is_some() { diagnostic } else { diagnostic.at(place()) }]
    }

    /// What the map at a pointer is, in the words of the tables of `not_built`.
    fn what(&self, at: &str) -> String {
        let parts: Vec<&str> = at.split('/').skip(1).collect();
        match parts.as_slice() {
            [] => "pipeline".to_owned(),
            ["stages" | "finally", _] => "stage".to_owned(),
            ["stores" | "channels" | "stages" | "finally", _, "with", ..] => {
                let uses = self.document.value().pointer(&format!("/{}/{}/uses", parts[0], parts[1]));
                uses.and_then(Json::as_str).unwrap_or_default().to_owned()
            }
            [section, _] => section.trim_end_matches('s').to_owned(),
            [.., last] => (*last).to_owned(),
        }
    }

    fn unknown_key(&self, at: &str, key: &str, known: &[String]) -> Diagnostic {
        let what = self.what(at);
        let place = self.document.at_key(&format!("{at}/{}", escape(key)));
        if is_key_to_come(&what, key) {
            return Diagnostic::usage("TL0103", format!("`{key}` is not built yet"))
                .at(place)
                .help("remove it: this version would not do what it says");
        }
        let whose = match what.as_str() {
            "pipeline" | "stage" => format!("a {what}"),
            _ => format!("`{what}`"),
        };
        let diagnostic = Diagnostic::usage("TL0207", format!("unknown key `{key}` for {whose}")).at(place);
        let known = || known.iter().map(String::as_str);
        let near = own_word(&what, key).or_else(|| did_you_mean(key, known()));
        let diagnostic = match near {
            Some(near) if is_key_to_come(&what, near) => {
                return diagnostic.label(format!("`{near}` in later versions")).help("remove it");
            }
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None => diagnostic,
        };
        if crate::stages::find(&what).is_some() {
            diagnostic.help(format!("`tl schema --stage {what}` lists every key"))
        } else {
            let known: Vec<String> = known().map(|key| format!("`{key}`")).collect();
            diagnostic.help(format!("keys of {whose}: {}", known.join(", ")))
        }
    }

    fn bad_name(&self, at: &str, error: &ValidationError<'_>) -> Diagnostic {
        let name = error.instance().as_str().unwrap_or_default().to_owned();
        let place = self.document.at_key(&format!("{at}/{}", escape(&name)));
        if at.ends_with("/env") {
            return Diagnostic::usage("TL0204", format!("`{name}` cannot name an environment variable"))
                .at(place)
                .help("names are capital letters, digits and `_`");
        }
        let diagnostic = match name.parse::<crate::value::Name>() {
            Err(error) => Diagnostic::usage("TL0204", error.to_string()),
            Ok(_) => Diagnostic::usage("TL0204", format!("`{name}` cannot be a name here")),
        };
        let fixed = name.to_lowercase().replace(['-', '.', ' '], "_");
        let diagnostic = diagnostic.at(place);
        match fixed.parse::<crate::value::Name>() {
            Ok(fixed) => diagnostic.label(format!("`{fixed}` would do")),
            Err(_) => diagnostic,
        }
    }

    /// Keys that exclude each other.
    fn excluded(&self, at: &str, key: &str) -> Diagnostic {
        let message = match key {
            "with" => "`with` goes with `uses`; a `run` has no settings".to_owned(),
            _ => format!("`{key}` goes with `run`, not with `uses`"),
        };
        Diagnostic::usage("TL0209", message)
            .at(self.document.at_key(at))
            .help("a stage either uses a kind (`uses`, `with`) or runs a program (`run`)")
    }

    fn missing(&self, at: &str, key: &str) -> Diagnostic {
        let what = self.what(at);
        if what == "stage" && key == "run" {
            return Diagnostic::usage("TL0202", "a stage needs `uses` or `run`").at(self.document.at_key(at));
        }
        let whose =
            if matches!(what.as_str(), "pipeline" | "stage") { format!("a {what}") } else { format!("`{what}`") };
        let diagnostic =
            Diagnostic::usage("TL0202", format!("`{key}` is missing for {whose}")).at(self.document.at_key(at));
        match (key, crate::stages::find(&what)) {
            ("version", _) => diagnostic.help("write `version: 1` as the first line"),
            (_, Some(kind)) => diagnostic.help(format!("`tl schema --stage {}` lists every key", kind.name)),
            _ => diagnostic,
        }
    }

    /// `encrypt` and `decrypt` want one of two keys beside the artifact.
    fn one_of_two(&self, at: &str) -> Diagnostic {
        let keys = if self.what(at) == "encrypt" {
            "`recipients` or `recipients-file`"
        } else {
            "`identity` or `identity-file`"
        };
        Diagnostic::usage("TL0202", format!("`{}` needs {keys}", self.what(at))).at(self.document.at_key(at))
    }

    fn not_one_of(at: &str, key: &str, value: &Json, options: &Json) -> Diagnostic {
        let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let word = value.as_str().unwrap_or_default();
        let section = at.split('/').nth(1).unwrap_or_default();
        let what = match (section, key) {
            ("stages" | "finally", "uses") => "stage",
            ("stores", "uses") => "store",
            ("channels", "uses") => "channel",
            ("secrets", "from") => "secret",
            ("notify", _) => "when",
            (_, key) => key,
        };
        if is_value_to_come(what, word) {
            return Diagnostic::usage("TL0104", format!("`{word}` is not built yet"))
                .help(format!("built are {}", list(&options)));
        }
        let diagnostic = if matches!(key, "uses" | "from") {
            Diagnostic::usage("TL0208", format!("there is no kind `{word}` of {what}"))
        } else {
            Diagnostic::usage("TL0203", format!("{} is not a value of `{what}`", short(value)))
        };
        let diagnostic = diagnostic.help(format!("it may be {}", list(&options)));
        match did_you_mean(word, options) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None => diagnostic,
        }
    }
}

/// The keys that the schema knows beside the one it refused.
fn known_keys(error: &ValidationError<'_>) -> Vec<String> {
    let mut node = &*SCHEMA;
    let path = error.evaluation_path().as_str().to_owned();
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    parts.pop();
    for part in parts {
        if part == "$ref" {
            let name = node["$ref"].as_str().and_then(|target| target.rsplit('/').next()).unwrap_or_default();
            node = &SCHEMA["definitions"][name];
            continue;
        }
        node = match part.parse::<usize>() {
            Ok(index) if node.is_array() => &node[index],
            _ => &node[part],
        };
    }
    node["properties"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

fn wrong_type(kind: &TypeKind, key: &str, value: &Json) -> Diagnostic {
    let wanted = match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or "),
    };
    let words = [("object", "a map"), ("array", "a list"), ("string", "a text"), ("integer", "a whole number")];
    let words = words.iter().fold(wanted, |text, (from, to)| text.replace(from, to));
    let words = words.replace("boolean", "true or false").replace("null", "nothing");
    let words = if words == "number" { "a number".to_owned() } else { words };
    let diagnostic = Diagnostic::usage("TL0201", format!("`{key}` must be {words}, not {}", short(value)));
    match value {
        Json::String(text) if Template::is_in(text) => {
            Diagnostic::usage("TL0307", format!("an expression cannot stand in `{key}`"))
                .help("expressions stand in `with`, `env`, `if` and the arguments of `run`")
        }
        Json::Number(_) | Json::Bool(_) if words.contains("text") => diagnostic.help("put it in quotes"),
        Json::Null => diagnostic.help("give it a value, or remove the key"),
        _ => diagnostic,
    }
}

fn bad_form(key: &str, value: &Json, pattern: &str) -> Diagnostic {
    let text = value.as_str().unwrap_or_default();
    if Template::is_in(text) {
        return Diagnostic::usage("TL0307", format!("an expression cannot stand in `{key}`"))
            .help("expressions stand in `with`, `env`, `if` and the arguments of `run`");
    }
    match pattern {
        p if p.starts_with("^[0-9]+(ms") => Diagnostic::usage("TL0205", format!("{} is not a duration", short(value)))
            .help("a whole number and one of ms, s, m, h, d: `90s`, `30m`, `2h`, `7d`"),
        p if p.starts_with("^age1") => Diagnostic::usage("TL0205", format!("{} is not a recipient", short(value)))
            .help("recipients are `age1` and 58 more characters; `tl key show IDENTITY-FILE` prints them"),
        p if p.contains(r"\$\{\{") => Diagnostic::usage("TL0303", format!("`{key}` must be an artifact"))
            .help("give it the output of a stage: `${{ needs.STAGE.outputs.artifact }}`"),
        _ if key == "name" => match text.parse::<crate::value::Name>() {
            Err(error) => Diagnostic::usage("TL0204", error.to_string()),
            Ok(_) => Diagnostic::usage("TL0204", format!("`{text}` is not a name")),
        },
        _ => Diagnostic::usage("TL0205", format!("{} is not what `{key}` can be", short(value))),
    }
}

/// A value for a message.
fn short(value: &Json) -> String {
    match value {
        Json::Null => "nothing".to_owned(),
        Json::Object(_) => "a map".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::String(text) if text.chars().count() > 40 => {
            format!("`{}…`", text.chars().take(40).collect::<String>().escape_debug())
        }
        Json::String(text) => format!("`{}`", text.escape_debug()),
        other => format!("`{other}`"),
    }
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
