//! The gateway over real sockets, with servers behind it that do as they are told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use myriapod::Server;
use myriapod::config::site::{
    Action, Address, Balance, HostRule, PathPattern, PathRule, Proxy, Retries, Route, ServerSpec, Site,
    Timeouts, Upstream,
};
use myriapod::config::{Config, Listen};

fn upstream(servers: &[SocketAddr]) -> Upstream {
    let spec =
        |address: &SocketAddr| ServerSpec { address: Address::Socket(*address), weight: 1, is_backup: false };
    Upstream {
        name: String::from("app"),
        servers: servers.iter().map(spec).collect(),
        balance: Balance::RoundRobin,
        timeouts: Timeouts { first_byte_ms_max: 500, idle_ms_max: 500, ..Timeouts::default() },
        retries: Retries::default(),
        idle_max: 32,
        idle_ms_max: 60_000,
        connections_max: None,
        queue_ms_max: 1_000,
        resolve_ms: 30_000,
        health: None,
        ejection: None,
        breaker: None,
        fallback: None,
    }
}

fn gateway(servers: &[SocketAddr]) -> Server {
    let proxy = Proxy { upstream: 0, host: HostRule::Keep, path: PathRule::Keep, upgrades: true };
    let route = Route {
        name: String::from("all"),
        hosts: Vec::new(),
        path: PathPattern::Prefix(String::from("/")),
        methods: None,
        fields: Vec::new(),
        action: Action::Proxy(proxy),
        steps: Vec::new(),
        body_bytes_max: None,
        line: 0,
    };
    let site = Site { routes: vec![route], upstreams: vec![upstream(servers)], ..Site::default() };
    let config = Config { site, ..Config::default() };
    Server::builder().config(config).listen("127.0.0.1:0").reactors(1).start().expect("it starts")
}

/// A server that hears a head and says these bytes, connection by connection.
fn server(answers: Vec<Vec<&'static [u8]>>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let thread = thread::spawn(move || {
        let mut heard = Vec::new();
        for said in answers {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
            for answer in said {
                heard.push(read_head(&mut stream));
                stream.write_all(answer).expect("it listens");
            }
        }
        heard
    });
    (address, thread)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("it speaks") == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

fn connect(server: &Server) -> TcpStream {
    let Listen::Tcp(address) = &server.listen()[0] else { panic!("a port") };
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
    stream
}

fn ask(stream: &mut TcpStream, request: &str) -> (String, Vec<u8>) {
    stream.write_all(request.as_bytes()).expect("it listens");
    let head = read_head(stream);
    let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |digits| digits.parse().expect("a number"))];
    stream.read_exact(&mut body).expect("a whole body");
    (head, body)
}

#[test]
fn a_request_is_passed_on_and_its_answer_comes_back() {
    let ok: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-From: upstream\r\n\r\nhello";
    let (address, upstream) = server(vec![vec![ok, ok]]);
    let gateway = gateway(&[address]);
    let mut client = connect(&gateway);
    for path in ["/one", "/two?q=1"] {
        let (head, body) = ask(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: site\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("X-From: upstream\r\n"), "{head}");
        assert_eq!(body, b"hello");
    }
    let heard = upstream.join().expect("no panic");
    assert!(heard[0].starts_with("GET /one HTTP/1.1\r\nHost: site\r\n"), "{}", heard[0]);
    assert!(heard[0].contains("X-Forwarded-For: 127.0.0.1\r\n"), "{}", heard[0]);
    assert!(heard[1].starts_with("GET /two?q=1 HTTP/1.1\r\n"), "{}", heard[1]);
}
