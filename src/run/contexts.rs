//! The values behind the names of expressions.

use std::sync::Arc;

use jiff::Zoned;
use serde_json::{Map, Value as Json, json};

use crate::expression::Values;

/// What is the same for every expression of a run.
pub(super) struct Contexts {
    inputs: Arc<Json>,
    secrets: Arc<Json>,
    host: Arc<Json>,
    run: Map<String, Json>,
}

impl Contexts {
    /// `now` is fixed when a run starts.
    pub(super) fn new(
        inputs: Map<String, Json>,
        secrets: Map<String, Json>,
        pipeline: &str,
        run: &str,
        now: &Zoned,
    ) -> Self {
        let host = rustix::system::uname();
        let run = json!({
            "id": run,
            "date": now.strftime("%Y-%m-%d").to_string(),
            "time": now.strftime("%H-%M-%S").to_string(),
            "weekday": now.strftime("%A").to_string().to_lowercase(),
            "pipeline": pipeline,
        });
        Self {
            inputs: Arc::new(Json::Object(inputs)),
            secrets: Arc::new(Json::Object(secrets)),
            host: Arc::new(json!({
                "name": host.nodename().to_string_lossy(),
                "os": std::env::consts::OS,
                "arch": std::env::consts::ARCH,
            })),
            run: run.as_object().cloned().unwrap_or_default(),
        }
    }

    /// The values that every expression sees.
    pub(super) fn values(&self, attempt: u32) -> Values {
        let mut run = self.run.clone();
        run.insert("attempt".to_owned(), attempt.into());
        Values::default()
            .with("inputs", Arc::clone(&self.inputs))
            .with("secrets", Arc::clone(&self.secrets))
            .with("host", Arc::clone(&self.host))
            .with("run", Json::Object(run))
    }
}
