//! A configuration is changed while clients are served: no connection is closed, no request fails.

#[path = "../common/mod.rs"]
mod common;
mod load;

use std::fs;
use std::net::TcpListener;

use common::{Client, Folder, Server, eventually};
use rustix::process::Signal;

/// A server whose site lies in a file, which is written before.
fn serve(folder: &Folder, text: &str, words: &[&str]) -> Server {
    folder.write("site.toml", text.as_bytes());
    let config = folder.join("site.toml");
    let mut all = vec!["--config", &config];
    all.extend_from_slice(words);
    Server::start(&all)
}

fn reloads(server: &Server, outcome: &str) -> f64 {
    server.metric(&format!("myriapod_reloads_total{{outcome=\"{outcome}\"}}"))
}

/// Writes another text and has it read.
fn reload(server: &Server, folder: &Folder, text: &str, outcome: &str) {
    let before = reloads(server, outcome);
    folder.write("site.toml", text.as_bytes());
    server.signal(Signal::HUP);
    eventually("a reload", || reloads(server, outcome) > before);
}

fn says(text: &str) -> String {
    format!("[[route]]\npath = \"/say\"\nrespond = {{ status = 200, body = \"{text}\" }}\n")
}

fn shows(root: &str) -> String {
    format!("[[route]]\npath = \"/files/*\"\nfiles = \"{root}\"\nstrip-prefix = \"/files\"\n")
}

/// A site that has nothing of what was there before.
const ELSEWHERE: &str = "[[route]]\npath = \"/else\"\nrespond = { status = 200, body = \"here\" }\n";

#[test]
fn a_connection_that_is_open_gets_the_new_answer() {
    let folder = Folder::new();
    let server = serve(&folder, &says("old"), &[]);
    let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("/say").text(), "old"));
    reload(&server, &folder, &says("new"), "ok");
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("/say").text(), "new"));
    assert_eq!(server.metric("myriapod_config_generation"), 1.0);
    assert!(server.metric("myriapod_config_success_seconds") > 1.6e9);
    reload(&server, &folder, ELSEWHERE, "ok");
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("/say").status, 404));
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("/healthz").status, 200));
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_says_so() {
    let folder = Folder::new();
    let server = serve(&folder, &says("old"), &[]);
    let gone = shows("gone");
    for bad in ["[[route]]\npaht = \"/\"\n", "not toml", gone.as_str()] {
        reload(&server, &folder, bad, "refused");
        assert_eq!(Client::get(server.address(), "/say").text(), "old");
    }
    fs::remove_file(folder.join("site.toml")).expect("a file");
    server.signal(Signal::HUP);
    eventually("a fourth", || reloads(&server, "refused") == 4.0);
    assert_eq!(server.metric("myriapod_config_generation"), 0.0);
    eventually("it is told", || server.told().contains("site.toml:2:1: no such key; did you mean `path`?"));
    assert!(!server.told().contains("\\x0A"), "an event is one line: {}", server.told());
    reload(&server, &folder, &says("new"), "ok");
    assert_eq!(Client::get(server.address(), "/say").text(), "new");
}

#[test]
fn a_file_that_was_emptied_to_be_written_anew_takes_no_route_away() {
    let folder = Folder::new();
    let server = serve(&folder, &says("first"), &[]);
    reload(&server, &folder, "", "refused");
    assert_eq!(Client::get(server.address(), "/say").text(), "first");
    reload(&server, &folder, &says("second"), "ok");
    assert_eq!(Client::get(server.address(), "/say").text(), "second");
}

#[test]
fn what_needs_a_restart_is_named_and_stays() {
    let folder = Folder::new();
    let server = serve(&folder, &says("old"), &[]);
    let text = format!("workers = 7\nidle-timeout = \"9s\"\n{}", says("new"));
    reload(&server, &folder, &text, "ok");
    eventually("it is named", || server.told().contains("needs a restart: workers"));
    assert!(!server.told().contains("idle-timeout"), "that takes effect");
    assert_eq!(Client::get(server.address(), "/say").text(), "new");
}

