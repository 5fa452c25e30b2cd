//! A client that sends raw bytes and reads answers strictly: what is not exactly right fails the test.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;

/// A connection.
pub struct Client {
    wire: Wire,
    unread: Vec<u8>,
}

enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An answer, as it stood on the wire.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice: {}", self.head);
        value
    }

    pub fn ends_connection(&self) -> bool {
        self.field("connection") == Some("close")
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }
}

impl Client {
    /// To `host:port` or `unix:path`.
    pub fn connect(address: &str) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub fn try_connect(address: &str) -> io::Result<Client> {
        let wire = match address.strip_prefix("unix:") {
            Some(path) => Wire::Unix(UnixStream::connect(path)?),
            None => Wire::Tcp(TcpStream::connect(address)?),
        };
        let client = Client { wire, unread: Vec::new() };
        client.wait_at_most(PATIENCE);
        if let Wire::Tcp(stream) = &client.wire {
            stream.set_nodelay(true)?;
        }
        Ok(client)
    }

    /// With a small receive buffer. It must be set before connecting: a window that shrinks makes the kernel drop what is
    /// on its way, acknowledgements included.
    pub fn that_takes_little(address: &str) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(32 * 1024).expect("small");
        let address: SocketAddr = address.parse().expect("an address");
        socket.connect(&address.into()).expect("connected");
        let client = Client { wire: Wire::Tcp(socket.into()), unread: Vec::new() };
        client.wait_at_most(PATIENCE);
        client
    }

    /// One GET on a connection of its own.
    pub fn get(address: &str, path: &str) -> Response {
        let mut client = Client::connect(address);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let response = client.response();
        client.is_closed();
        response
    }

    pub fn wait_at_most(&self, time: Duration) {
        let set = match &self.wire {
            Wire::Tcp(stream) => {
                stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time)))
            }
            Wire::Unix(stream) => {
                stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time)))
            }
        };
        set.expect("a timeout");
    }

    /// The socket itself, for options.
    pub fn tcp(&self) -> &TcpStream {
        match &self.wire {
            Wire::Tcp(stream) => stream,
            Wire::Unix(_) => panic!("a unix socket"),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("sent");
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.wire {
            Wire::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Wire::Unix(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    /// Says that nothing more will be sent.
    pub fn end(&self) {
        let ended = match &self.wire {
            Wire::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Wire::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        ended.expect("half-closed");
    }

    /// Breaks the connection off, so that nothing more can reach anybody.
    pub fn reset(self) {
        let socket = SockRef::from(self.tcp());
        socket.set_linger(Some(Duration::ZERO)).expect("a linger");
        drop(self);
    }

    /// GET on this connection, answered.
    pub fn ask(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.response()
    }

    /// The next answer to a request with a method other than HEAD.
    pub fn response(&mut self) -> Response {
        self.try_response().expect("an answer")
    }

    /// As [`response`](Client::response); an end or break before its last byte is an error.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let head = self.head()?;
        let mut response = Response { status: status_of(&head), head, body: Vec::new() };
        check_head(&response);
        if has_body(response.status) {
            response.body = match response.field("content-length") {
                Some(length) => self.exactly(length.parse().expect("a length"))?,
                None => self.chunks()?,
            };
        }
        Ok(response)
    }

    /// The next answer to a HEAD.
    pub fn response_to_head(&mut self) -> Response {
        let head = self.head().expect("an answer");
        let response = Response { status: status_of(&head), head, body: Vec::new() };
        check_head(&response);
        response
    }

    /// Nothing more comes, and the end does.
    pub fn is_closed(&mut self) {
        let rest = self.rest().expect("an end, not a reset");
        assert_eq!(String::from_utf8_lossy(&rest), "", "bytes behind the last answer");
    }

    /// Everything up to the end.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// What came and made no whole answer.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Whether nothing at all waits to be read right now.
    pub fn is_silent(&mut self) -> bool {
        self.stays_silent_for(Duration::from_millis(1))
    }

    /// Whether nothing comes in that time, neither bytes nor an end.
    pub fn stays_silent_for(&mut self, time: Duration) -> bool {
        self.wait_at_most(time);
        let count = self.fill();
        self.wait_at_most(PATIENCE);
        self.unread.is_empty() && count.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The next bytes, so many.
    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk size");
            if size == 0 {
                assert_eq!(self.exactly(2)?, b"\r\n");
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            assert_eq!(self.exactly(2)?, b"\r\n");
        }
    }

    fn head(&mut self) -> io::Result<String> {
        self.until(b"\r\n\r\n")
    }

    fn until(&mut self, end: &[u8]) -> io::Result<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                let text: Vec<u8> = self.unread.drain(..at + end.len()).collect();
                return Ok(String::from_utf8(text).expect("ASCII"));
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        let count = match &mut self.wire {
            Wire::Tcp(stream) => stream.read(&mut piece)?,
            Wire::Unix(stream) => stream.read(&mut piece)?,
        };
        self.unread.extend_from_slice(&piece[..count]);
        Ok(count)
    }
}

fn status_of(head: &str) -> u16 {
    let line = head.lines().next().unwrap_or_default();
    let code = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..4)).expect(line);
    assert!(code.ends_with(' '), "{line}");
    code.trim_end().parse().expect(line)
}

fn has_body(status: u16) -> bool {
    !matches!(status, 100..200 | 204 | 304)
}

/// RFC 9112 sections 4 and 5, 6.3; RFC 9110 section 6.6.1.
fn check_head(response: &Response) {
    let head = &response.head;
    assert!(head.is_ascii() && !head.replace("\r\n", "").contains(['\r', '\n', '\0']), "{head:?}");
    for line in head.trim_end().lines().skip(1) {
        let (name, value) = line.split_once(": ").expect(line);
        assert!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !name.is_empty(),
            "{line}"
        );
        assert_eq!(value, value.trim(), "{line}");
    }
    // What a server says about another protocol, or hints at, is passed on; the others have no fields here.
    if (100..200).contains(&response.status) && !matches!(response.status, 101 | 103) {
        return assert_eq!(head.lines().count(), 2, "{head}");
    }
    if response.status < 200 {
        return;
    }
    assert!(response.field("date").is_some_and(|date| date.ends_with(" GMT") && date.len() == 29), "{head}");
    let (length, coding) = (response.field("content-length"), response.field("transfer-encoding"));
    match has_body(response.status) {
        true => assert!(length.is_some() != (coding == Some("chunked")), "{head}"),
        false => assert!(length.is_none() && coding.is_none(), "{head}"),
    }
}
