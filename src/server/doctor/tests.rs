//! Hosts that were made up, each with its story, and what the doctor has to say about them.

use super::check::Remedy;
use super::machine::{Conntrack, Files, Network, Rights, Tasks};
use super::*;
use crate::config::DescriptorTable;
use crate::server::budget::{Budget, Tables};
use crate::server::host::{Host, Room};

const GIB: u64 = 1 << 30;

/// Two CPUs, 24 GiB, a hard limit of 20 000: the machine a million is to be shown on.
fn ordinary() -> Machine {
    Machine {
        host: Host {
            descriptors_soft: 1_024,
            descriptors_hard: 20_000,
            nr_open: 1 << 20,
            memory_available_bytes: 23 * GIB,
            cpus: 2,
        },
        memory_group: None,
        has_private_tables: true,
        is_container: false,
        rights: Rights::default(),
        files: Files { max: Some(i64::MAX as u64), open: 1_000 },
        tasks: Tasks {
            running: 200,
            threads_max: Some(190_000),
            pid_max: Some(32_768),
            user_max: Some(95_000),
            group: None,
            maps_max: Some(65_530),
        },
        network: Network {
            somaxconn: Some(4_096),
            syncookies: Some(1),
            syn_backlog: Some(2_048),
            tcp_mem: Some([287_898, 383_867, 575_796]),
            tcp_rmem: Some([4_096, 131_072, 6_291_456]),
            tcp_wmem: Some([4_096, 16_384, 4_194_304]),
            orphans_max: Some(131_072),
            time_waits_max: Some(131_072),
            ports: Some([32_768, 60_999]),
            ports_reserved: 0,
            device_backlog: Some(1_000),
            packets_dropped: 0,
        },
        conntrack: None,
        bpf_disabled: Some(2),
    }
}

/// One CPU and 1 GiB, as the cheapest hosts have.
fn tiny() -> Machine {
    let mut machine = ordinary();
    machine.host.cpus = 1;
    machine.host.memory_available_bytes = 700 << 20;
    machine.host.descriptors_hard = 1 << 20;
    machine.files.max = Some(97_000);
    machine.network.tcp_mem = Some([10_500, 14_000, 21_000]);
    machine
}

/// A container with a share of a large machine, whose root is nobody outside.
fn container() -> Machine {
    let mut machine = ordinary();
    machine.is_container = true;
    machine.host.descriptors_hard = 1 << 20;
    machine.host.memory_available_bytes = 500 << 20;
    let file = |name: &str| format!("/sys/fs/cgroup/{name}").into();
    machine.memory_group = Some(Room { left: 500 << 20, limit: 512 << 20, file: file("memory.max") });
    machine.tasks.group = Some(Room { left: 90, limit: 100, file: file("pids.max") });
    machine.network.tcp_mem = None;
    machine.network.orphans_max = None;
    machine.network.device_backlog = None;
    machine
}

/// 128 CPUs, a terabyte, everything raised.
fn huge() -> Machine {
    let mut machine = ordinary();
    machine.host = Host {
        descriptors_soft: 1 << 30,
        descriptors_hard: 1 << 30,
        nr_open: 1 << 30,
        memory_available_bytes: 1_000 * GIB,
        cpus: 128,
    };
    machine.rights = Rights { is_root: true, administers: true, raises_limits: true, loads_bpf: true };
    machine.network.somaxconn = Some(65_535);
    machine.network.orphans_max = Some(1 << 20);
    machine.network.time_waits_max = Some(1 << 20);
    machine.network.tcp_mem = Some([10 << 20, 12 << 20, 20 << 20]);
    machine.network.ports = Some([1_024, 65_535]);
    machine
}

fn asking(connections: u32) -> Config {
    let mut config = Config::default();
    config.fixed.connections_max = Some(connections);
    config
}

fn examined(machine: &Machine, config: &Config) -> Report {
    Report::new(machine, config, false).expect("sound settings")
}

fn found<'a>(report: &'a Report, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name}: {report:?}"))
}

fn verdict(report: &Report, name: &str) -> Verdict {
    found(report, name).verdict
}

fn commands(report: &Report, name: &str) -> Vec<String> {
    found(report, name).remedies.iter().map(|remedy| remedy.command.clone()).collect()
}

#[test]
fn a_million_fit_an_ordinary_machine_with_more_reactors() {
    let report = examined(&ordinary(), &Config::default());
    assert!(report.fits() && report.asked == 1_000_000);
    assert_eq!((report.reactors, report.possible), (53, 1_053_481));
    assert_eq!(report.first_limit, "descriptors per reactor");
    assert!(report.page().starts_with(
        "this host can hold about 1 050 000 connections with --reactors 53; first limit: descriptors per reactor\n\
         1 000 000 asked for: fits; what slows it down is below\n"
    ));
}

