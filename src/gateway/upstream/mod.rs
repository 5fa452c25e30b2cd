//! Upstreams at work: which server a request goes to, and which are let be.
//!
//! Counting is each reactor's own ([`Chooser`]): what is under way, latencies, failures in a row and in a
//! window, retries. Verdicts are shared ([`Vitals`]): whoever sees that a server must be let be writes it
//! into one word by compare-exchange, and every reactor reads that word, which hardly ever changes, with one
//! relaxed load. Promises: a server whose breaker is open is never chosen; ejection takes out no more
//! servers than its bound; half open, a server gets so many requests as it is allowed probes.
//!
//! | a server is out | because | until |
//! | --- | --- | --- |
//! | [unwell](Vitals::is_unwell) | probes of our own fail | so many succeed |
//! | [ejected](Vitals::is_ejected) | it fails its clients, or is slower than the others | its time is over |
//! | [broken](Vitals::breaker) | its breaker is open | so many trial requests succeed |
//!
//! When all are out, requests go to those that are unwell or ejected all the same, as long as their breaker
//! lets them ("panic mode"; Envoy does so): everybody out is more often a wrong probe than a dead site, and
//! asking costs nobody anything. A breaker is believed: it exists to spare servers.
//! Not here: sockets, threads and clocks, who probes (`server::keeper`), who connects (`reactor`).

mod ask;
mod balance;
mod breaker;
mod chooser;
mod directory;
mod ejection;
mod retry;
#[cfg(test)]
mod sim;
mod slot;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod vitals;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::site::Upstream;
use crate::observe::site::{PerReactor, ServerTally, UpstreamTally};

pub use ask::{Ask, FailureKind, Nobody, Outcome};
pub use chooser::Chooser;
pub use directory::Directory;
pub use vitals::{BreakerState, BreakerView, Change, Reason, Vitals};

use ejection::Pool;

/// One server address. Lives as long as anybody knows it, over reloads: what is known of its health is not
/// forgotten.
pub struct Endpoint {
    /// Small and dense; given to another only when nobody knows this one any more.
    pub id: u32,
    /// Where it listens.
    pub place: Place,
    /// Host and port as written, for `Host`; without port 80, which goes without saying.
    pub name: Box<str>,
    /// Its address, for metrics and logs.
    pub label: Box<str>,
    /// The name of its upstream, likewise.
    pub upstream: Box<str>,
    /// Never given to another: tells it from an earlier one of the same id.
    serial: u64,
    /// What it is by, when keys are shared out: the same in every process.
    point: u64,
    pool: Arc<Pool>,
    vitals: Vitals,
    /// What reactors count of it.
    pub tallies: PerReactor<ServerTally>,
}

impl Endpoint {
    /// What is known of its health.
    #[must_use]
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }
}

/// Whoever is out and leaves makes room for another to be out.
impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.vitals.has_ejection() {
            self.pool.give_back();
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Endpoint({} {} {})", self.id, self.name, self.label)
    }
}

/// Where a server listens, once its name is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// An address and port.
    Socket(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// As in `127.0.0.1:80` and `unix:/run/app.sock`.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(address) => write!(out, "{address}"),
            Place::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// A server address in an upstream.
#[derive(Clone, Debug)]
pub struct Member {
    /// The address.
    pub endpoint: Arc<Endpoint>,
    /// How much of the requests it gets, against the weights of the others; 0: none.
    pub weight: u32,
    /// Whether it is asked only when no other can be.
    pub is_backup: bool,
}

/// An upstream whose names are looked up. Made by a [`Directory`].
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its place in [`Site::upstreams`](crate::config::site::Site::upstreams).
    pub number: usize,
    /// What was written of it.
    pub spec: Upstream,
    /// Its servers; none when no name led anywhere.
    pub members: Vec<Member>,
    /// What reactors count of it.
    pub tallies: Arc<PerReactor<UpstreamTally>>,
    /// What its servers have in common over reloads.
    pool: Arc<Pool>,
}

impl Cluster {
    /// Servers that are ejected now, of all sites that know this upstream.
    #[must_use]
    pub fn ejected(&self) -> u32 {
        self.pool.out()
    }
}
