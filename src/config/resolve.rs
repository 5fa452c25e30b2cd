//! From what was written to what is meant.
//!
//! Every mistake is found in one go, and each is one line: what was written and where, what is wrong, the
//! fix.
//! How values are spelled is in `values` and [`units`]; whether the machine can hold them is
//! `server::budget`'s question.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::http::{FIELDS_MAX, HEAD_BYTES_MAX};

use super::file::{Excerpt, Source};
use super::raw::{Place, Raw, Written};
use super::units::{self, duration_text, size_text};
use super::values::{self, choose};
use super::{Config, Dispatch, Endpoints, Fixed, Limits, Listen, Site};

/// Below this not even `GET / HTTP/1.1` with a Host of ordinary length fits.
const HEAD_BYTES_MIN: u64 = 256;
const BUFFER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// So that a size can be added to another without a thought.
const BODY_BYTES_MAX: u64 = i64::MAX as u64;
pub(crate) const REACTORS_MAX: u32 = 1024;
pub(crate) const WORKERS_MAX: u32 = 1024;
pub(crate) const QUEUE_DEPTH_MAX: u32 = 65_536;
/// A connection's index has 30 bits in an event's token.
const CONNECTIONS_MAX: u32 = (1 << 30) - 1;
/// `listen(2)` takes an `int`.
const BACKLOG_MAX: u32 = i32::MAX as u32;
/// A week. Deadlines are kept in 32 bits of milliseconds, and a mistyped unit should not pass for patience.
pub(crate) const TIMEOUT_MS_MAX: u32 = 7 * 24 * 3_600_000;
/// Buffers are whole pages.
const PAGE_BYTES: u32 = 4096;

/// One mistake in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// What was written, with its flag or variable: `--idle-timeout 10x`.
    pub written: String,
    /// What is wrong with it, and the fix.
    pub problem: String,
    /// Its place, when it was written in a file.
    pub excerpt: Option<Excerpt>,
}

impl ConfigError {
    /// Without the line of the file, for a log, where each event is a line.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        format!("{}: {}", self.written, self.problem)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.written, self.problem)?;
        match &self.excerpt {
            None => Ok(()),
            Some(excerpt) => write!(f, "\n{}", excerpt.text),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Fixed {
    /// Which endpoints there are when nothing was said: who has a directory or
    /// routes has a `/` of their own.
    pub fn endpoints_default(has_content: bool) -> Endpoints {
        match has_content {
            true => Endpoints::Health,
            false => Endpoints::All,
        }
    }

    /// The size of a buffer when nothing was said: it must hold the longest head.
    pub fn buffer_bytes_default(head_bytes_max: u32) -> u32 {
        Fixed::default().buffer_bytes.max(head_bytes_max.next_multiple_of(PAGE_BYTES))
    }
}

impl Raw {
    /// The settings that were meant, or every mistake that was made.
    pub fn resolve(self) -> Result<Config, Vec<ConfigError>> {
        self.resolve_with(&Source::default())
    }

    /// The same, where settings may have been written in a file.
    pub(super) fn resolve_with(self, source: &Source) -> Result<Config, Vec<ConfigError>> {
        let mut mistakes = Mistakes { source, found: Vec::new() };
        let limits = mistakes.limits(&self);
        let fixed = mistakes.fixed(&self, &limits);
        match mistakes.found.is_empty() {
            true => Ok(Config { fixed, limits, site: Site::default() }),
            false => Err(mistakes.found),
        }
    }
}

/// What has gone wrong so far. A mistaken value is replaced by its default, so that the rest can be looked
/// at.
struct Mistakes<'s> {
    source: &'s Source,
    found: Vec<ConfigError>,
}

impl Mistakes<'_> {
    fn limits(&mut self, raw: &Raw) -> Limits {
        let usual = Limits::default();
        let fields_max = FIELDS_MAX as u32;
        Limits {
            head_bytes_max: self.text("max-head", &raw.max_head, head_bytes).unwrap_or(usual.head_bytes_max),
            fields_max: self
                .text("max-headers", &raw.max_headers, |text| count(text, fields_max))
                .unwrap_or(usual.fields_max),
            body_bytes_max: self
                .text("max-body", &raw.max_body, |text| size(text, 1, BODY_BYTES_MAX))
                .unwrap_or(usual.body_bytes_max),
            requests_max: self
                .text("keep-alive-requests", &raw.keep_alive_requests, requests)
                .unwrap_or(usual.requests_max),
            head_ms_max: self.timeout("head-timeout", &raw.head_timeout, usual.head_ms_max),
            body_ms_max: self.timeout("body-timeout", &raw.body_timeout, usual.body_ms_max),
            idle_ms_max: self.timeout("idle-timeout", &raw.idle_timeout, usual.idle_ms_max),
            write_ms_max: self.timeout("write-timeout", &raw.write_timeout, usual.write_ms_max),
            ..usual
        }
    }

