//! What one start is made of: gateways, counters, staff, bounds; everything but the threads.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use mio::Poll;

use crate::config::{AccessLog, Config, Endpoints, Listen, LogLevel};
use crate::gateway::Gateway;
use crate::gateway::handler::files::Files;
use crate::gateway::handler::{Alive, Cpu, Echo, Json, Lifecycle, Metrics, Plaintext, Ready, Welcome, Work};
use crate::gateway::site::Site;
use crate::http::Method;
use crate::observe::log::{AccessTarget, Level, Log};
use crate::observe::{KeeperTally, Reloads, Tally, WorkerTally};
use crate::proto::Violation;
use crate::reactor::{CloseReason, Dispatching, Inbox, Means, Refusal, UpstreamMeans};
use crate::server::app::App;
use crate::server::banner::Banner;
use crate::server::budget::{Budget, jobs_out_max, urgent_reserve};
use crate::server::keeper::{self, Keeper, Resolver, Sights};
use crate::server::launch::Gate;
use crate::server::reload::{Legacy, Office, Source, unix_seconds};
use crate::server::spread::Spread;
use crate::server::start_error::StartError;
use crate::server::{memory, topology};
use crate::worker::{Hatch, ReplyDesk, Staff, Workers, Workshop};

/// The labels of [`Method::ALL`], for metrics.
const METHOD_LABELS: [&str; Method::ALL.len()] = {
    let mut labels = [""; Method::ALL.len()];
    let mut at = 0;
    while at < labels.len() {
        labels[at] = Method::ALL[at].as_str();
        at += 1;
    }
    labels
};

