//! A run while it happens.
//!
//! In: events. Out: a line for each stage that ends, and below them a picture of what runs, redrawn in place.

mod human;
mod live;
mod progress;
mod quiet;
mod tree;

pub use human::Human;
pub use progress::Progress;
pub use quiet::Quiet;