    fn fixed(&mut self, raw: &Raw, limits: &Limits) -> Fixed {
        let usual = Fixed::default();
        let listen = self.listen(&raw.listen).unwrap_or(usual.listen);
        let root = self.root(raw);
        let has_root = raw.root.is_some() || raw.dir.is_some();
        let workers = self.text("workers", &raw.workers, workers).unwrap_or(usual.workers);
        let accepts = |text: &str| choose(values::ACCEPTS, text);
        let tables = |text: &str| choose(values::TABLES, text);
        let endpoints = |text: &str| choose(values::ENDPOINTS, text);
        let formats = |text: &str| choose(values::ACCESS_FORMATS, text);
        let levels = |text: &str| choose(values::LOG_LEVELS, text);
        let backlog = |text: &str| count(text, BACKLOG_MAX);
        let depth = |text: &str| count(text, QUEUE_DEPTH_MAX);
        let log = |text: &OsStr| values::access_log(Path::new(text));
        Fixed {
            admin: self.admin(&raw.admin, &listen),
            reactors: self
                .text("reactors", &raw.reactors, |text| auto_or_count(text, REACTORS_MAX))
                .flatten(),
            pin: self.text("pin", &raw.pin, values::pin).unwrap_or(usual.pin),
            backlog: self.text("backlog", &raw.backlog, backlog).unwrap_or(usual.backlog),
            defers_accept: self
                .text("defer-accept", &raw.defer_accept, values::switch)
                .unwrap_or(usual.defers_accept),
            accept: self.text("accept", &raw.accept, accepts).unwrap_or(usual.accept),
            connections_max: self
                .text("max-connections", &raw.max_connections, |text| auto_or_count(text, CONNECTIONS_MAX))
                .flatten(),
            descriptor_table: self.text("fd-table", &raw.fd_table, tables).unwrap_or(usual.descriptor_table),
            workers,
            dispatch: self.dispatch(raw, workers).unwrap_or(usual.dispatch),
            queue_depth: self.text("queue-depth", &raw.queue_depth, depth).unwrap_or(usual.queue_depth),
            queue_ms_max: self.timeout_or_off("queue-timeout", &raw.queue_timeout, usual.queue_ms_max),
            request_ms_max: self.timeout_or_off(
                "request-timeout",
                &raw.request_timeout,
                usual.request_ms_max,
            ),
            demo: self.text("demo", &raw.demo, values::switch).unwrap_or(usual.demo),
            endpoints: self
                .text("endpoints", &raw.endpoints, endpoints)
                .unwrap_or(Fixed::endpoints_default(has_root)),
            access_log: self.value("access-log", &raw.access_log, log).unwrap_or(usual.access_log),
            access_format: self
                .text("access-log-format", &raw.access_log_format, formats)
                .unwrap_or(usual.access_format),
            log_level: self.text("log-level", &raw.log_level, levels).unwrap_or(usual.log_level),
            server_name: self
                .text("server-header", &raw.server_header, values::server_name)
                .unwrap_or(usual.server_name),
            drain_ms_max: self.timeout("drain-timeout", &raw.drain_timeout, usual.drain_ms_max),
            buffer_bytes: self.buffer_bytes(&raw.buffer_size, limits.head_bytes_max),
            watches: self.text("watch", &raw.watch, values::switch).unwrap_or(usual.watches),
            listen,
            root,
        }
    }

