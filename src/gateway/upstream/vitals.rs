//! What all reactors know of one server: one word, written by compare-exchange.
//!
//! Not here: who comes to which verdict and why (`breaker`, `ejection`, the prober).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// See the module.
#[derive(Debug, Default)]
pub struct Vitals {
    /// A [`Word`]. All that a choice asks of a server that is well; written only when a verdict changes and
    /// while the breaker is half open.
    word: AtomicU64,
    /// When the breaker last changed its state. To be told, not to be decided by.
    breaker_since_ms: AtomicU64,
    /// When the last ejection ends or ended.
    pub(super) ejected_until_ms: AtomicU64,
    /// Ejections not yet forgiven, which make the next one longer.
    pub(super) repeats: AtomicU32,
    /// Ejections so far, so that reactors forget what they knew before.
    pub(super) ejections: AtomicU32,
    /// Good probes in a row, or bad ones below 0, offset by 2^31. One writer.
    probe_streak: AtomicU32,
    /// Requests under way from all reactors, where their number is limited.
    busy: AtomicU32,
}

/// Why a server is let be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// So many requests in a row failed.
    FailuresInRow,
    /// Too large a share of its requests failed.
    FailureShare,
    /// A trial request failed while the breaker was half open.
    TrialFailed,
    /// It takes much longer than the others.
    Slow,
}

impl Reason {
    const ALL: [Reason; 4] = [Reason::FailuresInRow, Reason::FailureShare, Reason::TrialFailed, Reason::Slow];

    /// A short name for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Reason::FailuresInRow => "failures_in_row",
            Reason::FailureShare => "failure_share",
            Reason::TrialFailed => "trial_failed",
            Reason::Slow => "slow",
        }
    }
}

/// What became of a server, to be logged by whoever made it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its breaker opened: it is not asked.
    BreakerOpened(Reason),
    /// Its breaker lets some requests through to see.
    BreakerHalfOpened,
    /// Its breaker closed: it is asked as ever.
    BreakerClosed,
    /// It is let be for so many milliseconds.
    Ejected(Reason, u64),
    /// Its ejection is over.
    Returned,
    /// Probes of our own failed too often.
    FellIll,
    /// Probes of our own succeeded often enough.
    Recovered,
}

impl Change {
    /// A short name for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Change::BreakerOpened(_) => "breaker_opened",
            Change::BreakerHalfOpened => "breaker_half_opened",
            Change::BreakerClosed => "breaker_closed",
            Change::Ejected(..) => "ejected",
            Change::Returned => "returned",
            Change::FellIll => "unhealthy",
            Change::Recovered => "healthy",
        }
    }

    /// Why, where there is more than one possible reason.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Change::BreakerOpened(reason) | Change::Ejected(reason, _) => Some(reason),
            _ => None,
        }
    }
}

/// Whether a breaker lets requests through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// All of them.
    #[default]
    Closed,
    /// None.
    Open,
    /// A few, to see.
    HalfOpen,
}

impl BreakerState {
    const ALL: [BreakerState; 3] = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen];

    /// A short name for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// A breaker, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerView {
    /// Its state.
    pub state: BreakerState,
    /// Why it last opened; `None`: it never did.
    pub reason: Option<Reason>,
    /// When it came to be so, in monotonic milliseconds; 0: it always was.
    pub since_ms: u64,
}

impl Vitals {
    /// The breaker's state, since when and why. Open breakers whose time is over stay open until somebody
    /// asks for the server.
    #[must_use]
    pub fn breaker(&self) -> BreakerView {
        let word = self.word();
        BreakerView {
            state: word.state,
            reason: word.reason,
            since_ms: self.breaker_since_ms.load(Ordering::Relaxed),
        }
    }

    /// Whether nothing speaks against asking it.
    #[must_use]
    pub fn is_available(&self, now_ms: u64) -> bool {
        self.breaker().state == BreakerState::Closed && !self.is_unwell() && !self.is_ejected(now_ms)
    }

