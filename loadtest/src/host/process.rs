//! The server's process, seen from outside: its memory, its CPU time, and how to find it by its port.

use std::fs;
use std::path::PathBuf;

/// A process on this machine.
#[derive(Clone, Debug)]
pub struct Process {
    folder: PathBuf,
}

impl Process {
    /// One that is there.
    pub fn of(id: u32) -> Option<Process> {
        let folder = PathBuf::from(format!("/proc/{id}"));
        folder.is_dir().then_some(Process { folder })
    }

    /// This process.
    pub fn own() -> Process {
        Process { folder: PathBuf::from(format!("/proc/{}", std::process::id())) }
    }

    /// Whoever listens on a TCP port of this machine, if its descriptors may be read: the first of a family
    /// that shares the listener, so that the others count too.
    ///
    /// Threads are looked into one by one: each may have a table of its own.
    pub fn listening_on(port: u16) -> Option<Process> {
        let inodes = listening_inodes(port);
        let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
        let numbers = fs::read_dir("/proc").ok()?.flatten();
        let ids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        // The first process of all may hold sockets for others, and everybody is of its family.
        let strangers = [1, std::process::id()];
        let mut first = ids.filter(|id| !strangers.contains(id)).find(|id| holds_any(*id, &links))?;
        while let Some(parent) =
            parent_of(first).filter(|id| !strangers.contains(id) && holds_any(*id, &links))
        {
            first = parent;
        }
        Process::of(first)
    }

    /// User and system time of all threads that live, of this process and those it started.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let each: Vec<f64> = self.family().iter().filter_map(Process::own_cpu_seconds).collect();
        (!each.is_empty()).then(|| each.iter().sum())
    }

    /// Proportional set size, of this process and those it started: what is shared counts by its share.
    pub fn memory_bytes(&self) -> Option<u64> {
        let each: Vec<u64> = self.family().iter().filter_map(Process::own_memory_bytes).collect();
        (!each.is_empty()).then(|| each.iter().sum())
    }

    fn own_cpu_seconds(&self) -> Option<f64> {
        // The scheduler counts nanoseconds where `stat` has ticks of ten milliseconds.
        let tasks = fs::read_dir(self.folder.join("task")).ok()?.flatten();
        let of_task = |task: fs::DirEntry| -> Option<f64> {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        };
        let nanoseconds: f64 = tasks.filter_map(of_task).sum();
        Some(nanoseconds / 1e9)
    }

    fn own_memory_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join("smaps_rollup")).ok()?;
        kilobytes(&text, "Pss:")
    }

    /// Processes it has started, and theirs: a server may be many.
    pub fn family(&self) -> Vec<Process> {
        let mut all = vec![self.clone()];
        let mut at = 0;
        while at < all.len() {
            // Each thread has children of its own.
            let tasks = fs::read_dir(all[at].folder.join("task")).into_iter().flatten().flatten();
            for task in tasks {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                let ids = children.split_whitespace().filter_map(|id| id.parse().ok());
                all.extend(ids.filter_map(Process::of));
            }
            at += 1;
        }
        all
    }
}

fn parent_of(id: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Listeners are opened early and have low numbers. To look at all of a million connections took ten seconds.
const LOOKED_AT_MAX: usize = 1024;

fn holds_any(id: u32, links: &[String]) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { return false };
    tasks.flatten().any(|task| {
        let Ok(descriptors) = fs::read_dir(task.path().join("fd")) else { return false };
        let descriptors = descriptors.flatten().take(LOOKED_AT_MAX);
        let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
    })
}

/// Sockets in the state LISTEN (0A) with this local port.
fn listening_inodes(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let suffix = format!(":{port:04X}");
    let inode = |line: &str| -> Option<String> {
        let mut words = line.split_whitespace();
        let is_local = words.nth(1)?.ends_with(&suffix);
        let is_listening = words.nth(1)? == "0A";
        (is_local && is_listening).then(|| words.nth(5).map(str::to_string)).flatten()
    };
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(inode).collect()
}

/// A value of `/proc`'s tables, given in kB, as bytes.
pub fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_time() {
        let own = Process::own();
        assert!(own.memory_bytes().unwrap() > 100_000);
        assert!(own.cpu_seconds().unwrap() > 0.0);
    }

    #[test]
    fn whoever_listens_is_found_among_its_descriptors() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inodes = listening_inodes(listener.local_addr().unwrap().port());
        let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
        assert!(holds_any(std::process::id(), &links));
        drop(listener);
        assert!(!holds_any(std::process::id(), &links));
    }

    #[test]
    fn children_of_any_thread_are_family() {
        let mut sleeper = std::process::Command::new("sleep");
        // The thread must live as long as the child is looked for: its heir would be another thread.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut child = sleeper.arg("60").spawn().unwrap();
                let folders: Vec<PathBuf> =
                    Process::own().family().into_iter().map(|process| process.folder).collect();
                child.kill().unwrap();
                child.wait().unwrap();
                let of_child = PathBuf::from(format!("/proc/{}", child.id()));
                assert!(folders.contains(&of_child), "{folders:?}");
                assert_eq!(folders[0], Process::own().folder);
            });
        });
        assert_eq!(parent_of(std::process::id()), Some(std::os::unix::process::parent_id()));
    }

    #[test]
    fn the_table_of_sockets_names_those_that_listen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inodes = listening_inodes(port);
        assert_eq!(inodes.len(), 1);
        drop(listener);
        // Another test may have been given the port by now.
        assert!(!listening_inodes(port).contains(&inodes[0]));
    }
}