    fn value<T>(
        &mut self,
        name: &'static str,
        written: &Option<Written>,
        read: impl FnOnce(&OsStr) -> Result<T, String>,
    ) -> Option<T> {
        let written = written.as_ref()?;
        match read(&written.text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.add(name, written, problem);
                None
            }
        }
    }

    fn text<T>(
        &mut self,
        name: &'static str,
        written: &Option<Written>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value(name, written, |text| read(utf8(text)?))
    }

    fn add(&mut self, name: &'static str, written: &Written, problem: String) {
        self.found.push(match written.place {
            Place::File(spot) => self.source.mistake(spot, problem),
            _ => ConfigError { written: written.shown(name), problem, excerpt: None },
        });
    }

    fn timeout(&mut self, name: &'static str, written: &Option<Written>, usual_ms: u32) -> u32 {
        self.text(name, written, timeout_ms).unwrap_or(usual_ms)
    }

    fn timeout_or_off(
        &mut self,
        name: &'static str,
        written: &Option<Written>,
        usual_ms: Option<u32>,
    ) -> Option<u32> {
        self.text(name, written, timeout_ms_or_off).unwrap_or(usual_ms)
    }

    /// Queues that nobody empties would answer every request with 503.
    fn dispatch(&mut self, raw: &Raw, workers: Option<u32>) -> Option<Dispatch> {
        self.text("dispatch", &raw.dispatch, |text| match choose(values::DISPATCHES, text)? {
            Dispatch::Queue if workers == Some(0) => {
                let none = raw.workers.as_ref().map_or_else(String::new, |written| written.shown("workers"));
                Err(format!("nobody would empty the queues with {none}; write --workers 1 or more, or auto"))
            }
            dispatch => Ok(dispatch),
        })
    }

    fn listen(&mut self, written: &[Written]) -> Option<Vec<Listen>> {
        let mut addresses = Vec::new();
        for written in written {
            match utf8(&written.text).and_then(values::listen) {
                Ok(address) if is_among(&address, &addresses) => {
                    self.add("listen", written, format!("{address} is listed twice; name it once"));
                }
                Ok(address) => addresses.push(address),
                Err(problem) => self.add("listen", written, problem),
            }
        }
        Some(addresses).filter(|addresses| !addresses.is_empty())
    }

    fn admin(&mut self, written: &Option<Written>, listen: &[Listen]) -> Option<Listen> {
        self.text("admin", written, |text| {
            let address = values::listen(text)?;
            match is_among(&address, listen) {
                true => Err(format!("{address} is listened on already; give it a port of its own")),
                false => Ok(address),
            }
        })
    }

    fn root(&mut self, raw: &Raw) -> Option<PathBuf> {
        let (Some(dir), Some(root)) = (&raw.dir, &raw.root) else {
            return self.value("root", if raw.dir.is_some() { &raw.dir } else { &raw.root }, directory);
        };
        // What stands on the command line overrules the environment, but not itself.
        if root.place == Place::Flag && root.text != dir.text {
            let flag = root.shown("root");
            self.add("root", dir, format!("{flag} names another directory; give one of the two"));
            return None;
        }
        self.value("root", &raw.dir, directory)
    }

    /// A buffer must hold the longest head. If only the head was made longer, the buffer follows.
    fn buffer_bytes(&mut self, written: &Option<Written>, head_bytes_max: u32) -> u32 {
        let read = |text: &str| {
            let bytes = size(text, HEAD_BYTES_MIN, BUFFER_BYTES_MAX)? as u32;
            let head = size_text(u64::from(head_bytes_max));
            match bytes < head_bytes_max {
                true => Err(format!(
                    "a buffer must hold the longest head, {head}; write {head} or more, or lower --max-head"
                )),
                false => Ok(bytes),
            }
        };
        self.text("buffer-size", written, read).unwrap_or(Fixed::buffer_bytes_default(head_bytes_max))
    }
}

