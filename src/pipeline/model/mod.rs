//! A pipeline as typed values.
//!
//! A file whose schema and checks are satisfied flows in. A [`Pipeline`] flows out, whose settings still hold expressions
//! as text. Nothing here reads a file or evaluates an expression.

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
