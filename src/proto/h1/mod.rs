//! HTTP/1.0 and HTTP/1.1 (RFC 9112): the server's side, and in [`ask`] and [`answer`] a client's.
//!
//! ```text
//!  Recv:  Head --> Body --> Done          legal pairs (checked after each call in debug builds)
//!           \________________^             (Head, Idle)          between requests, or a head arriving
//!  Send:  Idle -> Awaited -> Body -> Done  (Body, Awaited)       collecting a body before answering
//!                    \_________________^   (Body, Body|Done)     streaming up; an early answer
//!                                          (Done, Awaited|Body)  answering
//! ```
//! `Done, Done` always rolls on: to the next head, or to the end of the connection.

pub mod answer;
pub mod ask;
mod authority;
pub mod body;
pub mod encode;
mod fields;
pub mod head;
mod hop;
mod lexis;
pub mod machine;
mod target;

pub use encode::Stamp;
pub use machine::Machine;
