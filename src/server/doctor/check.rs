//! One limit: what it is here, what is wanted, what follows, what helps.

use std::fmt;

use crate::config::units::{grouped, size_about};

/// What a limit means for the number asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is enough.
    Ok,
    /// Connections can be held, and something about them is slower or ruder than it need be.
    Slows,
    /// It ends before the number is reached.
    Binds,
    /// It cannot be read here, or says nothing by itself.
    Unknown,
}

impl Verdict {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Slows => "slows",
            Verdict::Binds => "binds",
            Verdict::Unknown => "unknown",
        }
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Pages of memory.
    Pages,
}

/// Nobody has so much of anything; settings that mean "no limit" are near the largest number there is.
const UNLIMITED_FROM: u64 = 1 << 53;

impl Unit {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Bytes => "bytes",
            Unit::Pages => "pages",
        }
    }

    /// A number of these, for people.
    pub fn show(self, number: u64) -> String {
        match self {
            _ if number >= UNLIMITED_FROM => String::from("unlimited"),
            Unit::Count | Unit::Pages => grouped(number),
            Unit::Bytes => size_about(number),
        }
    }
}

/// A command that helps, and who is to give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// `as root`, `systemd`, `docker`, `no right needed`.
    pub place: &'static str,
    /// As it is to be typed.
    pub command: String,
}

impl Remedy {
    /// For root on this machine.
    pub fn as_root(command: impl Into<String>) -> Remedy {
        Remedy { place: "as root", command: command.into() }
    }

    /// A line of a unit file.
    pub fn systemd(command: impl Into<String>) -> Remedy {
        Remedy { place: "systemd", command: command.into() }
    }

    /// An option of a container's start.
    pub fn docker(command: impl Into<String>) -> Remedy {
        Remedy { place: "docker", command: command.into() }
    }

    /// For anybody.
    pub fn anybody(command: impl Into<String>) -> Remedy {
        Remedy { place: "no right needed", command: command.into() }
    }
}

/// A setting of the kernel and what it is to become; never less than it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// `net.core.somaxconn`
    pub key: &'static str,
    /// All its numbers as they are.
    pub from: String,
    /// All its numbers as they should be.
    pub to: String,
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to.contains(' ') {
            true => write!(f, "{}=\"{}\"", self.key, self.to),
            false => write!(f, "{}={}", self.key, self.to),
        }
    }
}

/// One limit and the verdict on it.
///
/// Invariant: a limit that binds says how many connections it holds; one that is ok wants no change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is called where it is set, or in plain words.
    pub name: String,
    /// What `here` and `wanted` count.
    pub unit: Unit,
    /// What it is.
    pub here: Option<u64>,
    /// What the number asked for takes.
    pub wanted: Option<u64>,
    /// Connections it would hold if nothing else were in the way; `None`: it bounds none.
    pub holds: Option<u64>,
    /// What follows.
    pub verdict: Verdict,
    /// What happens at the limit, in one sentence without a dot.
    pub why: String,
    /// Best first.
    pub remedies: Vec<Remedy>,
    /// What is to be set, if it is a setting of the kernel and not enough.
    pub sysctl: Option<Sysctl>,
}

impl Check {
    /// A check about which nothing is known yet but its name.
    pub fn new(name: impl Into<String>, unit: Unit, why: impl Into<String>) -> Check {
        Check {
            name: name.into(),
            unit,
            here: None,
            wanted: None,
            holds: None,
            verdict: Verdict::Unknown,
            why: why.into(),
            remedies: Vec::new(),
            sysctl: None,
        }
    }

    /// Compares what is with what is wanted; too little of it is `short`.
    #[must_use]
    pub fn compared(mut self, here: Option<u64>, wanted: u64, short: Verdict) -> Check {
        self.here = here;
        self.wanted = Some(wanted);
        self.verdict = match here {
            Some(here) if here >= wanted => Verdict::Ok,
            Some(_) => short,
            None => Verdict::Unknown,
        };
        self
    }

    /// Says how many connections it holds.
    #[must_use]
    pub fn holding(mut self, connections: u64) -> Check {
        self.holds = Some(connections);
        self
    }

    /// Judges by the connections it [holds](Check::holding). `wanted` may be reckoned generously, and is not
    /// shown beyond what turned out to be enough.
    #[must_use]
    pub fn bounding(mut self, here: u64, wanted: u64, asked: u64) -> Check {
        let is_enough = self.holds.is_some_and(|holds| holds >= asked);
        self.here = Some(here);
        self.wanted = Some(if is_enough { wanted.min(here) } else { wanted });
        self.verdict = if is_enough { Verdict::Ok } else { Verdict::Binds };
        self
    }

    /// Whether something should be done about it.
    pub fn is_short(&self) -> bool {
        matches!(self.verdict, Verdict::Slows | Verdict::Binds)
    }

    /// Adds what helps, where help is needed.
    #[must_use]
    pub fn helped(mut self, remedies: impl FnOnce() -> Vec<Remedy>) -> Check {
        if self.is_short() {
            self.remedies.extend(remedies());
        }
        self
    }

    /// Adds the setting that helps, where help is needed.
    #[must_use]
    pub fn set<const N: usize>(mut self, key: &'static str, from: [u64; N], to: [u64; N]) -> Check {
        if self.is_short() {
            let sysctl = Sysctl { key, from: spaced(&from), to: spaced(&to) };
            self.remedies.push(Remedy::as_root(format!("sysctl -w {sysctl}")));
            self.sysctl = Some(sysctl);
        }
        self
    }
}

fn spaced(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}
