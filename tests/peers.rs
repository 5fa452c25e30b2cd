//! Who clients are: balancers that say it first, and addresses that have only so many connections.

mod common;

use common::{Client, Folder, Server, eventually};
use rustix::process::Signal;

/// Tells clients who they are, besides what else is said.
fn serve(folder: &Folder, text: &str, words: &[&str]) -> Server {
    let route = "[[route]]\npath = \"/who\"\nredirect = \"http://a/{client}\"\n";
    folder.write("site.toml", format!("{text}\n{route}").as_bytes());
    let config = folder.join("site.toml");
    let mut all = vec!["--config", &config];
    all.extend_from_slice(words);
    Server::start(&all)
}

fn who(client: &mut Client) -> String {
    let told = client.ask("/who");
    told.field("location").expect("a redirect").trim_start_matches("http://a/").to_owned()
}

fn closed(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("myriapod_connections_closed_total{{reason=\"{reason}\"}}"))
}

const INTRODUCED: &str = "[trust]\nproxy-protocol = true\n";
/// 203.0.113.9:4000 to 192.0.2.1:80, in version 2.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc0\0\x02\x01\x0f\xa0\0\x50";

#[test]
fn a_balancer_says_who_its_client_is() {
    let folder = Folder::new();
    let server = serve(&folder, INTRODUCED, &[]);
    for header in [&b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 80\r\n"[..], BINARY] {
        let mut client = Client::connect(server.address());
        client.send(header);
        assert_eq!(who(&mut client), "203.0.113.9");
        assert_eq!(who(&mut client), "203.0.113.9", "and goes on being it");
    }
    let mut client = Client::connect(server.address());
    client.send("PROXY TCP6 2001:db8::1 2001:db8::2 4000 80\r\nGET /who HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().field("location"), Some("http://a/2001:db8::1"));
    let mut client = Client::connect(server.address());
    client.send("PROXY UNKNOWN\r\n");
    assert_eq!(who(&mut client), "127.0.0.1", "it speaks for itself");
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let folder = Folder::new();
    let server = serve(&folder, INTRODUCED, &["--defer-accept", "off"]);
    for header in [&b"PROXY TCP4 203.0.113.9 192.0.2.1 4000 80\r\n"[..], BINARY] {
        let mut client = Client::connect(server.address());
        for byte in header {
            client.send([*byte]);
            common::pause();
        }
        assert_eq!(who(&mut client), "203.0.113.9");
    }
}

#[test]
fn who_does_not_begin_with_it_is_closed_and_counted() {
    let folder = Folder::new();
    let server = serve(&folder, INTRODUCED, &[]);
    for bad in ["GET /who HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 a b 1 2\r\n", "PROXY TCP9 \r\n"] {
        let mut client = Client::connect(server.address());
        client.send(bad);
        assert!(client.rest().unwrap_or_default().is_empty(), "nothing is answered to {bad:?}");
    }
    eventually("they are counted", || closed(&server, "bad_proxy_header") == 3.0);
}

#[test]
fn who_says_half_of_it_has_the_time_of_a_head() {
    let folder = Folder::new();
    let server = serve(&folder, INTRODUCED, &["--head-timeout", "100ms", "--defer-accept", "off"]);
    for half in ["", "PROXY TCP4 203"] {
        let mut client = Client::connect(server.address());
        client.send(half);
        assert!(client.rest().expect("an end").is_empty(), "{half:?}");
    }
    eventually("they are counted", || closed(&server, "read_timeout") == 2.0);
}

#[test]
fn an_address_has_its_connections_and_no_more() {
    let folder = Folder::new();
    let text = "[trust]\nconnections-per-address = 3\n";
    let server = serve(&folder, text, &["--defer-accept", "off"]);
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(who(client), "127.0.0.1"));
    let mut fourth = server.connect();
    assert!(fourth.rest().unwrap_or_default().is_empty());
    eventually("it is counted", || closed(&server, "address_limit") == 1.0);
    assert!(server.metric("myriapod_ready") == 1.0, "operators come all the same");
    clients.pop();
    eventually("there is room again", || {
        let mut client = server.connect();
        client.try_send("GET /who HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() && client.try_response().is_ok()
    });
    clients.iter_mut().for_each(|client| assert_eq!(who(client), "127.0.0.1"));
}

#[test]
fn a_reload_changes_how_many_and_forgets_nobody() {
    let folder = Folder::new();
    let limited = |max: u32| format!("[trust]\nconnections-per-address = {max}\n");
    let server = serve(&folder, "", &["--defer-accept", "off"]);
    let reload = |text: &str| {
        let before = server.metric("myriapod_config_generation");
        let route = "[[route]]\npath = \"/who\"\nredirect = \"http://a/{client}\"\n";
        folder.write("site.toml", format!("{text}\n{route}").as_bytes());
        server.signal(Signal::HUP);
        eventually("a reload", || server.metric("myriapod_config_generation") > before);
    };
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(who(client), "127.0.0.1"));
    let is_let_in = || {
        let mut client = server.connect();
        client.try_send("GET /who HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() && client.try_response().is_ok()
    };
    reload(&limited(3));
    assert!(!is_let_in(), "those from before are counted");
    reload(&limited(4));
    assert!(is_let_in());
    reload(&limited(1));
    assert!(!is_let_in());
    clients.iter_mut().for_each(|client| assert_eq!(who(client), "127.0.0.1", "those that are open stay"));
    reload("");
    assert!(is_let_in());
    drop(clients);
    reload(&limited(1));
    eventually("all have left", is_let_in);
}

#[test]
fn balanced_clients_are_counted_by_what_is_said_of_them() {
    let folder = Folder::new();
    let text = "[trust]\nproxy-protocol = true\nconnections-per-address = 1\n";
    let server = serve(&folder, text, &[]);
    let introduce = |address: &str| {
        let mut client = server.connect();
        client
            .send(format!("PROXY TCP4 {address} 192.0.2.1 4000 80\r\nGET /who HTTP/1.1\r\nHost: a\r\n\r\n"));
        let is_served = client.try_response().is_ok();
        (client, is_served)
    };
    let (one, two) = (introduce("203.0.113.1"), introduce("203.0.113.2"));
    assert!(one.1 && two.1);
    assert!(!introduce("203.0.113.1").1);
    drop(one);
    eventually("it has left", || introduce("203.0.113.1").1);
}
