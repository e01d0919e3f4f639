//! Push messages to phones.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::service::{says_no, service};
use crate::channels::http::{Connection, Method, Request, Service, below};
use crate::channels::{Error, Message, text};
use crate::value::{FilePath, PositiveDuration, Secret};

/// ntfy turns a message of more than 4096 bytes into an attachment. A character takes up to four bytes.
const NTFY: usize = 1_000;
const PUSHOVER: usize = 1_024;

/// The urgency of an occasion on ntfy's scale, from 1 (no sound) to 5.
fn priority(when: &str) -> u8 {
    match when {
        "failure" | "blocked" | "stale" => 4,
        "success" | "skipped" | "started" => 2,
        _ => 3,
    }
}

/// The body, else the subject: push services refuse a message without text.
fn text_of(message: &Message) -> String {
    let body = text::lines(&message.body);
    match body.trim() {
        "" => text::one_line(&message.subject),
        body => body.to_owned(),
    }
}

fn ntfy() -> String {
    "https://ntfy.sh".to_owned()
}

service! {
    /// A topic of ntfy.
    Ntfy at server {
        /// The server; by default `https://ntfy.sh`.
        #[serde(default = "ntfy")]
        #[schemars(extend("x-tl-form" = "url"))]
        server: String,
        /// The topic: who knows its name can read it.
        topic: Secret,
        /// An access token.
        token: Option<Secret>,
        /// From 1 to 5; by default as the message is.
        #[schemars(range(min = 1, max = 5))]
        priority: Option<u8>,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        let icon = match message.when.as_str() {
            "failure" | "blocked" | "stale" => "rotating_light",
            "warning" | "cancelled" => "warning",
            _ => "white_check_mark",
        };
        // Sent as JSON: the title then needs no header encoding and cannot inject a header.
        let body = json!({
            "topic": self.topic.expose(),
            "title": text::cut(&text::one_line(&message.subject), 250),
            "message": text::cut(&text_of(message), NTFY),
            "priority": self.priority.unwrap_or(priority(&message.when)),
            "tags": [icon],
        });
        let mut request = Request::json(below(&self.server, &[""]), &body);
        request.secrets.push(self.topic.clone());
        Ok(match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.expose())),
            None => request,
        })
    }
}

service! {
    /// A Gotify server.
    Gotify at server {
        /// The server.
        #[schemars(extend("x-tl-form" = "url"))]
        server: String,
        /// The application's token.
        token: Secret,
        /// From 0 to 10; by default as the message is.
        #[schemars(range(min = 0, max = 10))]
        priority: Option<u8>,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        let body = json!({
            "title": text::cut(&text::one_line(&message.subject), 250),
            "message": text::cut(&text_of(message), 20_000),
            "priority": self.priority.unwrap_or(2 * priority(&message.when)),
        });
        Ok(Request::json(below(&self.server, &["message"]), &body).header("x-gotify-key", self.token.expose()))
    }
}

fn pushover() -> String {
    "https://api.pushover.net".to_owned()
}

service! {
    /// Pushover.
    Pushover at server {
        /// The server; by default `https://api.pushover.net`.
        #[serde(default = "pushover")]
        #[schemars(extend("x-tl-form" = "url"))]
        server: String,
        /// The application's token.
        token: Secret,
        /// The user's or the group's key.
        user: Secret,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("token", self.token.expose())
            .append_pair("user", self.user.expose())
            .append_pair("title", &text::cut(&text::one_line(&message.subject), 250))
            .append_pair("message", &text::cut(&text_of(message), PUSHOVER))
            .append_pair("priority", if priority(&message.when) > 3 { "1" } else { "0" })
            .finish();
        Ok(Request {
            method: Method::Post,
            url: below(&self.server, &["1", "messages.json"]),
            headers: Vec::new(),
            body: Some(("application/x-www-form-urlencoded".to_owned(), body)),
            secrets: vec![self.token.clone(), self.user.clone()],
        })
    }
    fn refuses(&self, answer: &str) -> bool {
        says_no(answer)
    }
}
