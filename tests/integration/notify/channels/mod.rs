//! Channels with receivers on loopback that behave as badly as real ones.

#[cfg(feature = "peers")]
mod email;
mod samples;
mod services;
mod webhook;
