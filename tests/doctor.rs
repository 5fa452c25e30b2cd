//! `myriapod doctor` as an operator meets it, on hosts made of files and on this one; and `scripts/tune.sh`, which does
//! what it says.

mod common;

use std::process::{Command, Output};

use common::Folder;
use serde_json::Value;

/// The files of a host with 2 CPUs and 8 GiB, a descriptor limit of 20 000, and much as it comes.
const FILES: &[(&str, &str)] = &[
    ("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 8000000 kB\n"),
    ("proc/self/limits", "Max processes  30000  30000  processes\nMax open files  1024  20000  files\n"),
    (
        "proc/self/status",
        "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-1\n",
    ),
    ("proc/self/uid_map", "         0          0 4294967295\n"),
    ("proc/self/cgroup", "0::/\n"),
    ("proc/loadavg", "0.00 0.00 0.00 1/200 4242\n"),
    ("proc/net/softnet_stat", "00000001 00000000 00000000\n00000001 00000000 00000000\n"),
    ("proc/sys/fs/nr_open", "1048576\n"),
    ("proc/sys/fs/file-max", "9223372036854775807\n"),
    ("proc/sys/fs/file-nr", "1000\t0\t9223372036854775807\n"),
    ("proc/sys/kernel/threads-max", "60000\n"),
    ("proc/sys/kernel/pid_max", "32768\n"),
    ("proc/sys/kernel/unprivileged_bpf_disabled", "2\n"),
    ("proc/sys/vm/max_map_count", "65530\n"),
    ("proc/sys/net/core/somaxconn", "4096\n"),
    ("proc/sys/net/core/netdev_max_backlog", "1000\n"),
    ("proc/sys/net/ipv4/tcp_syncookies", "1\n"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "512\n"),
    ("proc/sys/net/ipv4/tcp_mem", "94000\t125000\t188000\n"),
    ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
    ("proc/sys/net/ipv4/tcp_max_orphans", "65536\n"),
    ("proc/sys/net/ipv4/tcp_max_tw_buckets", "65536\n"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("proc/sys/net/ipv4/ip_local_reserved_ports", "\n"),
];

fn host() -> Folder {
    let folder = Folder::new();
    for (name, text) in FILES {
        folder.write(name, text.as_bytes());
    }
    folder
}

fn doctor(words: &[&str]) -> Output {
    let words = [&["doctor"], words].concat();
    common::binary(&words).output().expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn report(words: &[&str]) -> (Option<i32>, Value) {
    let output = doctor(&[words, &["--json"]].concat());
    let value = serde_json::from_slice(&output.stdout);
    (output.status.code(), value.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"))
}

#[test]
fn tells_what_fits_and_what_is_to_be_done() {
    let host = host();
    let output = doctor(&["--host", host.text()]);
    let page = out(&output);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()), "{page}");
    let first = "this host can hold about 1 050 000 connections with --reactors 53; first limit: descriptors per reactor";
    assert_eq!(page.lines().next(), Some(first));
    // Where columns begin is a matter of taste.
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = page.lines().map(squeezed).collect();
    for line in [
        "descriptors per reactor 20 000 18 991 1 053 481 ok",
        "net.core.somaxconn 4 096 65 535 - slows",
        "as root sysctl -w net.core.somaxconn=65535",
    ] {
        assert!(lines.iter().any(|each| each == line), "{line}\n{page}");
    }
}

#[test]
fn the_exit_code_says_whether_the_number_fits() {
    let host = host();
    let (code, told) = report(&["--host", host.text(), "--reactors", "2", "--connections", "39958"]);
    assert_eq!((code, &told["fits"]), (Some(0), &Value::from(true)));
    let (code, told) = report(&["--host", host.text(), "--reactors", "2", "--connections", "39965"]);
    assert_eq!((code, &told["fits"]), (Some(1), &Value::from(false)));
    assert_eq!(told["connections_possible"], 39_958);
    assert_eq!(check(&told, "descriptors per reactor")["verdict"], "binds");
}

#[test]
fn a_client_on_the_host_may_be_what_does_not_fit() {
    let host = host();
    host.write("proc/meminfo", b"MemAvailable: 6000000 kB\n");
    assert_eq!(report(&["--host", host.text()]).0, Some(0));
    let (code, told) = report(&["--host", host.text(), "--with-client"]);
    assert_eq!((code, &told["first_limit"]), (Some(1), &"memory".into()));
}

#[test]
fn either_version_of_control_groups_bounds_memory() {
    let host = host();
    host.write("proc/self/cgroup", b"0::/app\n");
    host.write("sys/fs/cgroup/app/memory.max", b"1073741824\n");
    host.write("sys/fs/cgroup/app/memory.current", b"73741824\n");
    host.write(".dockerenv", b"");
    let (code, told) = report(&["--host", host.text()]);
    assert_eq!((code, &told["first_limit"]), (Some(1), &"memory of the control group".into()));
    assert_eq!(told["connections_possible"], 1_000_000_000 / 3_955);

    host.write("proc/self/cgroup", b"7:memory:/app\n0::/\n");
    host.write("sys/fs/cgroup/memory/app/memory.limit_in_bytes", b"500000000\n");
    host.write("sys/fs/cgroup/memory/app/memory.usage_in_bytes", b"0\n");
    let (code, told) = report(&["--host", host.text()]);
    assert_eq!((code, &told["connections_possible"]), (Some(1), &(500_000_000 / 3_955).into()));
}

#[test]
fn garbled_files_decide_nothing() {
    let host = host();
    for garbage in
        [&b"18446744073709551615\n"[..], b"1-18446744073709551615 18446744073709551615 18446744073709551615"]
    {
        for (name, _) in FILES {
            host.write(name, garbage);
        }
        assert!(doctor(&["--host", host.text()]).stderr.is_empty());
    }
    for (name, _) in FILES {
        host.write(name, b"\xff\x00 1 many -3 99999999999999999999999999\n");
    }
    let (code, told) = report(&["--host", host.text()]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(check(&told, "net.core.somaxconn")["verdict"], "unknown");
    assert_eq!(check(&told, "net.core.somaxconn")["here"], Value::Null);
}

#[test]
fn the_settings_of_the_server_are_those_that_are_judged() {
    let host = host();
    let mut command = common::binary(&["doctor", "--host", host.text(), "--json"]);
    let output = command.env("MYRIAPOD_BACKLOG", "1000").env("MYRIAPOD_MAX_CONNECTIONS", "5000").output();
    let told: Value = serde_json::from_slice(&output.expect("runs").stdout).expect("JSON");
    assert_eq!(told["connections_asked"], 5_000);
    assert_eq!(check(&told, "net.core.somaxconn")["wanted"], 1_000);
    assert_eq!(check(&told, "net.core.somaxconn")["verdict"], "ok");
}

#[test]
fn mistakes_are_a_line_and_code_2() {
    let host = host();
    for (words, wanted) in [
        (vec!["--host", "/nonexistent"], "--host /nonexistent: has no proc in it"),
        (vec!["--host", host.text(), "--connections", "many"], "many: not a count"),
        (vec!["--host", host.text(), "--connections", "1", "--reactors", "2"], "fewer than the 2 reactors"),
    ] {
        let output = doctor(&words);
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.starts_with("myriapod: error: ") && text.contains(wanted), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn this_host_holds_something_and_the_start_agrees() {
    let (_, told) = report(&["--connections", "100", "--fd-table", "shared"]);
    assert!(told["connections_possible"].as_u64() >= Some(1), "{told}");
    let script = "ulimit -n 200 && exec \"$0\" \"$@\" --fd-table shared --reactors 1";
    let judged = |asked: &str, words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_myriapod")]).args(words);
        let output = command.args(["--max-connections", asked]).output().expect("runs");
        output.status.code()
    };
    for (asked, code) in [("184", Some(0)), ("185", Some(1))] {
        assert_eq!(judged(asked, &["doctor"]), code, "{asked}");
        assert_eq!(judged(asked, &["--check"]), code, "{asked}");
    }
}

/// What the script prints; `None` where there is no Python to run it.
fn tune(host: &Folder, words: &[&str]) -> Option<String> {
    Command::new("python3").arg("--version").output().ok()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/tune.sh");
    let mut command = Command::new("bash");
    command.arg(script).args(["--host", host.text()]).args(words);
    let output = command.env("MYRIAPOD", env!("CARGO_BIN_EXE_myriapod")).output().expect("bash");
    assert!(output.status.success(), "{output:?}");
    Some(out(&output))
}

/// What all files of a host hold.
fn contents(host: &Folder) -> Vec<String> {
    let read = |(name, _): &(&str, &str)| std::fs::read_to_string(host.join(name)).expect("a file");
    FILES.iter().map(read).collect()
}

fn wanted_sysctls(host: &Folder) -> Vec<Value> {
    let (_, told) = report(&["--host", host.text()]);
    let checks = told["checks"].as_array().expect("a list").iter();
    checks.map(|check| check["sysctl"].clone()).filter(|sysctl| !sysctl.is_null()).collect()
}

#[test]
fn tuning_only_prints_unless_it_is_told_to() {
    let host = host();
    let before = contents(&host);
    let Some(told) = tune(&host, &[]) else { return };
    assert_eq!(contents(&host), before);
    assert!(told.contains("nothing was changed"), "{told}");
    let wanted = wanted_sysctls(&host);
    assert!(wanted.len() >= 4, "{wanted:?}");
    for sysctl in wanted {
        let [key, from, to] = ["key", "from", "to"].map(|part| sysctl[part].as_str().expect("text"));
        assert!(told.contains(&format!("  {key}: {from} -> {to}\n")), "{key}: {told}");
        assert!(told.contains(&format!("    {key} = {to}\n")), "{key}: {told}");
    }
}

#[test]
fn tuning_sets_what_the_doctor_wants_and_then_has_nothing_to_do() {
    let host = host();
    let wanted = wanted_sysctls(&host);
    let Some(told) = tune(&host, &["--apply"]) else { return };
    for sysctl in &wanted {
        let [key, to] = ["key", "to"].map(|part| sysctl[part].as_str().expect("text"));
        let file = host.join(&format!("proc/sys/{}", key.replace('.', "/")));
        assert_eq!(std::fs::read_to_string(file).expect("a file").trim(), to, "{key}");
    }
    assert!(told.contains("    sysctl -w net.core.somaxconn=4096\n"), "how to undo it: {told}");
    assert!(told.contains("    sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"\n"), "{told}");
    assert_eq!(wanted_sysctls(&host), [Value::Null; 0]);

    let tuned = contents(&host);
    let told = tune(&host, &["--apply"]).expect("as before");
    assert!(told.contains("nothing to do") && !told.contains("undo"), "{told}");
    // Who asks for less later is not to take from who needs it.
    tune(&host, &["--apply", "--connections", "1000"]).expect("as before");
    assert_eq!(contents(&host), tuned);
}

#[test]
fn tuning_names_the_limits_it_cannot_set() {
    let host = host();
    let Some(told) = tune(&host, &["--reactors", "2"]) else { return };
    for line in [
        "not to be set here: descriptors per reactor is 20 000, wanted 500 021",
        "      systemd: LimitNOFILE=500021",
        "1 000 000 connections do not fit, 39 958 do; first limit: descriptors per reactor",
        "start it so: myriapod --reactors 2 --max-connections 39958",
    ] {
        assert!(told.lines().any(|each| each == line), "{line}: {told}");
    }
}
