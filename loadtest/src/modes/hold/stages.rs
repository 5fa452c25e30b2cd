//! The stages of a hold, one after the other: open to a step, rest, measure, probe; then keep some busy,
//! sweep, close, and see what the server gives back.

use std::time::{Duration, Instant};

use crate::cli::Size;
use crate::engine::conduct::{Plan, load_of};
use crate::engine::progress::Progress;
use crate::engine::schedule::{Arrivals, Pace};
use crate::host::machine;
use crate::host::process::Process;
use crate::host::scrape;
use crate::modes::hold::crew::{Crew, add_up};
use crate::modes::hold::{FACTS, Hold};
use crate::modes::open;
use crate::report::{Load, Report, Scraped, Step};
use crate::run::{Ready, explain};

/// How long nothing may move before opening, sweeping or closing is given up.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);
/// How long the server may take to give memory back before that is told as it is.
const RELEASE_MAX: Duration = Duration::from_secs(30);
/// Connections that ask for entrance right after all have closed.
const RETURNING: u64 = 1000;

/// A hold under way.
pub struct Stages<'a, 'scope> {
    hold: &'a Hold,
    crew: &'a Crew<'scope>,
    ready: Ready,
    progress: &'a mut Progress,
    report: Report,
}

impl<'a, 'scope> Stages<'a, 'scope> {
    /// Nothing done yet.
    pub fn new(
        hold: &'a Hold,
        crew: &'a Crew<'scope>,
        mut ready: Ready,
        progress: &'a mut Progress,
    ) -> Stages<'a, 'scope> {
        let report = std::mem::take(&mut ready.report);
        Stages { hold, crew, ready, progress, report }
    }

    /// All stages.
    ///
    /// # Errors
    /// When one cannot be brought to its end.
    pub fn run(&mut self, steps: &[u64]) -> Result<(), String> {
        let mut open_seconds = 0.0;
        for connections in steps {
            open_seconds += self.step(*connections)?;
        }
        let held = self.crew.standing().0;
        self.fact("connections", held as f64);
        self.fact("open_seconds", open_seconds);
        self.fact("open_rate", held as f64 / open_seconds);
        self.probe_ratio();
        if let Some(share) = self.report.steps.last().and_then(|step| step.server_idle_share) {
            self.fact("idle_share", share);
        }
        if let (Some(share), Some(rate)) = (self.hold.active, self.hold.rate) {
            self.keep_active(share, rate as f64);
        }
        if !self.hold.no_sweep {
            self.sweep();
        }
        self.close()?;
        self.come_back()?;
        Ok(())
    }

    /// What was found, also of a run that broke off.
    pub fn report(mut self) -> Report {
        let errors = self.crew.errors();
        let all: u64 = errors.iter().map(|(_, count)| count).sum();
        let most = self.report.steps.iter().map(|step| step.connections).max().unwrap_or(0);
        if most < self.hold.connections {
            let wanted = self.hold.connections;
            self.report.invalid.push(format!("only {most} of {wanted} connections were ever held"));
        }
        self.fact("connection_errors", all as f64);
        for (fault, count) in errors {
            self.report.remarks.push(format!("{count} connections: {}", fault.label()));
        }
        self.report
    }

    /// Opens up to a number of connections and measures there; seconds it took to open them.
    fn step(&mut self, connections: u64) -> Result<f64, String> {
        let before = self.crew.standing().0;
        let open_seconds = self.open(connections)?;
        let cpu_before = self.cpu_seconds();
        let rested = Instant::now();
        self.rest(&format!("{connections} connections, idle"));
        let rested = rested.elapsed().as_secs_f64();
        let idle_seconds = cpu_before.zip(self.cpu_seconds()).map(|(from, to)| to - from);
        let mut step = Step {
            connections: self.crew.standing().0,
            open_seconds,
            open_rate: (connections - before) as f64 / open_seconds.max(1e-9),
            server_bytes: self.ready.server.as_ref().and_then(Process::memory_bytes),
            slab_bytes: machine::slab_bytes(),
            used_bytes: machine::used_bytes(),
            own_bytes: Process::own().memory_bytes().unwrap_or(0),
            // Without a rest there is nothing to divide by.
            server_idle_share: idle_seconds.filter(|_| rested > 0.01).map(|seconds| seconds / rested),
            probe: None,
            scraped: self.scrape(),
        };
        if self.hold.probe_rate > 0 {
            step.probe = Some(self.probe(connections)?);
        }
        self.report.steps.push(step);
        Ok(open_seconds)
    }