/// Port 0 stands for a fresh port each time.
fn is_among(address: &Listen, addresses: &[Listen]) -> bool {
    let fresh = matches!(address, Listen::Tcp(address) if address.port() == 0);
    !fresh && addresses.contains(address)
}

fn utf8(text: &OsStr) -> Result<&str, String> {
    text.to_str().ok_or_else(|| String::from("not UTF-8; write it in plain letters"))
}

fn count(text: &str, max: u32) -> Result<u32, String> {
    let fix = format!("write a number from 1 to {max}");
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        _ if !digits => Err(format!("not a count; {fix}")),
        Ok(0) => Err(format!("at least 1; {fix}")),
        Ok(count) if count <= max => Ok(count),
        _ => Err(format!("at most {max}; {fix}")),
    }
}

fn auto_or_count(text: &str, max: u32) -> Result<Option<u32>, String> {
    match text.eq_ignore_ascii_case("auto") {
        true => Ok(None),
        false => count(text, max).map(Some),
    }
}

fn workers(text: &str) -> Result<Option<u32>, String> {
    match text {
        "0" => Ok(Some(0)),
        _ => auto_or_count(text, WORKERS_MAX).map_err(|problem| format!("{problem}, auto, or 0 for none")),
    }
}

fn requests(text: &str) -> Result<u32, String> {
    match text.eq_ignore_ascii_case("unlimited") {
        true => Ok(u32::MAX),
        false => count(text, u32::MAX - 1).map_err(|problem| format!("{problem}, or unlimited")),
    }
}

fn size(text: &str, min: u64, max: u64) -> Result<u64, String> {
    match units::size_bytes(text)? {
        bytes if bytes < min => Err(format!("at least {}; write that or more", size_text(min))),
        bytes if bytes > max => Err(format!("at most {}; write that or less", size_text(max))),
        bytes => Ok(bytes),
    }
}

/// `64k` is one more than 16 bits can count, and what everybody writes who wants as much as there is.
fn head_bytes(text: &str) -> Result<u32, String> {
    let max = HEAD_BYTES_MAX as u64;
    match units::size_bytes(text)? {
        bytes if bytes > max + 1 => {
            Err(format!("at most {max} bytes, since places in a head have 16 bits; write 64k or less"))
        }
        bytes if bytes < HEAD_BYTES_MIN => {
            Err(format!("too short for any request; write {HEAD_BYTES_MIN} or more"))
        }
        bytes => Ok(bytes.min(max) as u32),
    }
}

pub(super) fn timeout_ms(text: &str) -> Result<u32, String> {
    match units::duration_ms(text)? {
        ms if ms > TIMEOUT_MS_MAX => {
            Err(format!("longer than a week; write {} or less", duration_text(TIMEOUT_MS_MAX)))
        }
        ms => Ok(ms),
    }
}

pub(super) fn timeout_ms_or_off(text: &str) -> Result<Option<u32>, String> {
    match text.eq_ignore_ascii_case("off") {
        true => Ok(None),
        false => timeout_ms(text).map(Some).map_err(|problem| format!("{problem}, or off")),
    }
}

pub(super) fn directory(text: &OsStr) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err(String::from("no directory given; write the directory to serve, such as ."));
    }
    let path = PathBuf::from(text);
    let is_dir = fs::metadata(&path).map_err(|error| unreachable(&path, &error))?.is_dir();
    if !is_dir {
        if path.extension().is_some_and(|extension| extension == "toml") {
            return Err(format!("is a file; to be told by it write --config {}", path.display()));
        }
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        return Err(format!("is a file; name the directory it is in: {}", parent.display()));
    }
    fs::read_dir(&path).map_err(|error| unreachable(&path, &error))?;
    Ok(path)
}

