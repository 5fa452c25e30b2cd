//! What a run is expected to find: `--expect 'p99<2ms, errors=0'`.
//!
//! ```text
//! expectations = expectation *( "," expectation )
//! expectation  = [ load "." ] name  ( "<" | "<=" | "=" | ">=" | ">" )  number [ unit ]
//! unit         = ns us µs ms s min | % | k M G | B KiB MiB GiB kB MB GB | each also with "/s"
//! ```
//!
//! Spaces mean nothing. Names are those of [`Metric`], of every fact of the report, and of kinds of errors.
//! `load` is words of a load's name, a number of connections, or a case and a server of a comparison:
//! `probe_1000000.p99`, `60.rate`, `depth_16_nginx.rate_ratio`. Without it the worst of them all counts,
//! which is the largest for `<`, the smallest for `>`, the farthest for `=`.
//!
//! Promises: what can be known to be wrong before the run is an error then, all mistakes together; what was
//! not measured never holds. Exit codes are not here.

mod measure;
mod metric;
mod quantity;
mod spelling;

use serde::Serialize;

use super::units;
use super::{Report, Unit};
use measure::Figure;
use metric::Metric;
use quantity::Quantity;

/// What is asked of a run, in the order it was written.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    all: Vec<Expectation>,
}

#[derive(Clone, Debug)]
struct Expectation {
    /// Words a load's name must have; empty for any.
    of: String,
    /// As written, without the load.
    name: String,
    metric: Metric,
    relation: Relation,
    wanted: Quantity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// How one expectation fared.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Judgement {
    /// `p99 < 2 ms`.
    pub expectation: String,
    pub held: bool,
    /// The worst figure there was; none when nothing was measured, and then it does not hold.
    pub measured: Option<f64>,
    /// The figure with its unit, or why there is none.
    pub told: String,
    /// Which load had it; empty where there is but one.
    pub of: String,
}

/// Reads expectations.
///
/// # Errors
///
/// Every mistake, a line each: bad syntax, units that do not fit, percentiles that do not exist.
pub fn parse(text: &str) -> Result<Expectations, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let (mut all, mut mistakes) = (Vec::new(), Vec::new());
    for part in parts {
        match Expectation::parse(part) {
            Ok(expectation) => all.push(expectation),
            Err(mistake) => mistakes.push(format!("`{part}`: {mistake}")),
        }
    }
    if all.is_empty() && mistakes.is_empty() {
        mistakes.push("nothing is expected; write something like 'p99<2ms,errors=0'".to_owned());
    }
    if mistakes.is_empty() { Ok(Expectations { all }) } else { Err(mistakes.join("\n")) }
}

/// Holds each expectation against the report.
#[must_use]
pub fn judge(expectations: &Expectations, report: &Report) -> Vec<Judgement> {
    expectations.all.iter().map(|expectation| expectation.judge(report)).collect()
}

