//! A kind for tests. It delivers and verifies, under names that no shipped kind uses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::artifact::ArtifactRef;
use super::upload::Upload;
use super::verify::{Level, Verify};
use super::{Context, Delivery, Effect, Findings, Flow, Known, ObjectRef, Shared, Stage, StageError};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::event::Did;
use crate::value::Cancel;

/// Settings of `deposit`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Deposit {
    /// What to deliver.
    artifact: ArtifactRef,
    /// The store, by the name it has in `stores`.
    #[schemars(extend("x-tl-type" = "store"))]
    vault: String,
    /// The name of the object in the store.
    label: String,
    /// Replace an object that is there already.
    #[serde(default)]
    replacing: bool,
    /// Another object, which is proven first.
    earlier: ObjectRef,
}

/// Outputs of `deposit`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// What was delivered.
    receipt: ObjectRef,
    /// How many bytes of the other object were read back.
    reread: u64,
}

impl Stage for Deposit {
    const NAME: &'static str = "deposit";
    const ABOUT: &'static str = "proves an object and delivers another one";
    const FLOW: Flow = Flow::Sink;
    const EFFECTS: &'static [Effect] = &[
        Effect::Delivers(Delivery {
            store: "vault",
            key: "label",
            overwrite: Some("replacing"),
            lock: None,
            resume: None,
            object: "receipt",
        }),
        Effect::Proves { object: "earlier" },
    ];

    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let proven = Verify { object: self.earlier, level: Level::Content }.run(context)?;
        let upload = Upload {
            artifact: self.artifact,
            store: self.vault,
            key: self.label,
            overwrite: self.replacing,
            resume: false,
            object_lock: None,
        };
        Ok(Outputs { receipt: upload.run(context)?.object, reread: proven.checked_bytes })
    }

    fn check(with: &Known<'_>, found: &mut Findings) {
        if let Some(label) = with.get("label").filter(|label| label.text().is_some_and(|text| text.contains(' '))) {
            found.at_value(&label, Diagnostic::usage(codes::TL0205, "a label holds no blanks"));
        }
    }

    fn summary(outputs: &Outputs) -> Did {
        Did { level: Some(Level::Content.word().to_owned()), ..outputs.receipt.summary() }
    }

    fn still_holds(outputs: &Json, key: &str, shared: &Shared, cancel: &Cancel) -> Result<bool> {
        Upload::still_holds(&json!({ "object": outputs["receipt"] }), key, shared, cancel)
    }
}
