//! What all modes begin with: the target asked and answered, descriptors counted, a report begun.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::cli::{Aim, Size};
use crate::engine::conduct::{Origin, Plan};
use crate::engine::table;
use crate::host::machine;
use crate::host::process::Process;
use crate::report::Report;
use crate::wire::answer::Expected;
use crate::wire::preflight;
use crate::wire::target::{Question, Target, Url};

/// A target that was asked and answered, and who it is.
pub struct Ready {
    pub target: Arc<Target>,
    pub sources: Origin,
    pub server: Option<Process>,
    pub report: Report,
}

impl Aim {
    /// Resolves and asks the target, and begins a report.
    ///
    /// # Errors
    /// Why there is nothing to measure, for people.
    pub fn ready(&self, mode: &'static str, closes: bool) -> Result<Ready, String> {
        let url = Url::parse(&self.url)?;
        let address = url.resolve(self.allow_remote)?;
        self.source.iter().try_for_each(|source| is_usable(*source, address))?;
        let question = self.question(&url, closes)?;
        let told = Expected { status: self.status, length: self.length, body: None };
        let probe = Target::new(address, &question, Expected::default());
        let expected = preflight::learn(&probe, told, self.check, self.timeout)?;
        let local = address.ip().is_loopback().then_some(address.port());
        let server = match self.pid {
            Some(id) => Some(Process::of(id).ok_or_else(|| format!("there is no process {id}"))?),
            None => local.and_then(Process::listening_on),
        };
        let report = Report {
            mode,
            target: self.url.clone(),
            command: command(),
            began: now(),
            machine: machine::describe(),
            checked: preflight::describe(&expected),
            ..Report::default()
        };
        let sources = match (&self.source[..], address.ip()) {
            ([], IpAddr::V4(ip)) if ip.is_loopback() => Origin::Loopback,
            ([], _) => Origin::Any,
            (given, _) => Origin::Given(given.to_vec()),
        };
        Ok(Ready { target: Arc::new(Target::new(address, &question, expected)), sources, server, report })
    }

    /// What is asked, as the flags say.
    ///
    /// # Errors
    /// Which flag is no good, for people.
    pub fn question(&self, url: &Url, closes: bool) -> Result<Question, String> {
        if let Some(bad) = self.headers.iter().find(|field| !is_field(field)) {
            return Err(format!("{bad:?} is not a field; write -H 'Name: value'"));
        }
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token(&self.method) {
            return Err(format!("{:?} is not a method", self.method));
        }
        let body = match (&self.body, &self.body_file) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(path)) => {
                std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?
            }
            (None, None) => Vec::new(),
        };
        let is_host = |field: &&String| field.to_ascii_lowercase().starts_with("host:");
        let host = self.headers.iter().find(is_host).and_then(|field| field.split_once(':'));
        Ok(Question {
            method: self.method.clone(),
            path: url.path.clone(),
            host: host.map_or_else(|| url.authority(), |(_, value)| value.trim().to_string()),
            fields: self.headers.iter().filter(|field| !is_host(field)).cloned().collect(),
            body,
            closes,
        })
    }
}

impl Ready {
    /// A plan for one load on this target.
    pub fn plan<'a>(&'a self, name: &str, aim: &Aim, size: &Size) -> Plan<'a> {
        Plan {
            name: name.to_string(),
            target: Arc::clone(&self.target),
            threads: size.threads as u32,
            sources: self.sources.clone(),
            timeout: aim.timeout,
            warm_up: size.warm_up,
            measured: size.duration,
            rate_wanted: None,
            server: self.server.as_ref(),
        }
    }
}

impl Size {
    /// Raises the limit on descriptors, and tells whether so many connections find room.
    ///
    /// # Errors
    /// What to change, for people.
    pub fn fits(&self) -> Result<(), String> {
        if self.threads > self.connections {
            return Err(format!(
                "{} threads cannot share {} connections; lower -t or raise -c",
                self.threads, self.connections
            ));
        }
        let limit = table::raise_limit();
        let tables = if table::can_be_private() { self.threads } else { 1 };
        let room = tables * limit.saturating_sub(SPARE_DESCRIPTORS);
        if self.connections > room {
            return Err(format!(
                "{} connections need more descriptors than {limit} in each of {tables} tables; raise -t to {} \
                 or the limit (ulimit -n)",
                self.connections,
                self.connections.div_ceil(limit.saturating_sub(SPARE_DESCRIPTORS).max(1)),
            ));
        }
        Ok(())
    }
}

/// Descriptors a thread needs besides its connections: standard streams, polls, timers, wakers of all.
pub const SPARE_DESCRIPTORS: u64 = 256;

/// The part of `whole` that falls to thread `number` of `threads`.
pub fn share_of(whole: u64, threads: u64, number: u32) -> u64 {
    whole / threads + u64::from(u64::from(number) < whole % threads)
}

/// Whether connections to `target` may come from `source`.
fn is_usable(source: IpAddr, target: SocketAddr) -> Result<(), String> {
    if source.is_ipv4() != target.is_ipv4() {
        return Err(format!(
            "--source {source}: {target} is not reached from there, it is of another family"
        ));
    }
    let bound = std::net::UdpSocket::bind((source, 0));
    bound.map(drop).map_err(|error| format!("--source {source} is not an address of this host: {error}"))
}

fn is_field(field: &str) -> bool {
    let is_clean = |text: &str| text.bytes().all(|byte| byte >= b' ' && byte != 0x7f || byte == b'\t');
    let Some((name, value)) = field.split_once(':') else { return false };
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) && is_clean(value)
}

/// The command line as it could be typed again.
fn command() -> String {
    let words = std::env::args().enumerate().map(|(place, word)| match place {
        0 => "myriapod-load".to_string(),
        _ if word.contains([' ', '<', '>', '\'', '&', '*', '?', ';', '|', '$']) => {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The date, for reports.
fn now() -> String {
    httpdate::fmt_http_date(std::time::SystemTime::now())
}

/// A result of the system, told to people.
pub fn explain<T>(outcome: io::Result<T>) -> Result<T, String> {
    outcome.map_err(|error| format!("a load thread failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (whole, threads) in [(64, 3), (1, 1), (1_000_000, 53), (5, 5)] {
            let sum: u64 = (0..threads as u32).map(|number| share_of(whole, threads, number)).sum();
            assert_eq!(sum, whole);
        }
    }

    #[test]
    fn sources_are_addresses_of_this_host_and_of_the_target_s_family() {
        let (four, six) = ("127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap());
        assert_eq!(is_usable("127.3.2.1".parse().unwrap(), four), Ok(()));
        assert!(is_usable("127.0.0.1".parse().unwrap(), six).unwrap_err().contains("family"));
        assert!(is_usable("192.0.2.1".parse().unwrap(), four).unwrap_err().contains("not an address of"));
    }

    #[test]
    fn fields_with_line_breaks_are_refused() {
        assert!(is_field("X-A: b") && is_field("A:"));
        assert!(
            !is_field("A: b\r\nC: d") && !is_field("no colon") && !is_field(": x") && !is_field("A b: c")
        );
    }
}
