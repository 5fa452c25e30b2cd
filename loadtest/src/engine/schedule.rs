//! When requests are due.
//!
//! A schedule does not wait for answers: what it says was due then, was due then, however late it is sent.

/// How requests arrive that are due at a given rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Evenly, as wrk2 has it: repeatable, and kind to the server, since no two are due at once
    Constant,
    /// At random, as independent users come: also in clusters
    Poisson,
}

/// What a schedule is drawn from: so many a second over all threads.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub rate: f64,
    pub arrivals: Arrivals,
    pub seed: u64,
    pub threads: u32,
}

impl Pace {
    /// The schedule of one thread. Even ones are interleaved: threads in step would send bursts.
    pub fn of_thread(&self, number: u32, from_ns: u64) -> Schedule {
        let rate = self.rate / f64::from(self.threads);
        match self.arrivals {
            Arrivals::Constant => {
                let offset_ns = 1e9 / self.rate * f64::from(number);
                Schedule::constant(rate, from_ns + offset_ns as u64)
            }
            Arrivals::Poisson => {
                let mut schedule = Schedule::poisson(rate, from_ns, self.seed.wrapping_add(number.into()));
                // The first gap is as random as all others, or all threads would begin at once.
                schedule.take();
                schedule
            }
        }
    }
}

/// Times of a run's clock at which something is due.
#[derive(Clone, Debug)]
pub struct Schedule {
    next_ns: f64,
    gap_ns: f64,
    /// Gaps drawn at random (Poisson arrivals) rather than all alike.
    random: Option<fastrand::Rng>,
}

impl Schedule {
    /// So many a second, evenly.
    pub fn constant(rate: f64, from_ns: u64) -> Schedule {
        Schedule { next_ns: from_ns as f64, gap_ns: 1e9 / rate, random: None }
    }

    /// So many a second on average, as independent users come.
    pub fn poisson(rate: f64, from_ns: u64, seed: u64) -> Schedule {
        Schedule { random: Some(fastrand::Rng::with_seed(seed)), ..Schedule::constant(rate, from_ns) }
    }

    /// When the next is due.
    pub fn next_ns(&self) -> u64 {
        self.next_ns as u64
    }

    /// Takes the next one off the schedule.
    pub fn take(&mut self) -> u64 {
        let due = self.next_ns();
        self.next_ns += match &mut self.random {
            None => self.gap_ns,
            // The logarithm of what is never nought.
            Some(random) => -(1.0 - random.f64()).ln() * self.gap_ns,
        };
        due
    }

    /// Takes one off and forgives what was missed: a limit, where a schedule would be a debt.
    pub fn advance(&mut self, now_ns: u64) {
        self.take();
        // A tenth of a second may be made up for, so that the limit is also what comes about.
        self.next_ns = self.next_ns.max(now_ns as f64 - 1e8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(mut schedule: Schedule, until_ns: u64) -> u32 {
        std::iter::from_fn(|| (schedule.take() < until_ns).then_some(())).count() as u32
    }

    #[test]
    fn a_second_has_as_many_as_the_rate_says() {
        assert_eq!(count(Schedule::constant(1000.0, 0), 1_000_000_000), 1000);
        let random = count(Schedule::poisson(100_000.0, 0, 7), 1_000_000_000);
        assert!((99_000..101_000).contains(&random), "{random}");
    }

    #[test]
    fn threads_are_interleaved_and_make_the_whole_rate() {
        let pace = Pace { rate: 3000.0, arrivals: Arrivals::Constant, seed: 0, threads: 3 };
        let mut firsts: Vec<u64> = (0..3).map(|number| pace.of_thread(number, 500).next_ns()).collect();
        let mut first = pace.of_thread(0, 500);
        first.take();
        firsts.push(first.next_ns());
        assert_eq!(firsts, [500, 333_833, 667_166, 1_000_500]);
        let pace = Pace { arrivals: Arrivals::Poisson, rate: 60_000.0, ..pace };
        let counts: Vec<u32> = (0..3).map(|number| count(pace.of_thread(number, 0), 1_000_000_000)).collect();
        assert!(counts.iter().all(|count| (19_000..21_000).contains(count)), "{counts:?}");
        assert!(pace.of_thread(0, 0).next_ns() != pace.of_thread(1, 0).next_ns());
        assert_eq!(pace.of_thread(1, 0).next_ns(), pace.of_thread(1, 0).next_ns(), "a seed repeats itself");
    }

    #[test]
    fn poisson_gaps_are_as_uneven_as_they_should_be() {
        let mut schedule = Schedule::poisson(1000.0, 0, 3);
        let mut last = schedule.take();
        let gaps: Vec<f64> = (0..10_000)
            .map(|_| {
                let due = schedule.take();
                (due - std::mem::replace(&mut last, due)) as f64
            })
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Of an exponential distribution the deviation is the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_limit_does_not_make_up_for_a_long_pause() {
        let mut schedule = Schedule::constant(1000.0, 0);
        schedule.advance(10_000_000_000);
        assert!(schedule.next_ns() >= 9_900_000_000);
    }
}
