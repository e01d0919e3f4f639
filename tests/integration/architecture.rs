//! Keeps the house: who may import whom, where each outside crate lives, how large files and folders may be, how prose reads.
//!
//! Some lists hold debts: what breaks a rule today. They may only shrink. A test fails when a debt grows, and also when it
//! has shrunk and the list was not lowered.

mod circles;
mod debts;
mod imports;
mod phrases;
mod rooms;
mod sizes;
mod sources;
