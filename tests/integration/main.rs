//! Every test that goes through the program or the public library, in one binary: each further one would link everything
//! again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "tl itself writes these names")]
#![allow(unreachable_pub, reason = "what the modules share is `pub`, as in any other crate")]

mod age;
mod architecture;
mod archive;
mod audit;
mod bounds;
mod cancel;
mod channels;
#[cfg(feature = "peers")]
mod checkers;
mod commands;
mod deliveries;
#[cfg(feature = "peers")]
mod editor;
mod explain;
mod faults;
mod groups;
mod history;
mod init;
mod kills;
mod language;
mod logs;
mod manual;
mod messages;
mod migrate;
mod migrations;
#[cfg(feature = "peers")]
mod peers;
mod plan;
mod program;
mod quickstart;
mod races;
mod reporters;
mod resume;
mod runs;
mod s3;
mod secrets;
mod selection;
mod stale;
mod storage;
mod supervisor;
mod trace;
mod tree;
mod validate;
mod verify;
mod versions;
mod warned;
mod wrong;
