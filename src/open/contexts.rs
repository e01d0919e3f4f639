//! The values that expressions can use.

use std::sync::Arc;

use jiff::Zoned;
use serde_json::{Map, Value as Json, json};

use super::environment::RunEnvironment;
use super::loaded::Loaded;
use super::needed::secrets_in;
use crate::expression::Values;
use crate::pipeline::StoreOrChannel;
use crate::value::object;
use crate::vault;

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
    /// The placeholders of secrets.
    placeholders: Arc<Json>,
    /// Reveals them.
    pub(super) secrets: Arc<vault::Secrets>,
    environment: RunEnvironment,
    run: Map<String, Json>,
}

impl Contexts {
    /// `run` is what [`run_values`] gave when the run started.
    pub(crate) fn new(loaded: &Loaded, secrets: &Arc<vault::Secrets>, run: Map<String, Json>) -> Self {
        Self {
            inputs: Arc::new(Json::Object(loaded.inputs.clone())),
            placeholders: Arc::new(secrets.placeholders().collect()),
            secrets: Arc::clone(secrets),
            environment: loaded.environment.clone(),
            run,
        }
    }

    /// Whether every secret that a store or channel uses was to be read.
    pub(super) fn can_open(&self, declared: &StoreOrChannel) -> bool {
        !secrets_in(declared.with.values()).iter().any(|name| self.secrets.is_unread(name))
    }

    /// The values for an expression in this attempt.
    pub(crate) fn values(&self, attempt: u32) -> Values {
        let mut run = self.run.clone();
        run.insert("attempt".to_owned(), attempt.into());
        let values = Values::default()
            .with("inputs", Arc::clone(&self.inputs))
            .with("secrets", Arc::clone(&self.placeholders))
            .with("run", Json::Object(run));
        self.environment.add_to(values)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::open::load;
    use crate::pipeline::resolve;
    use crate::value::Secret;
    use crate::vault::Uses;

    const TEXT: &str = "hunter2-hunter2";

    #[test]
    fn settings_hold_placeholders_and_only_reveal_gives_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        let text = "version: 1\nname: t\nsecrets: { a: { from: env, name: A } }\nstages:\n  s:\n    env:\n      WHOLE: '${{ secrets.a }}'\n      \
                    SUM: \"${{ 'Bearer ' + secrets.a }}\"\n      CHOICE: \"${{ run.attempt == 1 ? secrets.a : 'none' }}\"\n      INSIDE: \
                    'https://${{ secrets.a }}/x'\n    run: ['true']\n";
        fs::write(&file, text).unwrap();
        let loaded = load(&file, &BTreeMap::new()).unwrap();
        let secrets = Arc::new(vault::Secrets::new(vec![("a".to_owned(), Secret::new(TEXT.to_owned()))], []));
        let contexts = Contexts::new(&loaded, &secrets, Map::new());
        let env = Json::Object(loaded.pipeline.stages["s"].env.clone().into_iter().collect());
        let resolved = resolve(&env, &Json::Null, &contexts.values(1), &loaded.document, "/stages/s/env").unwrap();
        assert!(!resolved.to_string().contains(TEXT), "{resolved}");
        let expected = [
            ("WHOLE", TEXT.to_owned()),
            ("SUM", format!("Bearer {TEXT}")),
            ("CHOICE", TEXT.to_owned()),
            ("INSIDE", format!("https://{TEXT}/x")),
        ];
        for (name, expected) in expected {
            let held = resolved[name].as_str().unwrap();
            let revealed = secrets.reveal::<()>(held, "env", &Uses::default(), &mut |_| Ok(())).unwrap();
            assert_eq!(*revealed, expected);
            assert_eq!(secrets.masker().mask(held), secrets.masker().mask(&expected), "a key is the same");
        }
    }
}
