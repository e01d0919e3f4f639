use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::artifact::ArtifactRef;
use super::encrypt::threads;
use super::reading::Metered;
use super::{Context, Effect, Findings, Flow, Known, Stage, StageError};
use crate::audit::Record;
use crate::crypto::{self, Identity, Key};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::value::{FilePath, Secret};

/// Settings of `decrypt`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("minProperties" = 2))]
pub(super) struct Decrypt {
    /// What to open: an age v1 file.
    artifact: ArtifactRef,
    /// The identity, from a secret.
    identity: Option<Secret>,
    /// A file of identities, one a line.
    identity_file: Option<FilePath>,
}

/// Outputs of `decrypt`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The opened bytes.
    artifact: ArtifactRef,
    /// To whom the identities belong.
    recipients: Vec<String>,
}

impl Stage for Decrypt {
    const NAME: &'static str = "decrypt";
    const ABOUT: &'static str = "opens an age v1 file";
    const FLOW: Flow = Flow::Filter;
    const EFFECTS: &'static [Effect] = &[Effect::Opens];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let mut identities = Vec::new();
        if let Some(secret) = &self.identity {
            let parsed = crypto::parse_identities(&context.reveal(secret.expose(), "identity")?);
            identities.extend(parsed.map_err(|error| {
                Diagnostic::failure(codes::TL0621, "the secret `identity` holds no identity").cause(&error)
            })?);
        }
        if let Some(path) = &self.identity_file {
            identities.extend(identities_in(path.as_path())?);
        }
        let recipients: Vec<String> = identities.iter().map(|identity| identity.recipient().to_string()).collect();
        let keys: Vec<Key> = identities.into_iter().map(Key::X25519).collect();
        context.record(Record::KeyUsed { name: context.name(), recipients: recipients.clone() })?;
        let mut input = Metered { reader: context.open(&self.artifact)?, context };
        let (artifact, mut output) = context.create()?;
        crypto::open(&keys, &mut input, &mut output, threads())
            .map_err(|error| context.cancelled().unwrap_or_else(|| error.into()))?;
        output.finish().map_err(|error| super::download::write_failed(context, &error))?;
        Ok(Outputs { artifact, recipients })
    }

    fn check_files(with: &Known<'_>, found: &mut Findings) {
        let Some(setting) = with.get("identity-file") else { return };
        if let Some(Err(problem)) = setting.file_of_machine().map(|path| identities_in(&path)) {
            found.at_value(&setting, problem);
        }
    }
}

/// The identities in a file.
fn identities_in(path: &Path) -> Result<Vec<Identity>> {
    crypto::read_identities(path).map_err(|error| {
        let message = format!("the identities in `{}` cannot be used", path.display());
        Diagnostic::failure(codes::TL0621, message).cause(&error)
    })
}
