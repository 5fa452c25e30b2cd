//! Upstreams as plain data: which servers, how one is chosen, how long things may take, when one is let be.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{FixedReply, KeyOf};

/// Servers that do the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name in logs and metrics; unique.
    pub name: String,
    /// At least one.
    pub servers: Vec<ServerSpec>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When a request is tried again.
    pub retries: Retries,
    /// Connections that each reactor keeps open to each server while nobody uses them.
    pub idle_max: u32,
    /// How long such a connection is kept, in milliseconds.
    pub idle_ms_max: u32,
    /// Connections to each server at once, of all reactors together; `None`: no limit. Over it requests wait.
    pub connections_max: Option<u32>,
    /// How long a request waits for a connection when there are as many as may be, in milliseconds.
    pub queue_ms_max: u32,
    /// How often names are looked up again, in milliseconds.
    pub resolve_ms: u32,
    /// Probes of our own; `None`: none.
    pub health: Option<Health>,
    /// Servers that fail are let be for a while; `None`: never.
    pub ejection: Option<Ejection>,
    /// When a server is not asked at all; `None`: it always is.
    pub breaker: Option<Breaker>,
    /// What a client gets when no server can answer; `None`: 502, 503 or 504.
    pub fallback: Option<Fallback>,
}

/// One server as it was written; a name may turn out to be several addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Where it listens.
    pub address: Address,
    /// How much of the requests it gets, against the weights of the others; 0: none but by choice of others.
    pub weight: u32,
    /// Whether it is asked only when all others are out.
    pub is_backup: bool,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An address and port.
    Socket(SocketAddr),
    /// A name to be looked up, and a port.
    Name(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// As it is written in a file.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(address) => address.fmt(out),
            Address::Name(name, port) => write!(out, "{name}:{port}"),
            Address::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// How a server is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other, by weight, interleaved.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way for its weight.
    Least,
    /// Two by chance, then the one with fewer requests under way.
    TwoChoices,
    /// The same key goes to the same server as long as that lives; few keys move when servers come and go.
    Hash(KeyOf),
}

/// How long things may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect_ms_max: u32,
    /// From a request that was sent whole to the head of its answer, for each try.
    pub first_byte_ms_max: u32,
    /// Between two pieces of an answer, or of a request that the server does not take.
    pub idle_ms_max: u32,
    /// From the end of the request to the head of the answer, all tries together.
    pub request_ms_max: u32,
    /// From the head of the request to the last byte of the answer; `None`: no limit.
    pub total_ms_max: Option<u32>,
    /// Without a byte either way after a switch of protocols.
    pub tunnel_ms_max: u32,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect_ms_max: 1_000,
            first_byte_ms_max: 30_000,
            idle_ms_max: 30_000,
            request_ms_max: 60_000,
            total_ms_max: None,
            tunnel_ms_max: 3_600_000,
        }
    }
}

/// When a request is tried again: only if it cannot have been acted on, or may safely be acted on twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Tries after the first.
    pub count_max: u32,
    /// Retries for each hundred requests, over some seconds.
    pub budget_percent: u32,
    /// The wait before the second retry, in milliseconds; doubles with each. The first goes at once.
    pub backoff_ms: u32,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { count_max: 2, budget_percent: 20, backoff_ms: 25 }
    }
}

/// Probes of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked for.
    pub path: String,
    /// What `Host` says; `None`: the server's name.
    pub host: Option<String>,
    /// Statuses that are good, both ends included.
    pub statuses: Vec<(u16, u16)>,
    /// From one probe to the next, in milliseconds.
    pub interval_ms: u32,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u32,
    /// Good probes in a row that bring a server back.
    pub rise: u32,
    /// Bad probes in a row that take it out.
    pub fall: u32,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            path: String::from("/"),
            host: None,
            statuses: vec![(200, 399)],
            interval_ms: 5_000,
            timeout_ms: 2_000,
            rise: 2,
            fall: 3,
        }
    }
}

/// When a server that fails its clients is let be for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row: no connection, no answer, or 502, 503, 504.
    pub failures: u32,
    /// How many times slower than the others' median it may be; `None`: as slow as it likes.
    pub slower_than: Option<u32>,
    /// For how long, in milliseconds; longer each time it happens again.
    pub ms: u32,
    /// How many of the servers may be out at once, in percent.
    pub share_max_percent: u32,
}

impl Default for Ejection {
    fn default() -> Ejection {
        Ejection { failures: 5, slower_than: None, ms: 10_000, share_max_percent: 50 }
    }
}

/// When a server is not asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The share of failures among the requests of the window that opens it, in percent.
    pub share_percent: u32,
    /// Requests in the window below which the share says nothing.
    pub requests_min: u32,
    /// The window, in milliseconds.
    pub window_ms: u32,
    /// How long it stays open before some are let through to see, in milliseconds.
    pub open_ms: u32,
    /// Requests let through at once to see; as many successes in a row close it.
    pub probes: u32,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            failures: 5,
            share_percent: 50,
            requests_min: 20,
            window_ms: 10_000,
            open_ms: 5_000,
            probes: 1,
        }
    }
}

/// What a client gets when no server can answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Fallback {
    /// This answer.
    Respond(FixedReply),
    /// This file, with that status.
    File {
        /// Read at each reload.
        path: PathBuf,
        /// The status.
        status: crate::http::Status,
    },
    /// Whatever the servers of another upstream answer: a place in
    /// [`Site::upstreams`](super::Site::upstreams). That one's own fallback does not count.
    Upstream(usize),
}
