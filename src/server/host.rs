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
        Host {
            descriptors_soft: limit.current.unwrap_or(u64::MAX),
            descriptors_hard: limit.maximum.unwrap_or(u64::MAX),
            cpus: thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1)),
            ..Host::read(Path::new("/"))
        }
    }

    /// What the files of `/proc` and `/sys` below `root` tell, which may be a copy made elsewhere.
    pub fn read(root: &Path) -> Host {
        let text = |name: &str| fs::read_to_string(root.join("proc").join(name)).unwrap_or_default();
        let (soft, hard) = limit_of("Max open files", &text("self/limits")).unwrap_or((u64::MAX, u64::MAX));
        let machine = available_bytes(&text("meminfo")).unwrap_or(u64::MAX);
        let group = memory_room(root).map_or(u64::MAX, |room| room.left);
        Host {
            descriptors_soft: soft,
            descriptors_hard: hard,
            nr_open: number(&root.join("proc/sys/fs/nr_open")).unwrap_or(u64::MAX),
            memory_available_bytes: machine.min(group),
            cpus: cpus_allowed(&text("self/status")).unwrap_or(1),
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

/// The number that is all there is in a file.
pub(super) fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `MemAvailable` of `/proc/meminfo`.
pub(super) fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The soft and the hard limit of a line of `/proc/self/limits`.
pub(super) fn limit_of(name: &str, limits: &str) -> Option<(u64, u64)> {
    let mut words = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
    let mut limit = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        digits => digits.parse().ok(),
    };
    Some((limit()?, limit()?))
}

/// How many CPUs a list such as `0,2-5` names, in `/proc/self/status`.
fn cpus_allowed(status: &str) -> Option<u32> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split(',').try_fold(0, |count: u32, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// What a control group has left of something, and the file that says how much it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// What is left.
    pub left: u64,
    /// What there is in all.
    pub limit: u64,
    /// Where that is written.
    pub file: PathBuf,
}

/// Limits that nobody set are near the largest number there is, where version 1 shows them.
const UNLIMITED_FROM: u64 = 1 << 60;

/// One version of control groups and one thing it limits: where its files are and what they are called.
struct Controller {
    mount: PathBuf,
    limit: &'static str,
    usage: &'static str,
    /// Part of the usage that the kernel takes back before anybody goes short.
    reclaimable: Option<&'static str>,
}

impl Controller {
    fn memory(mount: &Path) -> Controller {
        let (limit, usage) = ("memory.max", "memory.current");
        Controller { mount: mount.to_owned(), limit, usage, reclaimable: Some("inactive_file ") }
    }

    fn memory_legacy(mount: &Path) -> Controller {
        Controller {
            mount: mount.join("memory"),
            limit: "memory.limit_in_bytes",
            usage: "memory.usage_in_bytes",
            reclaimable: Some("total_inactive_file "),
        }
    }

    fn tasks(mount: &Path) -> Controller {
        let (limit, usage) = ("pids.max", "pids.current");
        Controller { mount: mount.to_owned(), limit, usage, reclaimable: None }
    }

    fn tasks_legacy(mount: &Path) -> Controller {
        Controller::tasks(&mount.join("pids"))
    }

    /// What one group has left; file pages nobody used lately count as left, as the kernel drops them first.
    fn room(&self, group: &Path) -> Option<Room> {
        let file = group.join(self.limit);
        let limit = number(&file).filter(|limit| *limit < UNLIMITED_FROM)?;
        let usage = number(&group.join(self.usage)).unwrap_or(0);
        let reclaimable = self.reclaimable.and_then(|name| {
            let stat = fs::read_to_string(group.join("memory.stat")).ok()?;
            stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        });
        let left = limit.saturating_sub(usage.saturating_sub(reclaimable.unwrap_or(0)));
        Some(Room { left, limit, file })
    }

    /// The room of the narrowest of a group and its ancestors.
    fn narrowest(&self, group: &str) -> Option<Room> {
        let groups = Path::new(group).ancestors().map(|group| self.mount.join(group));
        groups.filter_map(|group| self.room(&group)).min_by_key(|room| room.left)
    }
}

/// Memory that the process's control groups have left.
pub(super) fn memory_room(root: &Path) -> Option<Room> {
    group_room(root, "memory", Controller::memory, Controller::memory_legacy)
}

/// Tasks that the process's control groups have left.
pub(super) fn task_room(root: &Path) -> Option<Room> {
    group_room(root, "pids", Controller::tasks, Controller::tasks_legacy)
}

/// What the narrowest of the process's control groups has left, its ancestors included.
///
/// Seen from inside a container the group named may not be there; then the mount's own root is the group.
fn group_room(
    root: &Path,
    name: &str,
    unified: fn(&Path) -> Controller,
    legacy: fn(&Path) -> Controller,
) -> Option<Room> {
    let mount = root.join("sys/fs/cgroup");
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let rooms = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
        let controller = match controllers {
            "" => unified(&mount),
            names if names.split(',').any(|each| each == name) => legacy(&mount),
            _ => return None,
        };
        controller.narrowest(group.trim_start_matches('/'))
    });
    rooms.min_by_key(|room| room.left)
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
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/memory.max", "1000\n"),
                ("sys/fs/cgroup/a/memory.current", "400\n"),
                ("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 100\nactive_file 9\n"),
                ("sys/fs/cgroup/a/pids.max", "100\n"),
                ("sys/fs/cgroup/a/pids.current", "30\n"),
            ],
        );
        let file = tree.0.join("sys/fs/cgroup/a/memory.max");
        assert_eq!(memory_room(&tree.0), Some(Room { left: 700, limit: 1_000, file }));
        assert_eq!(task_room(&tree.0).map(|room| room.left), Some(70));
        fs::write(tree.0.join("proc/self/cgroup"), "0::/\n").expect("file");
        assert_eq!(memory_room(&tree.0), None);
        fs::remove_file(tree.0.join("proc/self/cgroup")).expect("file");
        assert_eq!(memory_room(&tree.0), None);
    }

    #[test]
    fn a_group_that_is_not_there_is_the_root() {
        let tree = Tree::new(
            "legacy",
            &[
                ("proc/self/cgroup", "4:cpu,memory:/docker/x\n0::/\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "6000\n"),
                ("sys/fs/cgroup/memory/memory.stat", "inactive_file 0\ntotal_inactive_file 1500\n"),
            ],
        );
        assert_eq!(memory_room(&tree.0).map(|room| room.left), Some(500));
    }

    #[test]
    fn a_limit_nobody_set_is_none() {
        let tree = Tree::new(
            "unset",
            &[
                ("proc/self/cgroup", "4:memory:/\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        assert_eq!(memory_room(&tree.0), None);
    }

    #[test]
    fn another_host_is_read_from_its_files() {
        let tree = Tree::new(
            "copy",
            &[
                (
                    "proc/self/limits",
                    "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  unlimited  files\n",
                ),
                ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0,2-5\n"),
                ("proc/meminfo", "MemAvailable:    1000 kB\n"),
                ("proc/sys/fs/nr_open", "4096\n"),
            ],
        );
        let wanted = Host {
            descriptors_soft: 1_024,
            descriptors_hard: u64::MAX,
            nr_open: 4_096,
            memory_available_bytes: 1_024_000,
            cpus: 5,
        };
        assert_eq!(Host::read(&tree.0), wanted);
    }

    #[test]
    fn what_cannot_be_read_is_unlimited() {
        let files = [
            ("proc/self/limits", "Max open files  many  4\n"),
            ("proc/self/status", "Cpus_allowed_list: 5-2\n"),
        ];
        let tree = Tree::new("garbled", &files);
        let wanted = Host {
            descriptors_soft: u64::MAX,
            descriptors_hard: u64::MAX,
            nr_open: u64::MAX,
            memory_available_bytes: u64::MAX,
            cpus: 1,
        };
        assert_eq!(Host::read(&tree.0), wanted);
    }
}