    fn open(&mut self, connections: u64) -> Result<f64, String> {
        let begun = Instant::now();
        let (held_before, errors_before) = self.crew.standing();
        self.crew.hold(connections, self.hold.pace.map(|pace| pace as f64));
        let wanted = connections - held_before;
        let mut still = Standstill::default();
        loop {
            let (held, errors) = self.crew.standing();
            let done = (held + errors).saturating_sub(held_before + errors_before);
            if done >= wanted {
                break;
            }
            self.watch(done, &mut still, &format!("{held} connections held"))?;
            let rate = (held - held_before) as f64 / begun.elapsed().as_secs_f64();
            let share = held as f64 / self.hold.connections as f64;
            self.progress.line(&format!("opening: {held} held, {rate:.0}/s, {errors} errors"), share);
        }
        Ok(if wanted == 0 { 0.0 } else { begun.elapsed().as_secs_f64() })
    }

    fn rest(&mut self, what: &str) {
        let begun = Instant::now();
        while begun.elapsed() < self.hold.idle {
            let share = begun.elapsed().as_secs_f64() / self.hold.idle.as_secs_f64();
            self.progress.line(what, share);
            std::thread::sleep(Duration::from_millis(100).min(self.hold.idle));
        }
    }

    /// A load beside the held connections; its place among the loads.
    fn probe(&mut self, connections: u64) -> Result<usize, String> {
        let size = Size {
            threads: 1,
            connections: self.hold.probe_connections,
            duration: self.hold.probe_time,
            warm_up: Duration::from_millis(500),
        };
        let name = format!("probe beside {connections}");
        let rate = self.hold.probe_rate as f64;
        let plan = Plan { rate_wanted: Some(rate), ..self.ready.plan(&name, &self.hold.aim, &size) };
        let pace = Pace { rate, arrivals: Arrivals::Constant, seed: 0, threads: 1 };
        let timeout_ns = self.hold.aim.timeout.as_nanos() as u64;
        let manner = open::Manner { connections: size.connections, pace, timeout_ns };
        let load = explain(plan.run(self.progress, |duty| open::drive(duty, manner)))?;
        self.report.loads.push(load);
        Ok(self.report.loads.len() - 1)
    }

    /// The last probe against the first that had connections beside it.
    fn probe_ratio(&mut self) {
        let probes = self.report.steps.iter().filter(|step| step.connections > 0);
        let p99 = |load: Option<&Load>| load.map(|load| load.latency.quantile(0.99) as f64);
        let mut p99s =
            probes.filter_map(|step| p99(step.probe.and_then(|place| self.report.loads.get(place))));
        if let (Some(first), Some(last)) = (p99s.next(), p99s.next_back()) {
            self.fact("probe_ratio", last / first);
        }
    }

    fn keep_active(&mut self, share: f64, rate: f64) {
        let (held, _) = self.crew.standing();
        let connections = ((held as f64 * share) as u64).max(1);
        let begun = Instant::now();
        let cpu_before = self.cpu_seconds();
        let beats = self.crew.keep_active(connections, rate, self.hold.active_time);
        let lasts = self.hold.active_time.as_secs_f64();
        let tally = add_up(&beats, |tally| {
            let done = begun.elapsed().as_secs_f64();
            let text = format!("{connections} of {held} active: {:.0}/s", tally.answers as f64 / done);
            self.progress.line(&text, done / lasts);
        });
        let cpu = cpu_before.zip(self.cpu_seconds()).map(|(from, to)| to - from);
        let load = load_of(format!("{connections} active of {held}"), lasts, Some(rate), tally, Vec::new());
        self.report.loads.push(Load { server_cpu_seconds: cpu, ..load });
    }

