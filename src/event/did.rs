use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a stage did, in numbers and words. Its kind says so by its outputs; a field is left out where it has nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Did {
    /// The number of files it handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The number of bytes it handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The size of the object that it delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<u64>,
    /// The number of files it could not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// The level to which it proved an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The object that it delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

impl Did {
    /// Whether no field is set.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The bytes handled: those its outputs name, else those that its meter counted.
    pub fn bytes_or(&self, counted: Option<u64>) -> Option<u64> {
        self.bytes.or(counted)
    }
}
