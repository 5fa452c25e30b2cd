//! The flags that every way of serving has, and the way from them to [`Raw`].

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use crate::config::{Raw, Written};

// No doc comment: it would become that of every command that takes these.
#[derive(Args)]
pub(super) struct Flags {
    /// The directory to serve at /, like --root
    #[arg(value_name = "DIR")]
    dir: Option<OsString>,

    /// Read settings, routes and upstreams from a TOML file
    ///
    /// Settings have the names of their flags: idle-timeout = "30s". What a flag or its variable says comes first.
    #[arg(long, env = "MYRIAPOD_CONFIG", value_name = "FILE", help_heading = "Configuration")]
    config: Option<OsString>,

    /// Take changes of that file over as they are saved
    ///
    /// As SIGHUP does at any time. A file with a mistake changes nothing, and the mistake is told.
    #[arg(long, env = "MYRIAPOD_WATCH", value_name = "on|off", help_heading = "Configuration")]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "off", default_missing_value = "on")]
    watch: Option<OsString>,

    /// Where clients connect: HOST:PORT, :PORT, PORT, unix:PATH
    ///
    /// HOST is an IPv4 or [IPv6] address. :PORT listens on every IPv4 interface, PORT alone on 127.0.0.1, and port 0
    /// takes a free one. Several addresses are given by several flags, or separated by commas.
    #[arg(
        long,
        env = "MYRIAPOD_LISTEN",
        value_name = "ADDR",
        value_delimiter = ',',
        help_heading = "Listening"
    )]
    #[arg(default_value = "127.0.0.1:8080")]
    listen: Vec<OsString>,

    /// Serve health and metrics on an address of their own
    ///
    /// Best one that strangers cannot reach. Takes the same forms as --listen.
    #[arg(long, env = "MYRIAPOD_ADMIN", value_name = "ADDR", help_heading = "Listening")]
    admin: Option<OsString>,

    /// Clients that may wait to be accepted, per listener
    ///
    /// The kernel cuts this down to net.core.somaxconn.
    #[arg(long, env = "MYRIAPOD_BACKLOG", value_name = "COUNT", help_heading = "Listening")]
    #[arg(default_value = "65535")]
    backlog: Option<OsString>,

    /// Accept a client when its first bytes have come
    ///
    /// The kernel holds on to connections that say nothing for about a second (TCP_DEFER_ACCEPT), which halves the cost
    /// of a client with a single request. Off: every connection is accepted at once.
    #[arg(long, env = "MYRIAPOD_DEFER_ACCEPT", value_name = "on|off", help_heading = "Listening")]
    #[arg(default_value = "on")]
    defer_accept: Option<OsString>,

    /// Who takes a new TCP connection: auto, least or hash
    ///
    /// least: the reactor with the fewest, chosen in the kernel by a small eBPF program, which takes CAP_BPF; hash: the kernel's hash of its addresses; auto: least where the kernel allows it, else hash.
    #[arg(long, env = "MYRIAPOD_ACCEPT", value_name = "HOW", help_heading = "Listening")]
    #[arg(default_value = "auto")]
    accept: Option<OsString>,

    /// Reactor threads; auto: one per available CPU
    ///
    /// Available to the process, that is, by affinity and CPU quota. May exceed the number of CPUs.
    #[arg(long, env = "MYRIAPOD_REACTORS", value_name = "COUNT", help_heading = "Reactors")]
    #[arg(default_value = "auto")]
    reactors: Option<OsString>,

    /// CPUs to pin reactors to: auto, off, or a list like 0,2-3
    ///
    /// Reactors take the CPUs of the list in turn; auto means every CPU available to the process.
    #[arg(long, env = "MYRIAPOD_PIN", value_name = "CPUS", help_heading = "Reactors")]
    #[arg(default_value = "auto")]
    pin: Option<OsString>,

    /// Descriptor tables: auto, private or shared
    ///
    /// With a private table each, system calls are cheaper and the descriptor limit holds per reactor; auto means
    /// private where the kernel allows it.
    #[arg(long, env = "MYRIAPOD_FD_TABLE", value_name = "KIND", help_heading = "Reactors")]
    #[arg(default_value = "auto")]
    fd_table: Option<OsString>,

    /// Threads for handlers that may block; 0: none
    ///
    /// auto: one per CPU available to the process. With 0, a route that needs a worker is refused at the start.
    #[arg(long, env = "MYRIAPOD_WORKERS", value_name = "COUNT", help_heading = "Workers")]
    #[arg(default_value = "auto")]
    workers: Option<OsString>,

    /// Where handlers run: auto, inline or queue
    ///
    /// auto: each where it asks to; inline: all on the reactor, even those that hold it up; queue: all on workers, to measure the queues. What no handler answers (files, 404, 405) is answered on the reactor in any case.
    #[arg(long, env = "MYRIAPOD_DISPATCH", value_name = "WHERE", help_heading = "Workers")]
    #[arg(default_value = "auto")]
    dispatch: Option<OsString>,

    /// Requests that may wait for a worker; then 503
    ///
    /// Per reactor, up to 65536. Beyond it the answer is 503 at once, and the connection lives on.
    #[arg(long, env = "MYRIAPOD_QUEUE_DEPTH", value_name = "COUNT", help_heading = "Workers")]
    #[arg(default_value = "1024")]
    queue_depth: Option<OsString>,

    /// How long a request may wait for a worker; then 503
    ///
    /// Or off. When every wait stays over a twentieth of it, new requests are refused early instead of all being late.
    #[arg(long, env = "MYRIAPOD_QUEUE_TIMEOUT", value_name = "TIME", help_heading = "Workers")]
    #[arg(default_value = "1s")]
    queue_timeout: Option<OsString>,

    /// How long a worker's answer may take; then 504
    ///
    /// Or off. From the complete request to its answer, the wait for a worker included. Over it the handler is told to give up.
    #[arg(long, env = "MYRIAPOD_REQUEST_TIMEOUT", value_name = "TIME", help_heading = "Workers")]
    #[arg(default_value = "30s")]
    request_timeout: Option<OsString>,

    /// Serve /work?ms=N and /cpu?us=N, to try workers out
    ///
    /// /work sleeps on a worker, /cpu computes on one. Not for strangers: whoever may ask may keep every worker busy.
    #[arg(long, env = "MYRIAPOD_DEMO", value_name = "on|off", help_heading = "Workers")]
    #[arg(num_args = 0..=1, require_equals = true, default_value = "off", default_missing_value = "on")]
    demo: Option<OsString>,

    /// Connections at once; auto: what the limits hold
    ///
    /// Over all reactors; the limits are those of descriptors and memory. Beyond it clients wait in the backlog. The banner shows what auto comes to.
    #[arg(long, env = "MYRIAPOD_MAX_CONNECTIONS", value_name = "COUNT", help_heading = "Limits")]
    #[arg(default_value = "auto")]
    max_connections: Option<OsString>,

    /// Bytes of a request head, up to 64k; then 414, 431
    #[arg(long, env = "MYRIAPOD_MAX_HEAD", value_name = "SIZE", help_heading = "Limits")]
    #[arg(default_value = "16k")]
    max_head: Option<OsString>,

    /// Fields of a request head, up to 128; then 431
    #[arg(long, env = "MYRIAPOD_MAX_HEADERS", value_name = "COUNT", help_heading = "Limits")]
    #[arg(default_value = "100")]
    max_headers: Option<OsString>,

    /// Bytes of a request body, decoded; then 413
    #[arg(long, env = "MYRIAPOD_MAX_BODY", value_name = "SIZE", help_heading = "Limits")]
    #[arg(default_value = "1g")]
    max_body: Option<OsString>,

    /// Requests per connection, or unlimited
    #[arg(long, env = "MYRIAPOD_KEEP_ALIVE_REQUESTS", value_name = "COUNT", help_heading = "Limits")]
    #[arg(default_value = "unlimited")]
    keep_alive_requests: Option<OsString>,

    /// Bytes of a read buffer, at least --max-head
    ///
    /// Each busy connection has one. An idle connection has none. Follows --max-head when only that is raised.
    #[arg(long, env = "MYRIAPOD_BUFFER_SIZE", value_name = "SIZE", help_heading = "Limits")]
    #[arg(default_value = "16k")]
    buffer_size: Option<OsString>,

    /// How long a request head may take; then 408
    ///
    /// From its first byte to its end, not renewed by bytes that arrive. A client that connects and says nothing has as long.
    #[arg(long, env = "MYRIAPOD_HEAD_TIMEOUT", value_name = "TIME", help_heading = "Timeouts")]
    #[arg(default_value = "10s")]
    head_timeout: Option<OsString>,

    /// How long a body may crawl; then 408
    ///
    /// The span over which it must keep up 240 bytes/s: a least rate and not just silence: a drip of one byte per half second is given up.
    #[arg(long, env = "MYRIAPOD_BODY_TIMEOUT", value_name = "TIME", help_heading = "Timeouts")]
    #[arg(default_value = "15s")]
    body_timeout: Option<OsString>,

    /// How long a connection may rest; then it is closed
    #[arg(long, env = "MYRIAPOD_IDLE_TIMEOUT", value_name = "TIME", help_heading = "Timeouts")]
    #[arg(default_value = "75s")]
    idle_timeout: Option<OsString>,

    /// How long an answer may be left lying; then a reset
    ///
    /// The span over which the client must take it at 240 bytes/s.
    #[arg(long, env = "MYRIAPOD_WRITE_TIMEOUT", value_name = "TIME", help_heading = "Timeouts")]
    #[arg(default_value = "30s")]
    write_timeout: Option<OsString>,

    /// How long requests may go on after SIGTERM, SIGINT
    ///
    /// A second signal ends at once.
    #[arg(long, env = "MYRIAPOD_DRAIN_TIMEOUT", value_name = "TIME", help_heading = "Timeouts")]
    #[arg(default_value = "30s")]
    drain_timeout: Option<OsString>,

    /// The directory to serve at /, instead of the welcome page
    #[arg(long, env = "MYRIAPOD_ROOT", value_name = "DIR", help_heading = "Files and endpoints")]
    root: Option<OsString>,

    /// all, health or none [default: all; with a root: health]
    ///
    /// Built-in endpoints. all: /, /plaintext, /json, /echo, /healthz, /readyz and /metrics; health: /healthz and /readyz. An existing
    /// file comes before a built-in endpoint of the same name.
    #[arg(long, env = "MYRIAPOD_ENDPOINTS", value_name = "WHICH", help_heading = "Files and endpoints")]
    endpoints: Option<OsString>,

    /// What the Server field says: on, off, or a text
    #[arg(long, env = "MYRIAPOD_SERVER_HEADER", value_name = "TEXT", help_heading = "Files and endpoints")]
    #[arg(default_value = "on")]
    server_header: Option<OsString>,

    /// A line per request: off, stderr or a file
    ///
    /// Lines that cannot be written in time are dropped and counted; requests never wait for them.
    #[arg(long, env = "MYRIAPOD_ACCESS_LOG", value_name = "FILE", help_heading = "Logging")]
    #[arg(default_value = "off")]
    access_log: Option<OsString>,

    /// How lines are written: combined or json
    #[arg(long, env = "MYRIAPOD_ACCESS_LOG_FORMAT", value_name = "FORMAT", help_heading = "Logging")]
    #[arg(default_value = "combined")]
    access_log_format: Option<OsString>,

    /// What to tell on stderr: error, warn, info or debug
    #[arg(long, env = "MYRIAPOD_LOG_LEVEL", value_name = "LEVEL", help_heading = "Logging")]
    #[arg(default_value = "info")]
    log_level: Option<OsString>,
}