    fn sweep(&mut self) {
        let (held, _) = self.crew.standing();
        let begun = Instant::now();
        let cpu_before = self.cpu_seconds();
        let beats = self.crew.sweep();
        let board = &self.crew.board;
        let tally = add_up(&beats, |_| {
            let swept = board.swept.load(std::sync::atomic::Ordering::Relaxed);
            let share = swept as f64 / held as f64;
            self.progress.line(&format!("sweep: {swept} of {held} answered"), share);
        });
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = cpu_before.zip(self.cpu_seconds()).map(|(from, to)| to - from);
        self.fact("sweep_seconds", seconds);
        self.fact("sweep_answers", tally.answers as f64);
        let load = load_of("sweep".to_string(), seconds, None, tally, Vec::new());
        self.report.loads.push(Load { server_cpu_seconds: cpu, ..load });
    }

    /// Closes all at once and waits until the server has given their memory back.
    fn close(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        self.crew.close();
        let mut still = Standstill::default();
        while self.crew.standing().0 > 0 {
            let (held, _) = self.crew.standing();
            self.watch(self.hold.connections - held, &mut still, "closing")?;
        }
        self.fact("close_seconds", begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// New connections right after the end of all the others; meanwhile and then the server's memory.
    fn come_back(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let returning = RETURNING.min(self.hold.connections);
        let seconds = self.open(returning)?;
        self.fact("return_seconds", seconds);
        let Some(server) = self.ready.server.clone() else { return Ok(()) };
        let mut bytes = server.memory_bytes().unwrap_or(0);
        while bytes > self.hold.released && begun.elapsed() < RELEASE_MAX {
            std::thread::sleep(Duration::from_millis(250));
            bytes = server.memory_bytes().unwrap_or(0);
            let share = begun.elapsed().as_secs_f64() / RELEASE_MAX.as_secs_f64();
            self.progress.line(&format!("closed; the server still has {} MiB", bytes >> 20), share);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let told = if bytes > self.hold.released { f64::INFINITY } else { seconds };
        self.fact("release_seconds", told);
        self.fact("server_bytes_after", bytes as f64);
        self.crew.close();
        Ok(())
    }

    fn watch(&self, done: u64, still: &mut Standstill, what: &str) -> Result<(), String> {
        std::thread::sleep(Duration::from_millis(20));
        if self.crew.has_failed() {
            return Err(format!("a load thread has ended, at {what}"));
        }
        if still.lasts(done) > STANDSTILL_MAX {
            return Err(format!("nothing has moved for {} s, at {what}", STANDSTILL_MAX.as_secs()));
        }
        Ok(())
    }

    fn scrape(&self) -> Vec<Scraped> {
        let read = |wanted: &String| scrape::read(wanted, self.hold.aim.timeout);
        self.hold.scrape.iter().filter_map(|wanted| read(wanted).ok()).collect()
    }

    fn cpu_seconds(&self) -> Option<f64> {
        self.ready.server.as_ref().and_then(Process::cpu_seconds)
    }

    fn fact(&mut self, name: &str, value: f64) {
        self.report.fact(&FACTS, name, value);
    }
}

/// How long a number has not moved.
#[derive(Debug, Default)]
struct Standstill {
    last: u64,
    since: Option<Instant>,
}

impl Standstill {
    fn lasts(&mut self, now: u64) -> Duration {
        if self.since.is_none() || now != self.last {
            self.last = now;
            self.since = Some(Instant::now());
        }
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}