#[test]
fn limits_change_with_the_rest() {
    let folder = Folder::new();
    let server = serve(&folder, &says("old"), &[]);
    let mut client = server.connect();
    let long = format!("GET /say HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2_000));
    client.send(&long);
    assert_eq!(client.response().status, 200);
    reload(&server, &folder, &format!("max-head = \"1k\"\n{}", says("new")), "ok");
    client.send(&long);
    assert_eq!(client.response().status, 431);
}

#[test]
fn files_are_served_that_came_with_a_reload_whoever_has_the_table() {
    for table in ["private", "shared"] {
        let folder = Folder::new();
        let (one, two) = (folder.write("one/a.txt", b"one"), folder.write("two/a.txt", b"two"));
        assert!(one != two);
        let server = serve(&folder, &says("old"), &["--fd-table", table]);
        let base = server.base();
        let mut clients: Vec<Client> = (0..16).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("/say").text(), "old"));
        for round in 0..20 {
            for root in ["one", "two"] {
                reload(&server, &folder, &shows(root), "ok");
                for client in &mut clients {
                    assert_eq!(client.ask("/files/a.txt").text(), root, "{table}, round {round}");
                }
            }
        }
        reload(&server, &folder, &says("old"), "ok");
        drop(clients);
        server.is_back_at(base);
    }
}

#[test]
fn a_saved_file_takes_effect_when_it_is_watched() {
    let folder = Folder::new();
    let server = serve(&folder, &says("old"), &["--watch=on"]);
    assert_eq!(Client::get(server.address(), "/say").text(), "old");
    folder.write("site.toml", says("new").as_bytes());
    eventually("the new one", || Client::get(server.address(), "/say").text() == "new");
}

#[test]
fn a_file_that_the_site_names_is_watched_too() {
    let folder = Folder::new();
    folder.write("sorry.html", b"old");
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let site = format!(
        "[upstream.app]\nservers = [\"{gone}\"]\nfallback = {{ file = \"sorry.html\", status = 503 }}\n\
         [[route]]\npath = \"/app/*\"\nproxy = \"app\"\n"
    );
    let server = serve(&folder, &site, &["--watch=on"]);
    assert_eq!(Client::get(server.address(), "/app/").text(), "old");
    folder.write("sorry.html", b"a new one");
    eventually("the new one", || Client::get(server.address(), "/app/").text() == "a new one");
}

#[test]
fn a_storm_of_signals_is_a_few_reloads() {
    let folder = Folder::new();
    let server = serve(&folder, &says("old"), &[]);
    folder.write("site.toml", says("new").as_bytes());
    for _ in 0..2_000 {
        server.signal(Signal::HUP);
    }
    eventually("the new one", || Client::get(server.address(), "/say").text() == "new");
    server.serves();
    assert!(reloads(&server, "ok") <= 2_000.0);
}

#[test]
fn what_clients_have_used_up_stays_used_up() {
    let folder = Folder::new();
    let text = |said: &str, count: u32| {
        let limit = format!("{{ requests = {count}, per = \"1h\", burst = {count} }}");
        format!("[middleware.few]\nrate-limit = {limit}\n{}use = [\"few\"]\n", says(said))
    };
    let server = serve(&folder, &text("old", 2), &[]);
    let status = || Client::get(server.address(), "/say").status;
    assert_eq!([status(), status(), status()], [200, 200, 429]);
    reload(&server, &folder, &text("new", 2), "ok");
    assert_eq!(status(), 429, "a reload forgives nobody");
    reload(&server, &folder, "[[route]]\n", "refused");
    assert_eq!(status(), 429, "nor does one that is refused");
    reload(&server, &folder, &text("new", 3), "ok");
    assert_eq!(status(), 200, "another limit is another matter");
}

#[test]
fn a_reload_while_the_server_leaves_holds_nobody() {
    let folder = Folder::new();
    let mut server = serve(&folder, &says("old"), &[]);
    let mut client = server.connect();
    client.send("GET /say HTTP/1.1\r\n");
    server.signal(Signal::TERM);
    server.signal(Signal::HUP);
    client.send("Host: a\r\n\r\n");
    assert_eq!(client.response().text(), "old");
    server.signal(Signal::HUP);
    assert!(server.wait().success());
}
