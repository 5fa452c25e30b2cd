//! A server for tests: a thread for each connection, and a script that says what each request meets.
//!
//! Tests of the binary include it as well, so it knows nothing of the generator.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Answer,
    /// With another status than all others.
    Fail,
    /// Nobody is answered for so long, whatever connection they ask on.
    Stall(Duration),
    /// This one connection is not answered again, and stays open.
    Silence,
    /// Closes instead of answering.
    Close,
    /// Answers, says that it will close, and does.
    Part,
    /// Answers, says that it will close, and does not.
    Linger,
}

/// The server; ends with it.
pub struct Stub {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<dyn Fn(u64) -> Move + Send + Sync>,
    asked: AtomicU64,
    connections: AtomicU64,
    resets: Mutex<u64>,
    was_reset: Condvar,
    is_over: AtomicBool,
    gate: Mutex<()>,
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const FAILURE: &[u8] = b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nhello";
const PARTING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

impl Stub {
    /// Asks the script for every request, counted from nought over all connections.
    pub fn new(script: impl Fn(u64) -> Move + Send + Sync + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            asked: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            resets: Mutex::new(0),
            was_reset: Condvar::new(),
            is_over: AtomicBool::new(false),
            gate: Mutex::new(()),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let serving = Arc::clone(&accepting);
                std::thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        Stub { address, shared }
    }

    /// Requests that came so far.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Connections that were accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections that ended by a reset so far.
    pub fn resets(&self) -> u64 {
        *self.shared.resets.lock().unwrap()
    }

    /// Waits until so many connections have ended by a reset.
    pub fn wait_for_resets(&self, count: u64) {
        let resets = self.shared.resets.lock().unwrap();
        let seen = self.shared.was_reset.wait_timeout_while(resets, PATIENCE, |seen| *seen < count);
        assert_eq!(*seen.unwrap().0, count);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    /// Serves one connection until either side has enough.
    fn serve(&self, mut stream: TcpStream) {
        let mut input = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => input.extend_from_slice(&piece[..count]),
                Err(_) => {
                    *self.resets.lock().unwrap() += 1;
                    return self.was_reset.notify_all();
                }
            }
            while let Some(end) = memchr::memmem::find(&input, b"\r\n\r\n") {
                input.drain(..end + 4);
                let step = (self.script)(self.asked.fetch_add(1, Ordering::SeqCst));
                if !self.play(step, &mut stream) {
                    return;
                }
            }
        }
    }

    /// Whether the connection goes on.
    fn play(&self, step: Move, stream: &mut TcpStream) -> bool {
        if let Move::Stall(time) = step {
            let _all_wait = self.gate.lock().unwrap();
            std::thread::sleep(time);
        }
        drop(self.gate.lock().unwrap());
        let answer = match step {
            Move::Answer | Move::Stall(_) => ANSWER,
            Move::Fail => FAILURE,
            Move::Part | Move::Linger => PARTING,
            Move::Close => return false,
            Move::Silence => {
                let _ = stream.read_to_end(&mut Vec::new());
                return false;
            }
        };
        // Whoever asked may have gone.
        stream.write_all(answer).is_ok() && step != Move::Part
    }
}
