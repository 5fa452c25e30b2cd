//! What a run found, as plain data: every way to tell it (text, JSON, HTML, expectations) reads these types.
//!
//! Times are seconds, latencies nanoseconds, rates per second, memory bytes; a field's name says so.
//! Nothing here measures or draws.

pub mod expect;
pub mod html;
pub mod json;
mod plot;
#[cfg(test)]
mod samples;
pub mod slope;
pub mod svg;
mod table;
mod tables;
pub mod text;
pub mod units;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::latency::Latency;
use expect::Judgement;

/// One run of one mode.
#[derive(Debug, Default)]
pub struct Report {
    /// `closed`, `open`, `sweep`, `hold`, `churn`, `slow`, `compare`.
    pub mode: &'static str,
    /// The URL that was asked, as given.
    pub target: String,
    /// The command line, so that whoever reads the report can repeat it.
    pub command: String,
    /// When it began, `Sat, 21 Nov 2026 16:02:13 GMT`.
    pub began: String,
    pub machine: Machine,
    /// What was true of every answer that counted: `status 200, 13 bytes, same body`.
    pub checked: String,
    /// Why the figures must not be used; empty for a valid run.
    pub invalid: Vec<String>,
    /// What the reader should know and cannot see in the figures.
    pub remarks: Vec<String>,
    /// Single figures of this mode that fit nowhere else, in the order they are told.
    pub facts: Vec<Fact>,
    /// Loads that were measured, in the order they ran: one for `closed`, one a step for `sweep`, one a
    /// probe for `hold`.
    pub loads: Vec<Load>,
    /// `hold` only: what was seen at each number of held connections.
    pub steps: Vec<Step>,
    /// `compare` only.
    pub comparison: Option<Comparison>,
    /// How the expectations fared, in the order they were written; empty when there were none.
    pub judgements: Vec<Judgement>,
}

/// Where the run took place.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// `AMD EPYC 7763`, without the noise.
    pub processor: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    /// `Linux 6.18.44`.
    pub kernel: String,
}

/// A figure with a name that expectations and JSON use, and a label for people.
#[derive(Clone, Debug)]
pub struct Fact {
    /// `open_seconds`.
    pub name: &'static str,
    /// `time to open them`.
    pub label: &'static str,
    pub value: f64,
    pub unit: Unit,
}

/// A fact that a mode's report may have, before it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub name: &'static str,
    pub label: &'static str,
    pub unit: Unit,
}

/// How a figure is written for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Count,
    PerSecond,
    Seconds,
    Nanoseconds,
    Bytes,
    /// A share of one: 0.25 is told as 25 %.
    Share,
    /// A factor: 1.07 is told as 1.07.
    Ratio,
}

/// One load over one span of time.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// `closed`, `60 %`, `probe beside 1 000 000`.
    pub name: String,
    /// The measured span, without connecting and warming up.
    pub seconds: f64,
    /// Requests per second that were asked for; none for a closed loop.
    pub rate_wanted: Option<f64>,
    /// Answers per second that came within the span, right ones only.
    pub rate: f64,
    pub requests: u64,
    /// Right answers. In an open loop all requests that were due within the span have an outcome, here or in
    /// `errors`, also when it came after the span; so there may be more of them than the rate says.
    pub answers: u64,
    pub bytes_received: u64,
    /// By kind (see `faults.rs`), kinds that did not occur left out.
    pub errors: BTreeMap<&'static str, u64>,
    /// Of right answers, from the intended start where there is a schedule, else from the sending.
    pub latency: Latency,
    /// How late the generator itself sent what was due: its own share in the latency. Empty for closed loops.
    pub lag: Latency,
    /// One entry a second.
    pub timeline: Vec<Moment>,
    /// CPU seconds of the server in this span, where its process is known.
    pub server_cpu_seconds: Option<f64>,
    /// Share of a CPU that the generator's busiest thread took: near 1, the generator was the limit.
    pub busiest_thread: f64,
}

