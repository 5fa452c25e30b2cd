//! What the server was told to do, as plain data.
//!
//! [`Raw`] is what was written; [`Config`] is what is meant, complete and in one unit per name. A
//! `Config` that exists is sound in itself; whether this machine can hold it is `server::budget`'s question.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub mod cidr;
mod describe;
pub mod diff;
mod dump;
pub mod file;
mod load;
pub mod raw;
pub mod resolve;
pub mod site;
pub mod units;
mod values;

pub use cidr::Cidr;
pub use describe::Setting;
pub(crate) use file::{host_text, params, path_text};
pub use load::{Loaded, load};
pub use raw::{Raw, Written};
pub use resolve::ConfigError;
pub use site::Site;
pub use values::cpus_text;

/// Everything that was decided before the first socket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What cannot change without a restart.
    pub fixed: Fixed,
    /// Bounds on what one connection may use.
    pub limits: Limits,
    /// Routes and upstreams: what a reload replaces.
    pub site: Site,
}

/// What cannot change without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Where clients connect; never empty.
    pub listen: Vec<Listen>,
    /// Where health and metrics are served besides, or instead.
    pub admin: Option<Listen>,
    /// How many reactor threads; `None`: one per CPU available to the process.
    pub reactors: Option<u32>,
    /// Which reactor runs where.
    pub pin: Pin,
    /// The length of each listener's accept queue.
    pub backlog: u32,
    /// Whether the kernel holds a new connection back until its first bytes have come.
    pub defers_accept: bool,
    /// Which reactor a new connection goes to.
    pub accept: Accept,
    /// How many clients at once, over all reactors; `None`: as many as the descriptor limit can hold.
    pub connections_max: Option<u32>,
    /// Whether reactors get descriptor tables of their own.
    pub descriptor_table: DescriptorTable,
    /// How many threads run handlers that may block; `None`: one per CPU available to the process.
    /// With 0 there are none, and a route that needs one is refused at the start.
    pub workers: Option<u32>,
    /// Where handlers run.
    pub dispatch: Dispatch,
    /// Requests of one reactor that may wait for a worker. Over it: 503 at once.
    pub queue_depth: u32,
    /// How long a request may wait for a worker; a twentieth of it is the target of the queue's delay
    /// control. Over it: 503. `None`: as long as its answer may take.
    pub queue_ms_max: Option<u32>,
    /// From a complete request to its worker's answer. Over it: 504, and the handler is told to give up.
    /// `None`: as long as the handler likes.
    pub request_ms_max: Option<u32>,
    /// Whether `/work` and `/cpu` are served, which keep workers busy on demand.
    pub demo: bool,
    /// The directory served at `/`.
    pub root: Option<PathBuf>,
    /// Which built-in endpoints the main listeners have.
    pub endpoints: Endpoints,
    /// Where a line per request goes.
    pub access_log: AccessLog,
    /// How access lines are written.
    pub access_format: AccessFormat,
    /// The least serious event that is told on stderr.
    pub log_level: LogLevel,
    /// What the `Server` field says; `None`: there is none.
    pub server_name: Option<String>,
    /// How long a drain may take, in milliseconds.
    pub drain_ms_max: u32,
    /// The size of a read buffer in bytes; at least `limits.head_bytes_max`.
    pub buffer_bytes: u32,
    /// Whether a change of the configuration file is taken over by itself.
    pub watches: bool,
}

impl Default for Fixed {
    fn default() -> Fixed {
        Fixed {
            // Loopback: a server somebody tries out is not to be reached by strangers.
            listen: vec![Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))],
            admin: None,
            reactors: None,
            pin: Pin::Auto,
            // The kernel cuts it down to net.core.somaxconn.
            backlog: 65_535,
            defers_accept: true,
            accept: Accept::Auto,
            connections_max: None,
            descriptor_table: DescriptorTable::Auto,
            workers: None,
            dispatch: Dispatch::Auto,
            queue_depth: 1024,
            queue_ms_max: Some(1_000),
            request_ms_max: Some(30_000),
            // Off: whoever may ask for them may keep every worker busy.
            demo: false,
            root: None,
            endpoints: Endpoints::All,
            access_log: AccessLog::Off,
            access_format: AccessFormat::Combined,
            log_level: LogLevel::Info,
            server_name: Some(String::from("myriapod")),
            drain_ms_max: 30_000,
            buffer_bytes: 16 * 1024,
            watches: false,
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A path in the file system.
    Unix(PathBuf),
}

