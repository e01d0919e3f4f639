//! A pipeline file made ready, with nothing run.
//!
//! A path and inputs flow in. A checked pipeline, its inputs, the environment, secrets, stores and channels flow out, for one
//! run, a message or a look. Errors of the state folder, the audit log and settings become diagnostics here (`error.rs`).
//! What never happens here: no stage starts, no message is sent, nothing is written except audit records that a caller asks
//! for.

mod channels;
mod contexts;
mod environment;
mod error;
mod files;
mod git;
mod instances;
mod kind;
mod last_good;
mod loaded;
mod needed;
mod recorder;
mod secrets;
mod stores;
mod templates;

pub(crate) use channels::{Channels, open_channel, open_channels};
pub(crate) use contexts::{Contexts, run_values};
pub(crate) use environment::RunEnvironment;
pub(crate) use environment::start_values;
pub(crate) use error::{audit_error, database_error};
pub(crate) use error::{no_channel, state_error, unresolved, unwritten};
pub(crate) use files::place_of;
pub(crate) use files::{absolute, yaml_files_below};
pub(crate) use instances::expand;
pub(crate) use last_good::{inputs_of, last_good, last_good_of, load_again, runs_of};
pub(crate) use loaded::{Loaded, check, check_files, load, runnable, settle};
pub(crate) use loaded::{base_of, for_messages, input_texts, settle_with};
pub(crate) use needed::{secrets_in, secrets_of_channel, secrets_of_run};
pub(crate) use recorder::LogRecorder;
pub(crate) use secrets::{NUL_SECRET, SHORT_SECRET, SHORTEST_SECRET};
pub(crate) use secrets::{Secrets, open_source, read_needed, read_secret, read_secrets};
pub(crate) use stores::{open_places, open_store};
pub(crate) use templates::{News, Rendered, lateness, render, sample, split, stage as stage_values, values};
