//! Each new connection goes to the reactor with the fewest, whatever happens to reactors and connections.
//!
//! Where the kernel does not let this process load the program, those tests say so and try nothing.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Folder, PATIENCE, Server, binary, eventually, pause, sum_of};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
/// So long the kernel surely keeps a client that is silent.
const HELD_BACK: Duration = Duration::from_millis(700);
const FEWEST: &str = "; a new client goes to the one with the fewest\n";

/// A server that balances, if it may.
fn balanced(words: &[&str]) -> Option<Server> {
    let server = Server::start(&[&["--reactors", "4"], words].concat());
    if server.told().contains(FEWEST) {
        return Some(server);
    }
    eprintln!("not tried, since the kernel does not let us choose: {}", server.told());
    None
}

fn by_reactor(server: &Server, name: &str) -> Vec<u32> {
    let page = Client::get(&server.admin, "/metrics").text();
    let reactors = page.matches(&format!("\n{name}{{reactor=")).count();
    (0..reactors).map(|number| sum_of(&page, &format!("{name}{{reactor=\"{number}\"}}")) as u32).collect()
}

/// Connections of each reactor. One of the first's may be that which asks, if it came a turn before it asked.
fn open(server: &Server) -> Vec<u32> {
    by_reactor(server, "myriapod_connections_open")
}

fn spread(counts: &[u32]) -> u32 {
    counts.iter().max().expect("reactors") - counts.iter().min().expect("reactors")
}

/// Whether there are so many, besides who asks.
fn is_all(counts: &[u32], total: u32) -> bool {
    let sum: u32 = counts.iter().sum();
    sum == total || sum == total + 1
}

/// Most and least differ by two at most, once all is counted.
fn evens_out(server: &Server, total: u32) {
    let mut counts = Vec::new();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        counts = open(server);
        if is_all(&counts, total) && spread(&counts) <= 2 {
            return;
        }
        pause();
    }
    panic!(
        "{counts:?} is not {total} and one, spread evenly: {}",
        Client::get(&server.admin, "/metrics").text()
    );
}

/// One that was answered, so it has been accepted.
fn answered(address: &str) -> Client {
    let mut client = Client::connect(address);
    assert_eq!(client.ask("/plaintext").status, 200);
    client
}

/// As [`answered`], and which reactor has it.
fn placed(server: &Server, address: &str) -> (Client, usize) {
    let before = by_reactor(server, "myriapod_connections_accepted_total");
    let client = answered(address);
    let after = by_reactor(server, "myriapod_connections_accepted_total");
    // The first one has accepted who asks, too.
    (client, (1..after.len()).find(|number| after[*number] > before[*number]).unwrap_or(0))
}

#[test]
fn sixty_four_connections_on_four_reactors_differ_by_at_most_two() {
    let Some(server) = balanced(&[]) else { return };
    // All at once, before any of them is accepted.
    let mut clients: Vec<Client> = (0..64).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("/plaintext").status, 200));
    evens_out(&server, 64);
    assert_eq!(server.metric("myriapod_accept_mode{mode=\"least\",why=\"\"}"), 1.0);
    assert!(server.metric("myriapod_connections_imbalance") < 1.2);
}

#[test]
fn who_leaves_unevenly_is_made_up_for() {
    let Some(server) = balanced(&[]) else { return };
    let (mut stay, mut leave): (Vec<_>, Vec<_>) =
        (0..32).map(|_| placed(&server, server.address())).partition(|(_, number)| number % 2 == 0);
    evens_out(&server, 32);
    leave.clear();
    eventually("half are gone", || is_all(&open(&server), stay.len() as u32));
    assert!(spread(&open(&server)) > 5);
    stay.extend((0..16).map(|_| (answered(server.address()), 0)));
    evens_out(&server, stay.len() as u32);
}