/// One second (or what is left of it) of a load.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Moment {
    /// End of it, from the load's beginning.
    pub at_seconds: f64,
    pub rate: f64,
    pub errors: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

/// What was seen with so many connections held, after they settled.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    pub connections: u64,
    /// Seconds that opening the connections since the last step took, each answered once.
    pub open_seconds: f64,
    /// Connections opened and answered a second meanwhile.
    pub open_rate: f64,
    /// Proportional set size of the server, where its process is known.
    pub server_bytes: Option<u64>,
    /// All slabs of the kernel.
    pub slab_bytes: u64,
    /// Memory the machine has in use (total less available).
    pub used_bytes: u64,
    /// Proportional set size of the generator itself.
    pub own_bytes: u64,
    /// Share of one CPU the server took while nothing was asked.
    pub server_idle_share: Option<f64>,
    /// Index of the probe in `Report::loads`.
    pub probe: Option<usize>,
    /// Values scraped from the server's metrics, by series name.
    pub scraped: Vec<Scraped>,
}

/// One metric of the server over all its label sets.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scraped {
    pub name: String,
    pub series: usize,
    pub least: f64,
    pub most: f64,
    pub sum: f64,
}

/// Two or more servers beside each other.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// The first is what the others are divided by; the control is named as `<first> again`.
    pub servers: Vec<String>,
    pub blocks: u32,
    pub seed: u64,
    pub cases: Vec<Case>,
}

/// One kind of load in a comparison: `plaintext, depth 16`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Case {
    pub name: String,
    /// How often it was measured, more than planned where the control did not hold at once.
    pub blocks: u32,
    /// The first server first, the control last. Servers that cannot do this are left out.
    pub results: Vec<Versus>,
    /// Whether the control's ratio lies within the bound.
    pub holds: bool,
}

/// One server in one case.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Versus {
    pub server: String,
    /// Median over the blocks.
    pub rate: f64,
    pub cpu_us_per_request: Option<f64>,
    pub p50_ns: f64,
    pub p99_ns: f64,
    pub errors: u64,
    /// Rate over the first server's, block by block: median and its 95 % confidence interval.
    pub rate_ratio: Ratio,
    /// The same of CPU time per request.
    pub cpu_ratio: Option<Ratio>,
    /// Every block's rate, for plots.
    pub rates: Vec<f64>,
    /// Bytes of one answer, head and body.
    pub answer_bytes: f64,
    /// Where connections were only held: what each takes. Rates, latencies and CPU time are unknown then.
    pub memory: Option<Held>,
}

/// What one connection takes that is held and idle; medians over the blocks.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Held {
    /// Proportional set size of the server.
    pub server_bytes: f64,
    /// Slabs of the kernel, for both ends, since both are on this machine.
    pub kernel_bytes: f64,
    /// The server's bytes over the first server's.
    pub ratio: Ratio,
}

/// A ratio with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Ratio {
    pub middle: f64,
    pub low: f64,
    pub high: f64,
}

impl Known {
    /// For tables of constants.
    pub const fn new(name: &'static str, label: &'static str, unit: Unit) -> Known {
        Known { name, label, unit }
    }
}

impl Report {
    /// Adds a fact that `known` announces.
    pub fn fact(&mut self, known: &[Known], name: &str, value: f64) {
        let Known { name, label, unit } =
            *known.iter().find(|known| known.name == name).expect("modes announce what they tell");
        self.facts.push(Fact { name, label, value, unit });
    }
}

impl Load {
    /// All errors, of every kind.
    #[must_use]
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// What came of what was asked for, at most 1; 1 for a closed loop.
    #[must_use]
    pub fn achieved(&self) -> f64 {
        self.rate_wanted.map_or(1.0, |wanted| self.rate / wanted)
    }

    /// CPU time the server spent on one right answer, where its process is known and there was one.
    #[must_use]
    pub fn cpu_ns_per_answer(&self) -> Option<f64> {
        let seconds = self.server_cpu_seconds?;
        (self.answers > 0).then(|| seconds * 1e9 / self.answers as f64)
    }
}
