//! How many connections this machine can hold, by arithmetic, before the first of them.
//!
//! Each consumer of descriptors and of memory has its line here. A [`Budget`] that exists is affordable: with
//! every connection idle it fits, and no table of descriptors runs out. What was asked for and cannot be had
//! is a [`Shortage`], which names the limit in the way and the command that lifts it.
//! No system calls here: the numbers come from [`Host`].

mod shortage;

use std::fmt;

pub use shortage::{Lack, Shortage};

use crate::config::site::{Action, Route};
use crate::config::units::size_about;
use crate::config::{AccessLog, Config, Dispatch};
use crate::worker::{Job, Staff};

use super::host::Host;
use super::spread;

/// What an idle connection costs the server: one slot.
pub const IDLE_BYTES: u64 = 64;
/// What an idle connection costs the kernel: `tcp_sock`, inode, file, dentry, epoll item (measured, 6.18).
pub const IDLE_KERNEL_BYTES: u64 = 3_891;
/// What a busy connection has besides its read buffer: output, the exchange, socket buffers in use.
pub const BUSY_EXTRA_BYTES: u64 = 4_096;
/// What a request that is passed on has besides its connection and its read buffer: the connection to a
/// server and another read buffer are counted apart.
pub const RELAY_EXTRA_BYTES: u64 = 4_096;
/// What a request that has left its connection has besides its buffer: where its parts lie, its places in the
/// queues, a small body, a small answer.
pub const JOB_EXTRA_BYTES: u64 = 4_096;
const _: () = assert!(size_of::<Job>() as u64 <= JOB_EXTRA_BYTES / 2);

/// Standard input, output and error.
const STDIO: u32 = 3;
/// Two ends of the pipe that signals come through.
const SIGNALS: u32 = 2;
/// A reactor's epoll and its waker's eventfd. A private table starts as a copy, so it has those of all
/// reactors.
const POLLERS_PER_REACTOR: u32 = 2;
/// By which the keeper is woken and sees that files change.
const KEEPER: u32 = 2;
/// Names that may be looked up at once.
const LOOKUPS_MAX: u32 = 64;
/// Accept until full without ever meeting EMFILE, and what libraries open for a moment.
const SPARE: u32 = 8;
/// Files being sent at once; beyond it a request for a file waits its turn or is refused.
const FILES_PER_TABLE_MAX: u64 = 1_024;
/// Of a small table no more than this part is kept for files.
const FILES_PART: u64 = 8;
/// Unless told otherwise idle connections get at most this part of memory; buffers and the page cache have
/// the rest.
pub(super) const IDLE_MEMORY_PART: u64 = 2;
/// A connection's index has 30 bits in an event's token.
const CONNECTIONS_PER_REACTOR_MAX: u64 = (1 << 30) - 1;
pub(super) const REACTORS_MAX: u32 = 1024;

/// Who has a table of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// Each reactor: the limit holds for each of them.
    Private,
    /// The process: the limit holds for all reactors together.
    Shared,
}

/// Descriptors of one table that are not clients, by consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Standard input, output and error.
    pub stdio: u32,
    /// The signal pipe.
    pub signals: u32,
    /// Epolls and eventfds.
    pub pollers: u32,
    /// Listening sockets, the admin one included.
    pub listeners: u32,
    /// By which the kernel finds the reactor with the fewest clients.
    pub balance: u32,
    /// The access log.
    pub logs: u32,
    /// The root directory and files being sent.
    pub files: u32,
    /// Looking after upstreams: probes, names, files.
    pub keeper: u32,
    /// Room to breathe.
    pub spare: u32,
}