#[test]
fn reactors_that_were_asked_for_are_not_changed() {
    let mut config = Config::default();
    config.fixed.reactors = Some(2);
    let report = examined(&ordinary(), &config);
    assert_eq!((report.fits(), report.reactors, report.possible), (false, 2, 39_958));
    assert_eq!(
        commands(&report, "descriptors per reactor"),
        [
            "myriapod --reactors 51",
            "prlimit --pid $$ --nofile=500021:500021",
            "LimitNOFILE=500021",
            "docker run --ulimit nofile=500021:500021",
        ]
    );
    config.fixed.reactors = Some(51);
    assert!(examined(&ordinary(), &config).fits(), "what was advised is enough");
}

#[test]
fn the_advised_descriptor_limit_is_enough_and_no_less_is() {
    let mut config = Config::default();
    config.fixed.reactors = Some(2);
    let mut machine = ordinary();
    for (limit, fits) in [(500_021, true), (500_020, false)] {
        machine.host.descriptors_hard = limit;
        assert_eq!(examined(&machine, &config).fits(), fits, "{limit}");
    }
}

/// Every reactor has its share of every table: a thousand would leave nothing of so small ones.
#[test]
fn where_no_number_of_reactors_is_enough_the_best_is_taken() {
    let mut machine = ordinary();
    (machine.host.descriptors_soft, machine.host.descriptors_hard) = (150, 150);
    let report = examined(&machine, &asking(60_000));
    assert!(!report.fits());
    assert_eq!(report.first_limit, "descriptors per reactor");
    assert!(
        (10..100).contains(&report.reactors) && report.possible > 1_000,
        "{} {}",
        report.reactors,
        report.possible
    );
}

#[test]
fn a_shared_table_makes_nr_open_bind_too() {
    let mut config = asking(2_000_000);
    config.fixed.descriptor_table = DescriptorTable::Shared;
    let report = examined(&ordinary(), &config);
    assert_eq!((report.tables, report.possible), (Tables::Shared, 19_978));
    assert_eq!(commands(&report, "fs.nr_open"), ["sysctl -w fs.nr_open=2000022"]);
    assert_eq!(commands(&report, "descriptors")[0], "myriapod --fd-table private");
    assert!(report.page().contains("for want of descriptors, fs.nr_open\n"), "{}", report.page());
}

#[test]
fn private_tables_that_are_forbidden_are_told_of() {
    let machine = Machine { has_private_tables: false, ..ordinary() };
    let report = examined(&machine, &Config::default());
    assert_eq!((report.tables, report.reactors), (Tables::Shared, 2));
    assert!(found(&report, "descriptors").why.contains("forbidden"));
    assert!(!commands(&report, "descriptors").iter().any(|command| command.starts_with("myriapod")));
}

#[test]
fn a_tiny_host_ends_at_its_open_files_and_then_at_its_memory() {
    let mut machine = tiny();
    let report = examined(&machine, &Config::default());
    assert_eq!((report.first_limit.as_str(), report.possible), ("fs.file-max", 95_984));
    assert_eq!(commands(&report, "fs.file-max"), ["sysctl -w fs.file-max=1001016"]);
    assert_eq!(verdict(&report, "memory"), Verdict::Binds);

    machine.files.max = Some(1_001_016);
    let report = examined(&machine, &Config::default());
    assert_eq!((report.first_limit.as_str(), report.possible), ("memory", 185_588));
    assert!(report.page().contains("\nthe most that fits: myriapod --reactors 1 --max-connections 185588\n"));
    assert!(found(&report, "memory").remedies.is_empty(), "no command makes memory");
    assert!(examined(&machine, &asking(185_588)).fits());
    assert!(!examined(&machine, &asking(185_589)).fits());
}

#[test]
fn who_administers_the_machine_is_let_through_at_file_max_and_warned() {
    let mut machine = tiny();
    machine.rights.administers = true;
    let report = examined(&machine, &asking(150_000));
    assert!(report.fits());
    assert_eq!(
        (verdict(&report, "fs.file-max"), found(&report, "fs.file-max").holds),
        (Verdict::Slows, None)
    );
}

#[test]
fn memory_that_leaves_little_for_the_busy_slows() {
    let machine = Machine { files: Files::default(), ..tiny() };
    let report = examined(&machine, &asking(150_000));
    assert!(report.fits());
    assert_eq!(verdict(&report, "memory"), Verdict::Slows);
    assert_eq!(verdict(&examined(&machine, &asking(90_000)), "memory"), Verdict::Ok);
}

