//! The machine and the processes on it, seen from outside: what they are, what they take, how they are
//! started.

pub mod cpus;
pub mod launch;
pub mod machine;
pub mod process;
pub mod scrape;
