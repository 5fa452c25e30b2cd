//! Connections that were counted when their first packet came, and never will be accepted.
//!
//! A scanner sends a SYN and no more; a client gives up; a packet that was lost comes twice. The kernel's
//! count knows nothing of that, so it drifts away from the truth, and a reactor seems busier than it is.
//! Nobody tells what was lost from what is still under way: a handshake, a client that has not said anything
//! yet. But what is under way comes and goes, and what is lost stays. So the reactor looks, whenever nobody
//! waits to be accepted, at how many are to come, and after a while the least of what it saw is lost,
//! if that was seen often. If it was not, there is a crowd, in which only much more than a crowd is known to
//! be lost: a mistake here would be a load that is off by as much, for as long as the crowd stays.
//!
//! Promise: never more is taken for lost than is to come. Whoever was written off and comes all the same
//! counts again at once.
//! No counts here but those it is told, and no clock.

use crate::base::clock::Tick;

/// How long it looks before it decides. Longer than a client without a word is held back by the kernel (one
/// second, see `--defer-accept`).
const WINDOW_MS: u32 = 2_000;
/// When it looks again although nothing happens: who sleeps is not told of what was counted meanwhile.
const PATIENCE_MS: u32 = 10_000;
/// The least is believed when it was seen at one of so many looks.
const LOOKS_PER_HIT: u64 = 4;
/// In a crowd, what exceeds this is lost all the same.
const CROWD: i64 = 64;

/// See the module.
///
/// Invariant: `lost <= coming`, as last told.
#[derive(Debug)]
pub(super) struct Drift {
    lost: i64,
    /// The least that was to come since `began`, and at how many looks of how many.
    least: i64,
    hits: u64,
    looks: u64,
    began: Tick,
    again_at: Tick,
}

impl Drift {
    pub(super) fn new() -> Drift {
        let never = Tick::default();
        Drift { lost: 0, least: 0, hits: 0, looks: 0, began: never, again_at: never }
    }

    /// So many are to come; how many of them are lost? Less than none if more came than were counted: those
    /// that the hash sent. `is_quiet`: nobody waits to be accepted.
    pub(super) fn look(&mut self, coming: i64, is_quiet: bool, now: Tick) -> i64 {
        self.lost = self.lost.min(coming);
        if is_quiet {
            self.note(coming, now);
        }
        self.again_at = match coming > self.lost {
            true => now.after_ms(WINDOW_MS),
            false => now.after_ms(PATIENCE_MS),
        };
        self.lost
    }

    /// Of those to come, as last looked at.
    pub(super) fn lost(&self) -> i64 {
        self.lost
    }

    /// When to look again even if nothing happens.
    pub(super) fn again_at(&self) -> Tick {
        self.again_at
    }

    fn note(&mut self, coming: i64, now: Tick) {
        if self.looks == 0 {
            (self.began, self.least) = (now, coming);
        }
        self.looks += 1;
        if coming < self.least {
            (self.least, self.hits) = (coming, 0);
        }
        self.hits += u64::from(coming == self.least);
        if now.since(self.began) >= WINDOW_MS / Tick::MS {
            self.decide();
            // The end of a window is the first look of the next.
            (self.began, self.least, self.hits, self.looks) = (now, coming, 1, 1);
        }
    }

    fn decide(&mut self) {
        let is_sure = self.hits * LOOKS_PER_HIT >= self.looks;
        let lost = if is_sure { self.least } else { self.least - CROWD };
        self.lost = self.lost.max(lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks each millisecond or so at what `coming` says of that moment, for so long.
    fn watched(drift: &mut Drift, from_ms: u32, for_ms: u32, coming: impl Fn(u32) -> i64) -> i64 {
        let mut lost = 0;
        for ms in from_ms..=from_ms + for_ms {
            lost = drift.look(coming(ms), true, Tick(ms / Tick::MS));
        }
        lost
    }

    #[test]
    fn what_stays_away_is_lost_after_a_while() {
        let mut drift = Drift::new();
        assert_eq!(watched(&mut drift, 0, 1_900, |_| 5), 0);
        assert_eq!(watched(&mut drift, 1_900, 200, |_| 5), 5);
    }

    #[test]
    fn the_first_look_decides_nothing() {
        let mut drift = Drift::new();
        assert_eq!(drift.look(5, true, Tick(123_456)), 0);
        assert_eq!(drift.look(5, true, Tick(123_556)), 0);
        assert_eq!(drift.look(5, true, Tick(123_656)), 5);
    }

    #[test]
    fn handshakes_under_way_are_not_lost() {
        let mut drift = Drift::new();
        assert_eq!(watched(&mut drift, 0, 20_000, |ms| i64::from(ms % 3)), 0);
        let mut drift = Drift::new();
        assert_eq!(watched(&mut drift, 0, 20_000, |ms| 7 + i64::from(ms % 3)), 7);
    }

    #[test]
    fn in_a_crowd_only_much_is_known_to_be_lost() {
        let mut drift = Drift::new();
        assert_eq!(watched(&mut drift, 0, 20_000, |ms| 20 + i64::from(ms % 50)), 0);
        assert_eq!(watched(&mut drift, 20_000, 20_000, |ms| 1_020 + i64::from(ms % 50)), 956);
    }

    #[test]
    fn who_was_written_off_and_comes_counts_again() {
        let mut drift = Drift::new();
        assert_eq!(watched(&mut drift, 0, 3_000, |_| 5), 5);
        assert_eq!(drift.look(4, false, Tick(301)), 4);
        assert_eq!(drift.look(9, true, Tick(302)), 4);
    }

    #[test]
    fn who_came_by_the_hash_is_not_owed() {
        let mut drift = Drift::new();
        assert_eq!(drift.look(-3, true, Tick(1)), -3);
        assert_eq!(drift.look(-2, true, Tick(2)), -3, "the next one may be under way");
        assert_eq!(watched(&mut drift, 30, 5_000, |_| -2), -2);
    }

    #[test]
    fn nobody_is_lost_while_others_wait_to_be_accepted() {
        let mut drift = Drift::new();
        for tick in 0..1_000 {
            assert_eq!(drift.look(50, false, Tick(tick)), 0);
        }
    }

    #[test]
    fn who_sleeps_wakes_soon_to_decide_and_seldom_to_look() {
        let mut drift = Drift::new();
        assert_eq!(drift.look(0, true, Tick(0)), 0);
        assert_eq!(drift.again_at(), Tick(1_000));
        assert_eq!(drift.look(3, true, Tick(1_000)), 0);
        assert_eq!(drift.again_at(), Tick(1_200));
        assert_eq!(drift.look(3, true, Tick(1_200)), 3);
        assert_eq!(drift.again_at(), Tick(2_200));
    }
}
