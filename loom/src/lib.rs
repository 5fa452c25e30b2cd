//! What parks and wakes threads in the server, and the tables that they share, compiled against loom's
//! atomics and threads.
//!
//! The models that run it are in `tests/`.

#[path = "../../src/gateway/guard/counts.rs"]
pub mod counts;
#[path = "../../src/base/crew.rs"]
pub mod crew;
#[path = "../../src/gateway/guard/rate.rs"]
pub mod rate;
#[path = "../../src/base/sleeper.rs"]
pub mod sleeper;
