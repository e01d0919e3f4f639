use serde_json::Value as Json;

use super::{ObjectRef, StageKind};

/// A key of `with`.
pub type Setting = &'static str;

/// One thing that a kind does to data or to the world, with the settings that name its subjects. Policy, warnings, plans and
/// recall read these and know no kind by its name.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Reads files of this machine.
    Reads {
        /// Files and folders.
        paths: Setting,
        /// Whether it stays on the file system of each.
        one_device: Setting,
    },
    /// Gives bytes that only its recipients can read.
    Seals {
        /// The recipients.
        recipients: Setting,
        /// A file of recipients.
        file: Setting,
    },
    /// Gives plaintext of sealed bytes.
    Opens,
    /// Writes what it takes to a store, as one object.
    Delivers(Delivery),
    /// Gives the bytes of an object, which may be sealed or not.
    Fetches {
        /// The store.
        store: Setting,
        /// The name of the object.
        key: Setting,
    },
    /// Shows that a store holds what was delivered.
    Proves {
        /// The object: an [`ObjectRef`].
        object: Setting,
    },
    /// Sends messages to people.
    Tells,
}

/// How a kind delivers.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// The store.
    pub store: Setting,
    /// The name of the object.
    pub key: Setting,
    /// Whether it may replace an object.
    pub overwrite: Option<Setting>,
    /// How the object is locked: an `ObjectLock`.
    pub lock: Option<Setting>,
    /// Whether a later attempt goes on where an earlier one stopped. Its bytes must then be in a file.
    pub resume: Option<Setting>,
    /// The output that names the object: an [`ObjectRef`].
    pub object: &'static str,
}

/// What a setting decides of the objects that a run writes. A kept plan holds these settings with their values.
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
    /// Who can open it.
    Recipients,
}

impl StageKind {
    /// How it delivers, if it does.
    pub fn delivery(&self) -> Option<&'static Delivery> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Delivers(delivery) => Some(delivery),
            _ => None,
        })
    }

    /// The setting with the object that it proves.
    pub fn proved(&self) -> Option<Setting> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Proves { object } => Some(*object),
            _ => None,
        })
    }

    /// The setting with the paths that it reads, and the one that keeps it on their file systems.
    pub fn reads(&self) -> Option<(Setting, Setting)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Reads { paths, one_device } => Some((*paths, *one_device)),
            _ => None,
        })
    }

    /// The settings with recipients, and with a file of them.
    pub fn seals(&self) -> Option<(Setting, Setting)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Seals { recipients, file } => Some((*recipients, *file)),
            _ => None,
        })
    }

    /// The name of a store that it reaches with these settings.
    pub fn store<'a>(&self, with: &'a Json) -> Option<&'a str> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Delivers(Delivery { store, .. }) | Effect::Fetches { store, .. } => with.get(store)?.as_str(),
            Effect::Proves { object } => ObjectRef::place(with.get(object)?)?.0.as_str(),
            _ => None,
        })
    }

    /// What a setting decides, if anything.
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
