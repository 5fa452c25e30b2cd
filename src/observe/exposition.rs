//! All numbers of all reactors as text: Prometheus 0.0.4, or OpenMetrics 1.0.
//!
//! What tells reactors apart (load, connections, buffers, queues) carries a `reactor` label, what tells
//! workers apart a `worker` label; what users of the service see (requests, latency, refusals) is summed. The
//! two formats hold the same samples under the same names.
//! Not here: which of the two a scraper asked for, and the numbers themselves, see [`Tally`].

mod keeper;
mod reloads;
mod site;
mod workers;

pub use site::{ServerView, SiteView, UpstreamView};

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::log::Dropped;
use super::{Answers, Family, Histogram, KeeperTally, Reloads, Snapshot, Tally, WorkerTally};

/// A format to write in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text format, 0.0.4.
    Prometheus,
    /// OpenMetrics, 1.0.0.
    OpenMetrics,
}

impl Exposition {
    /// What `Content-Type` says.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Exposition::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What is known of the process besides what reactors count.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The version of the program.
    pub version: &'a str,
    /// When the process started, in seconds since 1970.
    pub start_unix_seconds: u64,
    /// How many clients may be connected at once, over all reactors.
    pub connections_max: u64,
    /// How many descriptors one table may hold.
    pub descriptor_limit: u64,
    /// How new connections find their reactor, and why not better.
    pub accept: (&'a str, &'a str),
    /// Whether the server is on its way out: it is not ready then.
    pub draining: bool,
    /// Workers in a handler that does not return.
    pub workers_stuck: u32,
    /// What the log could not write.
    pub dropped: Dropped,
    /// How reloads went.
    pub reloads: Option<&'a Reloads>,
    /// What is counted of probes, look-ups and files.
    pub keeper: Option<&'a KeeperTally>,
}

/// Appends everything to `out`. All tallies of reactors must have been made with the same labels.
pub fn write(
    out: &mut String,
    tallies: &[Arc<Tally>],
    workers: &[Arc<WorkerTally>],
    site: &SiteView<'_>,
    facts: &Facts<'_>,
    format: Exposition,
) {
    let mut page = Page { out, format, tallies };
    page.process(facts);
    page.connections(facts);
    page.requests();
    page.reactors();
    page.queues();
    page.workers(workers, facts.workers_stuck);
    page.site(site);
    facts.keeper.into_iter().for_each(|keeper| page.keeper(keeper));
    page.log(facts.dropped);
    facts.reloads.into_iter().for_each(|reloads| page.reloads(reloads));
    if format == Exposition::OpenMetrics {
        page.out.push_str("# EOF\n");
    }
}

struct Page<'a> {
    out: &'a mut String,
    format: Exposition,
    tallies: &'a [Arc<Tally>],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// Bytes of a label's value, with `\`, `"` and line feed escaped as both formats ask.
struct Escaped<'a>(&'a str);

/// Nanoseconds, written as seconds without going through a float.
struct Seconds(u64);

/// A quotient with three digits behind the point; 1 where there is nothing to divide.
struct Ratio(u64, u64);

