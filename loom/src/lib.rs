//! What parks and wakes threads in the server, compiled against loom's atomics and threads.
//!
//! The models that run it are in `tests/`.

#[path = "../../src/base/crew.rs"]
pub mod crew;
#[path = "../../src/base/sleeper.rs"]
pub mod sleeper;
