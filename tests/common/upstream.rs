//! Upstreams that say what a test tells them to, byte by byte, and remember what they were asked; and a gateway before
//! them.
//!
//! What they read they read strictly: a request that is not exactly right fails the test that meets it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Folder, PATIENCE, Server, eventually};

/// One upstream. Dropping it closes everything.
pub struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// A request as an upstream saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which of its connections it came on, from 0.
    pub connection: usize,
    pub head: String,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    wrong: Mutex<Vec<String>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    is_over: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

/// One connection of an upstream, from its side.
pub struct Talk {
    /// Which one, from 0.
    pub number: usize,
    stream: TcpStream,
    unread: Vec<u8>,
    shared: Arc<Shared>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The values of all fields of that name.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

impl Fake {
    /// Tells that story to each connection, on a thread of its own; when it ends, so does the connection.
    pub fn start(story: impl Fn(&mut Talk) + Send + Sync + 'static) -> Fake {
        Fake::start_at("127.0.0.1:0".parse().expect("an address"), story)
    }

    pub fn start_at(address: SocketAddr, story: impl Fn(&mut Talk) + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept_all(&listener, &accepting, &Arc::new(story)));
        Fake { address, shared, acceptor: Some(acceptor) }
    }

    /// Answers each request with these bytes and goes on.
    pub fn says(answer: impl Into<Vec<u8>>) -> Fake {
        let answer = answer.into();
        Fake::start(move |talk| while talk.request().is_some() && talk.say(&answer) {})
    }

    /// Says each request's body, or `hello` where there is none, with a field that names the request's number.
    pub fn echoes() -> Fake {
        Fake::echoes_at("127.0.0.1:0".parse().expect("an address"))
    }