#[test]
fn clients_that_come_one_by_one_take_turns() {
    let Some(server) = balanced(&[]) else { return };
    let before: f64 = server.metric("myriapod_connections_accepted_total{reactor=\"3\"}");
    for _ in 0..40 {
        assert_eq!(Client::get(server.address(), "/plaintext").status, 200);
    }
    let after = server.metric("myriapod_connections_accepted_total{reactor=\"3\"}");
    assert!((5.0..=15.0).contains(&(after - before)), "{}", after - before);
}

#[test]
fn addresses_and_kinds_of_sockets_count_together() {
    let folder = Folder::new();
    let path = format!("unix:{}", folder.join("http.sock"));
    let listen = ["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", &path];
    let Some(server) = balanced(&listen) else { return };
    // One reactor has the unix socket, and so ten more than the others.
    let unix: Vec<Client> = (0..10).map(|_| answered(&path)).collect();
    let tcp: Vec<Client> = (0..50).map(|at| answered(&server.listen[at % 2])).collect();
    evens_out(&server, (unix.len() + tcp.len()) as u32);
}

/// Reactor 0 has the unix socket.
fn with_unix(words: &[&str]) -> Option<(Server, String, Folder)> {
    let folder = Folder::new();
    let path = format!("unix:{}", folder.join("http.sock"));
    let listen = ["--listen", &path, "--listen", "127.0.0.1:0"];
    balanced(&[&listen, words].concat()).map(|server| (server, path, folder))
}

#[test]
fn a_full_reactor_is_passed_over_until_it_has_room() {
    let Some((server, path, _folder)) = with_unix(&["--max-connections", "44"]) else { return };
    // The observer comes to reactor 0 as well, and needs room there.
    let unix: Vec<Client> = (0..9).map(|_| answered(&path)).collect();
    let mut observer = Client::connect(&server.admin);
    observer.ask("/healthz");
    let _last = answered(&path);
    let tcp: Vec<Client> = (0..33).map(|_| answered(&server.listen[1])).collect();
    eventually("nobody waits", || {
        sum_of(&observer.ask("/metrics").text(), "myriapod_connections_open") == 44.0
    });
    drop((unix, tcp));
    eventually("there is room", || {
        sum_of(&observer.ask("/metrics").text(), "myriapod_connections_open") == 2.0
    });
    let _tcp: Vec<Client> = (0..20).map(|_| answered(&server.listen[1])).collect();
    drop(observer);
    evens_out(&server, 21);
}

/// The number that the next descriptor of that thread will have.
fn next_descriptor(server: &Server, thread: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it lives").flatten();
    let is_it =
        |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == thread);
    let task = tasks.map(|task| task.path()).find(is_it).expect("such a thread");
    (0..).find(|number| !task.join(format!("fd/{number}")).is_symlink()).expect("a free one")
}

/// The others have more clients, but room below the limit.
#[test]
fn a_reactor_without_descriptors_is_passed_over_until_it_has_some() {
    let Some((server, path, _folder)) = with_unix(&[]) else { return };
    if !server.told().contains("private tables") {
        return eprintln!("not tried, since reactors share their descriptors");
    }
    let mut observer = Client::connect(&server.admin);
    observer.ask("/healthz");
    let mut unix: Vec<Client> = (0..60).map(|_| answered(&path)).collect();
    let mut tcp: Vec<Client> = (0..183).map(|_| answered(&server.listen[1])).collect();
    let of_first = |observer: &mut Client, name: &str| {
        sum_of(&observer.ask("/metrics").text(), &format!("{name}{{reactor=\"0\"}}"))
    };
    // The latest of the first reactor go, of the others the earliest.
    unix.truncate(40);
    tcp.drain(..30);
    let open = |page: &str| sum_of(page, "myriapod_connections_open") as usize;
    eventually("gone", || open(&observer.ask("/metrics").text()) == unix.len() + tcp.len() + 1);
    let current = Some(next_descriptor(&server, "reactor-0"));
    let pid = Pid::from_raw(server.pid() as i32);
    let limit = Rlimit { current, maximum: Some(20_000) };
    let before = prlimit(pid, Resource::Nofile, limit).expect("allowed");
    let mut late = Client::connect(&path);
    late.send(REQUEST);
    eventually("it pauses", || of_first(&mut observer, "myriapod_accept_pauses_total") > 0.0);

    tcp.extend((0..20).map(|_| answered(&server.listen[1])));
    assert!(late.is_silent(), "it paused all the while");
    prlimit(pid, Resource::Nofile, before).expect("allowed");
    assert_eq!(late.response().status, 200, "it resumes");
    tcp.extend((0..60).map(|_| answered(&server.listen[1])));
    let all = (unix.len() + tcp.len() + 2) as u32;
    drop(observer);
    evens_out(&server, all - 1);
}