#[test]
fn buffers_are_not_promised_to_connections_that_memory_cannot_hold() {
    let report = examined(&tiny(), &Config::default());
    let sysctl = found(&report, "net.ipv4.tcp_mem, pressure").sysctl.clone().expect("too little");
    assert_eq!((sysctl.from.as_str(), sysctl.to.as_str()), ("10500 14000 21000", "27837 37118 55677"));
}

#[test]
fn a_container_is_helped_from_outside() {
    let report = examined(&container(), &Config::default());
    assert_eq!(report.first_limit, "memory of the control group");
    assert_eq!(report.possible, 132_563);
    assert_eq!(
        commands(&report, "memory of the control group"),
        ["echo 7923040256 > /sys/fs/cgroup/memory.max", "MemoryMax=7556M", "docker run --memory 7556m"]
    );
    let backlog = "docker run --sysctl net.core.somaxconn=65535";
    assert!(commands(&report, "net.core.somaxconn").contains(&backlog.to_owned()));
    for name in ["net.ipv4.tcp_mem, pressure", "net.ipv4.tcp_max_orphans", "net.core.netdev_max_backlog"] {
        assert_eq!(verdict(&report, name), Verdict::Unknown, "{name} is not of a namespace");
    }
}

#[test]
fn a_hard_limit_that_cannot_be_raised_inside_is_not_advised_inside() {
    let mut machine = container();
    machine.host.descriptors_hard = 1_000;
    let mut config = asking(100_000);
    config.fixed.reactors = Some(2);
    let inside = |machine: &Machine| {
        let report = examined(machine, &config);
        commands(&report, "descriptors per reactor").iter().any(|command| command.starts_with("prlimit"))
    };
    assert!(!inside(&machine));
    machine.rights.raises_limits = true;
    assert!(inside(&machine));
}

#[test]
fn threads_bound_the_reactors() {
    let mut machine = container();
    machine.host.descriptors_hard = 1_000;
    machine.host.memory_available_bytes = 24 * GIB;
    machine.memory_group = None;
    let report = examined(&machine, &Config::default());
    assert_eq!(report.reactors, 82, "90 threads, of which 8 are others");
    assert_eq!(report.first_limit, "descriptors per reactor");

    let mut config = Config::default();
    config.fixed.reactors = Some(100);
    let report = examined(&machine, &config);
    assert_eq!((report.possible, report.first_limit.as_str()), (0, "pids.max of the control group"));
    assert_eq!(
        commands(&report, "pids.max of the control group"),
        [
            "myriapod --reactors 82",
            "echo 118 > /sys/fs/cgroup/pids.max",
            "TasksMax=118",
            "docker run --pids-limit 118"
        ]
    );
}

#[test]
fn other_limits_on_threads_have_other_commands() {
    let mut config = Config::default();
    config.fixed.reactors = Some(500);
    let first = |change: fn(&mut Tasks)| {
        let mut machine = ordinary();
        change(&mut machine.tasks);
        let report = examined(&machine, &config);
        (report.first_limit.clone(), commands(&report, &report.first_limit)[1].clone())
    };
    let wanted = |name: &str, command: &str| (name.to_owned(), command.to_owned());
    assert_eq!(
        first(|tasks| tasks.pid_max = Some(400)),
        wanted("kernel.pid_max", "sysctl -w kernel.pid_max=708")
    );
    assert_eq!(
        first(|tasks| tasks.threads_max = Some(300)),
        wanted("kernel.threads-max", "sysctl -w kernel.threads-max=708")
    );
    assert_eq!(
        first(|tasks| tasks.user_max = Some(100)),
        wanted("ulimit -u", "prlimit --pid $$ --nproc=508:508")
    );
    assert_eq!(
        first(|tasks| tasks.maps_max = Some(2_000)),
        wanted("vm.max_map_count", "sysctl -w vm.max_map_count=4320")
    );
}

#[test]
fn a_huge_host_needs_nothing() {
    let report = examined(&huge(), &Config::default());
    let short: Vec<&Check> = report.checks.iter().filter(|check| check.is_short()).collect();
    assert!(short.is_empty(), "{short:?}");
    assert_eq!((report.reactors, report.needs_telling_reactors), (128, false));
    assert!(report.page().contains("1 000 000 asked for: fits\n"), "{}", report.page());
}

