//! Commands on identities, secrets and sealed files.

mod arguments;
mod key;
mod seal;
mod secret;
mod secret_input;

pub(super) use arguments::{Key, Open, Seal, Secret};
pub(super) use key::key;
pub(super) use seal::{open, seal};
pub(super) use secret::secret;