/// A handler that holds its reactor up holds up nobody who comes later.
#[test]
fn a_stuck_reactor_gets_no_clients() {
    let words = ["--demo", "--dispatch", "inline", "--reactors", "2"];
    let server = Server::start(&words);
    if !server.told().contains(FEWEST) {
        return eprintln!("not tried, since the kernel does not let us choose");
    }
    let mut slow = server.connect();
    slow.send("GET /work?ms=4000 HTTP/1.1\r\nHost: a\r\n\r\n");
    // Those that came before it was known wait with it.
    let mut waiting = Vec::new();
    let mut answered_in_a_row = 0;
    let deadline = Instant::now() + Duration::from_secs(3);
    while answered_in_a_row < 12 && Instant::now() < deadline {
        let mut client = server.connect();
        client.send(REQUEST);
        client.wait_at_most(Duration::from_millis(300));
        match client.try_response() {
            Ok(_) => answered_in_a_row += 1,
            Err(_) => answered_in_a_row = 0,
        }
        waiting.push(client);
    }
    assert_eq!(answered_in_a_row, 12);
    assert!(slow.is_silent(), "it was stuck all the while");
    assert_eq!(slow.response().status, 200);
}

/// Whom the kernel has greeted is served, even if it has said nothing when the drain begins.
#[test]
fn a_drain_waits_for_handshakes_under_way() {
    // Those that have said nothing for a second have had their time, and a crowded machine may take longer.
    let is_in_time = (0..5).any(|_| {
        let Some(mut server) = balanced(&[]) else { return true };
        let began = Instant::now();
        let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        server.signal(Signal::TERM);
        let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        eventually("nobody new is let in", || Client::try_connect(server.address()).is_err_and(refused));
        if clients.iter_mut().any(|client| client.try_send(REQUEST).is_err()) || began.elapsed() > HELD_BACK {
            return false;
        }
        for client in &mut clients {
            let response = client.response();
            assert!(response.status == 200 && response.ends_connection());
        }
        drop(clients);
        let began = Instant::now();
        assert_eq!(server.wait().code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(2));
        true
    });
    assert!(is_in_time);
}

/// A client that breaks off in its handshake was counted, and never comes.
#[test]
fn who_never_comes_is_not_counted_for_long() {
    let folder = Folder::new();
    let paths: Vec<String> =
        (0..4).map(|at| format!("unix:{}", folder.join(&format!("{at}.sock")))).collect();
    let mut words = vec!["--listen", "127.0.0.1:0"];
    words.extend(paths.iter().flat_map(|path| ["--listen", path]));
    let Some(server) = balanced(&words) else { return };
    let tcp = server.address();
    // The first reactor has the last path, and many clients, so those who break off are the others'.
    let held: Vec<Client> = (0..20).map(|_| answered(&paths[3])).collect();
    eventually("counted", || open(&server)[0] >= 20);
    for _ in 0..60 {
        Client::connect(tcp).reset();
    }
    drop(held);
    eventually("gone", || is_all(&open(&server), 0));
    assert_eq!(placed(&server, tcp).1, 0, "they are still counted");
    eventually("others get clients too", || {
        // Whoever sleeps looks seldom; a client wakes it.
        for path in &paths {
            assert_eq!(Client::get(path, "/plaintext").status, 200);
        }
        placed(&server, tcp).1 != 0
    });
}