impl Reserved {
    fn new(config: &Config, tables: Tables, reactors: u32, descriptors: u64) -> Reserved {
        let fixed = &config.fixed;
        let listeners = fixed.listen.len() as u32;
        let listening_reactors = match tables {
            Tables::Private => 1,
            Tables::Shared => reactors,
        };
        let files = match folders(config) * listening_reactors {
            0 => 0,
            open => open + (descriptors / FILES_PART).min(FILES_PER_TABLE_MAX) as u32,
        };
        Reserved {
            stdio: STDIO,
            signals: SIGNALS,
            pollers: POLLERS_PER_REACTOR * reactors,
            listeners: listeners * listening_reactors + u32::from(fixed.admin.is_some()),
            balance: spread::descriptors(config, reactors),
            logs: u32::from(matches!(fixed.access_log, AccessLog::File(_))),
            files,
            keeper: keeper(config, tables),
            spare: SPARE,
        }
    }

    /// All of them.
    pub fn total(&self) -> u32 {
        let ours = self.pollers + self.listeners + self.balance + self.logs + self.files + self.keeper;
        self.stdio + self.signals + ours + self.spare
    }
}

/// Directories that a reactor keeps open.
fn folders(config: &Config) -> u32 {
    let is_files = |route: &&Route| matches!(route.action, Action::Files { .. });
    u32::from(config.fixed.root.is_some()) + config.site.routes.iter().filter(is_files).count() as u32
}

/// What the thread that looks after upstreams opens is in the process's table; what it began with is in the
/// copies too.
fn keeper(config: &Config, tables: Tables) -> u32 {
    let servers: u32 = config.site.upstreams.iter().map(|upstream| upstream.servers.len() as u32).sum();
    match tables {
        _ if servers == 0 => 0,
        Tables::Private => KEEPER,
        Tables::Shared => KEEPER + servers + servers.min(LOOKUPS_MAX),
    }
}

/// Descriptors that a client takes: its own, and that of the server which answers it in our place.
fn per_client(config: &Config) -> u64 {
    1 + u64::from(!config.site.upstreams.is_empty())
}

/// What set the ceiling of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `--max-connections`.
    Asked,
    /// The descriptor limit.
    Descriptors,
    /// The memory there is.
    Memory,
    /// The width of a connection's index.
    Index,
}

/// What the server may use, and what it is going to need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Who has a table of descriptors.
    pub tables: Tables,
    /// Reactor threads.
    pub reactors: u32,
    /// Connections at once over all reactors.
    pub connections_max: u32,
    /// Connections at once on the reactor that has most; see [`share`](Budget::share).
    pub per_reactor_max: u32,
    /// Connections to servers at once over all reactors: one for each client; none are kept idle that would
    /// be in the way of another. 0: there are no upstreams.
    pub lines_max: u32,
    /// What set the ceiling.
    pub bound: Bound,
    /// The limit of one table in force.
    pub descriptors_limit: u64,
    /// How far a table is going to fill: connections and all that is reserved. Worth growing it to at the
    /// start.
    pub descriptors_per_table: u32,
    /// What of a table is not for clients.
    pub reserved: Reserved,
    /// Memory of all connections while idle.
    pub memory_idle_bytes: u64,
    /// Memory of all connections if each were busy at once, and all jobs.
    pub memory_busy_bytes: u64,
    /// Of it, memory of requests that are gathered for workers, wait for one, or are with one.
    pub memory_jobs_bytes: u64,
    /// Memory there was to plan with.
    pub memory_available_bytes: u64,
    /// Read buffers one reactor may have out at once: memory holds them besides all idle connections.
    pub buffers_per_reactor_max: u32,
}

impl Budget {
    /// Does the sums, or says what is short.
    ///
    /// `host` is to be measured after the soft limit was raised, or [`Host::raised`].
    pub fn new(host: &Host, config: &Config, tables: Tables, reactors: u32) -> Result<Budget, Shortage> {
        debug_assert!(reactors > 0);
        let plan = Plan { host, config, tables, reactors };
        let reserved = plan.reserved(reactors, host.descriptors());
        let by_descriptors = plan.connections_by_descriptors(reactors, host.descriptors());
        if by_descriptors < u64::from(reactors) {
            let needed = plan.descriptors_for(u64::from(reactors), reactors);
            return Err(Shortage::NoRoom { descriptors: host.descriptors(), needed });
        }
        let (connections, bound) = match config.fixed.connections_max {
            Some(asked) => (plan.afford(asked, by_descriptors)?, Bound::Asked),
            None => plan.ceiling(by_descriptors),
        };
        Ok(plan.budget(connections, bound, reserved))
    }

