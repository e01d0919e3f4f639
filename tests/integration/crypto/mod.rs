//! Sealed files against the age test kit, other implementations, attackers and failing devices.

mod attacks;
mod faults;
mod interop;
mod kit;
#[cfg(feature = "peers")]
mod peers;
mod sample;
