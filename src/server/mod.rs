//! Assembly: from a configuration to running threads and back to nothing. The only layer that knows all
//! others.
//!
//! Either everything starts or nothing does: every reactor reports before the first client is told that the
//! server is ready, and one that fails ends the others.

pub mod banner;
pub mod budget;
pub mod holder;
pub mod host;
mod memory;
pub mod signals;
pub mod start_error;
mod topology;

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::Poll;

use crate::config::{AccessLog, Config, DescriptorTable, Endpoints, Listen, LogLevel};
use crate::gateway::Gateway;
use crate::gateway::handler::files::Files;
use crate::gateway::handler::{Alive, Echo, Json, Lifecycle, Metrics, Plaintext, Ready, Welcome};
use crate::http::Method;
use crate::observe::Tally;
use crate::observe::log::{AccessTarget, Level, Log};
use crate::proto::Violation;
use crate::reactor::{
    self, CloseReason, Farewell, Inbox, Manner, Means, Notice, Reactor, SITE_ADMIN, SITE_MAIN, Setup,
    descriptors,
};
use crate::server::banner::Banner;
use crate::server::budget::{Budget, Tables};
use crate::server::host::Host;
use crate::server::start_error::{StartError, explain_bind};

/// A server whose reactors run. Dropping it stops them.
///
/// ```
/// use myriapod::config::raw::{Raw, Written};
/// use myriapod::server::Server;
///
/// let raw = Raw { listen: vec![Written::flag("127.0.0.1:0")], ..Raw::default() };
/// let config = raw.resolve().expect("sound settings");
/// let server = Server::start(&config)?;
/// println!("{}", server.listen()[0]);
/// server.drain();
/// let farewell = server.join()?;
/// assert_eq!(farewell.cut, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    reactors: Vec<Running>,
    lifecycle: Arc<Lifecycle>,
    log: Log,
    drain_ms_max: u32,
    banner: String,
    listen: Vec<Listen>,
    /// Rings when a reactor breaks.
    alarm: Option<mpsc::Receiver<()>>,
}

struct Running {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<io::Result<Farewell>>>,
}

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
struct Plan<'a> {
    config: &'a Config,
    budget: Budget,
    listen: Vec<Listen>,
    admin: Option<Listen>,
    cpus: Vec<u32>,
    log: Log,
    lifecycle: Arc<Lifecycle>,
    gateways: Arc<[Gateway]>,
    tallies: Vec<Arc<Tally>>,
}

impl Server {
    /// Starts everything the configuration asks for.
    ///
    /// # Errors
    /// The first thing that stands in the way, with its fix; nothing is left running then.
    pub fn start(config: &Config) -> Result<Server, StartError> {
        let began = Instant::now();
        // A failure to raise the limit shows in the budget, which is made of what the limit then is.
        let _ = host::raise_descriptor_limit();
        let host = Host::measure();
        let reactors = config.fixed.reactors.unwrap_or(host.cpus);
        let budget = Budget::new(&host, config, tables(config)?, reactors)?;

        let (claims, listen, admin) = claim_all(config)?;
        let plan = Plan::new(config, budget, listen, admin)?;
        let (bell, alarm) = mpsc::channel();
        let reactors = plan.launch(&bell)?;
        drop(claims);

        let banner = Banner {
            version: env!("CARGO_PKG_VERSION"),
            config,
            budget: &plan.budget,
            listen: &plan.listen,
            admin: plan.admin.as_ref(),
            cpus: &plan.cpus,
            notes: &[],
            ready_ms: began.elapsed().as_millis() as u64,
        };
        Ok(Server {
            reactors,
            banner: banner.text(),
            lifecycle: plan.lifecycle,
            log: plan.log,
            drain_ms_max: config.fixed.drain_ms_max,
            listen: plan.listen,
            alarm: Some(alarm),
        })
    }

    /// What is told at the start.
    #[must_use]
    pub fn banner(&self) -> &str {
        &self.banner
    }

