//! What is said: requests as bytes, answers read in pieces of any size and checked. No sockets, but for the
//! two questions that are asked before a run ([`preflight`]).

pub mod answer;
mod chunks;
pub mod preflight;
pub mod target;
