//! Turns the errors of the JSON Schema into findings that people can act on.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind as Wrong;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value as Json;

use super::not_built::{equivalent_value, instead_of, intended_key, is_future_key, is_future_value};
use super::schema::SCHEMA;
use super::sites::is_misplaced;
use super::wording::{Expected, bad_form, bad_name, called, listed, short, suggested_name, wrong_type};
use crate::diagnostic::{Diagnostic, codes};
use crate::expression::did_you_mean;
use crate::pipeline::read::{Document, MAX_FINDINGS, escape};
use crate::value::Kind;
use crate::{channels, stages, storage};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    jsonschema::options()
        .with_draft(Draft::Draft7)
        .build(&SCHEMA)
        .expect("a test reads the schema that the structs give")
});

/// Every error that the schema finds.
pub(in crate::pipeline) fn schema_errors(document: &Document) -> Vec<Diagnostic> {
    schema_errors_in(document, document.value())
}

/// Every error that the schema finds in `value`, which has the shape of the document's value.
pub(in crate::pipeline) fn schema_errors_in(document: &Document, value: &Json) -> Vec<Diagnostic> {
    let errors: Vec<ValidationError<'_>> = VALIDATOR.iter_errors(value).take(MAX_FINDINGS + 1).collect();
    let mut reader = Reader { document, meant: BTreeSet::new() };
    for error in &errors {
        let at = error.instance_path().as_str();
        for key in unknown_keys(document, error).into_iter().take(MAX_FINDINGS) {
            if let Some(meant) = intended_key(&reader.what(at).word, &key, known_keys(error).iter().map(String::as_str))
            {
                reader.meant.insert((at.to_owned(), meant.to_owned()));
            }
        }
    }
    errors.iter().flat_map(|error| reader.read(error)).take(MAX_FINDINGS + 1).collect()
}

struct Reader<'a> {
    document: &'a Document,
    /// The map and the intended key of each misspelt key. Such a key is not reported as missing.
    meant: BTreeSet<(String, String)>,
}

/// What a map of the file stands for.
struct What {
    /// Its word in the tables of `not_built`.
    word: String,
    /// Its name in a message.
    whose: String,
    stage_kind: Option<&'static str>,
}

