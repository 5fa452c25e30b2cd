//! Everything on workers, by `--dispatch queue`: a client sees no difference.

mod common;

use std::thread;

use common::{Client, Folder, Server};

const MEBIBYTE: usize = 1024 * 1024;

fn post(fields: &str, body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

fn server(words: &[&str]) -> Server {
    let mut all = vec!["--dispatch", "queue", "--workers", "2"];
    all.extend(words);
    Server::start(&all)
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = server(&[]);
    let base = server.base();
    let mut client = server.connect();
    for _ in 0..50 {
        let response = client.ask("/plaintext");
        assert_eq!((response.status, response.text().as_str()), (200, "Hello, World!"));
        assert_eq!(response.field("connection"), None);
    }
    assert_eq!(client.ask("/json").text(), r#"{"message":"Hello, World!"}"#);
    assert_eq!(client.ask("/nothing").status, 404);
    client.send("HEAD /plaintext HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().field("content-length"), Some("13"));
    let response = client.response();
    assert_eq!((response.status, response.field("allow")), (204, Some("GET, HEAD, OPTIONS")));
    // A body that the handler does not want is read over.
    client.send("GET /plaintext HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().status, 200);
    client.send("GET /plaintext HTTP/1.0\r\n\r\n");
    assert!(client.response().ends_connection());
    client.is_closed();
    server.is_back_at(base);
}

#[test]
fn pipelined_bodies_come_back_in_order() {
    let server = server(&[]);
    let mut client = server.connect();
    let bodies: Vec<String> = (0..300).map(|number| format!("{number:0100}")).collect();
    let requests = bodies.iter().enumerate().map(|(number, body)| match number % 2 {
        0 => post(&format!("Content-Length: {}\r\n", body.len()), body),
        _ => post("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
    });
    client.send(requests.collect::<String>());
    for body in bodies {
        assert_eq!(client.response().text(), body);
    }
}

#[test]
fn a_large_body_comes_back_as_it_went() {
    let server = server(&[]);
    let base = server.base();
    let large: Vec<u8> = (0..4 * MEBIBYTE).map(|at| (at % 251) as u8).collect();
    for chunked in [false, true] {
        let mut client = server.connect();
        let fields = match chunked {
            true => "Transfer-Encoding: chunked\r\n".to_owned(),
            false => format!("Content-Length: {}\r\n", large.len()),
        };
        client.send(post(&fields, ""));
        let socket = client.tcp().try_clone().expect("a second handle");
        let body = large.clone();
        let sender = thread::spawn(move || {
            use std::io::Write;
            let mut socket = &socket;
            for piece in body.chunks(10_007) {
                let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                socket.write_all(if chunked { &framed } else { piece }).expect("sent");
            }
            socket.write_all(if chunked { b"0\r\n\r\n" } else { b"" }).expect("sent");
        });
        assert!(client.response().body == large);
        sender.join().expect("sent");
        assert_eq!(client.ask("/plaintext").status, 200);
    }
    server.is_back_at(base);
}

#[test]
fn limits_and_expectations_hold() {
    let server = server(&["--max-body", "10"]);
    for (request, status) in [
        (post("Content-Length: 10\r\n", "0123456789"), 200),
        (post("Content-Length: 11\r\n", ""), 413),
        (post("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n"), 200),
        (post("Transfer-Encoding: chunked\r\n", "8\r\n01234567\r\n3\r\n"), 413),
        (post("Transfer-Encoding: chunked\r\n", "x\r\n"), 400),
        (post("Expect: 100-continue\r\nContent-Length: 11\r\n", ""), 413),
    ] {
        let mut client = server.connect();
        client.send(&request);
        let response = client.response();
        assert_eq!((response.status, response.ends_connection()), (status, status != 200), "{request}");
    }
    let mut client = server.connect();
    client.send(post("Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
    assert_eq!(client.response().status, 100);
    client.send("hello");
    assert_eq!(client.response().text(), "hello");
}

/// The admin listener is asked just when the queues are full.
#[test]
fn an_operator_is_answered_while_every_worker_is_busy() {
    let server = server(&["--demo", "--drain-timeout", "100ms"]);
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.send("GET /work?ms=600000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    common::eventually("all are busy", || server.metric("myriapod_workers_busy") == 2.0);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(Client::get(&server.admin, path).status, 200, "{path}");
    }
}

#[test]
fn files_are_sent_whole_and_in_parts() {
    let folder = Folder::new();
    let large: Vec<u8> = (0..8 * MEBIBYTE).map(|at| (at % 253) as u8).collect();
    folder.write("large", &large);
    let server = server(&[folder.text()]);
    let base = server.base();
    let mut client = server.connect();
    assert!(client.ask("/large").body == large);
    client.send("GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=1000-4999999\r\n\r\n");
    let part = client.response();
    assert!(part.status == 206 && part.body == large[1_000..5_000_000]);
    drop(client);
    server.is_back_at(base);
}