#[test]
fn the_hash_is_left_alone_when_asked_for() {
    let server = Server::start(&["--accept", "hash"]);
    assert!(server.told().contains("; a new client goes by the kernel's hash\n"), "{}", server.told());
    assert_eq!(server.metric("myriapod_accept_mode{mode=\"hash\",why=\"asked for\"}"), 1.0);
    let _clients: Vec<Client> = (0..16).map(|_| answered(server.address())).collect();
    assert!(server.metric("myriapod_connections_imbalance") >= 1.0);
}

#[test]
fn one_reactor_needs_no_choice() {
    let server = Server::start(&["--accept", "least", "--reactors", "1"]);
    assert!(!server.told().contains("a new client goes"), "{}", server.told());
    assert_eq!(server.metric("myriapod_accept_mode{mode=\"single\",why=\"\"}"), 1.0);
    server.serves();
}

/// The binary without the right to load programs, and how it was taken; `None` if it cannot be.
fn without_rights(words: &[&str]) -> Option<Command> {
    let status = fs::read_to_string("/proc/self/status").expect("it lives");
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("rights");
    if u64::from_str_radix(bits.trim(), 16).expect("a mask") & (1 << 39 | 1 << 21) == 0 {
        return Some(binary(words));
    }
    let plain = binary(words);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-bpf,-sys_admin"]).arg(plain.get_program()).args(plain.get_args());
    let works = Command::new("setpriv").args(["--bounding-set", "-bpf,-sys_admin", "true"]).status();
    works.is_ok_and(|status| status.success()).then_some(command)
}

#[test]
fn without_the_right_it_refuses_or_goes_by_the_hash_and_says_why() {
    let words = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--reactors", "2", "--pin", "off"];
    let Some(mut command) = without_rights(&[&words[..], &["--accept", "least"]].concat()) else {
        return eprintln!("not tried, since there is no setpriv to take the right away");
    };
    let output = command.output().expect("runs");
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    for part in ["--accept least", "CAP_BPF", "sudo setcap cap_bpf=+ep ", "or write --accept hash"] {
        assert!(told.contains(part), "{part}: {told}");
    }

    let server = Server::spawn(&mut without_rights(&words).expect("as before"));
    let told = server.told();
    assert!(told.contains("a new client goes by the kernel's hash (least: needs CAP_BPF)\n"), "{told}");
    eventually("told with the fix", || server.told().contains("needs CAP_BPF); grant it: sudo setcap "));
    let mode = "myriapod_accept_mode{mode=\"hash\",why=\"needs CAP_BPF\"}";
    assert_eq!(server.metric(mode), 1.0);
    server.serves();
}

#[test]
fn a_look_at_the_settings_tells_what_would_be_in_force() {
    let check = |words: &[&str]| {
        let output = binary(&[&["--check", "--reactors", "2"], words].concat()).output().expect("runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let hash = check(&["--accept", "hash"]);
    assert!(hash.contains("accept = hash\n"), "{hash}");
    assert!(hash.contains("# a new client goes by the kernel's hash\n"), "{hash}");
    assert!(check(&[]).contains("# a new client goes "), "{}", check(&[]));
}

/// Connections that come and go on all sides at once leave no trace in the counts.
#[test]
fn a_storm_leaves_the_counts_right() {
    let Some(server) = balanced(&[]) else { return };
    let address = server.address();
    thread::scope(|scope| {
        for seed in 0..4 {
            let requests = [REQUEST.to_owned()];
            scope.spawn(move || common::let_loose(address, &requests, seed, 300));
        }
    });
    eventually("all are gone", || is_all(&open(&server), 0));
    eventually("nobody is expected", || {
        // A client now and then has them look.
        (0..8).for_each(|_| drop(answered(address)));
        server.metric("myriapod_connections_coming") == 0.0
    });
    let _clients: Vec<Client> = (0..64).map(|_| answered(address)).collect();
    evens_out(&server, 64);
}