    /// Reckons with these workers: beside its connection's buffer a request has one of its own, from the time
    /// it is gathered until it comes home, be anybody there or not.
    #[must_use]
    pub fn with_workers(mut self, config: &Config, staff: Staff) -> Budget {
        if staff.workers == 0 {
            return self;
        }
        let reactors = u64::from(self.reactors);
        let per_job = u64::from(config.fixed.buffer_bytes) + JOB_EXTRA_BYTES;
        let per_busy = buffer_bytes(config) + per_job;
        let out = reactors * u64::from(jobs_out_max(config, staff)) * per_job;
        self.memory_jobs_bytes = u64::from(self.connections_max) * per_job + out;
        self.memory_busy_bytes += self.memory_jobs_bytes;
        let room = self.memory_available_bytes.saturating_sub(self.memory_idle_bytes + out);
        let buffers = (room / per_busy / reactors).max(1);
        self.buffers_per_reactor_max = narrow(buffers).min(self.buffers_per_reactor_max);
        self
    }

    /// How many connections a reactor may have. Shares differ by at most one and add up to
    /// [`connections_max`](Budget::connections_max).
    pub fn share(&self, reactor: u32) -> u32 {
        debug_assert!(reactor < self.reactors);
        self.connections_max / self.reactors + u32::from(reactor < self.connections_max % self.reactors)
    }
}

/// In one line, for `--check`.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, busy) = (size_about(self.memory_idle_bytes), size_about(self.memory_busy_bytes));
        write!(
            f,
            "{} connections at once on {} reactors: {idle} with all of them idle, {busy} with all busy",
            self.connections_max, self.reactors
        )?;
        if self.memory_jobs_bytes > 0 {
            write!(f, ", {} of that for workers", size_about(self.memory_jobs_bytes))?;
        }
        match self.lines_max {
            0 => Ok(()),
            lines => write!(f, "; as many to servers: {lines}"),
        }
    }
}

/// Jobs that one reactor may have out at once: all that wait, all that are at workers, and the urgent.
pub fn jobs_out_max(config: &Config, staff: Staff) -> u32 {
    config.fixed.queue_depth + urgent_reserve(config) + staff.posts()
}

/// Jobs that only urgent requests may have out: an eighth of those that may wait.
pub fn urgent_reserve(config: &Config) -> u32 {
    (config.fixed.queue_depth / 8).max(1)
}

/// The workers that these settings ask for: routes written in code may want some too.
pub fn staff_asked(host: &Host, config: &Config) -> Staff {
    let fixed = &config.fixed;
    let is_needed = fixed.demo || fixed.dispatch == Dispatch::Queue;
    Staff::of(if is_needed { fixed.workers.unwrap_or(host.cpus) } else { 0 })
}

/// Idle connections for which so much memory is enough.
pub(super) fn connections_by_memory(bytes: u64) -> u64 {
    bytes / (IDLE_BYTES + IDLE_KERNEL_BYTES)
}

/// What a connection costs at most: one that is being served.
fn busy_bytes(config: &Config) -> u64 {
    IDLE_BYTES + IDLE_KERNEL_BYTES + buffer_bytes(config)
}

/// What goes with a read buffer that is lent. A request that is passed on has a second one, and a connection
/// to a server.
fn buffer_bytes(config: &Config) -> u64 {
    let buffer = u64::from(config.fixed.buffer_bytes);
    let relay = match config.site.upstreams.is_empty() {
        true => 0,
        false => buffer + RELAY_EXTRA_BYTES + IDLE_BYTES + IDLE_KERNEL_BYTES,
    };
    buffer + BUSY_EXTRA_BYTES + relay
}

/// The arithmetic itself, for all who reckon with connections.
pub(super) struct Plan<'a> {
    pub host: &'a Host,
    pub config: &'a Config,
    pub tables: Tables,
    pub reactors: u32,
}

