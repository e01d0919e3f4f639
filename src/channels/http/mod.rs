//! HTTP for channels: a request flows in, what the receiver answered flows out.
//!
//! The crate `reqwest` is used in this folder only. No redirect is followed, no proxy of the environment used, no address
//! connected to that was not checked, and nothing waits without end.

mod attempt;
mod delivery;
mod request;
mod retry;
mod target;

pub(super) use delivery::Service;
pub(super) use request::{Connection, Method, Request, below};
