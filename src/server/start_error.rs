//! Why the server did not start, in one line with the fix.
//!
//! The operator's errors only: a programming mistake is an assertion, a client's is a `Violation`.
//! Who holds an address is asked of [`holder`].

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::config::{ConfigError, Listen};

use super::budget::Shortage;
use super::holder::{self, Holder};
use super::spread::Obstacle;

/// What kept the server from starting.
#[derive(Debug)]
pub enum StartError {
    /// Somebody listens there.
    AddressInUse {
        /// Where.
        listen: Listen,
        /// Who, where that can be seen.
        holder: Option<Holder>,
    },
    /// A socket's path is taken by a file nobody listens on.
    PathTaken {
        /// The path.
        path: PathBuf,
        /// Whether it is a socket, left behind by a process that is gone.
        is_socket: bool,
    },
    /// A low port needs a right.
    PortNotAllowed {
        /// Where.
        address: SocketAddr,
        /// The lowest port that anybody may use.
        unprivileged_from: u16,
    },
    /// No interface has the address.
    AddressNotAvailable {
        /// Where.
        address: SocketAddr,
    },
    /// The kernel has no such kind of address, IPv6 being switched off.
    FamilyNotSupported {
        /// Where.
        address: SocketAddr,
    },
    /// Any other trouble with an address.
    Listen {
        /// Where.
        listen: Listen,
        /// What the kernel said.
        error: io::Error,
    },
    /// The directory to serve cannot be opened.
    Root {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The access log cannot be opened.
    Log {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// What the site's files and keys turned out to be, all of it.
    Site(Vec<String>),
    /// Settings that cannot be, all of them.
    Settings(Vec<ConfigError>),
    /// The machine cannot hold it.
    Budget(Shortage),
    /// `--fd-table private` where the kernel does not allow it.
    PrivateTable {
        /// What the kernel said.
        error: io::Error,
    },
    /// `--accept least` where the kernel does not allow it.
    Accept(Obstacle),
    /// A route runs on workers, and there are none.
    NoWorkers {
        /// Its pattern.
        route: String,
    },
    /// A reactor cannot run on the CPU it was given.
    Pin {
        /// The CPU.
        cpu: u32,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel refused something every start needs.
    System {
        /// What was tried: `create an epoll`.
        attempt: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Makes the most of a failure to listen.
pub fn explain_bind(listen: &Listen, error: io::Error) -> StartError {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match (listen, errno) {
        (Listen::Tcp(_), Some(Errno::ADDRINUSE)) => {
            StartError::AddressInUse { listen: listen.clone(), holder: holder::of(listen) }
        }
        (Listen::Unix(path), Some(Errno::ADDRINUSE)) => explain_path(path),
        (Listen::Tcp(address), Some(Errno::ACCESS | Errno::PERM)) if address.port() < unprivileged_from() => {
            StartError::PortNotAllowed { address: *address, unprivileged_from: unprivileged_from() }
        }
        (Listen::Tcp(address), Some(Errno::ADDRNOTAVAIL)) => {
            StartError::AddressNotAvailable { address: *address }
        }
        (Listen::Tcp(address), Some(Errno::AFNOSUPPORT)) => {
            StartError::FamilyNotSupported { address: *address }
        }
        _ => StartError::Listen { listen: listen.clone(), error },
    }
}

fn explain_path(path: &Path) -> StartError {
    let listen = Listen::Unix(path.to_owned());
    let is_socket = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    match holder::is_listening(&listen) {
        true => StartError::AddressInUse { holder: holder::of(&listen), listen },
        false => StartError::PathTaken { path: path.to_owned(), is_socket },
    }
}

fn unprivileged_from() -> u16 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    text.trim().parse().unwrap_or(1024)
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::AddressInUse { listen, holder } => in_use(f, listen, holder.as_ref()),
            StartError::PathTaken { path, is_socket } => taken(f, path, *is_socket),
            StartError::PortNotAllowed { address, unprivileged_from } => write!(
                f,
                "{address}: ports below {unprivileged_from} need a right; grant it: sudo setcap cap_net_bind_service=+ep \
                 {}, or sudo sysctl net.ipv4.ip_unprivileged_port_start={}, or use port {} or above",
                program(),
                address.port(),
                (*unprivileged_from).max(8080),
            ),
            StartError::AddressNotAvailable { address } => write!(
                f,
                "{address}: no interface of this machine has that address (ip addr lists them); for every interface write \
                 --listen {}",
                every_interface(address),
            ),
            StartError::FamilyNotSupported { address } => {
                write!(
                    f,
                    "{address}: this kernel has no IPv6; write an IPv4 address, such as 127.0.0.1:{}",
                    address.port()
                )
            }
            StartError::Listen { listen: Listen::Unix(path), error } => {
                unreachable_path(f, "--listen unix:", path, error)
            }
            StartError::Listen { listen, error } => {
                write!(f, "cannot listen on {listen}: {error}; try another address")
            }
            StartError::Root { path, error } => unreachable_path(f, "--root ", path, error),
            StartError::Log { path, error } => unreachable_path(f, "--access-log ", path, error),
            StartError::Site(mistakes) => write!(f, "{}", mistakes.join("; ")),
            StartError::Settings(mistakes) => {
                let lines: Vec<String> = mistakes.iter().map(ConfigError::to_string).collect();
                f.write_str(&lines.join("; "))
            }
            StartError::Budget(shortage) => shortage.fmt(f),
            StartError::PrivateTable { error } => {
                write!(f, "--fd-table private: the kernel does not allow it ({error}); write --fd-table auto")
            }
            StartError::Accept(obstacle) => {
                write!(f, "--accept least: {obstacle}; {}, or write --accept hash", obstacle.fix())
            }
            StartError::NoWorkers { route } => {
                write!(f, "--workers 0: {route} runs on workers; write --workers 1 or more, or auto")
            }
            StartError::Pin { cpu, error } => write!(
                f,
                "--pin: CPU {cpu} is not available to this process ({error}); taskset -p $$ shows those that are, or write \
                 --pin auto"
            ),
            StartError::System { attempt, error } => write!(f, "cannot {attempt}: {error}"),
        }
    }
}

fn in_use(f: &mut fmt::Formatter<'_>, listen: &Listen, holder: Option<&Holder>) -> fmt::Result {
    let elsewhere = elsewhere(listen);
    if let Some(holder) = holder {
        return write!(f, "{listen} is in use by {holder}; stop it (kill {}), or {elsewhere}", holder.pid);
    }
    let option = if matches!(listen, Listen::Tcp(_)) { "-ltnp" } else { "-lxp" };
    write!(
        f,
        "{listen} is in use by a process we may not look into (as root, ss {option} names it); {elsewhere}"
    )
}

fn taken(f: &mut fmt::Formatter<'_>, path: &Path, is_socket: bool) -> fmt::Result {
    let path = path.display();
    match is_socket {
        true => write!(f, "unix:{path} was left behind by a process that is gone; remove it: rm {path}"),
        false => write!(f, "unix:{path} is a file already, and no socket; choose another path"),
    }
}

fn elsewhere(listen: &Listen) -> &'static str {
    match listen {
        Listen::Tcp(_) => "give --listen or --admin another port",
        Listen::Unix(_) => "give --listen or --admin another path",
    }
}

fn every_interface(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(_) => format!(":{}", address.port()),
        SocketAddr::V6(_) => format!("[::]:{}", address.port()),
    }
}

