use serde_json::Value as Json;

use super::StageKind;
use crate::stages::ObjectRef;

/// A key of `with`.
pub type Setting = &'static str;

/// One thing that a kind does to data or to the outside world, with the settings that name what it acts on. Policy,
/// warnings, plans and recall read these declarations; none of them knows a kind by its name.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Reads local files.
    Reads(Reading),
    /// Encrypts its input for recipients.
    Seals {
        /// The recipients.
        recipients: Setting,
        /// A file with recipients.
        file: Setting,
    },
    /// Decrypts its input.
    Opens,
    /// Writes its input to a store, as one object.
    Delivers(Delivery),
    /// Reads an object from a store. The object may be sealed or not.
    Fetches {
        /// The store.
        store: Setting,
        /// The name of the object.
        key: Setting,
    },
    /// Verifies that a store holds what was delivered.
    Proves {
        /// The object: an [`ObjectRef`].
        object: Setting,
    },
    /// Sends messages to people.
    Tells,
}

/// The settings of a reading of local files.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The files and folders to read: one path or a list.
    pub paths: Setting,
    /// Whether to stay on the file system of each path, where there is a choice.
    pub one_device: Option<Setting>,
}

/// The settings of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// The store.
    pub store: Setting,
    /// The name of the object.
    pub key: Setting,
    /// Whether it may replace an existing object.
    pub overwrite: Option<Setting>,
    /// How the object is locked: an `ObjectLock`.
    pub lock: Option<Setting>,
    /// Whether a later attempt can resume the upload. The artifact must then be in a file.
    pub resume: Option<Setting>,
    /// The output that names the object: an [`ObjectRef`].
    pub object: &'static str,
}

/// What a setting decides about the objects that a run writes. A plan file holds the values of these settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decides {
    /// The store.
    Store,
    /// The name of an object.
    Key,
    /// Whether an object may be replaced.
    Overwrite,
    /// How an object is locked.
    Lock,
    /// Who can open an object.
    Recipients,
}

impl StageKind {
    /// How the kind delivers, if it does.
    pub fn delivery(&self) -> Option<&'static Delivery> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Delivers(delivery) => Some(delivery),
            _ => None,
        })
    }

    /// The setting that names the object to verify.
    pub fn proved(&self) -> Option<Setting> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Proves { object } => Some(*object),
            _ => None,
        })
    }

    /// What it reads of this machine's files.
    pub fn reading(&self) -> Option<&'static Reading> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Reads(reading) => Some(reading),
            _ => None,
        })
    }

    /// The setting with recipients, and the one with a file of recipients.
    pub fn seals(&self) -> Option<(Setting, Setting)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Seals { recipients, file } => Some((*recipients, *file)),
            _ => None,
        })
    }

    /// The name of the store that the kind uses with these settings.
    pub fn store<'a>(&self, with: &'a Json) -> Option<&'a str> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Delivers(Delivery { store, .. }) | Effect::Fetches { store, .. } => with.get(store)?.as_str(),
            Effect::Proves { object } => ObjectRef::place(with.get(object)?)?.0.as_str(),
            _ => None,
        })
    }

    /// What a setting decides about the objects of a run, if anything.
    pub fn decides(&self, setting: &str) -> Option<Decides> {
        let decided = |effect: &Effect| match *effect {
            Effect::Delivers(Delivery { store, key, overwrite, lock, .. }) => vec![
                (Some(store), Decides::Store),
                (Some(key), Decides::Key),
                (overwrite, Decides::Overwrite),
                (lock, Decides::Lock),
            ],
            Effect::Fetches { store, key } => vec![(Some(store), Decides::Store), (Some(key), Decides::Key)],
            Effect::Seals { recipients, file } => {
                vec![(Some(recipients), Decides::Recipients), (Some(file), Decides::Recipients)]
            }
            _ => Vec::new(),
        };
        let mut all = self.effects.iter().flat_map(decided);
        all.find(|(name, _)| *name == Some(setting)).map(|(_, decides)| decides)
    }
}
