//! A real server as a child process, what /proc and its metrics tell of it, and waiting without sleeping blindly.
//!
//! The child ends with its guard, by its process id. Ports are chosen by the kernel and read from the banner.
#![allow(dead_code)]

pub mod client;
pub mod upstream;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use client::Client;

/// How long anything may take that should be quick.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What memory may differ by and still count as back at its base: buffers kept spare, arenas kept warm.
pub const RSS_SLACK_BYTES: u64 = 12 * 1024 * 1024;

/// A server that runs. Dropping it kills it.
pub struct Server {
    child: Child,
    /// `host:port` or `unix:path`, as the banner told them.
    pub listen: Vec<String>,
    pub admin: String,
    told: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// Descriptors and memory before something was done to a server.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    fds: usize,
    rss_bytes: u64,
}

/// The binary with nothing of this process's environment that it would heed.
pub fn binary(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myriapod"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MYRIAPOD_")) {
        command.env_remove(name);
    }
    command.args(words);
    command
}

/// This test binary once more, to run that one test of it, which serves until it is ended.
pub fn itself(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it runs"));
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads", "1"]);
    command
}

impl Server {
    /// Starts on free ports, with an admin listener, two reactors that go where the kernel likes, and these flags.
    pub fn start(words: &[&str]) -> Server {
        let mut words: Vec<&str> = words.to_vec();
        for (flag, value) in
            [("--listen", "127.0.0.1:0"), ("--admin", "127.0.0.1:0"), ("--reactors", "2"), ("--pin", "off")]
        {
            if !words.contains(&flag) {
                words.extend([flag, value]);
            }
        }
        Server::spawn(&mut binary(&words))
    }

    /// Starts that command and waits for its banner.
    pub fn spawn(command: &mut Command) -> Server {
        let (mut server, lines) = Server::spawn_unread(command);
        let told = Arc::clone(&server.told);
        server.reader = Some(thread::spawn(move || keep_reading(lines, &told)));
        server
    }

    /// Starts that command and leaves its standard error to the caller, behind the banner's addresses.
    pub fn spawn_unread(command: &mut Command) -> (Server, BufReader<ChildStderr>) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut lines = BufReader::new(child.stderr.take().expect("piped"));
        let banner = read_banner(&mut lines);
        let rows = |name: &str| addresses(&banner, name);
        let (listen, admin) = (rows("listening"), rows("admin").into_iter().next().unwrap_or_default());
        let told = Arc::new(Mutex::new(banner));
        (Server { child, listen, admin, told, reader: None }, lines)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first address.
    pub fn address(&self) -> &str {
        &self.listen[0]
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Everything it said on standard error so far.
    pub fn told(&self) -> String {
        self.told.lock().expect("not poisoned").clone()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process");
        kill_process(pid, signal).expect("it is ours");
    }

    /// Stops all its threads where they are, until SIGCONT.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = || fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it lives").flatten();
        let stands = |task: fs::DirEntry| {
            fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| stat.contains(") T "))
        };
        eventually("it stands still", || tasks().all(stands));
    }

    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end; what it said is complete afterwards.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_exited() {
            assert!(Instant::now() < deadline, "it does not end: {}", self.told());
            pause();
        }
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reads on");
        }
        self.child.wait().expect("a child")
    }

    /// The sum of a metric's samples whose name and labels begin so.
    pub fn metric(&self, prefix: &str) -> f64 {
        sum_of(&Client::get(&self.admin, "/metrics").text(), prefix)
    }

    /// Open descriptors, over the tables of all threads.
    pub fn fds(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it lives");
        tasks.flatten().filter_map(|task| Some(fs::read_dir(task.path().join("fd")).ok()?.count())).sum()
    }

    pub fn rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Processor time used, user and system together.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it lives");
        let rest = &stat[stat.rfind(')').expect("a name") + 2..];
        let ticks: u64 =
            rest.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
        // USER_HZ, which Linux shows as 100 on every machine.
        Duration::from_millis(ticks * 10)
    }

    pub fn base(&self) -> Base {
        self.serves();
        eventually("connections of the start are gone", || self.metric("myriapod_connections_open") == 0.0);
        Base { fds: self.fds(), rss_bytes: self.rss_bytes() }
    }

    /// A new client is served within a second.
    pub fn serves(&self) {
        let began = Instant::now();
        let response = Client::get(self.address(), "/healthz");
        assert_eq!(response.status, 200);
        assert!(began.elapsed() < Duration::from_secs(1), "served after {:?}", began.elapsed());
    }

    /// What must hold when a fault is over: served, nothing leaked, nobody panicked.
    pub fn is_back_at(&self, base: Base) {
        self.serves();
        let within = |rss: u64| rss <= base.rss_bytes + RSS_SLACK_BYTES;
        let is_back = || self.fds() <= base.fds && within(self.rss_bytes());
        let (began, mut back) = (Instant::now(), is_back());
        while !back && began.elapsed() < PATIENCE {
            pause();
            back = is_back();
        }
        assert!(back, "{base:?}, now {} fds, {} bytes", self.fds(), self.rss_bytes());
        assert!(!self.has_panicked(), "{}", self.told());
    }

    /// Whether anything panicked but a handler, which is told of in the log.
    fn has_panicked(&self) -> bool {
        let told = self.told();
        let mut panics = told.lines().filter(|line| line.contains("panicked"));
        panics.any(|line| !line.contains("the handler of"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if !thread::panicking() {
            assert!(!self.has_panicked(), "{}", self.told());
        }
    }
}

/// The sum of a metric's samples on a page, whose name and labels begin so.
pub fn sum_of(page: &str, prefix: &str) -> f64 {
    let is_it = |line: &&str| {
        let rest = line.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ', ',']) || prefix.ends_with('}'))
    };
    page.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Up to the row that comes behind all addresses.
fn read_banner(lines: &mut impl BufRead) -> String {
    let mut banner = String::new();
    while !banner.lines().last().unwrap_or_default().starts_with("  serving") {
        let count = lines.read_line(&mut banner).expect("text");
        assert!(count > 0, "it did not start: {banner}");
    }
    banner
}

fn keep_reading(mut lines: impl Read, told: &Mutex<String>) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = lines.read(&mut piece) {
        told.lock().expect("not poisoned").push_str(&String::from_utf8_lossy(&piece[..count]));
    }
}

