//! Invented reports of every mode, as a run might leave them: what the tests tell, and what is looked at.

use std::collections::BTreeMap;

use super::{
    Case, Comparison, Fact, Held, Load, Machine, Moment, Ratio, Report, Scraped, Step, Unit, Versus,
};
use crate::engine::latency::Latency;

/// Every sample with the name it is written under.
pub fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("closed", closed()),
        ("closed-bad", closed_bad()),
        ("closed-huge", closed_huge()),
        ("open", open()),
        ("sweep", sweep()),
        ("hold", hold()),
        ("hold-one", hold_one()),
        ("churn", churn()),
        ("slow", slow()),
        ("compare", compare()),
        ("empty", Report { mode: "closed", ..Report::default() }),
    ]
}

fn report(mode: &'static str, flags: &str) -> Report {
    Report {
        mode,
        target: "http://127.0.0.1:8080/plaintext".into(),
        command: format!("myriapod-load {mode} {flags} http://127.0.0.1:8080/plaintext"),
        began: "2026-11-21 16:02 UTC".into(),
        machine: Machine {
            processor: "AMD EPYC 7763".into(),
            cpus: 2,
            memory_bytes: 24 << 30,
            kernel: "Linux 6.18.44".into(),
        },
        checked: "status 200, 13 bytes, same body".into(),
        ..Report::default()
    }
}

/// Most near the middle, a tail that thins out by tens and now and then a stall.
pub fn latency(seed: u64, count: u64, middle_ns: f64, tail: f64) -> Latency {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut latency = Latency::default();
    for _ in 0..count {
        let body = (0..6).map(|_| random.f64()).sum::<f64>() / 3.0;
        let stretch = if random.f64() < 0.02 { 1.0 - tail * random.f64().ln() } else { 1.0 };
        latency.record((middle_ns * body.powf(1.6) * stretch) as u64);
    }
    latency
}

/// Seconds like those of a server that now and then does something else.
fn timeline(seed: u64, seconds: u32, rate: f64, middle_ns: f64) -> Vec<Moment> {
    let mut random = fastrand::Rng::with_seed(seed);
    (1..=seconds)
        .map(|second| {
            let bump = if second % 11 == 7 { 2.6 } else { 1.0 };
            let wobble = |random: &mut fastrand::Rng, by: f64| 1.0 + by * (random.f64() - 0.5);
            let p50 = middle_ns * wobble(&mut random, 0.12);
            let p99 = p50 * 2.4 * wobble(&mut random, 0.3) * bump;
            Moment {
                at_seconds: f64::from(second),
                rate: rate * wobble(&mut random, 0.05) / f64::sqrt(bump),
                errors: 0,
                p50_ns: p50 as u64,
                p99_ns: p99 as u64,
                max_ns: (p99 * (1.8 + 3.0 * random.f64())) as u64,
            }
        })
        .collect()
}

fn load(name: &str, seed: u64, rate: f64, middle_ns: f64) -> Load {
    let seconds = 30.0;
    let answers = (rate * seconds) as u64;
    Load {
        name: name.into(),
        seconds,
        rate,
        requests: answers,
        answers,
        bytes_received: answers * 142,
        latency: latency(seed, answers.min(40_000), middle_ns, 3.0),
        timeline: timeline(seed, seconds as u32, rate, middle_ns),
        server_cpu_seconds: Some(answers as f64 * 6.01e-6),
        busiest_thread: 0.43,
        ..Load::default()
    }
}

fn scheduled(name: &str, seed: u64, wanted: f64, middle_ns: f64) -> Load {
    let mut load = load(name, seed, wanted * 0.9996, middle_ns);
    load.rate_wanted = Some(wanted);
    load.lag = latency(seed + 1, 20_000, 9_000.0, 4.0);
    load
}

pub fn closed() -> Report {
    let loads = vec![load("closed", 1, 137_910.0, 412_000.0)];
    Report { loads, ..report("closed", "-t 1 -c 64 -d 30s") }
}

/// A server on fire behind a name that wants to be markup.
pub fn closed_bad() -> Report {
    let mut load = load("closed", 2, 3_180.0, 18_000_000.0);
    load.errors = BTreeMap::from([
        ("refused", 12),
        ("length", 3),
        ("reset", 21_088),
        ("status", 1_408),
        ("timeout", 40_221),
    ]);
    load.requests += load.errors_total();
    let share = |moment: &mut Moment| moment.errors = (moment.rate * (moment.at_seconds / 45.0)) as u64;
    load.timeline.iter_mut().for_each(share);
    let mut report = report("closed", "-t 2 -c 4096 -d 30s --header 'X: <b>\"&\"</b>'");
    report.target = "http://127.0.0.1:8080/a?b=<script>alert(1)</script>&c='d'".into();
    report.invalid = vec!["62 732 of 158 132 requests failed".into(), "answers differ in length".into()];
    report.remarks = vec!["the server closed 21 088 connections that were in use".into()];
    report.loads = vec![load];
    report
}

