//! What a report has under a name: one figure for each load, step or server that has it.

use super::metric::{self, Memory, Metric, OfLoad, OfStep, OfVersus, Point};
use super::spelling;
use crate::engine::latency::Latency;
use crate::report::slope::{Slope, slopes};
use crate::report::{Load, Report, Step, Unit, Versus};

/// Figures of one kind.
pub struct Figures {
    pub unit: Unit,
    pub figures: Vec<Figure>,
}

/// One figure and which load, step or server has it; nothing where it was not measured.
pub struct Figure {
    pub of: String,
    pub value: Option<f64>,
}

/// All figures of that name, of what `of` picks; else why there are none.
pub fn figures(report: &Report, of: &str, metric: &Metric) -> Result<Figures, String> {
    let own_name = own_name(metric);
    if of.is_empty()
        && let Some(fact) = report.facts.iter().find(|fact| Some(fact.name) == own_name.as_deref())
    {
        let figures = vec![Figure { of: String::new(), value: Some(fact.value) }];
        return Ok(Figures { unit: fact.unit, figures });
    }
    let unit = metric.unit().unwrap_or(Unit::Count);
    let mut figures = every(report, metric)?;
    let several = figures.len() > 1;
    if !of.is_empty() {
        let names = figures.iter().map(|figure| figure.of.clone()).collect::<Vec<_>>();
        figures.retain(|figure| has_words(&figure.of, of));
        if figures.is_empty() {
            return Err(format!("nothing is called `{of}`; there are: {}", names.join(", ")));
        }
    }
    if !several {
        figures.iter_mut().for_each(|figure| figure.of.clear());
    }
    if figures.is_empty() {
        Err("not measured in this mode".to_owned())
    } else {
        Ok(Figures { unit, figures })
    }
}

/// What a fact would have to be called to stand for this metric.
fn own_name(metric: &Metric) -> Option<String> {
    match metric {
        Metric::Named(name) => Some(name.clone()),
        Metric::ErrorKind(kind) => Some((*kind).to_owned()),
        _ => metric::name(metric).map(str::to_owned),
    }
}

fn every(report: &Report, metric: &Metric) -> Result<Vec<Figure>, String> {
    let of_loads = |value: &dyn Fn(&Load) -> Option<f64>| loads(report, value);
    Ok(match metric {
        Metric::Latency(point) => beside(versus(report, |one| compared(one, *point)), || {
            of_loads(&|load| at(&load.latency, *point))
        }),
        Metric::Load(what) => {
            beside(versus(report, |one| of_versus(one, *what)), || of_loads(&|load| of_load(load, *what)))
        }
        Metric::Lag(point) => of_loads(&|load| at(&load.lag, *point)),
        // Kinds that did not occur are left out of a report.
        Metric::ErrorKind(kind) => {
            of_loads(&|load| Some(load.errors.get(kind).map_or(0.0, |&count| count as f64)))
        }
        Metric::Named(name) => {
            let facts = report.facts.iter().map(|fact| fact.name);
            return Err(spelling::unknown(name, facts.chain(metric::names())));
        }
        Metric::Step(OfStep::Connections) => most_connections(report),
        Metric::Step(what) => steps(report, |step| of_step(step, *what)),
        Metric::Probe(point) => probes(report, *point),
        Metric::Slope(memory) => of_slope(report, *memory),
        Metric::Versus(what) => ratios(report, *what),
    })
}

/// A comparison's own figures where there are any, since its loads are pieces of them.
fn beside(first: Vec<Figure>, second: impl FnOnce() -> Vec<Figure>) -> Vec<Figure> {
    if first.is_empty() { second() } else { first }
}

fn loads(report: &Report, value: &dyn Fn(&Load) -> Option<f64>) -> Vec<Figure> {
    report.loads.iter().map(|load| Figure { of: load.name.clone(), value: value(load) }).collect()
}

/// A latency nobody had is no latency of 0, which would hold against any limit.
fn at(latency: &Latency, point: Point) -> Option<f64> {
    let value = match point {
        Point::Quantile(share) => latency.quantile(share) as f64,
        Point::Min => latency.min() as f64,
        Point::Mean => latency.mean(),
        Point::Max => latency.max() as f64,
    };
    (latency.count() > 0).then_some(value)
}

fn of_load(load: &Load, what: OfLoad) -> Option<f64> {
    match what {
        OfLoad::Rate => Some(load.rate),
        OfLoad::Achieved => Some(load.achieved()),
        OfLoad::Errors => Some(load.errors_total() as f64),
        OfLoad::Answers => Some(load.answers as f64),
        OfLoad::Requests => Some(load.requests as f64),
        OfLoad::CpuPerRequest => load.cpu_ns_per_answer(),
    }
}

fn steps(report: &Report, value: impl Fn(&Step) -> Option<f64>) -> Vec<Figure> {
    let figure = |step: &Step| Figure { of: beside_connections(step), value: value(step) };
    report.steps.iter().map(figure).collect()
}

