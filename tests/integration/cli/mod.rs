//! What commands print and exit with: help, reports, history, templates, pipelines checked without a run.

#[cfg(feature = "peers")]
mod checkers;
mod commands;
mod explain;
mod history;
mod init;
mod manual;
mod migrate;
mod quickstart;
mod reporters;
mod trace;
mod validate;
mod versions;