/// Which reactor runs on which CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The process's CPUs in turn.
    Auto,
    /// Wherever the kernel likes.
    Off,
    /// These CPUs in turn.
    List(Vec<u32>),
}

/// Which reactor a new TCP connection goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// To the one with the fewest, where the kernel lets us choose, else by hash.
    Auto,
    /// To the one with the fewest, or refuse to start.
    Least,
    /// By the kernel's hash of its addresses.
    Hash,
}

/// Whether reactors get descriptor tables of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptorTable {
    /// Private where the kernel allows it, else shared.
    Auto,
    /// Private, or refuse to start.
    Private,
    /// One table for the process.
    Shared,
}

/// Where handlers run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// Each where it asks to.
    #[default]
    Auto,
    /// All on the reactor, even those that may block it.
    Inline,
    /// All on workers, through the queues, which is how the queues are measured.
    Queue,
}

/// Which built-in endpoints the main listeners have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// Welcome page, plaintext, json, echo, health, metrics.
    All,
    /// `/healthz` and `/readyz`.
    Health,
    /// None.
    None,
}

/// Where a line per request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard error.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
}

/// How access lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// The combined log format that Apache and nginx share.
    Combined,
    /// One JSON object a line.
    Json,
}

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something that was promised did not happen.
    Error,
    /// Something a careful operator would look at.
    Warn,
    /// The life of the process.
    Info,
    /// Why a connection or request was refused.
    Debug,
}

/// Every bound on what one connection may use, with its unit in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head, request line and final empty line included. Over it: 414 or 431.
    pub head_bytes_max: u32,
    /// Field lines of a request head, and of a trailer section. Over it: 431.
    pub fields_max: u32,
    /// Bytes of a request body, decoded. Over it: 413.
    pub body_bytes_max: u64,
    /// Bytes of a body that is collected for a handler, where its route does not say. Over it: 413.
    pub collected_bytes_max: u64,
    /// From the first byte of a head (or the accept) to its end; not renewed by bytes. Over it: 408.
    pub head_ms_max: u32,
    /// The span over which a body must keep up
    /// [`RATE_BYTES_PER_SECOND_MIN`](Limits::RATE_BYTES_PER_SECOND_MIN).
    /// Below it: 408.
    pub body_ms_max: u32,
    /// Between requests. Over it: closed in silence.
    pub idle_ms_max: u32,
    /// The span over which an answer must be taken at the same least rate. Below it: reset.
    pub write_ms_max: u32,
    /// How long the rest of a refused client's input is read and thrown away.
    pub linger_ms_max: u32,
    /// Requests on one connection; the last answer says `Connection: close`.
    pub requests_max: u32,
    /// Answers queued on one connection before it stops being read.
    pub output_bytes_high: u32,
    /// Requests one connection may have answered in one turn before others have theirs.
    pub requests_per_turn: u32,
    /// Bytes one connection may read in one turn before others have theirs.
    pub read_bytes_per_turn: u32,
    /// Connections accepted by one listener in one turn.
    pub accepts_per_turn: u32,
}

impl Limits {
    /// The least rate of a body's bytes, either way. A drip of one byte per half second is 2 bytes/s; the
    /// slowest link anybody serves is a thousand times that.
    pub const RATE_BYTES_PER_SECOND_MIN: u64 = 240;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 16 * 1024,
            fields_max: 100,
            body_bytes_max: 1024 * 1024 * 1024,
            collected_bytes_max: 1024 * 1024,
            head_ms_max: 10_000,
            body_ms_max: 15_000,
            idle_ms_max: 75_000,
            write_ms_max: 30_000,
            linger_ms_max: 3_000,
            requests_max: u32::MAX,
            output_bytes_high: 64 * 1024,
            requests_per_turn: 32,
            read_bytes_per_turn: 64 * 1024,
            accepts_per_turn: 64,
        }
    }
}
