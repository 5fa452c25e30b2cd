//! Starts that cannot be: one line that says what to do, an exit code, and nothing left behind. Fault 19.

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Client, Folder, Server};

/// Runs what must not start.
fn refused(words: &[&str]) -> (i32, String) {
    let began = Instant::now();
    let child =
        common::binary(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("an end");
    assert!(began.elapsed() < Duration::from_secs(1), "{words:?} took {:?}", began.elapsed());
    assert!(stdout.is_empty());
    let text = String::from_utf8(stderr).expect("text");
    assert!(text.starts_with("myriapod: error: ") && !text.contains("panicked"), "{text}");
    (status.code().expect("a code"), text)
}

fn free_address() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

#[test]
fn a_port_in_use_names_its_holder() {
    let (_held, address) = free_address();
    let (code, text) = refused(&["--listen", &address]);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
    assert!(text.contains(&format!("{}", std::process::id())), "{text}");
}

#[test]
fn a_second_server_is_refused_and_the_first_goes_on() {
    let server = Server::start(&[]);
    for address in [server.address(), &server.admin] {
        let (code, text) = refused(&["--listen", address]);
        assert_eq!(code, 1);
        assert!(text.contains(&format!("{}", server.pid())) && text.contains("myriapod"), "{text}");
    }
    for _ in 0..20 {
        assert_eq!(Client::get(server.address(), "/plaintext").status, 200);
    }
}

#[test]
fn nothing_is_half_started() {
    let folder = Folder::new();
    let socket = folder.join("http.sock");
    let (free, first) = free_address();
    let (_held, second) = free_address();
    drop(free);
    for other in [first.as_str(), &format!("unix:{socket}")] {
        let (code, text) = refused(&["--listen", other, "--listen", &second]);
        assert_eq!(code, 1);
        assert!(text.contains(&second), "{text}");
    }
    let (code, _) = refused(&["--listen", &format!("unix:{socket}"), "--access-log", "/nonexistent/log"]);
    assert_eq!(code, 1);
    TcpListener::bind(&first).expect("free again");
    assert!(!fs::exists(&socket).expect("looked"));
}

#[test]
fn mistakes_are_named_with_their_fix() {
    let folder = Folder::new();
    let file = folder.write("file", b"").display().to_string();
    for (words, wanted) in [
        (vec!["--listen", "nowhere"], "not an address"),
        (vec!["--listen", "127.0.0.1:99999"], "ports go up to 65535"),
        (vec!["--listen", "unix:"], "--listen unix:"),
        (vec!["--idle-timeout", "10x"], "write 500ms, 30s or 2m"),
        (vec!["--max-body", "1q"], "--max-body 1q"),
        (vec!["--reactors", "0"], "at least 1"),
        (vec!["--pin", "0,x"], "--pin 0,x"),
        (vec!["--access-log-format", "xml"], "one of combined, json"),
        (vec!["--endpoints", "al"], "did you mean all?"),
        (vec!["--server-header", "a\r\nSet-Cookie: b"], "--server-header"),
        (vec!["--root", "/nonexistent/site"], "no such directory"),
        (vec!["--root", &file], "is a file"),
    ] {
        let (code, text) = refused(&words);
        assert_eq!((code, text.lines().count()), (2, 1), "{text}");
        assert!(text.contains(wanted), "{words:?}: {text}");
    }
}

#[test]
fn what_the_machine_cannot_do_is_told_at_the_start() {
    for (words, wanted) in [
        (vec!["--max-connections", "100000000"], "--max-connections 100000000"),
        (vec!["--listen", "192.0.2.1:8080"], "192.0.2.1:8080"),
        (vec!["--listen", "unix:/nonexistent/http.sock"], "/nonexistent/http.sock"),
        (vec!["--access-log", "/nonexistent/access.log"], "/nonexistent/access.log"),
        (vec!["--pin", "1023"], "1023"),
    ] {
        let mut words = words;
        if words[0] != "--listen" {
            words.extend(["--listen", "127.0.0.1:0"]);
        }
        let (code, text) = refused(&words);
        assert!(code == 1 && text.contains(wanted), "{words:?}: {code} {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_ceiling_over_the_descriptor_limit_says_what_lifts_it() {
    let script = "ulimit -n 200 && exec \"$0\" --max-connections 5000 --reactors 1 --listen 127.0.0.1:0";
    let words = ["-c", script, env!("CARGO_BIN_EXE_myriapod")];
    let output = Command::new("sh").args(words).output().expect("runs");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("--max-connections 5000") && text.contains("ulimit -n"), "{text}");
}

#[test]
fn check_tells_what_would_be_and_starts_nothing() {
    let (_held, address) = free_address();
    let output =
        common::binary(&["--check", "--listen", &address, "--max-body", "2m"]).output().expect("runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    for line in [format!("listen = {address}"), "max-body = 2m".to_owned()] {
        assert!(text.lines().any(|each| each == line), "{line}: {text}");
    }
    assert!(text.lines().any(|line| line.starts_with("# ")), "the sums of this machine: {text}");
}

#[test]
fn the_banner_is_at_most_twelve_lines_and_true() {
    let server = Server::start(&["--max-connections", "100", "--reactors", "2"]);
    server.serves();
    let told = server.told();
    assert!(told.lines().count() <= 12, "{told}");
    assert!(
        told.contains("ready in ") && told.contains("at most 100 at once, by --max-connections"),
        "{told}"
    );
    assert_eq!(server.metric("myriapod_connections_max"), 100.0);
}
