//! Partially resolves settings, for `tl plan`.
//!
//! Expressions whose values are known are replaced. Others stay as they are written. No secret is read.

use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use super::check::follow;
use super::read::{Document, escape};
use crate::expression::{Expression, Part, Template, Values, evaluate};
use crate::value::{MASK, hex};

/// Settings, resolved as far as their values are known.
#[derive(Clone, Debug)]
pub struct PartialSettings {
    /// The settings. An expression without a known value stays as it is written.
    pub value: Json,
    /// The expressions without a known value. Expressions over secrets are not included.
    pub unknown: Vec<Expression>,
}

/// What is shown in place of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPlaceholder {
    /// A mask.
    Hidden,
    /// Its expression. For a secret written in the file, a digest: it shows a change and not the secret.
    Named,
}

/// Resolves settings partially. Reads no secret.
#[derive(Clone, Copy)]
pub struct PartialResolver<'a> {
    /// The document that holds the settings.
    pub document: &'a Document,
    /// The known values.
    pub values: &'a Values,
    /// What is shown in place of a secret.
    pub secrets: SecretPlaceholder,
}

impl PartialResolver<'_> {
    /// Resolves what is known and makes each path absolute. `schema` says which texts are paths and which are secret. `at`
    /// is the pointer of the value in the document.
    pub fn resolve(&self, value: &Json, schema: &Json, at: &str) -> PartialSettings {
        let mut unknown = Vec::new();
        let value = self.resolve_at(value, schema, &schema["definitions"], at, &mut unknown);
        PartialSettings { value, unknown }
    }

    fn resolve_at(
        &self,
        value: &Json,
        schema: &Json,
        definitions: &Json,
        at: &str,
        unknown: &mut Vec<Expression>,
    ) -> Json {
        let schema = follow(schema, definitions);
        match value {
            Json::String(text) if Template::is_in(text) => {
                let before = unknown.len();
                let known = self.text(text, unknown);
                if unknown.len() == before { self.literal(known, schema, at) } else { known }
            }
            Json::String(_) if schema["x-tl-type"] == "secret" => self.secret(value, at),
            Json::String(_) => self.literal(value.clone(), schema, at),
            Json::Array(items) => {
                let item = |(index, item)| {
                    self.resolve_at(item, &schema["items"], definitions, &format!("{at}/{index}"), unknown)
                };
                items.iter().enumerate().map(item).collect()
            }
            Json::Object(map) => {
                let field = |(key, item): (&String, &Json)| {
                    let at = format!("{at}/{}", escape(key));
                    let schema = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                    (key.clone(), self.resolve_at(item, schema, definitions, &at, unknown))
                };
                Json::Object(map.iter().map(field).collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    fn text(&self, text: &str, unknown: &mut Vec<Expression>) -> Json {
        // The checks have parsed every text, so this does not fail.
        let Ok(template) = Template::parse(text) else { return text.into() };
        let parts: Vec<Json> = template.parts().iter().map(|part| self.part(part, unknown)).collect();
        match <[Json; 1]>::try_from(parts) {
            Ok([whole]) => whole,
            Err(parts) => {
                let as_text = |part: &Json| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
                parts.iter().map(as_text).collect::<String>().into()
            }
        }
    }

    fn part(&self, part: &Part, unknown: &mut Vec<Expression>) -> Json {
        let expression = match part {
            Part::Text(text) => return text.as_str().into(),
            Part::Expression(expression) => expression,
        };
        let is_secret = expression.roots().iter().any(|root| root == "secrets");
        if is_secret && self.secrets == SecretPlaceholder::Hidden {
            return MASK.into();
        }
        if !is_secret {
            // An expression may name a known context and still have no value, such as a variable of `env`.
            let known = self.values.know(expression).then(|| evaluate(expression, self.values).ok()).flatten();
            match known {
                Some(known) => return known,
                None => unknown.push(expression.clone()),
            }
        }
        format!("${{{{ {} }}}}", expression.source()).into()
    }

    fn literal(&self, value: Json, schema: &Json, at: &str) -> Json {
        match (value, schema["x-tl-type"] == "path") {
            (Json::String(path), true) => self.document.folder_of(at).join(path).to_string_lossy().into_owned().into(),
            (value, _) => value,
        }
    }

    /// A secret that is written in the file itself.
    fn secret(&self, value: &Json, at: &str) -> Json {
        match self.secrets {
            SecretPlaceholder::Hidden => MASK.into(),
            // The digest includes the place, so that equal secrets at two places do not look equal.
            SecretPlaceholder::Named => {
                let digest = Sha256::digest(format!("{at}\0{}", value.as_str().unwrap_or_default()));
                format!("sha256:{}", hex(&digest[..16])).into()
            }
        }
    }
}
