//! From the command line, the environment and the file to a [`Config`], or to every mistake in them.
//!
//! A start and a reload come this way alike, with the same command line: what a flag says, it goes on saying.
//! Nothing is kept between two loads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::file::{self, Source, address, upstream};
use super::raw::{Raw, Written};
use super::site::{Action, HostRule, PathPattern, PathRule, Proxy, Route, ServerSpec, Site};
use super::{Config, ConfigError, Fixed};

/// Files of a thousand routes have a tenth of a mebibyte.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What was meant, and what there is to tell of it.
#[derive(Debug)]
pub struct Loaded {
    /// What was meant.
    pub config: Config,
    /// What may not be meant so.
    pub warnings: Vec<ConfigError>,
    /// Every setting with its place, the file's among them.
    pub raw: Raw,
    /// What the file is called, if there is one.
    pub file: Option<String>,
    /// The line of each key of the file, by its whole name.
    pub lines: BTreeMap<String, u32>,
}

/// Reads the file that the command line names, if it does, and puts everything together.
///
/// # Errors
/// Every mistake, those of the command line first, then those of the file in the order of their places.
pub fn load(written: &Raw) -> Result<Loaded, Vec<ConfigError>> {
    let mut raw = written.clone();
    let (source, folder) = match &written.config {
        None => (Source::default(), PathBuf::new()),
        Some(path) => open(path).map_err(|problem| vec![named("config", path, problem)])?,
    };
    let mut file = file::read(&source, &folder);
    raw.fill_from(std::mem::take(&mut file.raw));
    let mut mistakes = pass_on(&mut file.site, &written.to);
    mistakes.extend(file.mistakes);
    match raw.clone().resolve_with(&source) {
        Ok(mut config) if mistakes.is_empty() => {
            config.site = file.site;
            // Whoever has routes does not want a benchmark and the metrics beside them.
            if raw.endpoints.is_none() && !config.site.routes.is_empty() {
                config.fixed.endpoints = Fixed::endpoints_default(true);
            }
            let file_name = written.config.as_ref().map(|_| String::from(source.name()));
            Ok(Loaded { config, warnings: file.warnings, raw, file: file_name, lines: file.lines })
        }
        Ok(_) => Err(mistakes),
        Err(more) => {
            mistakes.extend(more);
            mistakes.sort_by_key(|mistake| {
                mistake.excerpt.as_ref().map(|excerpt| (excerpt.spot.line, excerpt.spot.column))
            });
            Err(mistakes)
        }
    }
}

/// What `--to` says: one upstream of all servers, and a route to it behind those of the file.
fn pass_on(site: &mut Site, to: &[Written]) -> Vec<ConfigError> {
    let (mut servers, mut mistakes) = (Vec::new(), Vec::new());
    for written in to {
        match address::server(&written.text.to_string_lossy(), Path::new("")) {
            Ok(address) if servers.iter().any(|taken: &ServerSpec| taken.address == address) => {
                mistakes.push(named("to", written, String::from("is listed twice; name it once")));
            }
            Ok(address) => servers.push(upstream::server(address)),
            Err(problem) => mistakes.push(named("to", written, problem)),
        }
    }
    if !servers.is_empty() {
        let name = (1..).map(|number| match number {
            1 => String::from("proxy"),
            number => format!("proxy #{number}"),
        });
        let is_free = |name: &String| {
            site.upstreams.iter().all(|taken| taken.name != *name)
                && site.routes.iter().all(|taken| taken.name != *name)
        };
        let name = name.into_iter().find(is_free).unwrap_or_default();
        site.routes.push(everything_to(name.clone(), site.upstreams.len()));
        site.upstreams.push(upstream::usual(&name, servers));
    }
    mistakes
}

/// Who asks for a proxy on the command line wants WebSockets to work.
fn everything_to(name: String, upstream: usize) -> Route {
    let proxy = Proxy { upstream, host: HostRule::Keep, path: PathRule::Keep, upgrades: true };
    Route {
        name,
        hosts: Vec::new(),
        path: PathPattern::Prefix(String::from("/")),
        methods: None,
        fields: Vec::new(),
        action: Action::Proxy(proxy),
        steps: Vec::new(),
        body_bytes_max: None,
        line: 0,
    }
}

fn named(name: &str, written: &Written, problem: String) -> ConfigError {
    ConfigError { written: written.shown(name), problem, excerpt: None }
}

/// A file's text, and what its relative paths begin at.
fn open(written: &Written) -> Result<(Source, PathBuf), String> {
    let path = Path::new(&written.text);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => String::from("no such file; name one that exists"),
        io::ErrorKind::IsADirectory => String::from("is a folder; name the file in it"),
        io::ErrorKind::PermissionDenied => String::from("may not be read by this user"),
        _ => format!("cannot be read: {error}"),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(String::from("has more than 16 MiB, which is no configuration"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("not UTF-8 in line {line}; save it as UTF-8")
    })?;
    let whole = std::path::absolute(path).map_err(failed)?;
    let folder = whole.parent().map(Path::to_owned).unwrap_or_default();
    Ok((Source::new(path.to_string_lossy(), text), folder))
}
