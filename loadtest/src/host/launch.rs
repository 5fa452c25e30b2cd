//! Servers started from given commands: on a free port, with a scratch folder, in a process group with a
//! guardian.
//!
//! Promises: nothing started here outlives this process. What goes out of scope is ended, also when a panic
//! unwinds. Should this process be killed, the guardian, a shell that waits for the end of a pipe that only
//! this process holds, kills the whole group, workers of a master process included. It is there before the
//! server is, and leads the group, so that its number stays the group's until it is reaped.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::host::cpus::{self, Cpus};

/// How a server is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    pub name: String,
    /// For the shell; `{port}`, `{dir}` and `{path}` are filled in.
    pub command: String,
}

/// A server that was started.
#[derive(Debug)]
pub struct Running {
    pub name: String,
    pub port: u16,
    child: Child,
    guardian: Child,
    scratch: PathBuf,
}

/// How long a server may take to end when it is asked to; then it is killed.
const POLITE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(2);
/// What of a dead server's last words is shown.
const LINES_SHOWN_MAX: usize = 20;
/// Ignores what asks the server to end, which goes to all of the group.
const GUARDIAN: &str = r#"trap '' TERM; read -r _; rm -rf -- "$1"; kill -s KILL 0"#;

impl Recipe {
    /// Reads `name=command`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Recipe, String> {
        let parts = text.split_once('=').map(|(name, command)| (name.trim(), command.trim()));
        match parts {
            Some((name, command)) if !name.is_empty() && !command.is_empty() => {
                Ok(Recipe { name: name.to_string(), command: command.to_string() })
            }
            _ => Err(format!("{text:?} names no server and command; write 'NAME=COMMAND with {{port}}'")),
        }
    }

    /// Starts it on these CPUs, or wherever the kernel likes, to be asked for `path`. It is not ready yet.
    ///
    /// # Errors
    /// Why it could not be started, for people.
    pub fn start(&self, path: &str, cpus: Option<&Cpus>) -> Result<Running, String> {
        let told = |error: io::Error| format!("cannot start {}: {error}", self.name);
        let scratch = scratch().map_err(told)?;
        let port = free_port().map_err(told)?;
        let folder = scratch.display().to_string();
        let command = self.command.replace("{port}", &port.to_string()).replace("{dir}", &folder);
        let command = command.replace("{path}", path);
        let mut guardian = guard(&scratch).map_err(told)?;
        // Closing the pipe is all it takes to end one that has nothing to guard.
        let child = bound(cpus, || spawn(&command, &scratch, &guardian).map_err(told))
            .inspect_err(|_| drop(guardian.wait()))?;
        Ok(Running { name: self.name.clone(), port, child, guardian, scratch })
    }
}

impl Running {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, with its last words, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended ({status}) and said:\n{}", self.name, self.said()))
    }

    /// The last lines it wrote to standard output and standard error.
    pub fn said(&self) -> String {
        let bytes = fs::read(said_path(&self.scratch)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES_SHOWN_MAX)..];
        if last.is_empty() { "  | nothing".into() } else { format!("  | {}", last.join("\n  | ")) }
    }

    fn ends_within(&mut self, limit: Duration) -> bool {
        let since = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if since.elapsed() >= limit {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end_group(&self.guardian, Signal::TERM);
        self.ends_within(POLITE);
        // Whoever is left, the guardian included.
        end_group(&self.guardian, Signal::KILL);
        let _ = self.child.wait();
        let _ = self.guardian.wait();
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

fn spawn(command: &str, scratch: &Path, guardian: &Child) -> io::Result<Child> {
    let said = File::create(said_path(scratch))?;
    Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .process_group(group_of(guardian)?.as_raw_nonzero().get())
        .spawn()
}

/// In a group of its own, so that Ctrl-C at the terminal leaves it to do its work.
fn guard(scratch: &Path) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", GUARDIAN, "guardian"])
        .arg(scratch)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// A process inherits the CPUs of the thread that starts it.
fn bound<T>(cpus: Option<&Cpus>, start: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let Some(cpus) = cpus else { return start() };
    let before = cpus::own();
    let outcome = cpus.bind().and_then(|()| start());
    before.bind()?;
    outcome
}

/// The guardian's process is the group's first, so it has the group's number.
fn group_of(guardian: &Child) -> io::Result<Pid> {
    i32::try_from(guardian.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn end_group(guardian: &Child, signal: Signal) {
    if let Ok(group) = group_of(guardian) {
        let _ = kill_process_group(group, signal);
    }
}

/// Free a moment ago, which is as much as can be known.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A new folder that everybody may read, as some servers leave root before they read theirs.
fn scratch() -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("myriapod-load-{}-{number}", std::process::id()));
    // Fails where something of this name is already there, whoever made it.
    fs::create_dir(&path)?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(path)
}

fn said_path(scratch: &Path) -> PathBuf {
    scratch.join("said")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(command: &str) -> Recipe {
        Recipe { name: "test".into(), command: command.into() }
    }

    fn is_there(id: u32) -> bool {
        Path::new(&format!("/proc/{id}/stat")).exists()
    }

    #[test]
    fn a_recipe_has_a_name_and_a_command() {
        let recipe = Recipe::parse("nginx = nginx -c a=b").unwrap();
        assert_eq!((recipe.name.as_str(), recipe.command.as_str()), ("nginx", "nginx -c a=b"));
        assert!(
            Recipe::parse("nginx").is_err() && Recipe::parse("=x").is_err() && Recipe::parse("x=").is_err()
        );
    }

    #[test]
    fn what_a_command_says_is_kept_and_told_when_it_dies() {
        let mut running = recipe("echo port {port}{path} >&2; exit 3").start("/a", None).unwrap();
        assert!(running.ends_within(Duration::from_secs(10)));
        let told = running.ended().unwrap();
        assert!(
            told.contains(&format!("port {}/a", running.port)) && told.contains("exit status: 3"),
            "{told}"
        );
    }

    #[test]
    fn whoever_the_server_started_ends_with_it() {
        let running = recipe("sleep 1000 & echo $! > {dir}/worker; wait").start("/a", None).unwrap();
        let worker: u32 = loop {
            let text = fs::read_to_string(running.scratch.join("worker")).unwrap_or_default();
            if let Ok(id) = text.trim().parse() {
                break id;
            }
        };
        let (leader, folder) = (running.id(), running.scratch.clone());
        assert!(is_there(leader) && is_there(worker));
        drop(running);
        assert!(!is_there(leader) && !folder.exists());
        // A worker without a master is reaped by somebody else, a moment later.
        while is_there(worker) && !is_zombie(worker) {}
    }

    fn is_zombie(id: u32) -> bool {
        fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|text| text.contains(") Z "))
    }

    #[test]
    fn a_server_runs_where_it_is_told_to() {
        let allowed = cpus::own();
        let first = Cpus::parse(allowed.to_string()[4..].split(',').next().unwrap()).unwrap();
        let mut running =
            recipe("grep Cpus_allowed_list /proc/self/status").start("/a", Some(&first)).unwrap();
        assert!(running.ends_within(Duration::from_secs(10)));
        let only = first.to_string().replace("CPU ", "\t");
        assert!(running.said().ends_with(&only), "{}", running.said());
        assert_eq!(cpus::own(), allowed, "and this thread where it ran before");
    }
}
