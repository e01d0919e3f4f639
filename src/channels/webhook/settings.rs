use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::signature::Key;
use crate::channels::http::{Connection, Method, Request, Service, check_headers, sample};
use crate::channels::{Error, Message, text};
use crate::template::{Form, Template};
use crate::value::{FilePath, PositiveDuration, Secret, Unfit};

/// A request to a URL, signed as Standard Webhooks says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Webhook {
    /// Where to: `https:`, or `http:` with `allow-private`. It may be one secret as a whole.
    #[schemars(extend("x-tl-form" = "url"))]
    url: Secret,
    /// The key that signs: `whsec_…` (HMAC-SHA256) or `whsk_…` (Ed25519).
    signing_key: Option<Secret>,
    /// Several keys, each of which signs: for the time in which a key is replaced.
    #[serde(default)]
    signing_keys: Vec<Secret>,
    /// The word of the request.
    #[serde(default)]
    method: Method,
    /// Headers beside those of Standard Webhooks; their values may be secrets.
    #[serde(default)]
    headers: IndexMap<String, Secret>,
    /// What is sent: a Handlebars template that may use `id time when pipeline run subject body`; without it all of them as
    /// a JSON object.
    body: Option<String>,
    /// The type of what is sent; values in a JSON template are escaped.
    #[serde(default = "json_type")]
    content_type: String,
    /// The longest that one attempt may take; by default 20s.
    timeout: Option<PositiveDuration>,
    /// Whether addresses of this machine and its network may be told, and `http:` used for them.
    #[serde(default)]
    allow_private: bool,
    /// A PEM file with certificates that are trusted instead of the system's.
    ca_certificate: Option<FilePath>,
}

fn json_type() -> String {
    "application/json".to_owned()
}

impl Service for Webhook {
    fn connection(&self) -> Connection<'_> {
        Connection::new(self.allow_private, self.ca_certificate.as_ref(), self.timeout)
    }

    fn request(&self, message: &Message, now: i64) -> Result<Request, Error> {
        let unfit = |reason: String| Error::Unfit { reason };
        // The signature covers `id.timestamp.body`. An id with a dot would make that ambiguous.
        let id = message.id.replace('.', "_");
        let body = match self.method {
            Method::Get => String::new(),
            _ => self.text(self.body.as_deref(), message)?,
        };
        let mut request = Request {
            method: self.method,
            url: self.url.clone(),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            body: None,
            secrets: Vec::new(),
        };
        request = request
            .header("webhook-id", id.clone())
            .header("webhook-timestamp", now.to_string())
            .header("idempotency-key", id.clone());
        let keys = self.signing_key.iter().chain(&self.signing_keys).map(Key::read);
        let keys: Vec<Key> = keys.collect::<Result<_, _>>().map_err(unfit)?;
        if !keys.is_empty() {
            let signatures: Vec<String> = keys.iter().map(|key| key.sign(&id, now, &body)).collect();
            request = request.header("webhook-signature", signatures.join(" "));
        }
        if self.method != Method::Get {
            request.body = Some((self.content_type.clone(), body));
        }
        Ok(request)
    }

    fn address(&self) -> (&'static str, Secret) {
        ("url", self.url.clone())
    }

    fn check_own(&self) -> Vec<Unfit<String>> {
        let unfit = |setting: String, error: String| Unfit { setting, error };
        let several = self.signing_keys.iter().enumerate().map(|(at, key)| (format!("signing-keys/{at}"), key));
        let keys = self.signing_key.iter().map(|key| ("signing-key".to_owned(), key)).chain(several);
        let mut found: Vec<_> = keys.filter_map(|(setting, key)| Some(unfit(setting, Key::read(key).err()?))).collect();
        found.extend(check_headers(self.headers.iter()));
        if self.content_type.chars().any(char::is_control) {
            found.push(unfit("content-type".to_owned(), "`content-type` holds a control character".to_owned()));
        }
        found.extend(self.check_body().err().map(|error| unfit("body".to_owned(), error)));
        found
    }
}

impl Webhook {
    fn check_body(&self) -> Result<(), String> {
        match &self.body {
            Some(_) if self.method == Method::Get => Err("a GET has no `body`".to_owned()),
            Some(template) => self.text(Some(template), &sample()).map(drop).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    fn text(&self, template: Option<&str>, message: &Message) -> Result<String, Error> {
        let Message { id, time, when, pipeline, run, host, subject, body, .. } = message;
        let mut values = json!({
            "id": id, "time": time, "when": when, "pipeline": pipeline, "run": run, "host": host, "subject": subject,
            "body": body,
        });
        let Some(template) = template else { return Ok(values.to_string()) };
        let is_json = self.content_type.split(';').next().is_some_and(|kind| {
            let kind = kind.trim().to_ascii_lowercase();
            kind.ends_with("/json") || kind.ends_with("+json")
        });
        if let (true, Json::Object(values)) = (is_json, &mut values) {
            for value in values.values_mut() {
                *value = text::json_inside(value.as_str().unwrap_or_default()).into();
            }
        }
        let filled = Template::inline(template)
            .render(Form::Text, &values)
            .map_err(|error| Error::Unfit { reason: format!("`body`: {error}") })?;
        if is_json && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&filled) {
            return Err(Error::Unfit { reason: format!("`body` does not give JSON: {error}") });
        }
        Ok(filled)
    }
}
