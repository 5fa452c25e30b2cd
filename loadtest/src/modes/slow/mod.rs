//! A normal load, measured alone and then beside many that are slow on purpose: those that drip their requests byte
//! by byte, and those that ask for much and never read it.
//!
//! What it tells: whether the others notice, how the slow ones are ended and after how long, and what each costs
//! the server. Slow ones that are ended come back, as an attacker's would.

mod crowd;
mod ends;
mod flock;

use std::time::{Duration, Instant};

use clap::Args;

use self::crowd::Crowd;
use self::ends::{Ends, Kind};
use self::flock::Manner;
use super::closed;
use crate::answer::Expected;
use crate::cli::{Aim, Output, Size};
use crate::machine;
use crate::preflight::{self, Check};
use crate::process::Process;
use crate::progress::Progress;
use crate::report::{Fact, Load, Report, Unit};
use crate::run::{Ready, explain, share_of};
use crate::table;
use crate::target::{Question, Target, Url};
use crate::units;

/// The flags of `slow`.
#[derive(Debug, Args)]
pub struct Slow {
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub size: Size,
    /// Requests per second of the normal load
    #[arg(long, default_value = "1000", value_parser = units::positive, value_name = "RATE")]
    pub rate: u64,
    #[command(flatten)]
    pub who: Who,
    #[command(flatten)]
    pub output: Output,
}

/// Who is slow, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "The slow ones")]
pub struct Who {
    /// Connections that send their request byte by byte
    #[arg(long, default_value = "0", value_parser = units::count, value_name = "N")]
    pub drips: u64,
    /// Time between two bytes
    #[arg(long, default_value = "1s", value_parser = units::duration, value_name = "TIME")]
    pub drip_every: Duration,
    /// They send the head of a POST at once, and its body byte by byte
    #[arg(long)]
    pub drip_body: bool,
    /// What they ask for [default: the path of the URL]
    #[arg(long, value_name = "PATH")]
    pub drip_path: Option<String>,
    /// Connections that ask and do not read the answers
    #[arg(long, default_value = "0", value_parser = units::count, value_name = "N")]
    pub never_readers: u64,
    /// How often each of them asks, all at once [default: for more than the kernel takes off the server]
    #[arg(long, value_parser = units::positive, value_name = "M")]
    pub ask: Option<u64>,
    /// What they ask for, best something big [default: the path of the URL]
    #[arg(long, value_name = "PATH")]
    pub ask_path: Option<String>,
    /// Who never reads sends a byte this often, to learn whether it is still heard
    #[arg(long, default_value = "5s", value_parser = units::duration, value_name = "TIME")]
    pub knock_every: Duration,
    /// Slow ones that the server has ended do not come back
    #[arg(long)]
    pub no_replace: bool,
}

/// A body too long to be dripped to its end.
const DRIPPED_BODY_BYTES: usize = 1 << 20;
/// Room for what is not read: about the least the kernel gives.
const UNREAD_BYTES: usize = 4096;
/// More than a sending buffer holds (`tcp_wmem`): with less the server would think that all was well.
const ASKED_BYTES: u64 = 6 << 20;
/// A head is hardly shorter.
const HEAD_BYTES_MIN: u64 = 100;
/// Longest time to wait for what the slow ones need to show in the server's memory.
const SHOW_TIME_MAX: Duration = Duration::from_secs(3);
/// Longest time to wait for the server to give memory back.
const REST_TIME_MAX: Duration = Duration::from_secs(6);
/// Memory that has not become less for so long rests.
const REST_TIME: Duration = Duration::from_millis(1500);

/// Memory at one moment, and how many slow ones were there then.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    server: Option<u64>,
    tcp: u64,
    standing: u64,
}

impl Slow {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn run(&self, progress: &mut Progress) -> Result<Report, String> {
        let mut ready = self.aim.ready("slow", false)?;
        let manners = self.manners(&ready)?;
        self.fits()?;
        let alone = self.load(&ready, "alone".to_string(), progress)?;
        let before = Level::at_rest(ready.server.as_ref(), progress);
        let crowds = self.gather(&ready, manners, progress);
        let beside = [Level::now(ready.server.as_ref(), standing(&crowds))];
        let name = format!("beside {} slow", beside[0].standing);
        let load = self.load(&ready, name, progress)?;
        let beside = [beside[0], Level::now(ready.server.as_ref(), standing(&crowds))];
        let stood = beside[0].standing.min(beside[1].standing);
        let mut ends = Vec::new();
        for (kind, crowd) in crowds {
            ends.push((kind, explain(crowd.leave())?));
        }
        let after = Level::at_rest(ready.server.as_ref(), progress);
        let report = &mut ready.report;
        report.facts.push(fact(
            "slow_standing",
            "slow ones that stood all the time",
            stood as f64,
            Unit::Count,
        ));
        report.facts.extend(ratios(&alone, &load));
        report.facts.extend(memory(before, most(beside), after));
        report.facts.extend(ends.iter().flat_map(|(kind, ends)| ends.facts(*kind)));
        report.remarks.extend(self.remarks(stood, &ends));
        report.loads.extend([alone, load]);
        Ok(ready.report)
    }

