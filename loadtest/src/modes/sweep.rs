//! Latency over load: the peak of a closed loop first, then an open loop at rising shares of it.
//!
//! Each step stands for itself: one that does not bring about its rate is marked, and the run goes on, since
//! where the server ceases to keep up is what is looked for.

use clap::Args;

use crate::engine::progress::Progress;
use crate::modes::closed;
use crate::modes::open::{Open, is_busy, is_late, shortfall};
use crate::report::{Known, Load, Report, Unit};
use crate::run::{Ready, explain, share_of};

/// What its report tells besides its loads.
pub const FACTS: [Known; 3] = [
    Known::new("peak", "peak of a closed loop", Unit::PerSecond),
    Known::new("knee", "highest load before p99 takes off", Unit::Share),
    Known::new("knee_rate", "which is", Unit::PerSecond),
];

/// The flags of a sweep.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Schedule")]
pub struct Sweeping {
    /// Measure the peak, then walk up to it; each step, and the peak, lasts --duration
    #[arg(long)]
    pub sweep: bool,
    /// Steps of --sweep, in percent of the peak
    #[arg(long, value_delimiter = ',', default_value = "10,20,30,40,50,60,70,80,90", value_name = "%,...")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=200))]
    pub steps: Vec<u32>,
}

/// The knee is where p99 is still within so many times the least of all steps.
const KNEE: u64 = 3;

/// Runs it.
///
/// # Errors
/// Why it could not, for people.
pub fn run(open: &Open, progress: &mut Progress) -> Result<Report, String> {
    let mut ready = open.aim.ready("sweep", false)?;
    open.size.fits()?;
    let peak = measure_peak(&ready, open, progress)?;
    ready.report.fact(&FACTS, "peak", peak.rate);
    ready.report.remarks.extend(at_peak(&peak));
    for percent in &open.sweeping.steps {
        let rate = (peak.rate * f64::from(*percent) / 100.0).max(1.0);
        let load = ready.open_load(&format!("{percent} %"), rate, open, progress)?;
        ready.report.loads.push(load);
    }
    ready.report.remarks.extend(at_steps(&ready.report.loads));
    match knee(&ready.report.loads) {
        Some(place) => {
            let rate = ready.report.loads[place].rate;
            ready.report.fact(&FACTS, "knee", f64::from(open.sweeping.steps[place]) / 100.0);
            ready.report.fact(&FACTS, "knee_rate", rate);
        }
        None => ready.report.invalid.push("no step brought about its rate without errors".to_string()),
    }
    Ok(ready.report)
}

fn measure_peak(ready: &Ready, open: &Open, progress: &mut Progress) -> Result<Load, String> {
    let size = &open.size;
    let load = ready.plan("peak", &open.aim, size).run(progress, |duty| {
        let connections = share_of(size.connections, size.threads, duty.number);
        closed::drive(duty, closed::Manner { connections, depth: 1, rate_max: None })
    });
    let load = explain(load)?;
    match load.answers {
        0 => Err("nothing was answered while the peak was measured".to_string()),
        _ => Ok(load),
    }
}

/// What went wrong before the first step.
fn at_peak(peak: &Load) -> Option<String> {
    let kinds: Vec<String> = peak.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    (!kinds.is_empty()).then(|| format!("while the peak was measured: {}", kinds.join(", ")))
}

/// What a reader should know of single steps, a line a kind.
fn at_steps(loads: &[Load]) -> Vec<String> {
    let told = |what: &str, is_so: &dyn Fn(&Load) -> bool| {
        let names: Vec<&str> = loads.iter().filter(|load| is_so(load)).map(|load| &load.name[..]).collect();
        (!names.is_empty()).then(|| format!("{}: {what}", names.join(", ")))
    };
    let short = told("under 99 % of the rate came about; the latencies are those of another load", &|load| {
        shortfall(load).is_some()
    });
    let late = told("the generator itself sent 1 % of the requests more than 1 ms late (lag)", &is_late);
    let busy = told("a thread of the generator had no time left; raise -t", &is_busy);
    [short, late, busy].into_iter().flatten().collect()
}

/// Where the highest load is that came about, without errors, and with a p99 not far above the least. Steps
/// below it may have been worse: one hiccup of the machine halfway up is no knee.
fn knee(loads: &[Load]) -> Option<usize> {
    let is_sound = |load: &&Load| shortfall(load).is_none() && load.errors_total() == 0;
    let p99_ns = |load: &Load| load.latency.quantile(0.99);
    let least_ns = loads.iter().filter(is_sound).map(p99_ns).min()?;
    let is_near = |load: &&Load| is_sound(load) && p99_ns(load) <= KNEE * least_ns;
    let near = loads.iter().enumerate().filter(|(_, load)| is_near(load));
    near.max_by(|(_, one), (_, other)| one.rate.total_cmp(&other.rate)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;
    use crate::engine::latency::Latency;
    use crate::testing::stub::{Move, Stub};

    fn load(percent: u32, achieved: f64, p99_ns: u64) -> Load {
        let mut latency = Latency::default();
        (0..100).for_each(|_| latency.record(p99_ns));
        let wanted = f64::from(percent) * 100.0;
        let rate = wanted * achieved;
        Load { name: format!("{percent} %"), rate, rate_wanted: Some(wanted), latency, ..Load::default() }
    }

    #[test]
    fn the_knee_lies_before_latency_takes_off() {
        let loads = [
            load(10, 1.0, 300_000),
            load(30, 1.0, 200_000),
            load(50, 1.0, 9_000_000),
            load(70, 1.0, 550_000),
            load(80, 1.0, 900_000),
            load(90, 0.98, 300_000),
        ];
        assert_eq!(knee(&loads), Some(3));
        assert_eq!(knee(&loads[5..]), None, "what did not come about is no load");
    }

    #[test]
    fn a_step_that_does_not_come_about_is_marked_and_the_rest_stands() {
        let stub = Stub::new(|_| Move::Answer);
        let url = format!("http://{}/", stub.address);
        let flags = ["myriapod-load", "open", "--sweep", "-c", "4", "-d", "300ms", "--warm-up", "0"];
        let words = flags.into_iter().chain(["--steps", "5,10,200", "--timeout", "500ms", &url]);
        let report = Cli::parse_from(words).mode.run(&mut Progress::new(true)).unwrap();
        let names: Vec<&str> = report.loads.iter().map(|load| load.name.as_str()).collect();
        assert_eq!((report.mode, &names[..]), ("sweep", &["5 %", "10 %", "200 %"][..]));
        // Nobody answers twice as much as it can.
        assert!(
            report.remarks.iter().any(|remark| remark.contains("200 %: under 99 %")),
            "{:?}",
            report.remarks
        );
        // A busy machine may have had no step that came about, and then no knee.
        let fact = |name| report.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value);
        assert_eq!(fact("knee").is_some(), report.invalid.is_empty());
        assert!(fact("knee").is_none_or(|knee| knee < 1.0) && fact("peak").unwrap() > 0.0);
    }
}
