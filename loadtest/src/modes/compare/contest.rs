//! Runs the blocks: every server of every case once, in random order, until the control holds or patience
//! ends.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::cli::{Aim, Size};
use crate::engine::progress::Progress;
use crate::host::cpus::Cpus;
use crate::host::launch::{Recipe, Running};
use crate::modes::churn::{End, rush};
use crate::modes::closed;
use crate::report::{Comparison, Load, Report};
use crate::run::{Ready, explain, share_of};
use crate::wire::answer::Expected;
use crate::wire::preflight::{self, Check};

use super::crowd;
use super::plan::{Case, Kind, Plan};
use super::verdict::{self, Sample};

/// All of one comparison.
pub struct Contest<'a> {
    plan: &'a Plan,
    /// The plan's servers, and the first once more: the control.
    entrants: Vec<Recipe>,
    trials: Vec<Trial<'a>>,
    /// With `--keep`, those that were started, by entrant.
    kept: Vec<Option<Running>>,
    random: fastrand::Rng,
    /// Why measurements had to be repeated.
    repeated: Vec<String>,
    /// What the first question found out about where and when this is.
    report: Option<Report>,
}

/// One case and what came of it so far.
pub struct Trial<'a> {
    pub case: &'a Case,
    /// Indices of entrants.
    entrants: Vec<usize>,
    pub names: Vec<String>,
    /// By place among the entrants, then by block.
    pub samples: Vec<Vec<Sample>>,
    /// By place: whether it ever gave a right answer.
    worked: Vec<bool>,
    /// What the first server that was asked answers: all should answer alike.
    expected: Option<Expected>,
    /// Who does not.
    differing: BTreeSet<String>,
}

const TIMEOUT: Duration = Duration::from_secs(10);
/// A run of many minutes is not lost by one bad moment.
const TRIES_MAX: u32 = 3;
/// Between two looks whether a server is ready.
const LOOK: Duration = Duration::from_millis(5);

impl<'a> Contest<'a> {
    /// Binds this process to its CPUs, and is ready to run.
    ///
    /// # Errors
    /// What the machine does not have.
    pub fn new(plan: &'a Plan) -> Result<Contest<'a>, String> {
        if let Some(cpus) = &plan.load_cpus {
            cpus.bind()?;
        }
        let first = &plan.servers[0];
        let again = Recipe { name: format!("{} again", first.name), ..first.clone() };
        let entrants: Vec<Recipe> = plan.servers.iter().cloned().chain([again]).collect();
        for case in plan.cases.iter().filter(|case| case.kind != Kind::Idle) {
            plan.size(case).fits()?;
        }
        Ok(Contest {
            plan,
            trials: plan.cases.iter().map(|case| Trial::new(case, &entrants)).collect(),
            kept: entrants.iter().map(|_| None).collect(),
            entrants,
            random: fastrand::Rng::with_seed(plan.seed),
            repeated: Vec::new(),
            report: None,
        })
    }

    /// Runs it to the end.
    ///
    /// # Errors
    /// Which server did not start, died, or gave no right answer.
    pub fn run(&mut self, progress: &mut Progress) -> Result<(), String> {
        for block in 0..self.plan.blocks_max {
            for at in 0..self.trials.len() {
                if block < self.plan.blocks || !verdict::holds(&self.trials[at]) {
                    self.block(at, block, progress)?;
                }
            }
        }
        Ok(())
    }

    fn block(&mut self, at: usize, block: u32, progress: &mut Progress) -> Result<(), String> {
        let mut order: Vec<usize> = (0..self.trials[at].entrants.len()).collect();
        self.random.shuffle(&mut order);
        for place in order {
            let entrant = self.trials[at].entrants[place];
            let (case, name) = (&self.trials[at].case.name, &self.entrants[entrant].name);
            let share = f64::from(block) + at as f64 / self.trials.len() as f64;
            let text = format!("block {} of {}, {case}: {name}", block + 1, self.plan.blocks);
            progress.line(&text, share / f64::from(self.plan.blocks.max(block + 1)));
            let sample = self.measure_patiently(at, place, entrant)?;
            self.trials[at].samples[place].push(sample);
        }
        Ok(())
    }

    /// Somebody else may have taken the port, or all of the machine for a moment; but a server that never
    /// worked will not work now.
    fn measure_patiently(&mut self, at: usize, place: usize, entrant: usize) -> Result<Sample, String> {
        let mut tries = 1;
        loop {
            match self.measure(at, place, entrant) {
                Err(error) if tries < TRIES_MAX && self.trials[at].worked[place] => self.repeated.push(error),
                outcome => return outcome,
            }
            tries += 1;
        }
    }

    /// One server under one load.
    fn measure(&mut self, at: usize, place: usize, entrant: usize) -> Result<Sample, String> {
        let recipe = &self.entrants[entrant];
        let mut running = match self.kept[entrant].take() {
            Some(running) => running,
            None => recipe.start(&self.trials[at].case.path, self.plan.server_cpus.as_ref())?,
        };
        // A server that died says better why than whoever talked to it.
        let sample = self.visit(at, place, &mut running).map_err(|error| running.ended().unwrap_or(error))?;
        if let Some(last_words) = running.ended() {
            return Err(last_words);
        }
        if self.plan.keep {
            self.kept[entrant] = Some(running);
        }
        Ok(sample)
    }

    fn visit(&mut self, at: usize, place: usize, running: &mut Running) -> Result<Sample, String> {
        let trial = &mut self.trials[at];
        let case = trial.case;
        let aim = case.aim(running);
        let ready = ready(running, &aim, case)?;
        trial.worked[place] = true;
        trial.compare_answers(&running.name, &ready.target.expected);
        let sample = match case.kind {
            Kind::Idle => Sample::of_weight(crowd::weigh(&ready, case.connections, TIMEOUT)?),
            Kind::KeepAlive | Kind::Close => Sample::of_load(&load(self.plan, case, &ready, &aim)?)
                .map_err(|why| format!("{} in case {:?}: {why}", running.name, case.name))?,
        };
        self.report.get_or_insert(ready.report);
        Ok(sample)
    }

    /// What was found.
    pub fn report(self) -> Report {
        let plan = self.plan;
        let invalid = self.trials.iter().flat_map(verdict::complaints).collect();
        let mut checked: Vec<String> = self.trials.iter().map(Trial::checked).collect();
        checked.dedup();
        let comparison = Comparison {
            servers: plan.servers.iter().map(|server| server.name.clone()).collect(),
            blocks: plan.blocks,
            seed: plan.seed,
            cases: self.trials.iter().map(verdict::case).collect(),
        };
        Report {
            target: plan.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join(", "),
            checked: checked.join("; "),
            invalid,
            remarks: self.remarks(),
            comparison: Some(comparison),
            ..self.report.unwrap_or_default()
        }
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![self.plan.remark()];
        remarks.extend(self.trials.iter().filter_map(verdict::remark));
        if !self.trials.iter().all(verdict::holds) {
            remarks.push(
                "a control that does not hold may hold on a quieter machine, or after more blocks".into(),
            );
        }
        if let Some(why) = self.repeated.last() {
            remarks.push(format!(
                "{} measurements failed and were repeated; the last: {why}",
                self.repeated.len()
            ));
        }
        remarks
    }
}

impl<'a> Trial<'a> {
    /// Nothing was measured yet.
    pub fn new(case: &'a Case, all: &[Recipe]) -> Trial<'a> {
        let takes_part = |entrant: &usize| !case.without.contains(&all[*entrant].name);
        let entrants: Vec<usize> = (0..all.len()).filter(takes_part).collect();
        Trial {
            case,
            names: entrants.iter().map(|entrant| all[*entrant].name.clone()).collect(),
            samples: vec![Vec::new(); entrants.len()],
            worked: vec![false; entrants.len()],
            entrants,
            expected: None,
            differing: BTreeSet::new(),
        }
    }

    /// Notes whether a server answers as the others do.
    pub fn compare_answers(&mut self, name: &str, found: &Expected) {
        let expected = self.expected.get_or_insert_with(|| found.clone());
        if (expected.status, expected.length) != (found.status, found.length) {
            let (found, expected) = (preflight::describe(found), preflight::describe(expected));
            self.differing.insert(format!("{name} answers with {found}, another with {expected}"));
        }
    }

    fn checked(&self) -> String {
        self.expected.as_ref().map(preflight::describe).unwrap_or_default()
    }

    /// What makes answers of its servers incomparable.
    pub fn differing(&self) -> impl Iterator<Item = &String> {
        self.differing.iter()
    }
}

impl Plan {
    fn size(&self, case: &Case) -> Size {
        Size {
            threads: self.threads,
            connections: case.connections,
            duration: self.block_time,
            warm_up: self.warm_up,
        }
    }

