//! How slow connections ended, and after how long: what a server's timeouts are worth.

use std::collections::BTreeMap;

use crate::latency::Latency;
use crate::report::{Fact, Unit};

/// How one slow connection ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// 408: the server says what is wrong.
    TimedOut,
    /// Another answer before the request was complete.
    Answered,
    /// The request came to its end after all, and was answered.
    Served,
    Closed,
    Reset,
    /// It never came about.
    Failed,
    /// It was still there when the run was over.
    Stayed,
}

/// Who is slow, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Drip,
    NeverReader,
}

/// Ends of one kind.
#[derive(Debug, Default)]
pub struct Ends {
    /// Time from being connected to the end, by way.
    stays: [Latency; Way::ALL.len()],
    /// Statuses of answers before the end of a request.
    statuses: BTreeMap<u16, u64>,
}

/// Name and label of a count, and the name of its median time.
type Words = [&'static str; 3];

impl Way {
    const ALL: [Way; 7] =
        [Way::TimedOut, Way::Answered, Way::Served, Way::Closed, Way::Reset, Way::Failed, Way::Stayed];

    /// None where it cannot happen: who never reads sees no answer.
    fn words(self, kind: Kind) -> Option<Words> {
        Some(match (kind, self) {
            (Kind::Drip, Way::TimedOut) => ["drip_408", "drips answered 408", "drip_408_seconds"],
            (Kind::Drip, Way::Answered) => {
                ["drip_answered", "drips answered too early, not 408", "drip_answered_seconds"]
            }
            (Kind::Drip, Way::Served) => ["drip_served", "drips served in the end", "drip_served_seconds"],
            (Kind::Drip, Way::Closed) => {
                ["drip_closed", "drips closed without a word", "drip_closed_seconds"]
            }
            (Kind::Drip, Way::Reset) => ["drip_reset", "drips reset", "drip_reset_seconds"],
            (Kind::Drip, Way::Failed) => {
                ["drip_failed", "vain attempts of drips to connect", "drip_failed_seconds"]
            }
            (Kind::Drip, Way::Stayed) => {
                ["drip_stayed", "drips still there at the end", "drip_stayed_seconds"]
            }
            (Kind::NeverReader, Way::TimedOut | Way::Answered | Way::Served) => return None,
            (Kind::NeverReader, Way::Closed) => {
                ["never_reader_closed", "never-readers closed", "never_reader_closed_seconds"]
            }
            (Kind::NeverReader, Way::Reset) => {
                ["never_reader_reset", "never-readers reset", "never_reader_reset_seconds"]
            }
            (Kind::NeverReader, Way::Failed) => [
                "never_reader_failed",
                "vain attempts of never-readers to connect",
                "never_reader_failed_seconds",
            ],
            (Kind::NeverReader, Way::Stayed) => {
                ["never_reader_stayed", "never-readers still there at the end", "never_reader_stayed_seconds"]
            }
        })
    }

    fn time_label(self) -> &'static str {
        match self {
            Way::Stayed => "median time they had been there",
            _ => "median time until then",
        }
    }
}

impl Ends {
    /// Counts one end after `stay_ns`; `status` is that of an answer, if there was one.
    pub fn count(&mut self, way: Way, stay_ns: u64, status: Option<u16>) {
        self.stays[way as usize].record(stay_ns);
        if let (Way::Answered, Some(status)) = (way, status) {
            *self.statuses.entry(status).or_default() += 1;
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Ends) {
        self.stays.iter_mut().zip(&other.stays).for_each(|(sum, one)| sum.merge(one));
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
    }

    /// How many ended this way.
    pub fn of(&self, way: Way) -> u64 {
        self.stays[way as usize].count()
    }

    /// Counts of all ways that are possible, also of those that did not occur, so that they can be expected not
    /// to; times where there are some; the longest stay of all.
    pub fn facts(&self, kind: Kind) -> Vec<Fact> {
        let mut facts = Vec::new();
        for way in Way::ALL {
            let Some([name, label, time_name]) = way.words(kind) else { continue };
            let stays = &self.stays[way as usize];
            facts.push(Fact { name, label, value: stays.count() as f64, unit: Unit::Count });
            if stays.count() > 0 {
                let value = stays.quantile(0.5) as f64 / 1e9;
                facts.push(Fact { name: time_name, label: way.time_label(), value, unit: Unit::Seconds });
            }
        }
        let (name, label) = match kind {
            Kind::Drip => ("drip_stay_max_seconds", "longest stay of a drip"),
            Kind::NeverReader => ("never_reader_stay_max_seconds", "longest stay of a never-reader"),
        };
        let there = Way::ALL.iter().filter(|way| **way != Way::Failed);
        let longest_ns = there.map(|way| self.stays[*way as usize].max()).max().unwrap_or(0);
        facts.push(Fact { name, label, value: longest_ns as f64 / 1e9, unit: Unit::Seconds });
        facts
    }

    /// Which answers came too early, for people; none when there were none.
    pub fn remark(&self) -> Option<String> {
        let each = self.statuses.iter().map(|(status, count)| format!("{status} ({count} times)"));
        let each = each.collect::<Vec<_>>().join(", ");
        (!each.is_empty()).then(|| format!("answers to requests that were not complete: {each}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_its_place_and_names_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for (place, way) in Way::ALL.into_iter().enumerate() {
            assert_eq!(way as usize, place);
            for kind in [Kind::Drip, Kind::NeverReader] {
                if let Some(words) = way.words(kind) {
                    assert!(seen.insert(words[0]) && seen.insert(words[2]), "{words:?}");
                }
            }
        }
    }

    #[test]
    fn ends_are_told_by_way_with_their_median_and_the_longest_stay() {
        let (mut ends, mut others) = (Ends::default(), Ends::default());
        for seconds in [9, 10, 11] {
            ends.count(Way::TimedOut, seconds * 1_000_000_000, Some(408));
        }
        others.count(Way::Stayed, 12_000_000_000, None);
        others.count(Way::Failed, 90_000_000_000, None);
        others.count(Way::Answered, 1, Some(431));
        ends.merge(&others);
        let facts = ends.facts(Kind::Drip);
        let value = |name| facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.round());
        assert_eq!(value("drip_408"), Some(3.0));
        assert_eq!(value("drip_408_seconds"), Some(10.0));
        assert_eq!((value("drip_reset"), value("drip_reset_seconds")), (Some(0.0), None));
        // One that never came about did not stay.
        assert_eq!(value("drip_stay_max_seconds"), Some(12.0));
        assert_eq!(ends.remark().unwrap(), "answers to requests that were not complete: 431 (1 times)");
    }
}