/// What all reactors of one start have in common.
pub(super) struct Plan<'a> {
    pub config: &'a Config,
    pub budget: Budget,
    pub spread: Spread,
    pub listen: Vec<Listen>,
    pub admin: Option<Listen>,
    pub cpus: Vec<u32>,
    pub log: Log,
    pub lifecycle: Arc<Lifecycle>,
    pub gateways: Arc<[Gateway]>,
    pub legacy: Legacy,
    pub resolver: Resolver,
    /// Where reloads get their configuration, and how its files looked before they were read.
    pub source: Option<Source>,
    sights: Sights,
    pub reloads: Arc<Reloads>,
    pub keeper: Arc<KeeperTally>,
    /// What makes hashes and choices unforeseeable.
    seed: u64,
    tallies: Vec<Arc<Tally>>,
    pub staff: Staff,
    worker_tallies: Vec<Arc<WorkerTally>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        config: &'a Config,
        budget: Budget,
        spread: Spread,
        staff: Staff,
        listen: Vec<Listen>,
        admin: Option<Listen>,
        mut app: App,
    ) -> Result<Plan<'a>, StartError> {
        let log = open_log(config)?;
        let lifecycle = Arc::new(Lifecycle::default());
        let tally = || {
            Arc::new(Tally::new(&CloseReason::LABELS, &Violation::LABELS, &Refusal::LABELS, &METHOD_LABELS))
        };
        let tallies: Vec<Arc<Tally>> = (0..budget.reactors).map(|_| tally()).collect();
        let cpus = topology::cpus_for(&config.fixed.pin, budget.reactors)?;
        let worker_tallies = (0..staff.posts()).map(|_| Arc::default()).collect();
        let gateways = Arc::new([]);
        let reloads = Arc::new(Reloads::default());
        reloads.took_effect(0, unix_seconds());
        let seed = seed();
        let mut legacy = Legacy::new(seed, budget.reactors);
        let source = app.source.take();
        let sights = Source::sights(source.as_ref(), config, Sights::clone);
        let resolver = app.resolver.take().unwrap_or_else(keeper::of_machine);
        legacy.book = legacy.look_up(config, &resolver, &log);
        let book = legacy.book.clone();
        let site = legacy.site(config, &book).map_err(StartError::Site)?;
        let mut plan = Plan {
            config,
            budget,
            spread,
            listen,
            admin,
            cpus,
            log,
            lifecycle,
            gateways,
            legacy,
            resolver,
            source,
            sights,
            reloads,
            keeper: Arc::default(),
            seed,
            tallies,
            staff,
            worker_tallies,
        };
        plan.gateways = Arc::new([plan.main_gateway(app, site)?, plan.admin_gateway()]);
        plan.settle_staff()?;
        plan.budget = plan.budget.with_workers(config, plan.staff);
        Ok(plan)
    }

    /// Nobody is hired for whom there is nothing to do; nothing is promised that nobody will do.
    pub(super) fn settle_staff(&mut self) -> Result<(), StartError> {
        let needed = self.gateways.iter().find_map(Gateway::worker_route);
        match needed {
            None => self.staff = Staff::of(0),
            Some(route) if self.staff.workers == 0 => {
                return Err(StartError::NoWorkers { route: route.pattern().to_owned() });
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Jobs that one reactor may have out at once: all that wait and all that are at workers.
    pub(super) fn out_max(&self) -> u32 {
        jobs_out_max(self.config, self.staff)
    }

    /// What reactors and workers share, if there are any workers.
    pub(super) fn workshop(&self, gates: &[Gate]) -> Option<Arc<Workshop>> {
        if self.staff.workers == 0 {
            return None;
        }
        let desks = gates.iter().map(|gate| Arc::clone(&gate.inbox) as Arc<dyn ReplyDesk>).collect();
        Some(Arc::new(Workshop::new(desks, self.out_max(), &self.worker_tallies)))
    }

    pub(super) fn start_workers(&self, shop: Option<&Arc<Workshop>>) -> Result<Option<Workers>, StartError> {
        let Some(shop) = shop else { return Ok(None) };
        Workers::start(shop, self.staff, self.lifecycle.stuck_workers(), &self.log)
            .map(Some)
            .map_err(|error| StartError::System { attempt: "start a worker", error })
    }

    pub(super) fn main_gateway(&self, app: App, site: Option<Arc<Site>>) -> Result<Gateway, StartError> {
        let fixed = &self.config.fixed;
        let gateway = Gateway::new().with_dispatch(fixed.dispatch).with_state(app.state);
        let mut gateway = match fixed.endpoints {
            Endpoints::None => gateway,
            Endpoints::Health => self.with_health(gateway),
            Endpoints::All => self
                .with_metrics(self.with_health(gateway))
                .with("/", Welcome::new(self.config, &self.listen))
                .with("/plaintext", Plaintext)
                .with("/json", Json)
                .with("/echo", Echo),
        };
        if fixed.demo {
            gateway = gateway.with("/work", Work).with("/cpu", Cpu);
        }
        if let Some(root) = &fixed.root {
            let files =
                Files::new(root, 0).map_err(|error| StartError::Root { path: root.clone(), error })?;
            gateway = gateway.with_files(files);
        }
        if let Some(site) = site {
            self.legacy.shown.show(Some(Arc::clone(&site)));
            gateway = gateway.with_site(site);
        }
        Ok(app.steps.into_iter().fold(gateway, |gateway, step| step(gateway)))
    }

    /// Never by the queues: an operator asks here just when these are full.
    pub(super) fn admin_gateway(&self) -> Gateway {
        self.with_metrics(self.with_health(Gateway::new()))
    }

    fn with_health(&self, gateway: Gateway) -> Gateway {
        gateway.with("/healthz", Alive).with("/readyz", Ready(Arc::clone(&self.lifecycle)))
    }

    fn with_metrics(&self, gateway: Gateway) -> Gateway {
        let metrics = Metrics {
            tallies: self.tallies.clone(),
            worker_tallies: self.worker_tallies.clone(),
            lifecycle: Arc::clone(&self.lifecycle),
            log: self.log.clone(),
            site: Arc::clone(&self.legacy.shown),
            start_unix_seconds: unix_seconds(),
            connections_max: u64::from(self.budget.connections_max),
            descriptor_limit: self.budget.descriptors_limit,
            accept: (self.spread.name(), self.spread.why()),
            reloads: Arc::clone(&self.reloads),
            keeper: Arc::clone(&self.keeper),
        };
        gateway.with("/metrics", metrics)
    }

    /// What that reactor serves its connections with.
    pub(super) fn means(&self, number: u32, hatch: Option<Hatch>) -> Means {
        let fixed = &self.config.fixed;
        Means {
            gateways: Arc::clone(&self.gateways),
            upstream: UpstreamMeans {
                // Also where the first upstream comes with a reload.
                lines_max: self.budget.share(number),
                seed: self.seed.wrapping_add(u64::from(number)),
                reactors: self.budget.reactors,
                reactor: number,
            },
            tally: Arc::clone(&self.tallies[number as usize]),
            limits: self.config.limits,
            clients_max: self.budget.share(number),
            buffers_max: self.budget.buffers_per_reactor_max,
            buffer_bytes: fixed.buffer_bytes,
            server_name: fixed.server_name.clone(),
            log: self.log.clone(),
            access_format: fixed.access_format,
            dispatching: Dispatching {
                hatch,
                out_max: self.out_max(),
                urgent_reserve: urgent_reserve(self.config),
                depth_max: fixed.queue_depth,
                queue_ms_max: fixed.queue_ms_max,
                request_ms_max: fixed.request_ms_max,
            },
            release_memory: memory::release,
            discard: memory::discard,
        }
    }

    /// What is told at the start, which began then.
    pub(super) fn banner(&self, routes: &[String], began: Instant) -> String {
        let banner = Banner {
            version: env!("CARGO_PKG_VERSION"),
            config: self.config,
            budget: &self.budget,
            listen: &self.listen,
            admin: self.admin.as_ref(),
            cpus: &self.cpus,
            spread: &self.spread,
            workers: self.staff.workers,
            routes,
            notes: &[],
            ready_ms: began.elapsed().as_millis() as u64,
        };
        banner.text()
    }

    /// What reloads need of it.
    pub(super) fn into_office(self, keeper: Option<Keeper>, inboxes: Arc<[Arc<Inbox>]>) -> Office {
        Office {
            config: self.config.clone(),
            source: self.source,
            sights: self.sights,
            legacy: self.legacy,
            gateways: self.gateways,
            retired: Vec::new(),
            inboxes,
            lifecycle: self.lifecycle,
            reloads: self.reloads,
            keeper,
            resolver: self.resolver,
            log: self.log,
        }
    }

    /// A poll for each reactor, and where its mail arrives.
    pub(super) fn gates(&self) -> Result<Vec<Gate>, StartError> {
        let system = |attempt| move |error| StartError::System { attempt, error };
        let gate = |_| {
            let poll = Poll::new().map_err(system("create an epoll"))?;
            let inbox = Inbox::new(&poll, self.out_max()).map_err(system("create an eventfd"))?;
            Ok(Gate { poll, inbox: Arc::new(inbox) })
        };
        (0..self.budget.reactors).map(gate).collect()
    }
}

/// A number that nobody outside can foresee.
fn seed() -> u64 {
    RandomState::new().hash_one("myriapod")
}

fn open_log(config: &Config) -> Result<Log, StartError> {
    let target = match &config.fixed.access_log {
        AccessLog::Off => AccessTarget::Off,
        AccessLog::Stderr => AccessTarget::Stderr,
        AccessLog::File(path) => {
            AccessTarget::open(path).map_err(|error| StartError::Log { path: path.clone(), error })?
        }
    };
    let level = match config.fixed.log_level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    };
    Log::start(level, target).map_err(|error| StartError::System { attempt: "start the log", error })
}
