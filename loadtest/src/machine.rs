//! The machine a run takes place on, and what its kernel holds.

use std::fs;

use crate::process::kilobytes;
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

fn memory() -> String {
    fs::read_to_string("/proc/meminfo").unwrap_or_default()
}
