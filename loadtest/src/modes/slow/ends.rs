//! How slow connections ended, and after how long: what a server's timeouts are worth.

use std::collections::BTreeMap;

use super::facts::FACTS;
use crate::engine::latency::Latency;
use crate::report::Report;

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

impl Way {
    const ALL: [Way; 7] =
        [Way::TimedOut, Way::Answered, Way::Served, Way::Closed, Way::Reset, Way::Failed, Way::Stayed];

    /// The name of its count in reports; none where it cannot happen: who never reads sees no answer.
    fn name(self, kind: Kind) -> Option<&'static str> {
        Some(match (kind, self) {
            (Kind::Drip, Way::TimedOut) => "drip_408",
            (Kind::Drip, Way::Answered) => "drip_answered",
            (Kind::Drip, Way::Served) => "drip_served",
            (Kind::Drip, Way::Closed) => "drip_closed",
            (Kind::Drip, Way::Reset) => "drip_reset",
            (Kind::Drip, Way::Failed) => "drip_failed",
            (Kind::Drip, Way::Stayed) => "drip_stayed",
            (Kind::NeverReader, Way::TimedOut | Way::Answered | Way::Served) => return None,
            (Kind::NeverReader, Way::Closed) => "never_reader_closed",
            (Kind::NeverReader, Way::Reset) => "never_reader_reset",
            (Kind::NeverReader, Way::Failed) => "never_reader_failed",
            (Kind::NeverReader, Way::Stayed) => "never_reader_stayed",
        })
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

    /// How many ended this way; in tests.
    #[cfg(test)]
    pub fn of(&self, way: Way) -> u64 {
        self.stays[way as usize].count()
    }

    /// Tells counts of all ways that are possible, also of those that did not occur, so that they can be
    /// expected not to; times where there are some; the longest stay of all.
    pub fn tell(&self, kind: Kind, report: &mut Report) {
        for way in Way::ALL {
            let Some(name) = way.name(kind) else { continue };
            let stays = &self.stays[way as usize];
            report.fact(&FACTS, name, stays.count() as f64);
            if stays.count() > 0 && way != Way::Failed {
                report.fact(&FACTS, &format!("{name}_seconds"), stays.quantile(0.5) as f64 / 1e9);
            }
        }
        let name = match kind {
            Kind::Drip => "drip_stay_max_seconds",
            Kind::NeverReader => "never_reader_stay_max_seconds",
        };
        let there = Way::ALL.iter().filter(|way| **way != Way::Failed);
        let longest_ns = there.map(|way| self.stays[*way as usize].max()).max().unwrap_or(0);
        report.fact(&FACTS, name, longest_ns as f64 / 1e9);
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
    fn every_way_has_its_place_and_a_name_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for (place, way) in Way::ALL.into_iter().enumerate() {
            assert_eq!(way as usize, place);
            let names = [Kind::Drip, Kind::NeverReader].map(|kind| way.name(kind));
            assert!(names.into_iter().flatten().all(|name| seen.insert(name)), "{names:?}");
        }
    }

    #[test]
    fn ends_are_told_by_way_with_their_median_and_the_longest_stay() {
        for kind in [Kind::Drip, Kind::NeverReader] {
            let (mut ends, mut others) = (Ends::default(), Ends::default());
            for seconds in [9, 10, 11] {
                ends.count(Way::Reset, seconds * 1_000_000_000, None);
            }
            // One that never came about did not stay.
            others.count(Way::Failed, 90_000_000_000, None);
            for way in Way::ALL.into_iter().filter(|way| *way != Way::Closed) {
                others.count(way, 12_000_000_000, Some(431));
            }
            ends.merge(&others);
            let mut report = Report::default();
            ends.tell(kind, &mut report);
            let value = |name: Option<&str>, unit: &str| {
                let name = name.unwrap().to_string() + unit;
                report.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.round())
            };
            assert_eq!(value(Way::Reset.name(kind), ""), Some(4.0));
            assert_eq!(value(Way::Reset.name(kind), "_seconds"), Some(10.0));
            assert_eq!(value(Way::Closed.name(kind), ""), Some(0.0));
            assert_eq!(value(Way::Closed.name(kind), "_seconds"), None);
            let longest = report.facts.last().unwrap();
            assert!(longest.name.ends_with("stay_max_seconds") && longest.value.round() == 12.0);
            assert_eq!(ends.remark().unwrap(), "answers to requests that were not complete: 431 (1 times)");
        }
    }
}
