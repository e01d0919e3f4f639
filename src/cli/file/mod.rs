//! Commands on pipeline files: they read, check, draw, write and rewrite them, and run nothing.

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
