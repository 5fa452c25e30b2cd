//! The whole binary against a server whose every move is known: what it says must be what happened.

use std::process::Command;

use serde_json::Value;

#[allow(dead_code, reason = "the tests inside the binary use the rest")]
#[path = "../src/testing/stub.rs"]
mod stub;

use std::time::Duration;

use stub::{Move, Stub};

/// Questions before every run, to learn what a right answer is.
const PREFLIGHT: u64 = 2;
const STALL: Duration = Duration::from_millis(300);

/// Runs a mode; its exit code and what it says.
fn load(stub: &Stub, flags: &str) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriapod-load"));
    command.args(flags.split_whitespace()).args(["--warm-up", "0", "--json", "-"]);
    let output = command.arg(format!("http://{}/", stub.address)).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{told}"));
    (output.status.code().unwrap(), report)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Share of the answers that took at least a tenth of a second.
fn slow_share(load: &Value) -> f64 {
    let latency = &load["latency_ns"];
    let buckets = latency["buckets"].as_array().unwrap().iter();
    let slow = buckets.filter(|bucket| number(&bucket[0]) >= 100_000_000).map(|bucket| number(&bucket[1]));
    slow.sum::<u64>() as f64 / latency["count"].as_f64().unwrap()
}

fn stalling() -> Stub {
    Stub::new(|asked| if asked == 200 { Move::Stall(STALL) } else { Move::Answer })
}

#[test]
fn a_stall_that_a_closed_loop_hides_shows_in_an_open_one() {
    let stub = stalling();
    let (code, report) = load(&stub, "open -R 500 -c 8 -t 2 -d 1s");
    let open = &report["loads"][0];
    assert_eq!((number(&open["requests"]), number(&open["answers"])), (500, 500));
    assert_eq!(stub.asked(), 500 + PREFLIGHT);
    // Who came in the first two tenths of the stall waited a tenth at least: a hundred of five hundred.
    assert!(slow_share(open) >= 0.19, "{}", slow_share(open));
    assert!(number(&open["latency_ns"]["p99"]) >= 270_000_000);
    // A busy machine may have lost the rate, but then the run says so.
    assert_eq!(code == 0, report["valid"] == true);

    let stub = stalling();
    let (code, report) = load(&stub, "closed -c 4 -d 1s");
    assert_eq!(code, 0);
    assert!(number(&report["loads"][0]["latency_ns"]["max"]) >= 290_000_000);
    assert!(slow_share(&report["loads"][0]) < 0.05);
}

#[test]
fn a_rate_that_does_not_come_about_fails_the_run() {
    // Each answer takes the whole server for thirty milliseconds.
    let stub = Stub::new(|_| Move::Stall(Duration::from_millis(30)));
    let (code, report) = load(&stub, "open -R 200 -c 4 -d 500ms --timeout 300ms");
    assert_eq!((code, &report["valid"]), (1, &Value::Bool(false)));
    assert!(report["invalid"][0].as_str().unwrap().contains("of 200 requests/s"), "{}", report["invalid"]);
    let short = &report["loads"][0];
    assert_eq!(number(&short["requests"]), 100);
    assert_eq!(number(&short["answers"]) + number(&short["errors_total"]), 100);
    assert!(number(&short["errors"]["unsent"]) > 0);
}

#[test]
fn the_same_seed_draws_the_same_schedule() {
    let draw = |seed: u32| {
        let stub = Stub::new(|_| Move::Answer);
        let flags = format!("open -R 1000 --arrivals poisson --seed {seed} -c 8 -d 300ms");
        let (_, report) = load(&stub, &flags);
        number(&report["loads"][0]["requests"])
    };
    let first = draw(7);
    assert!((200..400).contains(&first), "{first}");
    assert_eq!(first, draw(7));
    assert!((8..16).any(|seed| draw(seed) != first));
}

#[test]
fn churn_takes_a_connection_for_each_answer() {
    let stub = Stub::new(|_| Move::Part);
    let (_, report) = load(&stub, "churn -R 200 -c 16 -d 500ms");
    let churn = &report["loads"][0];
    assert_eq!((number(&churn["requests"]), number(&churn["answers"])), (100, 100));
    assert_eq!((stub.connections(), stub.asked()), (100 + PREFLIGHT, 100 + PREFLIGHT));
    assert!(report["facts"]["connect_p99"]["value"].as_f64().unwrap() > 0.0);
    // Connecting is part of the latency, and less than all of it.
    let connect = report["facts"]["connect_p50"]["value"].as_f64().unwrap();
    assert!(connect < churn["latency_ns"]["p50"].as_f64().unwrap());
}

#[test]
fn a_sweep_has_a_load_for_each_step() {
    let stub = Stub::new(|_| Move::Answer);
    let (_, report) = load(&stub, "open --sweep --steps 5,20 -c 4 -d 300ms --timeout 1s");
    let peak = report["facts"]["peak"]["value"].as_f64().unwrap();
    let steps: Vec<(&str, f64)> = (report["loads"].as_array().unwrap().iter())
        .map(|load| (load["name"].as_str().unwrap(), load["rate_wanted"].as_f64().unwrap() / peak))
        .collect();
    assert_eq!((steps[0].0, steps[1].0, steps.len()), ("5 %", "20 %", 2));
    assert!((steps[0].1 - 0.05).abs() < 1e-3 && (steps[1].1 - 0.2).abs() < 1e-3, "{steps:?}");
}
