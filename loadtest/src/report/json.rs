//! The report for machines: schema `myriapod-load/1`, as `loadtest/README.md` tells it.
//!
//! Promises: a name once given keeps its meaning within a schema, names may be added; what is not known is
//! null, never 0 and never left out. Most shapes are those of the report's own types, field by field; here is
//! what is told otherwise than it is kept. A test lists every name.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::expect::Judgement;
use super::slope::{Slopes, slopes};
use super::tables::POINTS;
use super::{Comparison, Fact, Load, Machine, Moment, Report, Step, Unit};
use crate::engine::latency::Latency;

const SCHEMA: &str = "myriapod-load/1";

/// The report as one line of JSON.
#[must_use]
pub fn text(report: &Report) -> String {
    let shape = Shape {
        schema: SCHEMA,
        mode: report.mode,
        target: &report.target,
        command: &report.command,
        began: &report.began,
        machine: &report.machine,
        valid: report.invalid.is_empty(),
        invalid: &report.invalid,
        remarks: &report.remarks,
        checked: &report.checked,
        facts: Facts(&report.facts),
        loads: report.loads.iter().map(OfLoad::from).collect(),
        steps: &report.steps,
        slopes: slopes(report),
        comparison: report.comparison.as_ref(),
        expectations: &report.judgements,
    };
    // Keys are strings, and plain data has no way to fail.
    serde_json::to_string(&shape).expect("plain data becomes JSON") + "\n"
}

#[derive(Serialize)]
struct Shape<'a> {
    schema: &'static str,
    mode: &'a str,
    target: &'a str,
    command: &'a str,
    began: &'a str,
    machine: &'a Machine,
    valid: bool,
    invalid: &'a [String],
    remarks: &'a [String],
    checked: &'a str,
    facts: Facts<'a>,
    loads: Vec<OfLoad<'a>>,
    steps: &'a [Step],
    slopes: Slopes,
    comparison: Option<&'a Comparison>,
    expectations: &'a [Judgement],
}

/// By name, in the order they are told.
struct Facts<'a>(&'a [Fact]);

#[derive(Serialize)]
struct OfFact<'a> {
    value: f64,
    unit: Unit,
    label: &'a str,
}

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry =
            |fact: &Fact| (fact.name, OfFact { value: fact.value, unit: fact.unit, label: fact.label });
        serializer.collect_map(self.0.iter().map(entry))
    }
}

#[derive(Serialize)]
struct OfLoad<'a> {
    name: &'a str,
    seconds: f64,
    rate_wanted: Option<f64>,
    rate: f64,
    achieved: Option<f64>,
    requests: u64,
    answers: u64,
    bytes_received: u64,
    errors_total: u64,
    errors: &'a BTreeMap<&'static str, u64>,
    latency_ns: OfLatency<'a>,
    lag_ns: OfLatency<'a>,
    timeline: &'a [Moment],
    server_cpu_seconds: Option<f64>,
    cpu_ns_per_answer: Option<f64>,
    busiest_thread: f64,
}

impl<'a> From<&'a Load> for OfLoad<'a> {
    fn from(load: &'a Load) -> OfLoad<'a> {
        OfLoad {
            name: &load.name,
            seconds: load.seconds,
            rate_wanted: load.rate_wanted,
            rate: load.rate,
            achieved: load.rate_wanted.map(|_| load.achieved()),
            requests: load.requests,
            answers: load.answers,
            bytes_received: load.bytes_received,
            errors_total: load.errors_total(),
            errors: &load.errors,
            latency_ns: OfLatency(&load.latency),
            lag_ns: OfLatency(&load.lag),
            timeline: &load.timeline,
            server_cpu_seconds: load.server_cpu_seconds,
            cpu_ns_per_answer: load.cpu_ns_per_answer(),
            busiest_thread: load.busiest_thread,
        }
    }
}

/// Count, mean and percentiles, null when nothing was counted; then upper end and count of each bucket.
struct OfLatency<'a>(&'a Latency);

