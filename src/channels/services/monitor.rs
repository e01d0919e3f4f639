//! Monitoring services. Some raise the alarm themselves when no message comes.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::service::{says_no, service};
use crate::channels::http::{Connection, Method, Request, Service, below, check_url};
use crate::channels::{Error, Message, text};
use crate::value::{FilePath, PositiveDuration, Secret, Unfit};

fn unfit(reason: impl Into<String>) -> Error {
    Error::Unfit { reason: reason.into() }
}

fn pagerduty() -> String {
    "https://events.pagerduty.com".to_owned()
}

service! {
    /// Events of `PagerDuty`: opens an incident for each pipeline that fails, and resolves it when it succeeds.
    PagerDuty at server {
        /// The server; by default `https://events.pagerduty.com`.
        #[serde(default = "pagerduty")]
        #[schemars(extend("x-tl-form" = "url"))]
        server: String,
        /// The integration key of the service.
        routing_key: Secret,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        let (action, severity) = match message.when.as_str() {
            "failure" => ("trigger", "error"),
            "blocked" | "stale" => ("trigger", "critical"),
            "warning" | "cancelled" => ("trigger", "warning"),
            "stage" => ("trigger", "info"),
            "success" | "recovered" => ("resolve", "info"),
            other => return Err(unfit(format!("PagerDuty knows incidents and their end; `{other}` is neither"))),
        };
        let body = json!({
            "routing_key": self.routing_key.expose(),
            "event_action": action,
            "dedup_key": message.group(),
            "payload": {
                "summary": text::cut(&text::one_line(&message.subject), 1_000),
                "source": if message.host.is_empty() { &message.pipeline } else { &message.host },
                "severity": severity,
                "timestamp": message.time,
                "custom_details": { "run": message.run, "text": text::cut(&text::lines(&message.body), 20_000) },
            },
        });
        let mut request = Request::json(below(&self.server, &["v2", "enqueue"]), &body);
        request.secrets.push(self.routing_key.clone());
        Ok(request)
    }
}

const URL_OR_UUID: &str = "either `url` or `uuid` is needed";

fn healthchecks() -> String {
    "https://hc-ping.com".to_owned()
}

service! {
    /// A check of Healthchecks, which raises the alarm itself when no message comes.
    Healthchecks at server {
        /// The check's ping URL, which is a secret.
        #[schemars(extend("x-tl-form" = "url"))]
        url: Option<Secret>,
        /// Instead of the URL, the server; by default `https://hc-ping.com`.
        #[serde(default = "healthchecks")]
        #[schemars(extend("x-tl-form" = "url"))]
        server: String,
        /// Instead of the URL, the check's UUID.
        uuid: Option<Secret>,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        let base = match (&self.url, &self.uuid) {
            (Some(url), None) => url.clone(),
            (None, Some(uuid)) => below(&self.server, &[uuid.expose()]),
            _ => return Err(unfit(URL_OR_UUID)),
        };
        // Only a success or a failure ends what `start` began. A run that was skipped or that delivered nothing is neither:
        // the check must raise its alarm if no success follows.
        let url = match message.when.as_str() {
            "started" => below(base.expose(), &["start"]),
            "success" | "recovered" => base.clone(),
            "warning" if message.counts => base.clone(),
            "failure" | "blocked" | "cancelled" | "stale" => below(base.expose(), &["fail"]),
            _ => below(base.expose(), &["log"]),
        };
        let said = format!("{}\n\n{}", text::one_line(&message.subject), text::lines(&message.body));
        // Healthchecks stores no more of the body.
        let said = text::cut(&said, 25_000);
        Ok(Request {
            method: Method::Post,
            url,
            headers: Vec::new(),
            body: Some(("text/plain; charset=utf-8".to_owned(), said)),
            secrets: self.uuid.iter().cloned().chain([base]).collect(),
        })
    }
    // It answers `OK (not found)` and `OK (rate limited)`, with status 200.
    fn refuses(&self, answer: &str) -> bool {
        answer.trim().starts_with("OK (")
    }
    fn check_own(&self) -> Vec<Unfit<String>> {
        let error = match &self.url {
            Some(url) if self.uuid.is_none() => check_url(url, self.allow_private).err(),
            None if self.uuid.is_some() => None,
            _ => Some(URL_OR_UUID.to_owned()),
        };
        error.map(|error| Unfit { setting: "url".to_owned(), error }).into_iter().collect()
    }
}

service! {
    /// A push monitor of Uptime Kuma.
    UptimeKuma at url {
        /// The monitor's push URL, which is a secret.
        #[schemars(extend("x-tl-form" = "url"))]
        url: Secret,
    }
    fn request(&self, message: &Message, _: i64) -> Result<Request, Error> {
        let status = match message.when.as_str() {
            "failure" | "blocked" | "cancelled" | "stale" => "down",
            "success" | "recovered" | "test" => "up",
            "warning" if message.counts => "up",
            other => return Err(unfit(format!("a push monitor knows up and down; `{other}` is neither"))),
        };
        let mut url = url::Url::parse(self.url.expose().trim()).map_err(|error| unfit(format!("the URL is none: {error}")))?;
        // The URL that Uptime Kuma displays already has a query, as an example.
        let others: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(key, _)| !matches!(key.as_str(), "status" | "msg" | "ping")).collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(others)
            .append_pair("status", status)
            .append_pair("msg", &text::cut(&text::one_line(&message.subject), 250));
        Ok(Request {
            method: Method::Get,
            url: Secret::new(url.into()),
            headers: Vec::new(),
            body: None,
            secrets: vec![self.url.clone()],
        })
    }
    fn refuses(&self, answer: &str) -> bool {
        says_no(answer)
    }
}
