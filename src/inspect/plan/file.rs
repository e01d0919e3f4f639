//! Plan files: written by `tl plan --out`, read by `tl run`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::compare::{Difference, compare};
use super::contract::contract;
use crate::diagnostic::{Diagnostic, Result, codes};
use crate::open::{Loaded, absolute, input_texts, settle};
use crate::value::sha256;

/// The key that identifies a plan. Its value is the version of the format.
const MARK: &str = "tl-plan";
const NEWEST: u64 = 1;
/// Files above this size are not read as plans.
const LARGEST: u64 = 64 << 20;
/// The mark is the first key, so it is within this many bytes, also in a plan that is cut off.
const BEGINNING: usize = 64;

/// A plan file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlanFile {
    /// The version of the format.
    tl_plan: u64,
    /// The release that made it.
    made_by: String,
    /// The absolute path of the pipeline file.
    pub file: PathBuf,
    /// That file and the files that it extends, with their digests.
    files: Vec<Text>,
    /// The value of each input.
    inputs: Map<String, Json>,
    /// The contract that a run is held to.
    contract: Json,
    /// The digest of the plan file itself.
    #[serde(skip)]
    pub sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    path: PathBuf,
    sha256: String,
}

/// The text of the plan file of a loaded pipeline.
pub fn plan_text(loaded: &Loaded) -> Result<String> {
    let text = |(name, text): (&str, &str)| Text { path: absolute(Path::new(name)), sha256: sha256(text) };
    let plan = PlanFile {
        tl_plan: NEWEST,
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        file: loaded.path.clone(),
        files: loaded.document.files().map(text).collect(),
        inputs: loaded.inputs.clone(),
        contract: contract(loaded)?,
        sha256: String::new(),
    };
    let text = serde_json::to_string_pretty(&plan).map_err(|error| {
        let message = format!("no plan can be kept of `{}`", loaded.document.name());
        Diagnostic::usage(codes::TL0776, message).cause(&error).help("give the files names in UTF-8")
    })?;
    Ok(text + "\n")
}

/// Whether a text is a plan, complete or damaged: a JSON object with the key `tl-plan`.
pub fn is_plan(content: &[u8]) -> bool {
    let text = content.trim_ascii_start();
    let mark = format!("\"{MARK}\"");
    text.starts_with(b"{")
        && (text[..text.len().min(BEGINNING)].windows(mark.len()).any(|part| part == mark.as_bytes())
            || serde_json::from_slice::<Map<String, Json>>(text).is_ok_and(|map| map.contains_key(MARK)))
}

/// Reads a plan file. `None` if the file is not a plan or does not exist. A pipe cannot be a plan: it cannot be read
/// twice.
pub fn open_plan(path: &Path) -> Result<Option<PlanFile>> {
    let mut content = Vec::new();
    if fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() <= LARGEST) {
        // The caller then reads it as a pipeline, and reports why it cannot be read.
        let _unread = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut content));
    }
    if is_plan(&content) { PlanFile::parse(path, &content).map(Some) } else { Ok(None) }
}

impl PlanFile {
    fn parse(path: &Path, content: &[u8]) -> Result<Self> {
        let name = path.display();
        let damaged = |error: &serde_json::Error| {
            let help = "make it again: `tl plan FILE --out plan.json`";
            Diagnostic::usage(codes::TL0770, format!("the plan `{name}` is damaged")).cause(error).help(help)
        };
        let value: Json = serde_json::from_slice(content).map_err(|error| damaged(&error))?;
        if let Some(later) = value[MARK].as_u64().filter(|version| *version > NEWEST) {
            let message = format!("the plan `{name}` has version {later}");
            let help = format!(
                "tl {} knows version {NEWEST}: install a later release, or make the plan again",
                env!("CARGO_PKG_VERSION")
            );
            return Err(Diagnostic::usage(codes::TL0771, message).help(help));
        }
        let mut plan: Self = serde_json::from_value(value).map_err(|error| damaged(&error))?;
        if plan.tl_plan != NEWEST {
            return Err(damaged(&serde::de::Error::custom(format!("`{MARK}` must be {NEWEST}"))));
        }
        if !plan.file.exists() {
            let message = format!("the pipeline file `{}` of the plan `{name}` is gone", plan.file.display());
            return Err(Diagnostic::usage(codes::TL0772, message)
                .help("bring it back, or make a plan of the file as it is now"));
        }
        plan.sha256 = sha256(content);
        Ok(plan)
    }

    /// Loads the pipeline file as it is now, with the inputs of the plan.
    pub fn settle(
        &self,
        checked: (crate::pipeline::Document, crate::pipeline::Outline),
    ) -> Result<Loaded, Vec<Diagnostic>> {
        settle(checked, &self.file, &input_texts(&self.inputs))
    }

    /// The differences between the plan and the file. A run may start only if there are none.
    pub fn differences(&self, loaded: &Loaded) -> Result<Vec<Difference>> {
        Ok(compare(&self.contract, &contract(loaded)?, loaded))
    }
}
