//! Connect, ask once, close: what a server does for clients that come for one answer.
//!
//! With `--rate` the connections are due by a schedule and latency counts from then, connecting included;
//! without, so many are kept under way, as `ab` does without `-k`. Who closes is said by `--end`: whoever
//! closes first keeps the port pair for a minute (TIME_WAIT), so source addresses take turns.

pub mod rush;

use std::sync::{Mutex, PoisonError};

use clap::Args;

use crate::cli::{Aim, Output, Size};
use crate::engine::faults::Fault;
use crate::engine::latency::Latency;
use crate::engine::progress::Progress;
use crate::host::machine::{self, Tcp};
use crate::modes::churn::rush::{Manner, drive};
use crate::modes::open::{Timing, own_limits, shortfall};
use crate::report::{Known, Load, Report, Unit};
use crate::run::{Ready, explain, share_of};

/// What its report tells besides its load.
pub const FACTS: [Known; 4] = [
    Known::new("connect_p50", "connecting alone, p50", Unit::Nanoseconds),
    Known::new("connect_p99", "connecting alone, p99", Unit::Nanoseconds),
    Known::new("connect_max", "connecting alone, max", Unit::Nanoseconds),
    Known::new("time_wait", "TIME_WAIT on this host, after", Unit::Count),
];

/// The flags of `churn`.
#[derive(Clone, Debug, Args)]
pub struct Churn {
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub size: Size,
    #[command(flatten)]
    pub timing: Timing,
    /// Who closes a connection that was answered
    #[arg(long, value_enum, default_value = "server", value_name = "WHO", help_heading = "Load")]
    pub end: End,
    #[command(flatten)]
    pub output: Output,
}

/// Who closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum End {
    /// The server: it is asked to (`Connection: close`), and must
    Server,
    /// This side, in good order
    Client,
    /// This side, by a reset: no TIME_WAIT anywhere
    Reset,
}

impl Churn {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn run(&self, progress: &mut Progress) -> Result<Report, String> {
        let mut ready = self.aim.ready("churn", self.end == End::Server)?;
        self.size.fits()?;
        let before = machine::tcp();
        let (load, connect) = self.load(&ready, progress)?;
        let after = machine::tcp();
        let report = &mut ready.report;
        report.invalid.extend(shortfall(&load));
        report.remarks.extend(own_limits(&load));
        report.remarks.extend(limits_of_host(&load, before, after));
        for (name, share) in [("connect_p50", 0.5), ("connect_p99", 0.99), ("connect_max", 1.0)] {
            report.fact(&FACTS, name, connect.quantile(share) as f64);
        }
        report.fact(&FACTS, "time_wait", after.time_wait as f64);
        report.loads.push(load);
        Ok(ready.report)
    }

    fn load(&self, ready: &Ready, progress: &mut Progress) -> Result<(Load, Latency), String> {
        let size = &self.size;
        let mut plan = ready.plan("churn", &self.aim, size);
        let pace = self.timing.pace(size.threads);
        plan.rate_wanted = pace.map(|pace| pace.rate);
        let connect = Mutex::new(Latency::default());
        let load = plan.run(progress, |duty| {
            let connections = share_of(size.connections, size.threads, duty.number) as usize;
            let timeout_ns = self.aim.timeout.as_nanos() as u64;
            let own = drive(duty, Manner { connections, pace, timeout_ns, end: self.end })?;
            connect.lock().unwrap_or_else(PoisonError::into_inner).merge(&own);
            Ok(())
        });
        let mut load = explain(load)?;
        self.timing.want(&mut load);
        Ok((load, connect.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What this host ran out of, which no server can help.
fn limits_of_host(load: &Load, before: Tcp, after: Tcp) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(count) = load.errors.get(Fault::NoPort.label()) {
        remarks.push(format!(
            "{count} connections found no free port: widen net.ipv4.ip_local_port_range, or name more source \
             addresses (--source)"
        ));
    }
    let overflows = after.time_wait_overflows - before.time_wait_overflows;
    if overflows > 0 {
        remarks.push(format!(
            "{overflows} sockets of this host skipped TIME_WAIT: net.ipv4.tcp_max_tw_buckets was reached, and \
             closing was cheaper than it would be elsewhere"
        ));
    }
    let dropped = after.listen_drops - before.listen_drops;
    if dropped > 0 {
        remarks.push(format!(
            "{dropped} attempts to connect were dropped for want of room in a backlog (of this host): such \
             clients try again after a second"
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_ran_out_of_is_told() {
        let mut load = Load::default();
        let before = Tcp { time_wait: 0, time_wait_overflows: 5, listen_drops: 1 };
        assert_eq!(limits_of_host(&load, before, before), Vec::<String>::new());
        load.errors.insert("no_port", 7);
        let after = Tcp { time_wait: 131_072, time_wait_overflows: 6, listen_drops: 10 };
        let remarks = limits_of_host(&load, before, after);
        assert!(remarks[0].starts_with("7 conn") && remarks[1].starts_with("1 sock"));
        assert!(remarks[2].starts_with("9 attempts"));
    }
}
