//! All tests that run the program or use the public library. They share one binary because each further one links
//! everything again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "tl itself writes these names")]
#![allow(unreachable_pub, reason = "what the modules share is `pub`, as in any other crate")]

mod architecture;
mod audit;
mod cli;
mod crypto;
mod faults;
mod kinds;
mod language;
mod notify;
mod run;
mod storage;
mod support;
