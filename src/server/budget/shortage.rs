//! What was asked for and cannot be had: which limit is in the way, and what lifts it.

use std::fmt;

use super::Tables;
use crate::config::units::size_about;

/// Too few descriptors for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// `--max-connections`.
    pub asked: u32,
    /// What can be had.
    pub possible: u64,
    /// The limit a table would need.
    pub needed: u64,
    /// Who has a table.
    pub tables: Tables,
    /// So many reactors would do, each with a table of its own.
    pub reactors: Option<u32>,
    /// Whether each of them may need one to a server.
    pub has_lines: bool,
}

/// What the machine does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Not even one connection per reactor.
    NoRoom {
        /// The limit of one table.
        descriptors: u64,
        /// The limit it takes at least.
        needed: u64,
    },
    /// Fewer connections than reactors: one of them could never serve.
    FewerThanReactors {
        /// `--max-connections`.
        asked: u32,
        /// Reactor threads.
        reactors: u32,
    },
    /// The process's descriptor limit.
    Descriptors {
        /// What was asked for and what is possible.
        lack: Lack,
        /// The limit of one table.
        limit: u64,
    },
    /// The machine's bound on descriptor limits.
    NrOpen {
        /// What was asked for and what is possible.
        lack: Lack,
        /// `fs.nr_open`.
        nr_open: u64,
    },
    /// Memory.
    Memory {
        /// `--max-connections`.
        asked: u32,
        /// Bytes that takes with all of them idle.
        needed: u64,
        /// Bytes there are.
        available: u64,
        /// What can be had.
        possible: u64,
    },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Shortage::NoRoom { descriptors, needed } => write!(
                f,
                "the descriptor limit of {descriptors} leaves none for clients; raise it: ulimit -n {needed}, or use fewer \
                 --reactors"
            ),
            Shortage::FewerThanReactors { asked, reactors } => write!(
                f,
                "--max-connections {asked}: fewer than the {reactors} reactors, each of which needs one; write \
                 --max-connections {reactors}, or --reactors {asked}"
            ),
            Shortage::Descriptors { lack, limit } => write!(
                f,
                "--max-connections {}: the descriptor limit of {limit}{} holds {}{}; raise it: ulimit -n {} (as root; systemd: \
                 LimitNOFILE={}){lack}",
                lack.asked,
                lack.per_table(),
                lack.possible,
                if lack.has_lines { ", each with one to a server" } else { "" },
                lack.needed,
                lack.needed,
            ),
            Shortage::NrOpen { lack, nr_open } => write!(
                f,
                "--max-connections {}: needs a descriptor limit of {}{}, and fs.nr_open allows {nr_open}; raise both: sysctl \
                 fs.nr_open={} && ulimit -n {} (as root){lack}",
                lack.asked,
                lack.needed,
                lack.per_table(),
                lack.needed,
                lack.needed,
            ),
            Shortage::Memory { asked, needed, available, possible } => write!(
                f,
                "--max-connections {asked}: needs {} of memory with all of them idle, and {} are available; free memory, raise \
                 the control group's memory.max, or write --max-connections {possible}",
                size_about(needed),
                size_about(available),
            ),
        }
    }
}

impl Lack {
    fn per_table(&self) -> &'static str {
        match self.tables {
            Tables::Private => " per reactor",
            Tables::Shared => "",
        }
    }
}

/// The ways out that need no right.
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reactors) = self.reactors {
            write!(f, ", or write --reactors {reactors}")?;
        }
        write!(f, ", or --max-connections {}", self.possible)
    }
}

impl std::error::Error for Shortage {}