pub(super) fn raw(flags: Flags, matches: &ArgMatches) -> Raw {
    let written = |name: &str, text: Option<OsString>| placed(matches, name, text).into_iter().next();
    Raw {
        config: written("config", flags.config),
        watch: written("watch", flags.watch),
        to: Vec::new(),
        dir: flags.dir.map(Written::argument),
        root: written("root", flags.root),
        listen: placed(matches, "listen", flags.listen),
        admin: written("admin", flags.admin),
        backlog: written("backlog", flags.backlog),
        defer_accept: written("defer_accept", flags.defer_accept),
        accept: written("accept", flags.accept),
        endpoints: written("endpoints", flags.endpoints),
        server_header: written("server_header", flags.server_header),
        reactors: written("reactors", flags.reactors),
        pin: written("pin", flags.pin),
        fd_table: written("fd_table", flags.fd_table),
        workers: written("workers", flags.workers),
        dispatch: written("dispatch", flags.dispatch),
        queue_depth: written("queue_depth", flags.queue_depth),
        queue_timeout: written("queue_timeout", flags.queue_timeout),
        request_timeout: written("request_timeout", flags.request_timeout),
        demo: written("demo", flags.demo),
        max_connections: written("max_connections", flags.max_connections),
        max_head: written("max_head", flags.max_head),
        max_headers: written("max_headers", flags.max_headers),
        max_body: written("max_body", flags.max_body),
        keep_alive_requests: written("keep_alive_requests", flags.keep_alive_requests),
        buffer_size: written("buffer_size", flags.buffer_size),
        head_timeout: written("head_timeout", flags.head_timeout),
        body_timeout: written("body_timeout", flags.body_timeout),
        idle_timeout: written("idle_timeout", flags.idle_timeout),
        write_timeout: written("write_timeout", flags.write_timeout),
        drain_timeout: written("drain_timeout", flags.drain_timeout),
        access_log: written("access_log", flags.access_log),
        access_log_format: written("access_log_format", flags.access_log_format),
        log_level: written("log_level", flags.log_level),
    }
}

/// The values of a flag with their place. Its default was written by nobody, and an empty variable is what
/// templates make of "not set".
pub(super) fn placed(
    matches: &ArgMatches,
    name: &str,
    texts: impl IntoIterator<Item = OsString>,
) -> Vec<Written> {
    let texts = texts.into_iter();
    match matches.value_source(name) {
        Some(ValueSource::CommandLine) => texts.map(Written::flag).collect(),
        Some(ValueSource::EnvVariable) => {
            texts.filter(|text| !text.is_empty()).map(Written::environment).collect()
        }
        _ => Vec::new(),
    }
}
