//! Chat services.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::service::{says_no, service};
use crate::channels::http::{Connection, Request, Service};
use crate::channels::{Error, Message, text};
use crate::value::{FilePath, PositiveDuration, Secret};

/// Slack cuts longer messages itself, at an arbitrary place.
const SLACK: usize = 40_000;
const DISCORD: usize = 2_000;
/// Teams refuses messages of more than 28 KB.
const TEAMS: usize = 6_000;

service! {
    /// A Slack channel, by an incoming webhook.
    Slack at url {
        /// The incoming webhook's URL, which is a secret.
        #[schemars(extend("x-tl-form" = "url"))]
        url: Secret,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        // `<!channel>` notifies everybody and `<https://…|text>` is a link. A file name must not be able to produce
        // either.
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let said = format!("*{}*\n{}", escape(&text::one_line(&message.subject)), escape(&text::lines(&message.body)));
        Ok(Request::json(self.url.clone(), &json!({ "text": text::cut(said.trim_end(), SLACK) })))
    }
    // Servers that imitate Slack answer with JSON.
    fn refuses(&self, answer: &str) -> bool {
        says_no(answer)
    }
}

service! {
    /// A Discord channel, by a webhook.
    Discord at url {
        /// The webhook's URL, which is a secret.
        #[schemars(extend("x-tl-form" = "url"))]
        url: Secret,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        // A code block has no links, and the message cannot end the block.
        let inert = |text: String| text.replace('`', "\u{2019}");
        let subject = text::cut(&inert(text::one_line(&message.subject)), 250);
        let body = inert(text::lines(&message.body));
        let content = match body.trim() {
            "" => format!("`{subject}`"),
            body => format!("`{subject}`\n```\n{}\n```", text::cut(body, DISCORD - 300)),
        };
        let nobody: [&str; 0] = [];
        let body = json!({ "content": content, "allowed_mentions": { "parse": nobody } });
        Ok(Request::json(self.url.clone(), &body))
    }
}

service! {
    /// A Microsoft Teams channel, by a workflow that posts what it receives.
    Teams at url {
        /// The workflow's URL, which is a secret.
        #[schemars(extend("x-tl-form" = "url"))]
        url: Secret,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        // Rich text, not a text block: a text block renders Markdown, including links.
        let run = |text: String, is_title: bool| {
            let style = if is_title { json!("bolder") } else { json!("default") };
            let font = if is_title { "default" } else { "monospace" };
            json!({ "type": "RichTextBlock", "inlines": [
                { "type": "TextRun", "text": text, "weight": style, "fontType": font },
            ] })
        };
        let subject = run(text::cut(&text::one_line(&message.subject), 500), true);
        let body = run(text::cut(text::lines(&message.body).trim_end(), TEAMS), false);
        let card = json!({
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard", "version": "1.4", "body": [subject, body],
        });
        let attachment = json!({ "contentType": "application/vnd.microsoft.card.adaptive", "content": card });
        Ok(Request::json(self.url.clone(), &json!({ "type": "message", "attachments": [attachment] })))
    }
    // A connector answers `1`, a workflow nothing. An error of Teams behind it comes as text, with status 200.
    fn refuses(&self, answer: &str) -> bool {
        let answer = answer.to_ascii_lowercase();
        ["failed", "error"].iter().any(|word| answer.contains(word))
    }
}