impl Page<'_> {
    fn process(&mut self, facts: &Facts<'_>) {
        self.family("myriapod_build", Kind::Info, "What is running.");
        self.sample("myriapod_build", "_info", format_args!("version=\"{}\"", Escaped(facts.version)), 1);
        self.gauge(
            "process_start_time_seconds",
            "When the process started, since 1970.",
            facts.start_unix_seconds,
        );
        self.gauge("process_max_fds", "Descriptors a table may hold.", facts.descriptor_limit);
        self.gauge(
            "myriapod_ready",
            "1 while new requests are welcome, 0 while draining.",
            u8::from(!facts.draining),
        );
    }

    fn connections(&mut self, facts: &Facts<'_>) {
        self.gauge(
            "myriapod_connections_max",
            "Connections that may be open at once.",
            facts.connections_max,
        );
        self.gauges("myriapod_connections_open", "Connections open.", |tally| tally.open.value());
        self.gauges(
            "myriapod_connections_coming",
            "Connections sent to a reactor and not accepted yet.",
            |tally| tally.coming.value(),
        );
        self.balance(facts.accept);
        self.counters("myriapod_connections_accepted", "Connections accepted.", |tally| {
            tally.accepted.value()
        });
        self.counters("myriapod_connections_refused", "Connections that could not be taken in.", |tally| {
            tally.refused.value()
        });
        self.counters("myriapod_accept_pauses", "Times that accepting was paused.", |tally| {
            tally.accept_pauses.value()
        });
        self.labelled("myriapod_connections_closed", "Connections closed, by reason.", "reason", |tally| {
            &tally.closed
        });
        self.labelled("myriapod_violations", "Rules of the protocol that clients broke.", "kind", |tally| {
            &tally.violations
        });
        self.sum("myriapod_bytes_received", "Bytes read from clients.", |tally| tally.bytes_in.value());
        self.sum("myriapod_handler_panics", "Handlers that panicked.", |tally| tally.panics.value());
        self.sum("myriapod_bytes_sent", "Bytes written to clients.", |tally| tally.bytes_out.value());
    }

    fn balance(&mut self, (mode, why): (&str, &str)) {
        self.family("myriapod_accept_mode", Kind::Gauge, "How new connections find their reactor.");
        let labels = format_args!("mode=\"{}\",why=\"{}\"", Escaped(mode), Escaped(why));
        self.sample("myriapod_accept_mode", "", labels, 1);
        let open = || self.tallies.iter().map(|tally| tally.open.value());
        let (most, sum) = (open().max().unwrap_or(0), open().sum());
        self.gauge(
            "myriapod_connections_imbalance",
            "Connections of the most loaded reactor over their mean.",
            Ratio(most * self.tallies.len() as u64, sum),
        );
    }

    fn requests(&mut self) {
        self.family("myriapod_requests", Kind::Counter, "Requests answered, by method and status.");
        let methods = self.tallies.first().map_or(&[][..], |tally| tally.answers.methods());
        let mut totals = vec![0; methods.len() * Answers::STATUSES];
        self.tallies.iter().for_each(|tally| tally.answers.add_to(&mut totals));
        for (method, counts) in methods.iter().zip(totals.chunks_exact(Answers::STATUSES)) {
            for (status, count) in (Answers::STATUS_MIN..).zip(counts).filter(|(_, count)| **count > 0) {
                let labels = format_args!("method=\"{}\",status=\"{status}\"", Escaped(method));
                self.sample("myriapod_requests", "_total", labels, count);
            }
        }
        let latencies = self.tallies.iter().map(|tally| &tally.latency);
        self.histogram(
            "myriapod_request_duration_seconds",
            "From a request's first byte to the last byte of its answer.",
            latencies,
        );
    }

    /// Merges what was seen by several.
    fn histogram<'h>(&mut self, name: &str, help: &str, each: impl Iterator<Item = &'h Histogram>) {
        self.family(name, Kind::Histogram, help);
        let mut seen = Snapshot::default();
        each.for_each(|histogram| histogram.add_to(&mut seen));
        for (bound_ns, count) in seen.bounds() {
            self.sample(name, "_bucket", format_args!("le=\"{}\"", Seconds(bound_ns)), count);
        }
        self.sample(name, "_bucket", "le=\"+Inf\"", seen.count());
        self.plain(name, "_sum", Seconds(seen.sum_ns()));
        self.plain(name, "_count", seen.count());
    }

    fn reactors(&mut self) {
        self.counters("myriapod_reactor_turns", "Turns of the loop.", |tally| tally.turns.value());
        self.counters("myriapod_reactor_events", "Events from the kernel.", |tally| tally.events.value());
        self.counters("myriapod_reactor_busy_seconds", "Time spent working.", |tally| {
            Seconds(tally.busy_ns.value())
        });
        self.counters("myriapod_reactor_waiting_seconds", "Time spent waiting for events.", |tally| {
            Seconds(tally.waiting_ns.value())
        });
        self.gauges("myriapod_reactor_turn_longest_seconds", "The longest turn since the start.", |tally| {
            Seconds(tally.turn_work.snapshot().longest_ns())
        });
        self.histogram(
            "myriapod_reactor_turn_duration_seconds",
            "The work of a turn, over all reactors: how long a ready connection may have to wait for its own.",
            self.tallies.iter().map(|tally| &tally.turn_work),
        );
        self.gauges("myriapod_reactor_buffers_lent", "Read buffers in use.", |tally| {
            tally.buffers_lent.value()
        });
        self.gauges("myriapod_reactor_buffers_spare", "Read buffers kept for use.", |tally| {
            tally.buffers_spare.value()
        });
        self.gauges("myriapod_reactor_timers", "Entries in the timer wheel.", |tally| tally.timers.value());
    }

    fn log(&mut self, dropped: Dropped) {
        self.family("myriapod_log_events_dropped", Kind::Counter, "Events the log could not write.");
        self.plain("myriapod_log_events_dropped", "_total", dropped.events);
        self.family("myriapod_log_lines_dropped", Kind::Counter, "Access lines the log could not write.");
        self.plain("myriapod_log_lines_dropped", "_total", dropped.lines);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.family(name, Kind::Gauge, help);
        self.plain(name, "", value);
    }

    fn gauges<V: fmt::Display>(&mut self, name: &str, help: &str, value: impl Fn(&Tally) -> V) {
        self.family(name, Kind::Gauge, help);
        self.by_reactor(name, "", value);
    }

    fn counters<V: fmt::Display>(&mut self, name: &str, help: &str, value: impl Fn(&Tally) -> V) {
        self.family(name, Kind::Counter, help);
        self.by_reactor(name, "_total", value);
    }

    fn by_reactor<V: fmt::Display>(&mut self, name: &str, suffix: &str, value: impl Fn(&Tally) -> V) {
        let tallies = self.tallies;
        for (reactor, tally) in tallies.iter().enumerate() {
            self.sample(name, suffix, format_args!("reactor=\"{reactor}\""), value(tally));
        }
    }

    fn sum(&mut self, name: &str, help: &str, value: impl Fn(&Tally) -> u64) {
        self.family(name, Kind::Counter, help);
        let total: u64 = self.tallies.iter().map(|tally| value(tally)).sum();
        self.plain(name, "_total", total);
    }

    /// Every label appears, at zero too: a rate over a series that was not there before misses its first
    /// event.
    fn labelled(&mut self, name: &str, help: &str, label: &str, of: impl Fn(&Tally) -> &Family) {
        self.family(name, Kind::Counter, help);
        let labels = self.tallies.first().map_or(&[][..], |tally| of(tally).labels());
        for (index, value) in labels.iter().enumerate() {
            let count: u64 = self.tallies.iter().map(|tally| of(tally).value(index)).sum();
            self.sample(name, "_total", format_args!("{label}=\"{}\"", Escaped(value)), count);
        }
    }

    /// What describes a family. Prometheus names it as its samples are; OpenMetrics leaves the suffix off,
    /// knows
    /// `info`, and wants the unit told where the name ends in it.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (suffix, kind) = match (self.format, kind) {
            (Exposition::Prometheus, Kind::Counter) => ("_total", "counter"),
            (Exposition::Prometheus, Kind::Info) => ("_info", "gauge"),
            (Exposition::OpenMetrics, Kind::Counter) => ("", "counter"),
            (Exposition::OpenMetrics, Kind::Info) => ("", "info"),
            (_, Kind::Gauge) => ("", "gauge"),
            (_, Kind::Histogram) => ("", "histogram"),
        };
        self.line(format_args!("# HELP {name}{suffix} {help}"));
        self.line(format_args!("# TYPE {name}{suffix} {kind}"));
        if self.format == Exposition::OpenMetrics && name.ends_with("_seconds") {
            self.line(format_args!("# UNIT {name} seconds"));
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: impl fmt::Display, value: impl fmt::Display) {
        self.line(format_args!("{name}{suffix}{{{labels}}} {value}"));
    }

    fn plain(&mut self, name: &str, suffix: &str, value: impl fmt::Display) {
        self.line(format_args!("{name}{suffix} {value}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{line}");
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => out.write_str("\\\\")?,
                '"' => out.write_str("\\\"")?,
                '\n' => out.write_str("\\n")?,
                _ => out.write_char(character)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ratio(part, whole) = *self;
        let thousandths = (part * 1_000).checked_div(whole).unwrap_or(1_000);
        write!(out, "{}.{:03}", thousandths / 1_000, thousandths % 1_000)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const FACTS: Facts<'static> = Facts {
        reloads: None,
        keeper: None,
        version: "0.1.0-\"odd\\\n{}",
        start_unix_seconds: 1_795_256_773,
        connections_max: 10_000,
        descriptor_limit: 20_000,
        accept: ("hash", "no \"right\""),
        draining: false,
        workers_stuck: 1,
        dropped: Dropped { events: 1, lines: 2 },
    };

    fn two_reactors() -> Vec<Arc<Tally>> {
        let tallies: Vec<_> = (0..2)
            .map(|_| {
                Arc::new(Tally::new(
                    &["idle", "peer"],
                    &["bad_length"],
                    &["queue_full", "no_permit"],
                    &["GET", "POST", "OTHER"],
                ))
            })
            .collect();
        for (at, tally) in tallies.iter().enumerate() {
            tally.accepted.add(10 + at as u64);
            tally.open.set(3);
            tally.closed.add(1, 7);
            tally.answers.add(0, 200, 100);
            tally.answers.add(2, 501, 1);
            tally.busy_ns.add(1_500_000_000);
            tally.latency.record(1 << 20, 50);
            tally.latency.record(200_000_000_000, 1);
            tally.refusals.add(0, 4);
            tally.queued.add(30);
            tally.waiting.set(2 + at as u64);
            tally.overdue.add(5);
        }
        tallies
    }

    /// Two that work, one of them at something, and a post that nobody has taken.
    fn two_workers() -> Vec<Arc<WorkerTally>> {
        let tallies: Vec<Arc<WorkerTally>> = (0..3).map(|_| Arc::default()).collect();
        for tally in &tallies[..2] {
            tally.manned.set(1);
            tally.jobs.add(20);
            tally.busy_ns.add(2_500_000_000);
            tally.wait.record(1 << 20, 20);
            tally.service.record(1 << 30, 19);
        }
        tallies[1].began_ns.set(77);
        tallies
    }

    fn page(format: Exposition) -> String {
        let mut out = String::new();
        write(&mut out, &two_reactors(), &two_workers(), &SiteView::default(), &FACTS, format);
        out
    }

    fn is_name(name: &str) -> bool {
        !name.is_empty()
            && !name.as_bytes()[0].is_ascii_digit()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }

    /// Takes a sample apart by the grammar: name, optional labels in braces, one space, a number, nothing
    /// else.
    fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
        let name_end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(name_end);
        assert!(is_name(name), "{line}");
        let mut labels = Vec::new();
        while rest.starts_with(['{', ',']) {
            let (label, value) = rest[1..].split_once("=\"").unwrap();
            assert!(is_name(label), "{line}");
            let mut escaped = false;
            let end = value
                .find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                })
                .unwrap();
            labels.push((label.to_owned(), value[..end].to_owned()));
            rest = &value[end + 1..];
            rest = rest.strip_prefix('}').unwrap_or(rest);
        }
        let value = rest.strip_prefix(' ').unwrap();
        assert!(!value.contains(' '), "{line}");
        (name.to_owned(), labels, value.parse().unwrap())
    }

    fn check_grammar(text: &str, format: Exposition) {
        let (mut kinds, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let (mut family, mut kind) = (String::new(), String::new());
        assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains('\r'));
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(about) = line.strip_prefix("# ") {
                let (what, rest) = about.split_once(' ').unwrap();
                let (name, value) = rest.split_once(' ').unwrap();
                assert!(is_name(name));
                match what {
                    "HELP" => {
                        assert!(!value.contains(['\\', '"']) && !value.is_empty());
                        name.clone_into(&mut family);
                    }
                    "TYPE" => {
                        assert_eq!(name, family);
                        value.clone_into(&mut kind);
                        assert_eq!(
                            kinds.insert(name.to_owned(), value.to_owned()),
                            None,
                            "{name} comes twice"
                        );
                    }
                    "UNIT" => {
                        assert_eq!(format, Exposition::OpenMetrics);
                        assert!(name == family && name.ends_with(&format!("_{value}")));
                    }
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (name, labels, value) = sample(line);
            assert!(seen.insert((name.clone(), labels.clone())), "{line} comes twice");
            assert!(value >= 0.0);
            let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] = match (kind.as_str(), format) {
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                ("counter", Exposition::OpenMetrics) => &["_total"],
                ("info", Exposition::OpenMetrics) => &["_info"],
                ("counter" | "gauge", _) => &[""],
                _ => panic!("{kind} is no type"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert_eq!(suffix == "_bucket", labels.iter().any(|(label, _)| label == "le"), "{line}");
        }
        for (name, kind) in kinds {
            let ends_as_counter = name.ends_with("_total");
            assert_eq!(ends_as_counter, kind == "counter" && format == Exposition::Prometheus, "{name}");
        }
    }

    #[test]
    fn every_line_keeps_the_grammar_of_prometheus() {
        check_grammar(&page(Exposition::Prometheus), Exposition::Prometheus);
    }

    #[test]
    fn every_line_keeps_the_grammar_of_open_metrics() {
        let text = page(Exposition::OpenMetrics);
        check_grammar(&text, Exposition::OpenMetrics);
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(text.matches("# EOF").count(), 1);
    }

    #[test]
    fn both_formats_hold_the_same_samples() {
        let samples = |format| {
            page(format).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(samples(Exposition::Prometheus), samples(Exposition::OpenMetrics));
    }

    #[test]
    fn reactors_are_told_apart_or_summed() {
        let text = page(Exposition::Prometheus);
        for line in [
            "myriapod_connections_accepted_total{reactor=\"0\"} 10",
            "myriapod_connections_accepted_total{reactor=\"1\"} 11",
            "myriapod_connections_open{reactor=\"1\"} 3",
            "myriapod_connections_coming{reactor=\"0\"} 0",
            "myriapod_connections_imbalance 1.000",
            "myriapod_accept_mode{mode=\"hash\",why=\"no \\\"right\\\"\"} 1",
            "myriapod_requests_total{method=\"GET\",status=\"200\"} 200",
            "myriapod_requests_total{method=\"OTHER\",status=\"501\"} 2",
            "myriapod_connections_closed_total{reason=\"idle\"} 0",
            "myriapod_connections_closed_total{reason=\"peer\"} 14",
            "myriapod_reactor_busy_seconds_total{reactor=\"0\"} 1.500000000",
            "myriapod_build_info{version=\"0.1.0-\\\"odd\\\\\\n{}\"} 1",
            "myriapod_log_lines_dropped_total 2",
            "myriapod_ready 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
        assert_eq!(text.matches("myriapod_requests_total{").count(), 2, "pairs at zero are left out");
    }

    #[test]
    fn queues_and_workers_are_told_of() {
        let text = page(Exposition::Prometheus);
        for line in [
            "myriapod_requests_refused_total{reason=\"queue_full\"} 8",
            "myriapod_requests_refused_total{reason=\"no_permit\"} 0",
            "myriapod_requests_overdue_total 10",
            "myriapod_answers_late_total 0",
            "myriapod_queue_submitted_total{reactor=\"1\"} 30",
            "myriapod_queue_waiting{reactor=\"1\"} 3",
            "myriapod_queue_out{reactor=\"0\"} 0",
            "myriapod_workers 2",
            "myriapod_workers_busy 1",
            "myriapod_workers_stuck 1",
            "myriapod_worker_jobs_total{worker=\"0\"} 20",
            "myriapod_worker_busy_seconds_total{worker=\"1\"} 2.500000000",
            "myriapod_queue_wait_seconds_bucket{le=\"0.001048576\"} 40",
            "myriapod_handler_duration_seconds_count 38",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("worker=\"2\""), "a post that nobody has taken is left out");
    }

    /// A histogram that is short of what a worker saw before it ended would look like one that began anew.
    #[test]
    fn what_a_worker_saw_outlasts_it() {
        let workers = two_workers();
        workers.iter().for_each(|tally| tally.manned.set(0));
        let mut out = String::new();
        write(&mut out, &two_reactors(), &workers, &SiteView::default(), &FACTS, Exposition::Prometheus);
        assert!(out.contains("\nmyriapod_workers 0\n") && !out.contains("worker=\""));
        assert!(out.contains("\nmyriapod_queue_wait_seconds_count 40\n"));
    }

    #[test]
    fn buckets_rise_to_the_count() {
        let text = page(Exposition::OpenMetrics);
        let bucket = |le: &str| {
            let start = format!("myriapod_request_duration_seconds_bucket{{le=\"{le}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse::<u64>().unwrap()
        };
        assert_eq!((bucket("0.000524288"), bucket("0.001048576"), bucket("68.719476736")), (0, 100, 100));
        assert_eq!(bucket("+Inf"), 102);
        assert!(text.contains("\nmyriapod_request_duration_seconds_count 102\n"));
        assert!(text.contains("\nmyriapod_request_duration_seconds_sum 400.104857600\n"));
    }

    #[test]
    fn imbalance_is_most_over_mean() {
        let text = |open: &[u64]| {
            let tallies: Vec<_> = open.iter().map(|_| two_reactors().swap_remove(0)).collect();
            tallies.iter().zip(open).for_each(|(tally, open)| tally.open.set(*open));
            let mut out = String::new();
            write(&mut out, &tallies, &[], &SiteView::default(), &FACTS, Exposition::Prometheus);
            out
        };
        for (open, wanted) in
            [(&[12, 4][..], "1.500"), (&[5, 5, 5], "1.000"), (&[0, 0], "1.000"), (&[3], "1.000")]
        {
            assert!(text(open).contains(&format!("\nmyriapod_connections_imbalance {wanted}\n")), "{open:?}");
        }
    }

    #[test]
    fn a_draining_server_is_not_ready() {
        let mut out = String::new();
        write(
            &mut out,
            &[],
            &[],
            &SiteView::default(),
            &Facts { draining: true, ..FACTS },
            Exposition::OpenMetrics,
        );
        assert!(out.contains("\nmyriapod_ready 0\n"));
        check_grammar(&out, Exposition::OpenMetrics);
    }
}
