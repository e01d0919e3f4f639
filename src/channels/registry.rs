use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::services::{Discord, Gotify, Healthchecks, Ntfy, PagerDuty, Pushover, Slack, Teams, UptimeKuma};
use super::{Channel, Command, Desktop, Email, MessageFile, Webhook};
use crate::value::{Kind, kept_schema_of};

/// Every kind of channel.
pub static KINDS: &[Kind<dyn Channel>] = &[
    kind::<MessageFile>("file"),
    Kind { program: Some("run"), ..kind::<Command>("command") },
    kind::<Webhook>("webhook"),
    kind::<Email>("email"),
    kind::<Desktop>("desktop"),
    kind::<Slack>("slack"),
    kind::<Discord>("discord"),
    kind::<Teams>("teams"),
    kind::<Ntfy>("ntfy"),
    kind::<Gotify>("gotify"),
    kind::<Pushover>("pushover"),
    kind::<PagerDuty>("pagerduty"),
    kind::<Healthchecks>("healthchecks"),
    kind::<UptimeKuma>("uptime-kuma"),
];

const fn kind<K: Channel + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Kind<dyn Channel> {
    Kind { name, schema: kept_schema_of::<K>, program: None, build: |settings| Ok(Box::new(K::deserialize(settings)?)) }
}
