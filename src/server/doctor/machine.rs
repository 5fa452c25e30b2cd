//! What the doctor looks at, as plain values; any host can be made up of them.
//!
//! What could not be read is `None`, and no verdict rests on it.
//! Where the values come from is `read`'s business.

use crate::server::host::{Host, Room};

/// A host at one moment, as far as it bears on connections.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What the budget reckons with.
    pub host: Host,
    /// Memory the control groups have left, where they limit it.
    pub memory_group: Option<Room>,
    /// Whether threads may have descriptor tables of their own.
    pub has_private_tables: bool,
    /// Whether it is a container, where some settings are made from outside.
    pub is_container: bool,
    /// What the process may do.
    pub rights: Rights,
    /// Open files of the whole machine.
    pub files: Files,
    /// Threads.
    pub tasks: Tasks,
    /// The network.
    pub network: Network,
    /// Connection tracking, where it is loaded.
    pub conntrack: Option<Conntrack>,
    /// `kernel.unprivileged_bpf_disabled`: 0 lets everybody load programs.
    pub bpf_disabled: Option<u64>,
}

/// Rights in the machine's own user namespace: the kernel asks for no others here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Is root there.
    pub is_root: bool,
    /// `CAP_SYS_ADMIN`
    pub administers: bool,
    /// `CAP_SYS_RESOURCE`
    pub raises_limits: bool,
    /// `CAP_BPF`, or what stands for it.
    pub loads_bpf: bool,
}

/// `fs.file-nr` and what bounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `fs.file-max`
    pub max: Option<u64>,
    /// Open now.
    pub open: u64,
}

/// What bounds the number of threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Threads of the whole machine now.
    pub running: u64,
    /// `kernel.threads-max`
    pub threads_max: Option<u64>,
    /// `kernel.pid_max`
    pub pid_max: Option<u64>,
    /// `ulimit -u`, which root is exempt from.
    pub user_max: Option<u64>,
    /// What the control groups have left, where they limit it.
    pub group: Option<Room>,
    /// `vm.max_map_count`
    pub maps_max: Option<u64>,
}

/// Settings of the network, by the last part of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// `net.core.somaxconn`
    pub somaxconn: Option<u64>,
    /// `net.ipv4.tcp_syncookies`
    pub syncookies: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`
    pub syn_backlog: Option<u64>,
    /// `net.ipv4.tcp_mem`, in pages: free of care, under pressure, at most.
    pub tcp_mem: Option<[u64; 3]>,
    /// `net.ipv4.tcp_rmem`, in bytes: least, at first, at most.
    pub tcp_rmem: Option<[u64; 3]>,
    /// `net.ipv4.tcp_wmem`, likewise.
    pub tcp_wmem: Option<[u64; 3]>,
    /// `net.ipv4.tcp_max_orphans`
    pub orphans_max: Option<u64>,
    /// `net.ipv4.tcp_max_tw_buckets`
    pub time_waits_max: Option<u64>,
    /// `net.ipv4.ip_local_port_range`: first and last.
    pub ports: Option<[u64; 2]>,
    /// Ports of that range that are kept for others.
    pub ports_reserved: u64,
    /// `net.core.netdev_max_backlog`
    pub device_backlog: Option<u64>,
    /// Packets dropped because a CPU's backlog was full, since the machine started.
    pub packets_dropped: u64,
}

/// `net.netfilter.nf_conntrack_*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections it can track.
    pub max: u64,
    /// Connections it tracks now.
    pub count: u64,
    /// Whether a connection made to find out was tracked.
    pub moves: bool,
}

impl Conntrack {
    /// Whether connections pass through it: that it is loaded does not say so.
    pub fn is_in_the_way(&self) -> bool {
        self.moves || self.count > 0
    }
}