    /// Whether it is let be for failing its clients.
    #[must_use]
    pub fn is_ejected(&self, now_ms: u64) -> bool {
        // Acquire: the time was written before the bit was.
        Word::from_bits(self.word.load(Ordering::Acquire)).is_ejected
            && now_ms < self.ejected_until_ms.load(Ordering::Relaxed)
    }

    /// Whether probes of our own found it unwell.
    #[must_use]
    pub fn is_unwell(&self) -> bool {
        self.word().is_unwell
    }

    /// Requests under way from all reactors; counted only where their number is limited.
    #[must_use]
    pub fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// How often it was ejected.
    #[must_use]
    pub fn ejections(&self) -> u32 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Tells how a probe of our own went; so many in a row bring the server back or take it out. To be
    /// called by one thread.
    pub fn note_probe(&self, is_good: bool, rise: u32, fall: u32) -> Option<Change> {
        const MIDDLE: i64 = 1 << 31;
        let before = i64::from(self.probe_streak.load(Ordering::Relaxed));
        // What was never written is 0, and means that nothing is known.
        let streak = if before == 0 { 0 } else { before - MIDDLE };
        let streak = if is_good { streak.max(0) + 1 } else { streak.min(0) - 1 };
        let kept = streak.clamp(1 - MIDDLE, MIDDLE - 1);
        self.probe_streak.store((kept + MIDDLE) as u32, Ordering::Relaxed);
        let is_unwell = self.word().is_unwell;
        let turns = match is_good {
            true => is_unwell && streak >= i64::from(rise),
            false => !is_unwell && -streak >= i64::from(fall),
        };
        if !turns {
            return None;
        }
        self.change(|word| Some(Word { is_unwell: !is_good, ..word }))?;
        Some(if is_good { Change::Recovered } else { Change::FellIll })
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Relaxed))
    }

    /// Whether nothing whatever is to be said against it: the question of every choice.
    #[inline]
    pub(super) fn is_well(&self) -> bool {
        self.word.load(Ordering::Relaxed) & Word::TROUBLE == 0
    }

    pub(super) fn has_ejection(&self) -> bool {
        self.word().is_ejected
    }

    #[inline]
    pub(super) fn add_busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn take_busy(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// Changes the word, unless somebody else made the change superfluous: before and after.
    pub(super) fn change(&self, make: impl Fn(Word) -> Option<Word>) -> Option<(Word, Word)> {
        let to = |bits| make(Word::from_bits(bits)).map(Word::bits);
        // Release: what belongs to the verdict was written before it.
        let before = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, to).ok()?;
        let before = Word::from_bits(before);
        make(before).map(|after| (before, after))
    }

    pub(super) fn set_breaker_since(&self, now_ms: u64) {
        self.breaker_since_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// All verdicts on a server, in 64 bits.
///
/// Invariant: permits and successes are 0 unless the breaker is half open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) state: BreakerState,
    pub(super) is_ejected: bool,
    pub(super) is_unwell: bool,
    /// Why the breaker last opened.
    pub(super) reason: Option<Reason>,
    /// Trial requests under way.
    pub(super) permits: u8,
    /// Trial requests that succeeded in a row.
    pub(super) successes: u8,
    /// Counts openings and lots of permits, modulo 64: what belongs to an earlier one says nothing.
    pub(super) round: u8,
    /// When the breaker opened; half open: when it last gave a permit. 39 bits: 17 years of milliseconds.
    pub(super) at_ms: u64,
}

impl Word {
    /// Trial requests at once, whatever is asked for: six bits.
    pub(super) const PROBES_MAX: u32 = 63;

    const STATE: u64 = 0b11;
    const EJECTED: u64 = 1 << 2;
    const UNWELL: u64 = 1 << 3;
    /// What makes a choice look twice.
    const TROUBLE: u64 = Self::STATE | Self::EJECTED | Self::UNWELL;
    const REASON_AT: u32 = 4;
    const PERMITS_AT: u32 = 7;
    const SUCCESSES_AT: u32 = 13;
    const ROUND_AT: u32 = 19;
    const TIME_AT: u32 = 25;
    const SIX: u64 = 0b11_1111;
    const TIME_MAX: u64 = (1 << 39) - 1;

