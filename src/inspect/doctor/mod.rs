//! Tries what a pipeline needs of its machine and of others, without running it: the state folder, secrets, stores, channels, and
//! the files and programs of its stages.

mod examine;
mod stages;
mod state;

pub use examine::{DoctorItem, doctor};
