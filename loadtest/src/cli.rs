//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::engine::progress::Progress;
use crate::modes::churn::{self, Churn};
use crate::modes::closed::Closed;
use crate::modes::compare::Compare;
use crate::modes::hold::{self, Hold};
use crate::modes::open::Open;
use crate::modes::slow::{self, Slow};
use crate::modes::sweep;
use crate::report::{Known, Report, Unit};
use crate::units;
use crate::wire::preflight::Check;

/// Drives HTTP/1.1 servers and measures them honestly.
///
/// Every answer is checked. Latency in `open` counts from when a request was due, so a server that stalls
/// cannot hide it. Load goes to this host only, unless --allow-remote says otherwise.
#[derive(Debug, Parser)]
#[command(name = "myriapod-load", version, max_term_width = 100, arg_required_else_help = true)]
#[command(args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    pub mode: Mode,
}

/// What to do to the server.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Closed loop, as wrk: each connection asks again when answered; for peak throughput
    Closed(Closed),
    /// Many idle connections: memory and CPU time of each, and a probe beside them
    Hold(Hold),
    /// Open loop: requests are due by a schedule, and latency counts from then; for honest latency
    Open(Open),
    /// A connection for each request: connect, ask once, close
    Churn(Churn),
    /// Servers beside each other: interleaved blocks, ratios with confidence intervals, and a control
    Compare(Compare),
    /// Beside many that drip their requests or never read, is a normal load still served?
    Slow(Slow),
}

impl Mode {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn run(&self, progress: &mut Progress) -> Result<Report, String> {
        match self {
            Mode::Closed(closed) => closed.run(progress),
            Mode::Hold(hold) => hold.run(progress),
            Mode::Open(open) => open.run(progress),
            Mode::Churn(churn) => churn.run(progress),
            Mode::Compare(compare) => compare.run(progress),
            Mode::Slow(slow) => slow.run(progress),
        }
    }

    /// Single figures that its report has, for expectations.
    pub fn facts(&self) -> Vec<(&'static str, Unit)> {
        let known: &[Known] = match self {
            Mode::Churn(_) => &churn::FACTS,
            Mode::Hold(_) => &hold::FACTS,
            Mode::Slow(_) => &slow::FACTS,
            Mode::Open(open) if open.sweeping.sweep => &sweep::FACTS,
            Mode::Closed(_) | Mode::Open(_) | Mode::Compare(_) => &[],
        };
        known.iter().map(|known| (known.name, known.unit)).collect()
    }

    /// How what was found is told.
    pub fn output(&self) -> &Output {
        match self {
            Mode::Closed(closed) => &closed.output,
            Mode::Hold(hold) => &hold.output,
            Mode::Open(open) => &open.output,
            Mode::Churn(churn) => &churn.output,
            Mode::Compare(compare) => &compare.output,
            Mode::Slow(slow) => &slow.output,
        }
    }
}

/// Who is asked, and for what.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Request")]
pub struct Aim {
    /// `http://127.0.0.1:8080/path`; `:8080/path` is this host
    #[arg(value_name = "URL")]
    pub url: String,
    /// Method
    #[arg(short = 'X', long, default_value = "GET", value_name = "METHOD")]
    pub method: String,
    /// A field of the request; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Body of the request
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    pub body: Option<String>,
    /// Body of the request, from a file
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// Status of a right answer [default: that of the first one, if it is 2xx]
    #[arg(long, value_name = "STATUS")]
    pub status: Option<u16>,
    /// Bytes in the body of a right answer
    #[arg(long, value_name = "BYTES", value_parser = units::count)]
    pub length: Option<u64>,
    /// How closely answers are checked
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    pub check: Check,
    /// Longest wait for a connection or an answer
    #[arg(long, default_value = "10s", value_parser = units::span, value_name = "TIME")]
    pub timeout: Duration,
    /// Source addresses, used in turn [default: as many of 127.0.0.0/8 as are needed]
    #[arg(long, value_delimiter = ',', value_name = "ADDR,...")]
    pub source: Vec<IpAddr>,
    /// Let load leave this host: to machines of your own
    #[arg(long)]
    pub allow_remote: bool,
    /// Process of the server, whose CPU time and memory are read [default: who listens on the port]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

/// How large a load is, and for how long.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub struct Size {
    /// Threads
    #[arg(short, long, default_value = "1", value_parser = units::positive, value_name = "N")]
    pub threads: u64,
    /// Connections, over all threads
    #[arg(short, long, default_value = "64", value_parser = units::positive, value_name = "N")]
    pub connections: u64,
    /// Time measured
    #[arg(short, long, default_value = "10s", value_parser = units::span, value_name = "TIME")]
    pub duration: Duration,
    /// Time before it that is not measured
    #[arg(long, default_value = "1s", value_parser = units::duration, value_name = "TIME")]
    pub warm_up: Duration,
}

/// How what was found is told.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Report")]
pub struct Output {
    /// Write everything as JSON to FILE, or to standard output for `-`
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with plots to FILE
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write each plot as a file of its own to DIR
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Fail with exit code 1 unless this holds: `p99<2ms,errors=0`
    #[arg(long, value_name = "EXPECTATIONS")]
    pub expect: Vec<String>,
    /// No progress on the terminal
    #[arg(short, long)]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