/// Latencies from nanoseconds to minutes, and a long name.
pub fn closed_huge() -> Report {
    let mut load = load("a load with quite a long name, to see what it does", 3, 0.8, 4e10);
    load.latency = Latency::default();
    for step in 0..24_u64 {
        load.latency.record(700_000_000 + step.pow(4) * 1_100_000_000);
    }
    load.answers = 24;
    load.requests = 24;
    let mut fast = self::load("in nanoseconds", 4, 8_400_000.0, 640.0);
    fast.timeline.truncate(2);
    Report { loads: vec![fast, load], ..report("closed", "--everything") }
}

pub fn open() -> Report {
    let mut report = report("open", "--rate 80000 --poisson -d 30s");
    report.loads = vec![scheduled("open", 5, 80_000.0, 190_000.0)];
    let text = "p99<2ms, p99.9<10us, errors=0, achieved>=99%";
    report.judgements = super::expect::judge(&super::expect::parse(text).unwrap(), &report);
    report
}

pub fn sweep() -> Report {
    let mut report = report("sweep", "--steps 9 -d 30s");
    let peak = 141_300.0;
    report.facts = vec![Fact { name: "peak", label: "closed-loop peak", value: peak, unit: Unit::PerSecond }];
    for step in 1..=9_u32 {
        let share = f64::from(step) / 10.0;
        let middle = 58_000.0 / (1.06 - share);
        let name = format!("{} %", step * 10);
        report.loads.push(scheduled(&name, u64::from(step) * 7, peak * share, middle));
    }
    let last = report.loads.last_mut().unwrap();
    last.rate *= 0.973;
    last.errors = BTreeMap::from([("timeout", 3)]);
    report.invalid = vec!["at 90 % only 97.3 % of the rate wanted was achieved".into()];
    report
}

fn step(connections: u64, seconds: f64, before: u64) -> Step {
    let bytes = |per: f64, base: f64| (base + per * connections as f64) as u64;
    Step {
        connections,
        open_seconds: seconds,
        open_rate: if seconds > 0.0 { (connections - before) as f64 / seconds } else { 0.0 },
        server_bytes: Some(bytes(61.4, 31e6)),
        slab_bytes: bytes(7_910.0, 210e6),
        used_bytes: bytes(8_640.0, 1.9e9),
        own_bytes: bytes(49.0, 44e6),
        server_idle_share: Some(0.0008 + connections as f64 / 4e8),
        probe: None,
        scraped: Vec::new(),
    }
}

pub fn hold() -> Report {
    let mut report = report("hold", "--connections 1000000 --steps 0,100k,250k,500k,1M --accept-rate 40k");
    let counts = [0, 100_000, 250_000, 500_000, 1_000_000];
    for (at, &count) in counts.iter().enumerate() {
        let before = at.checked_sub(1).map_or(0, |at| counts[at]);
        let mut step = step(count, (count - before) as f64 / 31_400.0, before);
        step.slab_bytes += [0, 9_000_000, 0, 21_000_000, 4_000_000][at];
        step.probe = Some(at);
        let name = format!("probe beside {}", super::units::count(count));
        let mut probe = scheduled(&name, 100 + at as u64, 1_000.0, 61_000.0 + 9_000.0 * at as f64);
        probe.timeline.clear();
        report.loads.push(probe);
        report.steps.push(step);
    }
    let fact = |name, label, value, unit| Fact { name, label, value, unit };
    report.facts = vec![
        fact("connections", "connections held, each answered", 1_000_000.0, Unit::Count),
        fact("sweep_seconds", "every connection asked once", 18.4, Unit::Seconds),
        fact("close_seconds", "all closed at once, server below 64 MiB", 6.2, Unit::Seconds),
        fact("imbalance", "fullest reactor over the mean", 1.000_05, Unit::Ratio),
    ];
    let scraped = Scraped {
        name: "myriapod_connections_open".into(),
        series: 53,
        least: 18_867.0,
        most: 18_869.0,
        sum: 1_000_000.0,
    };
    report.steps.last_mut().unwrap().scraped = vec![scraped];
    report.remarks =
        vec!["kernel memory is that of both ends, since client and server share the machine".into()];
    let text = "errors=0, bytes_per_connection<=128, 1000000.probe_p99<200us, open_seconds<=40";
    report.judgements = super::expect::judge(&super::expect::parse(text).unwrap(), &report);
    report
}

pub fn hold_one() -> Report {
    let mut report = report("hold", "--connections 20000");
    report.steps = vec![Step { server_bytes: None, server_idle_share: None, ..step(20_000, 0.7, 0) }];
    report
}

