//! Holds many connections: each proves itself by one answer, and is then left alone, while the server's
//! memory, its idle CPU time and the latency of a probe are measured step by step.
//!
//! Kernel memory is that of the whole machine: on loopback both ends of every connection.

mod crew;
mod keeper;
mod stages;

use std::time::Duration;

use clap::Args;

use crate::cli::{Aim, Output};
use crate::engine::progress::Progress;
use crate::engine::table;
use crate::host::scrape;
use crate::modes::hold::crew::{Crew, Means};
use crate::modes::hold::stages::Stages;
use crate::report::{Known, Report, Unit};
use crate::run::SPARE_DESCRIPTORS;
use crate::units;

/// What its report tells besides loads and steps.
pub const FACTS: [Known; 12] = [
    Known::new("connections", "connections held", Unit::Count),
    Known::new("open_seconds", "time to open them", Unit::Seconds),
    Known::new("open_rate", "opened and answered", Unit::PerSecond),
    Known::new("probe_ratio", "p99 of the probe, most over fewest", Unit::Ratio),
    Known::new("sweep_seconds", "each asked once more", Unit::Seconds),
    Known::new("sweep_answers", "answers of the sweep", Unit::Count),
    Known::new("close_seconds", "time to close them", Unit::Seconds),
    Known::new("return_seconds", "new ones opened right after", Unit::Seconds),
    Known::new("release_seconds", "server memory given back after", Unit::Seconds),
    Known::new("server_bytes_after", "server memory then", Unit::Bytes),
    Known::new("connection_errors", "connections that failed", Unit::Count),
    Known::new("idle_share", "CPU of the server while all idle", Unit::Share),
];

/// The flags of `hold`.
#[derive(Clone, Debug, Args)]
pub struct Hold {
    #[command(flatten)]
    pub aim: Aim,
    /// Connections to hold
    #[arg(short, long, default_value = "10k", value_parser = units::positive, value_name = "N")]
    pub connections: u64,
    /// Threads, each with a table of descriptors [default: as many as the limit on descriptors asks for]
    #[arg(short, long, value_parser = units::positive, value_name = "N")]
    pub threads: Option<u64>,
    /// Connections opened a second [default: as fast as they are answered]
    #[arg(long, value_parser = units::positive, value_name = "RATE")]
    pub pace: Option<u64>,
    /// Connections under way at once while opening and sweeping
    #[arg(long, default_value = "2048", value_parser = units::positive, value_name = "N")]
    pub window: u64,
    /// Where to stop and measure: numbers or shares of --connections
    #[arg(long, value_delimiter = ',', default_value = "0,1k,10%,25%,50%,100%", value_name = "N,...")]
    pub steps: Vec<String>,
    /// How long nothing is asked at each step, while idle CPU time and memory are read
    #[arg(long, default_value = "3s", value_parser = units::duration, value_name = "TIME")]
    pub idle: Duration,
    /// Probe each step with so many requests a second; 0 for none
    #[arg(long, default_value = "1000", value_parser = units::count, value_name = "RATE")]
    pub probe_rate: u64,
    /// Connections of the probe, besides those held
    #[arg(long, default_value = "64", value_parser = units::positive, value_name = "N")]
    pub probe_connections: u64,
    /// How long each probe lasts
    #[arg(long, default_value = "5s", value_parser = units::duration, value_name = "TIME")]
    pub probe_time: Duration,
    /// When all are there, keep this share of them busy for a while
    #[arg(long, value_parser = units::share, value_name = "SHARE", requires = "rate")]
    pub active: Option<f64>,
    /// Requests a second of the active share
    #[arg(long, value_parser = units::positive, value_name = "RATE", requires = "active")]
    pub rate: Option<u64>,
    /// How long they are kept busy
    #[arg(long, default_value = "10s", value_parser = units::duration, value_name = "TIME")]
    pub active_time: Duration,
    /// Do not let every connection ask once more at the end
    #[arg(long)]
    pub no_sweep: bool,
    /// Server memory that counts as given back, after all have closed
    #[arg(long, default_value = "64MiB", value_parser = units::bytes, value_name = "SIZE")]
    pub released: u64,
    /// Series of the server's metrics to read at each step, as `URL#name`
    #[arg(long, value_name = "URL#NAME")]
    pub scrape: Vec<String>,
    #[command(flatten)]
    pub output: Output,
}

impl Hold {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn run(&self, progress: &mut Progress) -> Result<Report, String> {
        let steps = self.steps()?;
        let means_threads = self.threads()?;
        self.can_scrape()?;
        let ready = self.aim.ready("hold", false)?;
        let means = Means {
            target: std::sync::Arc::clone(&ready.target),
            sources: ready.sources.clone(),
            timeout: self.aim.timeout,
            threads: means_threads,
            window: self.window,
        };
        std::thread::scope(|scope| {
            let crew = Crew::start(scope, &means).map_err(|error| format!("cannot start: {error}"))?;
            let mut stages = Stages::new(self, &crew, ready, progress);
            let outcome = stages.run(&steps);
            let report = stages.report();
            let ended = crew.dismiss().map_err(|error| format!("a load thread failed: {error}"));
            outcome.and(ended).map(|()| report)
        })
    }

    /// Whether every metric is there: a mistake is told now, and not after a million connections.
    fn can_scrape(&self) -> Result<(), String> {
        for wanted in &self.scrape {
            let found = scrape::read(wanted, self.aim.timeout)?;
            if found.series == 0 {
                return Err(format!("--scrape {wanted}: no metric has the name {:?}", found.name));
            }
        }
        Ok(())
    }

