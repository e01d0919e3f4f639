//! The laws of the engine, held for random graphs, and what a run of many stages costs.

mod fake;
mod graphs;
mod laws;
mod reference;
mod scale;
mod sessions;
