//! What the machine and its limits have to offer, read from the kernel.
//!
//! Nothing is missing: what cannot be read counts as unlimited, since a refusal must rest on a number.
//! What is made of the numbers is [`budget`](super::budget)'s business.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What there is, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Descriptors a table may have now (`ulimit -Sn`).
    pub descriptors_soft: u64,
    /// Descriptors a table may have if asked for (`ulimit -Hn`).
    pub descriptors_hard: u64,
    /// Descriptors a table may have at all (`fs.nr_open`).
    pub nr_open: u64,
    /// Memory that can be had without pressing others: the machine's, or the control group's when that is
    /// less.
    pub memory_available_bytes: u64,
    /// CPUs available to the process.
    pub cpus: u32,
}

impl Host {
    /// Asks the kernel.
    pub fn measure() -> Host {
        let limit = getrlimit(Resource::Nofile);
        let nr_open = number(Path::new("/proc/sys/fs/nr_open")).unwrap_or(u64::MAX);
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text));
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let group = group_room_bytes(&groups, Path::new("/sys/fs/cgroup"));
        Host {
            descriptors_soft: limit.current.unwrap_or(u64::MAX),
            descriptors_hard: limit.maximum.unwrap_or(u64::MAX),
            nr_open,
            memory_available_bytes: machine.unwrap_or(u64::MAX).min(group.unwrap_or(u64::MAX)),
            cpus: thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1)),
        }
    }

    /// The same host once the soft descriptor limit is raised as far as it goes.
    pub fn raised(self) -> Host {
        let reach = self.descriptors_hard.min(self.nr_open);
        Host { descriptors_soft: self.descriptors_soft.max(reach), ..self }
    }

    /// Descriptors one table can really hold now.
    pub fn descriptors(&self) -> u64 {
        self.descriptors_soft.min(self.nr_open)
    }
}

/// Raises the process's soft descriptor limit to the hard one, which needs no right.
///
/// To be called before threads take tables of their own.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `MemAvailable` of `/proc/meminfo`.
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// One version of control groups: where its files are and what they are called.
struct Controller {
    mount: PathBuf,
    limit: &'static str,
    usage: &'static str,
    reclaimable: &'static str,
}

impl Controller {
    fn unified(mount: &Path) -> Controller {
        let mount = mount.to_owned();
        Controller { mount, limit: "memory.max", usage: "memory.current", reclaimable: "inactive_file " }
    }

    fn legacy(mount: &Path) -> Controller {
        Controller {
            mount: mount.join("memory"),
            limit: "memory.limit_in_bytes",
            usage: "memory.usage_in_bytes",
            reclaimable: "total_inactive_file ",
        }
    }

    /// What one group has left; file pages nobody used lately count as left, as the kernel drops them first.
    fn room_bytes(&self, group: &Path) -> Option<u64> {
        let limit = number(&group.join(self.limit))?;
        let usage = number(&group.join(self.usage)).unwrap_or(0);
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let reclaimable =
            stat.lines().find_map(|line| line.strip_prefix(self.reclaimable)?.trim().parse().ok());
        Some(limit.saturating_sub(usage.saturating_sub(reclaimable.unwrap_or(0))))
    }
}

/// What the narrowest of the process's control groups has left, its ancestors included.
///
/// Seen from inside a container the group named may not be there; then the mount's own root is the group.
fn group_room_bytes(proc_cgroup: &str, mount: &Path) -> Option<u64> {
    let rooms = proc_cgroup.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
        let controller = match controllers {
            "" => Some(Controller::unified(mount)),
            names if names.split(',').any(|name| name == "memory") => Some(Controller::legacy(mount)),
            _ => None,
        };
        controller.and_then(|controller| narrowest(&controller, group.trim_start_matches('/')))
    });
    rooms.min()
}

fn narrowest(controller: &Controller, group: &str) -> Option<u64> {
    let groups = Path::new(group).ancestors().map(|group| controller.mount.join(group));
    groups.filter_map(|group| controller.room_bytes(&group)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something() {
        let host = Host::measure();
        assert!(host.cpus >= 1);
        assert!(host.descriptors() >= 3);
        assert!(host.descriptors_hard >= host.descriptors_soft);
        assert!(host.memory_available_bytes > 1 << 20);
    }

    #[test]
    fn raising_reaches_the_hard_limit() {
        raise_descriptor_limit().expect("needs no right");
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn what_raising_would_reach_stops_at_nr_open() {
        let host = Host {
            descriptors_soft: 1024,
            descriptors_hard: u64::MAX,
            nr_open: 4096,
            memory_available_bytes: 0,
            cpus: 1,
        };
        assert_eq!(host.descriptors(), 1024);
        assert_eq!(host.raised().descriptors(), 4096);
    }

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:    1000 kB\nBuffers: 1 kB\n";
        assert_eq!(available_bytes(text), Some(1_024_000));
        assert_eq!(available_bytes("MemTotal: 5 kB\n"), None);
        assert_eq!(available_bytes("MemAvailable: many kB\n"), None);
    }

    /// Files under a folder of the test's own, gone with it.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Tree {
            let root = std::env::temp_dir().join(format!("myriapod-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
                fs::write(path, text).expect("file");
            }
            Tree(root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_narrowest_group_counts() {
        let tree = Tree::new(
            "narrow",
            &[
                ("a/b/memory.max", "max\n"),
                ("a/memory.max", "1000\n"),
                ("a/memory.current", "400\n"),
                ("a/memory.stat", "anon 1\ninactive_file 100\nactive_file 9\n"),
            ],
        );
        assert_eq!(group_room_bytes("0::/a/b\n", &tree.0), Some(700));
        assert_eq!(group_room_bytes("0::/\n", &tree.0), None);
        assert_eq!(group_room_bytes("", &tree.0), None);
    }

    #[test]
    fn a_group_that_is_not_there_is_the_root() {
        let tree = Tree::new(
            "legacy",
            &[
                ("memory/memory.limit_in_bytes", "5000\n"),
                ("memory/memory.usage_in_bytes", "6000\n"),
                ("memory/memory.stat", "inactive_file 0\ntotal_inactive_file 1500\n"),
            ],
        );
        assert_eq!(group_room_bytes("4:cpu,memory:/docker/x\n0::/\n", &tree.0), Some(500));
    }
}
