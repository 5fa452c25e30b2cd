//! When which server is probed. Knows servers by number, no sockets, no clock.
//!
//! ```text
//!   add ---> waiting ---- due ----> away
//!               ^                    |
//!               '---- came back -----'     due again an interval after it left, a tenth more or less,
//!                                          and not before it is back
//! ```
//! Promises: a server has one probe under way at most; the first ones are spread over a second or the
//! interval, later ones drift apart, so that neither many servers nor many processes are probed at once.

use std::collections::BTreeSet;

use super::chance::Chance;

/// See the module.
///
/// Invariant: `dues` has an entry for exactly the slots that wait.
#[derive(Debug)]
pub(super) struct Schedule {
    slots: Vec<Option<Slot>>,
    /// When, and which slot.
    dues: BTreeSet<(u64, usize)>,
    chance: Chance,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    interval_ms: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { due_ms: u64 },
    Away { since_ms: u64 },
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Schedule {
        Schedule { slots: Vec::new(), dues: BTreeSet::new(), chance: Chance::of(seed) }
    }

    /// Takes a server up, under a number that is free.
    pub(super) fn add(&mut self, number: usize, interval_ms: u64, now_ms: u64) {
        let due_ms = now_ms + self.chance.below(interval_ms.min(FIRST_MS));
        if self.slots.len() <= number {
            self.slots.resize(number + 1, None);
        }
        debug_assert!(self.slots[number].is_none(), "the number is taken");
        self.slots[number] = Some(Slot { interval_ms, state: State::Waiting { due_ms } });
        self.dues.insert((due_ms, number));
        self.check();
    }

    /// Lets a server go, wherever its probe is.
    pub(super) fn remove(&mut self, number: usize) {
        if let Some(Slot { state: State::Waiting { due_ms }, .. }) = self.slots[number].take() {
            self.dues.remove(&(due_ms, number));
        }
        self.check();
    }

    /// Probes it in that interval from now on. A shorter one counts for the probe that it waits for.
    pub(super) fn set_interval(&mut self, number: usize, interval_ms: u64, now_ms: u64) {
        let Some(slot) = &mut self.slots[number] else { return };
        slot.interval_ms = interval_ms;
        if let State::Waiting { due_ms } = slot.state
            && due_ms > now_ms + interval_ms
        {
            self.wait(number, now_ms + interval_ms);
        }
    }

    /// The next server whose probe is due; it is away from here on.
    pub(super) fn depart(&mut self, now_ms: u64) -> Option<usize> {
        let (due_ms, number) = *self.dues.first()?;
        if due_ms > now_ms {
            return None;
        }
        self.dues.pop_first();
        if let Some(slot) = &mut self.slots[number] {
            slot.state = State::Away { since_ms: now_ms };
        }
        self.check();
        Some(number)
    }

    /// Its probe is over.
    pub(super) fn come_back(&mut self, number: usize, now_ms: u64) {
        let Some(Slot { interval_ms, state: State::Away { since_ms } }) = self.slots[number] else { return };
        let due_ms = since_ms + self.chance.about(interval_ms);
        self.wait(number, due_ms.max(now_ms));
    }

    /// When the next probe is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.dues.first().map(|(due_ms, _)| *due_ms)
    }

    fn wait(&mut self, number: usize, due_ms: u64) {
        let Some(slot) = &mut self.slots[number] else { return };
        if let State::Waiting { due_ms } = slot.state {
            self.dues.remove(&(due_ms, number));
        }
        slot.state = State::Waiting { due_ms };
        self.dues.insert((due_ms, number));
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.dues.iter().all(|(due_ms, number)| {
            self.slots[*number].is_some_and(|slot| slot.state == State::Waiting { due_ms: *due_ms })
        }));
        debug_assert_eq!(self.dues.len(), self.slots.iter().flatten().filter(|slot| slot.waits()).count());
    }
}

impl Slot {
    fn waits(self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }
}

