//! What can be done to a server, a mode a file.

pub mod closed;
pub mod slow;
