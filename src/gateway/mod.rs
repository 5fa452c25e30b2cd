//! Decisions about a request; pure, no sockets, no threads.

pub mod access_log;