    /// Numbers of connections at which to measure, ascending, all of them last.
    fn steps(&self) -> Result<Vec<u64>, String> {
        let read = |text: &String| match text.ends_with('%') {
            true => units::share(text).map(|share| (share * self.connections as f64) as u64),
            false => units::count(text),
        };
        let mut steps = self.steps.iter().map(read).collect::<Result<Vec<u64>, String>>()?;
        steps.retain(|step| *step < self.connections);
        steps.push(self.connections);
        steps.sort_unstable();
        steps.dedup();
        Ok(steps)
    }

    fn threads(&self) -> Result<u64, String> {
        let limit = table::raise_limit();
        // Polls and wakers of all threads are in every table.
        let room_of = |threads: u64| limit.saturating_sub(SPARE_DESCRIPTORS + 3 * threads);
        if !table::can_be_private() {
            let room = room_of(1);
            return match self.connections <= room {
                true => Ok(1),
                false => Err(format!("{room} connections fit: raise the limit on descriptors (ulimit -n)")),
            };
        }
        let enough = (1..=1024).find(|threads| threads * room_of(*threads) >= self.connections);
        let enough = enough.ok_or_else(|| format!("{limit} descriptors a table are too few for so many"))?;
        match self.threads {
            Some(threads) if threads * room_of(threads) < self.connections => {
                Err(format!("{} connections need {enough} threads (-t) or more", self.connections))
            }
            Some(threads) => Ok(threads),
            None => Ok(enough),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Mode};
    use crate::testing::stub::{Move, Stub};

    /// Runs `hold` against a stub whose first two answers teach what a right one is.
    fn held(stub: &Stub, flags: &str) -> Result<Report, String> {
        let address = stub.address.to_string();
        let common =
            "hold -q --idle 50ms --probe-rate 200 --probe-connections 4 --probe-time 200ms --timeout 5s";
        let words = ["myriapod-load"].into_iter().chain(common.split(' ')).chain(flags.split(' '));
        let cli = Cli::parse_from(words.chain([address.as_str()]));
        let Mode::Hold(hold) = cli.mode else { panic!("not hold") };
        hold.run(&mut Progress::new(true))
    }

    fn fact(report: &Report, name: &str) -> f64 {
        report.facts.iter().find(|fact| fact.name == name).unwrap_or_else(|| panic!("no {name}")).value
    }

    #[test]
    fn every_connection_proves_itself_is_swept_and_closed() {
        let stub = Stub::new(|_| Move::Answer);
        let report = held(&stub, "-c 120 -t 3 --steps 0,40,50%").unwrap();
        let steps: Vec<_> = report.steps.iter().map(|step| step.connections).collect();
        assert_eq!(steps, [0, 40, 60, 120]);
        assert_eq!((fact(&report, "connections"), fact(&report, "connection_errors")), (120.0, 0.0));
        assert_eq!(fact(&report, "sweep_answers"), 120.0);
        let sweep = report.loads.iter().find(|load| load.name == "sweep").unwrap();
        assert_eq!((sweep.requests, sweep.answers, sweep.errors_total()), (120, 120, 0));
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(sweep.bytes_received, 120 * answer.len() as u64);
        assert!(report.steps.iter().all(|step| step.probe.is_some()));
        assert!(report.invalid.is_empty());
    }

    #[test]
    fn an_active_share_asks_by_its_schedule() {
        let stub = Stub::new(|_| Move::Answer);
        let flags = "-c 40 -t 2 --steps 0 --active 25% --rate 200 --active-time 500ms --no-sweep";
        let report = held(&stub, flags).unwrap();
        let active = report.loads.iter().find(|load| load.name == "10 active of 40").unwrap();
        assert_eq!((active.requests, active.answers, active.errors_total()), (100, 100, 0));
    }

    #[test]
    fn connections_that_are_not_answered_rightly_are_not_held() {
        // Of the first 22 requests two teach, ten of the others fail; each fails its connection.
        let stub =
            Stub::new(
                |number| if (2..22).contains(&number) && number % 2 == 0 { Move::Fail } else { Move::Answer },
            );
        let report = held(&stub, "-c 50 -t 1 --steps 50 --probe-rate 0 --no-sweep").unwrap();
        assert_eq!((fact(&report, "connections"), fact(&report, "connection_errors")), (40.0, 10.0));
        assert!(
            report.remarks.iter().any(|remark| remark == "10 connections: status"),
            "{:?}",
            report.remarks
        );
    }

    #[test]
    fn a_metric_that_is_not_there_is_told_before_anything_is_opened() {
        let stub = Stub::new(|_| Move::Part);
        let flags = format!("-c 20 --scrape http://{}/metrics#nothing", stub.address);
        let error = held(&stub, &flags).unwrap_err();
        assert!(error.contains("no metric has the name \"nothing\""), "{error}");
    }

    #[test]
    fn connections_that_the_server_ends_are_counted_as_lost() {
        // Everybody is answered once; who asks again, in the sweep, meets a close.
        let stub = Stub::new(|number| if number < 22 { Move::Answer } else { Move::Close });
        let report = held(&stub, "-c 20 -t 2 --steps 20 --probe-rate 0").unwrap();
        let sweep = report.loads.iter().find(|load| load.name == "sweep").unwrap();
        // An end may look like a close or a reset, by what the stub had read.
        assert_eq!((sweep.answers, sweep.errors_total()), (0, 20), "{:?}", sweep.errors);
    }
}
