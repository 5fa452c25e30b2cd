//! The raw epoll ceiling: the least a single thread can do between a request and its answer.
//!
//! One edge-triggered epoll loop. Per event: `recv` into one shared buffer, count the ends of heads
//! (`\r\n\r\n`), `send` as many canned answers from a block of them built at start, so that pipelined answers
//! cost no copying. What a server needs beyond this is its price, and `scripts/bench.sh` reports it as a
//! ratio.
//!
//! Promises: the same bytes, field for field, as the server's own answer to `/plaintext` (only the date
//! stands still); a short read ends the visit, as there is nothing more to fetch; it listens on 127.0.0.1
//! only.
//!
//! Deliberately not here: HTTP. Nothing is parsed and nothing remembered between two reads, so an end of head
//! cut in two by a read goes unanswered (no load generator on loopback cuts one); a peer that lets its
//! receive window fill is dropped rather than queued for; there are no timeouts. Never put this before
//! anything but a benchmark.
//!
//! Signals keep their default action: SIGTERM and SIGINT end it at once.

use std::io::{self, Write};
use std::mem::{size_of, size_of_val, zeroed};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

const HELP: &str = "\
ceiling: answers every request with a canned text, as fast as one epoll thread can

Usage: ceiling [--port PORT] [--cpu N]

  --port PORT  listen on 127.0.0.1:PORT; 0 takes a free one (default 0)
  --cpu N      run on CPU N only (default: wherever the kernel likes)
  --help       this text

Prints the port on a line of its own once it listens; ends on SIGTERM.
";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: myriapod\r\n\
    Date: Sat, 21 Nov 2026 10:26:13 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 13\r\n\
    \r\n\
    Hello, World!";
const HEAD_END: &[u8; 4] = b"\r\n\r\n";

/// Answers in the prebuilt block; more than this in one read take a second `send`.
const ANSWERS_PER_SEND_MAX: usize = 256;
const INPUT_BYTES: usize = 64 * 1024;
const EVENTS_PER_WAIT_MAX: usize = 1024;
const BACKLOG: i32 = 65_535;

/// The `u64` epoll hands back for the listener; a client's is its descriptor, which is never negative.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    match Options::from_args(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ceiling: {message}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Options {
    Help,
    Serve { port: u16, cpu: Option<usize> },
}

impl Options {
    fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut port, mut cpu) = (0, None);
        while let Some(flag) = args.next() {
            match flag.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--port" => port = number(&flag, args.next())?,
                "--cpu" => cpu = Some(number(&flag, args.next())?),
                _ => return Err(format!("unknown flag {flag}; try --help")),
            }
        }
        Ok(Self::Serve { port, cpu })
    }
}

fn number<N: std::str::FromStr>(flag: &str, value: Option<String>) -> Result<N, String> {
    value.and_then(|text| text.parse().ok()).ok_or_else(|| format!("{flag} needs a number"))
}

fn run(options: Options) -> Result<(), String> {
    let Options::Serve { port, cpu } = options else {
        print!("{HELP}");
        return Ok(());
    };
    serve(port, cpu).map_err(|error| error.to_string())
}

fn serve(port: u16, cpu: Option<usize>) -> io::Result<()> {
    if let Some(cpu) = cpu {
        pin(cpu)?;
    }
    let mut ceiling = Ceiling::new(listen(port)?)?;
    let mut out = io::stdout();
    writeln!(out, "{}", ceiling.listener.local_addr()?.port())?;
    out.flush()?;
    loop {
        ceiling.turn()?;
    }
}

/// Everything the one thread touches.
///
/// Invariant: a client's descriptor is open exactly as long as it is registered with `epoll`, and only
/// [`visit`](Ceiling::visit) closes one, as the last thing it does with it.
struct Ceiling {
    epoll: OwnedFd,
    listener: TcpListener,
    events: Vec<libc::epoll_event>,
    input: Vec<u8>,
    answers: Vec<u8>,
}

/// What is left to do with a connection after a visit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Wait,
    Close,
}