    /// Where it listens, with the ports that the kernel chose.
    #[must_use]
    pub fn listen(&self) -> &[Listen] {
        &self.listen
    }

    /// A hand on its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What tells, once, that a reactor broke instead of ending: time to drain the others. For the first
    /// who asks.
    pub fn alarm(&mut self) -> Option<mpsc::Receiver<()>> {
        self.alarm.take()
    }

    /// Begins to drain: no new connections, requests under way are answered, idle connections close.
    pub fn drain(&self) {
        self.lifecycle.drain();
        for running in &self.reactors {
            // An inbox that is full of notices has one like this in it.
            let _ = running.inbox.notify(Notice::Drain { ms_max: self.drain_ms_max });
        }
    }

    /// Waits until every reactor has ended, and sums up.
    ///
    /// # Errors
    /// When a reactor broke instead of ending.
    pub fn join(mut self) -> io::Result<Farewell> {
        let mut sum = Farewell::default();
        // The first one has the admin listener, so it is waited for last, and told so.
        for (number, running) in self.reactors.iter_mut().enumerate().rev() {
            let Some(thread) = running.thread.take() else { continue };
            if number == 0 {
                let _ = running.inbox.notify(Notice::Last);
            }
            let farewell = thread.join().unwrap_or_else(|_| Err(io::Error::other("a reactor panicked")))?;
            sum.drained += farewell.drained;
            sum.cut += farewell.cut;
        }
        Ok(sum)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for running in &mut self.reactors {
            let Some(thread) = running.thread.take() else { continue };
            let _ = running.inbox.notify(Notice::Stop);
            let _ = thread.join();
        }
        self.log.stop();
    }
}

