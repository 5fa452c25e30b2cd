//! Which process listens on an address, as far as `/proc` tells.
//!
//! A best effort, made only when a start has already failed: it reads every process's descriptors once or
//! twice.
//! Never a reason to fail by itself.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::Listen;

/// `TCP_LISTEN` in `/proc/net/tcp`.
const TCP_LISTEN: &str = "0A";
/// `__SO_ACCEPTCON` in the flags of `/proc/net/unix`.
const ACCEPTS: &str = "00010000";

/// A process that holds an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Whether anybody in this network namespace listens there.
pub fn is_listening(listen: &Listen) -> bool {
    !inodes(listen).is_empty()
}

/// Who listens there; `None` if nobody does, or if it is a process we may not look into.
pub fn of(listen: &Listen) -> Option<Holder> {
    let sockets: Vec<String> = inodes(listen).iter().map(|inode| format!("socket:[{inode}]")).collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = numbered(Path::new("/proc"));
    let has = |folder: &Path| holds_any(folder, &sockets);
    // A thread with a descriptor table of its own, as our reactors have, shows under its task alone.
    let in_tasks = |process: &Path| numbered(&process.join("task")).iter().any(|task| has(task));
    let found = processes.iter().find(|process| has(process));
    let process = found.or_else(|| processes.iter().find(|process| in_tasks(process)))?;
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let name = fs::read_to_string(process.join("comm")).unwrap_or_else(|_| String::from("a process"));
    // A process chooses its own name: it goes to a terminal as text only.
    let name = name.trim().chars().filter(|c| !c.is_control()).collect();
    Some(Holder { pid, name })
}

fn numbered(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_number = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_number))
        .map(|entry| entry.path())
        .collect()
}

fn holds_any(process: &Path, sockets: &[String]) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

fn inodes(listen: &Listen) -> Vec<u64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    match listen {
        Listen::Tcp(address) => {
            let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(listening_rows);
            tables.iter().flat_map(|table| tcp_inodes(table, *address)).collect()
        }
        Listen::Unix(path) => {
            // A path is listed as it was bound, be that relative or absolute.
            let paths = [Some(path.clone()), fs::canonicalize(path).ok(), std::path::absolute(path).ok()];
            unix_inodes(&read("/proc/net/unix"), &paths.into_iter().flatten().collect::<Vec<_>>())
        }
    }
}

/// The head of a table and its rows about listeners, which the kernel puts first. The rest can be a row for
/// each of 60 000 connections, and takes seconds.
fn listening_rows(path: &str) -> String {
    let Ok(table) = fs::File::open(path) else { return String::new() };
    let lines = BufReader::new(table).lines().map_while(Result::ok).enumerate();
    let listens = |line: &str| line.split_ascii_whitespace().nth(3) == Some(TCP_LISTEN);
    lines
        .take_while(|(at, line)| *at == 0 || listens(line))
        .flat_map(|(_, line)| [line, "\n".to_owned()])
        .collect()
}

fn tcp_inodes(table: &str, wanted: SocketAddr) -> Vec<u64> {
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        let held = hex_address(local)?;
        (*state == TCP_LISTEN && collide(held, wanted)).then(|| inode.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// `0100007F:1F90`: words of the address in the machine's order, the port as a number.
fn hex_address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = host.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).ok().filter(|word| word.len() == 8)?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    });
    let bytes = words.collect::<Option<Vec<[u8; 4]>>>()?.concat();
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether two listeners get in each other's way; `[::]` takes IPv4 as well, unless told not to.
fn collide(held: SocketAddr, wanted: SocketAddr) -> bool {
    let any = [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
    let same = held.ip().to_canonical() == wanted.ip().to_canonical();
    let every = any.iter().any(|any| *any == held.ip() || *any == wanted.ip());
    held.port() == wanted.port() && (same || every)
}

fn unix_inodes(table: &str, paths: &[PathBuf]) -> Vec<u64> {
    let row = |line: &str| {
        // Num: RefCount Protocol Flags Type St Inode Path; a path may hold spaces.
        let (before, path) =
            line.split_at(line.find('/').or_else(|| line.rfind(' ').map(|space| space + 1))?);
        let columns: Vec<&str> = before.split_ascii_whitespace().collect();
        let known = paths.iter().any(|known| known.as_os_str() == path);
        (known && columns.get(3) == Some(&ACCEPTS)).then(|| columns.get(6)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn finds_this_very_process() {
        let listener =
            TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).expect("a port");
        let holder = of(&Listen::Tcp(listener.local_addr().expect("bound"))).expect("found");
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.name.is_empty());
    }

    #[test]
    fn finds_a_listener_in_a_private_table() {
        let (tell, hear) = mpsc::channel();
        let (done, wait) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            // SAFETY: the range holds no descriptor, so only the table is copied; what this thread opens
            // afterwards it closes itself.
            let outcome = unsafe {
                libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, libc::CLOSE_RANGE_UNSHARE)
            };
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            tell.send((outcome, listener.local_addr().expect("bound"))).expect("heard");
            let _ = wait.recv();
        });
        let (outcome, address) = hear.recv().expect("told");
        assert_eq!(outcome, 0, "the kernel gives tables away");
        let holder = of(&Listen::Tcp(address));
        drop(done);
        thread.join().expect("ended");
        assert_eq!(holder.map(|holder| holder.pid), Some(std::process::id()));
        assert_eq!(of(&Listen::Tcp(address)), None, "nobody is left");
    }

    #[test]
    fn reads_addresses_as_the_kernel_writes_them() {
        if cfg!(target_endian = "little") {
            assert_eq!(hex_address("0100007F:1F90"), Some(([127, 0, 0, 1], 8080).into()));
            let ipv6 = hex_address("00000000000000000000000001000000:0050");
            assert_eq!(ipv6, Some("[::1]:80".parse().expect("address")));
        }
        for nonsense in ["", "0100007F", "0100007F:x", "01:1F90", "é0100007:1F90"] {
            assert_eq!(hex_address(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn every_interface_collides_with_each() {
        let address = |text: &str| -> SocketAddr { text.parse().expect("address") };
        assert!(collide(address("0.0.0.0:80"), address("127.0.0.1:80")));
        assert!(collide(address("127.0.0.1:80"), address("[::]:80")));
        assert!(collide(address("[::ffff:127.0.0.1]:80"), address("127.0.0.1:80")));
        assert!(!collide(address("127.0.0.2:80"), address("127.0.0.1:80")));
        assert!(!collide(address("127.0.0.1:81"), address("0.0.0.0:80")));
    }

    #[test]
    fn socket_paths_may_be_relative_or_hold_spaces() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0: 00000002 00000000 00010000 0001 01 11 /run/a b.sock\n\
            0: 00000002 00000000 00010000 0001 01 12 c.sock\n\
            0: 00000003 00000000 00000000 0001 03 13 /run/a b.sock\n\
            0: 00000003 00000000 00000000 0001 03 14\n";
        assert_eq!(unix_inodes(table, &["/run/a b.sock".into()]), [11]);
        assert_eq!(unix_inodes(table, &["c.sock".into()]), [12]);
        assert_eq!(unix_inodes(table, &["d.sock".into()]), [0u64; 0]);
    }
}