    pub fn echoes_at(address: SocketAddr) -> Fake {
        Fake::start_at(address, |talk| {
            while let Some(seen) = talk.request() {
                let body = if seen.body.is_empty() { b"hello".to_vec() } else { seen.body };
                let is_head = seen.head.starts_with("HEAD ");
                let mut answer = ok(&body);
                answer.truncate(if is_head { answer.len() - body.len() } else { answer.len() });
                if !talk.say(answer) {
                    return;
                }
            }
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As it stands in a configuration.
    pub fn url(&self) -> String {
        format!("\"http://{}\"", self.address)
    }

    /// What it was asked so far, whole requests only.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("not poisoned").clone()
    }

    /// How many connections it had so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many stories are being told.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for socket in self.shared.sockets.lock().expect("not poisoned").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let wrong = self.shared.wrong.lock().expect("not poisoned");
        assert!(thread::panicking() || wrong.is_empty(), "requests that no gateway should send: {wrong:?}");
    }
}

fn accept_all(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    story: &Arc<impl Fn(&mut Talk) + Send + Sync + 'static>,
) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        shared.sockets.lock().expect("not poisoned").push(stream.try_clone().expect("a descriptor"));
        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
        shared.open.fetch_add(1, Ordering::Relaxed);
        let mut talk = Talk { number, stream, unread: Vec::new(), shared: Arc::clone(shared) };
        let story = Arc::clone(story);
        thread::spawn(move || {
            story(&mut talk);
            let _ = talk.stream.shutdown(Shutdown::Both);
            talk.shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Talk {
    /// The next request, whole; `None` when the other side has ended.
    pub fn request(&mut self) -> Option<Seen> {
        let head = self.head()?;
        let body = match self.body_of(&head) {
            Ok(body) => body,
            Err(error) => {
                // Who goes in the middle of a body does no wrong; who frames it wrongly does.
                if error.kind() == io::ErrorKind::InvalidData {
                    self.complain(&format!("{error}: {head}"));
                }
                return None;
            }
        };
        let seen = Seen { connection: self.number, head, body };
        self.shared.seen.lock().expect("not poisoned").push(seen.clone());
        Some(seen)
    }

    /// The next request's head alone.
    pub fn head(&mut self) -> Option<String> {
        let head = self.until(b"\r\n\r\n").ok()?;
        let head = String::from_utf8_lossy(&head).into_owned();
        if let Err(why) = check_head(&head) {
            self.complain(&format!("{why}: {head}"));
        }
        Some(head)
    }

    /// Whatever comes next, as it is; `None` when the other side has ended.
    pub fn raw(&mut self) -> Option<Vec<u8>> {
        while self.unread.is_empty() {
            self.fill().ok()?;
        }
        Some(std::mem::take(&mut self.unread))
    }

    /// Whether the other side was still there to hear it.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Whether the other side lets go of the connection within that time; what it says before is skipped.
    pub fn is_let_go_in(&mut self, time: Duration) -> bool {
        let deadline = std::time::Instant::now() + time;
        let mut piece = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).expect("a timeout");
            match self.stream.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    fn body_of(&mut self, head: &str) -> io::Result<Vec<u8>> {
        let field = |name: &str| {
            let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
            fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
        };
        match (field("content-length"), field("transfer-encoding")) {
            (Some(length), None) => self.exactly(length.parse().map_err(|_| wrong("a bad length"))?),
            (None, Some("chunked")) => self.chunks(),
            (None, None) => Ok(Vec::new()),
            _ => Err(wrong("two framings, or an unknown one")),
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n")?).map_err(|_| wrong("a chunk size"))?;
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| wrong("a chunk size"))?;
            if size == 0 {
                while self.until(b"\r\n")? != b"\r\n" {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(wrong("a chunk's end"));
            }
        }
    }

    fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.fill()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.unread.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }

    fn complain(&self, why: &str) {
        self.shared.wrong.lock().expect("not poisoned").push(why.to_owned());
    }
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// RFC 9112 sections 3, 5 and 7.
fn check_head(head: &str) -> Result<(), &'static str> {
    let is_odd = |letter: char| letter.is_ascii_control() && letter != '\t';
    if head.replace("\r\n", "").contains(is_odd) || !head.lines().next().is_some_and(str::is_ascii) {
        return Err("bytes that no head has");
    }
    let mut lines = head.trim_end().split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    if words.len() != 3 || words[2] != "HTTP/1.1" || !(words[1].starts_with('/') || words[1] == "*") {
        return Err("no request line");
    }
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    if fields.len() + 1 != head.trim_end().split("\r\n").count() {
        return Err("a line that is no field");
    }
    let count = |name: &str| fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).count();
    let has_name = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    if !fields.iter().all(|(name, value)| has_name(name) && *value == value.trim()) {
        return Err("a field that is none");
    }
    match (count("host"), count("content-length") + count("transfer-encoding")) {
        (1, 0 | 1) => Ok(()),
        (1, _) => Err("framed twice"),
        _ => Err("not one Host"),
    }
}

/// 200 with that body.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nX-Fake: yes\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A gateway that was told by a file.
pub struct Gateway {
    server: Server,
    folder: Folder,
}

impl Gateway {
    /// One reactor, and beside what the site says a `/healthz`.
    pub fn start(site: &str) -> Gateway {
        Gateway::with(site, &[])
    }

    pub fn with(site: &str, words: &[&str]) -> Gateway {
        let folder = Folder::new();
        folder.write("site.toml", whole(site).as_bytes());
        let config = folder.join("site.toml");
        let words: Vec<&str> = [&["--config", &config, "--reactors", "1"], words].concat();
        Gateway { server: Server::start(&words), folder }
    }

    /// A pool of these for every path, with more to be said of it.
    pub fn before(fakes: &[&Fake], more: &str) -> Gateway {
        Gateway::start(&pool(fakes, more))
    }

    /// Writes the file anew; in one step, as it may be read at any time.
    pub fn rewrite(&self, site: &str) {
        let new = self.folder.write("site.new", whole(site).as_bytes());
        std::fs::rename(new, self.folder.path().join("site.toml")).expect("renamed");
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

impl Deref for Gateway {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// A pool of these for every path.
pub fn pool(fakes: &[&Fake], more: &str) -> String {
    let servers: Vec<String> = fakes.iter().map(|fake| fake.url()).collect();
    format!(
        "[upstream.pool]\nservers = [{}]\n{more}\n[[route]]\npath = \"/*\"\nproxy = \"pool\"\nupgrades = true\n",
        servers.join(", ")
    )
}

fn whole(site: &str) -> String {
    format!("{site}\n[[route]]\npath = \"/healthz\"\nrespond = \"ok\"\n")
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// Nobody is being told a story any more.
pub fn are_let_go(fake: &Fake) {
    eventually("upstream connections are let go", || fake.open() == 0);
}