impl<'a> Plan<'a> {
    fn new(
        config: &'a Config,
        budget: Budget,
        listen: Vec<Listen>,
        admin: Option<Listen>,
    ) -> Result<Plan<'a>, StartError> {
        let log = open_log(config)?;
        let lifecycle = Arc::new(Lifecycle::default());
        let tally = || Arc::new(Tally::new(&CloseReason::LABELS, &Violation::LABELS, &METHOD_LABELS));
        let tallies: Vec<Arc<Tally>> = (0..budget.reactors).map(|_| tally()).collect();
        let cpus = topology::cpus_for(&config.fixed.pin, budget.reactors)?;
        let mut plan =
            Plan { config, budget, listen, admin, cpus, log, lifecycle, gateways: Arc::new([]), tallies };
        plan.gateways = Arc::new([plan.main_gateway()?, plan.admin_gateway()]);
        Ok(plan)
    }

    fn main_gateway(&self) -> Result<Gateway, StartError> {
        let fixed = &self.config.fixed;
        let mut gateway = match fixed.endpoints {
            Endpoints::None => Gateway::new(),
            Endpoints::Health => self.health_gateway(),
            Endpoints::All => self
                .admin_gateway()
                .with("/", Welcome::new(self.config, &self.listen))
                .with("/plaintext", Plaintext)
                .with("/json", Json)
                .with("/echo", Echo),
        };
        if let Some(root) = &fixed.root {
            let files = Files::open(root).map_err(|error| StartError::Root { path: root.clone(), error })?;
            gateway = gateway.with_files(files);
        }
        Ok(gateway)
    }

    fn health_gateway(&self) -> Gateway {
        Gateway::new().with("/healthz", Alive).with("/readyz", Ready(Arc::clone(&self.lifecycle)))
    }

    fn admin_gateway(&self) -> Gateway {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let metrics = Metrics {
            tallies: self.tallies.clone(),
            lifecycle: Arc::clone(&self.lifecycle),
            log: self.log.clone(),
            start_unix_seconds: since_1970.as_secs(),
            connections_max: u64::from(self.budget.connections_max),
            descriptor_limit: self.budget.descriptors_limit,
        };
        self.health_gateway().with("/metrics", metrics)
    }

    /// Starts every reactor and waits until all of them listen.
    fn launch(&self, bell: &mpsc::Sender<()>) -> Result<Vec<Running>, StartError> {
        let (report, reports) = mpsc::channel();
        let mut reactors = Vec::new();
        for number in 0..self.budget.reactors {
            match self.launch_one(number, report.clone(), bell.clone()) {
                Ok(running) => reactors.push(running),
                Err(error) => return Err(stop_all(reactors, error)),
            }
        }
        drop(report);
        for _ in 0..reactors.len() {
            let outcome = reports.recv().unwrap_or_else(|_| {
                Err(StartError::System { attempt: "start a reactor", error: io::Error::other("it panicked") })
            });
            if let Err(error) = outcome {
                return Err(stop_all(reactors, error));
            }
        }
        Ok(reactors)
    }

    fn launch_one(
        &self,
        number: u32,
        report: mpsc::Sender<Result<(), StartError>>,
        bell: mpsc::Sender<()>,
    ) -> Result<Running, StartError> {
        let log = self.log.clone();
        let system = |attempt| move |error| StartError::System { attempt, error };
        let poll = Poll::new().map_err(system("create an epoll"))?;
        let inbox = Arc::new(Inbox::new(&poll).map_err(system("create an eventfd"))?);
        let setup = Setup {
            poll,
            inbox: Arc::clone(&inbox),
            means: Means {
                gateways: Arc::clone(&self.gateways),
                tally: Arc::clone(&self.tallies[number as usize]),
                limits: self.config.limits,
                clients_max: self.budget.share(number),
                buffers_max: self.budget.buffers_per_reactor_max,
                buffer_bytes: self.config.fixed.buffer_bytes,
                server_name: self.config.fixed.server_name.clone(),
                log: self.log.clone(),
                access_format: self.config.fixed.access_format,
                release_memory: memory::release,
            },
        };
        let place = Place {
            cpu: self.cpus.get(number as usize).copied(),
            is_private: self.budget.tables == Tables::Private,
            descriptors: self.budget.descriptors_per_table,
            listen: self.listeners_of(number),
            manner: Manner { backlog: self.config.fixed.backlog, defers: self.config.fixed.defers_accept },
        };
        let thread = thread::Builder::new()
            .name(format!("reactor-{number}"))
            .spawn(move || match place.take(setup) {
                Ok(reactor) => {
                    let _ = report.send(Ok(()));
                    drop(report);
                    watched(|| reactor.run(), number, &log, &bell)
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                    Ok(Farewell::default())
                }
            })
            .map_err(system("start a thread"))?;
        Ok(Running { inbox, thread: Some(thread) })
    }

    /// TCP listeners are opened by every reactor, and the kernel spreads clients over them. A unix socket
    /// cannot be shared so: each belongs to one reactor. So does the admin listener.
    fn listeners_of(&self, number: u32) -> Vec<(Listen, u8)> {
        let is_mine = |at: usize, listen: &Listen| match listen {
            Listen::Tcp(_) => true,
            Listen::Unix(_) => at as u32 % self.budget.reactors == number,
        };
        let main = self.listen.iter().enumerate().filter(|(at, listen)| is_mine(*at, listen));
        let main = main.map(|(_, listen)| (listen.clone(), SITE_MAIN));
        let admin = self.admin.iter().filter(|_| number == 0).map(|listen| (listen.clone(), SITE_ADMIN));
        main.chain(admin).collect()
    }
}

/// Where a reactor runs and listens.
struct Place {
    cpu: Option<u32>,
    is_private: bool,
    descriptors: u32,
    listen: Vec<(Listen, u8)>,
    manner: Manner,
}

