//! What a gateway's file says, made ready: which route takes a request, what it passes, what becomes of it.
//!
//! Immutable: a reload makes another one and hands it to every reactor. What is known of servers and of
//! clients outlives it: [`Directory`] and `Kept`.
//! Not here: how a request is passed on (`reactor::relay`), how a server is chosen (`gateway::upstream`).

pub mod client;
mod edit_fields;
mod fallback;
pub mod key;
mod steps;
pub mod table;
pub mod template;

use std::net::SocketAddr;
use std::sync::Arc;

pub use fallback::Fallback;
pub use steps::Kept;
use table::{Found, Table};

use crate::config::Site as Spec;
use crate::config::site::{Action, Proxy, Route as RouteSpec, ServerSpec, Template, Trust};
use crate::gateway::exchange::Exchange;
use crate::gateway::guard::ConnectionCounts;
use crate::gateway::handler::files::Files;
use crate::gateway::middleware::Chain;
use crate::gateway::notes::Notes;
use crate::gateway::upstream::{Cluster, Directory, Reason};
use crate::gateway::{Decision, allowed};
use crate::http::{Framing, Method, Response, Status};
use crate::observe::exposition::{ServerView, SiteView, UpstreamView};
use crate::observe::site::RouteSeries;

/// See the module.
pub struct Site {
    table: Table,
    routes: Vec<Route>,
    clusters: Vec<Cluster>,
    fallbacks: Vec<Option<Fallback>>,
    trust: Trust,
    connections: Option<Arc<ConnectionCounts>>,
}

/// A route, made ready.
pub struct Route {
    series: Arc<RouteSeries>,
    steps: Chain,
    act: Act,
    body_bytes_max: Option<u64>,
}

/// What becomes of a route's requests.
enum Act {
    Pass(Proxy),
    Files { files: Files, strip: String },
    Redirect { status: Status, to: Template },
    Respond { status: Status, content_type: String, body: Vec<u8> },
}

/// What a site is made with besides what was written.
pub struct Made<'a> {
    /// Servers that are known already.
    pub directory: &'a mut Directory,
    /// Tables that outlive a reload.
    pub kept: &'a mut Kept,
    /// The addresses of a server's name.
    pub resolve: &'a dyn Fn(&ServerSpec) -> Vec<SocketAddr>,
    /// What makes hashes unforeseeable.
    pub seed: u64,
}

impl Site {
    /// Makes a site of what was written.
    ///
    /// # Errors
    /// Every mistake that shows only now: a folder that cannot be opened, a key that is none.
    pub fn new(spec: &Spec, made: &mut Made<'_>) -> Result<Site, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut steps = Vec::new();
        for step in &spec.steps {
            match steps::make(step, made.kept, made.seed) {
                Ok(step) => steps.push(Some(step)),
                Err(mistake) => {
                    mistakes.push(format!("middleware {}: {mistake}", step.name));
                    steps.push(None);
                }
            }
        }
        let mut routes = Vec::new();
        for route in &spec.routes {
            let chain = Chain::of(route.steps.iter().filter_map(|step| steps[*step].clone()));
            // 0 is the directory that is served at `/` without a route.
            match Act::new(&route.action, routes.len() + 1) {
                Ok(act) => routes.push(Route {
                    series: made.directory.route(&route.name, refusers(spec, route)),
                    steps: chain,
                    act,
                    body_bytes_max: route.body_bytes_max,
                }),
                Err(mistake) => mistakes.push(format!("route {}: {mistake}", route.name)),
            }
        }
        let mut clusters = Vec::new();
        let mut fallbacks = Vec::new();
        for (number, upstream) in spec.upstreams.iter().enumerate() {
            let resolved = upstream.servers.iter().map(|server| (server.clone(), (made.resolve)(server)));
            clusters.push(made.directory.cluster(number, upstream, &resolved.collect::<Vec<_>>()));
            match upstream.fallback.as_ref().map(Fallback::new).transpose() {
                Ok(fallback) => fallbacks.push(fallback),
                Err(mistake) => mistakes.push(format!("upstream {}: {mistake}", upstream.name)),
            }
        }
        let table = Table::new(&spec.routes).map_err(|found| mistakes.extend(found));
        match table {
            Ok(table) if mistakes.is_empty() => {
                let connections = made.kept.connections(&spec.trust, made.seed);
                Ok(Site { table, routes, clusters, fallbacks, trust: spec.trust.clone(), connections })
            }
            _ => Err(mistakes),
        }
    }

    /// What becomes of a request; `None`: no route takes it.
    pub(super) fn decide<'g: 'r, 'r>(&'g self, exchange: &mut Exchange<'r>) -> Option<Decision<'g>> {
        let request = exchange.request();
        let found =
            self.table.find(request.host(), request.path(), request.method(), |name| request.field(name));
        let (number, params) = match found {
            Found::Route { number, params } => (number, params),
            Found::Nothing => return None,
            Found::WrongMethod(methods) => {
                let is_question = request.method() == Method::Options;
                let status = if is_question { Status::NO_CONTENT } else { Status::METHOD_NOT_ALLOWED };
                return Some(Decision::Answer(allowed(status, methods)));
            }
        };
        exchange.take_params(params);
        exchange.notes_mut().set_route(number);
        let route = &self.routes[number];
        if let Some(response) = route.steps.enter(exchange, Notes::set_entered_route) {
            let last = exchange.notes().entered_route() - 1;
            exchange.notes_mut().set_refuser(last);
            return Some(Decision::Answer(response));
        }
        Some(route.act(number, exchange))
    }

