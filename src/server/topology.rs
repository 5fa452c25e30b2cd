//! Which thread on which core.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::config::Pin;
use crate::server::start_error::StartError;

/// The CPU of each reactor, in order; empty when they are not pinned.
pub(super) fn cpus_for(pin: &Pin, reactors: u32) -> Result<Vec<u32>, StartError> {
    let available = available();
    let chosen = match pin {
        Pin::Off => return Ok(Vec::new()),
        Pin::Auto => available,
        Pin::List(cpus) => match cpus.iter().find(|cpu| !available.contains(cpu)) {
            Some(cpu) => return Err(StartError::Pin { cpu: *cpu, error: io::ErrorKind::NotFound.into() }),
            None => cpus.clone(),
        },
    };
    Ok(chosen.iter().copied().cycle().take(reactors as usize).collect())
}

/// Keeps the calling thread on one CPU.
pub(super) fn pin(cpu: u32) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu as usize);
    Ok(sched_setaffinity(None, &set)?)
}

/// The CPUs that the process may use.
fn available() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).map(|cpu| cpu as u32).collect()
}

/// Has the calling thread work in slices of a tenth of a millisecond, and a little less than its share: a
/// reactor that wakes on its CPU does not wait for the end of the usual three. Kernels before 6.12 have one
/// slice for all, and then niceness is all there is. Not `SCHED_IDLE`: on a machine that is busy all over, a
/// reload took more than ten seconds.
pub(super) fn give_way() {
    let wish = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        nice: 5,
        runtime_ns: 100_000,
        ..Attributes::default()
    };
    // SAFETY: `wish` has the layout of the first version of `sched_attr`, says its size, and lives through
    // the call, which reads it; 0 is the calling thread.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wish, 0) };
}

/// `sched_attr` of the kernel's `sched/types.h`, its first version.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Of an ordinary thread: its slice.
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

const _: () = assert!(size_of::<Attributes>() == 48);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reactors_take_the_cpus_in_turn() {
        let all = available();
        let got = cpus_for(&Pin::Auto, all.len() as u32 + 1).unwrap();
        assert_eq!(got[..all.len()], all);
        assert_eq!(got[all.len()], all[0]);
        assert_eq!(cpus_for(&Pin::Off, 4).unwrap(), [0u32; 0]);
        assert!(matches!(cpus_for(&Pin::List(vec![1000]), 1), Err(StartError::Pin { cpu: 1000, .. })));
    }
}
