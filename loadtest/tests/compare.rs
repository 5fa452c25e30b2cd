//! Whole comparisons of small servers, as a user runs them: what comes of them, and that nothing stays on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const CEILING: &str = env!("CARGO_BIN_EXE_ceiling");
const PATIENCE: Duration = Duration::from_secs(20);

fn compare(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriapod-load"));
    command.args(["compare", "--quiet"]).args(flags).stdin(Stdio::null());
    command
}

/// A server that writes down its process, so that a test can see whether it is there.
fn noted(name: &str, note: &Path) -> String {
    format!("{name}=echo $$ >> {}; exec {CEILING} --port {{port}}", note.display())
}

fn note(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("compare-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn noted_ids(note: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(note).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Dead counts as gone, also before somebody has taken notice.
fn is_gone(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr));
    })
}

#[test]
fn two_servers_are_measured_in_every_block_beside_the_control_and_end() {
    let note = note("two");
    let (one, two) = (noted("one", &note), noted("two", &note));
    let blocks = ["--blocks", "6", "--blocks-max", "7", "--block-time", "50ms", "--warm-up", "10ms"];
    // No machine is as quiet as that: the case cannot hold, and goes on to the last block.
    let rest = ["--control", "0%", "--seed", "5", "-c", "4", "--depth", "2", "--path", "/a", "--json", "-"];
    let output = compare(&["--server", &one, "--server", &two]).args(blocks).args(rest).output().unwrap();
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(report["valid"], false);
    let told = report["invalid"][0].as_str().unwrap();
    assert!(
        told.starts_with("/a: the control does not hold within 0 %") && told.contains("7 blocks"),
        "{told}"
    );
    let case = &report["comparison"]["cases"][0];
    assert_eq!((&case["holds"], &case["blocks"]), (&false.into(), &7.into()));
    let names: Vec<&str> =
        case["results"].as_array().unwrap().iter().map(|one| one["server"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "two", "one again"]);
    for result in case["results"].as_array().unwrap() {
        assert_eq!(
            (result["rates"].as_array().unwrap().len(), &result["errors"]),
            (7, &0.into()),
            "{result}"
        );
        assert!(result["rate"].as_f64().unwrap() > 100.0, "{result}");
        assert!(result["cpu_us_per_request"].as_f64().unwrap() > 0.1, "{result}");
        let ratio = &result["rate_ratio"];
        let (low, high) = (ratio["low"].as_f64().unwrap(), ratio["high"].as_f64().unwrap());
        assert!(low > 0.05 && high < 20.0 && low <= high, "{result}");
    }
    assert_eq!(report["checked"], "status 200, 13 bytes, the same body");
    let ids = noted_ids(&note);
    // On a crowded machine one may have been repeated, which is told then.
    let was_repeated = report["remarks"].to_string().contains("repeated");
    assert!(ids.len() == 3 * 7 || was_repeated, "each measurement has a server of its own: {}", ids.len());
    assert!(ids.iter().all(|id| is_gone(*id)), "{ids:?}");
    let _ = std::fs::remove_file(&note);
}

#[test]
fn idle_connections_are_weighed() {
    let server = format!("one=exec {CEILING} --port {{port}}");
    let flags = ["--server", &server, "--kind", "idle", "-c", "300", "--blocks", "1", "--blocks-max", "1"];
    let report = json(&compare(&flags).args(["--json", "-"]).output().unwrap());
    let one = &report["comparison"]["cases"][0]["results"][0];
    assert_eq!(one["errors"], 0, "{report}");
    assert!(one["rate"].is_null() && one["memory"]["server_bytes"].is_number(), "{one}");
    let told = report["invalid"][0].as_str().unwrap();
    assert!(told.contains("1 blocks give no 95 % confidence"), "{told}");
}

#[test]
fn a_server_that_dies_is_told_with_its_last_words() {
    let good = format!("good={CEILING} --port {{port}}");
    let bad = "bad=echo cannot bind {port} >&2; exit 3";
    let output = compare(&["--server", &good, "--server", bad, "--block-time", "10ms"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("bad ended") && told.contains("  | cannot bind"), "{told}");
}

#[test]
fn mistakes_of_a_plan_are_told_before_anything_starts() {
    let path = note("plan");
    std::fs::write(&path, "[[server]]\nname = 'a'\ncommand = 'a'\n[[case]]\npath = 'x'\n").unwrap();
    let output = compare(&["--plan", path.to_str().unwrap()]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("no {port}") && told.contains("does not begin with /"), "{told}");
    let _ = std::fs::remove_file(&path);
}

#[test]
fn a_killed_generator_leaves_neither_server_nor_its_workers_behind() {
    let note = note("killed");
    let worker = format!("sleep 1000 & echo $! >> {}", note.display());
    let server = noted("one", &note).replace("one=", &format!("one={worker}; "));
    let flags = ["--server", &server, "--block-time", "60s", "-c", "1"];
    let mut generator = compare(&flags).stdout(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    while noted_ids(&note).len() < 2 {
        assert!(since.elapsed() < PATIENCE, "no server was started");
        std::thread::yield_now();
    }
    generator.kill().unwrap();
    generator.wait().unwrap();
    for id in noted_ids(&note) {
        while !is_gone(id) {
            assert!(since.elapsed() < PATIENCE, "{id} lives on");
            std::thread::yield_now();
        }
    }
    let _ = std::fs::remove_file(&note);
}