impl Plan<'_> {
    pub(super) fn reserved(&self, reactors: u32, descriptors: u64) -> Reserved {
        Reserved::new(self.config, self.tables, reactors, descriptors)
    }

    fn tables_count(&self, reactors: u32) -> u64 {
        match self.tables {
            Tables::Private => u64::from(reactors),
            Tables::Shared => 1,
        }
    }

    /// Connections for which tables of `descriptors` each have room.
    pub(super) fn connections_by_descriptors(&self, reactors: u32, descriptors: u64) -> u64 {
        let reserved = u64::from(self.reserved(reactors, descriptors).total());
        let clients = descriptors.saturating_sub(reserved) / per_client(self.config);
        clients.saturating_mul(self.tables_count(reactors))
    }

    /// The other way about: the limit a table needs for so many connections.
    pub(super) fn descriptors_for(&self, connections: u64, reactors: u32) -> u64 {
        let clients = connections.div_ceil(self.tables_count(reactors));
        let per_table = clients.saturating_mul(per_client(self.config));
        // What is kept for files grows with the table; sized for the whole it is enough in any case.
        let reserved = self.reserved(reactors, per_table.saturating_mul(2)).total();
        per_table + u64::from(reserved)
    }

    /// Connections that can be told apart.
    pub(super) fn connections_by_index(&self) -> u64 {
        (CONNECTIONS_PER_REACTOR_MAX * u64::from(self.reactors)).min(u64::from(u32::MAX))
    }

    /// How many reactors it takes when each has a table of its own; more than there are.
    pub(super) fn reactors_for(&self, connections: u64) -> Option<u32> {
        let holds = |&reactors: &u32| {
            self.connections_by_descriptors(reactors, self.host.descriptors()) >= connections
        };
        match self.tables {
            Tables::Private => (self.reactors + 1..=REACTORS_MAX).find(holds),
            Tables::Shared => None,
        }
    }

    /// As many as the limits can hold, and which limit that is.
    fn ceiling(&self, by_descriptors: u64) -> (u64, Bound) {
        let by_memory = connections_by_memory(self.host.memory_available_bytes / IDLE_MEMORY_PART);
        let bounds = [
            (by_descriptors, Bound::Descriptors),
            (by_memory.max(u64::from(self.reactors)), Bound::Memory),
            (self.connections_by_index(), Bound::Index),
        ];
        bounds.into_iter().min_by_key(|(connections, _)| *connections).unwrap_or(bounds[0])
    }

    /// What was asked for, if it can be had.
    fn afford(&self, asked: u32, by_descriptors: u64) -> Result<u64, Shortage> {
        let connections = u64::from(asked);
        if asked < self.reactors {
            return Err(Shortage::FewerThanReactors { asked, reactors: self.reactors });
        }
        if connections > by_descriptors {
            return Err(self.short_of_descriptors(asked, by_descriptors));
        }
        let needed = connections * (IDLE_BYTES + IDLE_KERNEL_BYTES);
        let available = self.host.memory_available_bytes;
        if needed > available {
            let possible = connections_by_memory(available);
            return Err(Shortage::Memory { asked, needed, available, possible });
        }
        Ok(connections)
    }

    fn short_of_descriptors(&self, asked: u32, possible: u64) -> Shortage {
        let host = self.host;
        let needed = self.descriptors_for(u64::from(asked), self.reactors);
        let reactors = self.reactors_for(u64::from(asked));
        let has_lines = per_client(self.config) > 1;
        let lack = Lack { asked, possible, needed, tables: self.tables, reactors, has_lines };
        match needed > host.nr_open {
            true => Shortage::NrOpen { lack, nr_open: host.nr_open },
            false => Shortage::Descriptors { lack, limit: host.descriptors() },
        }
    }

    fn budget(&self, connections: u64, bound: Bound, reserved: Reserved) -> Budget {
        let reactors = u64::from(self.reactors);
        let per_reactor = connections.div_ceil(reactors);
        let clients = connections.div_ceil(self.tables_count(self.reactors));
        let per_table = clients * per_client(self.config);
        let memory_idle_bytes = connections * (IDLE_BYTES + IDLE_KERNEL_BYTES);
        let available = self.host.memory_available_bytes;
        let room = available.saturating_sub(memory_idle_bytes);
        let buffers = (room / buffer_bytes(self.config) / reactors).clamp(1, per_reactor);
        Budget {
            tables: self.tables,
            reactors: self.reactors,
            connections_max: narrow(connections),
            per_reactor_max: narrow(per_reactor),
            lines_max: narrow(connections * (per_client(self.config) - 1)),
            bound,
            descriptors_limit: self.host.descriptors(),
            descriptors_per_table: narrow(per_table + u64::from(reserved.total())),
            reserved,
            memory_idle_bytes,
            memory_busy_bytes: connections * busy_bytes(self.config),
            memory_jobs_bytes: 0,
            memory_available_bytes: available,
            buffers_per_reactor_max: narrow(buffers),
        }
    }
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Accept, Listen};

    const GIB: u64 = 1 << 30;

    fn host(descriptors: u64) -> Host {
        Host {
            descriptors_soft: descriptors,
            descriptors_hard: descriptors,
            nr_open: 1 << 20,
            memory_available_bytes: 8 * GIB,
            cpus: 2,
        }
    }

    fn asking(connections: u32) -> Config {
        let mut config = Config::default();
        config.fixed.connections_max = Some(connections);
        config
    }

    fn refusal(host: &Host, config: &Config, tables: Tables, reactors: u32) -> String {
        Budget::new(host, config, tables, reactors).expect_err("short").to_string()
    }

    #[test]
    fn every_consumer_is_counted() {
        let mut config = Config::default();
        let plain = Budget::new(&host(20_000), &config, Tables::Shared, 2).expect("room").reserved;
        assert_eq!(plain.total(), 3 + 2 + 2 * 2 + 2 + 3 + 8);

        config.fixed.listen.push(Listen::Unix("a".into()));
        config.fixed.admin = Some(Listen::Unix("b".into()));
        config.fixed.access_log = AccessLog::File("c".into());
        config.fixed.root = Some("/".into());
        let all = Budget::new(&host(20_000), &config, Tables::Shared, 2).expect("room").reserved;
        assert_eq!(all.total(), plain.total() + 2 + 1 + 1 + 2 + 1_024);

        let private = Budget::new(&host(20_000), &config, Tables::Private, 2).expect("room").reserved;
        assert_eq!(private.total(), all.total() - 3, "the other reactor has its own table");

        config.fixed.accept = Accept::Hash;
        let hash = Budget::new(&host(20_000), &config, Tables::Private, 2).expect("room").reserved;
        assert_eq!(hash.total(), private.total() - 3, "nothing of the kernel's is asked for");
    }

    #[test]
    fn private_tables_multiply_the_limit() {
        let shared = Budget::new(&host(20_000), &Config::default(), Tables::Shared, 2).expect("room");
        assert_eq!(shared.connections_max, 20_000 - shared.reserved.total());
        assert_eq!(shared.descriptors_per_table, 20_000);
        let private = Budget::new(&host(20_000), &Config::default(), Tables::Private, 2).expect("room");
        assert_eq!(private.connections_max, 2 * (20_000 - private.reserved.total()));
        assert_eq!(private.per_reactor_max, 20_000 - private.reserved.total());
        assert_eq!(private.descriptors_per_table, 20_000);
        assert_eq!(private.bound, Bound::Descriptors);
    }

    #[test]
    fn memory_bounds_the_ceiling_when_descriptors_do_not() {
        let mut host = host(1 << 30);
        host.nr_open = 1 << 30;
        let budget = Budget::new(&host, &Config::default(), Tables::Private, 2).expect("room");
        assert_eq!(budget.bound, Bound::Memory);
        assert!(budget.memory_idle_bytes <= 4 * GIB && budget.memory_idle_bytes > 4 * GIB - 8_192);
        assert!(
            budget.descriptors_per_table < 1 << 21,
            "a table need not be grown to a limit nobody reaches"
        );
        let buffers = u64::from(budget.buffers_per_reactor_max) * 2 * (16_384 + BUSY_EXTRA_BYTES);
        assert!(budget.memory_idle_bytes + buffers <= 8 * GIB);
    }

    #[test]
    fn workers_cost_a_second_buffer_for_each_request() {
        let config = asking(1_000);
        let plain = Budget::new(&host(20_000), &config, Tables::Private, 2).expect("room");
        assert_eq!(plain.memory_jobs_bytes, 0);
        assert_eq!(
            plain.clone().with_workers(&config, Staff::of(0)),
            plain,
            "nobody is there to hand them to"
        );
        let budget = plain.clone().with_workers(&config, Staff::of(4));
        let out = 2 * (1_024 + 128 + 8);
        assert_eq!(budget.memory_jobs_bytes, (1_000 + out) * (16_384 + JOB_EXTRA_BYTES));
        assert_eq!(budget.memory_busy_bytes, plain.memory_busy_bytes + budget.memory_jobs_bytes);
        assert_eq!(budget.memory_idle_bytes, plain.memory_idle_bytes);
        assert_eq!(
            budget.to_string(),
            "1000 connections at once on 2 reactors: 3.7 MiB with all of them idle, 88 MiB with all busy, \
             64 MiB of that for workers"
        );
    }

    #[test]
    fn buffers_and_jobs_share_what_idle_connections_leave() {
        let mut host = host(1 << 20);
        host.memory_available_bytes = GIB;
        let config = asking(200_000);
        let plain = Budget::new(&host, &config, Tables::Private, 2).expect("room");
        let budget = plain.clone().with_workers(&config, Staff::of(4));
        let busy =
            u64::from(budget.buffers_per_reactor_max) * (2 * 16_384 + BUSY_EXTRA_BYTES + JOB_EXTRA_BYTES);
        let out = u64::from(jobs_out_max(&config, Staff::of(4))) * (16_384 + JOB_EXTRA_BYTES);
        assert!(budget.memory_idle_bytes + 2 * (busy + out) <= GIB);
        assert!(budget.buffers_per_reactor_max < plain.buffers_per_reactor_max / 2);
    }

    #[test]
    fn workers_are_asked_for_by_what_needs_them() {
        let mut config = Config::default();
        assert_eq!(staff_asked(&host(64), &config), Staff::of(0));
        config.fixed.demo = true;
        assert_eq!(staff_asked(&host(64), &config), Staff::of(2));
        config.fixed.workers = Some(7);
        assert_eq!(staff_asked(&host(64), &config), Staff::of(7));
    }

    #[test]
    fn each_client_may_need_a_server() {
        let plain = Budget::new(&host(20_000), &Config::default(), Tables::Private, 2).expect("room");
        assert_eq!(plain.lines_max, 0);
        let text = "[[route]]\npath = \"/*\"\nproxy = \"http://127.0.0.1:9000\"\n";
        let file = crate::config::file::read(&crate::config::file::Source::new("x", text), "/".as_ref());
        let mut config = Config { site: file.site, ..Config::default() };
        let budget = Budget::new(&host(20_000), &config, Tables::Private, 2).expect("room");
        let reserved = u64::from(budget.reserved.total());
        assert_eq!(u64::from(budget.per_reactor_max), (20_000 - reserved) / 2);
        assert_eq!(budget.lines_max, budget.connections_max);
        assert!(u64::from(budget.descriptors_per_table) <= 20_000);
        assert!(budget.to_string().ends_with(&format!("; as many to servers: {}", budget.connections_max)));
        let (shared, private) = (Tables::Shared, Tables::Private);
        let kept = |tables| Budget::new(&host(20_000), &config, tables, 2).expect("room").reserved.keeper;
        assert_eq!((kept(private), kept(shared)), (2, 4));
        config.fixed.connections_max = Some(30_000);
        let told = refusal(&host(20_000), &config, Tables::Private, 2);
        assert!(
            told.contains("per reactor holds 19976, each with one to a server; raise it: ulimit -n 30023"),
            "{told}"
        );
        assert!(Budget::new(&host(30_023), &config, Tables::Private, 2).is_ok());
        assert!(Budget::new(&host(30_022), &config, Tables::Private, 2).is_err());
    }

    #[test]
    fn shares_add_up() {
        for (connections, reactors) in [(2, 2), (7, 3), (1_000, 7)] {
            let budget =
                Budget::new(&host(20_000), &asking(connections), Tables::Private, reactors).expect("room");
            let shares: Vec<u32> = (0..reactors).map(|reactor| budget.share(reactor)).collect();
            assert_eq!(shares.iter().sum::<u32>(), connections);
            assert_eq!(shares.iter().max(), Some(&budget.per_reactor_max));
            assert!(shares.iter().all(|share| *share > 0));
        }
    }

    #[test]
    fn starts_under_a_limit_of_64() {
        let mut config = Config::default();
        config.fixed.root = Some("/".into());
        let budget = Budget::new(&host(64), &config, Tables::Shared, 2).expect("room");
        assert!(budget.connections_max >= 32, "{budget:?}");
    }

    #[test]
    fn refuses_a_limit_that_leaves_nothing() {
        let told = refusal(&host(16), &Config::default(), Tables::Shared, 2);
        assert_eq!(
            told,
            "the descriptor limit of 16 leaves none for clients; raise it: ulimit -n 24, or use fewer --reactors"
        );
        assert!(Budget::new(&host(24), &Config::default(), Tables::Shared, 2).is_ok());
    }

    #[test]
    fn the_descriptor_limit_is_named_with_what_lifts_it() {
        let told = refusal(&host(20_000), &asking(100_000), Tables::Private, 2);
        assert_eq!(
            told,
            "--max-connections 100000: the descriptor limit of 20000 per reactor holds 39958; raise it: ulimit -n 50021 \
             (as root; systemd: LimitNOFILE=50021), or write --reactors 6, or --max-connections 39958"
        );
        assert!(Budget::new(&host(50_021), &asking(100_000), Tables::Private, 2).is_ok());
        assert!(Budget::new(&host(50_020), &asking(100_000), Tables::Private, 2).is_err());
        assert!(Budget::new(&host(20_000), &asking(100_000), Tables::Private, 6).is_ok());
        assert!(Budget::new(&host(20_000), &asking(39_958), Tables::Private, 2).is_ok());
        assert!(!refusal(&host(20_000), &asking(100_000), Tables::Shared, 2).contains("--reactors"));
    }

    #[test]
    fn the_advised_limit_is_enough_with_files_too() {
        for asked in [100, 5_000, 100_000, 900_000] {
            let mut config = asking(asked);
            config.fixed.root = Some("/".into());
            for tables in [Tables::Private, Tables::Shared] {
                let Err(Shortage::Descriptors { lack, .. }) = Budget::new(&host(70), &config, tables, 2)
                else {
                    panic!("{asked} in 70 descriptors");
                };
                assert!(Budget::new(&host(lack.needed), &config, tables, 2).is_ok(), "{asked} {lack:?}");
            }
        }
    }

    #[test]
    fn nr_open_is_named_when_it_is_in_the_way() {
        let told = refusal(&host(1 << 20), &asking(2_000_000), Tables::Shared, 2);
        assert!(told.contains("fs.nr_open allows 1048576; raise both: sysctl fs.nr_open=2000022"), "{told}");
    }

    #[test]
    fn memory_is_named_when_it_is_short() {
        let mut host = host(1 << 20);
        host.memory_available_bytes = 100 << 20;
        let told = refusal(&host, &asking(100_000), Tables::Shared, 2);
        assert!(
            told.contains("needs 377 MiB of memory with all of them idle, and 100 MiB are available"),
            "{told}"
        );
        assert!(told.ends_with("--max-connections 26512"), "{told}");
        assert!(Budget::new(&host, &asking(26_512), Tables::Shared, 2).is_ok());
    }

    #[test]
    fn each_reactor_needs_a_connection() {
        let told = refusal(&host(20_000), &asking(1), Tables::Private, 2);
        assert!(told.ends_with("write --max-connections 2, or --reactors 1"), "{told}");
    }
}
