//! Stories of expectations: what is asked, what a run found, what becomes of it.

use proptest::prelude::*;

use super::*;
use crate::report::{Fact, Load, samples};

fn judged(text: &str, report: &Report) -> Vec<Judgement> {
    judge(&parse(text).unwrap(), report)
}

fn only(text: &str, report: &Report) -> Judgement {
    let mut all = judged(text, report);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn mistake(text: &str) -> String {
    parse(text).unwrap_err()
}

#[test]
fn what_holds_is_told_beside_what_fails() {
    let told = judged("p99 < 20ms, p99.9<10us, errors = 0,", &samples::open());
    let held = told.iter().map(|one| (one.expectation.as_str(), one.held)).collect::<Vec<_>>();
    assert_eq!(held, [("p99 < 20 ms", true), ("p99.9 < 10 µs", false), ("errors = 0", true)]);
    assert!(told[1].told.ends_with("ms") && told[1].measured.unwrap() > 10_000.0, "{:?}", told[1]);
}

#[test]
fn every_mistake_is_told_with_what_to_write_instead() {
    let told = mistake("p99<2, p999<2ms, errors=>0, rate<5ms, p99<2ms");
    let expected = "\
        `p99<2`: p99 is a time: write 2ms or 1.5s\n\
        `p999<2ms`: `p999` is not known; did you mean `p99.9`?\n\
        `errors=>0`: `=>` is none of < <= = >= >\n\
        `rate<5ms`: rate is a rate: write 50k/s";
    assert_eq!(told, expected);
    assert_eq!(mistake("p99"), "`p99`: nothing to compare with; write name<value");
    assert_eq!(mistake("<2ms"), "`<2ms`: no name");
    assert_eq!(mistake("p 99<2ms"), "`p 99<2ms`: `p 99` is no name");
    assert!(mistake("p100<2ms").starts_with("`p100<2ms`: `p100` is not known"));
    assert!(mistake(" , ").contains("nothing is expected"));
}

#[test]
fn names_only_a_mode_knows_are_settled_before_the_run() {
    let facts = [("open_seconds", Unit::Seconds), ("imbalance", Unit::Ratio)];
    let knowing = |text: &str| parse(text).unwrap().knowing(&facts);
    assert!(knowing("imbalance<=1.02, timeout=0, p99<2ms").is_ok());
    assert_eq!(knowing("imbalanc<=1.02").unwrap_err(), "`imbalanc` is not known; did you mean `imbalance`?");
    assert_eq!(knowing("timeouts=0").unwrap_err(), "`timeouts` is not known; did you mean `timeout`?");
    assert_eq!(knowing("imbalance<5ms").unwrap_err(), "`imbalance` is a ratio: write 1.05");
}

#[test]
fn a_name_nobody_knows_fails_when_nobody_settled_it() {
    let told = only("imbalanc<=1.02", &samples::hold());
    assert!(!told.held && told.measured.is_none());
    assert_eq!(told.told, "`imbalanc` is not known; did you mean `imbalance`?");
}

#[test]
fn kinds_of_errors_count_alone() {
    let report = samples::closed_bad();
    assert_eq!(only("timeout<50k", &report).measured, Some(40_221.0));
    assert_eq!(only("errors.reset=0", &report).measured, Some(21_088.0));
    // A kind that did not occur is one all the same; what is no kind is a mistake.
    assert!(only("body=0", &report).held);
    let told = mistake("errors.timeuot=0");
    assert_eq!(told, "`errors.timeuot=0`: `timeuot` is not known; did you mean `timeout`?");
    assert_eq!(mistake("timeout<5ms"), "`timeout<5ms`: timeout is a count: write 0 or 20k");
    assert_eq!(only("errors<1M", &report).measured, Some(62_732.0));
}

#[test]
fn without_a_load_the_worst_of_them_counts() {
    let report = samples::sweep();
    let told = only("p99<1s", &report);
    assert_eq!(told.of, "90 %");
    let told = only("achieved>=99%", &report);
    assert_eq!((told.held, told.of.as_str()), (false, "90 %"));
    let told = only("10.p99<1s", &report);
    assert_eq!((told.expectation.as_str(), told.of.as_str()), ("10.p99 < 1 s", ""));
    let told = only("rate>1", &report);
    assert_eq!(told.of, "10 %");
    assert_eq!(only("errors=0", &report).measured, Some(3.0));
}

#[test]
fn a_load_is_picked_by_words_of_its_name() {
    let report = samples::sweep();
    assert!(only("10.achieved>=99%", &report).held);
    assert!(!only("90.achieved>=99%", &report).held);
    let told = only("95.p99.9<1s", &report);
    assert!(!told.held && told.told.starts_with("nothing is called `95`; there are: 10 %, 20 %"), "{told:?}");
    assert!(only("60.p99.9<1s", &report).measured < only("90.p99.9<1s", &report).measured);
}

#[test]
fn held_connections_have_slopes_steps_and_probes() {
    let report = samples::hold();
    let slope = only("bytes_per_connection<=64", &report);
    assert!(slope.held && (slope.measured.unwrap() - 61.4).abs() < 0.01, "{slope:?}");
    assert!(only("kernel_bytes_per_connection<8KiB", &report).held);
    assert!(only("connections>=1000000", &report).held);
    let probe = only("probe_1000000.p99<2ms", &report);
    assert!(probe.measured > only("probe_100000.p99<2ms", &report).measured);
    assert_eq!(only("1000000.probe_p99<2ms", &report).measured, probe.measured);
    assert_eq!(only("server_bytes<64MiB", &report).of, "1 000 000 connections");
    assert!(only("100000.server_bytes<64MiB", &report).held);
}

#[test]
fn servers_of_a_comparison_are_loads_too() {
    let report = samples::compare();
    let told = only("rate_ratio<=10", &report);
    assert!(told.held && told.of.starts_with("plaintext, "), "{told:?}");
    assert!(only("depth_16_nginx.rate_ratio<0.2", &report).held);
    assert_eq!(only("nginx.rate_ratio<1", &report).of, "plaintext, nginx");
    assert!(only("plaintext_nginx.cpu_per_request<1ms", &report).held);
    assert!(only("errors=0", &report).held);
    // Idle connections have a weight, and no rate that could fail.
    assert!(only("nginx.memory_ratio>6", &report).held && only("rate>1k/s", &report).held);
}

#[test]
fn what_was_not_measured_never_holds() {
    let mut report = Report { loads: vec![Load::default()], ..Report::default() };
    for text in ["p99<2ms", "max>=0", "bytes_per_connection<128", "probe_p99<1s", "cpu_per_request<1s"] {
        let told = only(text, &report);
        assert!(!told.held && told.measured.is_none(), "{told:?}");
    }
    report.facts.push(Fact { name: "open_seconds", label: "", value: f64::NAN, unit: Unit::Seconds });
    assert!(!only("open_seconds<40", &report).held);
    assert!(!only("open_seconds>40", &report).held);
}

#[test]
fn a_fact_stands_before_a_figure_of_the_same_name() {
    let mut report = samples::hold();
    report.facts.push(Fact { name: "open_seconds", label: "", value: 33.0, unit: Unit::Seconds });
    assert_eq!(only("open_seconds<=40s", &report).measured, Some(33.0));
    assert!(only("500000.open_seconds<=10s", &report).measured.unwrap() < 9.0);
}

proptest! {
    #[test]
    fn nothing_that_is_written_makes_it_panic(text in "\\PC{0,40}") {
        let _ = parse(&text).map(|expectations| judge(&expectations, &samples::hold()));
    }

    #[test]
    fn what_is_written_well_is_understood(
        name in "(p(1|50|99|99\\.9)|max|mean)",
        sign in "(<|<=|=|>=|>)",
        number in 1_u32..10_000,
        gap in " {0,2}",
    ) {
        let text = format!("{gap}{name}{gap}{sign}{gap}{number}{gap}us");
        prop_assert!(parse(&text).is_ok(), "{}", text);
    }
}
