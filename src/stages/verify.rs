use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reading::read_object;
use super::upload::{ObjectRef, parse_key};
use super::{Context, Effect, Expected, Flow, Stage, StageError};
use crate::audit::Record;
use crate::diagnostic::{Code, Diagnostic, Kind, Result, codes};
use crate::event::Did;
use crate::storage::{Error, ObjectId, Stat};

/// Settings of `verify`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Verify {
    /// What to prove.
    pub(super) object: ObjectRef,
    /// How thoroughly.
    #[serde(default)]
    pub(super) level: Level,
}

/// How thoroughly an object is proven. Each level includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    /// It is there, in the right length.
    Presence,
    /// The digest that the store keeps for it is that of the source. Its bytes are not read.
    Checksum,
    /// Every byte is read back, and is the source's.
    #[default]
    Content,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Checksum => "checksum",
            Self::Content => "content",
        }
    }
}

/// Outputs of `verify`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The level that was reached.
    pub(super) level: Level,
    /// How many bytes were read back.
    pub(super) checked_bytes: u64,
}

impl Stage for Verify {
    const NAME: &'static str = "verify";
    const ABOUT: &'static str = "compares what a store holds with what was computed at the source";
    const FLOW: Flow = Flow::None;
    const EFFECTS: &'static [Effect] = &[Effect::Proves { object: "object" }];
    type Outputs = Outputs;

    fn run(self, context: &Context) -> Result<Outputs, StageError> {
        let uri = self.object.uri.clone();
        match self.check(context) {
            Ok(outputs) => {
                let (level, checked_bytes) = (outputs.level.word().to_owned(), outputs.checked_bytes);
                context.record(Record::VerifyPassed { name: context.name(), uri, level, checked_bytes })?;
                Ok(outputs)
            }
            Err(error) if error.kind == Kind::Verification => {
                context.record(Record::VerifyFailed { name: context.name(), uri, error: error.one_line() })?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn summary(outputs: &Outputs) -> Did {
        Did { bytes: Some(outputs.checked_bytes), level: Some(outputs.level.word().to_owned()), ..Did::default() }
    }
}

impl Verify {
    fn check(&self, context: &Context) -> Result<Outputs> {
        let store = context.store(&self.object.store)?;
        let key = parse_key(&self.object.key)?;
        let uri = store.uri(&key);
        let expected = self.expected(context, &uri)?;
        let failed = |error: Error| context.cancelled().unwrap_or_else(|| error.into());
        let object = ObjectId { key, version: self.object.version_id.clone() };
        let stat = match store.stat(&object, &context.cancel) {
            Err(error @ Error::Foreign { .. }) => return Err(unproven(codes::TL0640, error.to_string())),
            other => other.map_err(failed)?.ok_or_else(|| unproven(codes::TL0640, format!("`{uri}` is gone")))?,
        };
        if stat.size != expected.digest.size {
            let message = format!("`{uri}` has {} bytes where the source gave {}", stat.size, expected.digest.size);
            return Err(unproven(codes::TL0641, message));
        }
        self.check_lock(&stat, &uri)?;
        if self.level >= Level::Checksum {
            let kept: Vec<(&String, bool)> = stat
                .checksums
                .iter()
                .filter_map(|(name, kept)| Some((name, expected.checksums.get(name)? == kept)))
                .collect();
            if let Some((name, _)) = kept.iter().find(|(_, same)| !same) {
                return Err(unproven(
                    codes::TL0642,
                    format!("the {name} that is kept for `{uri}` is not the source's"),
                ));
            }
            // Reading every byte proves more than a stored checksum would.
            if kept.is_empty() && self.level == Level::Checksum {
                let message =
                    format!("level `presence` was reached: the store keeps no checksum to compare of `{uri}`");
                return Err(unproven(codes::TL0643, message));
            }
        }
        if self.level < Level::Content {
            return Ok(Outputs { level: self.level, checked_bytes: 0 });
        }
        let bytes = match store.open(&object, &context.cancel) {
            Err(error @ (Error::NoObject { .. } | Error::Foreign { .. })) => {
                return Err(unproven(codes::TL0640, error.to_string()));
            }
            other => other.map_err(failed),
        };
        match bytes.and_then(|mut bytes| read_object(context, &uri, &mut bytes, |_| Ok(()))) {
            Ok(found) if found == expected.digest => Ok(Outputs { level: self.level, checked_bytes: found.size }),
            Ok(found) => {
                let message = format!("`{uri}` reads back as {found} where the source gave {}", expected.digest);
                Err(unproven(codes::TL0642, message))
            }
            Err(refused) if refused.kind == Kind::Key => {
                let message = format!("level `checksum` was reached at most: {}", refused.one_line());
                Err(unproven(codes::TL0643, message))
            }
            // The store knew of it a moment ago.
            Err(gone) if gone.code == codes::TL0631 => Err(unproven(codes::TL0640, format!("`{uri}` is gone"))),
            Err(error) => Err(error),
        }
    }

    fn check_lock(&self, stat: &Stat, uri: &str) -> Result<()> {
        let Some(until) = self.object.lock_until.as_deref() else { return Ok(()) };
        let asked: Timestamp = until.parse().map_err(|error| {
            Diagnostic::failure(codes::TL0644, "the `lock_until` of the object is not a time").cause(&error)
        })?;
        match stat.lock.and_then(|lock| lock.retention) {
            Some((_, found)) if found >= asked => Ok(()),
            Some((_, found)) => {
                Err(unproven(codes::TL0657, format!("`{uri}` is locked until {found}, not until {asked}")))
            }
            None => Err(unproven(codes::TL0657, format!("`{uri}` is not locked, but must be until {asked}"))),
        }
    }

    /// The expected content: as computed at the source in this run, otherwise as the file states it.
    fn expected(&self, context: &Context, uri: &str) -> Result<Expected> {
        match (context.shared.ledger.expected(uri), self.object.expected()) {
            (Some(source), Some(stated)) if source.digest != stated.digest => {
                Err(unproven(codes::TL0642, format!("what was delivered to `{uri}` is not what its source gave")))
            }
            (Some(known), _) | (None, Some(known)) => Ok(known),
            (None, None) => {
                Err(Diagnostic::failure(codes::TL0644, "the `digest` of the object is not `sha256:` and 64 digits"))
            }
        }
    }
}

fn unproven(code: Code, message: String) -> Diagnostic {
    Diagnostic::new(code, Kind::Verification, message)
        .help("do not count on this object: find out what changed it, then deliver it again")
}
