//! What the names of servers were found to be, at one time.
//!
//! Plain data that a look-up makes and a generation of upstreams is built from: sorted and without doubles,
//! so that two answers in another order are the same. A name that was not found has no address, which is no
//! mistake: it may be found later. Not here: who looks names up, and when (`server::keeper`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Address, ServerSpec, Upstream};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameBook {
    found: BTreeMap<String, Arc<[SocketAddr]>>,
}

impl NameBook {
    /// Addresses of one name that are used; what a name server says beyond is left out.
    pub const ADDRESSES_MAX: usize = 256;

    /// Where a server can be reached over TCP; nowhere: its name was not found, or it has a unix socket.
    pub fn addresses<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = SocketAddr> + 'a {
        let (own, port, found) = match address {
            Address::Socket(socket) => (Some(*socket), 0, &[] as &[SocketAddr]),
            Address::Name(host, port) => (None, *port, self.of(host)),
            Address::Unix(_) => (None, 0, &[] as &[SocketAddr]),
        };
        own.into_iter().chain(found.iter().map(move |address| with_port(*address, port)))
    }

    /// An upstream's servers, each with its addresses.
    #[must_use]
    pub fn resolve(&self, upstream: &Upstream) -> Vec<(ServerSpec, Vec<SocketAddr>)> {
        let found = |server: &ServerSpec| (server.clone(), self.addresses(&server.address).collect());
        upstream.servers.iter().map(found).collect()
    }

    /// What one name was found to be, with no port.
    #[must_use]
    pub fn of(&self, host: &str) -> &[SocketAddr] {
        self.found.get(host).map_or(&[], |found| found)
    }

    /// Whether this name was found.
    #[must_use]
    pub fn knows(&self, host: &str) -> bool {
        self.found.contains_key(host)
    }

    /// Takes down what a name was found to be. `true`: that is news. Nothing found is not taken down: the
    /// last good addresses stay.
    pub fn learn(&mut self, host: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> bool {
        let mut addresses: Vec<SocketAddr> =
            addresses.into_iter().map(|address| with_port(address, 0)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(NameBook::ADDRESSES_MAX);
        if addresses.is_empty() || self.of(host) == addresses {
            return false;
        }
        self.found.insert(host.to_owned(), addresses.into());
        true
    }

    /// Forgets names that nobody asks for any more.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&str) -> bool) {
        self.found.retain(|host, _| is_wanted(host));
    }
}

/// The scope of a link-local address stays with it, which `IpAddr` alone would lose.
fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn answers_in_another_order_or_twice_are_no_news() {
        let mut book = NameBook::default();
        assert!(book.learn("a.test", [socket("10.0.0.2:0"), socket("[::1]:0"), socket("10.0.0.1:0")]));
        let again = ["[::1]:7", "10.0.0.1:0", "10.0.0.2:0", "10.0.0.1:0"].map(socket);
        assert!(!book.learn("a.test", again));
        let name = Address::Name("a.test".to_owned(), 80);
        let found: Vec<_> = book.addresses(&name).collect();
        assert_eq!(found, ["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"].map(socket));
    }

    #[test]
    fn what_is_not_found_any_more_stays_as_it_was() {
        let mut book = NameBook::default();
        assert!(book.learn("a.test", [socket("10.0.0.1:0")]));
        assert!(!book.learn("a.test", []));
        assert!(book.knows("a.test") && !book.knows("b.test"));
        assert!(book.learn("a.test", [socket("10.0.0.9:0")]), "it moved");
        book.retain(|host| host != "a.test");
        assert!(!book.knows("a.test"));
    }

    #[test]
    fn an_address_is_its_own_and_a_unix_socket_has_none() {
        let book = NameBook::default();
        let own = Address::Socket(socket("127.0.0.1:81"));
        assert_eq!(book.addresses(&own).collect::<Vec<_>>(), [socket("127.0.0.1:81")]);
        assert_eq!(book.addresses(&Address::Unix("/run/a.sock".into())).count(), 0);
        assert_eq!(book.addresses(&Address::Name("a.test".to_owned(), 1)).count(), 0);
    }

    #[test]
    fn a_name_has_so_many_addresses_and_no_more() {
        let mut book = NameBook::default();
        let many = (0..1_000u32).map(|n| SocketAddr::from((std::net::Ipv4Addr::from(n), 0)));
        assert!(book.learn("many.test", many));
        let name = Address::Name("many.test".to_owned(), 1);
        assert_eq!(book.addresses(&name).count(), NameBook::ADDRESSES_MAX);
    }
}