/// What `setcap` would have to be told.
pub(super) fn program() -> String {
    std::env::current_exe()
        .map_or_else(|_| String::from("$(which myriapod)"), |path| path.display().to_string())
}

fn unreachable_path(f: &mut fmt::Formatter<'_>, what: &str, path: &Path, error: &io::Error) -> fmt::Result {
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let (path, parent) = (path.display(), parent.display());
    match error.kind() {
        io::ErrorKind::NotFound if what.starts_with("--root") => {
            write!(f, "{what}{path}: no such directory; name one that exists")
        }
        io::ErrorKind::NotFound => write!(f, "{what}{path}: no such directory; make it: mkdir -p {parent}"),
        io::ErrorKind::PermissionDenied => {
            write!(f, "{what}{path}: not permitted; let this user into {parent}, or choose another place")
        }
        io::ErrorKind::IsADirectory => write!(f, "{what}{path}: is a directory; name a file in it"),
        _ => write!(f, "{what}{path}: {error}; choose another place"),
    }
}

impl std::error::Error for StartError {}

impl From<Shortage> for StartError {
    fn from(shortage: Shortage) -> StartError {
        StartError::Budget(shortage)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn refused(listen: &Listen) -> String {
        let error = match listen {
            Listen::Tcp(address) => TcpListener::bind(address).map(drop),
            Listen::Unix(path) => UnixListener::bind(path).map(drop),
        };
        explain_bind(listen, error.expect_err("cannot listen there")).to_string()
    }

    fn told(listen: &str, errno: Errno) -> String {
        let listen = match listen.strip_prefix("unix:") {
            Some(path) => Listen::Unix(path.into()),
            None => Listen::Tcp(listen.parse().expect("address")),
        };
        explain_bind(&listen, errno.into()).to_string()
    }

    #[test]
    fn names_the_process_that_holds_a_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let pid = std::process::id();
        let text = refused(&Listen::Tcp(address));
        assert!(text.starts_with(&format!("{address} is in use by ")), "{text}");
        assert!(text.contains(&format!("pid {pid}")) && text.contains("--listen"), "{text}");
    }

