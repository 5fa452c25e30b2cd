//! From samples to ratios, and whether they may be believed. Nothing is measured here.

use crate::modes::compare::stats;
use crate::report::{self, Held, Load, Ratio, Versus};

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
    /// Share of a CPU the busiest thread of the load took.
    pub load_busy: f64,
    pub weight: Option<Weight>,
}

/// A server may take next to nothing for a connection, or less, by the noise; a ratio needs something.
const SERVER_BYTES_MIN: f64 = 1.0;
/// A load that takes more of its CPU than this is the slower side.
const LOAD_BUSY: f64 = 0.95;
const UNKNOWN: Ratio = Ratio { middle: f64::NAN, low: f64::NAN, high: f64::NAN };

impl Sample {
    /// What a load found.
    ///
    /// # Errors
    /// When there was not one right answer, or this process was kept from looking at the server in time.
    pub fn of_load(load: &Load) -> Result<Sample, String> {
        if load.answers == 0 {
            return Err(format!("no right answer in {} s, errors {:?}", load.seconds, load.errors));
        }
        if load.server_cpu_seconds.is_some_and(|seconds| seconds <= 0.0) {
            return Err("its CPU time was not read in time; is this machine too busy?".into());
        }
        let answers = load.answers as f64;
        Ok(Sample {
            rate: load.rate,
            cpu_us: load.server_cpu_seconds.map(|seconds| seconds * 1e6 / answers),
            p50_ns: load.latency.quantile(0.5) as f64,
            p99_ns: load.latency.quantile(0.99) as f64,
            errors: load.errors_total(),
            answer_bytes: load.bytes_received as f64 / answers,
            load_busy: load.busiest_thread,
            weight: None,
        })
    }

    /// What a crowd weighs.
    pub fn of_weight(weight: Weight) -> Sample {
        let unknown = f64::NAN;
        Sample {
            rate: unknown,
            cpu_us: None,
            p50_ns: unknown,
            p99_ns: unknown,
            errors: weight.errors,
            answer_bytes: unknown,
            load_busy: 0.0,
            weight: Some(weight),
        }
    }

    fn server_bytes(&self) -> Option<f64> {
        self.weight.map(|weight| weight.server_bytes.max(SERVER_BYTES_MIN))
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
        return complaints;
    }
    let strays = control(trial).into_iter().filter(|(_, ratio)| !is_within(ratio, trial.case.control));
    let strays: Vec<String> =
        strays.map(|(what, Ratio { low, high, .. })| format!("in {what} by {low:.3} to {high:.3}")).collect();
    if !strays.is_empty() {
        let (bound, figures) = (trial.case.control * 100.0, strays.join(" and "));
        complaints.push(format!(
            "{name}: the control does not hold within {bound} %: the same server, started twice, differs \
             {figures} after {blocks} blocks"
        ));
    }
    complaints
}

/// Servers that could have done more: their rate is the load's.
pub fn remark(trial: &Trial) -> Option<String> {
    let busy = |samples: &Vec<Sample>| {
        stats::median(&samples.iter().map(|sample| sample.load_busy).collect::<Vec<_>>()) > LOAD_BUSY
    };
    let fast = trial.names.iter().zip(&trial.samples).filter(|(_, samples)| busy(samples));
    let fast: Vec<&str> = fast.map(|(name, _)| name.as_str()).collect();
    let text = format!(
        "{}: the load had no time left beside {}: their rates are its own, and CPU time per request says more",
        trial.case.name,
        fast.join(", ")
    );
    (!fast.is_empty()).then_some(text)
}

