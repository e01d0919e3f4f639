//! Commands on pipeline files. They read, check, draw, write and rewrite them, and run nothing.
//!
//! A file that is rewritten or listed must be a regular file. A file that is validated or run may be a pipe: who names one
//! says that somebody writes to it.

mod confirm;
mod doctor;
mod graph;
mod init;
mod migrate;
mod plan;
mod schema;
mod validate;
mod versions;

pub(super) use doctor::{Doctor, doctor};
pub(super) use graph::{Graph, graph};
pub(super) use init::{Init, init};
pub(super) use migrate::{Migrate, migrate};
pub(super) use plan::{Plan, plan};
pub(super) use schema::{Schema, schema};
pub(super) use validate::{Validate, validate};
pub(super) use versions::{Versions, versions};
