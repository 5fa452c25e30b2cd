//! The binary as an operator meets it: flags, environment, mistakes and exit codes. Nothing here listens.

use std::process::{Command, Output};

fn myriapod(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriapod"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MYRIAPOD_")) {
        command.env_remove(name);
    }
    command.args(words).envs(variables.iter().copied()).output().expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn has_line(text: &str, wanted: &str) -> bool {
    text.lines().any(|line| line == wanted)
}

#[test]
fn check_prints_what_is_in_force() {
    let output = myriapod(&["--check", "--idle-timeout", "90", "/"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    for line in ["idle-timeout = 90s", "root = /", "endpoints = health", "listen = 127.0.0.1:8080"] {
        assert!(has_line(&out(&output), line), "{line}: {}", out(&output));
    }
    assert_eq!(err(&output), "");
}

#[test]
fn the_environment_counts_and_flags_overrule_it() {
    let variables = [
        ("MYRIAPOD_LISTEN", "8081,unix:/run/a.sock"),
        ("MYRIAPOD_MAX_HEAD", "8k"),
        ("MYRIAPOD_LOG_LEVEL", "debug"),
        ("MYRIAPOD_ROOT", ""),
        ("MYRIAPOD_CHECK", "1"),
    ];
    let output = myriapod(&["--log-level", "warn"], &variables);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    for line in
        ["listen = 127.0.0.1:8081,unix:/run/a.sock", "max-head = 8k", "log-level = warn", "# root is not set"]
    {
        assert!(has_line(&out(&output), line), "{line}: {}", out(&output));
    }
}

#[test]
fn every_mistake_is_a_line_with_its_place() {
    let variables = [("MYRIAPOD_IDLE_TIMEOUT", "10x")];
    let output = myriapod(&["--check", "--log-level", "wran", "--listen", "8080,8080"], &variables);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(out(&output), "");
    assert_eq!(
        err(&output),
        "myriapod: error: MYRIAPOD_IDLE_TIMEOUT=10x: not a duration; write 500ms, 30s or 2m\n\
         myriapod: error: --listen 8080: 127.0.0.1:8080 is listed twice; name it once\n\
         myriapod: error: --log-level wran: no such choice; did you mean warn? (one of error, warn, info, debug)\n"
    );
}

#[test]
fn workers_are_set_by_flags_and_variables() {
    let words =
        ["--check", "--workers", "3", "--queue-timeout", "off", "--request-timeout", "1.5s", "--demo"];
    let variables =
        [("MYRIAPOD_QUEUE_DEPTH", "64"), ("MYRIAPOD_WORKERS", "5"), ("MYRIAPOD_DISPATCH", "queue")];
    let output = myriapod(&words, &variables);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    for line in [
        "workers = 3",
        "dispatch = queue",
        "queue-depth = 64",
        "queue-timeout = off",
        "request-timeout = 1500ms",
        "demo = on",
    ] {
        assert!(has_line(&out(&output), line), "{line}: {}", out(&output));
    }
}

#[test]
fn the_demo_is_off_unless_asked_for() {
    for (words, variables, line) in [
        (&["--check"][..], &[][..], "demo = off"),
        (&["--check"], &[("MYRIAPOD_DEMO", "1")], "demo = on"),
        (&["--check"], &[("MYRIAPOD_DEMO", "")], "demo = off"),
        (&["--check", "--demo=off"], &[("MYRIAPOD_DEMO", "on")], "demo = off"),
    ] {
        let output = myriapod(words, variables);
        assert!(has_line(&out(&output), line), "{words:?} {variables:?}: {}{}", out(&output), err(&output));
    }
}

#[test]
fn queues_without_workers_are_a_mistake() {
    let output = myriapod(&["--check", "--dispatch", "queue"], &[("MYRIAPOD_WORKERS", "0")]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        err(&output),
        "myriapod: error: --dispatch queue: nobody would empty the queues with MYRIAPOD_WORKERS=0; \
         write --workers 1 or more, or auto\n"
    );
}

#[test]
fn check_refuses_what_the_machine_cannot_hold() {
    let output = myriapod(&["--check", "--fd-table", "shared", "--max-connections", "1000000000"], &[]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(err(&output).starts_with("myriapod: error: --max-connections 1000000000: "), "{}", err(&output));
    assert_eq!(err(&output).lines().count(), 1);
}

#[test]
fn an_unknown_flag_is_put_right() {
    let output = myriapod(&["--idel-timeout", "3"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("'--idle-timeout'"), "{}", err(&output));
}

#[test]
fn help_and_version_go_to_standard_output() {
    for word in ["-h", "--help", "--version"] {
        let output = myriapod(&[word], &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains(if word == "--version" { "myriapod " } else { "--listen" }), "{word}");
        assert_eq!(err(&output), "");
    }
}