    #[test]
    fn tells_a_used_socket_path_from_a_stale_one() {
        let path = std::env::temp_dir().join(format!("myriapod-{}-stale.sock", std::process::id()));
        let listen = Listen::Unix(path.clone());
        let listener = UnixListener::bind(&path).expect("a socket");
        let text = refused(&listen);
        assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");

        drop(listener);
        let text = refused(&listen);
        assert!(text.contains("left behind") && text.ends_with(&format!("rm {}", path.display())), "{text}");

        fs::remove_file(&path).expect("removed");
        fs::write(&path, "").expect("a plain file");
        assert!(refused(&listen).contains("is a file already"), "{}", refused(&listen));
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_low_port_says_how() {
        if unprivileged_from() < 2 {
            return;
        }
        let text = told("127.0.0.1:1", Errno::ACCESS);
        for fix in
            ["setcap cap_net_bind_service=+ep", "ip_unprivileged_port_start=1", "or use port 8080 or above"]
        {
            assert!(text.contains(fix), "{text}");
        }
    }

    #[test]
    fn a_foreign_address_says_what_there_is_instead() {
        assert!(told("203.0.113.7:8080", Errno::ADDRNOTAVAIL).ends_with("write --listen :8080"));
        assert!(told("[2001:db8::1]:8080", Errno::ADDRNOTAVAIL).ends_with("write --listen [::]:8080"));
        assert!(told("[::1]:8080", Errno::AFNOSUPPORT).contains("no IPv6"));
    }

    #[test]
    fn a_path_says_what_is_missing() {
        let text = refused(&Listen::Unix("/nonexistent/run/a.sock".into()));
        assert_eq!(
            text,
            "--listen unix:/nonexistent/run/a.sock: no such directory; make it: mkdir -p /nonexistent/run"
        );
        let log = StartError::Log { path: "/var/log/a".into(), error: Errno::ACCESS.into() };
        assert_eq!(
            log.to_string(),
            "--access-log /var/log/a: not permitted; let this user into /var/log, or choose another place"
        );
        let root = StartError::Root { path: "site".into(), error: Errno::NOENT.into() };
        assert_eq!(root.to_string(), "--root site: no such directory; name one that exists");
    }
}
