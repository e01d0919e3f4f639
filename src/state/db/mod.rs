//! `state.db`: one `SQLite` database in WAL mode, durable at each commit, in the version of this release.

mod database;
mod migrate;

pub use database::DbError;
pub(super) use database::{Db, path_of, path_value};
