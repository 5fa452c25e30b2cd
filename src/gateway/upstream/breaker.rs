//! When a server is not asked at all, and how it is found out that it may be again.
//!
//! ```text
//!            failures in a row, or their share in the window
//!   closed ----------------------------------------------------> open <------+
//!      ^                                                           |          | a trial fails
//!      |                       a request comes after `open_ms`     v          |
//!      +------- `probes` trials succeed in a row ------------- half open -----+
//! ```
//! Half open, a trial is a permit in the shared word, so that all reactors together make no more than
//! `probes` at once. Who took a permit and never gave it back loses it after a while: then all permits of
//! that round are void and a new round begins.

use super::vitals::{BreakerState, Change, Reason, Vitals, Word};
use crate::config::site::{Breaker, Timeouts};

/// How a trial request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    Succeeded,
    Failed,
    /// Its client went before it could be seen.
    Abandoned,
}

/// What a breaker is told, with its limits in range.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    open_ms: u64,
    probes: u8,
    /// After this a permit is taken for lost: no head of an answer takes longer.
    permit_ms_max: u64,
}

impl Plan {
    pub(super) fn of(breaker: &Breaker, timeouts: &Timeouts) -> Plan {
        let trial_ms_max = u64::from(timeouts.connect_ms_max) + u64::from(timeouts.first_byte_ms_max);
        let open_ms = u64::from(breaker.open_ms);
        Plan {
            open_ms,
            probes: breaker.probes.clamp(1, Word::PROBES_MAX) as u8,
            permit_ms_max: open_ms.max(trial_ms_max),
        }
    }

    /// Whether a request may go there. Only a permit makes it sure.
    pub(super) fn lets_in(&self, word: Word, now_ms: u64) -> bool {
        match word.state {
            BreakerState::Closed => true,
            _ => self.with_permit(word, now_ms).is_some(),
        }
    }

    /// What the word becomes when one more trial begins.
    fn with_permit(&self, word: Word, now_ms: u64) -> Option<Word> {
        let age_ms = now_ms.saturating_sub(word.at_ms);
        let fresh = Word { state: BreakerState::HalfOpen, permits: 1, at_ms: now_ms, ..word };
        match word.state {
            BreakerState::Closed => None,
            BreakerState::Open => (age_ms >= self.open_ms).then(|| fresh.of_next_round()),
            BreakerState::HalfOpen if word.permits < self.probes => {
                Some(Word { permits: word.permits + 1, ..fresh })
            }
            BreakerState::HalfOpen => (age_ms >= self.permit_ms_max).then(|| fresh.of_next_round()),
        }
    }
}

impl Word {
    fn of_next_round(self) -> Word {
        Word { round: (self.round + 1) % 64, successes: 0, ..self }
    }
}

impl Vitals {
    /// Opens the breaker, if it is closed.
    pub(super) fn trip(&self, reason: Reason, now_ms: u64) -> Option<Change> {
        self.change(|word| {
            let is_closed = word.state == BreakerState::Closed;
            is_closed.then(|| opened(word, reason, now_ms))
        })?;
        self.set_breaker_since(now_ms);
        Some(Change::BreakerOpened(reason))
    }

    /// Begins a trial: the round it belongs to, and whether it is what opened the breaker by half.
    pub(super) fn take_permit(&self, plan: &Plan, now_ms: u64) -> Option<(u8, Option<Change>)> {
        let (before, after) = self.change(|word| plan.with_permit(word, now_ms))?;
        let opens = before.state == BreakerState::Open;
        if opens {
            self.set_breaker_since(now_ms);
        }
        Some((after.round, opens.then_some(Change::BreakerHalfOpened)))
    }

    /// Ends a trial of that round. Of an earlier round it says nothing.
    pub(super) fn end_trial(&self, round: u8, trial: Trial, plan: &Plan, now_ms: u64) -> Option<Change> {
        let (_, after) = self.change(|word| {
            let is_of_now = word.state == BreakerState::HalfOpen && word.round == round;
            is_of_now.then(|| after_trial(word, trial, plan, now_ms))
        })?;
        let change = match after.state {
            BreakerState::HalfOpen => return None,
            BreakerState::Open => Change::BreakerOpened(Reason::TrialFailed),
            BreakerState::Closed => Change::BreakerClosed,
        };
        self.set_breaker_since(now_ms);
        Some(change)
    }

    /// Closes a breaker that is not wanted any more.
    pub(super) fn abolish_breaker(&self, now_ms: u64) -> Option<Change> {
        self.change(|word| (word.state != BreakerState::Closed).then(|| closed(word)))?;
        self.set_breaker_since(now_ms);
        Some(Change::BreakerClosed)
    }
}

fn after_trial(word: Word, trial: Trial, plan: &Plan, now_ms: u64) -> Word {
    let permits = word.permits.saturating_sub(1);
    match trial {
        Trial::Failed => opened(word, Reason::TrialFailed, now_ms),
        Trial::Abandoned => Word { permits, ..word },
        Trial::Succeeded if word.successes + 1 >= plan.probes => closed(word),
        Trial::Succeeded => Word { permits, successes: word.successes + 1, ..word },
    }
}

fn opened(word: Word, reason: Reason, now_ms: u64) -> Word {
    let word = Word { state: BreakerState::Open, reason: Some(reason), permits: 0, at_ms: now_ms, ..word };
    word.of_next_round()
}

fn closed(word: Word) -> Word {
    Word { state: BreakerState::Closed, permits: 0, successes: 0, ..word }
}

/// What became of the requests of the last while, in eight pieces: a piece is forgotten at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    pieces: [Piece; Window::PIECES],
    /// The number of the newest piece since time began.
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    requests: u32,
    failures: u32,
}

impl Window {
    const PIECES: usize = 8;

    pub(super) fn add(&mut self, is_failure: bool, now_ms: u64, window_ms: u32) {
        let piece_ms = u64::from(window_ms).div_ceil(Window::PIECES as u64).max(1);
        let newest = (now_ms / piece_ms).max(self.newest);
        let gone = (newest - self.newest).min(Window::PIECES as u64);
        (0..gone).for_each(|back| self.pieces[Window::place(newest - back)] = Piece::default());
        self.newest = newest;
        let piece = &mut self.pieces[Window::place(newest)];
        piece.requests += 1;
        piece.failures += u32::from(is_failure);
    }

    /// Whether too many of enough requests failed.
    pub(super) fn is_bad(&self, requests_min: u32, share_percent: u32) -> bool {
        let sum = |count: fn(&Piece) -> u32| self.pieces.iter().map(|piece| u64::from(count(piece))).sum();
        let (requests, failures): (u64, u64) = (sum(|piece| piece.requests), sum(|piece| piece.failures));
        requests >= u64::from(requests_min) && failures * 100 >= requests * u64::from(share_percent)
    }

    fn place(number: u64) -> usize {
        (number % Window::PIECES as u64) as usize
    }
}

/// How many requests one reactor must have seen: its part of what all must have, but enough for a share to
/// say something.
pub(super) fn local_requests_min(requests_min: u32, reactors: u32) -> u32 {
    const LOCAL_MIN: u32 = 5;
    requests_min.div_ceil(reactors.max(1)).max(LOCAL_MIN.min(requests_min))
}
