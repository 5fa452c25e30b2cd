//! How many connections a host can hold, which limit binds first, and what lifts it: `myriapod doctor`.
//!
//! ```text
//!   read, probe ---> Machine ---> Case ---> checks ---> Report ---> page | json
//!   (/proc, /sys)    (values)     (asked)   (verdicts)
//! ```
//! Verdicts are pure decisions over a [`Machine`], which may be made up, and rest on the arithmetic of the
//! [budget](super::budget), so that the doctor and the start agree.
//! It changes nothing: `scripts/tune.sh` does, by the report.

pub mod case;
pub mod check;
mod checks;
mod json;
pub mod machine;
mod page;
mod probe;
mod read;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::config::Config;
use crate::server::budget::{Shortage, Tables};

use case::Case;
use check::{Check, Verdict};
use machine::Machine;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Connections asked for.
    pub asked: u64,
    /// Connections the host can hold.
    pub possible: u64,
    /// The limit that is met first.
    pub first_limit: String,
    /// The reactors that takes.
    pub reactors: u32,
    /// Who has a table of descriptors.
    pub tables: Tables,
    /// Whether that many reactors have to be asked for.
    pub needs_telling_reactors: bool,
    /// Whether the other ends of the connections are reckoned with.
    pub with_client: bool,
    /// The verdicts.
    pub checks: Vec<Check>,
}

impl Report {
    /// Looks at a machine.
    ///
    /// # Errors
    /// When the settings contradict each other, as they do for the server.
    pub fn new(machine: &Machine, config: &Config, with_client: bool) -> Result<Report, Shortage> {
        let case = Case::new(machine, config, with_client)?;
        let checks = checks::all(&case);
        let bounds = checks.iter().filter_map(|check| Some((check.holds?, check.name.as_str())));
        let by_design = (case.plan().connections_by_index(), "the width of a connection's index");
        let (possible, first_limit) = bounds.fold(by_design, |least, bound| match bound.0 < least.0 {
            true => bound,
            false => least,
        });
        Ok(Report {
            asked: case.asked,
            possible,
            first_limit: first_limit.to_owned(),
            reactors: case.reactors,
            tables: case.tables,
            needs_telling_reactors: case.needs_telling_reactors(),
            with_client,
            checks,
        })
    }

    /// Whether the number asked for can be held.
    #[must_use]
    pub fn fits(&self) -> bool {
        let fits = self.possible >= self.asked;
        debug_assert_eq!(fits, self.checks.iter().all(|check| check.verdict != Verdict::Binds));
        fits
    }

    /// For people: the sum, a table, and what is to be done.
    #[must_use]
    pub fn page(&self) -> String {
        page::page(self)
    }

    /// For scripts: one object, over several lines.
    #[must_use]
    pub fn json(&self) -> String {
        json::json(self)
    }
}

/// This host, or another by a copy of its files.
#[must_use]
pub fn look(root: &Path) -> Machine {
    match root == Path::new("/") {
        true => probe::here(),
        false => read::machine(root),
    }
}