impl Reader<'_> {
    fn read(&self, error: &ValidationError<'_>) -> Vec<Diagnostic> {
        let at = error.instance_path().as_str();
        let value = error.instance();
        if value.as_str().is_some_and(|text| is_misplaced(at, text)) {
            return Vec::new();
        }
        let unknown = unknown_keys(self.document, error);
        if !unknown.is_empty() {
            let known = known_keys(error);
            return unknown.iter().take(MAX_FINDINGS + 1).map(|key| self.unknown_key(at, key, &known)).collect();
        }
        let expected = Expected::by(schema_of(error));
        let called = called(at);
        let diagnostic = match error.kind() {
            Wrong::PropertyNames { error } => self.bad_key(at, error),
            Wrong::FalseSchema => return self.excluded(at).into_iter().collect(),
            Wrong::Required { property } => {
                return self.missing(at, property.as_str().unwrap_or_default()).into_iter().collect();
            }
            // The static checks report which key is missing.
            Wrong::MinProperties { .. } if at.ends_with("/with") => return Vec::new(),
            // The static checks report why.
            Wrong::Pattern { .. } if expected == Expected::Recipient => return Vec::new(),
            Wrong::Type { kind } => wrong_type(kind, at, value, expected),
            Wrong::Enum { options } => not_one_of(at, value, options),
            Wrong::Pattern { .. } | Wrong::MaxLength { .. } | Wrong::Not { .. } => bad_form(at, value, expected),
            Wrong::MinItems { .. } | Wrong::MinLength { .. } | Wrong::MinProperties { .. } => {
                Diagnostic::usage(codes::TL0206, format!("{called} must not be empty"))
            }
            Wrong::Minimum { limit } => Diagnostic::usage(codes::TL0206, format!("{called} must be at least {limit}")),
            Wrong::Maximum { limit } => Diagnostic::usage(codes::TL0206, format!("{called} must be at most {limit}")),
            _ => Diagnostic::usage(codes::TL0203, format!("{called} does not fit: {}", error.masked())),
        };
        vec![if diagnostic.place.is_some() { diagnostic } else { diagnostic.at(self.document.at_value(at)) }]
    }

    fn what(&self, at: &str) -> What {
        let parts: Vec<&str> = at.split('/').skip(1).collect();
        let (word, whose) = match parts.as_slice() {
            [] => ("pipeline", "a pipeline".to_owned()),
            ["stages" | "finally", _] => ("stage", "a stage".to_owned()),
            ["stores", _] => ("store", "a store".to_owned()),
            ["channels", _] => ("channel", "a channel".to_owned()),
            ["secrets", _] => ("secret", "a secret".to_owned()),
            ["inputs", _] => ("input", "an input".to_owned()),
            ["notify", _] => ("notification", "a notification".to_owned()),
            [section @ ("stores" | "channels" | "stages" | "finally"), name, "with"] => {
                let uses = self.document.value().pointer(&format!("/{section}/{name}/uses"));
                let kind = uses.and_then(Json::as_str).unwrap_or_default();
                let is_stage = matches!(*section, "stages" | "finally");
                let stage_kind = stages::find(kind).filter(|_| is_stage).map(|kind| kind.name);
                return What { word: kind.to_owned(), whose: format!("`{kind}`"), stage_kind };
            }
            [.., last] => (*last, format!("`{last}`")),
        };
        What { word: word.to_owned(), whose, stage_kind: None }
    }

    fn unknown_key(&self, at: &str, key: &str, known: &[String]) -> Diagnostic {
        let What { word, whose, stage_kind } = self.what(at);
        let pointer = format!("{at}/{}", escape(key));
        let place = self.document.at_key(&pointer);
        if is_future_key(&word, key) {
            return Diagnostic::usage(codes::TL0103, format!("`{key}` is not built yet"))
                .at(place)
                .help("remove it: this version would not do what it says");
        }
        let message = format!("unknown key `{}` for {whose}", key.escape_debug());
        let diagnostic = Diagnostic::usage(codes::TL0207, message).at(place);
        if let Some(instead) = instead_of(&word, key) {
            return diagnostic.help(instead);
        }
        let diagnostic = match intended_key(&word, key, known.iter().map(String::as_str)) {
            Some(near) if is_future_key(&word, near) => {
                return diagnostic.label(format!("`{near}` in later versions")).help("remove it");
            }
            // The suggestion is enough here; a list of all keys would add nothing.
            Some(near) if stage_kind.is_none() => return diagnostic.label(format!("did you mean `{near}`?")),
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None if self.is_setting(at, key) => {
                return diagnostic.help("it is a setting of its kind: write it under `with`");
            }
            None => diagnostic,
        };
        match stage_kind {
            Some(kind) => diagnostic.help(format!("`tl schema --stage {kind}` lists every key")),
            None => diagnostic.help(format!("keys of {whose}: {}", listed(known))),
        }
    }

    /// Whether the kind of a store, a channel or a stage has a setting of this name.
    fn is_setting(&self, at: &str, key: &str) -> bool {
        let kind = self.document.value().pointer(&format!("{at}/uses")).and_then(Json::as_str).unwrap_or_default();
        let schema = match at.split('/').nth(1).unwrap_or_default() {
            "stages" | "finally" => stages::find(kind).map(|kind| (kind.schema)()),
            "stores" => Kind::find(storage::KINDS, kind).map(|kind| (kind.schema)()),
            "channels" => Kind::find(channels::KINDS, kind).map(|kind| (kind.schema)()),
            _ => None,
        };
        schema.is_some_and(|schema| schema["properties"].get(key).is_some())
    }

    fn bad_key(&self, at: &str, error: &ValidationError<'_>) -> Diagnostic {
        let name = error.instance().as_str().unwrap_or_default();
        let place = self.document.at_key(&format!("{at}/{}", escape(name)));
        let (diagnostic, suggestion) = if at.ends_with("/env") {
            let upper = name.to_uppercase().replace(['-', '.', ' '], "_");
            let is_name = upper.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
                && upper.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            let message = format!("`{}` cannot name a variable", name.escape_debug());
            let diagnostic = Diagnostic::usage(codes::TL0204, message);
            (diagnostic.help("names of variables are capital letters, digits and `_`"), is_name.then_some(upper))
        } else {
            (bad_name(name), suggested_name(name).map(String::from))
        };
        let diagnostic = diagnostic.at(place);
        match suggestion {
            Some(fixed) => diagnostic.label(format!("`{fixed}` would do")),
            None => diagnostic,
        }
    }

    /// The error for keys that exclude each other.
    fn excluded(&self, at: &str) -> Option<Diagnostic> {
        let (stage, key) = at.rsplit_once('/').unwrap_or_default();
        let stage = self.document.value().pointer(stage)?;
        let message = match key {
            // The missing `uses` or `run` is reported already.
            "with" if stage.get("run").is_none() => return None,
            "with" => "`with` goes with `uses`; a `run` has no settings".to_owned(),
            "run" => "a stage has either `uses` or `run`, not both".to_owned(),
            _ => format!("`{key}` goes with `run`, not with `uses`"),
        };
        let help = "a stage either uses a kind (`uses`, `with`) or runs a program (`run`)";
        Some(Diagnostic::usage(codes::TL0209, message).at(self.document.at_key(at)).help(help))
    }

    fn missing(&self, at: &str, key: &str) -> Option<Diagnostic> {
        let is_meant = |key: &str| self.meant.contains(&(at.to_owned(), key.to_owned()));
        let What { word, whose, stage_kind } = self.what(at);
        let place = self.document.at_key(at);
        if word == "stage" && key == "run" {
            let has_steps = self.document.value().pointer(at).is_some_and(|stage| stage.get("steps").is_some());
            if is_meant("run") || is_meant("uses") || has_steps {
                return None;
            }
            let found = Diagnostic::usage(codes::TL0202, "a stage needs `uses` or `run`").at(place);
            return Some(found.help("`uses` names a kind of stage, `run` a program and its arguments"));
        }
        if is_meant(key) {
            return None;
        }
        if key == "with" {
            let uses = self.document.value().pointer(&format!("{at}/uses")).and_then(Json::as_str).unwrap_or_default();
            let found =
                Diagnostic::usage(codes::TL0202, format!("`{uses}` needs its settings: `with` is missing")).at(place);
            let is_stage = word == "stage";
            return Some(if is_stage {
                found.help(format!("`tl schema --stage {uses}` lists every key"))
            } else {
                found
            });
        }
        let diagnostic = Diagnostic::usage(codes::TL0202, format!("{whose} needs `{key}`")).at(place);
        Some(match (word.as_str(), key, stage_kind) {
            (.., Some(kind)) => diagnostic.help(format!("`tl schema --stage {kind}` lists every key")),
            ("pipeline", "name", _) => diagnostic.help("a name such as `orders_nightly`, for history and messages"),
            ("pipeline", "stages", _) => diagnostic.help("`stages:` holds what is done, each under its name"),
            ("secret", "from", _) => diagnostic.help("say where it comes from: `from: env` or `from: file`"),
            ("input", "type", _) => diagnostic.help("`type` is one of `string`, `int`, `number`, `bool`"),
            _ => diagnostic,
        })
    }
}