    fn remark(&self) -> String {
        let place = |cpus: &Option<Cpus>| {
            cpus.as_ref().map_or("wherever the kernel likes".to_string(), |cpus| format!("on {cpus}"))
        };
        let life = if self.keep { "started once" } else { "started anew for each measurement" };
        format!(
            "servers run {}, the load {}; each server is {life}, the order is random (seed {})",
            place(&self.server_cpus),
            place(&self.load_cpus),
            self.seed
        )
    }
}

impl Case {
    fn aim(&self, running: &Running) -> Aim {
        Aim {
            url: format!("http://127.0.0.1:{}{}", running.port, self.path),
            method: self.method.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            body_file: None,
            status: None,
            length: None,
            check: Check::Auto,
            timeout: TIMEOUT,
            source: Vec::new(),
            allow_remote: false,
            pid: Some(running.id()),
        }
    }
}

/// Waits for the first right answer.
fn ready(running: &mut Running, aim: &Aim, case: &Case) -> Result<Ready, String> {
    let since = Instant::now();
    loop {
        let error = match aim.ready("compare", case.kind == Kind::Close) {
            Ok(ready) => return Ok(ready),
            Err(error) => error,
        };
        if let Some(last_words) = running.ended() {
            return Err(last_words);
        }
        if since.elapsed() > TIMEOUT {
            let said = running.said();
            return Err(format!(
                "{} is not ready for {}: {error}\nIt said:\n{said}",
                running.name, case.path
            ));
        }
        std::thread::sleep(LOOK);
    }
}

fn load(plan: &Plan, case: &Case, ready: &Ready, aim: &Aim) -> Result<Load, String> {
    // Whoever watches is told of blocks, not of loads.
    let mut unseen = Progress::new(true);
    let size = plan.size(case);
    explain(ready.plan(&case.name, aim, &size).run(&mut unseen, |duty| {
        let connections = share_of(size.connections, size.threads, duty.number);
        if case.kind == Kind::Close {
            let (connections, timeout_ns) = (connections as usize, TIMEOUT.as_nanos() as u64);
            let manner = rush::Manner { connections, pace: None, timeout_ns, end: End::Server };
            rush::drive(duty, manner).map(drop)
        } else {
            closed::drive(duty, closed::Manner { connections, depth: case.depth, rate_max: None })
        }
    }))
}