impl Ceiling {
    fn new(listener: TcpListener) -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let ceiling = Self {
            // SAFETY: the descriptor was made a line above and nobody else has it.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) },
            listener,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_WAIT_MAX],
            input: vec![0; INPUT_BYTES],
            answers: ANSWER.repeat(ANSWERS_PER_SEND_MAX),
        };
        ceiling.watch(ceiling.listener.as_raw_fd(), LISTENER)?;
        Ok(ceiling)
    }

    fn turn(&mut self) -> io::Result<()> {
        for at in 0..self.wait()? {
            let event = self.events[at];
            match event.u64 {
                LISTENER => self.accept()?,
                client => self.visit(client as RawFd, event.events),
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<usize> {
        let room = self.events.len() as i32;
        // SAFETY: `events` is a live, initialised vector of `room` events.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, -1) };
        match check(count) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            count => Ok(count? as usize),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            let (listener, no_address) = (self.listener.as_raw_fd(), std::ptr::null_mut());
            // SAFETY: null pointers tell the kernel that nobody wants the address.
            let accepted = unsafe { libc::accept4(listener, no_address, std::ptr::null_mut(), flags) };
            match check(accepted) {
                Ok(client) => self.watch(client, client as u64)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The peer gave up while it waited; the next in line may not have.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Registers for edges of readability; never changed again, so a request costs no `epoll_ctl`.
    fn watch(&self, descriptor: RawFd, name: u64) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event { events: interest as u32, u64: name };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` lives through the call, which copies it.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, descriptor, &mut event) }).map(drop)
    }

    fn visit(&mut self, client: RawFd, edges: u32) {
        let hung_up = edges & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0;
        if self.exchange(client) == After::Close || hung_up {
            // SAFETY: takes no pointers; by the struct's invariant `client` is open, and nobody uses it after
            // this.
            unsafe { libc::close(client) };
        }
    }

    fn exchange(&mut self, client: RawFd) -> After {
        loop {
            let (start, room) = (self.input.as_mut_ptr().cast(), self.input.len());
            // SAFETY: `start` points at `room` writable bytes of a vector that outlives the call.
            let count = unsafe { libc::recv(client, start, room, 0) };
            let filled = match count {
                0 => return After::Close,
                1.. => count as usize,
                _ if would_block() => return After::Wait,
                _ => return After::Close,
            };
            if self.answer(client, heads_in(&self.input[..filled])) == After::Close {
                return After::Close;
            }
            // A short read has taken all there was; the next byte makes a new edge.
            if filled < room {
                return After::Wait;
            }
        }
    }

    fn answer(&self, client: RawFd, mut owed: usize) -> After {
        while owed > 0 {
            let now = owed.min(ANSWERS_PER_SEND_MAX);
            let bytes = &self.answers[..now * ANSWER.len()];
            // SAFETY: pointer and length are those of one live slice.
            let sent = unsafe { libc::send(client, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
            if usize::try_from(sent) != Ok(bytes.len()) {
                return After::Close;
            }
            owed -= now;
        }
        After::Wait
    }
}

fn heads_in(bytes: &[u8]) -> usize {
    bytes.windows(HEAD_END.len()).filter(|window| window == HEAD_END).count()
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let on: libc::c_int = 1;
    let bytes = size_of_val(&on) as libc::socklen_t;
    // On the listener, because Linux hands the option down to what it accepts.
    // SAFETY: the pointer and length are those of `on`, which lives through the call.
    check(unsafe {
        let value = (&raw const on).cast();
        libc::setsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, value, bytes)
    })?;
    // The standard library chose a small backlog; listening again only changes that.
    // SAFETY: takes no pointers.
    check(unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) })?;
    Ok(listener)
}

fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: `cpu_set_t` is an array of integers, for which all zeroes is a value: the empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `cpu` was just checked to lie within the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: pointer and size are those of `set`; 0 is this thread, the only one.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) }).map(drop)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn would_block() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        Options::from_args(line.split_whitespace().map(String::from))
    }

    #[test]
    fn counts_every_end_of_head_and_nothing_else() {
        let request = b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(heads_in(&request.repeat(16)), 16);
        assert_eq!(heads_in(&request[..request.len() - 1]), 0);
        assert_eq!(heads_in(b"\r\n\r"), 0);
        assert_eq!(heads_in(b""), 0);
    }

    #[test]
    fn says_as_many_bytes_as_the_answer_declares() {
        let end = heads_in(ANSWER);
        assert_eq!(end, 1);
        let body = ANSWER.windows(4).position(|window| window == HEAD_END).map(|at| &ANSWER[at + 4..]);
        assert_eq!(body, Some(&b"Hello, World!"[..]));
        assert_eq!(body.map(<[u8]>::len), Some(13));
    }

    #[test]
    fn reads_its_flags_and_refuses_others() {
        assert_eq!(options(""), Ok(Options::Serve { port: 0, cpu: None }));
        assert_eq!(options("--cpu 1 --port 8080"), Ok(Options::Serve { port: 8080, cpu: Some(1) }));
        assert_eq!(options("--port 8080 --help"), Ok(Options::Help));
        assert!(options("--port").is_err());
        assert!(options("--port 65536").is_err());
        assert!(options("--ports 1").is_err());
    }
}