    /// What every answer of a route has in common.
    pub(super) fn finish(&self, notes: &Notes, response: &mut Response) {
        if let Some(route) = notes.route().and_then(|number| self.routes.get(number)) {
            route.steps.leave(notes.entered_route(), notes, response);
        }
    }

    /// Its routes, in the order written.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The directories it serves from.
    pub(super) fn files(&self) -> impl Iterator<Item = &Files> {
        self.routes.iter().filter_map(|route| match &route.act {
            Act::Files { files, .. } => Some(files),
            _ => None,
        })
    }

    /// Its upstreams, in the order written.
    #[must_use]
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// What answers when none of an upstream's servers can.
    #[must_use]
    pub fn fallback(&self, cluster: usize) -> Option<&Fallback> {
        self.fallbacks.get(cluster)?.as_ref()
    }

    /// What is to be told of it.
    #[must_use]
    pub fn view(&self, now_ms: u64) -> SiteView<'_> {
        SiteView {
            routes: self.routes.iter().map(|route| &*route.series).collect(),
            upstreams: self.clusters.iter().map(|cluster| view_of(cluster, now_ms)).collect(),
        }
    }

    /// Where connections of each address are counted, and how many it may have.
    #[must_use]
    pub fn connections(&self) -> Option<(&Arc<ConnectionCounts>, u32)> {
        let max = self.trust.connections_per_address_max.unwrap_or(u32::MAX);
        self.connections.as_ref().map(|counts| (counts, max))
    }

    /// Whom to believe about who a client is.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }
}

impl Route {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.series.name
    }

    /// What is counted of it.
    #[must_use]
    pub fn series(&self) -> &RouteSeries {
        &self.series
    }

    /// How its requests are passed on, if they are.
    #[must_use]
    pub fn pass(&self) -> Option<&Proxy> {
        match &self.act {
            Act::Pass(proxy) => Some(proxy),
            _ => None,
        }
    }

    /// Bytes of body it takes; `None`: as many as the server does.
    #[must_use]
    pub fn body_bytes_max(&self) -> Option<u64> {
        self.body_bytes_max
    }

    fn act<'g>(&'g self, number: usize, exchange: &mut Exchange<'_>) -> Decision<'g> {
        // Said before the body is asked for, so that it need not be sent (RFC 9110 section 10.1.1).
        if let (Framing::Length(length), Some(most)) = (exchange.framing(), self.body_bytes_max)
            && length > most
        {
            exchange.notes_mut().set_refuser(self.series.refusers.len() - 1);
            return Decision::Answer(Response::plain(Status::CONTENT_TOO_LARGE));
        }
        match &self.act {
            Act::Pass(_) => Decision::Relay(number),
            Act::Files { files, strip } => {
                let answer = files.answer(&exchange.request(), strip, exchange.folders());
                Decision::Answer(answer.unwrap_or_else(|| Response::plain(Status::NOT_FOUND)))
            }
            Act::Redirect { status, to } => {
                let place = template::render(to, exchange);
                Decision::Answer(Response::plain(*status).with("Location", place))
            }
            Act::Respond { status, content_type, body } => {
                Decision::Answer(Response::bytes(*status, content_type, body.clone()))
            }
        }
    }
}

fn view_of(cluster: &Cluster, now_ms: u64) -> UpstreamView<'_> {
    let servers = cluster.members.iter().map(|member| {
        let vitals = member.endpoint.vitals();
        let breaker = vitals.breaker();
        ServerView {
            label: &member.endpoint.label,
            tallies: &member.endpoint.tallies,
            is_available: vitals.is_available(now_ms),
            breaker: breaker.state.label(),
            reason: breaker.reason.map_or("", Reason::label),
            breaker_ms: (breaker.since_ms > 0).then(|| now_ms.saturating_sub(breaker.since_ms)),
        }
    });
    UpstreamView { name: &cluster.spec.name, tallies: &cluster.tallies, servers: servers.collect() }
}

/// What may refuse a route's requests, by name.
fn refusers(spec: &Spec, route: &RouteSpec) -> Box<[Box<str>]> {
    let steps = route.steps.iter().map(|step| Box::from(spec.steps[*step].name.as_str()));
    steps.chain([Box::from("max-body")]).collect()
}

impl Act {
    fn new(action: &Action, number: usize) -> Result<Act, String> {
        Ok(match action {
            Action::Proxy(proxy) => Act::Pass(proxy.clone()),
            Action::Files { root, strip } => {
                let files =
                    Files::new(root, number).map_err(|error| format!("{}: {error}", root.display()))?;
                Act::Files { files, strip: strip.clone() }
            }
            Action::Redirect { status, to } => Act::Redirect { status: *status, to: to.clone() },
            Action::Respond(reply) => Act::Respond {
                status: reply.status,
                content_type: reply.content_type.clone(),
                body: reply.body.clone(),
            },
        })
    }
}
