//! Channels against receivers on loopback that misbehave in every known way.

#[cfg(feature = "peers")]
mod email;
mod samples;
mod services;
mod webhook;
