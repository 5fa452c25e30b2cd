//! The question put to a machine: so many connections, with these settings.
//!
//! What was left open is decided here as the server would decide it, but for one thing: where more reactors
//! make room and nobody said how many there are to be, the doctor tries as many as it takes.

use crate::config::{Config, DescriptorTable};
use crate::server::budget::{
    IDLE_BYTES, IDLE_KERNEL_BYTES, Plan, REACTORS_MAX, Shortage, Tables, connections_by_memory, staff_asked,
};
use crate::server::host::Host;

use super::checks::threads;
use super::machine::Machine;

/// What is asked for when nobody says.
pub const ASKED_USUALLY: u32 = 1_000_000;
/// Room over what is asked for, one in so many, when the doctor chooses the reactors: connections do not
/// spread evenly, and one table is the first to be full.
const SPARE_ONE_IN: u64 = 20;
/// Threads that are neither reactors nor workers: the main one, the log's, the warden of the workers, and
/// what a substitute for a stuck worker or a library may need.
const THREADS_BESIDES: u64 = 8;

/// A machine and what it is to do.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The settings.
    pub config: &'a Config,
    /// Its limits once the soft one is raised, as the server does.
    pub host: Host,
    /// Connections asked for.
    pub asked: u64,
    /// Whether the other ends of the connections are on this machine too.
    pub with_client: bool,
    /// Who has a table of descriptors.
    pub tables: Tables,
    /// Reactor threads.
    pub reactors: u32,
}

impl<'a> Case<'a> {
    /// Decides what was left open.
    ///
    /// # Errors
    /// When the settings contradict the number, as they do for the server.
    pub fn new(machine: &'a Machine, config: &'a Config, with_client: bool) -> Result<Case<'a>, Shortage> {
        let asked = config.fixed.connections_max.unwrap_or(ASKED_USUALLY);
        let host = machine.host.raised();
        let tables = match config.fixed.descriptor_table {
            DescriptorTable::Auto | DescriptorTable::Private if machine.has_private_tables => Tables::Private,
            _ => Tables::Shared,
        };
        let reactors = config.fixed.reactors.unwrap_or(host.cpus.min(asked));
        if asked < reactors {
            return Err(Shortage::FewerThanReactors { asked, reactors });
        }
        let asked = u64::from(asked);
        let mut case = Case { machine, config, host, asked, with_client, tables, reactors };
        if config.fixed.reactors.is_none() {
            case.reactors = case.reactors_that_do();
        }
        Ok(case)
    }

    /// As many as there are CPUs; more where that makes room, and no more than there are threads for.
    fn reactors_that_do(&self) -> u32 {
        let usual = self.reactors;
        let by_memory = connections_by_memory(self.host.memory_available_bytes / self.ends());
        let asked_and_spare = self.asked + self.asked / SPARE_ONE_IN;
        let within_reach = asked_and_spare.min(by_memory);
        let by_descriptors = self.plan().connections_by_descriptors(usual, self.host.descriptors());
        if self.tables == Tables::Shared || by_descriptors >= within_reach.min(self.asked) {
            return usual;
        }
        let reactors =
            self.plan().reactors_for(within_reach).unwrap_or_else(|| self.reactors_that_hold_most());
        let threads = threads::room(self.machine).saturating_sub(self.other_threads());
        reactors.min(u32::try_from(threads).unwrap_or(u32::MAX)).max(usual)
    }

    /// Where no number of them is enough. Each has its share of every table, so more are not always better.
    fn reactors_that_hold_most(&self) -> u32 {
        let (plan, descriptors) = (self.plan(), self.host.descriptors());
        let holds = |reactors: u32| plan.connections_by_descriptors(reactors, descriptors);
        (1..=REACTORS_MAX).rev().max_by_key(|&reactors| holds(reactors)).unwrap_or(REACTORS_MAX)
    }

    /// The arithmetic of the start.
    pub(super) fn plan(&self) -> Plan<'_> {
        Plan { host: &self.host, config: self.config, tables: self.tables, reactors: self.reactors }
    }

    /// How many ends of each connection are here.
    pub fn ends(&self) -> u64 {
        1 + u64::from(self.with_client)
    }

    /// What an idle connection takes of this machine's memory.
    pub fn idle_bytes(&self) -> u64 {
        (IDLE_BYTES + IDLE_KERNEL_BYTES) * self.ends()
    }

    /// Threads it takes besides reactors.
    pub fn other_threads(&self) -> u64 {
        u64::from(staff_asked(&self.host, self.config).workers) + THREADS_BESIDES
    }

    /// Whether the number of reactors is one that the server would not choose by itself.
    pub fn needs_telling_reactors(&self) -> bool {
        self.reactors != self.host.cpus
    }
}
