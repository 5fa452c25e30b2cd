//! Servers beside each other, measured so that a difference of two percent means something.
//!
//! Each server is started from a command, anew for each measurement, so that the luck of one memory layout
//! averages out. A block measures every server once, in random order, and the first one twice: its second
//! self is the control. Ratios are taken within a block, so that what changes slowly on the machine cancels
//! out. Where the control differs from the first server by more than the bound, the figures of that case are
//! not valid, and the report says so.
//!
//! [`plan`] says what is wanted, [`contest`] runs the blocks, [`crowd`] holds idle connections, [`verdict`]
//! makes ratios of samples.

mod contest;
mod crowd;
mod plan;
mod stats;
mod verdict;

use std::path::PathBuf;

use clap::Args;

use crate::cli::Output;
use crate::engine::progress::Progress;
use crate::host::launch::Recipe;
use crate::report::Report;
use contest::Contest;
use plan::{Ask, Plan, Settings, Written};

/// The flags of `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// A server and the shell command that starts it on `{port}`; `{dir}` is a scratch folder; may be given
    /// again
    ///
    /// The first one is what the others are divided by. Write `exec` before a command that has more to it
    /// than a program and its arguments, so that no shell stays beside the server.
    #[arg(long = "server", value_name = "NAME=COMMAND", value_parser = Recipe::parse)]
    servers: Vec<Recipe>,
    /// Servers, cases and settings from a TOML file
    #[arg(long, value_name = "FILE", conflicts_with = "servers")]
    plan: Option<PathBuf>,
    /// Of the plan's servers only these
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', requires = "plan")]
    only: Vec<String>,
    #[command(flatten)]
    ask: Ask,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    pub output: Output,
}

impl Compare {
    /// Runs it.
    ///
    /// # Errors
    /// Why it could not, for people.
    pub fn run(&self, progress: &mut Progress) -> Result<Report, String> {
        let plan = self.plan()?;
        let mut contest = Contest::new(&plan)?;
        contest.run(progress)?;
        Ok(contest.report())
    }

    fn plan(&self) -> Result<Plan, String> {
        let settings = self.settings.clone();
        let Some(path) = &self.plan else {
            return Plan::resolve(self.servers.clone(), vec![self.ask.clone()], settings, &[]);
        };
        if self.ask != Ask::default() {
            return Err("what is asked for says the plan; --path, -c and the like go with --server".into());
        }
        let written = Written::read(path)?;
        let recipes = written.recipes();
        Plan::resolve(recipes, written.cases, settings.or(written.settings), &self.only)
    }
}
