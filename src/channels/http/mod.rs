//! HTTP for channels: a request flows in, the receiver's answer flows out.
//!
//! The crate `reqwest` is used in this folder only. It follows no redirect, ignores proxies from the environment,
//! connects only to addresses that were checked, and limits every wait.

mod attempt;
mod delivery;
mod request;
mod retry;
mod target;

pub(super) use delivery::{Service, sample};
pub(super) use request::{Connection, Method, Request, below, check_headers};
pub(super) use target::check_url;