    fn fits(&self) -> Result<(), String> {
        let slow = self.who.drips + self.who.never_readers;
        if slow == 0 {
            return Err("nobody is slow; say how many: --drips 1000, --never-readers 100, or both".into());
        }
        self.size.fits()?;
        let limit = table::raise_limit();
        let all = slow + self.size.connections + crate::run::SPARE_DESCRIPTORS;
        if !table::can_be_private() && all > limit {
            return Err(format!(
                "{all} descriptors are needed, the limit is {limit} (ulimit -n), and threads cannot have \
                 tables of their own here"
            ));
        }
        Ok(())
    }

    /// What each kind does, and how many do it.
    fn manners(&self, ready: &Ready) -> Result<Vec<(Kind, u64, Manner)>, String> {
        let who = &self.who;
        let base = Manner {
            address: ready.target.address,
            script: Vec::new().into(),
            at_once: 0,
            every: who.drip_every,
            is_endless: false,
            reads: true,
            receive_bytes: None,
            timeout: self.aim.timeout,
            replaces: !who.no_replace,
        };
        let mut question = self.question(who.drip_path.as_deref())?;
        let mut at_once = 0;
        if who.drip_body {
            question.method = "POST".to_string();
            question.body = vec![b'x'; DRIPPED_BODY_BYTES];
            at_once = question.encode().len() - DRIPPED_BODY_BYTES;
        }
        let drip = Manner { script: question.encode().into(), at_once, ..base.clone() };
        let question = self.question(who.ask_path.as_deref())?;
        let times = who.ask.map_or_else(|| self.times_to_ask(ready, &question), Ok)?;
        let script = question.encode().repeat(times as usize);
        let never = Manner {
            at_once: script.len(),
            script: script.into(),
            every: who.knock_every,
            is_endless: true,
            reads: false,
            receive_bytes: Some(UNREAD_BYTES),
            ..base
        };
        let all = [(Kind::Drip, who.drips, drip), (Kind::NeverReader, who.never_readers, never)];
        Ok(all.into_iter().filter(|(_, count, _)| *count > 0).collect())
    }

    /// Often enough for answers that nobody reads to stop the server.
    fn times_to_ask(&self, ready: &Ready, question: &Question) -> Result<u64, String> {
        if self.who.never_readers == 0 {
            return Ok(1);
        }
        let target = Target::new(ready.target.address, question, Expected::default());
        let expected = preflight::learn(&target, Expected::default(), Check::Auto, self.aim.timeout)?;
        Ok(ASKED_BYTES.div_ceil(HEAD_BYTES_MIN + expected.length.unwrap_or(0)))
    }

    fn question(&self, path: Option<&str>) -> Result<Question, String> {
        let mut url = Url::parse(&self.aim.url)?;
        if let Some(path) = path {
            url.path = path.to_string();
        }
        self.aim.question(&url, false)
    }

    fn gather(
        &self,
        ready: &Ready,
        manners: Vec<(Kind, u64, Manner)>,
        progress: &mut Progress,
    ) -> Vec<(Kind, Crowd)> {
        let mut number = self.size.threads as u32;
        let mut crowds = Vec::new();
        for (kind, count, manner) in manners {
            let name = match kind {
                Kind::Drip => "drips",
                Kind::NeverReader => "never-readers",
            };
            crowds.push((
                kind,
                Crowd::start(name, &manner, count, |thread| ready.sources.of_thread(number + thread)),
            ));
            number += Crowd::threads_for(count) as u32;
        }
        crowds.iter().for_each(|(_, crowd)| crowd.gather(progress));
        // The last of them drips its first byte, and what nobody reads has filled its buffers.
        std::thread::sleep(self.who.drip_every.min(SHOW_TIME_MAX));
        crowds
    }

