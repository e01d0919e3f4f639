//! Settings before they are needed: what is known of them filled in, what is not left as it stands.

use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use super::check::follow;
use super::read::{Document, escape};
use crate::expression::{Expression, Part, Template, Values, evaluate};
use crate::value::{MASK, hex};

/// Some settings as far as they are known.
#[derive(Clone, Debug)]
pub struct PartialSettings {
    /// The settings; an expression without a value stands as it stood.
    pub value: Json,
    /// The expressions without a value. Those over secrets are not among them.
    pub unknown: Vec<Expression>,
}

/// What stands for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPlaceholder {
    /// A mask.
    Hidden,
    /// Its expression; of one that stands in the file, a digest by which a change can be told.
    Named,
}

/// Fills settings in. Reads no secret.
#[derive(Clone, Copy)]
pub struct PartialResolver<'a> {
    /// Whose settings they are.
    pub document: &'a Document,
    /// What is known.
    pub values: &'a Values,
    /// What stands for a secret.
    pub secrets: SecretPlaceholder,
}

impl PartialResolver<'_> {
    /// Fills in what is known, and makes each path absolute: `schema` says which texts are paths and which are secret. `at`
    /// is where the value stands in the document.
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
        // The checks have parsed each text.
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
            // One that names what is here may lack it all the same, such as a variable of `env`.
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

    /// A secret that stands in the file.
    fn secret(&self, value: &Json, at: &str) -> Json {
        match self.secrets {
            SecretPlaceholder::Hidden => MASK.into(),
            // With its place: equal secrets of two places do not show that they are.
            SecretPlaceholder::Named => {
                let digest = Sha256::digest(format!("{at}\0{}", value.as_str().unwrap_or_default()));
                format!("sha256:{}", hex(&digest[..16])).into()
            }
        }
    }
}
