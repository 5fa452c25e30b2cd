//! Reads a [`Machine`] from `/proc` and `/sys` below any root, so that it may be a copy made elsewhere.
//!
//! What is missing or makes no sense is left out; nothing here fails.
//! What only trying tells is [`probe`](super::probe)'s business.

use std::fs;
use std::path::Path;

use crate::server::host::{Host, limit_of, memory_room, number, task_room};

use super::machine::{Conntrack, Files, Machine, Network, Rights, Tasks};

/// Numbers of capabilities.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;
const CAP_BPF: u32 = 39;
const PORT_MAX: u64 = 65_535;
/// Either of these files says that the root is a container's.
const CONTAINER_MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];

/// What the files tell.
pub fn machine(root: &Path) -> Machine {
    let conntrack = |name: &str| setting(root, &format!("net.netfilter.nf_conntrack_{name}"));
    Machine {
        host: Host::read(root),
        memory_group: memory_room(root),
        has_private_tables: true,
        is_container: CONTAINER_MARKS.iter().any(|mark| root.join(mark).exists()),
        rights: rights(root),
        files: files(root),
        tasks: tasks(root),
        network: network(root),
        conntrack: conntrack("max").zip(conntrack("count")).map(|(max, count)| Conntrack {
            max,
            count,
            moves: false,
        }),
        bpf_disabled: setting(root, "kernel.unprivileged_bpf_disabled"),
    }
}

/// Connections that are tracked now.
pub fn tracked(root: &Path) -> Option<u64> {
    setting(root, "net.netfilter.nf_conntrack_count")
}

fn text(root: &Path, name: &str) -> String {
    fs::read_to_string(root.join("proc").join(name)).unwrap_or_default()
}

/// A setting of the kernel that is one number.
fn setting(root: &Path, key: &str) -> Option<u64> {
    number(&root.join("proc/sys").join(key.replace('.', "/")))
}

/// A setting of the kernel that is several numbers.
fn settings<const N: usize>(root: &Path, key: &str) -> Option<[u64; N]> {
    let text = text(root, &format!("sys/{}", key.replace('.', "/")));
    let numbers: Vec<u64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    numbers.try_into().ok()
}

fn files(root: &Path) -> Files {
    let [open, _, _] = settings(root, "fs.file-nr").unwrap_or_default();
    Files { max: setting(root, "fs.file-max"), open }
}

fn tasks(root: &Path) -> Tasks {
    let load = text(root, "loadavg");
    let running = load.split_whitespace().nth(3).and_then(|tasks| tasks.split_once('/')?.1.parse().ok());
    let user_max = limit_of("Max processes", &text(root, "self/limits")).map(|(soft, _)| soft);
    Tasks {
        running: running.unwrap_or(0),
        threads_max: setting(root, "kernel.threads-max"),
        pid_max: setting(root, "kernel.pid_max"),
        user_max: user_max.filter(|max| *max != u64::MAX),
        group: task_room(root),
        maps_max: setting(root, "vm.max_map_count"),
    }
}

fn network(root: &Path) -> Network {
    Network {
        somaxconn: setting(root, "net.core.somaxconn"),
        syncookies: setting(root, "net.ipv4.tcp_syncookies"),
        syn_backlog: setting(root, "net.ipv4.tcp_max_syn_backlog"),
        tcp_mem: settings(root, "net.ipv4.tcp_mem"),
        tcp_rmem: settings(root, "net.ipv4.tcp_rmem"),
        tcp_wmem: settings(root, "net.ipv4.tcp_wmem"),
        orphans_max: setting(root, "net.ipv4.tcp_max_orphans"),
        time_waits_max: setting(root, "net.ipv4.tcp_max_tw_buckets"),
        ports: settings(root, "net.ipv4.ip_local_port_range")
            .filter(|[first, last]| first <= last && *last <= PORT_MAX),
        ports_reserved: listed(&text(root, "sys/net/ipv4/ip_local_reserved_ports")),
        device_backlog: setting(root, "net.core.netdev_max_backlog"),
        packets_dropped: dropped(&text(root, "net/softnet_stat")),
    }
}

/// How many numbers a list such as `8080,9000-9010` names.
fn listed(list: &str) -> u64 {
    let counts = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.saturating_add(1).saturating_sub(first))
    });
    counts.fold(0, u64::saturating_add)
}

/// The second number of each CPU's line, in hexadecimal, counts packets its queue had no room for.
fn dropped(softnet: &str) -> u64 {
    let counts = softnet.lines().filter_map(|line| {
        let word = line.split_whitespace().nth(1)?;
        u64::from_str_radix(word, 16).ok()
    });
    counts.fold(0, u64::saturating_add)
}

/// Rights count where the kernel asks for them in the first user namespace, which maps all of itself.
fn rights(root: &Path) -> Rights {
    let map = text(root, "self/uid_map");
    let words: Vec<&str> = map.split_whitespace().collect();
    if words != ["0", "0", "4294967295"] {
        return Rights::default();
    }
    let status = text(root, "self/status");
    let row = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let bits = row("CapEff:").and_then(|word| u64::from_str_radix(word.trim(), 16).ok()).unwrap_or(0);
    let has = |capability: u32| bits & (1 << capability) != 0;
    Rights {
        is_root: row("Uid:").and_then(|row| row.split_whitespace().nth(1)) == Some("0"),
        administers: has(CAP_SYS_ADMIN),
        raises_limits: has(CAP_SYS_RESOURCE),
        loads_bpf: has(CAP_BPF) || has(CAP_SYS_ADMIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_kept_for_others_are_counted() {
        assert_eq!(listed("8080,9000-9010\n"), 12);
        assert_eq!(listed("\n"), 0);
        assert_eq!(listed("x,5-2,7"), 1);
    }

    #[test]
    fn drops_of_all_cpus_add_up() {
        assert_eq!(dropped("00ff 00000010 0\n00ff 00000001 0\n"), 17);
        assert_eq!(dropped("garbage\n"), 0);
    }
}
