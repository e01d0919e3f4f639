use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Effect, Flow, Stage, StageError};
use crate::channels::Message;
use crate::diagnostic::Result;

/// Settings of `notify`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Notify {
    /// The channels, by the names they have in `channels`.
    #[schemars(length(min = 1), extend("items" = { "type": "string", "x-tl-type": "channel" }))]
    to: Vec<String>,
    /// One line.
    subject: String,
    /// The text; the subject alone without it.
    #[serde(default)]
    body: String,
}

/// Outputs of `notify`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The channels that took the message.
    delivered: Vec<String>,
}

impl Stage for Notify {
    const NAME: &'static str = "notify";
    const ABOUT: &'static str = "sends a message to channels";
    const FLOW: Flow = Flow::None;
    const EFFECTS: &'static [Effect] = &[Effect::Tells];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let shared = &context.shared;
        let message = Message {
            // The same id for each attempt, so that a receiver can detect duplicates.
            id: format!("{}.{}", shared.run, context.message),
            time: jiff::Timestamp::now().to_string(),
            when: "stage".to_owned(),
            pipeline: shared.pipeline.clone(),
            run: shared.run.clone(),
            host: shared.host.clone(),
            counts: false,
            subject: shared.masker.mask(&self.subject).replace(['\n', '\r'], " "),
            body: shared.masker.mask(&self.body),
            html: None,
            folder: shared.base.clone(),
        };
        let mut delivered = Vec::new();
        let mut failed = None;
        for channel in self.to {
            context.cancel.check()?;
            match context.deliver(&channel, &message) {
                Ok(_) => delivered.push(channel),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(Outputs { delivered }), |error| Err(error.into()))
    }
}
