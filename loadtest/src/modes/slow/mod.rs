//! A normal load, measured alone and then beside many that are slow on purpose: those that drip their
//! requests byte by byte, and those that ask for much and never read it.
//!
//! What it tells: whether the others notice, how the slow ones are ended and after how long, and what each
//! costs the server. Slow ones that are ended come back, as an attacker's would.

mod crowd;
mod ends;
mod facts;
mod flock;

use std::time::{Duration, Instant};

use clap::Args;

use self::crowd::Crowd;
use self::ends::Kind;
pub use self::facts::FACTS;
use self::facts::Level;
use self::flock::Manner;
use super::open;
use crate::cli::{Aim, Output, Size};
use crate::engine::progress::Progress;
use crate::engine::schedule::{Arrivals, Pace};
use crate::engine::table;
use crate::host::process::Process;
use crate::report::{Load, Report};
use crate::run::{Ready, explain, share_of};
use crate::units;
use crate::wire::answer::Expected;
use crate::wire::preflight::{self, Check};
use crate::wire::target::{Question, Target, Url};

/// The flags of `slow`.
#[derive(Debug, Args)]
pub struct Slow {
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub size: Size,
    /// Requests per second of the normal load
    #[arg(short = 'R', long, default_value = "1000", value_parser = units::positive, value_name = "RATE")]
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
    #[arg(long, default_value = "1s", value_parser = units::span, value_name = "TIME")]
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
    #[arg(long, default_value = "5s", value_parser = units::span, value_name = "TIME")]
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

impl Slow {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn run(&self, progress: &mut Progress) -> Result<Report, String> {
        let mut ready = self.aim.ready("slow", false)?;
        let manners = self.manners(&ready)?;
        self.fits()?;
        let alone = self.load(&ready, "alone", progress)?;
        let server = ready.server.clone();
        let before = at_rest(server.as_ref(), progress);
        let crowds = self.gather(&ready, manners, progress);
        let early = Level::now(server.as_ref(), standing(&crowds));
        let beside = self.load(&ready, "beside", progress)?;
        let late = Level::now(server.as_ref(), standing(&crowds));
        let mut ends = Vec::new();
        for (kind, crowd) in crowds {
            ends.push((kind, explain(crowd.leave())?));
        }
        let after = at_rest(server.as_ref(), progress);
        let report = &mut ready.report;
        report.fact(&FACTS, "slow_standing", early.standing.min(late.standing) as f64);
        facts::tell_ratios(&alone, &beside, report);
        facts::tell_memory(before, early.most(late), after, report);
        ends.iter().for_each(|(kind, ends)| ends.tell(*kind, report));
        // Beside the slow ones a server that does not keep up is what was to be found out.
        report.invalid.extend(open::shortfall(&alone));
        report.remarks.extend(open::shortfall(&beside));
        report.remarks.extend([&alone, &beside].into_iter().flat_map(open::own_limits));
        report.remarks.extend(ends.iter().filter_map(|(_, ends)| ends.remark()));
        report.loads.extend([alone, beside]);
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

    fn load(&self, ready: &Ready, name: &str, progress: &mut Progress) -> Result<Load, String> {
        let (size, rate) = (&self.size, self.rate as f64);
        let mut plan = ready.plan(name, &self.aim, size);
        plan.rate_wanted = Some(rate);
        let threads = size.threads as u32;
        let pace = Pace { rate, arrivals: Arrivals::Constant, seed: 1, threads };
        let timeout_ns = self.aim.timeout.as_nanos() as u64;
        explain(plan.run(progress, |duty| {
            let connections = share_of(size.connections, size.threads, duty.number);
            open::drive(duty, open::Manner { connections, pace, timeout_ns })
        }))
    }
}

/// Memory once the server has given back what it will: some do so only a while after they need it no more.
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
        least = least.least(level);
    }
    least
}

fn standing(crowds: &[(Kind, Crowd)]) -> u64 {
    crowds.iter().map(|(_, crowd)| crowd.standing().min(crowd.count())).sum()
}