fn not_one_of(at: &str, value: &Json, options: &Json) -> Diagnostic {
    let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let word = value.as_str().unwrap_or_default();
    let parts: Vec<&str> = at.split('/').skip(1).collect();
    let (what, is_kind) = match parts.as_slice() {
        ["stages" | "finally", _, "uses"] => ("stage", true),
        ["stores", _, "uses"] => ("store", true),
        ["channels", _, "uses"] => ("channel", true),
        ["secrets", _, "from"] => ("secret", true),
        ["notify", _, "when", _] => ("when", false),
        ["stages" | "finally", _, "outputs", _] => ("type", false),
        [.., key] => (*key, false),
        [] => ("", false),
    };
    if is_future_value(what, word) {
        return Diagnostic::usage(codes::TL0104, format!("`{word}` is not built yet"))
            .help(format!("this version has {}", listed(&options)));
    }
    let diagnostic = if is_kind {
        Diagnostic::usage(codes::TL0208, format!("there is no kind {} of {what}", short(value)))
    } else {
        match what {
            "type" => Diagnostic::usage(codes::TL0203, format!("{} is not a type", short(value))),
            _ => Diagnostic::usage(codes::TL0203, format!("{} is not a value of `{what}`", short(value))),
        }
    };
    let diagnostic = match options.as_slice() {
        [only] => diagnostic.help(format!("the only one is `{only}`")),
        _ => diagnostic.help(format!("it is one of {}", listed(&options))),
    };
    match equivalent_value(what, word).or_else(|| did_you_mean(word, options)) {
        Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

fn unknown_keys(document: &Document, error: &ValidationError<'_>) -> Vec<String> {
    match error.kind() {
        Wrong::AdditionalProperties { unexpected } => unexpected.clone(),
        // A map that allows no keys at all.
        Wrong::FalseSchema if error.evaluation_path().as_str().ends_with("/additionalProperties") => {
            // The error holds the value of one key, but not the key itself.
            let map = document.value().pointer(error.instance_path().as_str()).and_then(Json::as_object);
            map.map(|map| map.keys().cloned().collect()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The keys that the schema knows in the map of a refused key.
fn known_keys(error: &ValidationError<'_>) -> Vec<String> {
    schema_of(error)["properties"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

/// The schema whose keyword refused a value.
fn schema_of(error: &ValidationError<'_>) -> &'static Json {
    let mut node = &*SCHEMA;
    let path = error.evaluation_path().as_str();
    let (parents, _) = path.rsplit_once('/').unwrap_or_default();
    for part in parents.split('/').skip(1) {
        node = match part.parse::<usize>() {
            _ if part == "$ref" => {
                let name = node["$ref"].as_str().and_then(|target| target.rsplit('/').next()).unwrap_or_default();
                &SCHEMA["definitions"][name]
            }
            Ok(index) if node.is_array() => &node[index],
            _ => &node[part.replace("~1", "/").replace("~0", "~").as_str()],
        };
    }
    node
}