#[test]
fn connection_tracking_counts_only_where_connections_pass_through_it() {
    const NAME: &str = "net.netfilter.nf_conntrack_max";
    let mut machine = ordinary();
    machine.conntrack = Some(Conntrack { max: 262_144, count: 0, moves: false });
    let report = examined(&machine, &Config::default());
    assert_eq!((verdict(&report, NAME), report.fits()), (Verdict::Ok, true));

    for tracking in [(262_144, 40, false), (262_104, 0, true)] {
        let (max, count, moves) = tracking;
        machine.conntrack = Some(Conntrack { max, count, moves });
        let report = examined(&machine, &Config::default());
        assert_eq!((report.first_limit.as_str(), report.possible), (NAME, 262_104), "{tracking:?}");
        assert_eq!(commands(&report, NAME), [format!("sysctl -w {NAME}={}", 1_000_000 + count)]);
    }
}

#[test]
fn a_client_on_the_same_machine_counts_twice() {
    let mut machine = ordinary();
    machine.host.memory_available_bytes = 6 * GIB;
    machine.files.max = Some(1_500_000);
    assert!(examined(&machine, &Config::default()).fits());
    let both = Report::new(&machine, &Config::default(), true).expect("sound settings");
    assert_eq!(both.first_limit, "fs.file-max");
    assert_eq!(found(&both, "memory").wanted, Some(2 * 2 * 3_955 * 1_000_000));
    assert_eq!(verdict(&both, "memory"), Verdict::Binds);
    assert!(both.page().contains("which is reckoned in"));
}

#[test]
fn the_queue_of_handshakes_counts_only_without_cookies() {
    const NAME: &str = "net.ipv4.tcp_max_syn_backlog";
    let mut machine = ordinary();
    assert_eq!(verdict(&examined(&machine, &Config::default()), NAME), Verdict::Ok);
    machine.network.syncookies = Some(0);
    let report = examined(&machine, &Config::default());
    assert_eq!(commands(&report, NAME), ["sysctl -w net.ipv4.tcp_max_syn_backlog=87380"]);
}

#[test]
fn the_backlog_is_measured_by_the_settings_and_by_the_clients() {
    let mut config = asking(3_000);
    assert_eq!(verdict(&examined(&ordinary(), &config), "net.core.somaxconn"), Verdict::Ok);
    config = Config::default();
    assert_eq!(
        commands(&examined(&ordinary(), &config), "net.core.somaxconn"),
        ["sysctl -w net.core.somaxconn=65535"]
    );
    config.fixed.backlog = 4_096;
    assert_eq!(verdict(&examined(&ordinary(), &config), "net.core.somaxconn"), Verdict::Ok);
}

#[test]
fn ports_are_widened_and_never_narrowed() {
    const NAME: &str = "net.ipv4.ip_local_port_range";
    let mut machine = ordinary();
    let to = |machine: &Machine| {
        found(&examined(machine, &Config::default()), NAME).sysctl.as_ref().map(|sysctl| sysctl.to.clone())
    };
    assert_eq!(to(&machine).as_deref(), Some("10240 65535"));
    machine.network.ports = Some([2_048, 40_000]);
    assert_eq!(to(&machine).as_deref(), Some("2048 65535"));
    machine.network.ports = Some([1_024, 65_535]);
    assert_eq!(to(&machine), None);
    assert_eq!(verdict(&examined(&ordinary(), &asking(20_000)), NAME), Verdict::Ok);
}

#[test]
fn a_cpus_queue_of_packets_counts_where_it_was_full() {
    const NAME: &str = "net.core.netdev_max_backlog";
    let mut machine = ordinary();
    assert_eq!(verdict(&examined(&machine, &Config::default()), NAME), Verdict::Ok);
    machine.network.packets_dropped = 7;
    let report = examined(&machine, &Config::default());
    assert_eq!(commands(&report, NAME), ["sysctl -w net.core.netdev_max_backlog=16384"]);
}

#[test]
fn the_right_to_load_bpf_is_told_of() {
    const NAME: &str = "bpf program for --accept least";
    let mut machine = ordinary();
    assert_eq!(verdict(&examined(&machine, &Config::default()), NAME), Verdict::Slows);
    assert!(found(&examined(&machine, &Config::default()), NAME).sysctl.is_none(), "it guards everybody");
    machine.rights.loads_bpf = true;
    assert_eq!(verdict(&examined(&machine, &Config::default()), NAME), Verdict::Ok);
    machine.rights.loads_bpf = false;
    machine.bpf_disabled = Some(0);
    assert_eq!(verdict(&examined(&machine, &Config::default()), NAME), Verdict::Ok);
    machine.bpf_disabled = None;
    assert_eq!(verdict(&examined(&machine, &Config::default()), NAME), Verdict::Unknown);
}