pub fn churn() -> Report {
    let mut report = report("churn", "--rate 20000 -d 30s");
    report.facts =
        vec![Fact { name: "connects", label: "connections made", value: 599_000.0, unit: Unit::Count }];
    report.loads = vec![scheduled("churn", 31, 20_000.0, 96_000.0)];
    report
}

pub fn slow() -> Report {
    let mut report = report("slow", "--drips 5000 --deaf 500");
    report.loads = vec![
        scheduled("normal, alone", 41, 20_000.0, 88_000.0),
        scheduled("normal, beside 5 000 drips and 500 that do not read", 42, 20_000.0, 104_000.0),
    ];
    report
}

fn versus(random: &mut fastrand::Rng, server: &str, rate: f64, first: f64, cpu_us: f64) -> Versus {
    let mut near = |value: f64| value * (1.0 + 0.02 * (random.f64() - 0.5));
    let ratio = |middle: f64| Ratio { middle, low: middle * 0.988, high: middle * 1.011 };
    Versus {
        server: server.into(),
        rate,
        cpu_us_per_request: Some(cpu_us),
        p50_ns: 64e9 / rate * 0.8,
        p99_ns: 64e9 / rate * 1.9,
        errors: 0,
        rate_ratio: ratio(rate / first),
        cpu_ratio: Some(ratio(cpu_us / 6.01)),
        rates: (0..12).map(|_| near(rate)).collect(),
        answer_bytes: 142.0,
        memory: None,
    }
}

/// A server whose connections were only held, as `compare` leaves it: what was not measured is no number.
fn held(server: &str, server_bytes: f64) -> Versus {
    let unknown = Ratio { middle: f64::NAN, low: f64::NAN, high: f64::NAN };
    let middle = server_bytes / 61.4;
    let ratio = Ratio { middle, low: middle * 0.997, high: middle * 1.004 };
    Versus {
        server: server.into(),
        rate: f64::NAN,
        p50_ns: f64::NAN,
        p99_ns: f64::NAN,
        rate_ratio: unknown,
        answer_bytes: f64::NAN,
        memory: Some(Held { server_bytes, kernel_bytes: 7_910.0, ratio }),
        ..Versus::default()
    }
}

pub fn compare() -> Report {
    let mut random = fastrand::Rng::with_seed(51);
    let servers = ["myriapod", "nginx", "haproxy", "h2o", "myriapod again"];
    let cases = [
        ("plaintext", [138_862.0, 140_444.0, 135_738.0, 136_203.0, 138_700.0]),
        ("plaintext, depth 16", [1_431_280.0, 174_262.0, 164_557.0, 148_045.0, 1_429_900.0]),
        ("file of 10 KiB", [96_400.0, 81_300.0, 74_200.0, 88_700.0, 97_000.0]),
        ("connection per request", [41_200.0, 19_800.0, 22_000.0, 18_100.0, 40_100.0]),
    ];
    let cases = cases.map(|(name, rates)| Case {
        name: name.into(),
        results: servers
            .iter()
            .zip(rates)
            .map(|(server, rate)| versus(&mut random, server, rate, rates[0], 6.01 * rates[0] / rate))
            .collect(),
        holds: name != "connection per request",
        blocks: 12,
    });
    let bytes = [61.4, 402.0, 17_300.0, 1_210.0, 61.5];
    let results = servers.iter().zip(bytes).map(|(server, bytes)| held(server, bytes)).collect();
    let idle = Case { name: "idle connections".into(), results, holds: true, blocks: 18 };
    let comparison = Comparison {
        servers: servers.map(String::from).to_vec(),
        blocks: 12,
        seed: 791_151,
        cases: cases.into_iter().chain([idle]).collect(),
    };
    Report { comparison: Some(comparison), ..report("compare", "--blocks 12 -- ./a -- nginx -c x.conf") }
}

/// Writes what is made of every sample to a folder, to be looked at: `REPORT_SAMPLES=/tmp/samples cargo test
/// -p myriapod-load samples`.
#[test]
fn samples_are_written_where_somebody_wants_to_look_at_them() {
    let Some(folder) = std::env::var_os("REPORT_SAMPLES").map(std::path::PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    for (name, report) in all() {
        let mut text = Vec::new();
        super::text::tell(&report, &mut text).unwrap();
        std::fs::write(folder.join(format!("{name}.txt")), text).unwrap();
        std::fs::write(folder.join(format!("{name}.json")), super::json::text(&report)).unwrap();
        std::fs::write(folder.join(format!("{name}.html")), super::html::page(&report)).unwrap();
        for (plot, text) in super::svg::plots(&report) {
            std::fs::write(folder.join(format!("{name}-{plot}.svg")), text).unwrap();
        }
    }
}
