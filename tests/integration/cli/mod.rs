//! The output and exit codes of commands: help, reports, history, templates, and checks that run no pipeline.

#[cfg(feature = "peers")]
mod checkers;
mod commands;
mod explain;
mod history;
mod init;
mod manual;
mod migrate;
mod quickstart;
mod refusals;
mod reporters;
mod trace;
mod validate;
mod versions;
