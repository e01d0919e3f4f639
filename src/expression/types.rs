//! The types of expressions and fields.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

/// The type of an expression or of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Not known before the run.
    Any,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction.
    Double,
    /// A text.
    String,
    /// A text that may flow only into fields marked secret.
    Secret,
    /// Bytes that one stage produces and others consume. Only passed on whole.
    Artifact,
    /// Values of one type, in order.
    List(Box<Type>),
    /// Values of one type, by name.
    Map(Box<Type>),
    /// Named fields, each with its own type.
    Record(Arc<Record>),
    /// A value of the inner type, or `null`.
    Nullable(Box<Type>),
}

/// The fields of a record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name in messages, such as `object` or `inputs`.
    pub name: String,
    /// Type by name.
    pub fields: BTreeMap<String, Type>,
}

impl Type {
    /// A record.
    pub fn record(name: impl Into<String>, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        Self::Record(Arc::new(Record { name: name.into(), fields: fields.into_iter().collect() }))
    }

    /// Whether a value of this type may be used for a field of type `field`.
    pub fn fits(&self, field: &Self) -> bool {
        match (self, field) {
            (_, Self::Any) => !matches!(self, Self::Secret | Self::Artifact),
            (Self::Any, _) => !matches!(field, Self::Artifact),
            (Self::Null, Self::Nullable(_)) | (Self::Int, Self::Double) | (Self::String, Self::Secret) => true,
            (Self::Nullable(a), Self::Nullable(b)) | (Self::List(a), Self::List(b)) | (Self::Map(a), Self::Map(b)) => {
                a.fits(b)
            }
            (a, Self::Nullable(b)) => a.fits(b),
            (Self::Record(a), Self::Map(b)) => a.fields.values().all(|field| field.fits(b)),
            (Self::Record(a), Self::Record(b)) => {
                b.fields.iter().all(|(name, want)| a.fields.get(name).is_some_and(|have| have.fits(want)))
            }
            (a, b) => a == b,
        }
    }

    /// Whether it can be part of a longer text.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Self::Any | Self::Bool | Self::Int | Self::Double | Self::String | Self::Secret)
    }

    /// The smallest type that holds both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, b @ Self::Nullable(_)) | (b @ Self::Nullable(_), Self::Null) => b,
            (Self::Null, b) | (b, Self::Null) => Self::Nullable(Box::new(b)),
            (Self::Int, Self::Double) | (Self::Double, Self::Int) => Self::Double,
            (Self::String, Self::Secret) | (Self::Secret, Self::String) => Self::Secret,
            // An empty list has items of type `Any`, so the other list decides.
            (Self::List(a), Self::List(b)) if *a == Self::Any => Self::List(b),
            (Self::List(a), Self::List(b)) if *b == Self::Any => Self::List(a),
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.join(*b))),
            _ => Self::Any,
        }
    }

    /// The type that a JSON Schema describes. `x-tl-type` names what JSON has no word for.
    pub fn from_schema(schema: &Json, definitions: &Json) -> Self {
        if let Some(target) = schema["$ref"].as_str() {
            let name = target.rsplit('/').next().unwrap_or_default();
            return Self::from_schema(&definitions[name], definitions);
        }
        match schema["x-tl-type"].as_str() {
            Some("secret") => return Self::Secret,
            Some("artifact") => return Self::Artifact,
            _ => {}
        }
        if let Some(branches) = schema["anyOf"].as_array().or_else(|| schema["allOf"].as_array()) {
            return branches
                .iter()
                .map(|branch| Self::from_schema(branch, definitions))
                .reduce(Self::join)
                .unwrap_or(Self::Any);
        }
        if schema["oneOf"].as_array().is_some_and(|branches| branches.iter().all(|b| b["const"].is_string())) {
            return Self::String;
        }
        match &schema["type"] {
            Json::String(one) => Self::named(one, schema, definitions),
            Json::Array(several) => several
                .iter()
                .filter_map(Json::as_str)
                .map(|one| Self::named(one, schema, definitions))
                .reduce(Self::join)
                .unwrap_or(Self::Any),
            _ if schema["enum"].is_array() || schema["const"].is_string() => Self::String,
            _ => Self::Any,
        }
    }

    fn plural(&self) -> String {
        match self {
            Self::Any | Self::Null | Self::Nullable(_) => self.to_string(),
            Self::List(item) => format!("lists of {}", item.plural()),
            Self::Map(item) => format!("maps of {}", item.plural()),
            _ => format!("{self}s"),
        }
    }

    fn named(name: &str, schema: &Json, definitions: &Json) -> Self {
        match name {
            "null" => Self::Null,
            "boolean" => Self::Bool,
            "integer" => Self::Int,
            "number" => Self::Double,
            "string" => Self::String,
            "array" => Self::List(Box::new(Self::from_schema(&schema["items"], definitions))),
            "object" => match schema["properties"].as_object() {
                Some(properties) => Self::record(
                    schema["title"].as_str().unwrap_or("object").to_lowercase(),
                    properties.iter().map(|(name, field)| (name.clone(), Self::from_schema(field, definitions))),
                ),
                None => Self::Map(Box::new(Self::from_schema(&schema["additionalProperties"], definitions))),
            },
            _ => Self::Any,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Double => f.write_str("number"),
            Self::String => f.write_str("string"),
            Self::Secret => f.write_str("secret"),
            Self::Artifact => f.write_str("artifact"),
            Self::List(item) => write!(f, "list of {}", item.plural()),
            Self::Map(item) => write!(f, "map of {}", item.plural()),
            Self::Record(record) => f.write_str(&record.name),
            Self::Nullable(inner) => write!(f, "{inner} or null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_gives_the_type() {
        let definitions = json!({ "Level": { "type": "string", "enum": ["a"] } });
        for (schema, display) in [
            (json!({ "type": "integer" }), "int"),
            (json!({ "type": ["string", "null"] }), "string or null"),
            (json!({ "type": "array", "items": { "type": "string" } }), "list of strings"),
            (json!({ "$ref": "#/definitions/Level" }), "string"),
            (json!({ "oneOf": [{ "type": "string", "const": "a", "description": "A." }] }), "string"),
            (json!({ "anyOf": [{ "$ref": "#/definitions/Level" }, { "type": "null" }] }), "string or null"),
            (json!({ "type": "string", "x-tl-type": "secret" }), "secret"),
            (json!({ "type": "object", "additionalProperties": { "type": "integer" } }), "map of ints"),
        ] {
            assert_eq!(Type::from_schema(&schema, &definitions).to_string(), display, "{schema}");
        }
    }

    #[test]
    fn secrets_and_artifacts_fit_only_their_own() {
        assert!(Type::String.fits(&Type::Secret));
        assert!(!Type::Secret.fits(&Type::String));
        assert!(!Type::Secret.fits(&Type::Any));
        assert!(!Type::String.fits(&Type::Artifact));
        assert!(!Type::Any.fits(&Type::Artifact));
        assert!(!Type::Nullable(Box::new(Type::String)).fits(&Type::String));
    }
}
