//! Assembly: the only layer that knows all others.
//!
//! What this machine can hold, what is told at the start, and why a start failed.

pub mod banner;
pub mod budget;
pub mod holder;
pub mod host;
pub mod start_error;