fn unreachable(path: &Path, error: &io::Error) -> String {
    let text = path.to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound if values::listen(&text).is_ok() => {
            format!("no such directory; to listen there write --listen {text}")
        }
        io::ErrorKind::NotFound if text.ends_with(".toml") => {
            format!("no such directory; for a configuration write --config {text}")
        }
        io::ErrorKind::NotFound => String::from("no such directory; name one that exists"),
        io::ErrorKind::PermissionDenied => String::from(
            "may not be read by this user; give it read and search rights: chmod a+rX, or run as its owner",
        ),
        _ => format!("cannot be read ({error}); name another directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Accept, AccessFormat, AccessLog, DescriptorTable, LogLevel, Pin};

    fn flag(text: &str) -> Option<Written> {
        Some(Written::flag(text))
    }

    fn only_mistake(raw: Raw) -> String {
        let mistakes = raw.resolve().expect_err("a mistake");
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        mistakes[0].to_string()
    }

    #[test]
    fn nothing_written_means_the_defaults() {
        assert_eq!(Raw::default().resolve(), Ok(Config::default()));
    }

    #[test]
    fn every_setting_arrives() {
        let raw = Raw {
            config: None,
            to: Vec::new(),
            watch: flag("on"),
            dir: None,
            root: flag("/"),
            listen: vec![Written::flag("1"), Written::flag("unix:a")],
            admin: flag("2"),
            backlog: flag("3"),
            defer_accept: flag("off"),
            accept: flag("least"),
            endpoints: flag("none"),
            server_header: flag("off"),
            reactors: flag("4"),
            pin: flag("0-1"),
            fd_table: flag("shared"),
            workers: flag("15"),
            dispatch: flag("queue"),
            queue_depth: flag("16"),
            queue_timeout: flag("17ms"),
            request_timeout: flag("18"),
            demo: flag("on"),
            max_connections: flag("5"),
            max_head: flag("1k"),
            max_headers: flag("6"),
            max_body: flag("7"),
            keep_alive_requests: flag("8"),
            buffer_size: flag("9k"),
            head_timeout: flag("9"),
            body_timeout: flag("11"),
            idle_timeout: flag("12"),
            write_timeout: flag("13"),
            drain_timeout: flag("14"),
            access_log: flag("stderr"),
            access_log_format: flag("json"),
            log_level: flag("debug"),
        };
        let meant = Config {
            fixed: Fixed {
                listen: vec![Listen::Tcp(([127, 0, 0, 1], 1).into()), Listen::Unix(PathBuf::from("a"))],
                admin: Some(Listen::Tcp(([127, 0, 0, 1], 2).into())),
                reactors: Some(4),
                pin: Pin::List(vec![0, 1]),
                backlog: 3,
                defers_accept: false,
                accept: Accept::Least,
                connections_max: Some(5),
                descriptor_table: DescriptorTable::Shared,
                workers: Some(15),
                dispatch: Dispatch::Queue,
                queue_depth: 16,
                queue_ms_max: Some(17),
                request_ms_max: Some(18_000),
                demo: true,
                root: Some(PathBuf::from("/")),
                endpoints: Endpoints::None,
                access_log: AccessLog::Stderr,
                access_format: AccessFormat::Json,
                log_level: LogLevel::Debug,
                server_name: None,
                drain_ms_max: 14_000,
                buffer_bytes: 9 * 1024,
                watches: true,
            },
            limits: Limits {
                head_bytes_max: 1024,
                fields_max: 6,
                body_bytes_max: 7,
                requests_max: 8,
                head_ms_max: 9_000,
                body_ms_max: 11_000,
                idle_ms_max: 12_000,
                write_ms_max: 13_000,
                ..Limits::default()
            },
            site: Site::default(),
        };
        assert_eq!(meant.changed().len(), meant.describe().len(), "each differs from its default");
        assert_eq!(raw.resolve(), Ok(meant));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let raw = Raw {
            listen: vec![
                Written::flag("8080"),
                Written::environment("nowhere"),
                Written::flag("localhost:8080"),
            ],
            idle_timeout: flag("10x"),
            log_level: Some(Written::environment("wran")),
            root: flag("/nonexistent/site"),
            reactors: flag("0"),
            ..Raw::default()
        };
        let told: Vec<String> =
            raw.resolve().expect_err("mistakes").iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "--idle-timeout 10x: not a duration; write 500ms, 30s or 2m",
                "MYRIAPOD_LISTEN=nowhere: not an address; write 127.0.0.1:8080, [::1]:8080, :8080 or unix:PATH",
                "--listen localhost:8080: 127.0.0.1:8080 is listed twice; name it once",
                "--root /nonexistent/site: no such directory; name one that exists",
                "--reactors 0: at least 1; write a number from 1 to 1024",
                "MYRIAPOD_LOG_LEVEL=wran: no such choice; did you mean warn? (one of error, warn, info, debug)",
            ]
        );
    }

    #[test]
    fn a_head_of_64k_is_as_much_as_there_is() {
        for (text, bytes) in [("64k", 65_535), ("65535", 65_535), ("256", 256)] {
            let config = Raw { max_head: flag(text), ..Raw::default() }.resolve().expect(text);
            assert_eq!(config.limits.head_bytes_max, bytes);
        }
        for text in ["65537", "100k", "255"] {
            assert!(Raw { max_head: flag(text), ..Raw::default() }.resolve().is_err(), "{text}");
        }
    }

    #[test]
    fn the_buffer_follows_a_longer_head() {
        let config = Raw { max_head: flag("40000"), ..Raw::default() }.resolve().expect("sound");
        assert_eq!(config.fixed.buffer_bytes, 40_960);
        let config = Raw { max_head: flag("64k"), ..Raw::default() }.resolve().expect("sound");
        assert_eq!(config.fixed.buffer_bytes, 65_536);
    }

    #[test]
    fn a_buffer_shorter_than_the_head_is_a_mistake() {
        let told = only_mistake(Raw { buffer_size: flag("8k"), ..Raw::default() });
        assert_eq!(
            told,
            "--buffer-size 8k: a buffer must hold the longest head, 16k; write 16k or more, or lower --max-head"
        );
        assert!(Raw { buffer_size: flag("8k"), max_head: flag("8k"), ..Raw::default() }.resolve().is_ok());
    }

    #[test]
    fn counts_have_bounds() {
        for (text, told) in [
            ("0", "at least 1"),
            ("129", "at most 128"),
            ("99999999999", "at most 128"),
            ("", "not a count"),
            ("+3", "not a count"),
            ("ten", "not a count"),
        ] {
            let mistake = only_mistake(Raw { max_headers: flag(text), ..Raw::default() });
            assert!(mistake.contains(told), "{mistake}");
        }
        assert!(Raw { max_headers: flag("128"), ..Raw::default() }.resolve().is_ok());
        let told = only_mistake(Raw { keep_alive_requests: flag("0"), ..Raw::default() });
        assert!(told.ends_with("or unlimited"), "{told}");
    }

    #[test]
    fn there_may_be_no_workers() {
        for (text, count) in [("auto", None), ("0", Some(0)), ("1", Some(1)), ("1024", Some(1024))] {
            let config = Raw { workers: flag(text), ..Raw::default() }.resolve().expect(text);
            assert_eq!(config.fixed.workers, count);
        }
        let told = only_mistake(Raw { workers: flag("1025"), ..Raw::default() });
        assert_eq!(told, "--workers 1025: at most 1024; write a number from 1 to 1024, auto, or 0 for none");
    }

    #[test]
    fn queues_need_somebody_who_empties_them() {
        let queue = |workers| Raw { dispatch: flag("queue"), workers, ..Raw::default() };
        assert_eq!(
            only_mistake(queue(Some(Written::environment("0")))),
            "--dispatch queue: nobody would empty the queues with MYRIAPOD_WORKERS=0; \
             write --workers 1 or more, or auto"
        );
        assert!(only_mistake(queue(flag("0"))).contains("with --workers 0;"));
        // A worker count that cannot be read is one mistake and not two.
        assert!(only_mistake(queue(flag("none"))).starts_with("--workers none: "));
        assert!(queue(flag("1")).resolve().is_ok() && queue(None).resolve().is_ok());
        for dispatch in ["auto", "inline"] {
            let raw = Raw { dispatch: flag(dispatch), workers: flag("0"), ..Raw::default() };
            assert!(raw.resolve().is_ok(), "{dispatch}");
        }
    }

    #[test]
    fn a_queue_holds_something_and_not_everything() {
        for (text, depth) in [("1", 1), ("65536", 65_536)] {
            let config = Raw { queue_depth: flag(text), ..Raw::default() }.resolve().expect(text);
            assert_eq!(config.fixed.queue_depth, depth);
        }
        for (text, told) in [("0", "at least 1"), ("65537", "at most 65536")] {
            let mistake = only_mistake(Raw { queue_depth: flag(text), ..Raw::default() });
            assert!(mistake.contains(told), "{mistake}");
        }
    }

    #[test]
    fn patience_with_workers_can_be_endless() {
        let raw = Raw { queue_timeout: flag("off"), request_timeout: flag("OFF"), ..Raw::default() };
        let fixed = raw.resolve().expect("sound").fixed;
        assert_eq!((fixed.queue_ms_max, fixed.request_ms_max), (None, None));
        for (text, told) in [("0", "too short"), ("169h", "longer than a week"), ("10x", "not a duration")] {
            let mistake = only_mistake(Raw { request_timeout: flag(text), ..Raw::default() });
            assert!(mistake.contains(told) && mistake.ends_with(", or off"), "{mistake}");
        }
    }

    #[test]
    fn timeouts_end_within_a_week() {
        assert!(Raw { drain_timeout: flag("168h"), ..Raw::default() }.resolve().is_ok());
        let told = only_mistake(Raw { drain_timeout: flag("169h"), ..Raw::default() });
        assert_eq!(told, "--drain-timeout 169h: longer than a week; write 168h or less");
    }

    #[test]
    fn a_directory_without_a_flag_is_the_root() {
        let dir = Some(Written::argument("/"));
        let config = Raw { dir: dir.clone(), ..Raw::default() }.resolve().expect("sound");
        assert_eq!(config.fixed.root, Some(PathBuf::from("/")));
        assert_eq!(config.fixed.endpoints, Endpoints::Health);

        assert!(Raw { dir: dir.clone(), root: flag("/"), ..Raw::default() }.resolve().is_ok());
        let environment = Some(Written::environment("/proc"));
        let config =
            Raw { dir: dir.clone(), root: environment, ..Raw::default() }.resolve().expect("overruled");
        assert_eq!(config.fixed.root, Some(PathBuf::from("/")));

        let told = only_mistake(Raw { dir, root: flag("/proc"), ..Raw::default() });
        assert_eq!(told, "/: --root /proc names another directory; give one of the two");
    }

    #[test]
    fn a_root_that_cannot_be_served_is_explained() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let told = only_mistake(Raw { root: flag(file), ..Raw::default() });
        assert!(told.contains("is a file; name the directory it is in"), "{told}");
        let told = only_mistake(Raw { dir: Some(Written::argument("127.0.0.1:9")), ..Raw::default() });
        assert!(told.contains("write --listen 127.0.0.1:9"), "{told}");
    }

    #[test]
    fn admin_has_an_address_of_its_own() {
        let told = only_mistake(Raw { admin: flag("8080"), ..Raw::default() });
        assert!(told.contains("127.0.0.1:8080 is listened on already"), "{told}");
        let fresh = vec![Written::flag("0"), Written::flag("0")];
        assert!(Raw { listen: fresh, admin: flag("0"), ..Raw::default() }.resolve().is_ok());
    }
}
