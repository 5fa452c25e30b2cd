//! Counting and telling: what happened, for people and for monitoring.
//!
//! Counting costs a reactor a load and a store, never a locked instruction, because every number has one
//! writer.
//! Telling never makes a reactor wait: lines go through a bounded queue, and what does not fit is counted.
//! Not here: what the labels mean (their owners hand them in), and who serves `/metrics` (`gateway`).

pub mod calendar;
pub mod exposition;
mod histogram;
mod keeper_tally;
mod limiter;
pub mod log;
mod reloads;
mod shown;
mod sink;
pub mod site;
mod tally;
mod teller;
mod worker_tally;

pub use histogram::{Histogram, Snapshot};
pub use keeper_tally::{KeeperTally, ProbeTally};
pub use reloads::Reloads;
pub use shown::Shown;
pub use tally::{Answers, Counter, Family, Gauge, Tally};
pub use worker_tally::WorkerTally;
