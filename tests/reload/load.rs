//! A hundred reloads under load: whatever is under way goes on, whatever comes is answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;

use super::common::{Client, Folder, Server, eventually, pause};
use super::{reload, serve};

const RELOADS: usize = 100;
const PIECES: usize = 20;
const PIECE: &[u8] = &[b'p'; 500];

/// A server behind the gateway, which answers slowly, takes uploads and switches to an echo.
struct Upstream {
    address: SocketAddr,
    /// Connections to it that are open.
    open: Arc<AtomicUsize>,
}

impl Upstream {
    fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                count.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _ = talk(stream);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Upstream { address, open }
    }
}

/// One connection, until the gateway closes it.
fn talk(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kept = Vec::new();
    loop {
        let head = until(&mut stream, &mut kept, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let length: usize = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        match path {
            "/slow" => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES * PIECE.len())?;
                for _ in 0..PIECES {
                    pause();
                    stream.write_all(PIECE)?;
                }
            }
            "/upload" => {
                while kept.len() < length {
                    more(&mut stream, &mut kept)?;
                }
                kept.drain(..length);
                let text = length.to_string();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
            }
            "/tunnel" => {
                stream.write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                )?;
                loop {
                    stream.write_all(&std::mem::take(&mut kept))?;
                    more(&mut stream, &mut kept)?;
                }
            }
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?,
        }
    }
}

fn until(stream: &mut TcpStream, kept: &mut Vec<u8>, end: &[u8]) -> std::io::Result<Vec<u8>> {
    loop {
        if let Some(at) = kept.windows(end.len()).position(|window| window == end) {
            return Ok(kept.drain(..at + end.len()).collect());
        }
        more(stream, kept)?;
    }
}

fn more(stream: &mut TcpStream, kept: &mut Vec<u8>) -> std::io::Result<()> {
    let mut piece = [0; 4096];
    match stream.read(&mut piece)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        count => {
            kept.extend_from_slice(&piece[..count]);
            Ok(())
        }
    }
}

/// A site with that pool, and routes that nobody asks for.
fn site(servers: &[&Upstream], routes: usize) -> String {
    let servers: Vec<String> =
        servers.iter().map(|server| format!("\"http://{}\"", server.address)).collect();
    let mut text = format!("[upstream.app]\nservers = [{}]\n", servers.join(", "));
    for route in 0..routes {
        text += &format!("[[route]]\npath = \"/unused/{route}/{{id}}\"\nproxy = \"app\"\n");
    }
    text + "[[route]]\npath = \"/*\"\nproxy = \"app\"\nupgrades = true\n"
}

/// What clients do until it is over, and how often they did.
struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn begin(server: &Server) -> Load {
        let mut load = Load { is_over: Arc::default(), done: Arc::default(), threads: Vec::new() };
        let doings: [fn(&str, &mut Option<Client>); 5] = [stay, come_anew, listen_slowly, upload, tunnel];
        for doing in doings.iter().chain(&doings) {
            let (is_over, done) = (Arc::clone(&load.is_over), Arc::clone(&load.done));
            let (address, doing) = (server.address().to_owned(), *doing);
            load.threads.push(thread::spawn(move || {
                let mut client = None;
                while !is_over.load(Ordering::Relaxed) {
                    doing(&address, &mut client);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        load
    }

    /// Ends it. Whoever met with a failure has panicked.
    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no request failed"));
    }
}

fn stay(address: &str, client: &mut Option<Client>) {
    let client = client.get_or_insert_with(|| Client::connect(address));
    assert_eq!(client.ask("/small").text(), "hello");
}

fn come_anew(address: &str, _: &mut Option<Client>) {
    assert_eq!(Client::connect(address).ask("/small").text(), "hello");
}

fn listen_slowly(address: &str, client: &mut Option<Client>) {
    let client = client.get_or_insert_with(|| Client::connect(address));
    assert_eq!(client.ask("/slow").body.len(), PIECES * PIECE.len());
}

fn upload(address: &str, client: &mut Option<Client>) {
    let client = client.get_or_insert_with(|| Client::connect(address));
    let length = PIECES * PIECE.len();
    client.send(format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    for _ in 0..PIECES {
        client.send(PIECE);
        pause();
    }
    assert_eq!(client.response().text(), length.to_string());
}

/// One tunnel from the first to the last generation.
fn tunnel(address: &str, client: &mut Option<Client>) {
    let client = client.get_or_insert_with(|| {
        let mut client = Client::connect(address);
        client.send("GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert_eq!(client.response_to_head().status, 101);
        client
    });
    client.send(b"ping");
    assert_eq!(client.exactly(4).expect("an echo"), b"ping");
}

#[test]
fn a_hundred_reloads_under_load_cost_no_request() {
    let folder = Folder::new();
    let (one, two) = (Upstream::start(), Upstream::start());
    let server = serve(&folder, &site(&[&one], 10), &["--fd-table", "private"]);
    // Once through everything, so that the base has what stays.
    let warm = Load::begin(&server);
    eventually("everybody has begun", || warm.done.load(Ordering::Relaxed) > 200);
    reload(&server, &folder, &site(&[&one, &two], 10), "ok");
    warm.end();
    let base = server.base();

    let pools = [vec![&one], vec![&one, &two], vec![&two], vec![&two, &one]];
    let load = Load::begin(&server);
    for round in 0..RELOADS {
        let before = load.done.load(Ordering::Relaxed);
        reload(&server, &folder, &site(&pools[round % 4], 10 + round % 3 * 50), "ok");
        eventually("clients go on", || load.done.load(Ordering::Relaxed) >= before + 20);
    }
    assert_eq!(server.metric("myriapod_config_generation"), RELOADS as f64 + 1.0);
    load.end();
    reload(&server, &folder, super::ELSEWHERE, "ok");
    eventually("lines to servers that went are closed", || {
        one.open.load(Ordering::SeqCst) + two.open.load(Ordering::SeqCst) == 0
    });
    server.is_back_at(base);
}