impl Place {
    /// On the reactor's own thread: pin it, leave the shared table, then open what belongs to it alone.
    fn take(self, setup: Setup) -> Result<Reactor, StartError> {
        if let Some(cpu) = self.cpu {
            topology::pin(cpu).map_err(|error| StartError::Pin { cpu, error })?;
        }
        if self.is_private {
            descriptors::make_private().map_err(|error| StartError::PrivateTable { error })?;
            descriptors::grow(self.descriptors);
        }
        let mut reactor = Reactor::new(setup);
        for (listen, site) in &self.listen {
            // An operator's connection is taken at once: it may be the last one there are descriptors for.
            let manner = Manner { defers: self.manner.defers && *site == SITE_MAIN, ..self.manner };
            reactor.listen(listen, manner, *site).map_err(|error| explain_bind(listen, error))?;
        }
        Ok(reactor)
    }
}

/// Runs a reactor to its end. One that breaks, which is a bug of ours, must not leave the process half
/// alive in silence: it says so and rings.
fn watched(
    run: impl FnOnce() -> io::Result<Farewell>,
    number: u32,
    log: &Log,
    bell: &mpsc::Sender<()>,
) -> io::Result<Farewell> {
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("a panic")));
    outcome.map_err(|error| {
        log.event(
            Level::Error,
            "reactor",
            format_args!("reactor {number} broke ({error}); the others drain"),
        );
        // Nobody listens when the server is going down already.
        let _ = bell.send(());
        io::Error::other(format!("reactor {number} broke: {error}"))
    })
}

fn stop_all(reactors: Vec<Running>, error: StartError) -> StartError {
    for mut running in reactors {
        let _ = running.inbox.notify(Notice::Stop);
        if let Some(thread) = running.thread.take() {
            let _ = thread.join();
        }
    }
    error
}

fn tables(config: &Config) -> Result<Tables, StartError> {
    match config.fixed.descriptor_table {
        DescriptorTable::Shared => Ok(Tables::Shared),
        DescriptorTable::Auto if descriptors::can_be_private() => Ok(Tables::Private),
        DescriptorTable::Auto => Ok(Tables::Shared),
        DescriptorTable::Private => match descriptors::can_be_private() {
            true => Ok(Tables::Private),
            false => Err(StartError::PrivateTable { error: io::ErrorKind::PermissionDenied.into() }),
        },
    }
}

type Claims = (Vec<OwnedFd>, Vec<Listen>, Option<Listen>);

/// Claims every address before any is listened on, so that a second process is refused and a port chosen by
/// the kernel is the same on every reactor. The claims are dropped when all reactors listen.
fn claim_all(config: &Config) -> Result<Claims, StartError> {
    let mut claims = Vec::new();
    let mut claim = |listen: &Listen| match listen {
        Listen::Tcp(address) => {
            let (fd, bound) = reactor::claim(*address).map_err(|error| explain_bind(listen, error))?;
            claims.push(fd);
            Ok::<_, StartError>(Listen::Tcp(bound))
        }
        Listen::Unix(path) => {
            // A socket file that nobody listens on was left behind by a process that was killed.
            let is_socket = std::fs::symlink_metadata(path)
                .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()));
            if is_socket && !holder::is_listening(listen) {
                let _ = std::fs::remove_file(path);
            }
            Ok(listen.clone())
        }
    };
    let listen = config.fixed.listen.iter().map(&mut claim).collect::<Result<Vec<_>, _>>()?;
    let admin = config.fixed.admin.as_ref().map(&mut claim).transpose()?;
    Ok((claims, listen, admin))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reactor_that_breaks_rings_and_one_that_ends_does_not() {
        let (bell, alarm) = mpsc::channel();
        assert!(watched(|| Ok(Farewell::default()), 0, &Log::silent(), &bell).is_ok());
        assert!(alarm.try_recv().is_err());
        assert!(watched(|| panic!("as it was told to"), 0, &Log::silent(), &bell).is_err());
        assert!(alarm.try_recv().is_ok());
        assert!(watched(|| Err(io::ErrorKind::Other.into()), 0, &Log::silent(), &bell).is_err());
        assert!(alarm.try_recv().is_ok());
    }
}
