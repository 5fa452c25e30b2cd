//! A server that is probed: where it is, what it is asked, what answers are good, and how it can fail.

use std::fmt;
use std::sync::Arc;

use crate::config::site::Health;
use crate::gateway::upstream::{Cluster, Endpoint};
use crate::http::Status;
use crate::proto::h1::answer::Fault;

/// See the module.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name of its upstream.
    pub upstream: String,
    /// The server, whose vitals are told how its probes end.
    pub endpoint: Arc<Endpoint>,
    /// What it is asked, and how often.
    pub health: Health,
}

/// Why a server is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeFailure {
    /// Nobody takes connections.
    Refused,
    /// There is no way to it.
    Unreachable,
    /// No connection stood in time.
    ConnectTimeout,
    /// The answer was not whole in time.
    AnswerTimeout,
    /// The connection ended before the answer.
    Cut,
    /// What it said is no HTTP.
    Garbled(Fault),
    /// It is up, and says that it is not well.
    Status(Status),
}

impl ProbeFailure {
    /// A word for metrics and logs; one of [`OUTCOMES`].
    #[must_use]
    pub fn label(self) -> &'static str {
        OUTCOMES[self.outcome()]
    }

    /// Its place in [`OUTCOMES`].
    pub(super) fn outcome(self) -> usize {
        match self {
            ProbeFailure::Refused => 1,
            ProbeFailure::Unreachable => 2,
            ProbeFailure::ConnectTimeout => 3,
            ProbeFailure::AnswerTimeout => 4,
            ProbeFailure::Cut => 5,
            ProbeFailure::Garbled(_) => 6,
            ProbeFailure::Status(_) => 7,
        }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeFailure::Refused => out.write_str("nobody takes connections"),
            ProbeFailure::Unreachable => out.write_str("there is no way to it"),
            ProbeFailure::ConnectTimeout => out.write_str("no connection in time"),
            ProbeFailure::AnswerTimeout => out.write_str("no whole answer in time"),
            ProbeFailure::Cut => out.write_str("the connection ended before the answer"),
            ProbeFailure::Garbled(fault) => write!(out, "no sound answer: {}", fault.label()),
            ProbeFailure::Status(status) => write!(out, "it answers {}", status.code()),
        }
    }
}

/// How probes end.
pub const OUTCOMES: &[&str] = &[
    "good",
    "refused",
    "unreachable",
    "connect_timeout",
    "answer_timeout",
    "cut",
    "garbled",
    "status",
    // There was no descriptor, memory or port to be had: that says nothing of the server.
    "skipped",
];
pub(super) const GOOD: usize = 0;
pub(super) const SKIPPED: usize = 8;

impl Target {
    /// Every server of an upstream that is to be probed.
    pub fn of(cluster: &Cluster) -> impl Iterator<Item = Target> {
        let health = cluster.spec.health.as_ref();
        health.into_iter().flat_map(|health| {
            cluster.members.iter().map(|member| Target {
                upstream: cluster.spec.name.clone(),
                endpoint: Arc::clone(&member.endpoint),
                health: health.clone(),
            })
        })
    }

    /// What is sent. What is written in a file can break neither the request line nor a field.
    pub(super) fn request(&self) -> Vec<u8> {
        let mut request = Vec::with_capacity(128 + self.health.path.len());
        request.extend_from_slice(b"GET ");
        if !self.health.path.starts_with('/') {
            request.push(b'/');
        }
        for byte in self.health.path.bytes() {
            match byte {
                b'!'..=b'~' => request.push(byte),
                _ => request.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
        }
        request.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        let host = self.health.host.as_ref().map_or(&*self.endpoint.name, |host| host);
        request.extend(host.bytes().filter(|byte| (b'!'..=b'~').contains(byte)));
        request.extend_from_slice(b"\r\nUser-Agent: myriapod-probe\r\nAccept: */*\r\n");
        request.extend_from_slice(b"Connection: close\r\n\r\n");
        request
    }

    pub(super) fn is_good(&self, status: Status) -> bool {
        let code = status.code();
        self.health.statuses.iter().any(|(from, to)| (*from..=*to).contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::config::site::{Address, NameBook};
    use crate::gateway::upstream::Directory;

    fn target(path: &str, host: Option<&str>) -> Target {
        let health = Health { path: path.to_owned(), host: host.map(str::to_owned), ..Health::default() };
        let spec = testing::upstream("api", [Address::Name("api.test".to_owned(), 80)], Some(health));
        let mut book = NameBook::default();
        book.learn("api.test", [([10, 0, 0, 1], 0).into()]);
        let cluster = Directory::new().cluster(0, &spec, &book.resolve(&spec));
        Target::of(&cluster).next().expect("one server")
    }

    #[test]
    fn what_is_asked_is_one_request_whatever_is_written() {
        let request = |path, host| String::from_utf8(target(path, host).request()).expect("text");
        let tail = "\r\nUser-Agent: myriapod-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        let expected = format!("GET /healthz?a=b HTTP/1.1\r\nHost: api.test{tail}");
        assert_eq!(request("/healthz?a=b", None), expected);
        let expected = format!("GET /a%20HTTP/1.1%0D%0AX:%C3%A9 HTTP/1.1\r\nHost: xY:1{tail}");
        assert_eq!(request("a HTTP/1.1\r\nX:\u{e9}", Some("x\r\nY: 1")), expected);
    }

    #[test]
    fn every_failure_has_a_word() {
        let failures = [
            ProbeFailure::Refused,
            ProbeFailure::Unreachable,
            ProbeFailure::ConnectTimeout,
            ProbeFailure::AnswerTimeout,
            ProbeFailure::Cut,
            ProbeFailure::Garbled(Fault::ALL[0]),
            ProbeFailure::Status(Status::NOT_FOUND),
        ];
        let words: Vec<_> = failures.iter().map(|failure| failure.label()).collect();
        assert_eq!(words, OUTCOMES[1..SKIPPED]);
        assert_eq!((OUTCOMES[GOOD], OUTCOMES[SKIPPED], OUTCOMES.len()), ("good", "skipped", SKIPPED + 1));
    }

    #[test]
    fn statuses_are_good_within_their_ranges() {
        let target = target("/", None);
        let good = [200, 204, 399].map(|code| target.is_good(Status::from_code(code).expect("a status")));
        assert_eq!(good, [true; 3]);
        let bad = [400, 500].map(|code| target.is_good(Status::from_code(code).expect("a status")));
        assert_eq!(bad, [false; 2]);
    }
}