/// The addresses of a row of the banner and of the rows without a name below it.
fn addresses(banner: &str, name: &str) -> Vec<String> {
    let row = format!("  {name} ");
    let rows = banner.lines().skip_while(|line| !line.starts_with(&row));
    let own = rows.enumerate().take_while(|(at, line)| *at == 0 || line.starts_with("      "));
    own.map(|(_, line)| {
        let address = line.trim().trim_start_matches(name).trim();
        let address = address.strip_prefix("http://").unwrap_or(address);
        address
            .split(['/', ' '])
            .next()
            .filter(|_| !address.starts_with("unix:"))
            .unwrap_or(address)
            .to_owned()
    })
    .collect()
}

/// Numbers that look like chance and are the same in every run (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    /// Below that.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Clients that ask for some of these in a row and then stay, go, break off or say that they are done, so that every
/// moment of an exchange is met by every end of a connection.
pub fn let_loose(address: &str, requests: &[String], seed: u64, count: usize) {
    let mut dice = Dice(seed);
    for _ in 0..count {
        let Ok(mut client) = Client::try_connect(address) else { return };
        let asked = 1 + dice.below(4) as usize;
        let bytes: String =
            (0..asked).map(|_| requests[dice.below(requests.len() as u64) as usize].as_str()).collect();
        let cut = if dice.below(3) == 0 { dice.below(bytes.len() as u64) as usize } else { bytes.len() };
        if client.try_send(&bytes.as_bytes()[..cut]).is_err() {
            continue;
        }
        let answers = dice.below(asked as u64 + 1);
        let is_whole = cut == bytes.len();
        for _ in 0..if is_whole { answers } else { 0 } {
            if client.try_response().is_ok_and(|response| !response.ends_connection()) {
                continue;
            }
            break;
        }
        match dice.below(4) {
            0 => client.reset(),
            1 => drop(client),
            2 => {
                // It may have been broken off from the other side.
                let _ = client.tcp().shutdown(std::net::Shutdown::Write);
                let _ = client.rest();
            }
            _ => {
                let _ = client.stays_silent_for(Duration::from_millis(1 + dice.below(5)));
                client.reset();
            }
        }
    }
}

/// A moment between two looks.
pub fn pause() {
    thread::sleep(Duration::from_millis(3));
}

/// Looks again and again until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        pause();
    }
}

/// A folder of the test's own, gone with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("myriapod-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn text(&self) -> &str {
        self.0.to_str().expect("plain")
    }

    pub fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("plain").to_owned()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, bytes).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