fn beside_connections(step: &Step) -> String {
    format!("{} connections", crate::report::units::count(step.connections))
}

fn of_step(step: &Step, what: OfStep) -> Option<f64> {
    match what {
        OfStep::Connections => Some(step.connections as f64),
        OfStep::OpenSeconds => Some(step.open_seconds),
        OfStep::OpenRate => Some(step.open_rate),
        OfStep::ServerBytes => step.server_bytes.map(|bytes| bytes as f64),
        OfStep::SlabBytes => Some(step.slab_bytes as f64),
        OfStep::UsedBytes => Some(step.used_bytes as f64),
        OfStep::OwnBytes => Some(step.own_bytes as f64),
        OfStep::ServerIdleShare => step.server_idle_share,
    }
}

/// The most there ever were: the steps on the way there are not what is asked for.
fn most_connections(report: &Report) -> Vec<Figure> {
    let most = report.steps.iter().map(|step| step.connections).max();
    most.map(|most| Figure { of: String::new(), value: Some(most as f64) }).into_iter().collect()
}

fn probes(report: &Report, point: Point) -> Vec<Figure> {
    let probed = report.steps.iter().filter_map(|step| Some((step, report.loads.get(step.probe?)?)));
    probed
        .map(|(step, load)| Figure { of: beside_connections(step), value: at(&load.latency, point) })
        .collect()
}

fn of_slope(report: &Report, memory: Memory) -> Vec<Figure> {
    if report.steps.is_empty() {
        return Vec::new();
    }
    let slopes = slopes(report);
    let slope = match memory {
        Memory::Server => slopes.server,
        Memory::Kernel => slopes.kernel,
        Memory::Machine => slopes.machine,
        Memory::Own => slopes.own,
    };
    let value = slope.map(|slope: Slope| slope.bytes_per_connection);
    vec![Figure { of: String::new(), value }]
}

fn versus(report: &Report, value: impl Fn(&Versus) -> Option<f64>) -> Vec<Figure> {
    let cases = report.comparison.iter().flat_map(|comparison| &comparison.cases);
    let results = cases.flat_map(|case| case.results.iter().map(move |one| (case, one)));
    let figures = results.map(|(case, one)| (format!("{}, {}", case.name, one.server), value(one)));
    // A case has what its kind of load has: idle connections have no rate.
    let known = figures.filter(|(_, value)| value.is_some_and(f64::is_finite));
    known.map(|(of, value)| Figure { of, value }).collect()
}

fn compared(one: &Versus, point: Point) -> Option<f64> {
    match point {
        Point::Quantile(0.5) => Some(one.p50_ns),
        Point::Quantile(0.99) => Some(one.p99_ns),
        _ => None,
    }
}

fn of_versus(one: &Versus, what: OfLoad) -> Option<f64> {
    match what {
        OfLoad::Rate => Some(one.rate),
        OfLoad::Errors => Some(one.errors as f64),
        OfLoad::CpuPerRequest => one.cpu_us_per_request.map(|us| us * 1_000.0),
        _ => None,
    }
}

/// The first server over itself says nothing, so it is left out.
fn ratios(report: &Report, what: OfVersus) -> Vec<Figure> {
    let first = report.comparison.as_ref().and_then(|comparison| comparison.servers.first());
    versus(report, |one| match what {
        _ if Some(&one.server) == first => None,
        OfVersus::Rate => Some(one.rate_ratio.middle),
        OfVersus::Cpu => one.cpu_ratio.map(|ratio| ratio.middle),
        OfVersus::Memory => one.memory.map(|held| held.ratio.middle),
    })
}

/// Whether all words that pick are in the name, in their order: `probe_1000000` is `probe beside 1 000 000`.
fn has_words(name: &str, pick: &str) -> bool {
    let name = words(name);
    let mut rest = name.iter();
    words(pick).iter().all(|word| rest.any(|other| other == word))
}

/// Lower case, without signs, groups of a number joined.
fn words(text: &str) -> Vec<String> {
    let is_sign = |c: char| !(c.is_alphanumeric() || c == '.');
    let mut words: Vec<String> = Vec::new();
    for part in text.split(is_sign).map(|part| part.trim_matches('.')).filter(|part| !part.is_empty()) {
        let is_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        match words.last_mut() {
            Some(last) if is_digits(last) && is_digits(part) && part.len() == 3 => last.push_str(part),
            _ => words.push(part.to_lowercase()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_name_pick_it() {
        assert_eq!(words("probe beside 1 000 000"), ["probe", "beside", "1000000"]);
        assert!(has_words("probe beside 1 000 000", "probe_1000000"));
        assert!(has_words("probe beside 1 000 000", "Probe 1_000_000"));
        assert!(!has_words("probe beside 1 000 000", "probe_1000"));
        assert!(has_words("60 %", "60") && has_words("62.5 %", "62.5%") && !has_words("60 %", "6"));
        assert!(has_words("plaintext, depth 16, nginx", "16_nginx"));
        assert!(!has_words("plaintext, depth 16, nginx", "nginx_16"));
    }
}