impl Serialize for OfLatency<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let latency = self.0;
        let known = |value: f64| (latency.count() > 0).then_some(value);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &latency.count())?;
        map.serialize_entry("min", &(latency.count() > 0).then(|| latency.min()))?;
        map.serialize_entry("mean", &known(latency.mean()))?;
        for (name, share) in POINTS {
            map.serialize_entry(name, &(latency.count() > 0).then(|| latency.quantile(*share)))?;
        }
        map.serialize_entry("buckets", &latency.buckets().collect::<Vec<_>>())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::samples;

    fn parsed(report: &Report) -> Value {
        serde_json::from_str(&text(report)).unwrap()
    }

    fn names(value: &Value) -> String {
        let mut names = value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
        names.sort_unstable();
        names.join(" ")
    }

    /// Whoever changes one of these breaks somebody's script: add names, or count the schema up.
    #[test]
    fn every_name_is_as_documented() {
        let (open, hold, compare) =
            (parsed(&samples::open()), parsed(&samples::hold()), parsed(&samples::compare()));
        let case = &compare["comparison"]["cases"][0];
        for (value, expected) in [
            (
                &open,
                "began checked command comparison expectations facts invalid loads machine mode remarks \
                 schema slopes steps target valid",
            ),
            (&open["machine"], "cpus kernel memory_bytes processor"),
            (
                &open["loads"][0],
                "achieved answers busiest_thread bytes_received cpu_ns_per_answer errors errors_total \
                 lag_ns latency_ns name rate rate_wanted requests seconds server_cpu_seconds timeline",
            ),
            (&open["loads"][0]["latency_ns"], "buckets count max mean min p50 p90 p99 p99.9 p99.99"),
            (&open["loads"][0]["timeline"][0], "at_seconds errors max_ns p50_ns p99_ns rate"),
            (&open["expectations"][0], "expectation held measured of told"),
            (&hold["facts"]["sweep_seconds"], "label unit value"),
            (
                &hold["steps"][4],
                "connections open_rate open_seconds own_bytes probe scraped server_bytes server_idle_share \
                 slab_bytes used_bytes",
            ),
            (&hold["steps"][4]["scraped"][0], "least most name series sum"),
            (&hold["slopes"], "kernel machine own server"),
            (&hold["slopes"]["server"], "base_bytes bytes_per_connection fit standard_error steps"),
            (&compare["comparison"], "blocks cases seed servers"),
            (case, "blocks holds name results"),
            (
                &case["results"][1],
                "answer_bytes cpu_ratio cpu_us_per_request errors memory p50_ns p99_ns rate rate_ratio rates server",
            ),
            (&case["results"][1]["rate_ratio"], "high low middle"),
        ] {
            assert_eq!(names(value), expected);
        }
        assert_eq!(open["schema"], "myriapod-load/1");
    }

    #[test]
    fn figures_come_back_as_they_were() {
        let report = samples::hold();
        let back = parsed(&report);
        assert_eq!(back["valid"], true);
        assert_eq!(back["facts"]["sweep_seconds"]["value"], 18.4);
        assert_eq!(back["facts"]["sweep_seconds"]["unit"], "seconds");
        assert_eq!(back["steps"][4]["connections"], 1_000_000);
        let probe = &back["loads"][back["steps"][4]["probe"].as_u64().unwrap() as usize];
        let latency = &report.loads[4].latency;
        assert_eq!(probe["latency_ns"]["p99.9"], latency.quantile(0.999));
        let buckets = probe["latency_ns"]["buckets"].as_array().unwrap();
        assert_eq!(buckets.iter().map(|bucket| bucket[1].as_u64().unwrap()).sum::<u64>(), latency.count());
        assert_eq!(back["expectations"][1]["held"], true);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let mut report = samples::closed();
        report.loads.push(Load { rate: f64::NAN, ..Load::default() });
        let back = parsed(&report);
        assert!(back["comparison"].is_null() && back["slopes"]["server"].is_null());
        assert!(back["loads"][0]["rate_wanted"].is_null() && back["loads"][0]["achieved"].is_null());
        assert!(back["loads"][0]["lag_ns"]["p99"].is_null());
        assert!(back["loads"][1]["rate"].is_null() && back["loads"][1]["latency_ns"]["max"].is_null());
    }

    #[test]
    fn every_report_is_json_and_says_whether_it_counts() {
        for (name, report) in samples::all() {
            assert_eq!(parsed(&report)["valid"], report.invalid.is_empty(), "{name}");
        }
    }
}
