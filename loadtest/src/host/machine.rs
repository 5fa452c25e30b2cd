//! The machine a run takes place on, and what its kernel holds.

use std::fs;

use crate::host::process::kilobytes;
use crate::report::Machine;

/// What there is.
pub fn describe() -> Machine {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = information.lines().find(|line| line.starts_with("model name"));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        processor: processor.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").trim().to_string(),
        // Of the machine, not of this process, which may be bound to some of them.
        cpus: information.lines().filter(|line| line.starts_with("processor")).count() as u32,
        memory_bytes: kilobytes(&memory(), "MemTotal:").unwrap_or(0),
        kernel: format!("Linux {}", release.trim()),
    }
}

/// Bytes in the kernel's slabs: sockets, inodes, epoll items.
pub fn slab_bytes() -> u64 {
    kilobytes(&memory(), "Slab:").unwrap_or(0)
}

/// Bytes in use: all there are less what is available.
pub fn used_bytes() -> u64 {
    let text = memory();
    let total = kilobytes(&text, "MemTotal:").unwrap_or(0);
    total.saturating_sub(kilobytes(&text, "MemAvailable:").unwrap_or(0))
}

/// Bytes that wait in the buffers of all TCP sockets of this machine.
pub fn tcp_bytes() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let pages = line.split_whitespace().skip_while(|word| *word != "mem").nth(1);
    pages.and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * rustix::param::page_size() as u64
}

/// What the TCP of this host has done, all of it since it was started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    /// Sockets in TIME_WAIT now.
    pub time_wait: u64,
    /// Sockets that skipped it, since there were too many.
    pub time_wait_overflows: u64,
    /// Attempts to connect that found no room in a listener's backlog.
    pub listen_drops: u64,
}

/// As of now.
pub fn tcp() -> Tcp {
    let counters = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockets.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = tcp.split_whitespace().skip_while(|word| *word != "tw");
    Tcp {
        time_wait: words.nth(1).and_then(|count| count.parse().ok()).unwrap_or(0),
        time_wait_overflows: counter(&counters, "TCPTimeWaitOverflow"),
        listen_drops: counter(&counters, "ListenDrops"),
    }
}

/// A value of `/proc/net/netstat`, where a line of names stands above a line of values.
fn counter(text: &str, name: &str) -> u64 {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("TcpExt:")).collect();
    let [names, values] = lines[..] else { return 0 };
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

fn memory() -> String {
    fs::read_to_string("/proc/meminfo").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_under_their_names() {
        let text = "TcpExt: A ListenDrops B\nTcpExt: 1 22 3\nIpExt: ListenDrops\nIpExt: 9\n";
        assert_eq!((counter(text, "ListenDrops"), counter(text, "C")), (22, 0));
        let real = fs::read_to_string("/proc/net/netstat").unwrap();
        assert!(real.contains(" TCPTimeWaitOverflow ") && real.contains(" ListenDrops "));
    }
}