impl Expectations {
    /// Settles the names that only a mode knows, before it runs: its facts.
    ///
    /// # Errors
    ///
    /// Every name that is none of them, with the one that may have been meant, and units that do not fit.
    pub fn knowing(self, facts: &[(&'static str, Unit)]) -> Result<Expectations, String> {
        let mistakes = self.all.iter().filter_map(|one| one.check(facts).err()).collect::<Vec<_>>();
        if mistakes.is_empty() { Ok(self) } else { Err(mistakes.join("\n")) }
    }
}

impl Expectation {
    fn parse(text: &str) -> Result<Expectation, String> {
        let at = text.find(['<', '=', '>']).ok_or("nothing to compare with; write name<value")?;
        let (left, rest) = text.split_at(at);
        let end = rest.find(|c| !"<=>".contains(c)).unwrap_or(rest.len());
        let relation = Relation::parse(&rest[..end])?;
        let (of, name) = split_name(left.trim());
        let metric = Metric::parse(name)?;
        let wanted = Quantity::parse(&rest[end..])?;
        if let Some(unit) = metric.unit() {
            wanted.in_unit(unit).map_err(|why| format!("{name} is {why}"))?;
        }
        Ok(Expectation { of: of.to_owned(), name: name.to_owned(), metric, relation, wanted })
    }

    fn check(&self, facts: &[(&'static str, Unit)]) -> Result<(), String> {
        let Metric::Named(name) = &self.metric else { return Ok(()) };
        let Some((_, unit)) = facts.iter().find(|(fact, _)| fact == name) else {
            return Err(spelling::unknown(name, facts.iter().map(|(fact, _)| *fact).chain(metric::names())));
        };
        self.wanted.in_unit(*unit).map(drop).map_err(|why| format!("`{name}` is {why}"))
    }

    fn judge(&self, report: &Report) -> Judgement {
        let found = measure::figures(report, &self.of, &self.metric);
        let (unit, figures) = match found {
            Ok(found) => (found.unit, found.figures),
            Err(why) => return self.unmeasured(None, why),
        };
        let wanted = match self.wanted.in_unit(unit) {
            Ok(wanted) => wanted,
            Err(why) => return self.unmeasured(None, format!("{} is {why}", self.name)),
        };
        match self.worst(&figures, wanted) {
            Some(Figure { of, value: Some(value) }) => Judgement {
                expectation: self.told(Some(unit)),
                held: self.relation.holds(*value, wanted),
                measured: Some(*value),
                told: units::told(*value, unit),
                // Where all are alike none of them is to be named.
                of: if figures.iter().all(|other| other.value == Some(*value)) {
                    String::new()
                } else {
                    of.clone()
                },
            },
            Some(Figure { of, .. }) => {
                Judgement { of: of.clone(), ..self.unmeasured(Some(unit), "not measured".to_owned()) }
            }
            None => self.unmeasured(Some(unit), "not measured".to_owned()),
        }
    }

    /// The figure to tell; one that is missing is worse than any.
    fn worst<'a>(&self, figures: &'a [Figure], wanted: f64) -> Option<&'a Figure> {
        let badness = |figure: &Figure| {
            figure.value.map_or(f64::INFINITY, |value| self.relation.badness(value, wanted))
        };
        figures.iter().max_by(|one, other| badness(one).total_cmp(&badness(other)))
    }

    fn unmeasured(&self, unit: Option<Unit>, why: String) -> Judgement {
        Judgement { expectation: self.told(unit), told: why, ..Judgement::default() }
    }

    fn told(&self, unit: Option<Unit>) -> String {
        let wanted = unit.and_then(|unit| Some(units::chosen(self.wanted.in_unit(unit).ok()?, unit)));
        let dot = if self.of.is_empty() { "" } else { "." };
        let wanted = wanted.unwrap_or_else(|| self.wanted.to_string());
        format!("{}{dot}{} {} {wanted}", self.of, self.name, self.relation.sign())
    }
}

impl Relation {
    fn parse(text: &str) -> Result<Relation, String> {
        match text {
            "<" => Ok(Relation::Less),
            "<=" => Ok(Relation::LessOrEqual),
            "=" | "==" => Ok(Relation::Equal),
            ">=" => Ok(Relation::GreaterOrEqual),
            ">" => Ok(Relation::Greater),
            _ => Err(format!("`{text}` is none of < <= = >= >")),
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Relation::Less => "<",
            Relation::LessOrEqual => "<=",
            Relation::Equal => "=",
            Relation::GreaterOrEqual => ">=",
            Relation::Greater => ">",
        }
    }

    fn holds(self, value: f64, wanted: f64) -> bool {
        match self {
            Relation::Less => value < wanted,
            Relation::LessOrEqual => value <= wanted,
            Relation::Equal => value == wanted,
            Relation::GreaterOrEqual => value >= wanted,
            Relation::Greater => value > wanted,
        }
    }

    /// Of two figures the one with more of it is the one to tell.
    fn badness(self, value: f64, wanted: f64) -> f64 {
        match self {
            Relation::Less | Relation::LessOrEqual => value,
            Relation::Equal => (value - wanted).abs(),
            Relation::GreaterOrEqual | Relation::Greater => -value,
        }
    }
}

/// At the first dot that a letter follows; `p99.9` has none, and the dot of `errors.timeout` is its own.
fn split_name(text: &str) -> (&str, &str) {
    let is_letter = |at: usize| text[at + 1..].starts_with(|c: char| c.is_alphabetic());
    let split =
        text.match_indices('.').map(|(at, _)| at).find(|&at| is_letter(at) && &text[..at] != "errors");
    split.map_or(("", text), |at| (text[..at].trim(), text[at + 1..].trim()))
}

#[cfg(test)]
mod tests;
