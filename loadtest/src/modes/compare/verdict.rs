//! From samples to ratios, and whether they may be believed. Nothing is measured here.

use crate::report::{self, Held, Load, Ratio, Versus};
use crate::stats;

use super::contest::Trial;
use super::crowd::Weight;

/// One server in one block; what cannot be known of an idle crowd is not a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub rate: f64,
    pub cpu_us: Option<f64>,
    pub p50_ns: f64,
    pub p99_ns: f64,
    pub errors: u64,
    pub answer_bytes: f64,
    pub weight: Option<Weight>,
}

/// A server that takes less for a connection than this has been measured wrong.
const SERVER_BYTES_MIN: f64 = 1.0;
const UNKNOWN: Ratio = Ratio { middle: f64::NAN, low: f64::NAN, high: f64::NAN };

impl Sample {
    /// What a load found.
    ///
    /// # Errors
    /// When there was not one right answer.
    pub fn of_load(load: &Load) -> Result<Sample, String> {
        if load.answers == 0 {
            return Err(format!("no right answer in {} s, errors {:?}", load.seconds, load.errors));
        }
        let answers = load.answers as f64;
        Ok(Sample {
            rate: load.rate,
            cpu_us: load.server_cpu_seconds.map(|seconds| seconds * 1e6 / answers),
            p50_ns: load.latency.quantile(0.5) as f64,
            p99_ns: load.latency.quantile(0.99) as f64,
            errors: load.errors_total(),
            answer_bytes: load.bytes_received as f64 / answers,
            weight: None,
        })
    }

    /// What a crowd weighs.
    ///
    /// # Errors
    /// When the server took no memory at all.
    pub fn of_weight(weight: Weight) -> Result<Sample, String> {
        let bytes = weight.server_bytes;
        if bytes < SERVER_BYTES_MIN {
            return Err(format!("{bytes:.2} bytes for a connection cannot be; open more of them"));
        }
        let unknown = f64::NAN;
        Ok(Sample {
            rate: unknown,
            cpu_us: None,
            p50_ns: unknown,
            p99_ns: unknown,
            errors: weight.errors,
            answer_bytes: unknown,
            weight: Some(weight),
        })
    }
}

/// What a case came to.
pub fn case(trial: &Trial) -> report::Case {
    let first = &trial.samples[0];
    let of_one = |(name, samples): (&String, &Vec<Sample>)| versus(name, samples, first);
    report::Case {
        name: trial.case.name.clone(),
        blocks: first.len() as u32,
        results: trial.names.iter().zip(&trial.samples).map(of_one).collect(),
        holds: holds(trial),
    }
}

/// Whether the control says that the case may be believed.
pub fn holds(trial: &Trial) -> bool {
    let is_fine = |(_, ratio): &(_, Ratio)| is_within(ratio, trial.case.control);
    trial.samples[0].len() >= stats::VALUES_MIN && control(trial).iter().all(is_fine)
}

/// Why the figures of a case must not be used.
pub fn complaints(trial: &Trial) -> Vec<String> {
    let name = &trial.case.name;
    let blocks = trial.samples[0].len();
    let mut complaints: Vec<String> = trial.differing().map(|who| format!("{name}: {who}")).collect();
    for (server, samples) in trial.names.iter().zip(&trial.samples) {
        let errors = errors_of(samples);
        if errors > 0 {
            complaints.push(format!("{name}: {errors} errors of {server}"));
        }
    }
    if blocks < stats::VALUES_MIN {
        let least = stats::VALUES_MIN;
        complaints
            .push(format!("{name}: {blocks} blocks give no 95 % confidence; it takes {least} at least"));
    }
    let strays = control(trial).into_iter().filter(|(_, ratio)| !is_within(ratio, trial.case.control));
    complaints.extend(strays.map(|(figure, Ratio { low, high, .. })| {
        let bound = trial.case.control * 100.0;
        format!(
            "{name}: the control does not hold within {bound} %: in {figure} the same server, started twice, \
             differs by {low:.3} to {high:.3} after {blocks} blocks; a quieter machine or more blocks may do"
        )
    }));
    complaints
}

/// The control's ratios to the first server, by figure.
fn control(trial: &Trial) -> Vec<(&'static str, Ratio)> {
    let (Some(first), Some(again)) = (trial.samples.first(), trial.samples.last()) else { return Vec::new() };
    let weighed = ratio(again, first, |sample| sample.weight.map(|weight| weight.server_bytes));
    if let Some(memory) = weighed {
        return vec![("memory", memory)];
    }
    let rate = ratio(again, first, |sample| Some(sample.rate)).map(|ratio| ("rate", ratio));
    let cpu = ratio(again, first, |sample| sample.cpu_us).map(|ratio| ("CPU time", ratio));
    rate.into_iter().chain(cpu).collect()
}

/// Contains one and lies near it.
fn is_within(ratio: &Ratio, bound: f64) -> bool {
    (ratio.low..=ratio.high).contains(&1.0) && ratio.high <= 1.0 + bound && ratio.low >= 1.0 - bound
}

/// Block by block, where all blocks have the figure.
fn ratio(samples: &[Sample], first: &[Sample], figure: fn(&Sample) -> Option<f64>) -> Option<Ratio> {
    let pairs = samples.iter().zip(first);
    let ratios: Option<Vec<f64>> = pairs.map(|(one, base)| Some(figure(one)? / figure(base)?)).collect();
    ratios.map(|ratios| stats::ratio(&ratios)).filter(|ratio| ratio.middle.is_finite())
}

fn errors_of(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| sample.errors).sum()
}

fn versus(name: &str, samples: &[Sample], first: &[Sample]) -> Versus {
    let all = |figure: fn(&Sample) -> f64| samples.iter().map(figure).collect::<Vec<f64>>();
    let middle = |figure: fn(&Sample) -> f64| stats::median(&all(figure));
    let cpu: Option<Vec<f64>> = samples.iter().map(|sample| sample.cpu_us).collect();
    Versus {
        server: name.to_string(),
        rate: middle(|sample| sample.rate),
        cpu_us_per_request: cpu.map(|all| stats::median(&all)),
        p50_ns: middle(|sample| sample.p50_ns),
        p99_ns: middle(|sample| sample.p99_ns),
        errors: errors_of(samples),
        rate_ratio: ratio(samples, first, |sample| Some(sample.rate)).unwrap_or(UNKNOWN),
        cpu_ratio: ratio(samples, first, |sample| sample.cpu_us),
        rates: all(|sample| sample.rate).into_iter().filter(|rate| rate.is_finite()).collect(),
        answer_bytes: middle(|sample| sample.answer_bytes),
        memory: held(samples, first),
    }
}

fn held(samples: &[Sample], first: &[Sample]) -> Option<Held> {
    let weights: Vec<Weight> = samples.iter().map(|sample| sample.weight).collect::<Option<_>>()?;
    let middle = |figure: fn(&Weight) -> f64| stats::median(&weights.iter().map(figure).collect::<Vec<_>>());
    Some(Held {
        server_bytes: middle(|weight| weight.server_bytes),
        kernel_bytes: middle(|weight| weight.kernel_bytes),
        ratio: ratio(samples, first, |sample| sample.weight.map(|weight| weight.server_bytes))?,
    })
}
