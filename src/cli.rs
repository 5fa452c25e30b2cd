//! The command line: each flag's name, environment variable, help and default, in one place.
//!
//! A first word that is a command is one; a folder of that name is written `./doctor`.
//! A flag overrules its variable, and an empty variable counts as not set. Values are taken as they are written:
//! what they mean is decided in [`config::resolve`](crate::config::resolve), which sees all mistakes at once.
//! The defaults shown here are those of [`Config`](crate::config::Config); a test holds the two together.

mod doctor;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Raw, Written};

use doctor::DoctorFlags;

/// A well-formed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Every setting as written.
    pub raw: Raw,
    /// What to do with them.
    pub task: Task,
}

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Serve until told to end.
    Serve,
    /// Only look at the settings.
    Check,
    /// Tell what this host can hold.
    Doctor {
        /// For scripts.
        json: bool,
        /// Reckon with a client on the same machine.
        with_client: bool,
        /// Where the host's `/proc` and `/sys` are.
        host: PathBuf,
    },
}

/// Reads a command line, whose first word is the program's name, and the environment.
///
/// An error may also be the wish for help or the version; [`clap::Error::exit`] knows.
pub fn parse(words: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Parsed, clap::Error> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let mut command = command(is_brief(&words));
    let matches = command.try_get_matches_from_mut(words)?;
    let line = Line::from_arg_matches(&matches)?;
    match (line.command, matches.subcommand()) {
        (Some(Command::Doctor(flags)), Some((name, inner))) => {
            if let Some(stray) = said(&command, &matches) {
                return Err(command.error(ErrorKind::ArgumentConflict, out_of_place(name, &stray)));
            }
            let DoctorFlags { settings, json, with_client, host } = flags;
            Ok(Parsed { raw: raw(settings, inner), task: Task::Doctor { json, with_client, host } })
        }
        _ => {
            let task = if line.check { Task::Check } else { Task::Serve };
            Ok(Parsed { raw: raw(line.flags, &matches), task })
        }
    }
}

/// The first argument that was written, as a person would call it.
fn said(command: &clap::Command, matches: &ArgMatches) -> Option<String> {
    let is_said = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    command.get_arguments().find(|arg| is_said(arg.get_id().as_str())).map(ToString::to_string)
}

fn out_of_place(command: &str, stray: &str) -> String {
    format!(
        "{stray} stands before `{command}`; write it after that word, or ./{command} for the folder of that name"
    )
}

/// `-h` is a page to glance at; the variables' names follow a rule, which it tells instead.
fn command(brief: bool) -> clap::Command {
    let shown = |arg: clap::Arg| arg.hide_env(brief).hide_env_values(true);
    let command = Line::command().mut_args(shown);
    command.mut_subcommand("doctor", |command| doctor::shaped(command).mut_args(shown))
}

fn is_brief(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "-h")
}

/// An epoll-level HTTP server: one pinned reactor per core, nothing spent on an idle connection.
///
/// Without arguments it serves a welcome page and a few endpoints on 127.0.0.1:8080; with a directory, its files.
#[derive(Parser)]
#[command(name = "myriapod", version, max_term_width = 100, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
#[command(disable_help_subcommand = true, override_usage = USAGE)]
struct Line {
    #[command(flatten)]
    flags: Flags,

    /// Validate the settings, print them, and exit
    #[arg(long, env = "MYRIAPOD_CHECK", value_parser = FalseyValueParser::new(), help_heading = "Checks")]
    check: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Tell how many connections this host can hold, and what binds first
    Doctor(DoctorFlags),
}

