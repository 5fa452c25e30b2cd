//! Tools that know neither HTTP nor sockets: what could be published alone.
//!
//! Every other layer may use this one; it uses none.

pub mod base64;
pub mod buffer;
pub mod clock;
pub mod crew;
pub mod guarded;
pub mod pool;
pub mod short;
pub mod sleeper;
pub mod slots;
pub mod spare;
pub mod wheel;
pub mod write_queue;
