//! The values that expressions can use.

use std::sync::Arc;

use jiff::Zoned;
use serde_json::{Map, Value as Json, json};

use super::environment::RunEnvironment;
use super::loaded::Loaded;
use crate::expression::Values;
use crate::value::object;

/// The value of `run`, without `attempt`. It is fixed when the run starts: object keys are made of it, so a resumed run must
/// see the same.
pub(crate) fn run_values(pipeline: &str, run: &str, now: &Zoned) -> Map<String, Json> {
    object(json!({
        "id": run,
        "date": now.strftime("%Y-%m-%d").to_string(),
        "time": now.strftime("%H-%M-%S").to_string(),
        "weekday": now.strftime("%A").to_string().to_lowercase(),
        "pipeline": pipeline,
    }))
}

/// The values that are the same for every expression of a run.
pub(crate) struct Contexts {
    inputs: Arc<Json>,
    secrets: Arc<Json>,
    environment: RunEnvironment,
    run: Map<String, Json>,
}

impl Contexts {
    /// `run` is what [`run_values`] gave when the run started.
    pub(crate) fn new(loaded: &Loaded, secrets: Map<String, Json>, run: Map<String, Json>) -> Self {
        Self {
            inputs: Arc::new(Json::Object(loaded.inputs.clone())),
            secrets: Arc::new(Json::Object(secrets)),
            environment: loaded.environment.clone(),
            run,
        }
    }

    /// The values for an expression in this attempt.
    pub(crate) fn values(&self, attempt: u32) -> Values {
        let mut run = self.run.clone();
        run.insert("attempt".to_owned(), attempt.into());
        let values = Values::default()
            .with("inputs", Arc::clone(&self.inputs))
            .with("secrets", Arc::clone(&self.secrets))
            .with("run", Json::Object(run));
        self.environment.add_to(values)
    }
}