// No doc comment: it would become that of every command that takes these.
#[derive(Args)]
struct Flags {
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

const USAGE: &str = "\
myriapod [OPTIONS] [DIR]
       myriapod doctor [OPTIONS]";

const AFTER_HELP: &str = "\
TIME is 500ms, 30s, 2m or 1h, and a bare number is seconds; SIZE is 512, 16k, 1m or 1g.
--idle-timeout is also MYRIAPOD_IDLE_TIMEOUT in the environment, and so are the others; a flag overrules it.
--help tells more.";

const AFTER_LONG_HELP: &str = "\
TIME is 500ms, 30s, 2m or 1h, and a bare number is seconds; SIZE is 512, 16k, 1m or 1g, in powers of 1024.
A flag overrules its environment variable; an empty variable counts as not set.

Examples:
  myriapod                              a welcome page on http://127.0.0.1:8080
  myriapod ./site --listen :80          the files under ./site, to everybody
  myriapod --reactors 1 --pin 0         one reactor on CPU 0, to measure
  myriapod ./doctor                     the files of a folder with the name of a command
  myriapod doctor                       what this host lacks for a million connections";

fn raw(flags: Flags, matches: &ArgMatches) -> Raw {
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
fn placed(matches: &ArgMatches, name: &str, texts: impl IntoIterator<Item = OsString>) -> Vec<Written> {
    let texts = texts.into_iter();
    match matches.value_source(name) {
        Some(ValueSource::CommandLine) => texts.map(Written::flag).collect(),
        Some(ValueSource::EnvVariable) => {
            texts.filter(|text| !text.is_empty()).map(Written::environment).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::config::{Config, raw::environment_name};

    fn parsed(words: &[&str]) -> Parsed {
        parse(iter::once("myriapod").chain(words.iter().copied())).expect("well-formed")
    }

    fn complaint(words: &[&str]) -> String {
        parse(iter::once("myriapod").chain(words.iter().copied())).expect_err("not well-formed").to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn nothing_said_is_nothing_written() {
        assert_eq!(parsed(&[]), Parsed { raw: Raw::default(), task: Task::Serve });
    }

    #[test]
    fn values_arrive_as_written() {
        let raw = parsed(&["--idle-timeout", "10x", "--max-head=", "site", "--root", "other"]).raw;
        assert_eq!(raw.idle_timeout, Some(Written::flag("10x")));
        assert_eq!(raw.max_head, Some(Written::flag("")));
        assert_eq!(raw.dir, Some(Written::argument("site")));
        assert_eq!(raw.root, Some(Written::flag("other")));
    }

    #[test]
    fn addresses_add_up() {
        let raw = parsed(&["--listen", "1,2", "--listen", "unix:a"]).raw;
        assert_eq!(raw.listen, [Written::flag("1"), Written::flag("2"), Written::flag("unix:a")]);
    }

    #[test]
    fn a_demo_needs_no_value_and_takes_no_directory() {
        let raw = parsed(&["--demo", "site"]).raw;
        assert_eq!(raw.demo, Some(Written::flag("on")));
        assert_eq!(raw.dir, Some(Written::argument("site")));
        assert_eq!(parsed(&["--demo=off"]).raw.demo, Some(Written::flag("off")));
    }

    #[test]
    fn every_setting_can_be_given_as_it_is_described() {
        let mut config = Config::default();
        config.fixed.admin = config.fixed.listen.pop();
        config.fixed.listen = vec![crate::config::Listen::Unix("a".into())];
        config.fixed.root = Some("/".into());
        let words: Vec<String> = config
            .describe()
            .into_iter()
            .map(|setting| format!("--{}={}", setting.name, setting.value.unwrap()))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(parsed(&words).raw.resolve(), Ok(config));
    }

    #[test]
    fn defaults_shown_are_defaults_meant() {
        let command = Line::command();
        for setting in Config::default().describe() {
            let arg = command.get_arguments().find(|arg| arg.get_long() == Some(setting.name));
            let shown =
                arg.expect(setting.name).get_default_values().first().map(|text| text.to_str().unwrap());
            if setting.name != "endpoints" {
                assert_eq!(shown, setting.value.as_deref(), "--{}", setting.name);
            }
        }
    }

    #[test]
    fn every_flag_has_its_variable_and_its_group() {
        for arg in Line::command().get_arguments() {
            let Some(name) = arg.get_long() else { continue };
            assert_eq!(
                arg.get_env().and_then(|env| env.to_str()),
                Some(&*environment_name(name)),
                "--{name}"
            );
            assert!(arg.get_help_heading().is_some(), "--{name}");
        }
    }

    #[test]
    fn the_doctor_takes_the_servers_flags_and_its_own() {
        let words = ["doctor", "--connections", "5000", "--reactors", "2", "--demo", "--json", "site"];
        let asked = parsed(&words);
        assert_eq!(asked.raw.max_connections, Some(Written::flag("5000")));
        assert_eq!(asked.raw.reactors, Some(Written::flag("2")));
        assert_eq!(asked.raw.dir, Some(Written::argument("site")));
        assert_eq!(asked.task, Task::Doctor { json: true, with_client: false, host: "/".into() });
        assert_eq!(
            parsed(&["doctor", "--max-connections", "5000"]).raw.max_connections,
            asked.raw.max_connections
        );
        assert_eq!(
            parsed(&["doctor"]).raw,
            Raw::default(),
            "what it asks for by default was written by nobody"
        );
    }

    #[test]
    fn a_folder_with_the_name_of_a_command_can_be_served() {
        for words in [["./doctor"].as_slice(), &["--root", "doctor"], &["--", "doctor"]] {
            assert_eq!(parsed(words).task, Task::Serve, "{words:?}");
        }
        assert_eq!(parsed(&["./doctor"]).raw.dir, Some(Written::argument("./doctor")));
    }

    #[test]
    fn what_stands_before_a_command_is_not_passed_over() {
        for (words, stray) in [(["--reactors=4", "doctor"], "--reactors"), (["site", "doctor"], "[DIR]")] {
            let told = complaint(&words);
            assert!(told.contains(stray) && told.contains("./doctor"), "{told}");
        }
        assert!(complaint(&["doctor", "--check"]).contains("unexpected argument '--check'"));
    }

    #[test]
    fn help_for_the_doctor_shows_what_its_answer_depends_on() {
        let told = complaint(&["doctor", "-h"]);
        for shown in ["--connections", "--reactors", "--json", "--host", "[default: 1000000]"] {
            assert!(told.contains(shown), "{shown}: {told}");
        }
        assert!(!told.contains("--idle-timeout") && told.lines().count() < 40, "{told}");
    }

    #[test]
    fn slips_are_put_right() {
        assert!(complaint(&["--idel-timeout", "3"]).contains("--idle-timeout"));
        assert!(complaint(&["--idle-timeout"]).contains("a value is required"));
        assert!(complaint(&["--root", "a", "--root", "b"]).contains("cannot be used multiple times"));
        assert!(complaint(&["a", "b"]).contains("unexpected argument 'b'"));
    }

    #[test]
    fn help_is_short_or_long() {
        let (short, long) = (complaint(&["-h"]), complaint(&["--help"]));
        assert!(short.lines().count() < 84 && short.contains("[default: 75s]"), "{short}");
        assert!(long.contains("[env: MYRIAPOD_IDLE_TIMEOUT]") && long.contains("[default: 75s]"), "{long}");
        for group in [
            "Listening",
            "Reactors",
            "Workers",
            "Limits",
            "Timeouts",
            "Files and endpoints",
            "Logging",
            "Checks",
        ] {
            assert!(short.contains(&format!("{group}:")) && long.contains(&format!("{group}:")), "{group}");
        }
        assert!(complaint(&["--version"]).starts_with("myriapod "));
    }
}
