use schemars::JsonSchema;
use serde::Deserialize;

#[cfg(feature = "desktop")]
use super::text;
use super::{Channel, Error, Message};
#[cfg(not(feature = "desktop"))]
use crate::value::Unfit;

/// A notification on the desktop of the user who runs `tl`. Only in a `tl` that was built with the feature `desktop`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Desktop {}

#[cfg(feature = "desktop")]
impl Channel for Desktop {
    fn deliver(&self, message: &Message) -> Result<String, Error> {
        let urgency = match message.when.as_str() {
            "failure" | "blocked" | "stale" => notify_rust::Urgency::Critical,
            _ => notify_rust::Urgency::Normal,
        };
        // Desktops render markup in the body.
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let body = text::cut(&text::lines(&message.body), 1_000);
        notify_rust::Notification::new()
            .appname("TimeLocker")
            .summary(&text::cut(&text::one_line(&message.subject), 250))
            .body(&escape(&body))
            .urgency(urgency)
            .show()
            .map(|shown| format!("notification {}", shown.id()))
            .map_err(|error| Error::Unreachable { place: "the desktop".to_owned(), reason: error.to_string() })
    }

    fn probe(&self) -> Result<String, Error> {
        notify_rust::get_server_information()
            .map(|server| format!("{} {}", text::one_line(&server.name), text::one_line(&server.version)))
            .map_err(|error| Error::Unreachable { place: "the desktop".to_owned(), reason: error.to_string() })
    }
}

#[cfg(not(feature = "desktop"))]
const MISSING: &str = "this `tl` was built without the feature `desktop`";

#[cfg(not(feature = "desktop"))]
impl Channel for Desktop {
    fn deliver(&self, _: &Message) -> Result<String, Error> {
        Err(Error::Unfit { reason: MISSING.to_owned() })
    }

    fn probe(&self) -> Result<String, Error> {
        Err(Error::Unfit { reason: MISSING.to_owned() })
    }

    fn check(&self) -> Vec<Unfit<String>> {
        vec![Unfit { setting: String::new(), error: MISSING.to_owned() }]
    }
}
