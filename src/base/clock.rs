//! One look at the time per turn, shared by everything that happens in it.
//!
//! Monotonic time drives every deadline; the wall clock is only for `Date` and logs, so a clock that is set
//! does not time anybody out.

use std::cell::Cell;
use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A moment in steps of [`Tick::MS`] of the machine's monotonic clock.
///
/// Wraps after 497 days; moments are compared by their distance, so that wrapping is harmless as long as no
/// deadline is more than 248 days away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(pub u32);

impl Tick {
    /// Milliseconds in one tick.
    pub const MS: u32 = 10;

    /// The first tick that is not before `ms` milliseconds from now.
    #[must_use]
    pub fn after_ms(self, ms: u32) -> Tick {
        self + ms.div_ceil(Tick::MS)
    }

    /// Whether this moment is at or behind `due`.
    #[must_use]
    pub fn has_reached(self, due: Tick) -> bool {
        self.0.wrapping_sub(due.0) as i32 >= 0
    }

    /// Ticks from `earlier` to here; 0 when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Tick) -> u32 {
        (self.0.wrapping_sub(earlier.0) as i32).max(0) as u32
    }
}

impl Add<u32> for Tick {
    type Output = Tick;

    fn add(self, ticks: u32) -> Tick {
        Tick(self.0.wrapping_add(ticks))
    }
}

/// A moment of the machine's monotonic clock by which something is due, or none.
///
/// The same for all threads, unlike a [`Tick`], and asked by those who have no turn: handlers on workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(u64);

impl Deadline {
    /// It is never due.
    pub const NEVER: Deadline = Deadline(u64::MAX);

    /// Due at this moment, in nanoseconds as [`Clock::now_ns`] has them.
    #[must_use]
    pub fn at_ns(ns: u64) -> Deadline {
        Deadline(ns)
    }

    /// Due so long from now.
    #[must_use]
    pub fn within(span: Duration) -> Deadline {
        let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Deadline(monotonic_ns().saturating_add(span_ns))
    }

    /// How long there is left; [`Duration::MAX`] when it is never due.
    #[must_use]
    pub fn remaining(self) -> Duration {
        match self {
            Deadline::NEVER => Duration::MAX,
            Deadline(ns) => Duration::from_nanos(ns.saturating_sub(monotonic_ns())),
        }
    }

    /// The moment, in nanoseconds.
    #[must_use]
    pub fn ns(self) -> u64 {
        self.0
    }
}

/// The time of this turn, and the only place that asks for it.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    now_ns: u64,
    seen_ns: Cell<u64>,
}

#[derive(Debug)]
enum Source {
    Machine {
        wall_next_ns: u64,
        wall_seconds: u64,
    },
    /// Simulated: moves only when told to.
    Script {
        ns: u64,
    },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn of_machine() -> Clock {
        let source = Source::Machine { wall_next_ns: 0, wall_seconds: 0 };
        Clock { source, now_ns: 0, seen_ns: Cell::new(0) }
    }

    /// A clock that stands still until [`advance_ms`](Clock::advance_ms), for simulations.
    #[must_use]
    pub fn scripted() -> Clock {
        Clock { source: Source::Script { ns: 0 }, now_ns: 0, seen_ns: Cell::new(0) }
    }

    /// Moves a scripted clock. The machine's clock moves by itself.
    pub fn advance_ms(&mut self, ms: u64) {
        if let Source::Script { ns } = &mut self.source {
            *ns += ms * 1_000_000;
        }
    }

    /// Looks at the time: once at the start of a turn.
    pub fn tick(&mut self) {
        self.now_ns = self.precise_ns();
    }

    /// The moment of the last [`tick`](Clock::tick), in nanoseconds of the machine's monotonic clock.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The moment of the last [`tick`](Clock::tick).
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick((self.now_ns / (u64::from(Tick::MS) * 1_000_000)) as u32)
    }

    /// The first tick that is not before so many milliseconds from the last [`tick`](Clock::tick). Later by
    /// one than [`Tick::after_ms`] has it for most moments, which counts from the begin of a tick that is
    /// under way: for spans that are no longer than a few ticks.
    #[must_use]
    pub fn after_ms(&self, ms: u32) -> Tick {
        let due_ns = self.now_ns + u64::from(ms) * 1_000_000;
        Tick(due_ns.div_ceil(u64::from(Tick::MS) * 1_000_000) as u32)
    }

    /// Looks again, for measuring how long something took.
    #[must_use]
    pub fn precise_ns(&self) -> u64 {
        let ns = match &self.source {
            Source::Machine { .. } => monotonic_ns(),
            Source::Script { ns } => *ns,
        };
        self.seen_ns.set(ns);
        ns
    }

    /// The moment of the last look of either kind, for who can do without one of his own.
    #[must_use]
    pub fn seen_ns(&self) -> u64 {
        self.seen_ns.get()
    }

    /// The wall clock's seconds since 1970 when they have changed since the last call.
    ///
    /// Asks the system only when the second is due to turn, so most calls are one comparison.
    pub fn second_turned(&mut self) -> Option<u64> {
        match &mut self.source {
            Source::Script { ns } => Some(*ns / 1_000_000_000),
            Source::Machine { wall_next_ns, .. } if self.now_ns < *wall_next_ns => None,
            Source::Machine { wall_next_ns, wall_seconds, .. } => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                *wall_next_ns = self.now_ns + 1_000_000_000 - u64::from(wall.subsec_nanos());
                let turned = *wall_seconds != wall.as_secs();
                *wall_seconds = wall.as_secs();
                turned.then_some(*wall_seconds)
            }
        }
    }
}

/// Nanoseconds of the machine's monotonic clock. Bare, since every drive asks.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_survive_the_wrap() {
        let before = Tick(u32::MAX - 5);
        let due = before.after_ms(200);
        assert_eq!(due.0, 14);
        assert!(!before.has_reached(due));
        assert!(due.has_reached(due));
        assert!((due + 1).has_reached(due));
        assert_eq!(due.since(before), 20);
        assert_eq!(before.since(due), 0);
    }

    #[test]
    fn a_deadline_is_never_early() {
        assert_eq!(Tick(0).after_ms(1), Tick(1));
        assert_eq!(Tick(0).after_ms(10), Tick(1));
        assert_eq!(Tick(0).after_ms(11), Tick(2));
    }

    #[test]
    fn a_scripted_clock_moves_only_when_told() {
        let mut clock = Clock::scripted();
        clock.tick();
        assert_eq!(clock.now(), Tick(0));
        clock.advance_ms(1_500);
        assert_eq!(clock.now(), Tick(0), "until the next tick");
        clock.tick();
        assert_eq!(clock.now(), Tick(150));
        assert_eq!(clock.second_turned(), Some(1));
    }

    #[test]
    fn a_span_is_counted_from_within_the_tick() {
        let mut clock = Clock::scripted();
        clock.advance_ms(19);
        clock.tick();
        assert_eq!((clock.now().after_ms(10), clock.after_ms(10)), (Tick(2), Tick(3)));
        assert_eq!((clock.after_ms(1), clock.after_ms(2)), (Tick(2), Tick(3)));
    }

    #[test]
    fn the_second_is_told_once() {
        let mut clock = Clock::of_machine();
        clock.tick();
        assert!(clock.second_turned().is_some());
        assert_eq!(clock.second_turned(), None);
    }
}
