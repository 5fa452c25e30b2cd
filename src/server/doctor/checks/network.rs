//! Settings of the network: what bounds the pace of connections, and one that may bound their number.

use crate::config::units::grouped;
use crate::server::budget::connections_by_memory;
use crate::server::doctor::case::Case;
use crate::server::doctor::check::{Check, Remedy, Unit, Verdict};

/// Of all connections one in so many has something under way at the same time, as a rule of thumb.
const BUSY_ONE_IN: u64 = 10;
/// A busy socket has at least a page of either direction.
const BUSY_PAGES: u64 = 2;
/// Above the ports that services like to have (8080, 9090), up to the last.
const PORTS_WANTED: [u64; 2] = [10_240, 65_535];
/// A CPU's queue of packets, where it was ever found full.
const DEVICE_BACKLOG_WANTED: u64 = 16_384;
/// Settings of a network namespace, which a container may have of its own.
const OF_A_NAMESPACE: [&str; 6] = [
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// `nf_conntrack_max`, where it is loaded and connections pass through it.
pub fn conntrack(case: &Case<'_>) -> Option<Check> {
    const KEY: &str = "net.netfilter.nf_conntrack_max";
    let tracking = case.machine.conntrack?;
    if !tracking.is_in_the_way() {
        let mut check = Check::new(KEY, Unit::Count, "it is loaded, and no connection passes through it");
        check.here = Some(tracking.max);
        check.verdict = Verdict::Ok;
        return Some(check);
    }
    let wanted = tracking.count.saturating_add(case.asked);
    let why = format!(
        "each connection is tracked, {} are, and those that ended for two minutes more; a full table drops packets",
        grouped(tracking.count)
    );
    let check = Check::new(KEY, Unit::Count, why)
        .holding(tracking.max.saturating_sub(tracking.count))
        .bounding(tracking.max, wanted, case.asked);
    Some(check.set(KEY, [tracking.max], [wanted]))
}

/// The queue of clients that wait to be accepted.
pub fn somaxconn(case: &Case<'_>) -> Check {
    const WHY: &str = "a listener whose queue is full drops clients, who try again after a second";
    let wanted = accept_queue(case);
    single(case, "net.core.somaxconn", case.machine.network.somaxconn, wanted, WHY)
}

/// As long as the settings want it, or as there are clients.
fn accept_queue(case: &Case<'_>) -> u64 {
    u64::from(case.config.fixed.backlog).min(case.asked)
}

/// The queue of handshakes, which is asked only where SYN cookies are off.
pub fn syn_backlog(case: &Case<'_>) -> Check {
    const KEY: &str = "net.ipv4.tcp_max_syn_backlog";
    let network = &case.machine.network;
    if network.syncookies.is_some_and(|cookies| cookies > 0) {
        let mut check = Check::new(KEY, Unit::Count, "not asked while net.ipv4.tcp_syncookies is on");
        check.here = network.syn_backlog;
        check.verdict = Verdict::Ok;
        return check;
    }
    const WHY: &str = "without SYN cookies the last quarter of it is closed to clients that are new";
    let wanted = (accept_queue(case) * 4).div_ceil(3);
    single(case, KEY, network.syn_backlog, wanted, WHY)
}

/// Memory of all sockets' buffers: idle ones have none.
pub fn tcp_mem(case: &Case<'_>) -> Check {
    const KEY: &str = "net.ipv4.tcp_mem";
    // To promise buffers to connections that memory cannot hold would take it from those it can.
    let connections = case.asked.min(connections_by_memory(case.host.memory_available_bytes / case.ends()));
    let busy = connections.div_ceil(BUSY_ONE_IN);
    let wanted = busy * BUSY_PAGES * case.ends();
    let why = format!(
        "idle sockets take none of it; with {} busy at once the kernel would begin to shrink windows",
        grouped(busy)
    );
    let check = Check::new("net.ipv4.tcp_mem, pressure", Unit::Pages, why);
    let Some(pages) = case.machine.network.tcp_mem else { return check };
    let raised = [pages[0].max(wanted / 4 * 3), pages[1].max(wanted), pages[2].max(wanted / 2 * 3)];
    check.compared(Some(pages[1]), wanted, Verdict::Slows).set(KEY, pages, raised)
}

/// Twice, since the kernel counts what surrounds the bytes as well.
const ROOM_FOR_BYTES: u64 = 2;

/// What a socket may have received and not delivered.
pub fn tcp_rmem(case: &Case<'_>) -> Check {
    const WHY: &str = "a window smaller than a read buffer makes bodies come in more pieces";
    let wanted = u64::from(case.config.fixed.buffer_bytes) * ROOM_FOR_BYTES;
    most_of(case, "net.ipv4.tcp_rmem", case.machine.network.tcp_rmem, wanted, WHY)
}

/// What a socket may have to send.
pub fn tcp_wmem(case: &Case<'_>) -> Check {
    const WHY: &str = "a socket that takes less than a full output queue is written to more often";
    let wanted = u64::from(case.config.limits.output_bytes_high) * ROOM_FOR_BYTES;
    most_of(case, "net.ipv4.tcp_wmem", case.machine.network.tcp_wmem, wanted, WHY)
}

fn most_of(case: &Case<'_>, key: &'static str, bytes: Option<[u64; 3]>, wanted: u64, why: &str) -> Check {
    let check = Check::new(format!("{key}, most"), Unit::Bytes, why);
    let Some(bytes) = bytes else { return check };
    let check = check.compared(Some(bytes[2]), wanted, Verdict::Slows);
    let check = check.set(key, bytes, [bytes[0], bytes[1], bytes[2].max(wanted)]);
    in_a_container(case, key, check)
}

/// Sockets that were closed and have something to send yet, as all have for a moment when all are closed.
pub fn orphans(case: &Case<'_>) -> Check {
    const WHY: &str = "when more are closed at once than that, the rest are reset instead of closed";
    single(case, "net.ipv4.tcp_max_orphans", case.machine.network.orphans_max, case.asked, WHY)
}

/// Connections that ended and are remembered for a minute, at the end that closed first.
pub fn time_waits(case: &Case<'_>) -> Check {
    const WHY: &str = "beyond it ended connections are forgotten at once, and the kernel's log complains";
    single(case, "net.ipv4.tcp_max_tw_buckets", case.machine.network.time_waits_max, case.asked, WHY)
}

/// Ports of clients on this machine, and of connections to upstreams. They bound nothing: a client may use
/// more addresses, and 127.0.0.0/8 has millions.
pub fn ports(case: &Case<'_>) -> Check {
    const KEY: &str = "net.ipv4.ip_local_port_range";
    let Some([first, last]) = case.machine.network.ports else {
        return Check::new(KEY, Unit::Count, "bounds clients on this machine");
    };
    let reserved = case.machine.network.ports_reserved;
    let count = |[first, last]: [u64; 2]| (last + 1).saturating_sub(first).saturating_sub(reserved);
    let here = count([first, last]);
    let wider = [first.min(PORTS_WANTED[0]), last.max(PORTS_WANTED[1])];
    let wanted = case.asked.min(count(wider));
    let why = format!(
        "one address has so many ports for one server: a client on this machine needs {} (127.0.0.2 and on)",
        addresses(case.asked, here)
    );
    let check = Check::new(KEY, Unit::Count, why).compared(Some(here), wanted, Verdict::Slows);
    in_a_container(case, KEY, check.set(KEY, [first, last], wider))
}

fn addresses(connections: u64, ports: u64) -> String {
    match connections.div_ceil(ports.max(1)) {
        1 => String::from("one address"),
        count => format!("{} addresses", grouped(count)),
    }
}

/// A CPU's queue of packets that came, loopback's included.
pub fn device_backlog(case: &Case<'_>) -> Check {
    const KEY: &str = "net.core.netdev_max_backlog";
    let network = &case.machine.network;
    if network.packets_dropped == 0 {
        let mut check =
            Check::new(KEY, Unit::Count, "no packet was dropped for it since the machine started");
        check.here = network.device_backlog;
        check.verdict = if check.here.is_some() { Verdict::Ok } else { Verdict::Unknown };
        return check;
    }
    let why = format!(
        "{} packets were dropped since the machine started, because a CPU's queue was full",
        grouped(network.packets_dropped)
    );
    single(case, KEY, network.device_backlog, DEVICE_BACKLOG_WANTED, &why)
}

/// A setting that is one number.
fn single(case: &Case<'_>, key: &'static str, here: Option<u64>, wanted: u64, why: &str) -> Check {
    let check = Check::new(key, Unit::Count, why).compared(here, wanted, Verdict::Slows);
    match here {
        Some(here) => in_a_container(case, key, check.set(key, [here], [wanted.max(here)])),
        None => check,
    }
}

/// In a container `/proc/sys` is often not to be written to, and who starts it has a way.
fn in_a_container(case: &Case<'_>, key: &str, mut check: Check) -> Check {
    if let Some(sysctl) = &check.sysctl
        && case.machine.is_container
        && OF_A_NAMESPACE.contains(&key)
    {
        check.remedies.push(Remedy::docker(format!("docker run --sysctl {sysctl}")));
    }
    check
}
