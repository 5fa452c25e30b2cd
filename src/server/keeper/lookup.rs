//! Looking names up: each on a thread of its own, since `getaddrinfo` may take half a minute and cannot be
//! called off.
//!
//! A thread lives as long as its look-up: at rest there is none. Nobody joins them, so that no name server
//! holds the end of the process.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::names::Found;
use crate::base::guarded::guarded;
use crate::config::site::NameBook;

/// Who knows the addresses of names; may take its time.
pub type Resolver = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Who is told what a look-up found.
pub(super) type Reply = Arc<dyn Fn(String, Found) + Send + Sync>;

/// The machine's own: its hosts file, its name servers.
#[must_use]
pub fn of_machine() -> Resolver {
    // `AI_ADDRCONFIG` is not set there, so IPv6 addresses come where there is no IPv6: such a server is
    // refused at once and let be.
    Arc::new(|host: &str| Ok((host, 0).to_socket_addrs()?.collect()))
}

/// A name that was not found in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// The name.
    pub host: String,
    /// Why, in words.
    pub why: String,
}

/// Looks all these names up at once, and waits so long for the answers at most. For the start and for
/// `--check`: what is not found is no reason not to start.
#[must_use]
pub fn resolve_all<'a>(
    resolver: &Resolver,
    hosts: impl IntoIterator<Item = &'a str>,
    patience: Duration,
) -> (NameBook, Vec<NotFound>) {
    let until = Instant::now() + patience;
    let mut waiting: BTreeSet<&str> = hosts.into_iter().collect();
    let mut unbegun: Vec<&str> = waiting.iter().copied().rev().collect();
    let (tell, told) = mpsc::channel();
    let reply: Reply = Arc::new(move |host, found| {
        let _ = tell.send((host, found));
    });
    let (mut book, mut not_found, mut away) = (NameBook::default(), Vec::new(), 0);
    while !waiting.is_empty() {
        while away < AT_START_MAX
            && let Some(host) = unbegun.pop()
        {
            look_up(resolver, host, &reply);
            away += 1;
        }
        let Ok((host, found)) = told.recv_timeout(until.saturating_duration_since(Instant::now())) else {
            break;
        };
        away -= 1;
        waiting.remove(&*host);
        match found {
            Ok(addresses) => {
                book.learn(&host, addresses);
            }
            Err(why) => not_found.push(NotFound { host, why }),
        }
    }
    let late = |host: &str| NotFound { host: host.to_owned(), why: "no answer in time".to_owned() };
    not_found.extend(waiting.into_iter().map(late));
    (book, not_found)
}

/// Looks one name up elsewhere, and says what came of it: on that thread, or here where none can be had.
pub(super) fn look_up(resolver: &Resolver, host: &str, reply: &Reply) {
    let (asked, name, answer) = (Arc::clone(resolver), host.to_owned(), Arc::clone(reply));
    let thread = thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        let found = ask(&asked, &name);
        answer(name, found);
    });
    if let Err(error) = thread {
        reply(host.to_owned(), Err(format!("no thread to look it up: {error}")));
    }
}

fn ask(resolver: &Resolver, host: &str) -> Found {
    match guarded(|| resolver(host)) {
        Some(Ok(addresses)) if addresses.is_empty() => Err("it has no address".to_owned()),
        Some(Ok(addresses)) => Ok(addresses),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the look-up panicked".to_owned()),
    }
}

/// Look-ups at once before the start.
const AT_START_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::site::Address;

    fn canned() -> (Resolver, mpsc::Sender<()>) {
        let (release, released) = mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        let resolver: Resolver = Arc::new(move |host: &str| match host {
            "good.test" => Ok(vec!["10.0.0.2:0".parse().unwrap(), "10.0.0.1:0".parse().unwrap()]),
            "empty.test" => Ok(Vec::new()),
            "panics.test" => panic!("as told"),
            "hangs.test" => {
                let _ = released.lock().unwrap().recv();
                Ok(vec!["10.0.0.3:0".parse().unwrap()])
            }
            _ => Err(io::Error::other("no such name")),
        });
        (resolver, release)
    }

    #[test]
    fn a_name_that_hangs_does_not_hold_the_start() {
        let (resolver, release) = canned();
        let hosts = ["good.test", "hangs.test", "none.test", "empty.test", "good.test"];
        let (book, mut not_found) = resolve_all(&resolver, hosts, Duration::from_secs(1));
        let good = Address::Name("good.test".to_owned(), 80);
        let found: Vec<_> = book.addresses(&good).map(|address| address.to_string()).collect();
        assert_eq!(found, ["10.0.0.1:80", "10.0.0.2:80"]);
        not_found.sort_by(|a, b| a.host.cmp(&b.host));
        let why: Vec<_> = not_found.iter().map(|lost| (&*lost.host, &*lost.why)).collect();
        let expected = [
            ("empty.test", "it has no address"),
            ("hangs.test", "no answer in time"),
            ("none.test", "no such name"),
        ];
        assert_eq!(why, expected);
        drop(release);
    }

    #[test]
    fn a_look_up_that_panics_has_found_nothing() {
        let (resolver, _release) = canned();
        let (_, not_found) = resolve_all(&resolver, ["panics.test"], Duration::from_secs(60));
        assert_eq!(not_found[0].why, "the look-up panicked");
    }

    #[test]
    fn more_names_than_threads_are_all_found() {
        let resolver: Resolver = Arc::new(|_: &str| Ok(vec!["10.0.0.1:0".parse().unwrap()]));
        let hosts: Vec<String> = (0..AT_START_MAX * 3).map(|n| format!("{n}.test")).collect();
        let (book, not_found) =
            resolve_all(&resolver, hosts.iter().map(|host| &**host), Duration::from_secs(30));
        assert_eq!(not_found, []);
        assert!(hosts.iter().all(|host| book.knows(host)));
    }

    #[test]
    fn nothing_to_look_up_takes_no_time() {
        let (book, not_found) = resolve_all(&of_machine(), [], Duration::from_secs(60));
        assert_eq!((book, not_found.len()), (NameBook::default(), 0));
    }

    #[test]
    fn the_machine_knows_itself() {
        let (book, not_found) = resolve_all(&of_machine(), ["localhost"], Duration::from_secs(20));
        assert_eq!(not_found, []);
        assert!(book.of("localhost").iter().all(|address| address.ip().is_loopback()));
    }
}
