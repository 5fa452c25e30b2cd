//! What can be done to a server, a mode a file.

pub mod churn;
pub mod closed;
pub mod compare;
pub mod hold;
pub mod open;
pub mod slow;
pub mod sweep;
