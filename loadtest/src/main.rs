//! `myriapod-load`: drives HTTP/1.1 servers and measures them honestly.
//!
//! The way of a run: [`cli`] reads what is wanted and picks the mode; [`run`] asks the target ([`preflight`]);
//! [`conduct`] starts threads, each with a descriptor table ([`table`]) and connections ([`lot`]) of its own; a
//! mode ([`modes`]) decides what they do; what they count ([`tally`]) is added up into a [`report`], which is told.
//!
//! It shares nothing with the server it was made for: a twin of its protocol code would share its mistakes.

#![expect(dead_code, reason = "the modes that need the rest, and the telling of reports, come next")]

mod addresses;
mod alarm;
mod answer;
mod chunks;
mod cli;
mod conduct;
mod faults;
mod idle;
mod latency;
mod lot;
mod machine;
mod modes;
mod preflight;
mod process;
mod progress;
mod report;
mod run;
mod schedule;
mod scrape;
mod session;
mod socket;
#[cfg(test)]
mod stub;
mod table;
mod tally;
mod target;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::progress::Progress;

/// The load could not be run at all; 1 says that it ran and was found wanting.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut progress = Progress::new(cli.mode.output().quiet);
    let outcome = cli.mode.run(&mut progress);
    progress.clear();
    match outcome {
        Ok(report) => {
            let mut r = report;
            for l in &mut r.loads {
                println!(
                    "{} rate {:.0} n {} err {:?} p50 {} p99 {} max {} cpu {:?}",
                    l.name,
                    l.rate,
                    l.answers,
                    l.errors,
                    l.latency.quantile(0.5),
                    l.latency.quantile(0.99),
                    l.latency.max(),
                    l.server_cpu_seconds
                );
            }
            r.loads.clear();
            println!("{r:#?}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("myriapod-load: {message}");
            ExitCode::from(FAILED)
        }
    }
}
