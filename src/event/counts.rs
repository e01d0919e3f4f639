use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the success of a run is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// Everything was delivered, and every object that the file verifies was proven.
    Proven,
    /// Everything was delivered, and the file verifies nothing.
    Delivered,
    /// The file delivers nothing, and all of it was done.
    Complete,
}

impl Assurance {
    /// The word that the journal and the audit log keep.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Delivered => "delivered",
            Self::Complete => "complete",
        }
    }

    /// The assurance with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Proven, Self::Delivered, Self::Complete].into_iter().find(|one| one.word() == word)
    }
}

/// Whether a run counts as the success that `expect` and monitors wait for, and how much it handled. `tl stale`, `tl stats` and
/// messages read this alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// How far its success is proven; left out if it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assurance: Option<Assurance>,
    /// The time for which it counts: RFC 3339, UTC. That of its last delivery, if an earlier session delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Why it does not count although it ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The files that it collected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The bytes that it delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Counts {
    /// Whether it says nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