/// The control's ratios to the first server, by figure.
fn control(trial: &Trial) -> Vec<(&'static str, Ratio)> {
    let (Some(first), Some(again)) = (trial.samples.first(), trial.samples.last()) else { return Vec::new() };
    let memory = ratio(again, first, Sample::server_bytes).map(|ratio| ("memory", ratio));
    let rate = ratio(again, first, |sample| Some(sample.rate)).map(|ratio| ("rate", ratio));
    let cpu = ratio(again, first, |sample| sample.cpu_us).map(|ratio| ("CPU time", ratio));
    memory.into_iter().chain(rate).chain(cpu).collect()
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
        ratio: ratio(samples, first, Sample::server_bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::launch::Recipe;
    use crate::modes::compare::plan::{Ask, Case, Plan, Settings};
    use crate::wire::answer::Expected;

    fn plan() -> Plan {
        let recipe = |name: &str| Recipe { name: name.into(), command: "{port}".into() };
        let asks = vec![Ask { path: Some("/a".into()), ..Ask::default() }];
        Plan::resolve(vec![recipe("one"), recipe("two")], asks, Settings::default(), &[]).unwrap()
    }

    #[test]
    fn a_load_without_answers_or_cpu_time_is_no_sample() {
        let load = Load { seconds: 0.5, answers: 10, server_cpu_seconds: Some(1e-4), ..Load::default() };
        assert_eq!(Sample::of_load(&load).unwrap().cpu_us, Some(10.0));
        assert!(
            Sample::of_load(&Load { answers: 0, ..load.clone() }).unwrap_err().contains("no right answer")
        );
        let late = Load { server_cpu_seconds: Some(0.0), ..load };
        assert!(Sample::of_load(&late).unwrap_err().contains("CPU time"));
    }

    fn trial<'a>(plan: &Plan, case: &'a Case) -> Trial<'a> {
        let again = Recipe { name: "one again".into(), ..plan.servers[0].clone() };
        Trial::new(case, &[plan.servers.clone(), vec![again]].concat())
    }

    fn sample(rate: f64, cpu_us: f64) -> Sample {
        let cpu_us = Some(cpu_us);
        let (p50_ns, p99_ns) = (5e4, 9e4);
        Sample { rate, cpu_us, p50_ns, p99_ns, errors: 0, answer_bytes: 146.0, load_busy: 0.5, weight: None }
    }

    /// Blocks in which the machine slows down, `two` is half as fast, and the control is `off` now and then.
    fn fill(trial: &mut Trial, blocks: u32, off: f64) {
        for block in 0..blocks {
            let drift = 1.0 - 0.05 * f64::from(block);
            let luck = if block % 2 == 0 { 1.0 + off } else { 1.0 - off };
            trial.samples[0].push(sample(1000.0 * drift, 5.0 / drift));
            trial.samples[1].push(sample(500.0 * drift, 10.0 / drift));
            trial.samples[2].push(sample(1000.0 * drift * luck, 5.0 / drift));
        }
    }

    #[test]
    fn ratios_are_taken_within_a_block_so_drift_does_not_show() {
        let plan = plan();
        let mut trial = trial(&plan, &plan.cases[0]);
        fill(&mut trial, 8, 0.01);
        assert!(holds(&trial) && complaints(&trial).is_empty(), "{:?}", complaints(&trial));
        let case = case(&trial);
        let two = &case.results[1];
        let Ratio { middle, low, high } = two.rate_ratio;
        assert!([middle, low, high].iter().all(|value| (value - 0.5).abs() < 1e-9), "{:?}", two.rate_ratio);
        assert!((two.cpu_ratio.unwrap().middle - 2.0).abs() < 1e-9);
        assert_eq!((case.blocks, two.rates.len(), two.memory.is_none()), (8, 8, true));
    }

    #[test]
    fn a_control_that_strays_makes_the_case_invalid_and_says_how_far() {
        let plan = plan();
        let mut trial = trial(&plan, &plan.cases[0]);
        fill(&mut trial, 8, 0.05);
        assert!(!holds(&trial) && !case(&trial).holds);
        let told = complaints(&trial).join("\n");
        assert!(told.contains("/a: the control does not hold within 2 %:"), "{told}");
        assert!(told.contains("in rate by 0.950 to 1.050 after 8 blocks"), "{told}");
    }

    #[test]
    fn a_control_that_is_surely_another_does_not_hold_however_near() {
        let plan = plan();
        let mut trial = trial(&plan, &plan.cases[0]);
        fill(&mut trial, 8, 0.0);
        trial.samples[2].iter_mut().for_each(|sample| sample.rate *= 1.01);
        assert!(!holds(&trial), "contains one");
    }

    #[test]
    fn too_few_blocks_errors_and_other_answers_are_told() {
        let plan = plan();
        let mut trial = trial(&plan, &plan.cases[0]);
        fill(&mut trial, 5, 0.0);
        trial.samples[1][3].errors = 7;
        trial.compare_answers("one", &Expected { status: Some(200), length: Some(13), body: None });
        trial.compare_answers("two", &Expected { status: Some(200), length: Some(12), body: None });
        let told = complaints(&trial).join("\n");
        for part in ["5 blocks give no 95 %", "7 errors of two", "two answers with status 200, 12 bytes"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!holds(&trial));
    }

    #[test]
    fn weights_are_compared_too_and_one_that_weighs_nothing_has_a_ratio() {
        let plan = plan();
        let mut trial = trial(&plan, &plan.cases[0]);
        for _ in 0..6 {
            for (place, server_bytes) in [-0.5, 700.0, 0.0].into_iter().enumerate() {
                let weight = Weight { server_bytes, kernel_bytes: 7000.0, errors: 0 };
                trial.samples[place].push(Sample::of_weight(weight));
            }
        }
        assert!(holds(&trial) && complaints(&trial).is_empty(), "{:?}", complaints(&trial));
        let two = case(&trial).results[1].memory.unwrap();
        assert_eq!((two.server_bytes, two.kernel_bytes), (700.0, 7000.0));
        assert!((two.ratio.middle - 700.0).abs() < 1e-9);
    }

    #[test]
    fn who_was_faster_than_the_load_is_named() {
        let plan = plan();
        let mut trial = trial(&plan, &plan.cases[0]);
        fill(&mut trial, 6, 0.0);
        assert_eq!(remark(&trial), None);
        trial.samples[0].iter_mut().for_each(|sample| sample.load_busy = 0.99);
        assert!(remark(&trial).unwrap().contains("no time left beside one: their"));
    }
}
