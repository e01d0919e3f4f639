//! A pipeline as typed values.
//!
//! A checked file flows in. A [`Pipeline`] flows out; its settings still hold expressions as text. Nothing here reads a
//! file or evaluates an expression. Doc comments of the fields are the descriptions in the published schema.

mod inputs;
mod notification;
mod pipeline;
mod references;
mod rules;
mod strategy;

pub(super) use inputs::fits;
pub use inputs::resolve_inputs;
pub use notification::{Notification, When};
pub use pipeline::{Input, OnWarning, Pipeline, Retry, Run, SecretSource, Stage, StoreOrChannel, Version};
pub use references::{artifact_source, expressions_in};
pub(super) use references::{output_of, whole_path};
pub use rules::{Concurrency, Expect, IfBusy, Policy};
pub(super) use strategy::{EXCLUDE, INCLUDE};
pub use strategy::{Matrix, Strategy};
