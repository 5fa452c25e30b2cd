//! The numbers of all reactors and workers, for Prometheus and what speaks like it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::clock::monotonic_ns;
use crate::gateway::exchange::Exchange;
use crate::gateway::fresh;
use crate::gateway::handler::{BodyPlan, Handler, Lifecycle};
use crate::gateway::site::Site;
use crate::http::{Request, Response};
use crate::observe::exposition::{self, Exposition, Facts};
use crate::observe::log::Log;
use crate::observe::{KeeperTally, Reloads, Shown, Tally, WorkerTally};

/// Writes every counter as text, in the format the client prefers.
pub struct Metrics {
    /// What the reactors count, one each.
    pub tallies: Vec<Arc<Tally>>,
    /// What the workers count, one each for all there may be.
    pub worker_tallies: Vec<Arc<WorkerTally>>,
    /// Whether the server is on its way out, and how many workers are stuck.
    pub lifecycle: Arc<Lifecycle>,
    /// Where lines can get lost.
    pub log: Log,
    /// The site that is in force.
    pub site: Arc<Shown<Site>>,
    /// When the process started, in seconds since 1970.
    pub start_unix_seconds: u64,
    /// Clients at once, over all reactors.
    pub connections_max: u64,
    /// Descriptors in one table.
    pub descriptor_limit: u64,
    /// How reloads went.
    pub reloads: Arc<Reloads>,
    /// How the keeper of upstreams fares.
    pub keeper: Arc<KeeperTally>,
    /// How new connections find their reactor, and why not better.
    pub accept: (&'static str, String),
}

impl Handler for Metrics {
    fn body(&self) -> BodyPlan {
        BodyPlan::Ignore
    }

    fn handle(&self, exchange: &mut Exchange<'_>) -> Response {
        let format = preferred(exchange);
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION"),
            start_unix_seconds: self.start_unix_seconds,
            connections_max: self.connections_max,
            descriptor_limit: self.descriptor_limit,
            accept: (self.accept.0, &self.accept.1),
            draining: self.lifecycle.is_draining(),
            workers_stuck: self.lifecycle.stuck_workers().load(Ordering::Relaxed),
            dropped: self.log.dropped(),
            reloads: Some(&self.reloads),
            keeper: Some(&self.keeper),
        };
        let mut page = String::with_capacity(16 * 1024);
        let site = self.site.look();
        let view = site.as_ref().map(|site| site.view(monotonic_ns() / 1_000_000)).unwrap_or_default();
        exposition::write(&mut page, &self.tallies, &self.worker_tallies, &view, &facts, format);
        fresh(format.content_type(), page.into_bytes()).with("Vary", "Accept")
    }
}

/// RFC 9110 section 12.5.1, as far as scrapers use it: OpenMetrics when it is named at all and not refused.
fn preferred(request: &Request<'_>) -> Exposition {
    let names_it = |range: &[u8]| {
        let range = range.trim_ascii().to_ascii_lowercase();
        range.starts_with(b"application/openmetrics-text") && !range.ends_with(b"q=0")
    };
    let wants = request.fields_named("accept").any(|value| value.split(|byte| *byte == b',').any(names_it));
    if wants { Exposition::OpenMetrics } else { Exposition::Prometheus }
}
