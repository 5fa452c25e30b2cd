//! Letting servers be that fail their clients, or are much slower than the others, for a while.
//!
//! Promises that no more of an upstream's servers are out at once than its share allows: who ejects takes a
//! place in the upstream's [`Pool`] first. One may always be out, unless it is the only one. The last one
//! that is well is never ejected, whatever the share.

use std::sync::atomic::{AtomicU32, Ordering};

use super::vitals::{Change, Reason, Word};
use super::{Cluster, Endpoint, Member};
use crate::config::site::Ejection;

/// What the servers of one upstream have in common over reloads.
#[derive(Debug)]
pub(super) struct Pool {
    /// Small and dense, as of endpoints.
    pub(super) id: u32,
    /// Never given to another.
    pub(super) serial: u64,
    /// Servers that are ejected.
    out: AtomicU32,
}

impl Pool {
    pub(super) fn new(id: u32, serial: u64) -> Pool {
        Pool { id, serial, out: AtomicU32::new(0) }
    }

    /// Takes one of the places of those that are out.
    fn take(&self, bound: u32) -> bool {
        let more = |out| (out < bound).then_some(out + 1);
        self.out.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    pub(super) fn give_back(&self) {
        let before = self.out.fetch_sub(1, Ordering::AcqRel);
        debug_assert_ne!(before, 0, "a place was given back twice");
    }

    /// Servers that are ejected.
    pub(super) fn out(&self) -> u32 {
        self.out.load(Ordering::Relaxed)
    }
}

/// How many of so many servers may be out at once.
pub(super) fn bound(servers: usize, share_max_percent: u32) -> u32 {
    let share = servers as u64 * u64::from(share_max_percent.min(100)) / 100;
    if servers < 2 { 0 } else { share.max(1) as u32 }
}

/// Nobody is let be for longer at once, whatever its record, unless the first time is longer already.
const EJECTION_MS_MAX: u64 = 300_000;

/// Ejects a server, unless it is out already or too many are.
pub(super) fn eject(
    cluster: &Cluster,
    endpoint: &Endpoint,
    ejection: &Ejection,
    reason: Reason,
    now_ms: u64,
) -> Option<Change> {
    let vitals = &endpoint.vitals;
    let is_in = |word: Word| (!word.is_ejected).then_some(Word { is_ejected: true, ..word });
    is_in(vitals.word())?;
    // Without it, panic would send requests to servers that are known to be worse.
    let is_other = |member: &&Member| !std::ptr::eq(&*member.endpoint, endpoint) && member.weight > 0;
    if !cluster.members.iter().filter(is_other).any(|other| other.endpoint.vitals.is_well()) {
        return None;
    }
    if !endpoint.pool.take(bound(cluster.members.len(), ejection.share_max_percent)) {
        return None;
    }
    let (ms, repeats) = sentence(endpoint, ejection, now_ms);
    // Written before the bit that makes it count. Two who write at once write nearly the same.
    vitals.ejected_until_ms.store(now_ms + ms, Ordering::Relaxed);
    if vitals.change(is_in).is_none() {
        endpoint.pool.give_back();
        return None;
    }
    vitals.repeats.store(repeats, Ordering::Relaxed);
    vitals.ejections.fetch_add(1, Ordering::Relaxed);
    Some(Change::Ejected(reason, ms))
}

/// For how long, and the how manieth time it is. Each time it stayed in for as long as the first ejection
/// takes, one earlier time is forgiven.
fn sentence(endpoint: &Endpoint, ejection: &Ejection, now_ms: u64) -> (u64, u32) {
    let vitals = &endpoint.vitals;
    let base_ms = u64::from(ejection.ms.max(1));
    let good_ms = now_ms.saturating_sub(vitals.ejected_until_ms.load(Ordering::Relaxed));
    let forgiven = u32::try_from(good_ms / base_ms).unwrap_or(u32::MAX);
    let repeats = vitals.repeats.load(Ordering::Relaxed).saturating_sub(forgiven).saturating_add(1);
    ((base_ms * u64::from(repeats)).min(EJECTION_MS_MAX.max(base_ms)), repeats)
}

/// Brings a server back whose time is over. `None`: it is not, or somebody else did.
pub(super) fn bring_back(endpoint: &Endpoint, now_ms: u64) -> Option<Change> {
    if endpoint.vitals.is_ejected(now_ms) {
        return None;
    }
    endpoint.vitals.change(|word| word.is_ejected.then_some(Word { is_ejected: false, ..word }))?;
    endpoint.pool.give_back();
    Some(Change::Returned)
}

/// How long answers take, as one reactor sees it: a mean that forgets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    mean_us: u32,
    samples: u32,
}

impl Latency {
    /// Fewer say nothing.
    const SAMPLES_MIN: u32 = 20;
    /// How often a mean is held against those of the others: a median costs more than a sample.
    const SAMPLES_BETWEEN: u32 = 16;
    /// Differences below this are nobody's fault.
    const NOISE_US: u64 = 1_000;

    pub(super) fn add(&mut self, latency_us: u32) {
        self.samples = self.samples.saturating_add(1);
        let (mean, latency) = (i64::from(self.mean_us), i64::from(latency_us));
        // The first ones weigh more, or the mean would begin at 0.
        let weight = i64::from(self.samples.min(16));
        self.mean_us = (mean + (latency - mean) / weight) as u32;
    }

    pub(super) fn is_due(&self) -> bool {
        self.samples >= Latency::SAMPLES_MIN && self.samples.is_multiple_of(Latency::SAMPLES_BETWEEN)
    }

    /// Whether it is so many times slower than the median of these. Nobody is slower than nobody.
    pub(super) fn is_outlier(&self, others: &mut [u32], times: u32) -> bool {
        others.sort_unstable();
        // Of two in the middle the slower one: who is ejected must be slower than most.
        let Some(median) = others.get(others.len() / 2) else { return false };
        let limit = u64::from(*median) * u64::from(times);
        u64::from(self.mean_us) > limit.max(u64::from(*median) + Latency::NOISE_US)
    }

    /// The mean, where there is enough to say.
    pub(super) fn mean_us(&self) -> Option<u32> {
        (self.samples >= Latency::SAMPLES_MIN).then_some(self.mean_us)
    }
}

/// Whether a member counts among the others that one is held against.
pub(super) fn is_peer(member: &Member, place: usize, of: usize) -> bool {
    place != of && !member.endpoint.vitals.has_ejection()
}
