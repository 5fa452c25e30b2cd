//! Stories of the whole thread, on real threads and sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// What the keeper tells, as text.
fn keeper(resolver: Resolver) -> (Keeper, Receiver<String>) {
    let (tell, told) = channel();
    let keeper = Keeper::start(resolver, Log::silent(), move |_, news| {
        let text = match news {
            News::Addresses(book) => {
                let name = Address::Name("a.test".to_owned(), 80);
                let found: Vec<_> = book.addresses(&name).map(|address| address.to_string()).collect();
                found.join(" ")
            }
            News::Files => "files".to_owned(),
        };
        let _ = tell.send(text);
    });
    (keeper.expect("a thread"), told)
}

fn name(every_ms: u32) -> Duties {
    Duties { names: vec![Name { host: "a.test".to_owned(), every_ms }], ..Duties::default() }
}

fn address(text: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(vec![text.parse().expect("an address")])
}

/// How often the kernel has let this thread run.
fn runs_of_thread(id: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).expect("it lives");
    stat.split_ascii_whitespace().nth(2).and_then(|runs| runs.parse().ok()).expect("a number")
}

#[test]
fn a_name_that_moves_is_told_and_one_that_is_lost_keeps_its_address() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let resolver: Resolver = Arc::new(move |_: &str| match counted.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => address("10.0.0.1:0"),
        2 => Err(io::Error::other("no such name")),
        _ => address("10.0.0.2:0"),
    });
    let (keeper, told) = keeper(resolver);
    keeper.hand().attend(name(100));
    assert_eq!(told.recv_timeout(SOON).expect("found"), "10.0.0.1:80");
    assert_eq!(told.recv_timeout(SOON).expect("moved"), "10.0.0.2:80", "and nothing of the failure");
    let tally = Arc::clone(keeper.hand().tally());
    assert_eq!((tally.lookups.value(), tally.lookup_failures.value()), (4, 1));
    assert!(keeper.stop());
}

#[test]
fn look_ups_that_hang_hold_neither_each_other_nor_the_end() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let resolver: Resolver = Arc::new(move |host: &str| match host {
        "a.test" => address("10.0.0.1:0"),
        _ => {
            let _ = released.lock().expect("one at a time").recv();
            Err(io::Error::other("too late"))
        }
    });
    let (keeper, told) = keeper(resolver);
    let hanging = ["b.test", "c.test"].map(|host| Name { host: host.to_owned(), every_ms: 1_000 });
    let mut duties = name(1_000);
    duties.names.extend(hanging);
    keeper.hand().attend(duties);
    assert_eq!(told.recv_timeout(SOON).expect("found"), "10.0.0.1:80");
    let began = Instant::now();
    assert!(keeper.stop());
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(release);
}

#[test]
fn who_is_told_may_panic_and_may_give_new_duties() {
    let resolver: Resolver = Arc::new(|_: &str| address("10.0.0.1:0"));
    let (tell, told): (Sender<()>, _) = channel();
    let keeper = Keeper::start(resolver, Log::silent(), move |hand, _| {
        // Knowing nothing again makes the same answer news again.
        hand.attend(name(100));
        let _ = tell.send(());
        panic!("as told");
    });
    let keeper = keeper.expect("a thread");
    keeper.hand().attend(name(100));
    for _ in 0..3 {
        told.recv_timeout(SOON).expect("told again after a panic");
    }
    assert!(keeper.stop());
}

#[test]
fn a_file_that_changes_is_told_once() {
    let path = std::env::temp_dir().join(format!("myriapod-keeper-file-{}", std::process::id()));
    std::fs::write(&path, "one").expect("written");
    let (keeper, told) = keeper(of_machine());
    keeper.hand().attend(Duties { files: Sights::of([&path]), ..Duties::default() });
    for round in 1..4 {
        std::fs::write(&path, "more".repeat(round)).expect("written");
        assert_eq!(told.recv_timeout(SOON).expect("it changed"), "files");
        assert_eq!(keeper.hand().tally().file_changes.value(), round as u64);
    }
    assert!(keeper.stop());
    assert!(told.recv().is_err(), "nothing was told twice");
    std::fs::remove_file(path).expect("removed");
}

#[test]
fn at_rest_it_does_nothing() {
    let resolver: Resolver = Arc::new(|_: &str| address("10.0.0.1:0"));
    let (tell, told) = channel();
    let keeper = Keeper::start(resolver, Log::silent(), move |_, _| {
        let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
    });
    let keeper = keeper.expect("a thread");
    keeper.hand().attend(name(3_600_000));
    let id = told.recv_timeout(SOON).expect("found");
    let before = runs_of_thread(id);
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err(), "nothing is left to tell");
    // Once to lie down after what it told, and nothing more.
    assert!(runs_of_thread(id) - before <= 2, "it has risen although nothing was due");
    assert!(keeper.stop());
}
