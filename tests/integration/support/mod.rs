//! What tests share: the real `tl` in a folder of its own, its events, processes and terminals, servers, trees to compare.
//!
//! A test file imports nothing from another test file; what two of them need stands here or in a `sample.rs` beside them.

mod bell;
#[cfg(feature = "peers")]
mod disk;
mod events;
pub mod faulty_s3;
mod preload;
mod processes;
mod program;
pub mod receiver;
mod repository;
mod s3;
#[cfg(feature = "peers")]
pub mod servers;
#[cfg(feature = "peers")]
pub mod smtp;
mod terminal;
pub mod tree;
pub mod uploads;
pub mod writes;

pub use bell::BELL;
#[cfg(feature = "peers")]
pub use disk::Disk;
pub use events::{Event, Outcome, What, error_of, event, event_unless_cut, events, outcomes, pairs, read_events};
pub use preload::preloaded;
pub use processes::{Process, collected, group_ended, in_session, is_root, kill, left, processes, signal, wait_for};
pub use program::{CHAIN, Ended, Tl, ended, files};
#[cfg(feature = "peers")]
pub use repository::tools;
pub use repository::{files_of, pipelines_below, root};
pub use s3::{KEYS, archive_of, keyed, noise, with_keys};
pub use terminal::terminal;