    fn load(&self, ready: &Ready, name: String, progress: &mut Progress) -> Result<Load, String> {
        let size = &self.size;
        let load = ready.plan(&name, &self.aim, size).run(progress, |duty| {
            let manner = closed::Manner {
                connections: share_of(size.connections, size.threads, duty.number),
                depth: 1,
                rate_max: Some(self.rate as f64 / size.threads as f64),
            };
            closed::drive(duty, manner)
        });
        explain(load)
    }

    fn remarks(&self, stood: u64, ends: &[(Kind, Ends)]) -> Vec<String> {
        let wanted = self.who.drips + self.who.never_readers;
        let mut remarks: Vec<String> = ends.iter().filter_map(|(_, ends)| ends.remark()).collect();
        if stood * 20 < wanted * 19 && !self.who.no_replace {
            remarks.push(format!("at times only {stood} of {wanted} slow ones were connected"));
        }
        remarks
    }
}

impl Level {
    fn now(server: Option<&Process>, standing: u64) -> Level {
        Level { server: server.and_then(Process::memory_bytes), tcp: machine::tcp_bytes(), standing }
    }

    /// Once the server has given back what it will: some do so only a while after they need it no more.
    fn at_rest(server: Option<&Process>, progress: &mut Progress) -> Level {
        let began = Instant::now();
        let (mut least, mut since) = (Level::now(server, 0), began);
        while since.elapsed() < REST_TIME && began.elapsed() < REST_TIME_MAX {
            let share = began.elapsed().as_secs_f64() / REST_TIME_MAX.as_secs_f64();
            progress.line("does the server give memory back?", share);
            std::thread::sleep(Duration::from_millis(100));
            let level = Level::now(server, 0);
            if level.server < least.server {
                since = Instant::now();
            }
            least.server = level.server.min(least.server);
            least.tcp = level.tcp.min(least.tcp);
        }
        least
    }
}

fn standing(crowds: &[(Kind, Crowd)]) -> u64 {
    crowds.iter().map(|(_, crowd)| crowd.standing().min(crowd.count())).sum()
}

fn fact(name: &'static str, label: &'static str, value: f64, unit: Unit) -> Fact {
    Fact { name, label, value, unit }
}

/// What the others notice.
fn ratios(alone: &Load, beside: &Load) -> Vec<Fact> {
    let of =
        |share: f64| beside.latency.quantile(share) as f64 / (alone.latency.quantile(share) as f64).max(1.0);
    vec![
        fact("rate_ratio", "rate beside them / alone", beside.rate / alone.rate.max(1e-9), Unit::Ratio),
        fact("p50_ratio", "p50 beside them / alone", of(0.5), Unit::Ratio),
        fact("p99_ratio", "p99 beside them / alone", of(0.99), Unit::Ratio),
        fact("p999_ratio", "p99.9 beside them / alone", of(0.999), Unit::Ratio),
    ]
}

/// The moment when the slow ones cost most.
fn most(moments: [Level; 2]) -> Level {
    moments.into_iter().max_by_key(|level| (level.server, level.tcp)).unwrap_or_default()
}

/// What the slow ones cost.
fn memory(before: Level, beside: Level, after: Level) -> Vec<Fact> {
    let each = |before: u64, now: u64| (now as f64 - before as f64) / beside.standing.max(1) as f64;
    let bytes = |name, label, value| fact(name, label, value, Unit::Bytes);
    let mut facts = Vec::new();
    if let (Some(before), Some(now), Some(after)) = (before.server, beside.server, after.server) {
        facts.extend([
            bytes("server_bytes_before", "server's memory before", before as f64),
            bytes("server_bytes_beside", "beside the slow ones", now as f64),
            bytes("server_bytes_after", "after they left", after as f64),
            bytes("bytes_per_slow_connection", "of it for each slow one", each(before, now)),
        ]);
    }
    let tcp = each(before.tcp, beside.tcp);
    facts.push(bytes("tcp_bytes_per_slow_connection", "kernel's buffers for each, both ends", tcp));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_one_costs_what_was_added_by_those_that_were_there() {
        let before = Level { server: Some(1_000_000), tcp: 0, standing: 0 };
        let many = Level { server: Some(3_000_000), tcp: 4_000_000, standing: 1000 };
        let few = Level { server: Some(1_500_000), tcp: 0, standing: 1 };
        let facts = memory(before, most([few, many]), before);
        let value = |name| facts.iter().find(|fact| fact.name == name).unwrap().value;
        assert_eq!(value("bytes_per_slow_connection"), 2_000.0);
        assert_eq!(value("tcp_bytes_per_slow_connection"), 4_000.0);
        assert_eq!(value("server_bytes_after"), 1_000_000.0);
    }
}