/// Over this the first probes are spread, so that what is dead at the start is known soon.
const FIRST_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Add { number: usize, interval_ms: u64 },
        Remove { number: usize },
        Change { number: usize, interval_ms: u64 },
        Depart,
        Return { nth: usize },
        Pass { ms: u64 },
    }

    fn act() -> impl Strategy<Value = Act> {
        let server = (0..12usize, 10..5_000u64);
        prop_oneof![
            2 => server.clone().prop_map(|(number, interval_ms)| Act::Add { number, interval_ms }),
            1 => (0..12usize).prop_map(|number| Act::Remove { number }),
            1 => server.prop_map(|(number, interval_ms)| Act::Change { number, interval_ms }),
            4 => Just(Act::Depart),
            3 => (0..12usize).prop_map(|nth| Act::Return { nth }),
            4 => (0..2_000u64).prop_map(|ms| Act::Pass { ms }),
        ]
    }

    /// What the schedule promises, kept by the plainest means: each server's interval and last departure.
    #[derive(Default)]
    struct Model {
        intervals_ms: BTreeMap<usize, u64>,
        /// Of servers whose interval has not changed since.
        left_ms: BTreeMap<usize, u64>,
        away: Vec<usize>,
    }

    proptest! {
        #[test]
        fn servers_are_probed_one_at_a_time_about_every_interval(
            seed: u64,
            acts in prop::collection::vec(act(), 1..200),
        ) {
            let (mut schedule, mut model, mut now_ms) = (Schedule::new(seed), Model::default(), 0);
            for act in acts {
                match act {
                    Act::Add { number, interval_ms } if !model.intervals_ms.contains_key(&number) => {
                        schedule.add(number, interval_ms, now_ms);
                        model.intervals_ms.insert(number, interval_ms);
                    }
                    Act::Remove { number } if model.intervals_ms.remove(&number).is_some() => {
                        schedule.remove(number);
                        model.left_ms.remove(&number);
                        model.away.retain(|away| *away != number);
                    }
                    Act::Change { number, interval_ms } if model.intervals_ms.contains_key(&number) => {
                        schedule.set_interval(number, interval_ms, now_ms);
                        model.intervals_ms.insert(number, interval_ms);
                        model.left_ms.remove(&number);
                    }
                    Act::Depart => {
                        if let Some(number) = schedule.depart(now_ms) {
                            prop_assert!(!model.away.contains(&number), "two at once");
                            let interval_ms = model.intervals_ms[&number];
                            if let Some(left_ms) = model.left_ms.insert(number, now_ms) {
                                prop_assert!(now_ms - left_ms >= interval_ms - interval_ms / 10, "too soon");
                            }
                            model.away.push(number);
                        }
                    }
                    Act::Return { nth } if nth < model.away.len() => {
                        schedule.come_back(model.away.remove(nth), now_ms);
                    }
                    Act::Pass { ms } => now_ms += ms,
                    _ => {}
                }
                let waiting = model.intervals_ms.len() - model.away.len();
                prop_assert_eq!(schedule.next_ms().is_some(), waiting > 0);
                let longest_ms = model.intervals_ms.values().max().map_or(0, |most| most + most / 10);
                let latest_ms = now_ms + longest_ms;
                prop_assert!(schedule.next_ms().is_none_or(|due_ms| due_ms <= latest_ms), "forgotten");
            }
        }
    }

    #[test]
    fn the_first_probes_come_soon_and_not_at_once() {
        let mut schedule = Schedule::new(1);
        (0..500).for_each(|number| schedule.add(number, 30_000, 0));
        let mut begun = Vec::new();
        for now_ms in 0..1_000 {
            begun.push(std::iter::from_fn(|| schedule.depart(now_ms)).count());
        }
        assert_eq!(begun.iter().sum::<usize>(), 500);
        assert!(*begun.iter().max().expect("a thousand") < 10, "{begun:?}");
    }

    #[test]
    fn servers_that_begin_together_drift_apart() {
        let mut schedule = Schedule::new(2);
        (0..100).for_each(|number| schedule.add(number, 1, 0));
        (0..100).for_each(|number| schedule.set_interval(number, 10_000, 0));
        while let Some(number) = schedule.depart(0) {
            schedule.come_back(number, 5);
        }
        let dues_ms: BTreeSet<u64> = schedule.dues.iter().map(|(due_ms, _)| due_ms / 100).collect();
        assert!(dues_ms.len() > 15, "{dues_ms:?}");
    }

    #[test]
    fn a_probe_that_takes_longer_than_the_interval_is_followed_at_once_by_one_more() {
        let mut schedule = Schedule::new(3);
        schedule.add(0, 100, 0);
        assert_eq!(schedule.depart(100), Some(0));
        assert_eq!((schedule.depart(900), schedule.next_ms()), (None, None));
        schedule.come_back(0, 900);
        assert_eq!((schedule.depart(900), schedule.depart(900)), (Some(0), None));
    }
}
