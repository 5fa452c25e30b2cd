//! Names of what can be expected, and what each is.

use super::spelling;
use crate::engine::faults::Fault;
use crate::report::Unit;

/// A figure that a report may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// `p50`, `p99.9`, `max`, `mean`, `min`: of a load's latency.
    Latency(Point),
    /// `lag_p99`: the same of how late the generator sent.
    Lag(Point),
    /// `probe_p99`: the same of the probes beside held connections.
    Probe(Point),
    Load(OfLoad),
    /// `errors.timeout`, or just `timeout`.
    ErrorKind(&'static str),
    Step(OfStep),
    Slope(Memory),
    Versus(OfVersus),
    /// A fact: only its mode knows them all.
    Named(String),
}

/// Where in a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point {
    Quantile(f64),
    Min,
    Mean,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfLoad {
    Rate,
    Achieved,
    Errors,
    Answers,
    Requests,
    /// CPU time of the server.
    CpuPerRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfStep {
    Connections,
    OpenSeconds,
    OpenRate,
    ServerBytes,
    SlabBytes,
    UsedBytes,
    OwnBytes,
    ServerIdleShare,
}

/// Whose bytes a connection adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    Server,
    Kernel,
    Machine,
    Own,
}

/// Of a server over that of the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfVersus {
    Rate,
    Cpu,
    Memory,
}

const NAMES: &[(&str, Unit, Metric)] = &[
    ("rate", Unit::PerSecond, Metric::Load(OfLoad::Rate)),
    ("achieved", Unit::Share, Metric::Load(OfLoad::Achieved)),
    ("errors", Unit::Count, Metric::Load(OfLoad::Errors)),
    ("answers", Unit::Count, Metric::Load(OfLoad::Answers)),
    ("requests", Unit::Count, Metric::Load(OfLoad::Requests)),
    ("cpu_per_request", Unit::Nanoseconds, Metric::Load(OfLoad::CpuPerRequest)),
    ("connections", Unit::Count, Metric::Step(OfStep::Connections)),
    ("open_seconds", Unit::Seconds, Metric::Step(OfStep::OpenSeconds)),
    ("open_rate", Unit::PerSecond, Metric::Step(OfStep::OpenRate)),
    ("server_bytes", Unit::Bytes, Metric::Step(OfStep::ServerBytes)),
    ("slab_bytes", Unit::Bytes, Metric::Step(OfStep::SlabBytes)),
    ("used_bytes", Unit::Bytes, Metric::Step(OfStep::UsedBytes)),
    ("own_bytes", Unit::Bytes, Metric::Step(OfStep::OwnBytes)),
    ("server_idle_share", Unit::Share, Metric::Step(OfStep::ServerIdleShare)),
    ("bytes_per_connection", Unit::Bytes, Metric::Slope(Memory::Server)),
    ("kernel_bytes_per_connection", Unit::Bytes, Metric::Slope(Memory::Kernel)),
    ("machine_bytes_per_connection", Unit::Bytes, Metric::Slope(Memory::Machine)),
    ("own_bytes_per_connection", Unit::Bytes, Metric::Slope(Memory::Own)),
    ("rate_ratio", Unit::Ratio, Metric::Versus(OfVersus::Rate)),
    ("cpu_ratio", Unit::Ratio, Metric::Versus(OfVersus::Cpu)),
    ("memory_ratio", Unit::Ratio, Metric::Versus(OfVersus::Memory)),
];

/// The usual points; any other percentile has a name too.
const POINTS: &[&str] = &["p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "min"];

/// Names that need no report to be known, to find the one that was meant.
pub fn names<'a>() -> impl Iterator<Item = &'a str> {
    let probes = ["probe_p50", "probe_p99", "probe_p99.9", "probe_max", "lag_p99", "lag_max"];
    let kinds = Fault::ALL.iter().map(|fault| fault.label());
    NAMES.iter().map(|(name, ..)| *name).chain(POINTS.iter().copied()).chain(probes).chain(kinds)
}

/// Of those that need no report to be known and are no point of a distribution.
pub fn name(metric: &Metric) -> Option<&'static str> {
    NAMES.iter().find(|(.., known)| known == metric).map(|(name, ..)| *name)
}

impl Metric {
    /// Of a name: itself where it needs no report to be known.
    pub fn parse(name: &str) -> Result<Metric, String> {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(if name.is_empty() { "no name".into() } else { format!("`{name}` is no name") });
        }
        if let Some((.., metric)) = NAMES.iter().find(|(known, ..)| *known == name) {
            return Ok(metric.clone());
        }
        let kind = name.strip_prefix("errors.");
        let mut kinds = Fault::ALL.iter().map(|fault| fault.label());
        if let Some(known) = kinds.clone().find(|label| *label == kind.unwrap_or(name)) {
            return Ok(Metric::ErrorKind(known));
        }
        if let Some(kind) = kind {
            return Err(spelling::unknown(kind, &mut kinds));
        }
        let (metric, point): (fn(Point) -> Metric, &str) = match name.split_once('_') {
            Some(("probe", point)) => (Metric::Probe, point),
            Some(("lag", point)) => (Metric::Lag, point),
            _ => (Metric::Latency, name),
        };
        Ok(Point::parse(point)?.map_or_else(|| Metric::Named(name.to_owned()), metric))
    }

    /// None for a name that only the report knows.
    pub fn unit(&self) -> Option<Unit> {
        match self {
            Metric::Latency(_) | Metric::Lag(_) | Metric::Probe(_) => Some(Unit::Nanoseconds),
            Metric::ErrorKind(_) => Some(Unit::Count),
            Metric::Named(_) => None,
            _ => NAMES.iter().find(|(.., metric)| metric == self).map(|(_, unit, _)| *unit),
        }
    }
}

impl Point {
    /// None for what is no point's name, an error for a percentile there cannot be.
    fn parse(name: &str) -> Result<Option<Point>, String> {
        match name {
            "min" => return Ok(Some(Point::Min)),
            "mean" => return Ok(Some(Point::Mean)),
            "max" => return Ok(Some(Point::Max)),
            _ => {}
        }
        let is_number = |digits: &&str| digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        let digits = name.strip_prefix('p').filter(is_number);
        let Some(percent) = digits.and_then(|digits| digits.parse::<f64>().ok()) else {
            return Ok(None);
        };
        if percent <= 0.0 || percent >= 100.0 {
            return Err(match name.strip_prefix("p99") {
                Some(rest) if !rest.starts_with('.') => spelling::instead(name, &format!("p99.{rest}")),
                _ => spelling::unknown(name, POINTS.iter().copied()),
            });
        }
        Ok(Some(Point::Quantile(percent / 100.0)))
    }
}