#[test]
fn the_doctor_and_the_start_agree() {
    for machine in [ordinary(), tiny(), container(), huge()] {
        let machine = Machine { files: Files::default(), tasks: Tasks::default(), ..machine };
        for asked in [200, 39_000, 150_000, 1_000_000, 20_000_000] {
            let report = examined(&machine, &asking(asked));
            let host = machine.host.raised();
            let budget = Budget::new(&host, &asking(asked), report.tables, report.reactors);
            assert_eq!(budget.is_ok(), report.fits(), "{asked}: {budget:?} {report:?}");
            if !report.fits() && report.possible >= u64::from(report.reactors) {
                let most = asking(u32::try_from(report.possible).expect("less than asked"));
                assert!(Budget::new(&host, &most, report.tables, report.reactors).is_ok(), "{report:?}");
            }
        }
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_as_at_the_start() {
    let mut config = asking(1);
    assert_eq!(examined(&ordinary(), &config).reactors, 1, "one is enough for one");
    config.fixed.reactors = Some(2);
    let refusal = Report::new(&ordinary(), &config, false).expect_err("fewer than reactors");
    assert!(refusal.to_string().contains("fewer than the 2 reactors"), "{refusal}");
}

#[test]
fn a_page_fits_a_terminal_and_commands_stand_whole() {
    for machine in [ordinary(), tiny(), container(), huge()] {
        for config in [Config::default(), asking(500_000_000)] {
            let page = examined(&machine, &config).page();
            for (number, line) in page.lines().enumerate() {
                let is_command = line.starts_with("    ");
                let width_max = if number == 0 { 110 } else { 80 };
                assert!(is_command || line.chars().count() <= width_max, "{line}\n{page}");
            }
        }
    }
}

#[test]
fn what_is_set_is_never_less_than_it_was() {
    for machine in [ordinary(), tiny(), container(), huge()] {
        for asked in [200, 1_000_000, 500_000_000] {
            for check in examined(&machine, &asking(asked)).checks {
                let Some(sysctl) = check.sysctl else { continue };
                let numbers =
                    |text: &str| text.split(' ').map(|word| word.parse().expect("a number")).collect();
                let (from, to): (Vec<u64>, Vec<u64>) = (numbers(&sysctl.from), numbers(&sysctl.to));
                // The first port is the exception: a range grows at both ends.
                let skipped = usize::from(sysctl.key == "net.ipv4.ip_local_port_range");
                assert_eq!(from.len(), to.len());
                assert!(from != to && (skipped..to.len()).all(|i| to[i] >= from[i]), "{sysctl:?}");
                assert!(check.remedies.contains(&Remedy::as_root(format!("sysctl -w {sysctl}"))));
            }
        }
    }
}

#[test]
fn json_has_what_scripts_need() {
    let report = examined(&ordinary(), &Config::default());
    let value: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(value["fits"], true);
    assert_eq!(value["connections_asked"], 1_000_000);
    assert_eq!(value["connections_possible"], 1_053_481);
    assert_eq!((&value["reactors"], &value["descriptor_tables"]), (&53.into(), &"private".into()));
    let checks = value["checks"].as_array().expect("a list");
    assert_eq!(checks.len(), report.checks.len());
    let backlog = checks.iter().find(|check| check["name"] == "net.core.somaxconn").expect("there");
    assert_eq!(
        *backlog,
        serde_json::json!({
            "name": "net.core.somaxconn",
            "unit": "count",
            "here": 4_096,
            "wanted": 65_535,
            "holds": null,
            "verdict": "slows",
            "why": "a listener whose queue is full drops clients, who try again after a second",
            "sysctl": { "key": "net.core.somaxconn", "from": "4096", "to": "65535" },
            "remedies": [{ "place": "as root", "command": "sysctl -w net.core.somaxconn=65535" }],
        })
    );
}

#[test]
fn nothing_that_can_be_read_is_nothing_that_binds() {
    let root = std::env::temp_dir().join(format!("myriapod-nothing-{}", std::process::id()));
    let report = examined(&look(&root), &Config::default());
    assert!(report.fits(), "{report:?}");
    let known = ["descriptors per reactor", "fs.nr_open", "memory", "CPUs"];
    for check in &report.checks {
        let wanted = if known.contains(&check.name.as_str()) { Verdict::Ok } else { Verdict::Unknown };
        assert_eq!(check.verdict, wanted, "{check:?}");
    }
}
