use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::artifact::ArtifactRef;
use super::reading::Metered;
use super::{Context, Effect, Findings, Flow, Known, Stage, StageError};
use crate::audit::Record;
use crate::crypto::{self, Recipient};
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::value::FilePath;

/// Settings of `encrypt`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("minProperties" = 2))]
pub(super) struct Encrypt {
    /// What to seal.
    artifact: ArtifactRef,
    /// Who may open it: recipients as `tl key show` prints them.
    #[serde(default)]
    #[schemars(length(min = 1), inner(regex(pattern = "^age1[02-9ac-hj-np-z]{58}$")))]
    recipients: Vec<String>,
    /// A file of recipients, one a line.
    recipients_file: Option<FilePath>,
}

/// Outputs of `encrypt`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The sealed bytes: an age v1 file.
    artifact: ArtifactRef,
    /// Who may open it.
    recipients: Vec<String>,
}

impl Stage for Encrypt {
    const NAME: &'static str = "encrypt";
    const ABOUT: &'static str = "seals an artifact as an age v1 file";
    const FLOW: Flow = Flow::Filter;
    const EFFECTS: &'static [Effect] = &[Effect::Seals { recipients: "recipients", file: "recipients-file" }];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let recipients = self.recipients()?;
        let names: Vec<String> = recipients.iter().map(ToString::to_string).collect();
        context.record(Record::SealIntent { name: context.name(), recipients: names.clone() })?;
        let mut input = Metered { reader: context.open(&self.artifact)?, context };
        let (artifact, mut output) = context.create()?;
        let sealed = crypto::seal(&recipients, &mut input, &mut output, threads())
            .map_err(|error| context.cancelled().unwrap_or_else(|| error.into()))?;
        output.finish().map_err(|error| super::download::write_failed(context, &error))?;
        context.record(Record::SealDone {
            name: context.name(),
            size: sealed.sealed_bytes,
            plaintext_size: sealed.plaintext_bytes,
            header_sha256: crate::value::hex(&sealed.header_sha256),
        })?;
        Ok(Outputs { artifact, recipients: names })
    }

    fn check_files(with: &Known<'_>, found: &mut Findings) {
        let Some(setting) = with.get("recipients-file") else { return };
        if let Some(Err(problem)) = setting.file().map(|path| recipients_in(&path)) {
            found.at_value(&setting, problem);
        }
    }
}

/// The recipients in a file.
fn recipients_in(path: &Path) -> Result<Vec<Recipient>> {
    let failed = |error: &dyn std::error::Error| {
        Diagnostic::failure(codes::TL0620, format!("the recipients in `{}` cannot be used", path.display()))
            .cause(error)
    };
    let make = "make an identity on another machine, with `tl key new -o identity.txt --recipients recipients.txt`, and put \
                `recipients.txt` here";
    let text = fs::read_to_string(path).map_err(|error| failed(&error).help(make))?;
    let print = "one recipient a line, as `tl key show IDENTITY-FILE` prints them";
    crypto::parse_recipients(&text).map_err(|error| failed(&error).help(print))
}

impl Encrypt {
    fn recipients(&self) -> Result<Vec<Recipient>> {
        let mut recipients = Vec::new();
        for text in &self.recipients {
            recipients.push(text.parse().map_err(|error| {
                Diagnostic::failure(codes::TL0620, format!("`{text}` is no recipient")).cause(&error)
            })?);
        }
        if let Some(path) = &self.recipients_file {
            recipients.extend(recipients_in(path.as_path())?);
        }
        Ok(recipients)
    }
}

/// The number of threads. Sealing and opening use all cores.
pub(super) fn threads() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
