//! When requests are due.
//!
//! A schedule does not wait for answers: what it says was due then, was due then, however late it is sent.

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