    pub(super) fn from_bits(bits: u64) -> Word {
        let six = |at: u32| (bits >> at & Self::SIX) as u8;
        let reason = (bits >> Self::REASON_AT & 0b111) as usize;
        Word {
            state: BreakerState::ALL[(bits & Self::STATE) as usize],
            is_ejected: bits & Self::EJECTED != 0,
            is_unwell: bits & Self::UNWELL != 0,
            reason: reason.checked_sub(1).map(|place| Reason::ALL[place]),
            permits: six(Self::PERMITS_AT),
            successes: six(Self::SUCCESSES_AT),
            round: six(Self::ROUND_AT),
            at_ms: bits >> Self::TIME_AT,
        }
    }

    pub(super) fn bits(self) -> u64 {
        debug_assert!(self.state == BreakerState::HalfOpen || (self.permits, self.successes) == (0, 0));
        let reason = self.reason.map_or(0, |reason| reason as u64 + 1);
        self.state as u64
            | u64::from(self.is_ejected) << 2
            | u64::from(self.is_unwell) << 3
            | reason << Self::REASON_AT
            | (u64::from(self.permits) & Self::SIX) << Self::PERMITS_AT
            | (u64::from(self.successes) & Self::SIX) << Self::SUCCESSES_AT
            | (u64::from(self.round) & Self::SIX) << Self::ROUND_AT
            | self.at_ms.min(Self::TIME_MAX) << Self::TIME_AT
    }
}

const _: () = assert!(Word::TIME_AT + 39 == 64);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_server_nobody_complained_about_is_well() {
        let vitals = Vitals::default();
        assert!(vitals.is_well() && !vitals.is_unwell() && !vitals.is_ejected(0));
        let expected = BreakerView { state: BreakerState::Closed, reason: None, since_ms: 0 };
        assert_eq!(vitals.breaker(), expected);
    }

    #[test]
    fn probes_take_a_server_out_and_bring_it_back_by_so_many_in_a_row() {
        let vitals = Vitals::default();
        let mut probe = |is_good| vitals.note_probe(is_good, 2, 3);
        assert_eq!([false, false, true, false, false].map(&mut probe), [None; 5]);
        assert_eq!(probe(false), Some(Change::FellIll));
        assert_eq!([false, true, false, true].map(&mut probe), [None; 4]);
        assert_eq!(probe(true), Some(Change::Recovered));
        assert_eq!([true, false, false].map(&mut probe), [None; 3]);
        assert_eq!(probe(false), Some(Change::FellIll));
        assert!(!vitals.is_well() && vitals.is_unwell());
    }

    fn words() -> impl Strategy<Value = Word> {
        let flags = (0..3usize, any::<bool>(), any::<bool>(), 0..5usize);
        (flags, 0..64u8, 0..64u8, 0..64u8, 0..=Word::TIME_MAX).prop_map(
            |((state, is_ejected, is_unwell, reason), permits, successes, round, at_ms)| {
                let state = BreakerState::ALL[state];
                let is_half = state == BreakerState::HalfOpen;
                Word {
                    state,
                    is_ejected,
                    is_unwell,
                    reason: reason.checked_sub(1).map(|place| Reason::ALL[place]),
                    permits: if is_half { permits } else { 0 },
                    successes: if is_half { successes } else { 0 },
                    round,
                    at_ms,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_word_says_what_was_put_in(word in words()) {
            prop_assert_eq!(Word::from_bits(word.bits()), word);
            let is_well = word.bits() & Word::TROUBLE == 0;
            let expected = word.state == BreakerState::Closed && !word.is_ejected && !word.is_unwell;
            prop_assert_eq!(is_well, expected);
        }
    }
}
