use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value as Json};
use zeroize::Zeroizing;

/// Replaces the placeholders in a text by secrets; `None` if that is refused.
pub type Reveal<'a> = dyn Fn(&str) -> Option<Zeroizing<String>> + 'a;

/// Settings on their way into the struct of a kind. Secrets are revealed as each text enters the struct, so none is ever in
/// a JSON value, which would not be wiped.
pub struct Settings<'a> {
    value: Json,
    reveal: Option<&'a Reveal<'a>>,
}

impl<'a> Settings<'a> {
    /// Settings whose placeholders are replaced.
    pub fn revealed(value: Json, reveal: &'a Reveal<'a>) -> Self {
        Self { value, reveal: Some(reveal) }
    }
}

impl From<Json> for Settings<'_> {
    fn from(value: Json) -> Self {
        Self { value, reveal: None }
    }
}

impl IntoDeserializer<'_, Error> for Settings<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Settings<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(reveal) = self.reveal else { return self.value.deserialize_any(visitor) };
        let below = |value| Self::revealed(value, reveal);
        match self.value {
            Json::String(text) => {
                let mut text = reveal(&text).ok_or_else(|| Error::custom("a secret in it was not handed out"))?;
                // The text moves on without a copy: a field of type `Secret` wipes it.
                visitor.visit_string(std::mem::take(&mut *text))
            }
            Json::Array(items) => SeqDeserializer::new(items.into_iter().map(below)).deserialize_any(visitor),
            Json::Object(map) => {
                MapDeserializer::new(map.into_iter().map(|(key, value)| (key, below(value)))).deserialize_any(visitor)
            }
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // The checks let no secret into a choice.
        self.value.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::value::{PositiveDuration, Secret};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Example {
        key: Option<Secret>,
        none: Option<Secret>,
        keys: Vec<Secret>,
        headers: BTreeMap<String, Secret>,
        choice: Choice,
        port: u16,
        timeout: Option<PositiveDuration>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Choice {
        OneOfThem,
    }

    fn settings() -> Json {
        json!({ "key": "a", "none": null, "keys": ["a", "b"], "headers": { "a": "a" }, "choice": "one-of-them",
                "port": 1, "timeout": "3s" })
    }

    #[test]
    fn texts_are_revealed_on_their_way_into_a_struct() {
        let reveal = |text: &str| Some(Zeroizing::new(text.replace('a', "hunter2")));
        let revealed = Example::deserialize(Settings::revealed(settings(), &reveal)).unwrap();
        let secret = |text: &str| Secret::new(text.to_owned());
        assert_eq!(revealed.key, Some(secret("hunter2")));
        assert_eq!(revealed.keys, [secret("hunter2"), secret("b")]);
        assert_eq!(revealed.headers, BTreeMap::from([("a".to_owned(), secret("hunter2"))]));
        assert_eq!(revealed.none, None);
    }

    #[test]
    fn settings_are_read_alike_with_and_without_secrets() {
        let reveal = |text: &str| Some(Zeroizing::new(text.to_owned()));
        let wrong = json!({ "key": "a", "unknown": 1 });
        for value in [settings(), wrong] {
            let plain = Example::deserialize(Settings::from(value.clone())).map_err(|error| error.to_string());
            let revealed =
                Example::deserialize(Settings::revealed(value.clone(), &reveal)).map_err(|error| error.to_string());
            assert_eq!(plain, revealed);
            assert_eq!(plain, serde_json::from_value(value).map_err(|error: Error| error.to_string()));
        }
    }

    #[test]
    fn what_is_refused_is_an_error() {
        let refused = Example::deserialize(Settings::revealed(settings(), &|_| None)).unwrap_err();
        assert_eq!(refused.to_string(), "a secret in it was not handed out");
    }
}
